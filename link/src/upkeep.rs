//! This machine's identity within a program: loaded as its file says, and kept fresh until the program's end. Begun before the
//! store is reached, because the store may ask for the certificate too.

use std::sync::Arc;

use rr_runtime::config::MachineConfig;
use rr_runtime::exit::{Failure, Kind};
use rr_runtime::host::host_id;
use rr_runtime::program::Ground;
use rr_runtime::tasks::Kind::Background;

use crate::authority::Authority;
use crate::dial::Address;
use crate::files::Files;
use crate::material::{Material, MaterialError};
use crate::renewal::{Source, keep_fresh};

/// What proves this machine to others. `None`: it has no certificate.
///
/// # Errors
/// If its files cannot be used.
pub fn load(config: &MachineConfig) -> Result<Option<Material>, MaterialError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let files = Files { ca: files.ca.clone(), cert: files.cert.clone(), key: files.key.clone() };
    Material::load(files, &config.fleet).map(Some)
}

/// As [`load`], for a program that cannot go on without.
///
/// # Errors
/// As there, with what to do.
pub fn material(config: &MachineConfig) -> Result<Option<Material>, Failure> {
    load(config).map_err(|e| {
        Failure::at("use this machine's certificate", &e)
            .of_kind(Kind::Usage)
            .hint("correct `tls` and `fleet` in config.yaml, or get a certificate with `rrctl join`")
    })
}

/// Keeps this machine's certificate fresh beside whatever else the program does.
///
/// # Errors
/// If its files cannot be used, or are those of another host.
pub fn start(ground: &Ground) -> Result<(), Failure> {
    let Some(material) = material(&ground.config)? else { return Ok(()) };
    let host = host_id(&ground.dirs).map_err(|e| Failure::at("read this host's id", &e))?;
    let shown = &material.current().card.identity.host;
    // A denial names an id: one host must not work under one and speak under another.
    if *shown != host {
        return Err(Failure::new(Kind::Refused, "this machine's certificate is that of another host")
            .because(format!("it says {shown}, and this machine is {host}: was the folder copied?"))
            .hint("rrctl join with a token gets one of its own"));
    }
    let source = source(&ground.config)?;
    ground.tasks.spawn("certificate", Background, keep_fresh(material, source, ground.tasks.shutdown_token()));
    Ok(())
}

fn source(config: &MachineConfig) -> Result<Source, Failure> {
    if let Some(folder) = &config.authority {
        let authority = Authority::open(folder, &config.fleet).map_err(|e| {
            Failure::at("open the authority", &e).of_kind(Kind::Usage).hint("correct `authority` in config.yaml")
        })?;
        return Ok(Source::Own(Arc::new(authority)));
    }
    let addresses = config.coordinators.iter().filter_map(|url| Address::parse(url).ok()).filter(Address::is_tls);
    Ok(Source::Coordinators(addresses.collect()))
}

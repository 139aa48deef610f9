//! How other machines reach this coordinator, as this machine's file says: an address with certificates, or one on this machine
//! without; and whether it gives certificates out. Next: `app` serves what connects, `enrol` what is asked of the authority.

use std::net::SocketAddr;

use rr_link::accept::{self, Door};
use rr_link::authority::Authority;
use rr_link::dial::Address;
use rr_link::upkeep;
use rr_runtime::config::{MachineConfig, StoreKind};
use rr_runtime::exit::{Failure, Kind};
use rr_runtime::program::Floor;
use rr_runtime::tasks::Kind::Background;
use tokio::net::TcpListener;

use crate::app::ServeError;
use crate::enrol::Issuer;

/// The address for other programs, if this machine has one.
pub(crate) async fn listen(floor: &Floor) -> Result<Option<(TcpListener, Door)>, Failure> {
    let Some(address) = floor.config.listen.coordinator else { return Ok(None) };
    let door = match upkeep::material(&floor.config)? {
        Some(material) => {
            floor.tasks.spawn("certificate reload", Background, material.clone().follow(floor.tasks.shutdown_token()));
            // Only where tokens can be spent does anybody come without a certificate.
            Door::Tls { material, strangers: floor.config.authority.is_some() }
        }
        None => Door::Loopback,
    };
    let listener = accept::listen(address, &door).await.map_err(ServeError::Listen)?;
    // Port 0 has become a number by now.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, certificates = matches!(door, Door::Tls { .. }), "the coordinator listens");
    Ok(Some((listener, door)))
}

/// What it needs to give out certificates, where the authority is.
pub(crate) fn issuer(config: &MachineConfig) -> Result<Option<Issuer>, Failure> {
    let Some(folder) = &config.authority else { return Ok(None) };
    let authority = Authority::open(folder, &config.fleet).map_err(|e| {
        Failure::at("open the authority", &e).of_kind(Kind::Usage).hint("correct `authority` in config.yaml")
    })?;
    let store_endpoints = match config.store.kind {
        StoreKind::Etcd => config.store.endpoints.clone(),
        StoreKind::Embedded => Vec::new(),
    };
    Ok(Some(Issuer::new(authority, addresses(config), store_endpoints)))
}

/// Where machines that join find the coordinators: as the file says, else at the address that this one listens on.
fn addresses(config: &MachineConfig) -> Vec<Address> {
    let named = config.coordinators.iter().filter_map(|url| Address::parse(url).ok()).filter(Address::is_tls);
    let named: Vec<Address> = named.collect();
    match config.listen.coordinator {
        Some(own) if named.is_empty() => reachable(own).into_iter().collect(),
        _ => named,
    }
}

fn reachable(own: SocketAddr) -> Option<Address> {
    if own.ip().is_unspecified() || own.port() == 0 { None } else { Address::parse(&format!("https://{own}")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: Option<&str>, coordinators: &[&str]) -> MachineConfig {
        let mut config = MachineConfig::default();
        config.listen.coordinator = listen.map(|a| a.parse().unwrap());
        config.coordinators = coordinators.iter().map(|c| (*c).to_owned()).collect();
        config
    }

    #[test]
    fn machines_are_sent_where_the_file_says_else_to_where_this_one_listens() {
        let shown = |config: &MachineConfig| addresses(config).iter().map(Address::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&config(Some("10.0.0.1:7420"), &[])), ["https://10.0.0.1:7420"]);
        assert_eq!(shown(&config(Some("[fd00::1]:7420"), &[])), ["https://[fd00::1]:7420"]);
        let named = config(Some("10.0.0.1:7420"), &["https://a:1", "http://127.0.0.1:2", "https://b:3"]);
        assert_eq!(shown(&named), ["https://a:1", "https://b:3"]);
        assert!(shown(&config(Some("0.0.0.0:7420"), &[])).is_empty(), "nobody can connect to any address");
        assert!(shown(&config(None, &[])).is_empty());
    }
}

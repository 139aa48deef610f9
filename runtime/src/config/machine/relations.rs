//! What must hold between the keys of `config.yaml`, and what each address must look like. A broken relation names where its
//! value was said and what to write instead; an address that holds a password is never repeated.

use std::net::{IpAddr, SocketAddr};

use super::said::{Origin, Said};
use super::{MachineConfig, StoreKind, Written};

/// What is wrong, and where it was said.
pub(super) struct Broken {
    pub(super) origin: Origin,
    pub(super) what: String,
}

fn broken(origin: Origin, what: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { origin, what: what.into() })
}

pub(super) fn check(written: &Written, config: &MachineConfig) -> Result<(), Broken> {
    store(written, config)?;
    tls(written)?;
    listen(written, config)?;
    coordinators(written, config)?;
    config.timing.check().or_else(|e| broken(written.timing.origin(), format!("timing: {e}")))
}

fn store(written: &Written, config: &MachineConfig) -> Result<(), Broken> {
    let (said, store) = (&written.store, &config.store);
    match store.kind {
        StoreKind::Embedded if !store.endpoints.is_empty() => {
            return broken(said.endpoints.origin, "store.endpoints go with `kind: etcd`, and the kind is embedded");
        }
        StoreKind::Etcd if store.endpoints.is_empty() => {
            let example = "endpoints: [\"https://10.0.0.1:2379\", ...]";
            return broken(
                said.kind.origin,
                format!("store: `kind: etcd` needs the addresses of its members: {example}"),
            );
        }
        StoreKind::Embedded | StoreKind::Etcd => {}
    }
    let origin = said.endpoints.origin;
    let schemes = addresses("store.endpoints", origin, &store.endpoints)?;
    if schemes.contains(&Scheme::Http) && schemes.contains(&Scheme::Https) {
        return broken(origin, "store.endpoints mix http and https: one of them would be read along the way");
    }
    if schemes.contains(&Scheme::Https) && config.tls.is_none() {
        let next = "join this machine to the fleet (rrctl join), or name ca, cert and key under `tls`";
        return broken(origin, format!("store.endpoints are https, and this machine has no certificate: {next}"));
    }
    match (&store.user, &store.password_file) {
        (Some(_), None) => {
            broken(said.user.origin, "store.user needs store.password_file: the file that holds its password")
        }
        (None, Some(_)) => {
            broken(said.password_file.origin, "store.password_file needs store.user: whose password it is")
        }
        (Some(_), Some(_)) if store.kind == StoreKind::Embedded => {
            broken(said.user.origin, "store.user goes with `kind: etcd`, and the kind is embedded")
        }
        _ => Ok(()),
    }
}

fn tls(written: &Written) -> Result<(), Broken> {
    let tls = &written.tls;
    let all = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)];
    let Some((_, one)) = all.iter().find(|(_, said)| said.value.is_some()) else { return Ok(()) };
    match all.iter().find(|(_, said)| said.value.is_none()) {
        Some((missing, _)) => broken(one.origin, format!("tls.{missing} is missing: ca, cert and key belong together")),
        None => Ok(()),
    }
}

fn listen(written: &Written, config: &MachineConfig) -> Result<(), Broken> {
    let (said, listen) = (&written.listen, &config.listen);
    if let Some(address) = listen.coordinator.filter(|a| !is_loopback(a.ip()) && config.tls.is_none()) {
        let next =
            "join this machine to the fleet (rrctl join) or name ca, cert and key under `tls`; or listen on 127.0.0.1";
        return broken(said.coordinator.origin, reachable("listen.coordinator", address, next));
    }
    if let Some(address) = listen.metrics.filter(|a| !is_loopback(a.ip())) {
        let next = "metrics are plain http: listen on 127.0.0.1 and let a program of that machine pass them on";
        return broken(said.metrics.origin, reachable("listen.metrics", address, next));
    }
    Ok(())
}

fn reachable(key: &str, address: SocketAddr, next: &str) -> String {
    format!("{key} {address} can be reached from other machines, and nothing there would ask who calls: {next}")
}

fn coordinators(written: &Written, config: &MachineConfig) -> Result<(), Broken> {
    let Said { origin, .. } = written.coordinators;
    let schemes = addresses("coordinators", origin, &config.coordinators)?;
    let plain = config.coordinators.iter().zip(schemes).find(|(url, s)| *s == Scheme::Http && !is_local(url));
    match plain {
        Some((url, _)) => broken(origin, format!("coordinators: {url} is another machine's: write https")),
        None => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

fn addresses(key: &str, origin: Origin, urls: &[String]) -> Result<Vec<Scheme>, Broken> {
    let mut schemes = Vec::with_capacity(urls.len());
    for (n, url) in urls.iter().enumerate() {
        match scheme(url) {
            Ok(scheme) => schemes.push(scheme),
            Err(what) => broken(origin, format!("{key}, number {}: {what}", n + 1))?,
        }
        if urls[..n].contains(url) {
            broken(origin, format!("{key} names {url} twice"))?;
        }
    }
    Ok(schemes)
}

fn scheme(url: &str) -> Result<Scheme, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(format!("{} is no address: write http://HOST:PORT or https://HOST:PORT", shown(url))),
    };
    if rest.contains('@') {
        return Err("no user or password in an address: there are the keys `user` and `password_file`".to_owned());
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|p| p > 0) && port.bytes().all(|b| b.is_ascii_digit());
    match rest.trim_end_matches('/').rsplit_once(':') {
        Some((host, port)) if is_port(port) && is_host(host) => Ok(scheme),
        _ => Err(format!("{url:?} needs a host and a port and nothing else, as https://10.0.0.1:2379")),
    }
}

/// What could hold a password is not repeated.
fn shown(url: &str) -> String {
    if url.contains('@') { "what stands there".to_owned() } else { format!("{url:?}") }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')),
    }
}

/// An address of this very machine.
fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.trim_end_matches('/').rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

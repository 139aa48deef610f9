//! The hosts of one fleet and the etcd cluster that they share. Owns what is written into each host's `config.yaml`; the
//! machines and wires are [`super::Machines`]'s, the members [`crate::etcd`]'s.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Apart, Host, Machines, Spot};
use crate::etcd::{CLIENT_PORT, EtcdCluster, EtcdSetup, Seat};

/// A majority of them is there while one is gone.
const MEMBERS: u8 = 3;

pub struct World {
    // The order in which they end: each needs what comes after it.
    pub hosts: Vec<Host>,
    pub etcd: EtcdCluster,
    pub machines: Machines,
}

impl World {
    /// So many hosts on a healthy cluster, each with a `config.yaml` that names its way to the members and ends with `more`.
    ///
    /// # Errors
    /// If the kernel refuses something.
    pub fn new(apart: Apart, hosts: u8, more: &str) -> Result<Self> {
        let machines = Machines::new(apart, hosts, MEMBERS)?;
        let seats = match machines.apart() {
            Apart::Namespaces => machines.spots().iter().map(seat).collect(),
            Apart::Links => vec![],
        };
        let folder = Some(machines.folder().to_owned());
        let etcd = EtcdCluster::start(usize::from(MEMBERS), EtcdSetup { seats, folder, ..EtcdSetup::default() });
        let servers: Vec<SocketAddr> = (0..etcd.len()).map(|m| SocketAddr::new(etcd.ip(m), CLIENT_PORT)).collect();
        let hosts = machines.hosts(&servers).context("set up the hosts")?;
        for host in &hosts {
            let ways: Vec<String> = host.endpoints().iter().map(|e| format!("\"http://{e}\"")).collect();
            host.machine_config(&format!("store: {{ kind: etcd, endpoints: [{}] }}\n{more}", ways.join(", ")));
        }
        Ok(Self { hosts, etcd, machines })
    }
}

fn seat(spot: &Spot) -> Seat {
    Seat { ip: spot.ip(), prefix: spot.prefix().into_iter().map(Into::into).collect(), flags: vec![] }
}

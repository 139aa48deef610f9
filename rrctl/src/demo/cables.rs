//! What joins one host of the show to the members of etcd: a wire to each, all cut and healed together. What a cut does is
//! `link`'s.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::link::{self, Wire};
use crate::exit::Failure;

/// A cut on both ways.
const CUT: Wire = Wire { up_is_cut: true, down_is_cut: true, delay: std::time::Duration::ZERO };

/// One host's; they end with this value.
pub(crate) struct Cables {
    near: Vec<SocketAddr>,
    steer: watch::Sender<Wire>,
    _running: JoinSet<()>,
}

impl Cables {
    pub(crate) async fn lay(members: &[SocketAddr]) -> Result<Self, Failure> {
        let (steer, wire) = watch::channel(Wire::default());
        let (mut near, mut running) = (Vec::new(), JoinSet::new());
        for &member in members {
            let failed = |e| Failure::at("listen on loopback", &e);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
            near.push(listener.local_addr().map_err(failed)?);
            running.spawn(link::run(listener, member, wire.clone()));
        }
        Ok(Self { near, steer, _running: running })
    }

    /// The members as this host has to call them.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.near.iter().map(|at| format!("http://{at}")).collect()
    }

    pub(crate) fn cut(&self) {
        self.steer.send_replace(CUT);
    }

    pub(crate) fn heal(&self) {
        self.steer.send_replace(Wire::default());
    }
}

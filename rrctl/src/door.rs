//! The way to the fleet: this machine's coordinator if it answers, else one of the others by the order of `coordinators`, else
//! straight on the store: a cluster always, this machine's own file for orders that must work without a daemon (its
//! single-owner lock is free then). The rules are the same on every way: the coordinator's. Next: `client`, or
//! `rr_coordinator::ops`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rr_coordinator::{enrol, follow, ops};
use rr_core::time::Clock;
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_runtime::clock::BootClock;
use rr_runtime::config::{MachineConfig, StoreKind};
use rr_runtime::dirs::Dirs;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::store::{self, StoreError};
use rr_store::Store;
use rr_store::embedded::OpenError;
use tokio::time::{sleep, timeout};

use crate::client::{self, Client, Pictures};
use crate::exit::{Failure, Kind};

/// A daemon that is starting, or another order without a daemon, is done within this.
const TRIES: u32 = 40;
const TRY_EVERY: Duration = Duration::from_millis(50);
/// A cluster that has not answered within this is as good as away: a person waits.
const STORE_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Who answers.
pub(crate) struct Door {
    way: Way,
    dirs: Dirs,
}

enum Way {
    Coordinator(Box<Client>),
    /// No coordinator is in between; an embedded store cannot be used by anybody else while this is open.
    Own(Fleet),
}

impl Door {
    /// The way for orders that must work with nobody there: pause and resume.
    pub(crate) async fn open(dirs: &Dirs) -> Result<Self, Failure> {
        Self::find(dirs, true).await
    }

    /// The way for everything else: an embedded store is not opened behind the back of its daemon.
    pub(crate) async fn to_look(dirs: &Dirs) -> Result<Self, Failure> {
        Self::find(dirs, false).await
    }

    async fn find(dirs: &Dirs, even_the_file: bool) -> Result<Self, Failure> {
        let door = |way| Self { way, dirs: dirs.clone() };
        let nobody = match Client::connect(&dirs.api_socket()).await {
            Ok(client) => return Ok(door(Way::Coordinator(Box::new(client)))),
            Err(failure) if failure.kind == Kind::Unreachable => failure,
            Err(failure) => return Err(failure),
        };
        let config = machine()?;
        for url in &config.coordinators {
            match Client::connect_to(url, &config).await {
                Ok(client) => return Ok(door(Way::Coordinator(Box::new(client)))),
                Err(failure) => tracing::debug!(failure = failure.text(), "a coordinator does not answer"),
            }
        }
        match config.store.kind {
            StoreKind::Etcd => cluster(&config, dirs).await.map(Way::Own).map(door),
            StoreKind::Embedded if even_the_file => file(&config, dirs).await.map(door),
            StoreKind::Embedded => Err(nobody),
        }
    }

    /// Whether agents can be told at once.
    pub(crate) const fn is_daemon(&self) -> bool {
        matches!(self.way, Way::Coordinator(_))
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.status().await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("read the fleet's state", ops::status(self.own()?)).await
    }

    pub(crate) async fn pause(&mut self, request: v1::PauseRequest) -> Result<v1::PauseReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.pause(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("pause the fleet", ops::pause(self.own()?, request)).await
    }

    pub(crate) async fn resume(&mut self, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.resume(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("resume the fleet", ops::resume(self.own()?, request)).await
    }

    pub(crate) async fn post_restore(
        &mut self,
        request: v1::PostRestoreRequest,
    ) -> Result<v1::PostRestoreReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.post_restore(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("start anew after a restore", ops::post_restore(self.own()?, request)).await
    }

    pub(crate) async fn force_release(
        &mut self,
        request: v1::ForceReleaseRequest,
    ) -> Result<v1::ForceReleaseReply, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.force_release(request).await,
            Way::Own(fleet) => told("take the lock away", ops::force_release(fleet, request)).await,
        }
    }

    pub(crate) async fn watch(&mut self) -> Result<Pictures, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch().await,
            Way::Own(fleet) => Ok(Pictures::of(follow::pictures(fleet.clone()).boxed())),
        }
    }

    pub(crate) async fn deny(&mut self, request: v1::DenyRequest) -> Result<v1::DenyReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.deny(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("shut the host out", enrol::deny(self.own()?, request)).await
    }

    pub(crate) async fn allow(&mut self, request: v1::AllowRequest) -> Result<v1::AllowReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.allow(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("let the host in again", enrol::allow(self.own()?, request)).await
    }

    pub(crate) async fn hosts(&mut self) -> Result<v1::HostsReply, Failure> {
        if let Way::Coordinator(client) = &mut self.way {
            match client.hosts().await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.step_over(failure).await?,
            }
        }
        told("list the hosts", enrol::hosts(self.own()?)).await
    }

    /// Whether somebody can say how the fleet changes: with an embedded store only its daemon.
    pub(crate) fn can_watch(&self) -> bool {
        self.is_daemon() || machine().is_ok_and(|config| config.store.kind == StoreKind::Etcd)
    }

    /// After a coordinator that is stuck, gone, or too far from us in version: goes on straight on the cluster, if there is
    /// one. What a coordinator understood and refused stays refused.
    async fn step_over(&mut self, failure: Failure) -> Result<(), Failure> {
        let apart = matches!(&self.way, Way::Coordinator(client) if client.is_too_far_apart());
        if !apart && !matches!(failure.kind, Kind::Unreachable | Kind::Failed) {
            return Err(failure);
        }
        let config = match machine() {
            Ok(config) if config.store.kind == StoreKind::Etcd => config,
            _ => return Err(failure),
        };
        let fleet = cluster(&config, &self.dirs).await.map_err(|_| failure)?;
        self.way = Way::Own(fleet);
        Ok(())
    }

    fn own(&self) -> Result<&Fleet, Failure> {
        match &self.way {
            Way::Own(fleet) => Ok(fleet),
            Way::Coordinator(_) => Err(Failure::new(Kind::Failed, "the way to the store was not opened")),
        }
    }
}

/// Makes a join token where there is an authority: not every coordinator has it, and none works without one.
pub(crate) async fn create_token(
    dirs: &Dirs,
    request: v1::CreateTokenRequest,
) -> Result<v1::CreateTokenReply, Failure> {
    let mut refused = match Client::connect(&dirs.api_socket()).await {
        Ok(mut client) => match client.create_token(request.clone()).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    let config = machine()?;
    for url in &config.coordinators {
        let asked = match Client::connect_to(url, &config).await {
            Ok(mut client) => client.create_token(request.clone()).await,
            Err(failure) => Err(failure),
        };
        match asked {
            Ok(reply) => return Ok(reply),
            Err(failure) => refused = failure,
        }
    }
    Err(refused)
}

pub(crate) fn machine() -> Result<MachineConfig, Failure> {
    MachineConfig::load().map_err(|e| Failure::at("read this machine's config.yaml", &e).of_kind(Kind::Usage))
}

async fn told<T>(doing: &str, reply: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, Failure> {
    reply.await.map_err(|status| client::failure(doing, &status))
}

/// The fleet in the cluster that this machine's file names.
async fn cluster(config: &MachineConfig, dirs: &Dirs) -> Result<Fleet, Failure> {
    let opening = async { fleet_in(store::open(config, dirs, clock()).await?, config).await };
    timeout(STORE_ANSWER_MAX, opening).await.unwrap_or_else(|_| {
        let what = format!("the store did not answer within {} s", STORE_ANSWER_MAX.as_secs());
        Err(Failure::new(Kind::Unreachable, what).because(config.store.endpoints.join(", ")).hint("rrctl doctor"))
    })
}

/// This machine's own store, or a daemon that comes up meanwhile. Blocks while its log is read back.
async fn file(config: &MachineConfig, dirs: &Dirs) -> Result<Way, Failure> {
    for _ in 1..TRIES {
        match store::open(config, dirs, clock()).await {
            Ok(store) => return fleet_in(store, config).await.map(Way::Own),
            // Somebody has it: a daemon that does not listen yet, or another order like this one.
            Err(StoreError::Embedded(OpenError::InUse { .. })) => sleep(TRY_EVERY).await,
            Err(error) => return Err(error.into()),
        }
        match Client::connect(&dirs.api_socket()).await {
            Ok(client) => return Ok(Way::Coordinator(Box::new(client))),
            Err(failure) if failure.kind == Kind::Unreachable => {}
            Err(failure) => return Err(failure),
        }
    }
    let client = Client::connect(&dirs.api_socket()).await;
    match (client, store::open(config, dirs, clock()).await) {
        (Ok(client), _) => Ok(Way::Coordinator(Box::new(client))),
        (Err(_), Err(error @ StoreError::Embedded(OpenError::InUse { .. }))) => {
            Err(Failure::from(error).of_kind(Kind::Failed).hint("rrctl doctor"))
        }
        (Err(failure), _) => Err(failure),
    }
}

/// The fleet in a store that is open.
pub(crate) async fn fleet_in(store: Arc<dyn Store>, config: &MachineConfig) -> Result<Fleet, Failure> {
    let fleet = Fleet::open(store, &config.fleet, clock(), Arc::new(OsEntropy), config.timing).await;
    fleet.map_err(|e| {
        let kind = if e.is_outage() { Kind::Unreachable } else { Kind::Failed };
        Failure::at("open the fleet", &e).of_kind(kind)
    })
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(BootClock)
}

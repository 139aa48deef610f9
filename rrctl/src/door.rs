//! The way to the fleet: this machine's coordinator if it answers, else one of the others by the order of `coordinators`, else
//! straight on the store: a cluster always, this machine's own file for orders that must work without a daemon (its
//! single-owner lock is free then). The rules are the same on every way: the coordinator's. Next: `client`, or
//! `rr_coordinator::ops`.

mod journal;
mod slots;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rr_coordinator::{approvals, enrol, follow, ops, publish};
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
    /// Coordinators that were not tried yet.
    others: VecDeque<String>,
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

    /// As [`Door::open`], without making a store where there is none: then nothing can be known.
    pub(crate) async fn open_existing(dirs: &Dirs) -> Result<Self, Failure> {
        let own_file = || machine().is_ok_and(|config| config.store.kind == StoreKind::Embedded);
        if !dirs.api_socket().exists() && own_file() && !dirs.store_dir().exists() {
            return Err(Failure::new(Kind::Unreachable, "there is no store on this machine").hint("rrctl up --detach"));
        }
        Self::open(dirs).await
    }

    /// The way for everything else: an embedded store is not opened behind the back of its daemon.
    pub(crate) async fn to_look(dirs: &Dirs) -> Result<Self, Failure> {
        Self::find(dirs, false).await
    }

    async fn find(dirs: &Dirs, even_the_file: bool) -> Result<Self, Failure> {
        let nearest = Client::connect(&dirs.api_socket()).await;
        let config = match (&nearest, machine()) {
            // A configuration that cannot be used must not stand between a person and a coordinator that answers.
            (Ok(_), config) => config.unwrap_or_default(),
            (Err(failure), _) if failure.kind != Kind::Unreachable => return Err(failure.clone()),
            (Err(_), config) => config?,
        };
        let mut others: VecDeque<String> = config.coordinators.clone().into();
        let way = match nearest {
            Ok(client) => Way::coordinator(client, &others, &config),
            Err(nobody) => match (next_of(&mut others, &config).await, config.store.kind) {
                (Some(way), _) => way,
                (None, StoreKind::Etcd) => Way::Own(cluster(&config, dirs).await?),
                (None, StoreKind::Embedded) if even_the_file => file(&config, dirs).await?,
                (None, StoreKind::Embedded) => return Err(nobody),
            },
        };
        Ok(Self { way, dirs: dirs.clone(), others })
    }

    /// Whether agents can be told at once.
    pub(crate) const fn is_daemon(&self) -> bool {
        matches!(self.way, Way::Coordinator(_))
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        let by = async |client: &mut Client| client.status().await;
        self.ask("read the fleet's state", by, async |fleet| ops::status(fleet).await).await
    }

    pub(crate) async fn pause(&mut self, request: v1::PauseRequest) -> Result<v1::PauseReply, Failure> {
        let by = async |client: &mut Client| client.pause(request.clone()).await;
        self.ask("pause the fleet", by, async |fleet| ops::pause(fleet, request.clone()).await).await
    }

    pub(crate) async fn resume(&mut self, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Failure> {
        let by = async |client: &mut Client| client.resume(request.clone()).await;
        self.ask("resume the fleet", by, async |fleet| ops::resume(fleet, request.clone()).await).await
    }

    pub(crate) async fn post_restore(
        &mut self,
        request: v1::PostRestoreRequest,
    ) -> Result<v1::PostRestoreReply, Failure> {
        let by = async |client: &mut Client| client.post_restore(request.clone()).await;
        let own = async |fleet: &Fleet| ops::post_restore(fleet, request.clone()).await;
        self.ask("start anew after a restore", by, own).await
    }

    pub(crate) async fn force_release(
        &mut self,
        request: v1::ForceReleaseRequest,
    ) -> Result<v1::ForceReleaseReply, Failure> {
        let by = async |client: &mut Client| client.force_release(request.clone()).await;
        let own = async |fleet: &Fleet| ops::force_release(fleet, request.clone()).await;
        self.ask("take the lock away", by, own).await
    }

    pub(crate) async fn deny(&mut self, request: v1::DenyRequest) -> Result<v1::DenyReply, Failure> {
        let by = async |client: &mut Client| client.deny(request.clone()).await;
        self.ask("shut the host out", by, async |fleet| enrol::deny(fleet, request.clone()).await).await
    }

    pub(crate) async fn allow(&mut self, request: v1::AllowRequest) -> Result<v1::AllowReply, Failure> {
        let by = async |client: &mut Client| client.allow(request.clone()).await;
        self.ask("let the host in again", by, async |fleet| enrol::allow(fleet, request.clone()).await).await
    }

    pub(crate) async fn hosts(&mut self) -> Result<v1::HostsReply, Failure> {
        let by = async |client: &mut Client| client.hosts().await;
        self.ask("list the hosts", by, async |fleet| enrol::hosts(fleet).await).await
    }

    pub(crate) async fn watch(&mut self) -> Result<Pictures, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch().await,
            Way::Own(fleet) => Ok(Pictures::of(follow::pictures(fleet.clone()).boxed())),
        }
    }

    pub(crate) async fn approvals(&mut self) -> Result<v1::ApprovalsReply, Failure> {
        let by = async |client: &mut Client| client.approvals().await;
        self.ask("list the requests for approval", by, async |fleet| approvals::list(fleet).await).await
    }

    pub(crate) async fn watch_approvals(&mut self) -> Result<Pictures<v1::ApprovalsReply>, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch_approvals().await,
            Way::Own(fleet) => Ok(Pictures::of(approvals::pictures(fleet.clone()).boxed())),
        }
    }

    /// Sent twice where the first answer was lost, it is told that it was decided already, by whom.
    pub(crate) async fn decide(&mut self, request: v1::DecideRequest) -> Result<v1::DecideReply, Failure> {
        let by = async |client: &mut Client| client.decide(request.clone()).await;
        self.ask("decide on the request", by, async |fleet| approvals::decide(fleet, request.clone()).await).await
    }

    /// Whether somebody can say how the fleet changes: with an embedded store only its daemon.
    pub(crate) fn can_watch(&self) -> bool {
        self.is_daemon() || machine().is_ok_and(|config| config.store.kind == StoreKind::Etcd)
    }

    /// Asks whoever answers, and where that one does not, the next: each way is taken once.
    async fn ask<T>(
        &mut self,
        doing: &str,
        by: impl AsyncFn(&mut Client) -> Result<T, Failure>,
        own: impl AsyncFn(&Fleet) -> Result<T, tonic::Status>,
    ) -> Result<T, Failure> {
        loop {
            match &mut self.way {
                Way::Own(fleet) => return own(fleet).await.map_err(|status| client::failure(doing, &status)),
                Way::Coordinator(client) => match by(client).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => self.step_over(failure).await?,
                },
            }
        }
    }

    /// After a coordinator that is stuck, gone, or too far from us in version: goes on to the next, and at last straight on
    /// the cluster, if there is one. What a coordinator understood and refused stays refused.
    async fn step_over(&mut self, failure: Failure) -> Result<(), Failure> {
        let apart = matches!(&self.way, Way::Coordinator(client) if client.is_too_far_apart());
        if !apart && !matches!(failure.kind, Kind::Unreachable | Kind::Failed) {
            return Err(failure);
        }
        let Ok(config) = machine() else { return Err(failure) };
        self.way = match (next_of(&mut self.others, &config).await, config.store.kind) {
            (Some(way), _) => way,
            (None, StoreKind::Etcd) => Way::Own(cluster(&config, &self.dirs).await.map_err(|_| failure)?),
            (None, StoreKind::Embedded) => return Err(failure),
        };
        Ok(())
    }

    /// What is known of some commits, however many.
    pub(crate) async fn judge(&mut self, commits: &[String]) -> Result<Vec<v1::CommitVerdict>, Failure> {
        let mut found = Vec::with_capacity(commits.len());
        for part in commits.chunks(publish::COMMITS_MAX) {
            let request = v1::JudgeRequest { commits: part.to_vec() };
            let by = async |client: &mut Client| client.judge(request.clone()).await;
            let own = async |fleet: &Fleet| publish::judge(fleet, request.clone()).await;
            let reply = self.ask("ask what is known of the commits", by, own).await;
            found.extend(reply?.verdicts);
        }
        Ok(found)
    }

    pub(crate) async fn vouch(&mut self, commits: &[String], who: &str, reason: &str) -> Result<(), Failure> {
        for part in commits.chunks(publish::COMMITS_MAX) {
            let (who, reason) = (who.to_owned(), reason.to_owned());
            let request = v1::VouchRequest { commits: part.to_vec(), who, reason };
            let by = async |client: &mut Client| client.vouch(request.clone()).await;
            let own = async |fleet: &Fleet| publish::vouch(fleet, request.clone()).await;
            self.ask("vouch for the commits", by, own).await?;
        }
        Ok(())
    }
}

impl Way {
    fn coordinator(client: Client, others: &VecDeque<String>, config: &MachineConfig) -> Self {
        let is_last = others.is_empty() && config.store.kind == StoreKind::Embedded;
        Self::Coordinator(Box::new(if is_last { client } else { client.one_of_several_ways() }))
    }
}

/// The next coordinator that takes a connection.
async fn next_of(others: &mut VecDeque<String>, config: &MachineConfig) -> Option<Way> {
    while let Some(url) = others.pop_front() {
        match Client::connect_to(&url, config).await {
            Ok(client) => return Some(Way::coordinator(client, others, config)),
            Err(failure) => tracing::debug!(failure = failure.text(), "a coordinator does not answer"),
        }
    }
    None
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

//! The way to the fleet for orders that must work without a daemon: the daemon if one answers, else this machine's own store
//! for the moment of the order (its single-owner lock is free then). The rules are the same on both ways: the
//! coordinator's. Next: `client`, or `rr_coordinator::ops`.

use std::sync::Arc;
use std::time::Duration;

use rr_coordinator::{ops, publish};
use rr_core::id::FleetName;
use rr_core::limits::Timing;
use rr_core::time::Clock;
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_runtime::clock::BootClock;
use rr_runtime::dirs::Dirs;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, OpenError, Options};
use tokio::time::sleep;

use crate::client::{self, Client};
use crate::exit::{Failure, Kind};

/// A daemon that is starting, or another order without a daemon, is done within this.
const TRIES: u32 = 40;
const TRY_EVERY: Duration = Duration::from_millis(50);

pub(crate) enum Door {
    Daemon(Box<Client>),
    /// No daemon runs; nothing else can use the store while this is open.
    Own(Fleet),
}

impl Door {
    pub(crate) async fn open(dirs: &Dirs) -> Result<Self, Failure> {
        for _ in 1..TRIES {
            match Client::connect(&dirs.api_socket()).await {
                Ok(client) => return Ok(Self::Daemon(Box::new(client))),
                Err(failure) if failure.kind == Kind::Unreachable => {}
                Err(failure) => return Err(failure),
            }
            match store(dirs) {
                Ok(store) => return own_fleet(store, Timing::default()).await.map(Self::Own),
                // Somebody has it: a daemon that does not listen yet, or another order like this one.
                Err(OpenError::InUse { .. }) => sleep(TRY_EVERY).await,
                Err(error) => return Err(unopened(&error)),
            }
        }
        let client = Client::connect(&dirs.api_socket()).await;
        client.map(Box::new).map(Self::Daemon).map_err(|failure| match store(dirs) {
            Err(error @ OpenError::InUse { .. }) => unopened(&error).hint("rrctl doctor"),
            _ => failure,
        })
    }

    /// As [`Door::open`], without making a store where there is none: then nothing can be known.
    pub(crate) async fn open_existing(dirs: &Dirs) -> Result<Self, Failure> {
        if !dirs.api_socket().exists() && !dirs.store_dir().exists() {
            return Err(Failure::new(Kind::Unreachable, "there is no store on this machine").hint("rrctl up --detach"));
        }
        Self::open(dirs).await
    }

    pub(crate) const fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        match self {
            Self::Daemon(client) => client.status().await,
            Self::Own(fleet) => told("read the fleet's state", ops::status(fleet).await),
        }
    }

    pub(crate) async fn pause(&mut self, request: v1::PauseRequest) -> Result<v1::PauseReply, Failure> {
        match self {
            Self::Daemon(client) => client.pause(request).await,
            Self::Own(fleet) => told("pause the fleet", ops::pause(fleet, request).await),
        }
    }

    pub(crate) async fn resume(&mut self, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Failure> {
        match self {
            Self::Daemon(client) => client.resume(request).await,
            Self::Own(fleet) => told("resume the fleet", ops::resume(fleet, request).await),
        }
    }

    /// What is known of some commits, however many.
    pub(crate) async fn judge(&mut self, commits: &[String]) -> Result<Vec<v1::CommitVerdict>, Failure> {
        let mut found = Vec::with_capacity(commits.len());
        for part in commits.chunks(publish::COMMITS_MAX) {
            let request = v1::JudgeRequest { commits: part.to_vec() };
            let reply = match self {
                Self::Daemon(client) => client.judge(request).await,
                Self::Own(fleet) => told("ask what is known of the commits", publish::judge(fleet, request).await),
            };
            found.extend(reply?.verdicts);
        }
        Ok(found)
    }

    pub(crate) async fn vouch(&mut self, commits: &[String], who: &str, reason: &str) -> Result<(), Failure> {
        for part in commits.chunks(publish::COMMITS_MAX) {
            let (who, reason) = (who.to_owned(), reason.to_owned());
            let request = v1::VouchRequest { commits: part.to_vec(), who, reason };
            match self {
                Self::Daemon(client) => client.vouch(request).await,
                Self::Own(fleet) => told("vouch for the commits", publish::vouch(fleet, request).await),
            }?;
        }
        Ok(())
    }
}

fn told<T>(doing: &str, reply: Result<T, tonic::Status>) -> Result<T, Failure> {
    reply.map_err(|status| client::failure(doing, &status))
}

/// This machine's own store. Blocks while its log is read back.
pub(crate) fn store(dirs: &Dirs) -> Result<Arc<EmbeddedStore>, OpenError> {
    EmbeddedStore::open(&dirs.store_dir(), Options::default(), clock())
}

/// The fleet in a store that is ours.
pub(crate) async fn own_fleet(store: Arc<EmbeddedStore>, timing: Timing) -> Result<Fleet, Failure> {
    let fleet = Fleet::open(store, &FleetName::default(), clock(), Arc::new(OsEntropy), timing).await;
    fleet.map_err(|e| Failure::at("open the fleet", &e))
}

pub(crate) fn unopened(error: &OpenError) -> Failure {
    let failure = Failure::at("open the store of this machine", error);
    match error {
        OpenError::InUse { .. } => failure,
        OpenError::Newer { .. } => failure.hint("install the newer rrctl again"),
        // Moving the file is the person's word that what it held may be forgotten: no option does that by the way.
        OpenError::Damaged { kept_at, .. } => failure.hint(format!(
            "it holds who has which lock and whether the fleet is paused; to start with nothing of that known, end all \
             agents, then: mv {} ~/ && rrctl up --detach",
            kept_at.display()
        )),
        OpenError::Io { .. } => failure.hint("rrctl doctor"),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(BootClock)
}

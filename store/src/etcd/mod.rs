//! The engine for many machines: an etcd cluster. Follow a request: here → `calls` (what is sent) → `route` (to which
//! endpoint, how often) → `endpoint` (its connections, its health) → `line` (one connection) → `failure` (what an error
//! means) → `highest` (is this still the same history?). Leases are renewed in `renew`, watches followed in `watch`.
//! It does not know what keys mean, and repeats no write whose outcome it does not know (docs/adr/0009).
//!
//! # What an error means
//!
//! | what came back | read | write | tried elsewhere |
//! |---|---|---|---|
//! | refused before it was sent: limits, a key written twice (`check`) | `Invalid` | `Invalid` | no |
//! | no connection: refused, unreachable, TLS, login, another cluster's member | `Unavailable` | `Unavailable` | yes |
//! | the connection broke while idle | (made anew) | (made anew) | same |
//! | etcd, before proposing: no leader, proposal dropped, too many requests, token expired, learner | `Unavailable` | `Unavailable` | yes |
//! | no answer in time; the connection broke; timed out in etcd; leader changed; server stopped | `Unavailable` | `Unknown` | reads |
//! | anything that is not known to this table | `Unavailable` | `Unknown` | reads |
//! | space exceeded | – | `NoSpace` | no |
//! | lease not found | – | `LeaseNotFound` | no |
//! | corrupt cluster (the `CORRUPT` alarm) | `Damaged` | `Damaged` | no |
//! | too large, permission denied, user name is empty, revision in the future | `Invalid` | `Invalid` | no |
//! | an answer from before what was seen | `WentBack` | `WentBack` | no |

mod calls;
mod connect;
mod endpoint;
mod failure;
mod highest;
mod line;
mod members;
mod options;
mod renew;
mod route;
mod tls;
pub mod users;
mod watch;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use rr_core::time::{Clock, Span};

pub use self::members::{Member, MemberStatus};
pub use self::options::{ConnectError, Credentials, EtcdOptions, TlsFiles};

use self::calls::{Compact, Grant, Range, Revoke, RunTxn};
use self::renew::Renewals;
use self::route::Route;
use crate::check::{check_keys, check_txn};
use crate::contract::{
    KeepAlive, Keys, LeaseId, Op, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

/// A cluster, through as few connections as it takes: one for requests and one for watches, at one endpoint at a time.
pub struct EtcdStore {
    route: Arc<Route>,
    renewals: Renewals,
}

impl EtcdStore {
    /// Connects to all endpoints; one that answers is enough.
    ///
    /// # Errors
    /// [`ConnectError`] names the endpoint and says what to do.
    pub async fn connect(options: EtcdOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, ConnectError> {
        Self::connect_from(options, Position::default(), clock).await
    }

    /// As [`Self::connect`], for a caller that remembers how far it has seen the store's history ([`Store::position`]): an
    /// older state is then noticed over restarts, too.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_from(
        options: EtcdOptions,
        seen: Position,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ConnectError> {
        let route = Arc::new(connect::connect(options, seen, &clock).await?);
        Ok(Arc::new(Self { renewals: Renewals::start(Arc::clone(&route)), route }))
    }

    /// Each endpoint, and what its member says of itself.
    pub async fn members(&self) -> Vec<Member> {
        futures::future::join_all(self.route.endpoints.iter().map(|endpoint| members::ask(endpoint))).await
    }

    /// etcd does not say which lease it misses.
    async fn missing_lease(&self, txn: &Txn) -> LeaseId {
        let leases = txn.success.iter().chain(&txn.failure).filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            Op::Get(_) | Op::Delete(_) => None,
        });
        let leases: BTreeSet<LeaseId> = leases.collect();
        for lease in &leases {
            if leases.len() == 1 || self.renewals.renew(*lease).await == Ok(KeepAlive::Gone) {
                return *lease;
            }
        }
        // It has come to an end only just now; any of them says what to do: begin anew.
        leases.first().copied().unwrap_or(LeaseId(0))
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        check_txn(&txn)?;
        match self.route.run(&RunTxn(&txn)).await {
            Err(StoreError::LeaseNotFound(_)) => Err(StoreError::LeaseNotFound(self.missing_lease(&txn).await)),
            other => other,
        }
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        check_keys(&keys)?;
        self.route.run(&Range(&keys)).await
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        let seconds = ttl.as_millis().div_ceil(1_000).max(1);
        self.route.run(&Grant(wire::signed(seconds))).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        self.route.highest.mark()?;
        self.renewals.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        match self.route.run(&Revoke(lease)).await {
            Err(StoreError::LeaseNotFound(_)) => Err(StoreError::LeaseNotFound(lease)),
            other => other,
        }
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        check_keys(&keys)?;
        watch::watch(Arc::clone(&self.route), keys, from).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        match self.route.run(&Compact(revision)).await {
            // Forgotten already.
            Err(StoreError::Compacted { .. }) => Ok(()),
            other => other,
        }
    }

    fn position(&self) -> Position {
        self.route.highest.seen()
    }

    fn accept_history(&self) {
        self.route.highest.accept();
    }
}

//! The protocol over any store: what a session, a lock, a queue entry and the run permit are made of, and the transactions that
//! change them (lock-protocol §3-5). It decides nothing by itself: `rr_core` has the rules; and it keeps nothing: the store
//! is the record. Start at [`Fleet`], then `session`, `locks`, `queue`, `permit`, `leader`, `overview`,
//! `publish`.

mod keys;
mod leader;
mod locks;
mod overview;
mod permit;
mod publish;
mod queue;
mod records;
mod session;
mod settle;

pub use keys::Keyspace;
pub use leader::{Leader, Ring};
pub use locks::{Answer, Grant, GrantedLock, Released, Request, Unclean};
pub use overview::{LockRow, Overview, SessionRow, WaiterRow};
pub use permit::{AckState, FleetState, Hold, HoldKind, PauseDone, ResumeDone};
pub use publish::{Changed, CommitRecord, Overtaken, Recorded, Right, Standing, VERDICTS_KEPT_FOR, Verdict};
pub use queue::{WaitEnd, Waiter};
pub use records::{AckRecord, SessionRecord};
pub use session::{Ending, Proof, Registered, Session};

use std::sync::Arc;

use rr_core::id::{Entropy, FleetName};
use rr_core::limits::Timing;
use rr_core::time::Clock;
use rr_store::{Compare, Keys, Op, Revision, Store, StoreError, Txn};

/// The version of the key layout. A store with a newer one is refused.
pub const SCHEMA: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("{doing}")]
    Store {
        doing: &'static str,
        #[source]
        source: StoreError,
    },
    #[error(
        "the store was written by a newer version (schema {found}, this program knows {SCHEMA}): update this program"
    )]
    NewerSchema { found: u32 },
    #[error("key {key} holds what this program cannot read: {why}")]
    Garbage { key: String, why: String },
    #[error("too many scopes in one request: at most {max}")]
    TooManyScopes { max: usize },
    #[error("outcome unknown and settled as \"not done\": ask again")]
    Voided,
}

impl FleetError {
    /// Whether the store could not be reached or did not answer clearly, as against refusing.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Voided)
            || matches!(self, Self::Store { source, .. } if source.is_unknown() || source.is_retryable())
    }
}

/// Adds what was being done to a store's error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, FleetError>;
}

impl<T> Doing<T> for Result<T, StoreError> {
    fn doing(self, doing: &'static str) -> Result<T, FleetError> {
        self.map_err(|source| FleetError::Store { doing, source })
    }
}

/// One fleet in one store.
#[derive(Clone)]
pub struct Fleet {
    store: Arc<dyn Store>,
    keys: Keyspace,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    timing: Timing,
}

impl Fleet {
    /// Opens a fleet; the first one to do so writes its generation, its schema and the first run permit.
    ///
    /// # Errors
    /// If the store does not answer, or holds a newer schema.
    pub async fn open(
        store: Arc<dyn Store>,
        name: &FleetName,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        timing: Timing,
    ) -> Result<Self, FleetError> {
        let fleet = Self { store, keys: Keyspace::new(name), clock, entropy, timing };
        fleet.initialise().await?;
        Ok(fleet)
    }

    async fn initialise(&self) -> Result<(), FleetError> {
        let generation = rr_core::id::hex(&self.entropy.bits());
        let first = Txn::when(vec![Compare::absent(Keys::one(self.keys.generation()))])
            .then(vec![
                Op::put(self.keys.generation(), generation),
                Op::put(self.keys.schema(), SCHEMA.to_string()),
                Op::put(self.keys.epoch(), "1"),
                Op::put(self.keys.run(), records::RunRecord::first().encode()),
            ])
            .otherwise(vec![Op::Get(Keys::one(self.keys.schema()))]);
        // An unknown outcome needs no care: whoever wrote the generation wrote all four.
        let reply = match self.store.txn(first.clone()).await {
            Err(e) if e.is_unknown() => self.store.txn(first).await,
            other => other,
        }
        .doing("open the fleet")?;
        if reply.succeeded {
            return Ok(());
        }
        let found = reply.replies.into_iter().flat_map(rr_store::OpReply::into_keys).next();
        let found = found.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).unwrap_or_default();
        match found.parse::<u32>() {
            Ok(version) if version <= SCHEMA => Ok(()),
            Ok(version) => Err(FleetError::NewerSchema { found: version }),
            Err(_) => Err(FleetError::Garbage { key: self.keys.schema(), why: format!("{found:?} is no number") }),
        }
    }

    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keys
    }

    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Every change below a key prefix, from `from` on; 0 means from now.
    ///
    /// # Errors
    /// If the store does not answer or has forgotten `from`.
    pub async fn watch(&self, prefix: String, from: Revision) -> Result<rr_store::WatchStream, FleetError> {
        self.store.watch(Keys::prefix(prefix), from).await.doing("watch the store")
    }
}

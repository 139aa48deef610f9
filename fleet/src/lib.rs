//! The protocol over any store: what a session, a lock, a queue entry and the run permit are made of, and the transactions that
//! change them (lock-protocol §3-5). It decides nothing by itself: `rr_core` has the rules; and it keeps nothing: the store
//! is the record. Start at [`Fleet`], then `session`, `estate`, `locks`, `queue`, `permit`, `leader`, `overview`, `follow`,
//! `hosts`, `publish`, `approvals`, `asks`, `heads`; and what the watcher keeps: `live`, `findings`, `incidents`, `repair`,
//! `health`, `slots`.

mod approvals;
mod asks;
mod estate;
mod fill;
mod findings;
mod follow;
mod heads;
mod health;
mod hosts;
mod incidents;
mod keys;
mod leader;
mod listing;
mod live;
mod locks;
mod overview;
mod permit;
mod publish;
mod queue;
mod records;
mod repair;
mod restore;
mod session;
mod settle;
mod slots;
mod turn;

pub use approvals::{
    Answer as ApprovalAnswer, AnswerChange, Answers, ApprovalRequest, ApprovalRow, ApprovalState, Asked, Decide,
    Decided, Decision, TooMany, Used, shown,
};
pub use asks::{
    ANSWER_BYTES_MAX, Answered, Asking, Closed, Heard, HowFar, QUESTION_BYTES_MAX, QUESTIONS_MAX, Question, TakeUp,
    TakenUp,
};
pub use estate::Estate;
pub use findings::{FINDINGS_MAX, FindingChange, FindingFollower, FindingsKept, TOLD_BYTES_MAX};
pub use follow::{Follower, LockCount, Moved, Moves, Now, Part, Work};
pub use heads::{HeadRecorded, JournalHost, LogHead};
pub use health::{
    AskedHealth, HEALTH_RUNS_MAX, HealthAsk, HealthRun, LineHealth, PLAN_BYTES_MAX, TakenAsk, TrustedPlan,
};
pub use hosts::{Applicant, Denial, DenyDone, HostRecord, HostRow, Invitation, Join};
pub use incidents::{
    Advanced, Deadline, Drain, INCIDENT_BYTES_MAX, IncidentFound, OPEN_INCIDENTS_MAX, ORDERS_MAX, Opened, Order,
    OrderTaken, Ordered, PAST_INCIDENTS_MAX, ResumedFor, Stored,
};
pub use keys::Keyspace;
pub use leader::{Leader, Ring};
pub use live::{LIVE_BYTES_MAX, LiveChange, LiveFollower, LiveLease, SentFollower, TREES_PER_HOST_MAX, WantedFollower};
pub use locks::{Answer, Grant, GrantedLock, Released, Request, Unclean};
pub use overview::{LockRow, Overview, SessionRow, WaiterRow};
pub use permit::{AckState, FleetState, Generation, Hold, HoldKind, PauseDone, ResumeDone};
pub use publish::{Changed, CommitRecord, Overtaken, Recorded, Right, Standing, VERDICTS_KEPT_FOR, Verdict};
pub use queue::{WaitEnd, Waiter};
pub use records::{AckRecord, PERSON, SessionRecord};
pub use repair::{HandBy, Handed, Repair, RepairChange, RepairRecord, RepairReleased};
pub use restore::Restored;
pub use session::{Beat, Ending, Proof, Registered, Session};
pub use slots::{SLOT_LINE_MAX, Slot, SlotHeld, SlotHolder, SlotPlace, SlotRow, SlotTicket};

use std::sync::Arc;

use rr_core::history::next_generation;
use rr_core::id::{Entropy, FleetName};
use rr_core::limits::Timing;
use rr_core::scope::CONFLICT_RULES;
use rr_core::time::Clock;
use rr_store::{Compare, Keys, Op, Position, Revision, Store, StoreError, Txn};

/// The version of the key layout.
const LAYOUT: u32 = 1;

/// How the first stores wrote their version: layout 1, and rules 1 without saying so.
const WITHOUT_RULES: &str = "1";

/// What every program of a fleet must agree on: the layout of the keys, and which locks conflict. Two that differ in either
/// could both be granted what only one may have.
fn schema() -> String {
    format!("{LAYOUT}.{CONFLICT_RULES}")
}

/// Whether a store with this schema may be used.
fn knows(found: &[u8]) -> Result<(), FleetError> {
    let found = String::from_utf8_lossy(found).into_owned();
    if found == schema() || found == WITHOUT_RULES { Ok(()) } else { Err(FleetError::OtherSchema { found }) }
}

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("{doing}")]
    Store {
        doing: &'static str,
        #[source]
        source: StoreError,
    },
    #[error(
        "the store was written by another version (schema {found}, this program has {}): all programs of a fleet must have the \
         same, update the older ones",
        schema()
    )]
    OtherSchema { found: String },
    #[error("key {key} holds what this program cannot read: {why}")]
    Garbage { key: String, why: String },
    #[error("too many scopes in one request: at most {max}")]
    TooManyScopes { max: usize },
    #[error("this host was shut out of the fleet by {}: {}", .0.who, .0.reason)]
    Denied(Denial),
    #[error("the fleet holds as many locks as it may ({max}): nothing more is granted until some are given back")]
    Full { max: usize },
    #[error("{what} of {bytes} bytes is too long: at most {max}")]
    TooLong { what: &'static str, bytes: usize, max: usize },
    #[error("{max} questions to sidecars are open, no more may be asked at a time")]
    TooManyQuestions { max: usize },
    #[error("somebody else leads: nothing was written")]
    NotLeading,
    #[error("another sidecar of this host has taken over its work trees, or too much time has passed: begin anew")]
    NotLive,
    #[error("the fleet has as many {what} as it may ({max})")]
    TooMany { what: &'static str, max: usize },
    #[error("{got:?} is no {what}: 1 to 128 printable ASCII characters without a slash")]
    BadName { what: &'static str, got: String },
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
    /// If the store does not answer, or was written by another version of the layout or of the rules.
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

    /// A look first: a full store takes no transaction that could write, and it must be possible to pause one (H9).
    async fn initialise(&self) -> Result<(), FleetError> {
        if let Some(schema) = self.get(&self.keys.schema(), "open the fleet").await? {
            return knows(&schema.value);
        }
        let generation = next_generation("", &rr_core::id::hex(&self.entropy.bits()));
        let first = Txn::when(vec![Compare::absent(Keys::one(self.keys.generation()))])
            .then(vec![
                Op::put(self.keys.generation(), generation),
                Op::put(self.keys.schema(), schema()),
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
        knows(&found.map(|kv| kv.value).unwrap_or_default())
    }

    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keys
    }

    /// How far the store's history has been seen.
    #[must_use]
    pub fn position(&self) -> Position {
        self.store.position()
    }

    /// Goes on with a store that went back: its caller has seen to it that nothing of before is relied on.
    pub fn accept_history(&self) {
        self.store.accept_history();
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

//! The store's contract: what every engine promises, in etcd's own model, so that an etcd cluster and the embedded file
//! answer alike. Callers know this file only; the engines are in `embedded` and `etcd`, the checks of each
//! numbered guarantee in `suite`.
//!
//! # Guarantees
//!
//! - **G1 Revisions.** Every transaction that writes raises the store's revision by exactly one; all its writes carry that
//!   revision. A transaction that writes nothing raises nothing. A revision is never given twice, not even after a crash.
//! - **G2 Transactions.** Compares, then one of two lists of operations, applied at one revision or not at all, in one
//!   total order (strict serialisability). Compares and reads of the same transaction see one state. A read placed
//!   after a write in the same list sees that write. No key may be written twice in one list: two puts of a key, or a
//!   put that a delete of the same list covers, are [`StoreError::Invalid`]. Deletes may overlap; the later finds nothing.
//! - **G3 Durability.** A write is answered only after it would survive the death of the process and of the machine.
//! - **G4 Versions.** `create_revision` is the revision at which the key last came into being, 0 if it is absent;
//!   `mod_revision` that of its last write; `version` counts its writes since creation, from 1.
//! - **G5 Range compares.** A compare over a range holds if it holds for every key in the range; for an empty range a
//!   compare of a number holds exactly if it holds for 0, and a compare of a value never holds, whatever its relation
//!   (so etcd has it: an absent key has no value, not an empty one).
//! - **G6 Leases.** A key written with a lease vanishes when the lease ends. All keys of a lease vanish at one revision. A
//!   lease never ends earlier than its time to live after the last acknowledged keep-alive; it may end later. Writing a key
//!   again without a lease detaches it. Granting raises no revision; ending raises one exactly if a key went with it. A
//!   put with a lease that does not exist is [`StoreError::LeaseNotFound`] and its transaction changes nothing.
//! - **G7 Lease restarts.** When the store (or its leader) restarts, every lease gets its full time to live again.
//! - **G8 Watches.** A watch from revision r delivers every change in its range with a revision ≥ r, in order, each once,
//!   changes of one revision together. Where r is older than what the store still knows it ends at once with
//!   [`StoreError::Compacted`] (as the stream's first item); it never skips silently. Delivery is a hint for speed: a watch
//!   can end at any time. Compacting below what is already forgotten is no error; above the store's revision it is
//!   [`StoreError::Invalid`].
//! - **G9 Unknown outcomes.** An error for which [`StoreError::is_unknown`] holds says nothing about whether the
//!   write took place; every other error says that it did not.
//! - **G10 Order.** `range` answers in key order and reports the revision it saw; a later call never sees an older one.
//!   An engine whose store may be put back to an earlier state behind its back (etcd, restored from a backup) never hands
//!   out such an answer: from then on everything is [`StoreError::WentBack`], until its owner accepts the new history.
//! - **G11 Limits.** More than [`TXN_OPS_MAX`] compares, or operations in a list, a value above [`VALUE_BYTES_MAX`], a key
//!   that is empty or above [`KEY_BYTES_MAX`], or a transaction above [`TXN_BYTES_MAX`] is refused as
//!   [`StoreError::Invalid`] and changes nothing. The empty prefix is allowed: every key.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use rr_core::time::Span;

/// As etcd's `--max-txn-ops` default: compares, successes and failures are each limited to it.
pub const TXN_OPS_MAX: usize = 128;
/// etcd refuses requests above 1.5 MiB; one value stays well below.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// As etcd's own request limit: keys are short here, anything longer is a mistake.
pub const KEY_BYTES_MAX: usize = 8 << 10;

/// Keys and values of one transaction together: etcd's 1.5 MiB less room for the framing of its fields.
pub const TXN_BYTES_MAX: usize = (1 << 20) + (256 << 10);

/// A revision of the store: the order of all writes. 0 means "never".
pub type Revision = u64;

/// How far a store's history has been seen. Both grow as long as it is one history; restoring a backup lowers at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub revision: Revision,
    /// Grows with each election of an etcd cluster; always 0 where there are none.
    pub raft_term: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {} in term {}", self.revision, self.raft_term)
    }
}

/// The store's name for a lease. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One key as the store holds it. Keys are text: everything this project stores is percent-encoded (lock-protocol §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: Vec<u8>,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    pub version: u64,
    pub lease: Option<LeaseId>,
}

/// Which keys an operation speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    One(String),
    /// Every key that starts with this text.
    Prefix(String),
}

impl Keys {
    #[must_use]
    pub fn one(key: impl Into<String>) -> Self {
        Self::One(key.into())
    }

    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::Prefix(prefix.into())
    }

    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

/// How a compare relates the stored number or value (left) to the given one (right).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    Greater,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    CreateRevision(Revision),
    ModRevision(Revision),
    Version(u64),
    Value(Vec<u8>),
}

/// One condition of a transaction (G5 says what it means over a range).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub keys: Keys,
    pub relation: Relation,
    pub subject: Subject,
}

impl Compare {
    /// No key of `keys` exists.
    #[must_use]
    pub fn absent(keys: Keys) -> Self {
        Self { keys, relation: Relation::Equal, subject: Subject::CreateRevision(0) }
    }

    #[must_use]
    pub fn exists(key: impl Into<String>) -> Self {
        Self { keys: Keys::one(key), relation: Relation::Greater, subject: Subject::CreateRevision(0) }
    }

    #[must_use]
    pub fn created_at(key: impl Into<String>, revision: Revision) -> Self {
        Self { keys: Keys::one(key), relation: Relation::Equal, subject: Subject::CreateRevision(revision) }
    }

    #[must_use]
    pub fn modified_at(key: impl Into<String>, revision: Revision) -> Self {
        Self { keys: Keys::one(key), relation: Relation::Equal, subject: Subject::ModRevision(revision) }
    }

    #[must_use]
    pub fn value_is(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { keys: Keys::one(key), relation: Relation::Equal, subject: Subject::Value(value.into()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Get(Keys),
    Put { key: String, value: Vec<u8>, lease: Option<LeaseId> },
    Delete(Keys),
}

impl Op {
    #[must_use]
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    #[must_use]
    pub fn put_leased(key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: Some(lease) }
    }
}

/// Compare-and-write: if all compares hold then `success`, else `failure` (G2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

impl Txn {
    #[must_use]
    pub fn when(compares: Vec<Compare>) -> Self {
        Self { compares, ..Self::default() }
    }

    #[must_use]
    pub fn then(mut self, ops: Vec<Op>) -> Self {
        self.success = ops;
        self
    }

    #[must_use]
    pub fn otherwise(mut self, ops: Vec<Op>) -> Self {
        self.failure = ops;
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    Get(Vec<KeyValue>),
    Put,
    /// How many keys went.
    Delete(u64),
}

impl OpReply {
    /// The keys of a `Get`; nothing for the other kinds.
    #[must_use]
    pub fn into_keys(self) -> Vec<KeyValue> {
        match self {
            Self::Get(kvs) => kvs,
            Self::Put | Self::Delete(_) => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether `success` was run, rather than `failure`.
    pub succeeded: bool,
    /// The store's revision after this transaction: its own, if it wrote.
    pub revision: Revision,
    /// One reply for each operation that was run, in order.
    pub replies: Vec<OpReply>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReply {
    pub kvs: Vec<KeyValue>,
    pub revision: Revision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Renewed: this is its time to live from the moment the store handled the request.
    Alive(Span),
    /// Expired, revoked, or never granted. It does not come back.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(KeyValue),
    Delete { key: String },
}

impl Change {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key } => key,
        }
    }
}

/// All changes of one revision that a watch covers (G8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    pub revision: Revision,
    pub changes: Vec<Change>,
}

pub type WatchStream = BoxStream<'static, Result<WatchEvent, StoreError>>;

/// What can go wrong, by what the caller must do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not applied. Another try may work.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// Applied or not: read back by operation id before anything else (G9).
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// No space left. etcd can report this for a write it did apply, so it counts as unknown.
    #[error("store is full: {0}")]
    NoSpace(String),
    /// The revision asked for is no longer known: list again, then watch from there.
    #[error("revision compacted: oldest known is {oldest}")]
    Compacted { oldest: Revision },
    #[error("lease {0} does not exist")]
    LeaseNotFound(LeaseId),
    /// The request itself is wrong; it will never work.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The stored data cannot be trusted; nothing is served until a person has looked.
    #[error("store is damaged: {0}")]
    Damaged(String),
    /// The store was put back to an earlier state (G10): what was granted since then may be granted again. A write that is
    /// answered so took place, but in that other history.
    #[error("store went back: it had reached {seen} and now answers {now}; was it restored from a backup?")]
    WentBack { seen: Position, now: Position },
}

impl StoreError {
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoSpace(_) | Self::WentBack { .. })
    }

    /// Whether the same request may be sent again as it is: nothing was applied, and it was not the request's fault.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A store that keeps the guarantees above.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError>;

    /// A linearizable read.
    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError>;

    /// Grants a lease; the store may lengthen `ttl`, never shorten it.
    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError>;

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError>;

    /// Ends a lease and its keys. A lease that does not exist is [`StoreError::LeaseNotFound`].
    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError>;

    /// Changes from `from` on (0: from the next change).
    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError>;

    /// Forgets history below `revision`: watches from before it end as compacted.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// How far its history has been seen.
    fn position(&self) -> Position;

    /// Goes on after [`StoreError::WentBack`]: nothing that was learnt from the earlier history is relied on any more.
    fn accept_history(&self);
}

//! The engine for one machine: the state in memory, every change first in a log file, one owner process.
//! Follow a write: here → `queue` → `writer` → `draft` (evaluate) → `log` (one sync) → `state` and `history` (publish)
//! → the answer. Reads are served from `state`, watches from `history`; both hold only what is durable.
//! It does not know what keys mean, nor any network; time it takes from the clock it is given.

mod disk;
mod draft;
mod frame;
mod history;
mod leases;
mod log;
mod open;
mod owner;
mod queue;
mod record;
mod recover;
mod reserve;
mod shared;
mod snapshot;
mod state;
mod watch;
mod watchers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rr_core::time::{Clock, Span};
use tokio::sync::oneshot;

pub use self::disk::{Disk, RealDisk};
use self::draft::Draft;
use self::history::HISTORY_CHANGES_MAX;
use self::leases::{Leases, Renewal};
use self::owner::Owner;
use self::queue::{Answer, Ask, Job};
use self::shared::Shared;
pub use self::shared::Stats;
use self::writer::Writer;
use crate::check::{check_keys, check_txn, txn_bytes};
use crate::contract::{
    KeepAlive, Keys, LeaseId, Op, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

/// A request without keys or values still takes room in the queue.
const SMALL_JOB_BYTES: usize = 64;
/// As etcd, whose leases are counted in seconds, the store lengthens a shorter lease.
const LEASE_TTL_MIN: Span = Span::from_secs(1);
/// The log is rewritten when it has grown by this: some ten thousand locks taken and freed.
const LOG_GROWTH_MAX: u64 = 4 << 20;
/// All of it is in memory: far more than a fleet's 50,000 locks need, far less than would hurt the machine.
const DATA_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub struct Options {
    /// If the stored data is damaged, keep it aside and start empty. All that was held is then forgotten: only a person
    /// may ask for this.
    pub accept_fresh: bool,
    pub disk: Arc<dyn Disk>,
    pub log_growth_max: u64,
    pub history_changes_max: usize,
    pub data_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accept_fresh: false,
            disk: Arc::new(RealDisk),
            log_growth_max: LOG_GROWTH_MAX,
            history_changes_max: HISTORY_CHANGES_MAX,
            data_bytes_max: DATA_BYTES_MAX,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store is in use by another process ({owner})")]
    InUse { pid: Option<u32>, owner: String },
    #[error("the store has format {found}, this program knows up to {known}; use the newer program")]
    Newer { found: u32, known: u32 },
    #[error("the store is damaged ({why}); it is kept at {kept_at}", kept_at = kept_at.display())]
    Damaged { kept_at: PathBuf, why: String },
    #[error("{what} {path}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

pub struct EmbeddedStore {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    fresh: bool,
    identity: [u8; 16],
    writer: Option<JoinHandle<()>>,
    // Last, so that the folder is free only when the writer has stopped.
    _owner: Owner,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, or makes an empty one. Blocks while the log is read back.
    // The options are the caller's to give: a store keeps what it needs of them.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open(dir: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        open::make_dir(dir)?;
        let owner = Owner::take(dir)?;
        let now = clock.now();
        let opened = open::open(dir, &options, now)?;
        let mut leases = Leases::default();
        for (lease, held) in &opened.memory.state.leases {
            leases.start(*lease, held.ttl, now);
        }
        let shared = Arc::new(Shared::new(opened.memory, leases, options.data_bytes_max));
        let identity = opened.log.identity;
        let writer = Writer { shared: Arc::clone(&shared), log: opened.log, clock: Arc::clone(&clock) };
        let spawned = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run());
        let spawned =
            spawned.map_err(|source| OpenError::Io { what: "start writer for", path: dir.to_owned(), source })?;
        let fresh = opened.fresh;
        Ok(Arc::new(Self { shared, clock, fresh, identity, writer: Some(spawned), _owner: owner }))
    }

    /// Whether this open made a new, empty store: then whatever was known of an older one no longer holds.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.fresh
    }

    /// Random, made with the store, and kept for as long as its data is.
    #[must_use]
    pub fn identity(&self) -> [u8; 16] {
        self.identity
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Hands a request to the writer and waits for its answer. If the caller stops waiting, it is carried out all the
    /// same.
    async fn ask(&self, ask: Ask, bytes: usize) -> Result<Answer, StoreError> {
        self.shared.check()?;
        let (reply, answer) = oneshot::channel();
        let pushed = self.shared.queue.push(Job { ask, reply: Some(reply), bytes: bytes + SMALL_JOB_BYTES });
        // Closed because broken says so.
        pushed.map_err(|error| self.shared.check().err().unwrap_or(error))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer ended".into())))
    }

    /// A transaction that cannot write needs no sync: what is in memory is durable.
    fn read_only(&self, txn: &Txn) -> Result<TxnReply, StoreError> {
        self.shared.check()?;
        Draft::new(&self.shared.memory().state, self.shared.data_bytes_max).run(txn)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so; the lock is given back either way.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        check_txn(&txn)?;
        if txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Get(_))) {
            return self.read_only(&txn);
        }
        let bytes = txn_bytes(&txn);
        match self.ask(Ask::Txn(txn), bytes).await? {
            Answer::Txn(reply) => Ok(reply),
            other => Err(misplaced(&other)),
        }
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        check_keys(&keys)?;
        self.shared.check()?;
        let memory = self.shared.memory();
        let draft = Draft::new(&memory.state, self.shared.data_bytes_max);
        Ok(RangeReply { kvs: draft.range(&keys), revision: draft.revision() })
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        match self.ask(Ask::Grant(ttl.max(LEASE_TTL_MIN)), 0).await? {
            Answer::Lease(lease) => Ok(lease),
            other => Err(misplaced(&other)),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        self.shared.check()?;
        let renewal = self.shared.leases().renew(lease, self.clock.now());
        match renewal {
            Renewal::Renewed(ttl) => return Ok(KeepAlive::Alive(ttl)),
            Renewal::Unknown => return Ok(KeepAlive::Gone),
            Renewal::Ending => {}
        }
        // "Gone" must hold after a crash, too.
        self.ask(Ask::Sweep, 0).await?;
        if self.shared.leases().contains(lease) {
            return Err(StoreError::Unavailable(format!("lease {lease} is over, but its end cannot be written yet")));
        }
        Ok(KeepAlive::Gone)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        match self.ask(Ask::Revoke(lease), 0).await? {
            Answer::Revision(revision) => Ok(revision),
            other => Err(misplaced(&other)),
        }
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        check_keys(&keys)?;
        self.shared.check()?;
        Ok(watch::stream(Arc::clone(&self.shared), keys, from))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.ask(Ask::Compact(revision), 0).await.map(drop)
    }

    fn position(&self) -> Position {
        Position { revision: self.stats().revision, raft_term: 0 }
    }

    /// Its file is locked for as long as it is open: nobody puts it back under it.
    fn accept_history(&self) {}
}

/// The writer answers each request in kind; this names the bug if it ever does not.
fn misplaced(answer: &Answer) -> StoreError {
    StoreError::Unknown(format!("the writer gave another request's answer: {answer:?}"))
}

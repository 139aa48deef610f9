//! What an earlier life of a sidecar left in the store, and taking it over (H39): read once for all of its sessions, then one
//! session after the other. A thousand sidecars may start at once, after a power cut or an update; so each waits a
//! moment that chance decides, and then asks no faster than the store can bear a thousand times.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rr_core::id::{HostId, SessionId};
use rr_store::{KeepAlive, KeyValue, Keys, Op, OpReply, Revision, Txn};
use tokio::time::{Instant, sleep, sleep_until};

use crate::keys::Tree;
use crate::overview::Row;
use crate::session::Session;
use crate::{Doing, Fleet, FleetError, LockRow, SessionRow};

/// A session costs a keep-alive and a look at its host's denial, few a transaction: 50 requests a second from one sidecar.
const PER_SESSION: Duration = Duration::from_millis(2 * 1_000 / 50);
/// Sidecars that start at once spread over this part of a lease: 10 s of 60, well below what is left of one that nobody
/// renews in the meantime.
const SPREAD_PART: u64 = 6;

/// What a host's earlier life left.
pub struct Estate {
    /// The locks of its sessions.
    pub locks: Vec<LockRow>,
    own: VecDeque<SessionRow>,
    sessions: HashMap<SessionId, KeyValue>,
    /// The first number that nothing of a session's earlier life has.
    numbers: HashMap<SessionId, u64>,
    /// Places in queues, by session.
    waiting: HashMap<SessionId, Vec<String>>,
    generation: Revision,
    /// When the next session may be taken over.
    next: Instant,
}

impl Fleet {
    /// Looks at what this host left. If it left anything in a store that others share, only after a moment.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn estate(&self, host: &HostId) -> Result<Estate, FleetError> {
        let mut estate = Estate {
            locks: vec![],
            own: VecDeque::new(),
            sessions: HashMap::new(),
            numbers: HashMap::new(),
            waiting: HashMap::new(),
            generation: 0,
            // A second's worth at once: a machine of a few agents does not wait.
            next: Instant::now() - Duration::from_secs(1),
        };
        // The small look first: whoever left nothing, reads nothing.
        let own = Keys::prefix(self.keys.slots_of(host));
        let left = self.store.range(own).await.doing("look for sessions of an earlier life")?;
        if !left.kvs.is_empty() {
            sleep(self.spread()).await;
            self.take_stock(host, &mut estate).await?;
        }
        Ok(estate)
    }

    /// A store of its own is nobody else's to overrun.
    fn spread(&self) -> Duration {
        let is_shared = self.position().raft_term > 0;
        let most = if is_shared { self.timing.lease.as_millis() / SPREAD_PART } else { 0 };
        let [high, low, ..] = self.entropy.bits();
        Duration::from_millis(most * u64::from(u16::from_be_bytes([high, low])) / u64::from(u16::MAX))
    }

    async fn take_stock(&self, host: &HostId, estate: &mut Estate) -> Result<(), FleetError> {
        let trees = [Tree::Exclusive, Tree::Shared, Tree::Mark].map(|tree| self.keys.tree(tree));
        let prefixes = [self.keys.generation(), self.keys.sessions(), self.keys.queues()].into_iter().chain(trees);
        let reads = prefixes.map(|prefix| Op::Get(Keys::prefix(prefix))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look at what an earlier life left")?;
        for kv in reply.replies.into_iter().flat_map(OpReply::into_keys) {
            if kv.key == self.keys.generation() {
                estate.generation = kv.mod_revision;
            } else if let Some(Row::Session(row)) = self.row(kv.clone()) {
                if row.record.host == *host {
                    estate.sessions.insert(row.sid.clone(), kv);
                    estate.own.push_back(row);
                }
            } else if let Some((_, sid, _)) = self.keys.parse_waiter(&kv.key) {
                estate.waiting.entry(sid).or_default().push(kv.key);
            } else {
                self.take_lock(kv, estate);
            }
        }
        Ok(())
    }

    /// A holder, or what a force release left of one. Sessions come before them.
    fn take_lock(&self, kv: KeyValue, estate: &mut Estate) {
        let trees = [Tree::Exclusive, Tree::Shared, Tree::Mark];
        let Some((.., sid, n)) = trees.iter().find_map(|tree| self.keys.parse_holder(*tree, &kv.key)) else { return };
        if !estate.sessions.contains_key(&sid) {
            return;
        }
        let free = estate.numbers.entry(sid).or_default();
        *free = (*free).max(n + 1);
        if let Some(Row::Lock(lock)) = self.row(kv) {
            estate.locks.push(lock);
        }
    }

    /// Takes over a session of an earlier life: same host and boot, and its agent still runs. Its locks are still held in the
    /// store; its numbers go on above them. Its places in the queue are given up: whoever waited in them is gone, and an
    /// entry that nobody attends to would hold up all behind it. `None`: it has ended.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn adopt(
        &self,
        estate: &Estate,
        sid: &SessionId,
        fingerprint: &str,
    ) -> Result<Option<Session>, FleetError> {
        let Some(kv) = estate.sessions.get(sid) else { return Ok(None) };
        let Some(lease) = kv.lease else { return Ok(None) };
        if self.store.keep_alive(lease).await.doing("renew the adopted lease")? == KeepAlive::Gone {
            return Ok(None);
        }
        if self.denial(fingerprint).await?.is_some() {
            self.revoke_quietly(lease).await;
            return Ok(None);
        }
        let session = Session {
            sid: sid.clone(),
            lease,
            created: kv.create_revision,
            generation: estate.generation,
            fingerprint: fingerprint.to_owned(),
            next: Arc::new(AtomicU64::new(estate.numbers.get(sid).copied().unwrap_or(0))),
            books: Arc::default(),
        };
        let waiting = estate.waiting.get(sid).into_iter().flatten();
        let entries = waiting.map(|key| Op::Delete(Keys::one(key.clone()))).collect();
        self.change_guarded(&session, entries, "leave the queue").await?;
        Ok(Some(session))
    }
}

impl Estate {
    /// The next session to take over, when it is its turn.
    pub async fn next(&mut self) -> Option<SessionRow> {
        let row = self.own.pop_front()?;
        sleep_until(self.next).await;
        self.next += PER_SESSION;
        Some(row)
    }
}

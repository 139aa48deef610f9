//! The queue: a place in line, looking from it, waiting in it, leaving it (lock-protocol §4, "slow path").
//!
//! Why it is safe beside the fast path of `locks`: while anybody's queue entry exists in a repository, no fast-path grant
//! happens there; a later conflicting waiter sees the earlier entry as its blocker; and an entry turns into a holder in one
//! transaction. So no conflicting holder can appear between a waiter's look and its grant.

use std::sync::OnceLock;

use futures::StreamExt as _;
use rr_core::bugs::{self, Bug};
use rr_core::id::OpId;
use rr_core::limits::LOCKS_PER_FLEET_MAX;
use rr_core::lock::{Blocker, Held, Waiting, blockers};
use rr_core::scope::Claim;
use rr_core::time::{BootTime, Span};
use rr_store::{Compare, Keys, Op, OpReply, Revision, StoreError, Txn};

use crate::locks::{Grant, Request, Unclean, View, granted};
use crate::records::{ClaimRecord, OpRecord, QueueRecord, decode, encode};
use crate::session::Session;
use crate::settle::{Attempt, Settled};
use crate::{Doing, Fleet, FleetError};

/// A waiter whose watch broke makes sure at least this often that what it waits for is still there.
const LOOK_AGAIN: Span = Span::from_secs(5);
/// A waiter whose look was not answered, or whose watch could not be opened, tries again after this.
const RETRY: Span = Span::from_millis(100);
/// Waiters woken by one release spread out over this, so that they do not all read at once (H35).
const JITTER_MAX_MS: u64 = 25;

/// A place in the queue. Dropping it leaves the entry to [`Fleet::cancel`] or to the session's lease.
#[derive(Clone, Debug)]
pub struct Waiter {
    request: Request,
    op: OpId,
    key: String,
    /// Create revision of the entry.
    since: Revision,
    /// What the first look found, so that the wait begins there and not with the same look again.
    first: OnceLock<Wake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    Granted(Grant),
    /// The deadline passed: still held by these.
    Busy(Vec<Blocker>),
    /// Refused as the youngest of a ring of waiters (H33).
    Ring,
    Lost,
}

impl Waiter {
    #[must_use]
    pub fn since(&self) -> Revision {
        self.since
    }

    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.request.claims
    }
}

pub(crate) enum Look {
    Granted(Grant),
    Blocked(Vec<Blocker>, Wake),
    /// The queue entry or the session is gone.
    Gone,
}

/// The key whose end should wake a waiter, and the revision it was seen at.
#[derive(Clone, Debug)]
pub(crate) struct Wake {
    key: String,
    after: Revision,
}

impl Fleet {
    /// Takes a place in the queue. `None`: the session is no longer valid.
    pub(crate) async fn enqueue(&self, session: &Session, request: Request) -> Result<Option<Waiter>, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let key = self.keys.waiter(&request.repo, &session.sid, &op);
        let claims = request.claims.iter().map(ClaimRecord::of).collect();
        let record = QueueRecord { claims, since_unix_ms: request.now_unix_ms };
        let mut guard = self.common(session, &op);
        guard.push(Compare::absent(Keys::one(key.clone())));
        guard.push(Compare::absent(Keys::one(self.keys.full())));
        let txn = Txn::when(guard)
            .then(vec![Op::put_leased(key.clone(), encode(&record), session.lease)])
            .otherwise(vec![Op::Get(Keys::one(self.keys.full()))]);
        let since = match self.store.txn(txn).await {
            Ok(reply) if reply.succeeded => Some(reply.revision),
            Ok(reply) => {
                if reply.replies.into_iter().flat_map(OpReply::into_keys).next().is_some() {
                    return Err(FleetError::Full { max: LOCKS_PER_FLEET_MAX });
                }
                None
            }
            Err(e) if e.is_unknown() => match self.get(&key, "read back a queue entry").await {
                Ok(Some(kv)) => Some(kv.create_revision),
                other => {
                    // It may still be under way, and an entry that nobody attends to would hold up all behind it.
                    let attempt = Attempt { op, keys: vec![], entry: Some(key), spent: vec![] };
                    self.abandon(session, &attempt).await;
                    return Err(other.err().unwrap_or(FleetError::Voided));
                }
            },
            Err(StoreError::LeaseNotFound(_)) => None,
            Err(e) => return Err(e).doing("take a place in the queue"),
        };
        Ok(since.map(|since| Waiter { request, op, key, since, first: OnceLock::new() }))
    }

    /// One look from a place in the queue: granted if nothing is in the way.
    pub(crate) async fn look(&self, session: &Session, waiter: &Waiter) -> Result<Look, FleetError> {
        let view = self.view(&waiter.request.repo, &waiter.request.claims).await?;
        let look = self.decide(session, waiter, view).await?;
        if let Look::Blocked(_, wake) = &look {
            // A second look finds the first one's place taken: the older one is as good to wait from.
            let _ = waiter.first.set(wake.clone());
        }
        Ok(look)
    }

    async fn decide(&self, session: &Session, waiter: &Waiter, view: View) -> Result<Look, FleetError> {
        let (held_keys, held): (Vec<String>, Vec<Held>) = view.held.into_iter().unzip();
        let (queue_keys, queue): (Vec<String>, Vec<Waiting>) = view.queue.into_iter().unzip();
        if !queue.iter().any(|w| w.since == waiter.since) {
            return Ok(Look::Gone);
        }
        let found = blockers(&session.sid, &waiter.request.claims, waiter.since, &held, &queue);
        let Some(last) = found.iter().max_by_key(|b| b.revision()) else {
            return self.grant_from_queue(session, waiter, view.unclean).await;
        };
        let key = match last {
            Blocker::Holder(h) => held.iter().position(|other| other == h).map(|at| &held_keys[at]),
            Blocker::Ahead(w) => queue.iter().position(|other| other == w).map(|at| &queue_keys[at]),
        };
        let key = key.cloned().unwrap_or_default();
        Ok(Look::Blocked(found, Wake { key, after: view.revision }))
    }

    async fn grant_from_queue(
        &self,
        session: &Session,
        waiter: &Waiter,
        unclean: Vec<Unclean>,
    ) -> Result<Look, FleetError> {
        let (attempt, ops) = self.attempt(session, &waiter.request, waiter.op.clone(), Some(waiter.key.clone()));
        let mut guard = self.common(session, &waiter.op);
        guard.push(Compare::created_at(waiter.key.clone(), waiter.since));
        guard.extend(attempt.keys.iter().map(|k| Compare::absent(Keys::one(k.clone()))));
        let revision = match self.store.txn(Txn::when(guard).then(ops)).await {
            Ok(reply) if reply.succeeded => reply.revision,
            Ok(_) => {
                // The entry is there still if it was the host or the generation that is no longer valid.
                self.cancel(session, waiter).await;
                return Ok(Look::Gone);
            }
            Err(e) if e.is_unknown() => match self.settle(session, &attempt, vec![]).await? {
                Settled::Granted(revision, _) => revision,
                Settled::Refused => return Ok(Look::Gone),
                Settled::Never => return Err(FleetError::Voided),
            },
            Err(e) => return Err(e).doing("turn a queue entry into a lock"),
        };
        self.done(session, &attempt);
        let token = if bugs::is_on(Bug::B2) { waiter.since } else { revision };
        let locks = granted(&waiter.request, &attempt, token);
        Ok(Look::Granted(Grant { locks, unclean, revision }))
    }

    /// Waits in the queue until granted, refused, lost, or `until`. It watches only the last of its blockers and its own entry.
    ///
    /// # Errors
    /// If the store does not answer clearly; the entry is then withdrawn.
    pub async fn wait(&self, session: &Session, mut waiter: Waiter, until: BootTime) -> Result<WaitEnd, FleetError> {
        let mut known = waiter.first.take();
        loop {
            if let Some(wake) = known.take()
                && self.clock.now() < until
            {
                self.sleep(&waiter, wake, until).await;
            }
            let view = match self.view(&waiter.request.repo, &waiter.request.claims).await {
                // A look that was not answered costs nobody the place in line.
                Err(error) if error.is_outage() && self.clock.now() < until => {
                    tokio::time::sleep(RETRY.as_std()).await;
                    continue;
                }
                other => other,
            };
            let look = match view {
                Ok(view) => self.decide(session, &waiter, view).await,
                Err(error) => Err(error),
            };
            match look {
                Ok(Look::Granted(grant)) => return Ok(WaitEnd::Granted(grant)),
                Ok(Look::Gone) => return self.why_gone(session, &waiter).await,
                Ok(Look::Blocked(found, _)) if self.clock.now() >= until => {
                    self.cancel(session, &waiter).await;
                    return Ok(WaitEnd::Busy(found));
                }
                // Who is in the way is not kept: in a long line, all who sleep would hold all who are ahead.
                Ok(Look::Blocked(_, wake)) => known = Some(wake),
                Err(error) => {
                    self.cancel(session, &waiter).await;
                    return Err(error);
                }
            }
        }
    }

    /// Until there is reason for a full look: the last blocker or the own entry has changed or may have, or it is `until`.
    async fn sleep(&self, waiter: &Waiter, mut wake: Wake, until: BootTime) {
        loop {
            let limit = until.since(self.clock.now()).min(LOOK_AGAIN);
            let woken = tokio::time::timeout(limit.as_std(), self.woken(waiter, &wake)).await;
            if woken == Ok(true) || self.clock.now() >= until {
                return;
            }
            // Timed out or watch broken. Not a full look yet: that reads the whole queue, and all who wait in it do so.
            match self.still_blocked(waiter, &wake).await {
                Some(seen) => wake.after = seen,
                None => return,
            }
        }
    }

    /// The revision at which the blocker and the own entry were seen unchanged. `None`: they were not, or nobody answered.
    async fn still_blocked(&self, waiter: &Waiter, wake: &Wake) -> Option<Revision> {
        let keys = [&wake.key, &waiter.key];
        let reads = keys.map(|key| Op::Get(Keys::one(key.clone()))).into();
        let reply = self.store.txn(Txn::default().then(reads)).await.ok()?;
        let kvs = reply.replies.into_iter().flat_map(OpReply::into_keys);
        let unchanged = kvs.filter(|kv| kv.mod_revision <= wake.after).count();
        (unchanged == keys.len()).then_some(reply.revision)
    }

    /// Whether there was an event; if not, the watches are of no more use.
    async fn woken(&self, waiter: &Waiter, wake: &Wake) -> bool {
        let from = wake.after + 1;
        let watches = futures::future::join(
            self.store.watch(Keys::one(wake.key.clone()), from),
            self.store.watch(Keys::one(waiter.key.clone()), from),
        );
        let (Ok(mut blocker), Ok(mut own)) = watches.await else {
            tokio::time::sleep(RETRY.as_std()).await;
            return false;
        };
        let (item, _) = futures::future::select(blocker.next(), own.next()).await.factor_first();
        let jitter = u64::from(self.entropy.bits()[0]) * JITTER_MAX_MS / 255;
        tokio::time::sleep(std::time::Duration::from_millis(jitter)).await;
        matches!(item, Some(Ok(_)))
    }

    /// The entry went without a grant: refused as part of a ring, or the session is over.
    pub(crate) async fn why_gone(&self, session: &Session, waiter: &Waiter) -> Result<WaitEnd, FleetError> {
        let key = self.keys.op(&session.sid, &waiter.op);
        let record = self.get(&key, "read why a queue entry went").await?;
        let record = record.map(|kv| decode::<OpRecord>(&kv)).transpose()?;
        Ok(if record == Some(OpRecord::Ring) { WaitEnd::Ring } else { WaitEnd::Lost })
    }

    /// Gives up a place in the queue. What the store cannot be told now it is told with the next keep-alive.
    pub async fn cancel(&self, session: &Session, waiter: &Waiter) {
        let txn = Txn::when(vec![Compare::created_at(waiter.key.clone(), waiter.since)])
            .then(vec![Op::Delete(Keys::one(waiter.key.clone()))]);
        self.tell(session, txn).await;
    }
}

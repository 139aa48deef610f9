//! Locks: the fast path in one transaction, the queue, release and force release (lock-protocol §4).
//!
//! Why two paths are safe together: while anybody's queue entry exists in a repository, no fast-path grant happens there; a
//! later conflicting waiter sees the earlier entry as its blocker; and an entry turns into a holder in one transaction. So no
//! conflicting holder can appear between a waiter's look and its grant.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use rr_core::id::{OpId, RepoId, SessionId, Token};
use rr_core::limits::SCOPES_PER_REQUEST_MAX;
use rr_core::lock::{Blocker, Held, Waiting, blockers};
use rr_core::scope::{Claim, Mode, Scope};
use rr_core::time::{BootTime, Span};
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, StoreError, TXN_OPS_MAX, Txn, TxnReply};

use crate::keys::Tree;
use crate::records::{ClaimRecord, HolderRecord, MarkRecord, OpRecord, QueueRecord, decode, encode, shown_of};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Compares that every transaction of a session needs besides its scopes' own.
const COMMON_COMPARES: usize = 6;
/// A waiter whose watch broke looks again at least this often.
const LOOK_AGAIN: Span = Span::from_secs(5);
/// Waiters woken by one release spread out over this, so that they do not all read at once (H35).
const JITTER_MAX_MS: u64 = 25;
/// Tries to void an operation whose outcome is unknown before it is left to its lease.
const SETTLE_TRIES: usize = 8;

/// What a session asks for: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Request {
    pub repo: RepoId,
    pub claims: Vec<Claim>,
    /// What it is for, shown to whoever is denied because of it.
    pub doing: String,
    pub now_unix_ms: u64,
}

/// A lock that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedLock {
    pub repo: RepoId,
    pub claim: Claim,
    pub token: Token,
    /// The holder's key: release compares the token against it.
    pub key: String,
}

/// What an earlier holder left when it ended uncleanly in this scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclean {
    pub session: SessionId,
    pub shown: String,
    pub token: Token,
    /// It and all it started are known to be gone.
    pub gone: bool,
    mark: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub locks: Vec<GrantedLock>,
    pub unclean: Vec<Unclean>,
    pub revision: Revision,
}

impl Grant {
    /// Whether the locks must rest before use: somebody who ended uncleanly may still be writing.
    #[must_use]
    pub fn must_cool(&self) -> bool {
        self.unclean.iter().any(|u| !u.gone)
    }
}

#[derive(Debug)]
pub enum Answer {
    Granted(Grant),
    /// In the queue, behind these.
    Queued(Waiter, Vec<Blocker>),
    /// The session, its host or the generation is no longer valid.
    Lost,
}

/// A place in the queue. Dropping it leaves the entry to [`Waiter::cancel`] or to the session's lease.
#[derive(Clone, Debug)]
pub struct Waiter {
    request: Request,
    op: OpId,
    key: String,
    /// Create revision of the entry.
    since: Revision,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    Yes,
    /// It was no longer ours: nothing was deleted.
    WasLost,
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

/// What a look at the store shows of one request's surroundings.
struct View {
    held: Vec<(String, Held)>,
    queue: Vec<(String, Waiting)>,
    unclean: Vec<Unclean>,
    revision: Revision,
}

impl Fleet {
    /// Asks for locks. One transaction if nothing is in the way and nobody waits in the repository; else a place in the queue
    /// is taken and looked at once.
    ///
    /// # Errors
    /// If the store does not answer clearly: then nothing was granted, or what was granted has been given back.
    pub async fn request(&self, session: &Session, request: Request) -> Result<Answer, FleetError> {
        if request.claims.len() > SCOPES_PER_REQUEST_MAX {
            return Err(FleetError::TooManyScopes { max: SCOPES_PER_REQUEST_MAX });
        }
        if let Some(grant) = self.fast(session, &request).await? {
            return Ok(Answer::Granted(grant));
        }
        let Some(waiter) = self.enqueue(session, request).await? else { return Ok(Answer::Lost) };
        match self.look(session, &waiter).await {
            Ok(Look::Granted(grant)) => Ok(Answer::Granted(grant)),
            Ok(Look::Blocked(view_blockers, _)) => Ok(Answer::Queued(waiter, view_blockers)),
            Ok(Look::Gone) => Ok(Answer::Lost),
            Err(error) => {
                self.cancel(session, &waiter).await;
                Err(error)
            }
        }
    }

    /// The fast path. `None`: something is in the way, or it does not fit one transaction.
    async fn fast(&self, session: &Session, request: &Request) -> Result<Option<Grant>, FleetError> {
        let Some(compares) = self.fast_compares(request) else { return Ok(None) };
        let op = OpId::from_random(self.entropy.bits());
        let (keys, puts) = self.holder_puts(session, request, &op);
        let mut ops: Vec<Op> = self.mark_reads(request);
        let reads = ops.len();
        ops.extend(puts);
        if ops.len() > TXN_OPS_MAX {
            return Ok(None);
        }
        let mut all = self.common(session, &op);
        all.push(Compare::absent(Keys::prefix(self.keys.queue(&request.repo))));
        all.extend(compares);
        let txn = Txn::when(all).then(ops);
        match self.store.txn(txn).await {
            Ok(reply) if reply.succeeded => Ok(Some(self.grant(request, keys, reply, reads)?)),
            Ok(_) => Ok(None),
            Err(e) if e.is_unknown() => self.settle_grant(session, request, &op, keys).await,
            Err(e) => Err(e).doing("acquire a lock"),
        }
    }

    /// The compares of the fast path, or `None` when it cannot be taken: a pattern, or too many for one transaction.
    fn fast_compares(&self, request: &Request) -> Option<Vec<Compare>> {
        let mut prefixes = BTreeSet::new();
        for claim in &request.claims {
            if matches!(claim.scope, Scope::Glob { .. }) {
                return None;
            }
            for prefix in self.surroundings(&request.repo, claim) {
                prefixes.insert(prefix);
            }
        }
        let fits = prefixes.len() + COMMON_COMPARES <= TXN_OPS_MAX;
        fits.then(|| prefixes.into_iter().map(|p| Compare::absent(Keys::prefix(p))).collect())
    }

    /// The key prefixes under which a conflicting holder of `claim` would lie: at its ancestors, at it, below it.
    fn surroundings(&self, repo: &RepoId, claim: &Claim) -> Vec<String> {
        let trees: &[Tree] =
            if claim.mode == Mode::Shared { &[Tree::Exclusive] } else { &[Tree::Exclusive, Tree::Shared] };
        let anchor = claim.scope.anchor_key();
        let mut out = Vec::new();
        for tree in trees {
            out.extend(ancestors(&claim.scope).iter().map(|a| self.keys.own(*tree, repo, a)));
            out.push(self.keys.range(*tree, repo, &anchor));
        }
        out
    }

    fn mark_reads(&self, request: &Request) -> Vec<Op> {
        let mut prefixes = BTreeSet::new();
        for claim in request.claims.iter().filter(|c| c.mode == Mode::Exclusive) {
            prefixes.extend(ancestors(&claim.scope).iter().map(|a| self.keys.own(Tree::Mark, &request.repo, a)));
            prefixes.insert(self.keys.range(Tree::Mark, &request.repo, &claim.scope.anchor_key()));
        }
        prefixes.into_iter().map(|p| Op::Get(Keys::prefix(p))).collect()
    }

    /// The guards that every transaction of a session carries (lock-protocol §4, "C").
    fn common(&self, session: &Session, op: &OpId) -> Vec<Compare> {
        vec![
            Compare::modified_at(self.keys.generation(), session.generation),
            Compare::created_at(self.keys.session(&session.sid), session.created),
            Compare::absent(Keys::one(self.keys.denied(&session.fingerprint))),
            Compare::absent(Keys::one(self.keys.op(&session.sid, op))),
        ]
    }

    fn holder_puts(&self, session: &Session, request: &Request, op: &OpId) -> (Vec<String>, Vec<Op>) {
        let (mut keys, mut ops) = (Vec::new(), Vec::new());
        for claim in &request.claims {
            let n = session.next_number();
            let anchor = claim.scope.anchor_key();
            let tree = if claim.mode == Mode::Exclusive { Tree::Exclusive } else { Tree::Shared };
            let key = self.keys.holder(tree, &request.repo, &anchor, &session.sid, n);
            let (shown, glob) = shown_of(&claim.scope);
            let record = HolderRecord {
                op: op.clone(),
                mode: claim.mode,
                shown: shown.clone(),
                glob,
                since_unix_ms: request.now_unix_ms,
                doing: request.doing.clone(),
            };
            ops.push(Op::put_leased(key.clone(), encode(&record), session.lease));
            if claim.mode == Mode::Exclusive {
                let mark = self.keys.holder(Tree::Mark, &request.repo, &anchor, &session.sid, n);
                ops.push(Op::put(mark, encode(&MarkRecord { shown, gone: false })));
            }
            keys.push(key);
        }
        ops.push(Op::put_leased(self.keys.op(&session.sid, op), encode(&OpRecord::Granted), session.lease));
        (keys, ops)
    }

    fn grant(&self, request: &Request, keys: Vec<String>, reply: TxnReply, reads: usize) -> Result<Grant, FleetError> {
        let marks: Vec<KeyValue> = reply.replies.into_iter().take(reads).flat_map(OpReply::into_keys).collect();
        let locks = granted(request, keys, Token(reply.revision));
        Ok(Grant { locks, unclean: self.unclean(&marks, &BTreeSet::new())?, revision: reply.revision })
    }

    /// Marks without their holder: somebody ended uncleanly there.
    fn unclean(
        &self,
        marks: &[KeyValue],
        holders: &BTreeSet<(String, SessionId, u64)>,
    ) -> Result<Vec<Unclean>, FleetError> {
        let mut out = Vec::new();
        for kv in marks {
            let Some((_, anchor, session, n)) = self.keys.parse_holder(Tree::Mark, &kv.key) else { continue };
            if holders.contains(&(anchor, session.clone(), n)) {
                continue;
            }
            let record: MarkRecord = decode(kv)?;
            let token = Token(kv.create_revision);
            out.push(Unclean { session, shown: record.shown, token, gone: record.gone, mark: kv.key.clone() });
        }
        Ok(out)
    }

    /// An unknown outcome of the fast path: either it is found granted, or it is made sure that it never will be.
    async fn settle_grant(
        &self,
        session: &Session,
        request: &Request,
        op: &OpId,
        keys: Vec<String>,
    ) -> Result<Option<Grant>, FleetError> {
        match self.settle(session, op).await? {
            OpRecord::Granted => {
                let view = self.view(&request.repo, &request.claims).await?;
                let token = view.held.iter().find(|(key, _)| keys.contains(key)).map(|(_, h)| h.token);
                let Some(token) = token else { return Err(FleetError::Voided) };
                let unclean = view.unclean;
                Ok(Some(Grant { locks: granted(request, keys, token), unclean, revision: view.revision }))
            }
            OpRecord::Ring | OpRecord::Void => Err(FleetError::Voided),
        }
    }

    /// Settles an operation whose outcome is unknown: writes "void" where it left no record, so that its own guard fails from
    /// then on, or reads the record it left.
    async fn settle(&self, session: &Session, op: &OpId) -> Result<OpRecord, FleetError> {
        let key = self.keys.op(&session.sid, op);
        let txn = Txn::when(vec![Compare::absent(Keys::one(key.clone()))])
            .then(vec![Op::put_leased(key.clone(), encode(&OpRecord::Void), session.lease)])
            .otherwise(vec![Op::Get(Keys::one(key))]);
        let mut last = FleetError::Voided;
        for _ in 0..SETTLE_TRIES {
            match self.store.txn(txn.clone()).await {
                Ok(reply) if reply.succeeded => return Ok(OpRecord::Void),
                Ok(reply) => {
                    let kv = reply.replies.into_iter().flat_map(OpReply::into_keys).next();
                    return kv.map_or(Ok(OpRecord::Void), |kv| decode(&kv));
                }
                Err(StoreError::LeaseNotFound(_)) => return Ok(OpRecord::Void),
                Err(source) if source.is_unknown() || source.is_retryable() => {
                    last = FleetError::Store { doing: "settle an operation", source };
                }
                Err(e) => return Err(e).doing("settle an operation"),
            }
        }
        Err(last)
    }

    /// Takes a place in the queue. `None`: the session is no longer valid.
    async fn enqueue(&self, session: &Session, request: Request) -> Result<Option<Waiter>, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let key = self.keys.waiter(&request.repo, &session.sid, &op);
        let claims = request.claims.iter().map(ClaimRecord::of).collect();
        let record = QueueRecord { claims, since_unix_ms: request.now_unix_ms };
        let mut guard = self.common(session, &op);
        guard.push(Compare::absent(Keys::one(key.clone())));
        let txn = Txn::when(guard).then(vec![Op::put_leased(key.clone(), encode(&record), session.lease)]);
        let since = match self.store.txn(txn).await {
            Ok(reply) => reply.succeeded.then_some(reply.revision),
            Err(e) if e.is_unknown() => match self.get(&key, "read back a queue entry").await? {
                Some(kv) => Some(kv.create_revision),
                None => {
                    self.settle(session, &op).await?;
                    return Err(FleetError::Voided);
                }
            },
            Err(StoreError::LeaseNotFound(_)) => None,
            Err(e) => return Err(e).doing("take a place in the queue"),
        };
        Ok(since.map(|since| Waiter { request, op, key, since }))
    }

    /// One look from a place in the queue: granted if nothing is in the way.
    async fn look(&self, session: &Session, waiter: &Waiter) -> Result<Look, FleetError> {
        let view = self.view(&waiter.request.repo, &waiter.request.claims).await?;
        let held: Vec<Held> = view.held.iter().map(|(_, h)| h.clone()).collect();
        let queue: Vec<Waiting> = view.queue.iter().map(|(_, w)| w.clone()).collect();
        if !queue.iter().any(|w| w.since == waiter.since) {
            return Ok(Look::Gone);
        }
        let found = blockers(&session.sid, &waiter.request.claims, waiter.since, &held, &queue);
        let Some(last) = found.iter().max_by_key(|b| b.revision()) else {
            return self.grant_from_queue(session, waiter, view.unclean).await;
        };
        let key = match last {
            Blocker::Holder(h) => view.held.iter().find(|(_, other)| other == h).map(|(k, _)| k),
            Blocker::Ahead(w) => view.queue.iter().find(|(_, other)| other == w).map(|(k, _)| k),
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
        let (keys, mut ops) = self.holder_puts(session, &waiter.request, &waiter.op);
        ops.push(Op::Delete(Keys::one(waiter.key.clone())));
        let mut guard = self.common(session, &waiter.op);
        guard.push(Compare::created_at(waiter.key.clone(), waiter.since));
        guard.extend(keys.iter().map(|k| Compare::absent(Keys::one(k.clone()))));
        match self.store.txn(Txn::when(guard).then(ops)).await {
            Ok(reply) if reply.succeeded => {
                let locks = granted(&waiter.request, keys, Token(reply.revision));
                Ok(Look::Granted(Grant { locks, unclean, revision: reply.revision }))
            }
            Ok(_) => Ok(Look::Gone),
            Err(e) if e.is_unknown() => {
                let found = self.settle_grant(session, &waiter.request, &waiter.op, keys).await?;
                Ok(found.map_or(Look::Gone, Look::Granted))
            }
            Err(e) => Err(e).doing("turn a queue entry into a lock"),
        }
    }

    /// Waits in the queue until granted, refused, lost, or `until`. It watches only the last of its blockers and its own entry.
    ///
    /// # Errors
    /// If the store does not answer clearly; the entry is then withdrawn.
    pub async fn wait(&self, session: &Session, waiter: Waiter, until: BootTime) -> Result<WaitEnd, FleetError> {
        loop {
            let look = self.look(session, &waiter).await;
            let (found, wake) = match look {
                Ok(Look::Granted(grant)) => return Ok(WaitEnd::Granted(grant)),
                Ok(Look::Gone) => return self.why_gone(session, &waiter).await,
                Ok(Look::Blocked(found, wake)) => (found, wake),
                Err(error) => {
                    self.cancel(session, &waiter).await;
                    return Err(error);
                }
            };
            let now = self.clock.now();
            if now >= until {
                self.cancel(session, &waiter).await;
                return Ok(WaitEnd::Busy(found));
            }
            let limit = until.since(now).min(LOOK_AGAIN);
            // Woken, timed out or watch broken: all lead to another look.
            let _ = tokio::time::timeout(limit.as_std(), self.woken(&waiter, &wake)).await;
        }
    }

    async fn woken(&self, waiter: &Waiter, wake: &Wake) {
        let from = wake.after + 1;
        let watches = futures::future::join(
            self.store.watch(Keys::one(wake.key.clone()), from),
            self.store.watch(Keys::one(waiter.key.clone()), from),
        );
        let (Ok(mut blocker), Ok(mut own)) = watches.await else {
            return tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        futures::future::select(blocker.next(), own.next()).await;
        let jitter = u64::from(self.entropy.bits()[0]) * JITTER_MAX_MS / 255;
        tokio::time::sleep(std::time::Duration::from_millis(jitter)).await;
    }

    /// The entry went without a grant: refused as part of a ring, or the session is over.
    async fn why_gone(&self, session: &Session, waiter: &Waiter) -> Result<WaitEnd, FleetError> {
        let key = self.keys.op(&session.sid, &waiter.op);
        let record = self.get(&key, "read why a queue entry went").await?;
        let record = record.map(|kv| decode::<OpRecord>(&kv)).transpose()?;
        Ok(if record == Some(OpRecord::Ring) { WaitEnd::Ring } else { WaitEnd::Lost })
    }

    /// Gives up a place in the queue. A lost answer is left to the session's lease.
    pub async fn cancel(&self, session: &Session, waiter: &Waiter) {
        let txn = Txn::when(vec![Compare::created_at(waiter.key.clone(), waiter.since)])
            .then(vec![Op::Delete(Keys::one(waiter.key.clone()))]);
        if let Err(error) = self.store.txn(txn).await {
            tracing::debug!(session = %session.sid, %error, "left a queue entry to its lease");
        }
    }

    /// Reads holders, waiters and marks around some claims at one revision.
    async fn view(&self, repo: &RepoId, claims: &[Claim]) -> Result<View, FleetError> {
        let mut prefixes = BTreeSet::new();
        for claim in claims {
            let both = Claim { mode: Mode::Exclusive, ..claim.clone() };
            prefixes.extend(self.surroundings(repo, &both));
            let anchor = claim.scope.anchor_key();
            prefixes.extend(ancestors(&claim.scope).iter().map(|a| self.keys.own(Tree::Mark, repo, a)));
            prefixes.insert(self.keys.range(Tree::Mark, repo, &anchor));
        }
        if prefixes.len() + 1 > TXN_OPS_MAX {
            prefixes = [Tree::Exclusive, Tree::Shared, Tree::Mark].map(|t| self.keys.repo(t, repo)).into();
        }
        prefixes.insert(self.keys.queue(repo));
        let reads = prefixes.into_iter().map(|p| Op::Get(Keys::prefix(p))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look at a lock's surroundings")?;
        let mut kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        kvs.sort_by(|a, b| a.key.cmp(&b.key));
        kvs.dedup_by(|a, b| a.key == b.key);
        self.sort_out(&kvs, reply.revision)
    }

    fn sort_out(&self, kvs: &[KeyValue], revision: Revision) -> Result<View, FleetError> {
        let mut view = View { held: vec![], queue: vec![], unclean: vec![], revision };
        let (mut marks, mut holders) = (Vec::new(), BTreeSet::new());
        for kv in kvs {
            if let Some((held, place)) = self.held(kv)? {
                holders.insert(place);
                view.held.push((kv.key.clone(), held));
            } else if let Some(waiting) = self.waiting(kv)? {
                view.queue.push((kv.key.clone(), waiting));
            } else {
                marks.push(kv.clone());
            }
        }
        view.unclean = self.unclean(&marks, &holders)?;
        Ok(view)
    }

    /// Reads a holder's key, of either tree. A record that cannot be read is an error: ignoring it could grant twice.
    #[allow(clippy::type_complexity)] // A pair of one lock and its place, used by two callers.
    pub(crate) fn held(&self, kv: &KeyValue) -> Result<Option<(Held, (String, SessionId, u64))>, FleetError> {
        let parsed = [Tree::Exclusive, Tree::Shared].iter().find_map(|t| self.keys.parse_holder(*t, &kv.key));
        let Some((_, anchor, session, n)) = parsed else { return Ok(None) };
        let record: HolderRecord = decode(kv)?;
        let claim = record.claim(&anchor).ok_or_else(|| garbage(kv, "its scope is no path, pattern or name"))?;
        let held = Held { session: session.clone(), claim, token: Token(kv.create_revision) };
        Ok(Some((held, (anchor, session, n))))
    }

    pub(crate) fn waiting(&self, kv: &KeyValue) -> Result<Option<Waiting>, FleetError> {
        let Some((_, session, _)) = self.keys.parse_waiter(&kv.key) else { return Ok(None) };
        let record: QueueRecord = decode(kv)?;
        let claims = record.claims.iter().map(ClaimRecord::claim).collect::<Option<Vec<_>>>();
        let claims = claims.ok_or_else(|| garbage(kv, "a scope in it is no path, pattern or name"))?;
        Ok(Some(Waiting { session, claims, since: kv.create_revision }))
    }

    /// Gives a lock back. Its mark and operation record go with it.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn release(&self, lock: &GrantedLock) -> Result<Released, FleetError> {
        let mut ops = vec![Op::Delete(Keys::one(lock.key.clone()))];
        ops.extend(self.mark_of(&lock.key).map(|m| Op::Delete(Keys::one(m))));
        let txn = Txn::when(vec![Compare::created_at(lock.key.clone(), lock.token.0)]).then(ops);
        match self.store.txn(txn).await {
            Ok(reply) if reply.succeeded => Ok(Released::Yes),
            Ok(_) => Ok(Released::WasLost),
            Err(e) if e.is_unknown() => {
                let kv = self.get(&lock.key, "read back a release").await?;
                if kv.is_some_and(|kv| kv.create_revision == lock.token.0) {
                    return Err(e).doing("release a lock");
                }
                Ok(Released::Yes)
            }
            Err(e) => Err(e).doing("release a lock"),
        }
    }

    /// Takes a lock away from its holder. The mark stays: the next holder is told to look first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn force_release(&self, key: &str, token: Token) -> Result<Released, FleetError> {
        let txn = Txn::when(vec![Compare::created_at(key, token.0)]).then(vec![Op::Delete(Keys::one(key))]);
        let reply = self.store.txn(txn).await.doing("force a lock's release")?;
        Ok(if reply.succeeded { Released::Yes } else { Released::WasLost })
    }

    /// Removes left-over marks once their lock has cooled and its new holder has been told.
    ///
    /// # Errors
    /// If the store does not answer; the marks then stay and are told again.
    pub async fn clear_marks(&self, unclean: &[Unclean]) -> Result<(), FleetError> {
        for mark in unclean {
            let txn = Txn::when(vec![Compare::created_at(mark.mark.clone(), mark.token.0)])
                .then(vec![Op::Delete(Keys::one(mark.mark.clone()))]);
            self.store.txn(txn).await.doing("clear a left-over mark")?;
        }
        Ok(())
    }

    /// The token a holder key has in the store now, if it exists.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn stored_token(&self, key: &str) -> Result<Option<Token>, FleetError> {
        Ok(self.get(key, "read a lock's token").await?.map(|kv| Token(kv.create_revision)))
    }

    fn mark_of(&self, holder: &str) -> Option<String> {
        let (repo, anchor, sid, n) = self.keys.parse_holder(Tree::Exclusive, holder)?;
        Some(self.keys.holder(Tree::Mark, &repo, &anchor, &sid, n))
    }
}

enum Look {
    Granted(Grant),
    Blocked(Vec<Blocker>, Wake),
    /// The queue entry or the session is gone.
    Gone,
}

/// The key whose end should wake a waiter, and the revision it was seen at.
struct Wake {
    key: String,
    after: Revision,
}

fn ancestors(scope: &Scope) -> Vec<String> {
    match scope {
        Scope::Path(p) => p.ancestor_keys().collect(),
        Scope::Glob { folder, .. } => folder.ancestor_keys().collect(),
        Scope::Named(_) => vec![String::new()],
    }
}

fn granted(request: &Request, keys: Vec<String>, token: Token) -> Vec<GrantedLock> {
    let lock =
        |(claim, key): (&Claim, String)| GrantedLock { repo: request.repo.clone(), claim: claim.clone(), token, key };
    request.claims.iter().zip(keys).map(lock).collect()
}

fn garbage(kv: &KeyValue, why: &str) -> FleetError {
    FleetError::Garbage { key: kv.key.clone(), why: why.to_owned() }
}

//! Locks: what a request is, the fast path in one transaction, what surrounds a request, release and force release
//! (lock-protocol §4). Whoever is not granted at once waits in `queue`; an unknown outcome is made known in `settle`.

use std::collections::BTreeSet;

use rr_core::bugs::{self, Bug};
use rr_core::id::{OpId, RepoId, SessionId, Token};
use rr_core::limits::SCOPES_PER_REQUEST_MAX;
use rr_core::lock::{Blocker, Held, Waiting};
use rr_core::scope::{Claim, Mode, Scope};
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, TXN_OPS_MAX, Txn, TxnReply};

use crate::keys::Tree;
use crate::queue::{Look, WaitEnd, Waiter};
use crate::records::{ClaimRecord, HolderRecord, MarkRecord, OpRecord, QueueRecord, decode, encode, shown_of};
use crate::session::Session;
use crate::settle::{Attempt, Settled};
use crate::{Doing, Fleet, FleetError};

/// Compares that every transaction of a session needs besides its scopes' own.
const COMMON_COMPARES: usize = 7;

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    Yes,
    /// It was no longer ours: nothing was deleted.
    WasLost,
}

/// What a look at the store shows of one request's surroundings.
pub(crate) struct View {
    pub(crate) held: Vec<(String, Held)>,
    pub(crate) queue: Vec<(String, Waiting)>,
    pub(crate) unclean: Vec<Unclean>,
    pub(crate) revision: Revision,
}

/// Where a holder or a mark lies: its anchor, its session, and which of theirs.
pub(crate) type Place = (String, SessionId, u64);

impl Fleet {
    /// Asks for locks. One transaction if nothing is in the way and nobody waits in the repository; else a place in the queue
    /// is taken and looked at once.
    ///
    /// # Errors
    /// If the store does not answer clearly: then nothing was granted, or what was granted is given back, at the latest
    /// with the next keep-alive.
    pub async fn request(&self, session: &Session, request: Request) -> Result<Answer, FleetError> {
        if request.claims.len() > SCOPES_PER_REQUEST_MAX {
            return Err(FleetError::TooManyScopes { max: SCOPES_PER_REQUEST_MAX });
        }
        self.pay(session).await?;
        if let Some(grant) = self.fast(session, &request).await? {
            return Ok(Answer::Granted(grant));
        }
        let Some(waiter) = self.enqueue(session, request).await? else { return Ok(Answer::Lost) };
        match self.look(session, &waiter).await {
            Ok(Look::Granted(grant)) => Ok(Answer::Granted(grant)),
            Ok(Look::Blocked(view_blockers, _)) => Ok(Answer::Queued(waiter, view_blockers)),
            // Refused as part of a ring before its first look: its wait will say so.
            Ok(Look::Gone) if self.why_gone(session, &waiter).await? == WaitEnd::Ring => {
                Ok(Answer::Queued(waiter, vec![]))
            }
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
        let mut all = self.common(session, &op);
        all.push(Compare::absent(Keys::one(self.keys.full())));
        let nobody_waits = Compare::absent(Keys::prefix(self.keys.queue(&request.repo)));
        all.extend((!bugs::is_on(Bug::B16)).then_some(nobody_waits));
        all.extend(compares);
        let mut ops = self.mark_reads(request);
        let reads = ops.clone();
        let (attempt, puts) = self.attempt(session, request, op, None);
        ops.extend(puts);
        if ops.len() > TXN_OPS_MAX {
            return Ok(None);
        }
        match self.store.txn(Txn::when(all).then(ops)).await {
            Ok(reply) if reply.succeeded => {
                self.done(session, &attempt);
                let (revision, marks) = (reply.revision, marks_of(reply, reads.len()));
                Ok(Some(self.grant(request, &attempt, revision, &marks)?))
            }
            Ok(_) => Ok(None),
            Err(e) if e.is_unknown() && bugs::is_on(Bug::B5) => Ok(None),
            Err(e) if e.is_unknown() => match self.settle(session, &attempt, reads).await? {
                Settled::Granted(revision, marks) => {
                    self.done(session, &attempt);
                    Ok(Some(self.grant(request, &attempt, revision, &marks)?))
                }
                Settled::Refused | Settled::Never => Err(FleetError::Voided),
            },
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
    pub(crate) fn surroundings(&self, repo: &RepoId, claim: &Claim) -> Vec<String> {
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
        for claim in &request.claims {
            prefixes.extend(ancestors(&claim.scope).iter().map(|a| self.keys.own(Tree::Mark, &request.repo, a)));
            prefixes.insert(self.keys.range(Tree::Mark, &request.repo, &claim.scope.anchor_key()));
        }
        prefixes.into_iter().map(|p| Op::Get(Keys::prefix(p))).collect()
    }

    /// The guards that every transaction of a session carries (lock-protocol §4, "C").
    pub(crate) fn common(&self, session: &Session, op: &OpId) -> Vec<Compare> {
        vec![
            self.same_generation(session.generation),
            Compare::created_at(self.keys.session(&session.sid), session.created),
            Compare::absent(Keys::one(self.keys.denied(&session.fingerprint))),
            Compare::absent(Keys::one(self.keys.op(&session.sid, op))),
        ]
    }

    /// What turns a request into holders: the attempt, and the writes that go with it.
    pub(crate) fn attempt(
        &self,
        session: &Session,
        request: &Request,
        op: OpId,
        entry: Option<String>,
    ) -> (Attempt, Vec<Op>) {
        let mut attempt = Attempt { op, keys: Vec::new(), entry, spent: session.books.spent() };
        let mut ops = Vec::new();
        for claim in &request.claims {
            ops.extend(self.holder_puts(session, request, claim, &mut attempt));
        }
        let record = self.keys.op(&session.sid, &attempt.op);
        ops.push(Op::put_leased(record, encode(&OpRecord::Granted), session.lease));
        let gone = attempt.spent.iter().chain(&attempt.entry);
        ops.extend(gone.map(|key| Op::Delete(Keys::one(key.clone()))));
        (attempt, ops)
    }

    fn holder_puts(&self, session: &Session, request: &Request, claim: &Claim, attempt: &mut Attempt) -> Vec<Op> {
        let n = session.next_number();
        let anchor = claim.scope.anchor_key();
        let tree = if claim.mode == Mode::Exclusive { Tree::Exclusive } else { Tree::Shared };
        let key = self.keys.holder(tree, &request.repo, &anchor, &session.sid, n);
        let (shown, glob) = shown_of(&claim.scope);
        let record = HolderRecord {
            op: attempt.op.clone(),
            mode: claim.mode,
            shown: shown.clone(),
            glob,
            since_unix_ms: request.now_unix_ms,
            doing: request.doing.clone(),
        };
        let mut ops = vec![Op::put_leased(key.clone(), encode(&record), session.lease)];
        ops.extend(self.mark_of(&key).map(|mark| Op::put(mark, encode(&MarkRecord { shown, gone: false }))));
        attempt.keys.push(key);
        ops
    }

    fn grant(
        &self,
        request: &Request,
        attempt: &Attempt,
        revision: Revision,
        marks: &[KeyValue],
    ) -> Result<Grant, FleetError> {
        // No other holder can be here: its marks are all left over but those of this grant.
        let own = attempt.keys.iter().filter_map(|key| self.keys.parse_holder(Tree::Exclusive, key));
        let own = own.map(|(_, anchor, session, n)| (anchor, session, n)).collect();
        let locks = granted(request, attempt, revision);
        Ok(Grant { locks, unclean: self.unclean(marks, &own)?, revision })
    }

    /// Marks without their holder: somebody ended uncleanly there.
    fn unclean(&self, marks: &[KeyValue], holders: &BTreeSet<Place>) -> Result<Vec<Unclean>, FleetError> {
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

    /// Reads holders, waiters and marks around some claims at one revision.
    pub(crate) async fn view(&self, repo: &RepoId, claims: &[Claim]) -> Result<View, FleetError> {
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
    pub(crate) fn held(&self, kv: &KeyValue) -> Result<Option<(Held, Place)>, FleetError> {
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
        let mine = Compare::created_at(lock.key.clone(), lock.token.0);
        let guard = if bugs::is_on(Bug::B1) { Compare::exists(lock.key.clone()) } else { mine };
        match self.store.txn(Txn::when(vec![guard]).then(ops)).await {
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

    /// The token that each lock's key has in the store now, if it exists.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn stored_tokens(&self, locks: &[GrantedLock]) -> Result<Vec<Option<Token>>, FleetError> {
        let mut found = Vec::with_capacity(locks.len());
        for chunk in locks.chunks(TXN_OPS_MAX) {
            let reads = chunk.iter().map(|lock| Op::Get(Keys::one(lock.key.clone()))).collect();
            let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the tokens of locks")?;
            let tokens = reply.replies.into_iter().map(|one| one.into_keys().pop());
            found.extend(tokens.map(|kv| kv.map(|kv| Token(kv.create_revision))));
        }
        Ok(found)
    }
}

fn ancestors(scope: &Scope) -> Vec<String> {
    match scope {
        Scope::Path(p) => p.ancestor_keys().collect(),
        Scope::Glob { folder, .. } => folder.ancestor_keys().collect(),
        Scope::Named(_) => vec![String::new()],
    }
}

pub(crate) fn granted(request: &Request, attempt: &Attempt, revision: Revision) -> Vec<GrantedLock> {
    let lock = |(claim, key): (&Claim, &String)| GrantedLock {
        repo: request.repo.clone(),
        claim: claim.clone(),
        token: Token(revision),
        key: key.clone(),
    };
    request.claims.iter().zip(&attempt.keys).map(lock).collect()
}

/// The answers to a transaction's first reads.
fn marks_of(reply: TxnReply, reads: usize) -> Vec<KeyValue> {
    reply.replies.into_iter().take(reads).flat_map(OpReply::into_keys).collect()
}

fn garbage(kv: &KeyValue, why: &str) -> FleetError {
    FleetError::Garbage { key: kv.key.clone(), why: why.to_owned() }
}

//! What is known of commits (D16, lock-protocol §4 "fenced effect outside"): whether the session that made one still had every
//! path it changed when it was made. Written once for each commit, before its locks are given back; read by the publish gate,
//! whenever it is pushed. It knows no git and no hook; what a session held is the sidecar's to say.
//!
//! # Why one look is enough
//!
//! A commit changes more paths than a transaction can compare, so a verdict is not guarded path by path. It is made from one
//! read of all holders around the paths, at one revision, **after** the commit exists. A holder's key with create revision
//! `token` at that revision has existed without a gap since it was granted, so it was held when the commit was made; a key
//! that is gone or has another create revision was lost. What happens after that revision does not change what was true at
//! the commit. The write then compares the generation (a restored store takes no verdict from before), that the host is not
//! revoked, and that nobody else has judged the commit: the first verdict stays.

use std::collections::BTreeSet;

use rr_core::id::{CommitId, RepoId, SessionId, Token};
use rr_core::lock::Held;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::Span;
use rr_store::{Compare, Keys, LeaseId, Op, OpReply, Revision, TXN_OPS_MAX, Txn};
use serde::{Deserialize, Serialize};

use crate::keys::Tree;
use crate::records::{decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// How long a verdict is kept: longer than a branch usually stays unpublished, short enough that the store does not grow for
/// ever. What is published later needs a person's word.
pub const VERDICTS_KEPT_FOR: Span = Span::from_secs(14 * 24 * 3_600);
/// Verdicts written in one transaction: with its guards well below the store's limit.
const RECORDS_PER_TXN: usize = 50;
/// A write that lost a race reads again: two who judge the same commits at once are done after one more round each.
const TRIES_MAX: usize = 4;
/// Paths named in one record: what a person can look at. The others are counted.
const PATHS_KEPT_MAX: usize = 20;

/// With what right a session changed a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// It has this lock, as far as it knows.
    Held { key: String, token: Token },
    /// Its lock was lost, or somebody else had the path when it was written; and it was not locked again since.
    Lost { token: Option<Token> },
    /// Given back earlier, or never locked: it may be changed as long as nobody else has it.
    Free,
    /// Whoever has it: the change is that of an earlier commit (a rebase or an amendment makes no new contents), or the
    /// repository only warns of what is done in other work trees.
    Allowed,
}

/// One path of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub path: RepoPath,
    pub right: Right,
}

/// A changed path that was not, or no longer, the session's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overtaken {
    pub path: String,
    /// The token under which the session had it, if it ever had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Token>,
    /// Who had it when the commit was judged, and that token. None: given back again by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<(SessionId, Token)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every changed path was the session's, or nobody's.
    Fenced,
    /// Some were not. `more`: how many beyond those named.
    Overtaken { paths: Vec<Overtaken>, more: usize },
    /// A person answers for it.
    Vouched { who: String, reason: String },
}

/// What is known of one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The session that made it; none for one that a person vouched for unseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The agent's own name for its session, as commits carry it.
    #[serde(default)]
    pub agent_session: String,
    /// The tokens it was made under: path and token of the first few locks.
    #[serde(default)]
    pub held: Vec<(String, Token)>,
    pub verdict: Verdict,
    /// For display, and for forgetting where leases do not run out.
    pub at_unix_ms: u64,
}

/// All exclusive holders around some paths, at one revision.
#[derive(Clone, Debug)]
pub struct Standing {
    pub revision: Revision,
    generation: Revision,
    holders: Vec<(String, Held)>,
}

/// What came of writing a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Every commit has a verdict now: this one, or an earlier one.
    Yes,
    /// The generation has changed, or the host is revoked: look again, or have nothing to say.
    OutOfDate,
}

impl Standing {
    /// The verdict on a commit of `session`: every path that was not its to change.
    #[must_use]
    pub fn judge(&self, session: &Session, changes: &[Changed]) -> Verdict {
        let overtaken: Vec<Overtaken> = changes.iter().filter_map(|c| self.objection(session, c)).collect();
        if overtaken.is_empty() {
            return Verdict::Fenced;
        }
        let more = overtaken.len().saturating_sub(PATHS_KEPT_MAX);
        Verdict::Overtaken { paths: overtaken.into_iter().take(PATHS_KEPT_MAX).collect(), more }
    }

    fn objection(&self, session: &Session, changed: &Changed) -> Option<Overtaken> {
        let by = || self.other(session, &changed.path).map(|h| (h.session.clone(), h.token));
        let (own, by) = match &changed.right {
            Right::Held { key, token } if self.has(session, key, *token) => return None,
            Right::Held { token, .. } => (Some(*token), by()),
            Right::Lost { token } => (*token, by()),
            Right::Free => (None, Some(by()?)),
            Right::Allowed => return None,
        };
        Some(Overtaken { path: changed.path.to_string(), own, by })
    }

    fn has(&self, session: &Session, key: &str, token: Token) -> bool {
        session.generation == self.generation && self.holders.iter().any(|(k, h)| k == key && h.token == token)
    }

    /// Somebody else who has a path.
    #[must_use]
    pub fn other(&self, session: &Session, path: &RepoPath) -> Option<&Held> {
        let claim = Claim::exclusive(Scope::Path(path.clone()));
        self.holders.iter().map(|(_, h)| h).find(|h| h.session != session.sid && h.claim.conflicts(&claim))
    }
}

impl Fleet {
    /// Who has these paths now.
    ///
    /// # Errors
    /// If the store does not answer, or holds what cannot be read.
    pub async fn standing(&self, repo: &RepoId, paths: &[RepoPath]) -> Result<Standing, FleetError> {
        let mut prefixes = BTreeSet::new();
        for path in paths {
            // A shared claim is in the way of exclusive holders only.
            prefixes.extend(self.surroundings(repo, &Claim::shared(Scope::Path(path.clone()))));
            if prefixes.len() + 1 > TXN_OPS_MAX {
                prefixes = BTreeSet::from([self.keys.repo(Tree::Exclusive, repo)]);
                break;
            }
        }
        let mut reads = vec![Op::Get(Keys::one(self.keys.generation()))];
        reads.extend(prefixes.into_iter().map(|p| Op::Get(Keys::prefix(p))));
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look who has the paths of a commit")?;
        let (mut holders, mut generation, mut seen) = (Vec::new(), 0, BTreeSet::new());
        for kv in reply.replies.into_iter().flat_map(OpReply::into_keys) {
            if kv.key == self.keys.generation() {
                generation = kv.mod_revision;
            } else if seen.insert(kv.key.clone())
                && let Some((held, _)) = self.held(&kv)?
            {
                holders.push((kv.key, held));
            }
        }
        Ok(Standing { revision: reply.revision, generation, holders })
    }

    /// A lease for verdicts: they go when it runs out. One a day serves all commits of a host.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn verdicts_lease(&self) -> Result<LeaseId, FleetError> {
        self.store.grant(VERDICTS_KEPT_FOR).await.doing("grant a lease for verdicts")
    }

    /// Writes verdicts that were made from `standing`. A commit that has one keeps it, so this may be sent twice.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn record_commits(
        &self,
        session: &Session,
        standing: &Standing,
        lease: LeaseId,
        records: &[(CommitId, CommitRecord)],
    ) -> Result<Recorded, FleetError> {
        for chunk in records.chunks(RECORDS_PER_TXN) {
            if self.record_chunk(session, standing, lease, chunk).await? == Recorded::OutOfDate {
                return Ok(Recorded::OutOfDate);
            }
        }
        Ok(Recorded::Yes)
    }

    async fn record_chunk(
        &self,
        session: &Session,
        standing: &Standing,
        lease: LeaseId,
        chunk: &[(CommitId, CommitRecord)],
    ) -> Result<Recorded, FleetError> {
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            let ids: Vec<CommitId> = chunk.iter().map(|(id, _)| id.clone()).collect();
            let known = self.commit_records(&ids).await?;
            let missing = chunk.iter().zip(known).filter(|(_, known)| known.is_none()).map(|(new, _)| new);
            let (mut guards, mut puts) = (self.verdict_guards(session, standing), Vec::new());
            let fixed = guards.len();
            for (id, record) in missing {
                guards.push(Compare::absent(Keys::one(self.keys.commit(id))));
                puts.push(Op::put_leased(self.keys.commit(id), encode(record), lease));
            }
            if puts.is_empty() {
                return Ok(Recorded::Yes);
            }
            let valid = Txn::when(guards[..fixed].to_vec());
            match self.store.txn(Txn::when(guards).then(puts)).await.doing("record what is known of commits") {
                Ok(reply) if reply.succeeded => return Ok(Recorded::Yes),
                Ok(_) if !self.store.txn(valid).await.doing("look why commits were not recorded")?.succeeded => {
                    return Ok(Recorded::OutOfDate);
                }
                // Somebody else wrote one of them: read which.
                Ok(_) => {}
                // Written or not, the next look tells.
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn verdict_guards(&self, session: &Session, standing: &Standing) -> Vec<Compare> {
        vec![
            Compare::modified_at(self.keys.generation(), standing.generation),
            Compare::absent(Keys::one(self.keys.denied(&session.fingerprint))),
        ]
    }

    /// What is known of these commits, in their order.
    ///
    /// # Errors
    /// If the store does not answer, or holds what cannot be read.
    pub async fn commit_records(&self, ids: &[CommitId]) -> Result<Vec<Option<CommitRecord>>, FleetError> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(TXN_OPS_MAX) {
            let reads = chunk.iter().map(|id| Op::Get(Keys::one(self.keys.commit(id)))).collect();
            let reply = self.store.txn(Txn::default().then(reads)).await.doing("read what is known of commits")?;
            for reply in reply.replies {
                found.push(reply.into_keys().first().map(decode).transpose()?);
            }
        }
        Ok(found)
    }

    /// A person answers for commits, whatever is known of them.
    ///
    /// # Errors
    /// If the store does not answer clearly; it may be sent again.
    pub async fn vouch(&self, ids: &[CommitId], who: &str, reason: &str, at_unix_ms: u64) -> Result<(), FleetError> {
        let lease = self.verdicts_lease().await?;
        let known = self.commit_records(ids).await?;
        let verdict = Verdict::Vouched { who: who.to_owned(), reason: reason.to_owned() };
        let puts: Vec<Op> = ids
            .iter()
            .zip(known)
            .map(|(id, known)| {
                let unseen = CommitRecord {
                    session: None,
                    agent_session: String::new(),
                    held: Vec::new(),
                    verdict: Verdict::Fenced,
                    at_unix_ms,
                };
                let record = CommitRecord { verdict: verdict.clone(), at_unix_ms, ..known.unwrap_or(unseen) };
                Op::put_leased(self.keys.commit(id), encode(&record), lease)
            })
            .collect();
        for chunk in puts.chunks(RECORDS_PER_TXN) {
            self.store.txn(Txn::default().then(chunk.to_vec())).await.doing("vouch for commits")?;
        }
        Ok(())
    }

    /// Forgets verdicts from before a time. Leases do the same; but those of the embedded store start anew with each start of
    /// its program. A clock that is wrong costs a person's word, never a wrong verdict.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn forget_commits(&self, before_unix_ms: u64) -> Result<usize, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.commits())).await.doing("list what is known of commits")?;
        let is_old = |kv: &&rr_store::KeyValue| {
            decode::<CommitRecord>(kv).is_ok_and(|record| record.at_unix_ms < before_unix_ms)
        };
        let old: Vec<Op> = reply.kvs.iter().filter(is_old).map(|kv| Op::Delete(Keys::one(kv.key.clone()))).collect();
        for chunk in old.chunks(TXN_OPS_MAX) {
            self.store.txn(Txn::default().then(chunk.to_vec())).await.doing("forget old verdicts")?;
        }
        Ok(old.len())
    }
}

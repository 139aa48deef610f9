//! Unknown outcomes made known (lock-protocol §1.4, H11): an operation whose answer was lost is either found done by its
//! record, or its record is written as "void", after which its own guard can never hold. What the store cannot be told at
//! once is owed, and paid at the session's next keep-alive or request. It knows keys and records, not who conflicts with
//! whom; grants are made in `locks` and `queue`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_core::id::OpId;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, StoreError, Txn, TxnReply};

use crate::keys::Tree;
use crate::records::{OpRecord, decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Tries before what the store must be told is left owing.
const TRIES_MAX: usize = 8;
/// Records of finished operations that one grant takes away: more than one grant leaves, so that they never pile up.
const SPENT_PER_GRANT_MAX: usize = 4;

/// What a session has to tell the store by and by.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Records of operations that are known to be done: nobody will read them back.
    spent: Vec<String>,
    /// Undoings of operations that were answered as not done. Each may be sent twice.
    owed: Vec<Txn>,
}

impl Books {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Each change is one call: a poisoned lock is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn spent(&self) -> Vec<String> {
        self.entries().spent.iter().take(SPENT_PER_GRANT_MAX).cloned().collect()
    }
}

/// A grant in the making: all that must not be left behind if nobody hears of it.
pub(crate) struct Attempt {
    pub(crate) op: OpId,
    /// The holders' keys, of this attempt alone.
    pub(crate) keys: Vec<String>,
    /// The queue entry that turns into them.
    pub(crate) entry: Option<String>,
    /// Earlier operations' records that go with it.
    pub(crate) spent: Vec<String>,
}

pub(crate) enum Settled {
    /// Done, at this revision; and what the reads showed.
    Granted(Revision, Vec<KeyValue>),
    /// Refused in the meantime, as part of a ring.
    Refused,
    /// It has not happened and never will.
    Never,
}

impl Fleet {
    /// Finds out what became of an attempt, or makes sure that nothing ever will. `reads` are answered if it was granted.
    pub(crate) async fn settle(
        &self,
        session: &Session,
        attempt: &Attempt,
        reads: Vec<Op>,
    ) -> Result<Settled, FleetError> {
        let key = self.keys.op(&session.sid, &attempt.op);
        let mut found = vec![Op::Get(Keys::one(key.clone()))];
        found.extend(reads);
        let txn = self.void(session, attempt).otherwise(found);
        let reply = match self.insist(txn, "settle an operation").await {
            Ok(reply) => reply,
            Err(error) if is_lease_gone(&error) => return Ok(Settled::Never),
            Err(error) => {
                self.owe(session, self.undo(session, attempt));
                return Err(error);
            }
        };
        if reply.succeeded {
            return Ok(Settled::Never);
        }
        let mut kvs = reply.replies.into_iter().flat_map(OpReply::into_keys);
        let Some(record) = kvs.next() else { return Ok(Settled::Never) };
        match decode::<OpRecord>(&record)? {
            // The record is written with the holders: its revision is theirs, and so their token.
            OpRecord::Granted => Ok(Settled::Granted(record.create_revision, kvs.collect())),
            OpRecord::Ring => Ok(Settled::Refused),
            OpRecord::Void => Ok(Settled::Never),
        }
    }

    /// Makes sure that an attempt leaves nothing, now or later; what cannot be said now is owed.
    pub(crate) async fn abandon(&self, session: &Session, attempt: &Attempt) {
        self.tell(session, self.undo(session, attempt)).await;
    }

    /// Sends a transaction that may be sent twice; left owing if the store does not answer.
    pub(crate) async fn tell(&self, session: &Session, txn: Txn) {
        if let Err(error) = self.insist(txn.clone(), "withdraw an operation").await
            && !is_lease_gone(&error)
        {
            tracing::debug!(session = %session.sid, %error, "owed to the store");
            self.owe(session, txn);
        }
    }

    fn void(&self, session: &Session, attempt: &Attempt) -> Txn {
        let key = self.keys.op(&session.sid, &attempt.op);
        let mut void = vec![Op::put_leased(key.clone(), encode(&OpRecord::Void), session.lease)];
        void.extend(attempt.entry.iter().map(|entry| Op::Delete(Keys::one(entry.clone()))));
        Txn::when(vec![Compare::absent(Keys::one(key))]).then(void)
    }

    /// Void if it has not happened; taken back if it has. Its keys are its own, so doing it twice undoes nothing else.
    fn undo(&self, session: &Session, attempt: &Attempt) -> Txn {
        let marks = attempt.keys.iter().filter_map(|key| self.mark_of(key));
        let keys = attempt.keys.iter().cloned().chain(marks).chain(attempt.entry.clone());
        let deletes = keys.map(|key| Op::Delete(Keys::one(key))).collect();
        self.void(session, attempt).otherwise(deletes)
    }

    pub(crate) fn mark_of(&self, holder: &str) -> Option<String> {
        let (repo, anchor, sid, n) = self.keys.parse_holder(Tree::Exclusive, holder)?;
        Some(self.keys.holder(Tree::Mark, &repo, &anchor, &sid, n))
    }

    /// Sends a transaction again until it is answered: only for those that may be applied twice.
    pub(crate) async fn insist(&self, txn: Txn, doing: &'static str) -> Result<TxnReply, FleetError> {
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.store.txn(txn.clone()).await.doing(doing) {
                Err(error) if error.is_outage() => last = error,
                answered => return answered,
            }
        }
        Err(last)
    }

    fn owe(&self, session: &Session, txn: Txn) {
        session.books.entries().owed.push(txn);
    }

    /// Tells the store what is still owed to it. What fails stays owed.
    pub(crate) async fn pay(&self, session: &Session) -> Result<(), FleetError> {
        let mut owed = std::mem::take(&mut session.books.entries().owed);
        while let Some(txn) = owed.pop() {
            match self.store.txn(txn.clone()).await.doing("settle what is owed") {
                Err(error) if !is_lease_gone(&error) => {
                    owed.push(txn);
                    session.books.entries().owed.append(&mut owed);
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes that an attempt is known to be done: its record goes with the next grant.
    pub(crate) fn done(&self, session: &Session, attempt: &Attempt) {
        let mut entries = session.books.entries();
        entries.spent.retain(|key| !attempt.spent.contains(key));
        entries.spent.push(self.keys.op(&session.sid, &attempt.op));
    }
}

/// Without its lease nothing of a session is left, and nothing of it can be written any more.
fn is_lease_gone(error: &FleetError) -> bool {
    matches!(error, FleetError::Store { source: StoreError::LeaseNotFound(_), .. })
}

//! The person's side: one decision on one request. Of many who decide at once one wins, and the others are told who; a
//! decision that comes after the time is over, after the asker is gone, or on an older request changes nothing.

use rr_core::id::{ApprovalId, OpId, SessionId};
use rr_core::limits::{APPROVAL_TEXT_BYTES_MAX, APPROVAL_USE_WITHIN};
use rr_store::{Compare, Keys, LeaseId, Op, OpReply, Revision, StoreError, Txn};

use super::{Answer, AnswerRecord, AskRecord, Seen, shown};
use crate::records::{decode, encode};
use crate::{Doing, Fleet, FleetError};

/// Tries while others write, or answers are lost.
const TRIES_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Reject,
}

/// What a person says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    pub id: ApprovalId,
    /// The revision that the person was shown it at.
    pub revision: Revision,
    pub decision: Decision,
    pub who: String,
    pub reason: String,
    pub now_unix_ms: u64,
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It stands.
    Yes,
    /// Somebody was faster: their answer, which may be used by now.
    Already(Answer),
    /// Its time was over.
    Expired,
    /// The session that asked is gone, or its host is shut out.
    AskerGone,
    /// The request is another one by now: look at it first.
    Changed { revision: Revision },
    /// No such request, or no longer.
    Unknown,
}

/// A request that waits, and what a decision on it compares.
struct Waiting {
    answer: Seen,
    ask: String,
    record: AskRecord,
    session: SessionId,
    session_lease: Option<LeaseId>,
}

enum Found {
    Waiting(Box<Waiting>),
    Done(Decided),
}

impl Fleet {
    /// Approves or rejects a request.
    ///
    /// # Errors
    /// If the store does not answer clearly after several tries: look whether it was decided.
    pub async fn decide_approval(&self, decide: &Decide) -> Result<Decided, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let (mut lease, mut unanswered) = (None, None);
        for _ in 0..TRIES_MAX {
            match self.try_decide(decide, &op, &mut lease).await {
                // It may have counted, and be over by now: nobody can say.
                Ok(Some(Decided::Unknown | Decided::Expired)) if unanswered.is_some() => break,
                Ok(Some(decided)) => {
                    // An approval that was not given leaves no lease behind.
                    if let Some(lease) = lease.filter(|_| decided != Decided::Yes) {
                        self.revoke_quietly(lease).await;
                    }
                    return Ok(decided);
                }
                Ok(None) => {}
                Err(error) if error.is_outage() => unanswered = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(unanswered.unwrap_or(FleetError::Voided))
    }

    /// `None`: something changed in between, look again.
    async fn try_decide(
        &self,
        decide: &Decide,
        op: &OpId,
        granted: &mut Option<LeaseId>,
    ) -> Result<Option<Decided>, FleetError> {
        let waiting = match self.find(decide, op).await? {
            Found::Waiting(waiting) => waiting,
            Found::Done(decided) => return Ok(Some(decided)),
        };
        let lease = match (decide.decision, *granted) {
            // A "no" stands as long as the session does.
            (Decision::Reject, _) => waiting.session_lease,
            (Decision::Approve, Some(lease)) => Some(lease),
            (Decision::Approve, None) => {
                let new = self.store.grant(APPROVAL_USE_WITHIN).await.doing("grant an approval's time")?;
                Some(*granted.insert(new))
            }
        };
        let Some(lease) = lease else { return Ok(Some(Decided::AskerGone)) };
        let record = AnswerRecord { id: decide.id.clone(), op: op.clone(), decision: None, answer: answer_of(decide) };
        let put = Op::put_leased(waiting.answer.key.clone(), encode(&record), lease);
        let guards = self.decision_guards(&waiting, decide.revision);
        let asker_alone = Txn::when(guards[2..].to_vec());
        let reply = self.store.txn(Txn::when(guards).then(vec![put])).await;
        if matches!(reply, Err(StoreError::LeaseNotFound(_))) {
            *granted = None;
        } else if reply.doing("decide on a request")?.succeeded {
            return Ok(Some(Decided::Yes));
        }
        let asker = self.store.txn(asker_alone).await.doing("look why a decision did not count")?;
        Ok((!asker.succeeded).then_some(Decided::AskerGone))
    }

    /// First that it is this request and undecided; then who asks: the session lives, nothing was restored since, and its host
    /// is not shut out.
    fn decision_guards(&self, waiting: &Waiting, revision: Revision) -> Vec<Compare> {
        vec![
            Compare::modified_at(waiting.answer.key.clone(), revision),
            Compare::modified_at(waiting.ask.clone(), revision),
            Compare::created_at(self.keys.session(&waiting.session), waiting.record.session),
            self.same_generation(waiting.record.generation),
            Compare::absent(Keys::one(self.keys.denied(&waiting.record.host))),
        ]
    }

    async fn find(&self, decide: &Decide, op: &OpId) -> Result<Found, FleetError> {
        let answers = self.store.range(Keys::prefix(self.keys.answers())).await.doing("look for a request")?.kvs;
        let found = answers.iter().filter_map(|kv| Seen::read(kv).ok()).find(|seen| seen.record.id == decide.id);
        let Some(answer) = found else { return self.without_answer(&decide.id).await.map(Found::Done) };
        if answer.is_of(op) {
            return Ok(Found::Done(Decided::Yes));
        }
        if !answer.is_waiting() {
            return Ok(Found::Done(Decided::Already(answer.record.answer)));
        }
        let Some((session, call)) = self.keys.parse_ask(&answer.key) else { return Ok(Found::Done(Decided::Unknown)) };
        let ask = self.keys.ask(&session, &call);
        let Some(kv) = self.get(&ask, "read a request").await? else { return Ok(Found::Done(Decided::AskerGone)) };
        if answer.revision != decide.revision {
            return Ok(Found::Done(Decided::Changed { revision: answer.revision }));
        }
        let (record, session_lease) = (decode(&kv)?, kv.lease);
        Ok(Found::Waiting(Box::new(Waiting { answer, ask, record, session, session_lease })))
    }

    /// A request without an answer has expired.
    async fn without_answer(&self, id: &ApprovalId) -> Result<Decided, FleetError> {
        let reply = self.store.txn(Txn::default().then(vec![Op::Get(Keys::prefix(self.keys.asks()))])).await;
        let asks = reply.doing("look for a request")?.replies.into_iter().flat_map(OpReply::into_keys);
        let is_asked = asks.filter_map(|kv| decode::<AskRecord>(&kv).ok()).any(|record| record.id == *id);
        Ok(if is_asked { Decided::Expired } else { Decided::Unknown })
    }
}

fn answer_of(decide: &Decide) -> Answer {
    let who = shown(&decide.who, APPROVAL_TEXT_BYTES_MAX);
    let reason = shown(&decide.reason, APPROVAL_TEXT_BYTES_MAX);
    let at_unix_ms = decide.now_unix_ms;
    match decide.decision {
        Decision::Approve => Answer::Approved { who, reason, at_unix_ms },
        Decision::Reject => Answer::Rejected { who, reason, at_unix_ms },
    }
}

//! What the asking session does with an answer: uses an approval, once, or takes its request back. An unknown outcome of a use
//! is read back by its operation id; what cannot be read back passes nothing.

use rr_core::id::{ApprovalId, OpId};
use rr_store::{Compare, Keys, Op, OpReply, StoreError, Txn};

use super::{Answer, AnswerRecord, AskRecord};
use crate::records::{decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Tries while others write, or answers are lost.
const TRIES_MAX: usize = 8;

/// What came of using an approval. Only [`Used::Yes`] lets a call pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// This use, and no other, has the approval.
    Yes {
        by: String,
    },
    /// It was used before.
    Already,
    Waiting,
    Rejected {
        by: String,
        reason: String,
    },
    Expired,
    /// Nothing starts while the fleet is paused; the approval is kept.
    Paused,
    /// No such request of this session.
    Unknown,
    /// The session, its host or the generation is no longer valid.
    Lost,
}

impl Fleet {
    /// Uses an approval: of all uses of it, whatever is retried or raced, one is told [`Used::Yes`].
    ///
    /// # Errors
    /// If the store does not answer clearly after several tries: the call must not pass. The approval may be spent.
    pub async fn use_approval(&self, session: &Session, id: &ApprovalId) -> Result<Used, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_use(session, id, &op).await {
                Ok(Some(used)) => return Ok(used),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `None`: something changed in between, look again.
    async fn try_use(&self, session: &Session, id: &ApprovalId, op: &OpId) -> Result<Option<Used>, FleetError> {
        let (own, answers) = (self.keys.asks_of(&session.sid), self.keys.answers_of(&session.sid));
        let (asks, answers, _) = self.asks_and_answers(own, answers).await?;
        let Some(seen) = answers.into_iter().find(|seen| seen.record.id == *id) else {
            let is_asked = asks.iter().any(|kv| decode::<AskRecord>(kv).is_ok_and(|record| record.id == *id));
            return Ok(Some(if is_asked { Used::Expired } else { Used::Unknown }));
        };
        let by = match &seen.record.answer {
            Answer::Approved { who, .. } => who.clone(),
            Answer::Used { who } if seen.record.op == *op => return Ok(Some(Used::Yes { by: who.clone() })),
            Answer::Used { .. } => return Ok(Some(Used::Already)),
            Answer::Waiting => return Ok(Some(Used::Waiting)),
            Answer::Rejected { who, reason, .. } => {
                return Ok(Some(Used::Rejected { by: who.clone(), reason: reason.clone() }));
            }
        };
        let (Some(ask), Some(lease)) = (self.ask_of(&seen.key), seen.lease) else { return Ok(Some(Used::Unknown)) };
        let (op, decision) = (op.clone(), Some(seen.record.op.clone()));
        let record = AnswerRecord { id: id.clone(), op, decision, answer: Answer::Used { who: by.clone() } };
        let mut guards = self.asker(session);
        guards.push(Compare::exists(self.keys.run()));
        guards.push(Compare::modified_at(seen.key.clone(), seen.revision));
        let ops = vec![Op::Delete(Keys::one(ask)), Op::put_leased(seen.key, encode(&record), lease)];
        let txn = Txn::when(guards).then(ops).otherwise(self.asker_reads(session));
        let reply = match self.store.txn(txn).await {
            Err(StoreError::LeaseNotFound(_)) => return Ok(None),
            other => other.doing("use an approval")?,
        };
        if reply.succeeded {
            return Ok(Some(Used::Yes { by }));
        }
        let is_paused = matches!(reply.replies.last(), Some(OpReply::Get(run)) if run.is_empty());
        let valid = self.is_valid(session, reply.replies);
        Ok(if !valid { Some(Used::Lost) } else { is_paused.then_some(Used::Paused) })
    }

    /// Takes a request back, however it stands: whoever decides on it later is told that there is none. Doing it twice is
    /// safe.
    ///
    /// # Errors
    /// If the store does not answer clearly: then the request goes with its session.
    pub async fn withdraw_approval(&self, session: &Session, id: &ApprovalId) -> Result<(), FleetError> {
        let own = self.store.range(Keys::prefix(self.keys.asks_of(&session.sid))).await;
        for kv in own.doing("look for a request")?.kvs {
            let Some((sid, call)) = self.keys.parse_ask(&kv.key) else { continue };
            if decode::<AskRecord>(&kv).is_ok_and(|record| record.id == *id) {
                let answer = self.keys.answer(&sid, &call);
                let guard = Compare::modified_at(kv.key.clone(), kv.mod_revision);
                let deletes = [kv.key, answer].map(|key| Op::Delete(Keys::one(key))).to_vec();
                self.insist(Txn::when(vec![guard]).then(deletes), "withdraw a request").await?;
            }
        }
        Ok(())
    }
}

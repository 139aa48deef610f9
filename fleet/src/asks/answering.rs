//! The sidecar's side of a question: take it up, once, and answer it. A host that is shut out, or a store that was
//! restored meanwhile, takes nothing up. What the answer says is not known here.

use rr_core::id::{HostId, OpId};
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, StoreError, Txn, TxnReply};

use super::{PART_BYTES, Question, ReplyRecord};
use crate::hosts::denial_in;
use crate::records::{decode, encode};
use crate::{Fleet, FleetError};

/// The right to act on a question, once, for one host. Only [`Fleet::take_up`] makes one.
#[derive(Debug)]
pub struct TakenUp {
    question: Box<Question>,
    host: HostId,
    op: OpId,
    key: String,
    created: Revision,
}

impl TakenUp {
    #[must_use]
    pub fn question(&self) -> &Question {
        &self.question
    }
}

#[derive(Debug)]
pub enum TakeUp {
    /// By this call: act, then answer.
    Taken(TakenUp),
    /// By an earlier call, or another sidecar of this host. It may have acted.
    Already,
    /// Nobody waits for it any more: withdrawn, over, or asked before a restore.
    Over,
    /// Another host is asked.
    NotAsked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is there for the asker.
    Yes,
    /// Nobody waits for it any more.
    TooLate,
}

impl Fleet {
    /// Takes up a question for a host: of many who try, over all its lives, exactly one may act.
    ///
    /// # Errors
    /// If the host is shut out, or the store does not answer clearly: then it may count as taken up, and nobody may
    /// act.
    pub async fn take_up(&self, question: &Question, host: &HostId) -> Result<TakeUp, FleetError> {
        if !question.is_for(host) {
            return Ok(TakeUp::NotAsked);
        }
        let op = OpId::from_random(self.entropy.bits());
        let (key, denied) = (self.keys.reply(&question.id, host), self.keys.denied(host.as_str()));
        let record = ReplyRecord { op: op.clone(), parts: None };
        let txn = Txn::when(vec![
            Compare::created_at(question.key.clone(), question.revision),
            Compare::absent(Keys::one(key.clone())),
            self.same_generation(question.generation),
            Compare::absent(Keys::one(denied.clone())),
        ])
        .then(vec![Op::put_leased(key.clone(), encode(&record), question.lease)])
        .otherwise(vec![Op::Get(Keys::one(key.clone())), Op::Get(Keys::one(denied.clone()))]);
        let taken = |created| {
            let (question, host, key) = (Box::new(question.clone()), host.clone(), key.clone());
            TakeUp::Taken(TakenUp { question, host, op: op.clone(), key, created })
        };
        // It may be sent twice: the second finds what the first did, with our own name on it.
        let Some(reply) = self.while_asked(txn, "take up a question").await? else { return Ok(TakeUp::Over) };
        if reply.succeeded {
            return Ok(taken(reply.revision));
        }
        let found: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        if let Some(kv) = found.iter().find(|kv| kv.key == key) {
            let is_own = decode::<ReplyRecord>(kv).is_ok_and(|record| record.op == op);
            return Ok(if is_own { taken(kv.create_revision) } else { TakeUp::Already });
        }
        match found.iter().find(|kv| kv.key == denied) {
            Some(kv) => Err(FleetError::Denied(denial_in(kv))),
            None => Ok(TakeUp::Over),
        }
    }

    /// Answers a question that was taken up. The same answer may be sent again.
    ///
    /// # Errors
    /// If it is longer than [`Question::answer_bytes_max`], the host is shut out, or the store does not answer clearly.
    pub async fn answer(&self, taken: &TakenUp, answer: &[u8]) -> Result<Answered, FleetError> {
        let (bytes, max) = (answer.len(), taken.question.answer_bytes_max);
        if bytes > max {
            return Err(FleetError::TooLong { what: "an answer", bytes, max });
        }
        let parts = answer.chunks(PART_BYTES);
        let record = ReplyRecord { op: taken.op.clone(), parts: Some(parts.len()) };
        for (n, part) in parts.enumerate() {
            let key = self.keys.reply_part(&taken.question.id, &taken.host, n);
            match self.put_reply(taken, Op::put_leased(key, part, taken.question.lease)).await? {
                Answered::Yes => {}
                Answered::TooLate => return Ok(Answered::TooLate),
            }
        }
        // Last: who reads this finds all parts there.
        self.put_reply(taken, Op::put_leased(taken.key.clone(), encode(&record), taken.question.lease)).await
    }

    async fn put_reply(&self, taken: &TakenUp, put: Op) -> Result<Answered, FleetError> {
        let denied = self.keys.denied(taken.host.as_str());
        let txn = Txn::when(vec![
            Compare::created_at(taken.key.clone(), taken.created),
            self.same_generation(taken.question.generation),
            Compare::absent(Keys::one(denied.clone())),
        ])
        .then(vec![put])
        .otherwise(vec![Op::Get(Keys::one(denied))]);
        let Some(reply) = self.while_asked(txn, "answer a question").await? else { return Ok(Answered::TooLate) };
        if reply.succeeded {
            return Ok(Answered::Yes);
        }
        match reply.replies.into_iter().flat_map(OpReply::into_keys).next() {
            Some(kv) => Err(FleetError::Denied(denial_in(&kv))),
            None => Ok(Answered::TooLate),
        }
    }

    /// Sends what may be sent twice. `None`: the question's lease has ended.
    async fn while_asked(&self, txn: Txn, doing: &'static str) -> Result<Option<TxnReply>, FleetError> {
        match self.insist(txn, doing).await {
            Err(FleetError::Store { source: StoreError::LeaseNotFound(_), .. }) => Ok(None),
            answered => answered.map(Some),
        }
    }
}

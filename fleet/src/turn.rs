//! Writes that rest on what was read: the state and a turn key are read at one revision, the caller decides, and the
//! transaction compares the turn key, rewrites it, and (of a leader) compares the leader's key (H17). So whoever was
//! overtaken looks again, and a copy that arrives late, however the area looks by then, changes nothing. It knows no keys
//! but these two.

use rr_core::id::OpId;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, Txn};

use crate::{Doing, Fleet, FleetError, Leader};

/// Tries while others write in the same area, or answers are lost.
const TRIES_MAX: usize = 24;

/// What a decision rests on, at one revision.
pub(crate) struct Seen {
    kvs: Vec<KeyValue>,
}

impl Seen {
    pub(crate) fn at(&self, key: &str) -> Option<&KeyValue> {
        self.kvs.iter().find(|kv| kv.key == key)
    }

    pub(crate) fn below<'a, 'p>(&'a self, prefix: &'p str) -> impl Iterator<Item = &'a KeyValue> + use<'a, 'p> {
        self.kvs.iter().filter(move |kv| kv.key.starts_with(prefix))
    }
}

/// What was decided.
pub(crate) enum Step<T> {
    /// Nothing is to be written (any more).
    Done(T),
    /// To be written if nobody was faster; then this is the outcome.
    Write { guards: Vec<Compare>, ops: Vec<Op>, outcome: T },
}

impl<T> Step<T> {
    pub(crate) fn write(ops: Vec<Op>, outcome: T) -> Self {
        Self::Write { guards: vec![], ops, outcome }
    }
}

/// Whose turn it is to write what.
pub(crate) struct Turn<'a> {
    pub(crate) area: &'static str,
    /// Absent: whoever may write here need not lead.
    pub(crate) leader: Option<&'a Leader>,
    pub(crate) doing: &'static str,
}

/// `key` is as it was read.
pub(crate) fn unchanged(key: &str, seen: Option<&KeyValue>) -> Compare {
    seen.map_or_else(|| Compare::absent(Keys::one(key)), |kv| Compare::modified_at(key.to_owned(), kv.mod_revision))
}

impl Fleet {
    /// Reads, decides, writes; again while others are faster. `decide` may be asked several times, also after a try of its own
    /// whose answer was lost. The revision is that of the write, or 0 where there was none.
    pub(crate) async fn in_turn<T>(
        &self,
        turn: &Turn<'_>,
        reads: &[Keys],
        mut decide: impl FnMut(&Seen) -> Result<Step<T>, FleetError>,
    ) -> Result<(T, Revision), FleetError> {
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            let (guard, seen) = match self.read_turn(turn, reads).await {
                Err(error) if error.is_outage() => {
                    last = error;
                    continue;
                }
                read => read?,
            };
            let (guards, ops, outcome) = match decide(&seen)? {
                Step::Done(outcome) => return Ok((outcome, 0)),
                Step::Write { guards, ops, outcome } => (guards, ops, outcome),
            };
            let stamp = OpId::from_random(self.entropy.bits());
            let mine = Op::put(self.keys.turn(turn.area), stamp.as_str());
            let compares = turn.leader.map(Leader::still).into_iter().chain([guard]).chain(guards).collect();
            let txn = Txn::when(compares).then([mine].into_iter().chain(ops).collect());
            match self.store.txn(txn).await.doing(turn.doing) {
                Ok(reply) if reply.succeeded => return Ok((outcome, reply.revision)),
                Ok(_) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn read_turn(&self, turn: &Turn<'_>, reads: &[Keys]) -> Result<(Compare, Seen), FleetError> {
        let own = self.keys.turn(turn.area);
        let first = [Some(own.clone()), turn.leader.map(|leader| leader.key.clone())].into_iter().flatten();
        let gets = first.map(Keys::one).chain(reads.iter().cloned()).map(Op::Get).collect();
        let reply = self.store.txn(Txn::default().then(gets)).await.doing(turn.doing)?;
        let seen = Seen { kvs: reply.replies.into_iter().flat_map(OpReply::into_keys).collect() };
        if let Some(leader) = turn.leader
            && seen.at(&leader.key).map(|kv| kv.create_revision) != Some(leader.created)
        {
            return Err(FleetError::NotLeading);
        }
        Ok((unchanged(&own, seen.at(&own)), seen))
    }
}

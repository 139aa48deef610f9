//! After a store was restored from a snapshot (lock-protocol §4, H7): what it says is of the past. Every session, lock and place
//! in line in it is ended, the generation changed so that no token of before counts, and the fleet paused until a person
//! resumes it. What stays are marks, which tell the next holder to look first, and denied hosts.

use rr_core::history::next_generation;
use rr_core::id::Epoch;
use rr_store::{Compare, Keys, Op, Txn};

use crate::keys::Tree;
use crate::permit::Hold;
use crate::records::encode;
use crate::{Doing, Fleet, FleetError};

/// The epoch jumps by this much: a `resume --epoch` that was meant for a pause after the snapshot must not fit by chance.
const EPOCH_JUMP: u64 = 1_000;
/// Tries while others write. The fleet is to be still when this is asked for.
const TRIES_MAX: usize = 8;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What a resume must name.
    pub epoch: Epoch,
    /// Hosts that are denied as far as the snapshot knew: later denials are forgotten and have to be made again.
    pub denied: Vec<String>,
}

impl Fleet {
    /// Ends everything that a restored store wrongly believes to go on. Doing it twice is safe: the second finds nothing to end.
    ///
    /// # Errors
    /// If the store does not answer clearly: then ask again.
    pub async fn post_restore(&self, hold: &Hold) -> Result<Restored, FleetError> {
        let random = rr_core::id::hex(&self.entropy.bits());
        let id = rr_core::id::hex(&self.entropy.bits()[..4]);
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            let state = self.state().await?;
            let generation = next_generation(&state.generation.id, &random);
            let next = Epoch(state.epoch.0 + EPOCH_JUMP);
            let guard = if state.epoch == Epoch(0) {
                Compare::absent(Keys::one(self.keys.epoch()))
            } else {
                Compare::value_is(self.keys.epoch(), state.epoch.0.to_string())
            };
            let txn = Txn::when(vec![guard]).then(self.a_new_start(&generation, next, &id, hold));
            match self.store.txn(txn).await.doing("start anew after a restore") {
                Ok(reply) if reply.succeeded => return self.restored(next).await,
                Ok(_) => {}
                Err(error) if error.is_outage() => {
                    if self.is_generation(&generation).await? {
                        return self.restored(next).await;
                    }
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn a_new_start(&self, generation: &str, next: Epoch, id: &str, hold: &Hold) -> Vec<Op> {
        let trees = [Tree::Exclusive, Tree::Shared].map(|tree| self.keys.tree(tree));
        let over = [
            vec![self.keys.sessions(), self.keys.slots(), self.keys.queues(), self.keys.ops(), self.keys.acks()],
            // A join token that was used after the snapshot would work a second time.
            vec![self.keys.joins(), self.keys.leaders()],
            // Nobody can say any more what was approved, used or taken back since.
            vec![self.keys.asks(), self.keys.answers()],
            // Nobody waits for these answers any more, and a question must not be taken up a second time.
            vec![self.keys.questions(), self.keys.replies()],
            // What work trees held then, what was found between them, and who had which turn.
            vec![self.keys.live_hosts(), self.keys.live(), self.keys.sent(), self.keys.wants(), self.keys.findings()],
            vec![self.keys.repair(), self.keys.counted_slots(), self.keys.gone_tickets()],
            trees.to_vec(),
        ];
        let mut ops: Vec<Op> = over.concat().into_iter().map(|prefix| Op::Delete(Keys::prefix(prefix))).collect();
        ops.push(Op::Delete(Keys::one(self.keys.run())));
        ops.push(Op::put(self.keys.generation(), generation));
        ops.push(Op::put(self.keys.schema(), crate::schema()));
        ops.push(Op::put(self.keys.epoch(), next.0.to_string()));
        ops.push(Op::put(self.keys.hold(id), encode(hold)));
        ops
    }

    async fn is_generation(&self, generation: &str) -> Result<bool, FleetError> {
        let kv = self.get(&self.keys.generation(), "read back a new start").await?;
        Ok(kv.is_some_and(|kv| kv.value == generation.as_bytes()))
    }

    async fn restored(&self, epoch: Epoch) -> Result<Restored, FleetError> {
        let prefix = self.keys.denied("");
        let reply = self.store.range(Keys::prefix(prefix.clone())).await.doing("list denied hosts")?;
        let denied = reply.kvs.iter().filter_map(|kv| kv.key.strip_prefix(&prefix)).map(str::to_owned).collect();
        Ok(Restored { epoch, denied })
    }
}

//! The cap on a fleet's locks (lock-protocol §2, H27): no transaction can count, so the leader counts by following, and a key
//! that every request compares says whether there is room. The cap is overshot by what is granted while it counts, no more.

use rr_core::limits::LOCKS_PER_FLEET_MAX;
use rr_store::{Compare, Keys, Op, Txn};

use crate::{Doing, Fleet, FleetError, Leader};

/// Room is made known again only this far below the cap, so that it is not told at every lock.
const ROOM_AGAIN: usize = LOCKS_PER_FLEET_MAX / 50;

impl Fleet {
    /// Whether the fleet is to be closed to new locks, given how many there are and whether it is closed now.
    #[must_use]
    pub fn is_full(locks: usize, closed: bool) -> bool {
        locks >= if closed { LOCKS_PER_FLEET_MAX - ROOM_AGAIN } else { LOCKS_PER_FLEET_MAX }
    }

    /// Closes the fleet to new locks, or opens it. `false`: somebody else leads.
    ///
    /// # Errors
    /// If the store does not answer; the same may be told again.
    pub async fn close(&self, leader: &Leader, closed: bool) -> Result<bool, FleetError> {
        let key = self.keys.full();
        let change = if closed { Op::put(key, "") } else { Op::Delete(Keys::one(key)) };
        let guard = Compare::created_at(leader.key.clone(), leader.created);
        let reply = self.store.txn(Txn::when(vec![guard]).then(vec![change])).await;
        reply.map(|reply| reply.succeeded).doing("open or close the fleet to new locks")
    }

    /// Whether the fleet is closed to new locks.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn is_closed(&self) -> Result<bool, FleetError> {
        Ok(self.get(&self.keys.full(), "read whether there is room for locks").await?.is_some())
    }
}

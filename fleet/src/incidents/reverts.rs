//! How many reverts there were in the last day, by the store's clock alone: each is a key under a lease of a day. A store that
//! restarts counts them for longer, never for less.

use rr_core::id::IncidentId;
use rr_core::time::Span;
use rr_store::{Keys, Op};

use super::turn_of;
use crate::turn::Step;
use crate::{Doing, Fleet, FleetError, Leader};

const DAY: Span = Span::from_secs(24 * 60 * 60);

impl Fleet {
    /// Counts the revert of an incident, once however often it is said. To be said before the revert is made.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: it may be said again.
    pub async fn count_revert(&self, leader: &Leader, id: &IncidentId) -> Result<(), FleetError> {
        let key = self.keys.revert(id);
        let lease = self.store.grant(DAY).await.doing("grant a day")?;
        let mut is_used = false;
        let done = self
            .in_turn(&turn_of(Some(leader)), &[Keys::one(key.clone())], |seen| {
                if let Some(kv) = seen.at(&key) {
                    is_used = kv.lease == Some(lease);
                    return Ok(Step::Done(()));
                }
                is_used = true;
                Ok(Step::write(vec![Op::put_leased(key.clone(), "", lease)], ()))
            })
            .await;
        // An error leaves it to run out: the revert may have been counted, and counting one too many is safe.
        self.keep_if(lease, is_used || done.is_err()).await;
        done.map(|_| ())
    }

    /// Reverts of the last day.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn reverts_counted(&self) -> Result<usize, FleetError> {
        Ok(self.store.range(Keys::prefix(self.keys.reverts())).await.doing("count reverts")?.kvs.len())
    }
}

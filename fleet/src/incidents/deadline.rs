//! An incident's time, kept by the store's own clock: it runs on under a lease of its own while watchers come and go. That it
//! was started, and that it runs, are two keys: so one that is over is told from one that never began.

use rr_core::id::IncidentId;
use rr_core::time::Span;
use rr_store::{Keys, LeaseId, Op};

use super::turn_of;
use crate::turn::Step;
use crate::{Doing, Fleet, FleetError, Leader};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    NotStarted,
    Running,
    Over,
}

impl Fleet {
    /// Starts an incident's time. One that was started goes on as it is, or stays over.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: it may be asked again.
    pub async fn start_deadline(&self, leader: &Leader, id: &IncidentId, time: Span) -> Result<(), FleetError> {
        if self.deadline(id).await? != Deadline::NotStarted {
            return Ok(());
        }
        let lease = self.store.grant(time).await.doing("grant an incident's time")?;
        let (started, runs) = (self.keys.deadline(id), self.keys.deadline_runs(id));
        let text = format!("{lease}");
        let mut is_used = false;
        let reads = [Keys::one(started.clone())];
        let done = self
            .in_turn(&turn_of(Some(leader)), &reads, |seen| {
                if let Some(kv) = seen.at(&started) {
                    is_used = kv.value == text.as_bytes();
                    return Ok(Step::Done(()));
                }
                is_used = true;
                let ops = vec![Op::put(started.clone(), text.clone()), Op::put_leased(runs.clone(), "", lease)];
                Ok(Step::write(ops, ()))
            })
            .await;
        self.keep_if(lease, is_used && done.is_ok()).await;
        done.map(|_| ())
    }

    /// Whether an incident's time was started and is over. One that never was is not: [`Fleet::deadline`] tells them apart.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn deadline_over(&self, id: &IncidentId) -> Result<bool, FleetError> {
        Ok(self.deadline(id).await? == Deadline::Over)
    }

    /// How an incident's time stands.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn deadline(&self, id: &IncidentId) -> Result<Deadline, FleetError> {
        let prefix = Keys::prefix(self.keys.deadlines_of(id));
        let kvs = self.store.range(prefix).await.doing("look at an incident's time")?.kvs;
        let there = |key: String| kvs.iter().any(|kv| kv.key == key);
        Ok(match (there(self.keys.deadline(id)), there(self.keys.deadline_runs(id))) {
            (false, _) => Deadline::NotStarted,
            (true, true) => Deadline::Running,
            (true, false) => Deadline::Over,
        })
    }

    /// Revokes a lease that nothing came to lie under.
    pub(super) async fn keep_if(&self, lease: LeaseId, is_used: bool) {
        if !is_used {
            self.revoke_quietly(lease).await;
        }
    }
}

//! Following the run permit: read every few seconds and at each change, acknowledged session by session, and with a hard pause
//! also what the agents have running is stopped (D11). Reading is what counts; the watch only makes it quick.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rr_core::permit::Permit;
use rr_fleet::{AckRecord, AckState, FleetError, FleetState};
use rr_store::{StoreError, WatchEvent};
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::processes::Snapshot;
use crate::service::Service;
use crate::table::AgentSession;

/// A read that takes longer counts as failed.
const READ_DEADLINE: Duration = Duration::from_secs(2);

impl Service {
    /// Reads the permit once, and whether this host is shut out.
    pub(crate) async fn read_permit(&self) {
        let sent = self.now();
        match tokio::time::timeout(READ_DEADLINE, self.fleet.state_for(&self.host)).await {
            Ok(Ok((state, _))) if !self.is_history_sound(&state) => {}
            Ok(Ok((state, denial))) => {
                self.note_denial(denial).await;
                self.read_repair(&state).await;
                self.permit().observe(sent, state.permit.clone(), state.revision);
                let mut known = self.state();
                if known.as_ref().is_none_or(|k| k.revision <= state.revision) {
                    self.note_state(known.as_ref(), &state);
                    *known = Some(state);
                }
            }
            Ok(Err(FleetError::Store { source: StoreError::WentBack { .. }, .. })) => self.store_went_back(),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "read the run permit"),
            Err(_) => tracing::warn!("read the run permit: no answer in time"),
        }
    }

    /// While the fleet stands still: whether somebody may work on what it stands still for. What cannot be read is "nobody".
    async fn read_repair(&self, state: &FleetState) {
        let repair = if state.is_paused() {
            tokio::time::timeout(READ_DEADLINE, self.fleet.repair()).await.ok().and_then(Result::ok).flatten()
        } else {
            None
        };
        *self.repair() = repair;
    }

    /// Follows the permit until shutdown.
    pub(crate) async fn follow_permit(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let Ok(mut watch) = self.fleet.watch(self.fleet.keyspace().fleet(), 0).await else {
                self.read_permit().await;
                pause_for(&shutdown, Duration::from_millis(500)).await;
                continue;
            };
            self.look_for_questions().await;
            loop {
                self.read_permit().await;
                self.follow_state().await;
                let event = tokio::select! {
                    () = shutdown.cancelled() => return,
                    event = tokio::time::timeout(self.timing.permit_poll.as_std(), watch.next()) => event,
                };
                match event {
                    // Believed at once; the read that follows says the rest.
                    Ok(Some(Ok(event))) => {
                        self.believe(&event);
                        self.fleet.question_in(&event).into_iter().for_each(|question| self.hear(question));
                    }
                    Ok(Some(Err(_)) | None) => break,
                    Err(_) => {}
                }
            }
        }
    }

    fn believe(&self, event: &WatchEvent) {
        if let Some(epoch) = self.fleet.pause_in(event) {
            self.permit().hint(Permit::Paused(epoch), event.revision);
        }
    }

    /// Brings every session in line with the fleet's state: acknowledgements, frozen processes.
    pub(crate) async fn follow_state(&self) {
        let Some(state) = self.state().clone() else { return };
        for who in self.all() {
            if state.is_hard() {
                freeze(&who);
            } else {
                thaw(&who);
            }
            if state.is_paused() {
                self.acknowledge(&who, &state).await;
            }
        }
    }

    async fn acknowledge(&self, who: &AgentSession, state: &FleetState) {
        let ack = {
            let inner = who.lock();
            let in_flight = u32::try_from(inner.in_flight_before(state.epoch)).unwrap_or(u32::MAX);
            let ack = AckRecord {
                epoch: state.epoch,
                state: if in_flight == 0 { AckState::Drained } else { AckState::Seen },
                in_flight,
            };
            if inner.ended || inner.acknowledged.as_ref() == Some(&ack) {
                return;
            }
            ack
        };
        match self.fleet.acknowledge(&who.session, &ack).await {
            Ok(()) => who.lock().acknowledged = Some(ack),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "acknowledge a pause"),
        }
    }
}

async fn pause_for(shutdown: &CancellationToken, time: Duration) {
    let _ = tokio::time::timeout(time, shutdown.cancelled()).await;
}

/// Stops what an agent has running. The agent itself is left alone: stopping it would throw it out of its terminal, and it can do
/// nothing without a tool.
fn freeze(who: &AgentSession) {
    if who.lock().may_change_in_flight() == 0 {
        return;
    }
    for process in Snapshot::take().below(who.process) {
        if who.lock().frozen.insert(process) {
            process.signal(Signal::STOP);
        }
    }
}

pub(crate) fn thaw(who: &AgentSession) {
    let frozen = std::mem::take(&mut who.lock().frozen);
    for process in frozen {
        process.signal(Signal::CONT);
    }
}

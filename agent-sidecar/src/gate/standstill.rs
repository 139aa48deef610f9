//! Whether anything may run at all: stop file, host shut out, a person's hold, the run permit; and whether this session may
//! act. It knows no file and no lock of the call.

use rr_core::id::Epoch;
use rr_core::permit::Standstill;
use rr_core::session::SessionState;

use crate::call::{Event, ToolCall};
use crate::messages;
use crate::service::Service;
use crate::table::AgentSession;

impl Service {
    /// Whether nothing at all may run here now: stop file, host shut out, pause, or no knowledge of it.
    pub(super) fn standstill(&self, who: &AgentSession, event: &Event, call: &ToolCall) -> Option<String> {
        if let Ok(Some(repo)) = self.repos.around(&event.cwd) {
            let stop = repo.stop_file();
            if stop.exists() {
                return Some(messages::stop_file(&stop.display().to_string()));
            }
        }
        if let Some(denial) = &*self.denial() {
            return Some(messages::shut_out(denial));
        }
        if let Some(hold) = self.holds.of(&who.key) {
            return Some(messages::stopped_by_person(&hold.who, &hold.reason, who.sid().short()));
        }
        let why = self.permit().check(self.now(), &self.timing).err()?;
        if let Standstill::Paused(epoch) = why
            && (self.may_repair(who, epoch)
                || self.only_claims_repair(epoch, call)
                || self.is_elsewhere(epoch, event, call))
        {
            return None;
        }
        Some(match why {
            Standstill::Paused(epoch) => {
                let paused = messages::paused(epoch.0, &self.pause_reasons());
                [Some(paused), self.what_is_affected(), self.way_to_repair()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Standstill::Stale(age) => {
                messages::not_connected(&format!("the run permit was last seen {} ago", messages::span(age)))
            }
            Standstill::StoreWentBack => messages::store_went_back(),
            Standstill::NeverRead => messages::not_connected("the run permit has not been read yet"),
        })
    }

    /// Whether this is the one session that works on a break while all others stand still (X13). A person's pause stops it too, and
    /// so does not knowing.
    pub(super) fn may_repair(&self, who: &AgentSession, epoch: Epoch) -> bool {
        let (state, repair) = (self.state().clone(), self.repair().clone());
        let (Some(state), Some(repair)) = (state, repair) else { return false };
        self.permit().is_fresh(self.now(), &self.timing) && state.epoch == epoch && repair.exempts(who.sid(), &state)
    }

    pub(super) fn pause_reasons(&self) -> String {
        let state = self.state();
        let holds = state.iter().flat_map(|s| &s.holds);
        let texts: Vec<String> = holds.map(|h| format!("{}: {}", h.who, h.reason)).collect();
        if texts.is_empty() { String::new() } else { format!("; {}", texts.join("; ")) }
    }

    /// Whether this session may not act now.
    pub(super) fn unfit(&self, who: &AgentSession) -> Option<String> {
        let mut inner = who.lock();
        let why = match inner.heartbeat.look(self.now()) {
            SessionState::Live | SessionState::Suspect => return None,
            SessionState::Fenced(_) => "its session is being checked against the store after an interruption",
            SessionState::Dead(_) => "its session's lease is gone; it is registered anew at the next call",
            SessionState::Closed => "its session has ended",
        };
        Some(messages::not_connected(why))
    }

    /// Says that the gate was taken away, as long as it is.
    pub(crate) fn unguarded(&self, who: &AgentSession) -> Option<String> {
        let inner = who.lock();
        inner.record.warning.starts_with(crate::keeper::UNGUARDED).then(|| messages::unguarded(&inner.record.warning))
    }
}

//! What the agent knows of the files: a lock that it has lost, a version that somebody has changed since, a file that another
//! one is writing. It asks nobody for a lock.

use std::sync::Arc;

use rr_core::lock::LockState;
use rr_core::scope::{Claim, Scope};

use crate::call::{Action, Answer, Event, ToolCall};
use crate::effects::Effects;
use crate::messages;
use crate::record::lock_step;
use crate::repos::Place;
use crate::service::Service;
use crate::table::{AgentSession, HeldLock, LostClaim};
use crate::versions::Version;

/// A reader waits this often this long for a write that is under way: a tenth of the hook's budget in all.
const SETTLE_LOOKS: u32 = 10;
const SETTLE_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

impl Service {
    /// A lost lock is told before anything is written on the strength of it (X10). What is no file is simply asked for anew.
    pub(super) fn tell_losses(&self, who: &AgentSession) -> Option<Answer> {
        let mut inner = who.lock();
        let is_lost = |l: &HeldLock| matches!(l.state, LockState::Lost(_));
        let lost: Vec<String> = inner.locks.iter().filter(|l| is_lost(l) && l.is_file()).map(HeldLock::shown).collect();
        let gone: Vec<LostClaim> = inner.locks.iter().filter(|l| is_lost(l)).map(HeldLock::as_lost).collect();
        let told: Vec<_> = inner
            .locks
            .iter()
            .filter(|l| is_lost(l))
            .map(|l| lock_step(&l.grant, rr_journal::LockStep::Lost))
            .collect();
        gone.into_iter().for_each(|claim| inner.note_lost(claim));
        inner.locks.retain(|l| !is_lost(l));
        drop(inner);
        told.into_iter().for_each(|fact| self.note(who, fact));
        (!lost.is_empty()).then(|| Answer::deny(messages::lock_lost(&lost.join(", "))))
    }

    /// A file that has changed since this agent read it was perhaps saved a moment ago: then it is that person's before anybody
    /// asks for it.
    pub(super) async fn see_saves_of(self: &Arc<Self>, who: &AgentSession, event: &Event, found: &Effects) {
        let changed = |place: &&Place| {
            let inner = who.lock();
            let seen = inner.reads.get(&(event.agent_id.clone(), place.disk.clone()));
            seen.is_some_and(|version| !version.has_stamp_of(&place.disk))
        };
        let changed = found.writes.iter().find(changed).map(|place| place.repo.clone());
        if let Some(repo) = changed {
            self.see_saves(&repo).await;
        }
    }

    /// The first file that was changed by somebody else since this agent read it (D7, R5).
    pub(super) fn stale(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        found: &Effects,
    ) -> Option<(String, String)> {
        if !call.action.may_change() {
            return None;
        }
        let mut inner = who.lock();
        // A file tool works on what the agent has read. A command works on what is there, unless it may have been thought up from
        // a reading that we have forgotten.
        let by_tool = matches!(call.action, Action::Write { .. });
        let must_know = by_tool || inner.memory_gaps;
        let is_stale = |place: &&Place| match inner.reads.get(&(event.agent_id.clone(), place.disk.clone())) {
            Some(version) => !version.is_current(&place.disk),
            None => must_know && place.disk.exists(),
        };
        let place = found.writes.iter().find(is_stale)?;
        let known = inner.reads.contains_key(&(event.agent_id.clone(), place.disk.clone()));
        if !known && !by_tool {
            // Told once: what it does then, it does knowingly.
            let now = Version::of(&place.disk);
            inner.saw(event.agent_id.as_ref(), &place.disk, now);
        }
        drop(inner);
        if !known {
            let what = place.path.to_string();
            return Some((format!("{what} (unread)"), messages::unread(&what)));
        }
        let what = place.path.to_string();
        let change = self.changes().of(&place.repo, &place.path).cloned();
        let by = change.filter(|c| c.session != *who.sid()).map(|c| c.who);
        Some((format!("{what} (stale)"), messages::stale(&what, by.as_ref())))
    }

    /// Says which of what is about to be read is under edit (R24).
    pub(super) fn under_edit(&self, who: &AgentSession, found: &Effects) -> Vec<String> {
        let held = |place: &Place| {
            let holder = self.view.holder(&place.repo.id, &place.path, who.sid())?;
            let by = self.who(&holder.session, Some(holder.since_unix_ms));
            Some(messages::read_under_edit(&place.path.to_string(), &by))
        };
        found.reads.iter().filter_map(held).collect()
    }

    /// Remembers what is about to be read. The version before the reading counts: if the file changes meanwhile, the agent is
    /// asked to read again, never the reverse.
    pub(super) fn note_reads(&self, who: &AgentSession, event: &Event, found: &Effects) {
        for place in &found.reads {
            let version = Version::of(&place.disk);
            who.lock().saw(event.agent_id.as_ref(), &place.disk, version);
        }
    }

    /// A file that its holder is writing at this moment is read a moment later (R24). Not longer: the call waits for us.
    pub(super) async fn let_settle(&self, who: &AgentSession, found: &Effects) {
        let written_now = || {
            let others: Vec<_> = self.all().into_iter().filter(|o| o.sid() != who.sid()).collect();
            found.reads.iter().any(|place| {
                let claim = Claim::exclusive(Scope::Path(place.path.clone()));
                others.iter().any(|o| {
                    let mut inner = o.lock();
                    inner.may_change_in_flight() > 0 && inner.covering(&place.repo, &claim).is_some()
                })
            })
        };
        for _ in 0..SETTLE_LOOKS {
            if !written_now() {
                return;
            }
            tokio::time::sleep(SETTLE_EVERY).await;
        }
    }
}

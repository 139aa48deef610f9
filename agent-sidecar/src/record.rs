//! What is written down of sessions and calls, in the machine's journal (D10). A call's own steps are durable before it may
//! run: intent, what stood before, start; the rest is written in order, soon. What each entry means is `rr_journal`'s.

use rr_core::scope::Scope;
use rr_fleet::{FleetState, GrantedLock, SessionRecord};
use rr_journal::{Does, Entry, Event as Fact, FileChange, Kept, LockStep, Spot, Verdict as Word};
use rr_runtime::clock::unix_ms;

use crate::call::{Action, Answer, Event, ToolCall, Verdict};
use crate::messages;
use crate::service::Service;
use crate::snapshots::Before;
use crate::table::AgentSession;

impl Service {
    /// One entry about a session now.
    pub(crate) fn entry(&self, who: &AgentSession, event: Option<&Event>, call: Option<&str>, fact: Fact) -> Entry {
        Entry {
            at_unix_ms: unix_ms(),
            session: Some(who.sid().clone()),
            agent_id: event.and_then(|e| e.agent_id.clone()),
            call: call.map(str::to_owned),
            revision: self.state().as_ref().map_or(0, |s| s.revision),
            event: fact,
        }
    }

    /// Written down soon, in order.
    pub(crate) fn note(&self, who: &AgentSession, fact: Fact) {
        self.journal.note(self.entry(who, None, None, fact));
    }

    /// The same, of one call.
    pub(crate) fn note_of(&self, who: &AgentSession, event: &Event, call: &ToolCall, fact: Fact) {
        self.journal.note(self.entry(who, Some(event), Some(&call.id), fact));
    }

    /// The machine as a whole was paused or may go on.
    pub(crate) fn note_state(&self, before: Option<&FleetState>, now: &FleetState) {
        let was = before.map(|state| (state.is_paused(), state.epoch));
        if was == Some((now.is_paused(), now.epoch)) || (was.is_none() && !now.is_paused()) {
            return;
        }
        let fact = if now.is_paused() {
            let hold = now.holds.first();
            let who = hold.map_or_else(String::new, |h| h.who.clone());
            let reason = hold.map_or_else(String::new, |h| h.reason.clone()).into();
            Fact::Paused { epoch: now.epoch.0, who, reason }
        } else {
            Fact::Resumed { epoch: now.epoch.0, who: String::new() }
        };
        let (at_unix_ms, revision) = (unix_ms(), now.revision);
        self.journal.note(Entry { at_unix_ms, session: None, agent_id: None, call: None, revision, event: fact });
    }

    /// A call that does not change anything, or one that was not let through: nothing waits for these.
    pub(crate) fn note_verdict(&self, who: &AgentSession, event: &Event, call: &ToolCall, answer: &Answer) {
        let (word, reason) = match &answer.verdict {
            Verdict::Pass => {
                // A changing call was written down before it passed.
                if !call.action.may_change() {
                    self.note_of(who, event, call, self.intent(event, call));
                }
                return;
            }
            Verdict::Deny(reason) => (Word::Denied, reason),
            Verdict::DenyAndStop(reason) => (Word::Stopped, reason),
        };
        let word = if answer.asked { Word::Asked } else { word };
        let verdict = Fact::Verdict { verdict: word, reason: reason.as_str().into(), rule: answer.rule.clone() };
        for fact in [self.intent(event, call), verdict] {
            self.note_of(who, event, call, fact);
        }
    }

    fn intent(&self, event: &Event, call: &ToolCall) -> Fact {
        let spots = |paths: &[std::path::PathBuf]| {
            let place = |path: &std::path::PathBuf| self.repos.place(path, true).ok().flatten();
            paths.iter().filter_map(place).map(|p| Spot { root: p.repo.tree.root.clone(), path: p.path }).collect()
        };
        let does = match &call.action {
            Action::Read(paths) => Does::Read(spots(paths)),
            Action::Write { paths, .. } | Action::Unknown { paths } => Does::Write(spots(paths)),
            Action::Shell { command } => Does::Shell(command.as_str().into()),
            Action::Harmless => Does::Other,
        };
        Fact::Intent { tool: call.tool.clone(), does, cwd: event.cwd.clone() }
    }

    /// Writes down that a call begins, and what stood before it. Only what is durable may begin (H30).
    pub(crate) async fn write_down(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        before: &Before,
        shadowed: Vec<Fact>,
    ) -> Result<(), String> {
        let mut facts = vec![self.intent(event, call)];
        facts.extend(shadowed);
        facts.extend([Fact::Snapped { files: before.newly_kept() }, Fact::Started]);
        let entries = facts.into_iter().map(|fact| self.entry(who, Some(event), Some(&call.id), fact)).collect();
        match self.journal.append(entries).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "write a call into the journal");
                Err(messages::not_written_down(&rr_runtime::errors::chain(&error)))
            }
        }
    }

    /// Writes down what a call has done.
    pub(crate) fn note_done(
        &self,
        who: &AgentSession,
        agent_id: Option<&String>,
        call: &str,
        ok: bool,
        changes: Vec<FileChange>,
    ) {
        let fact = Fact::Done { ok, changes };
        self.journal.note(Entry { agent_id: agent_id.cloned(), ..self.entry(who, None, Some(call), fact) });
    }
}

/// The beginning of a session.
pub(crate) fn started(record: &SessionRecord) -> Fact {
    Fact::SessionStarted {
        agent: record.agent.clone(),
        agent_session: record.agent_session.clone(),
        workspace: record.workspace.clone().into(),
        pid: record.pid,
        task: record.task.as_str().into(),
    }
}

/// A step in the life of a lock.
pub(crate) fn lock_step(lock: &GrantedLock, how: LockStep) -> Fact {
    let scope = match &lock.claim.scope {
        Scope::Named(name) => format!("!{}", name.as_str()),
        scope => scope.to_string(),
    };
    Fact::Lock { scope, token: lock.token.0, how }
}

/// One file as the journal names it.
pub(crate) fn kept(root: &std::path::Path, path: &rr_core::path::RepoPath, content: rr_core::content::Content) -> Kept {
    Kept { root: root.to_owned(), path: path.clone(), content }
}

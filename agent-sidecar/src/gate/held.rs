//! Under the locks: nothing stale, nobody's work swept along, what stands there kept, the call written down. What is found
//! here stays true until the write.

use std::sync::Arc;

use rr_core::permit::Standstill;
use rr_core::time::BootTime;

use crate::call::{Answer, Event, ToolCall};
use crate::effects::Effects;
use crate::judged::Cleared;
use crate::messages;
use crate::people::Glance;
use crate::service::Service;
use crate::snapshots::Before;
use crate::table::{AgentSession, InFlight};

use super::Stop;

impl Service {
    /// What must hold once the locks are held: nothing stale, nobody's work swept along. A lock on a stale file is kept: the agent
    /// reads again and nobody comes in between.
    pub(super) async fn look_under_lock(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: &Event,
        call: &ToolCall,
        found: &Effects,
        cleared: Cleared,
    ) -> Result<Option<String>, Stop> {
        if let Some((what, reason)) = self.stale(who, event, call, found) {
            return Err(Stop::Refused(self.refuse(who, &what, reason)));
        }
        // Whatever others note from here on is theirs: the look below may or may not have seen it.
        if let Some(repo) = &found.compare {
            self.people.expect_a_look(repo);
        }
        let since = self.now();
        let compared = self.look_before(found).await.map_err(|why| Stop::Refused(Answer::deny(why)))?;
        if let Some((what, reason)) = self.sweeps_others(who, found, compared.as_ref()) {
            return Err(Stop::Refused(self.refuse(who, &what, reason)));
        }
        self.note_reads(who, event, found);
        if let Some((repo, now)) = found.compare.as_ref().zip(compared.clone()) {
            // From here on this call counts for all that changes, whatever else still runs.
            self.see_saves_by(repo, Glance { now, at: since, left_running: true }, None).await;
        }
        if let Some(repo) = &found.compare {
            self.note_tips(who, repo).await;
        }
        if let Some(what) = &found.skips_hooks {
            self.report_bypass(who, what).await;
        }
        let before = self.keep_before(call, found, compared)?;
        if let Some(id) = &cleared.approval {
            self.use_word(who, event, call, id).await.map_err(Stop::Refused)?;
        }
        let mut note = None;
        if call.action.may_change() {
            match self.write_down(who, event, call, &before, cleared.shadowed).await {
                Ok(()) => {}
                // Like a reading tool: nothing of it would have to be taken back.
                Err(_) if found.only_reads() => note = Some(messages::read_not_written_down()),
                Err(why) => return Err(Stop::NotKept(why)),
            }
        }
        self.begin(who, event, call, before, found, since);
        Ok(note)
    }

    /// What a changing call may change, kept before it may.
    pub(super) fn keep_before(
        &self,
        call: &ToolCall,
        found: &Effects,
        dirty: Option<rr_git::Dirty>,
    ) -> Result<Before, Stop> {
        if !call.action.may_change() {
            return Ok(Before::default());
        }
        let tree = found.compare.clone().zip(dirty);
        let kept = tokio::task::block_in_place(|| self.snapshots.keep_before(found, tree));
        kept.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "keep what a call may change");
            Stop::NotKept(messages::not_kept(&rr_runtime::errors::chain(&error)))
        })
    }

    /// A look at the tree before a command that may change more than it names.
    pub(super) async fn look_before(&self, found: &Effects) -> Result<Option<rr_git::Dirty>, String> {
        let needed = found.compare.as_ref().or(found.trees.first().map(|t| &t.repo));
        let Some(repo) = needed.cloned() else { return Ok(None) };
        let looked = tokio::task::spawn_blocking(move || repo.tree.dirty()).await;
        match looked {
            Ok(Ok(dirty)) => Ok(Some(dirty)),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "look at a work tree");
                Err(messages::not_connected(&format!("git could not say what state the work tree is in: {error}")))
            }
            Err(_) => Err(messages::not_connected("looking at the work tree failed")),
        }
    }

    /// Uncommitted work of others that a git command would take along or move (P2).
    pub(super) fn sweeps_others(
        &self,
        who: &AgentSession,
        found: &Effects,
        dirty: Option<&rr_git::Dirty>,
    ) -> Option<(String, String)> {
        let changes = self.changes();
        for tree in &found.trees {
            let theirs = |p: &&std::path::Path| {
                let path = rr_core::path::RepoPath::parse(std::os::unix::ffi::OsStrExt::as_bytes(p.as_os_str()));
                let change = path.ok().and_then(|path| changes.of(&tree.repo, &path).cloned());
                change.is_some_and(|c| c.session != *who.sid() && c.repo.tree.root == tree.repo.tree.root)
            };
            let files: Vec<String> =
                dirty.iter().flat_map(|d| d.paths()).filter(theirs).take(5).map(|p| p.display().to_string()).collect();
            if !files.is_empty() && (tree.sweeps || tree.moves) {
                return Some((tree.command.clone(), messages::would_sweep(&tree.command, &files.join(", "))));
            }
        }
        None
    }

    /// `started`: before anything was looked at.
    pub(super) fn begin(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        before: Before,
        found: &Effects,
        started: BootTime,
    ) {
        let may_change = call.action.may_change();
        let flight = InFlight {
            agent_id: event.agent_id.clone(),
            started,
            may_change,
            before,
            recorded: false,
            earlier: None,
            commits: found.commits,
            stages: found.stages && !found.commits,
            in_spite_of: self.permit().check(started, &self.timing).err().and_then(Standstill::epoch),
        };
        who.lock().in_flight.insert(call.id.clone(), flight.clone());
        self.people.call_begins(&flight, self.now());
    }
}

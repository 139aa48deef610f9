//! Before a call, in this order: stop file, permit, session, lost locks told, which files, guard's own files, locks, and under the
//! locks: versions current, nobody's work swept along. A call whose locks are held asks the store nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::id::{Epoch, Token};
use rr_core::lock::LockState;
use rr_core::permit::Standstill;
use rr_core::scope::{Claim, Scope};
use rr_core::session::SessionState;
use rr_core::time::BootTime;
use rr_runtime::config::LockMode;

use crate::call::{Action, Answer, Event, ToolCall, Verdict};
use crate::effects::{self, Effects};
use crate::guarded::Objection;
use crate::judged::Cleared;
use crate::locking::{Doing, Got, Need};
use crate::messages;
use crate::people::Glance;
use crate::record::lock_step;
use crate::repos::{Place, Repo, Shared};
use crate::service::Service;
use crate::snapshots::Before;
use crate::table::{AgentSession, HeldLock, InFlight, LostClaim};
use crate::versions::Version;
use crate::view::current;

/// The same refusal this often in a row: the agent is told that asking again is useless.
const SPINNING_AFTER: u32 = 3;
/// And this often: it is stopped (X8).
const STOPPED_AFTER: u32 = 8;
/// A reader waits this often this long for a write that is under way: a tenth of the hook's budget in all.
const SETTLE_LOOKS: u32 = 10;
const SETTLE_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

/// Of a command, as far as a secret that begins in its first eighty characters may go.
const SECRET_CHARS_MAX: usize = 1_000;

/// Why a call does not pass although its locks are held.
enum Stop {
    Refused(Answer),
    /// What it would change, or that it would, cannot be kept. The text is for the agent.
    NotKept(String),
}

impl Service {
    pub(crate) async fn before(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) -> Answer {
        let facts = self.pending(who);
        let mut answer = match self.standstill(who, event, call) {
            Some(reason) => self.refuse(who, "a call", reason),
            None => self.judge(who, event, call).await,
        };
        if answer.verdict == Verdict::Pass {
            // The world may have changed while locks were asked for: no pass after a cut-off or a pause.
            if let Some(reason) = self.standstill(who, event, call).or_else(|| self.unfit(who)) {
                answer = Answer::deny(reason);
            } else if call.action.may_change() {
                who.lock().refusals.clear();
            }
        }
        if answer.verdict != Verdict::Pass {
            self.call_over(who, &call.id).await;
        }
        self.note_verdict(who, event, call, &answer);
        answer.context.splice(0..0, facts);
        answer
    }

    /// Whether nothing at all may run here now: stop file, host shut out, pause, or no knowledge of it.
    fn standstill(&self, who: &AgentSession, event: &Event, call: &ToolCall) -> Option<String> {
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
    fn may_repair(&self, who: &AgentSession, epoch: Epoch) -> bool {
        let (state, repair) = (self.state().clone(), self.repair().clone());
        let (Some(state), Some(repair)) = (state, repair) else { return false };
        self.permit().is_fresh(self.now(), &self.timing) && state.epoch == epoch && repair.exempts(who.sid(), &state)
    }

    fn pause_reasons(&self) -> String {
        let state = self.state();
        let holds = state.iter().flat_map(|s| &s.holds);
        let texts: Vec<String> = holds.map(|h| format!("{}: {}", h.who, h.reason)).collect();
        if texts.is_empty() { String::new() } else { format!("; {}", texts.join("; ")) }
    }

    /// Whether this session may not act now.
    fn unfit(&self, who: &AgentSession) -> Option<String> {
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

    async fn judge(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) -> Answer {
        if call.action.may_change() {
            if let Some(reason) = self.unfit(who).or_else(|| self.unguarded(who)) {
                return Answer::deny(reason);
            }
            if let Some(answer) = self.tell_losses(who) {
                return answer;
            }
            if who.lock().held_back {
                return Answer::deny(messages::held_back());
            }
            self.forget_unfinished(who, event, call).await;
        }
        let mut found = match self.effects(event, call) {
            Ok(found) => found,
            Err(objection) => {
                let by_rule = self.refused_by_rule(who, event, call);
                return by_rule.unwrap_or_else(|| self.object(who, objection));
            }
        };
        if call.action.may_change()
            && let Some(reason) = self.other_fleet(&found)
        {
            return self.refuse(who, "a call", reason);
        }
        if let Some(stop) = stop_file_of(&found) {
            return self.refuse(who, "a call", messages::stop_file(&stop.display().to_string()));
        }
        let cleared = match self.put_to_policy(who, event, call, &found).await {
            Ok(cleared) => cleared,
            Err(answer) => return answer,
        };
        let slots = self.take_slots(who, event, call, &mut found).await;
        if slots.verdict != Verdict::Pass {
            return slots;
        }
        self.see_saves_of(who, event, &found).await;
        self.let_settle(who, &found).await;
        let facts = self.under_edit(who, &found);
        let held: BTreeSet<Token> = who.lock().locks.iter().map(|l| l.grant.token).collect();
        let mut answer = self.lock_all(who, call, &found, facts).await;
        if answer.verdict == Verdict::Pass {
            // Only under the lock does a look at the files stay true until the write.
            match self.look_under_lock(who, event, call, &found, cleared).await {
                Ok(note) => answer.context.extend(note),
                Err(Stop::Refused(refused)) => answer = Answer { context: answer.context, ..refused },
                Err(Stop::NotKept(why)) => {
                    // It will not be tried before somebody has made room: nobody need wait for it till then.
                    self.give_back_new(who, call, &found, &held).await;
                    answer = Answer { context: answer.context, ..Answer::deny(why) };
                }
            }
        }
        answer
    }

    /// A file that has changed since this agent read it was perhaps saved a moment ago: then it is that person's before anybody
    /// asks for it.
    async fn see_saves_of(self: &Arc<Self>, who: &AgentSession, event: &Event, found: &Effects) {
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

    /// The locks that this call has just taken.
    async fn give_back_new(&self, who: &AgentSession, call: &ToolCall, found: &Effects, held: &BTreeSet<Token>) {
        let claims: Vec<Claim> = self.needs(call, found).into_iter().map(|need| need.claim).collect();
        let new = who.lock().take_new(held, &claims);
        self.give_back(who, new).await;
    }

    /// What must hold once the locks are held: nothing stale, nobody's work swept along. A lock on a stale file is kept: the agent
    /// reads again and nobody comes in between.
    async fn look_under_lock(
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
    fn keep_before(&self, call: &ToolCall, found: &Effects, dirty: Option<rr_git::Dirty>) -> Result<Before, Stop> {
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

    /// A repository that belongs to another fleet is not locked in this one: agents of that fleet would not see it.
    fn other_fleet(&self, found: &Effects) -> Option<String> {
        let repos = repos_of(found).chain(&found.compare).chain(found.trees.iter().map(|t| &t.repo));
        let mut named = repos.filter_map(|repo| repo.config().0.fleet.clone());
        named.find(|fleet| *fleet != self.name).map(|fleet| messages::other_fleet(&fleet, &self.name))
    }

    pub(crate) fn effects(&self, event: &Event, call: &ToolCall) -> Result<Effects, Objection> {
        // Parsing and a few looks at the disk: short, and on the path of one call only.
        let look = || effects::of(&call.action, &event.cwd, &self.repos, &self.guarded);
        match call.action {
            // A few looks at the disk are quicker than handing this thread's other work to another one.
            Action::Read(_) | Action::Write { .. } | Action::Harmless => look(),
            Action::Shell { .. } | Action::Unknown { .. } => tokio::task::block_in_place(look),
        }
    }

    fn object(&self, who: &AgentSession, objection: Objection) -> Answer {
        match objection {
            Objection::Place(error) => {
                let why = error.to_string();
                self.refuse(who, &why.clone(), messages::refused_place(&why))
            }
            Objection::Unparsable(why) => self.refuse(who, "that command", messages::unparsable(&why)),
            Objection::Protected(what) => self.refuse(who, &what.clone(), messages::protected(&what)),
            Objection::PastTheGate(what) => self.refuse(who, &what.clone(), messages::past_the_gate(&what)),
        }
    }

    /// A denial, counted: the third in a row says that asking again is useless, the eighth stops the agent (X8).
    pub(crate) fn refuse(&self, who: &AgentSession, what: &str, reason: String) -> Answer {
        let times = {
            let mut inner = who.lock();
            let times = inner.refusals.entry(what.to_owned()).or_default();
            *times += 1;
            *times
        };
        match times {
            STOPPED_AFTER.. => {
                let reason = format!("{} {reason}", messages::stopped(what, times));
                Answer { verdict: Verdict::DenyAndStop(reason), ..Answer::default() }
            }
            SPINNING_AFTER.. => Answer::deny(format!("{reason} {}", messages::spinning(what, times))),
            _ => Answer::deny(reason),
        }
    }

    /// A lost lock is told before anything is written on the strength of it (X10). What is no file is simply asked for anew.
    fn tell_losses(&self, who: &AgentSession) -> Option<Answer> {
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

    /// The first file that was changed by somebody else since this agent read it (D7, R5).
    fn stale(&self, who: &AgentSession, event: &Event, call: &ToolCall, found: &Effects) -> Option<(String, String)> {
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
    fn under_edit(&self, who: &AgentSession, found: &Effects) -> Vec<String> {
        let view = current(&self.view);
        let held = |place: &Place| {
            let row = view.holder(&place.repo.id, &place.path, who.sid())?;
            let by = self.who(&row.session, Some(row.since_unix_ms));
            Some(messages::read_under_edit(&place.path.to_string(), &by))
        };
        found.reads.iter().filter_map(held).collect()
    }

    /// Remembers what is about to be read. The version before the reading counts: if the file changes meanwhile, the agent is
    /// asked to read again, never the reverse.
    fn note_reads(&self, who: &AgentSession, event: &Event, found: &Effects) {
        for place in &found.reads {
            let version = Version::of(&place.disk);
            who.lock().saw(event.agent_id.as_ref(), &place.disk, version);
        }
    }

    /// A file that its holder is writing at this moment is read a moment later (R24). Not longer: the call waits for us.
    async fn let_settle(&self, who: &AgentSession, found: &Effects) {
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

    /// A look at the tree before a command that may change more than it names.
    async fn look_before(&self, found: &Effects) -> Result<Option<rr_git::Dirty>, String> {
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
    fn sweeps_others(
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

    async fn lock_all(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        call: &ToolCall,
        found: &Effects,
        mut facts: Vec<String>,
    ) -> Answer {
        let needs = self.needs(call, found);
        if needs.is_empty() {
            if let Action::Read(_) = call.action {
                self.lock_on_read(who, call, found).await;
            }
            return Answer::with(facts);
        }
        let doing = doing(call);
        let elsewhere = needs.iter().filter_map(|n| self.landed_elsewhere(who, &n.repo, n)).collect::<Vec<_>>();
        match self.need(who, &needs, Doing { words: &doing, call: Some(&call.id) }).await {
            Got::All(more) => {
                facts.extend(more);
                facts.extend(elsewhere);
                Answer::with(facts)
            }
            Got::Refused { what, reason } => Answer { context: facts, ..self.refuse(who, &what, reason) },
        }
    }

    /// The locks a call needs: its files, a share of their work trees, and what its git commands use.
    fn needs(&self, call: &ToolCall, found: &Effects) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        for place in found.writes.iter().filter(|place| !found.made.contains(&place.disk)) {
            let only_for = self.only_for_call(call, place);
            let claim = Claim::exclusive(Scope::Path(place.path.clone()));
            needs.push(Need { repo: place.repo.clone(), claim, only_for });
        }
        for (repo, claim) in &found.claims {
            let only_for = matches!(claim.scope, Scope::Named(_)).then(|| call.id.clone());
            needs.push(Need { repo: repo.clone(), claim: claim.clone(), only_for });
        }
        let trees: Vec<_> =
            needs.iter().filter(|n| !matches!(n.claim.scope, Scope::Named(_))).map(|n| n.repo.clone()).collect();
        for repo in trees {
            let claim = Claim::shared(repo.shared(Shared::Tree));
            let only_for = needs.iter().find(|n| n.claim.scope != claim.scope).and_then(|n| n.only_for.clone());
            let whole = needs.iter().any(|n| n.claim.scope == claim.scope);
            if !whole {
                needs.push(Need { repo, claim, only_for });
            }
        }
        dedup(needs)
    }

    /// In optimistic mode a lock lasts for its call, but for the files that are always exclusive.
    fn only_for_call(&self, call: &ToolCall, place: &Place) -> Option<String> {
        let config = place.repo.config().0;
        let always = config.locks.exclusive.iter().any(|g| g.matches(place.path.key_parts()));
        (config.locks.mode == LockMode::Optimistic && !always).then(|| call.id.clone())
    }

    /// In `pessimistic_read` mode a reader takes the lock if it is free; if not, it reads all the same (R23).
    async fn lock_on_read(self: &Arc<Self>, who: &Arc<AgentSession>, call: &ToolCall, found: &Effects) {
        let wants = |p: &&Place| p.repo.config().0.locks.mode == LockMode::PessimisticRead;
        let view = current(&self.view);
        let free = |p: &&Place| view.holder(&p.repo.id, &p.path, who.sid()).is_none();
        for place in found.reads.iter().filter(wants).filter(free) {
            let claim = Claim::exclusive(Scope::Path(place.path.clone()));
            let need = Need { repo: place.repo.clone(), claim, only_for: None };
            let doing = Doing { words: &doing(call), call: Some(&call.id) };
            if let Got::Refused { .. } = self.need(who, &[need], doing).await {
                self.withdraw_requests(who).await;
            }
        }
    }

    /// `started`: before anything was looked at.
    fn begin(
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

    /// An agent makes its changing calls one after the other: one that never reported its end (refused by its user, cut off)
    /// is over when the next one comes.
    async fn forget_unfinished(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) {
        let old: Vec<String> = {
            let inner = who.lock();
            let same = inner
                .in_flight
                .iter()
                .filter(|(id, f)| **id != call.id && f.may_change && f.agent_id == event.agent_id);
            same.map(|(id, _)| id.clone()).collect()
        };
        for id in old {
            self.call_over(who, &id).await;
        }
    }
}

fn stop_file_of(found: &Effects) -> Option<std::path::PathBuf> {
    repos_of(found).map(|r| r.stop_file()).find(|f| f.exists())
}

/// The repositories that a call would change something in.
fn repos_of(found: &Effects) -> impl Iterator<Item = &Arc<Repo>> {
    found.writes.iter().map(|p| &p.repo).chain(found.claims.iter().map(|(repo, _)| repo))
}

/// One need per claim, the lasting one where a call and a turn both want it.
fn dedup(needs: Vec<Need>) -> Vec<Need> {
    let mut out: Vec<Need> = Vec::new();
    for need in needs {
        if !out.iter().any(|n| Arc::ptr_eq(&n.repo, &need.repo) && n.claim.covers(&need.claim)) {
            out.push(need);
        }
    }
    out
}

fn doing(call: &ToolCall) -> String {
    match &call.action {
        Action::Shell { command } => {
            // Others read it, in the store of the whole fleet. What is longer than a secret is not looked through.
            let begin: String = command.chars().take(SECRET_CHARS_MAX).collect();
            format!("{}: {}", call.tool, rr_journal::redact(&begin).chars().take(80).collect::<String>())
        }
        _ => call.tool.clone(),
    }
}

//! After a call: what it changed is noted and told to those who read it, what it changed without saying so is counted as its own
//! and told to whoever held it (D8), what was committed is given back (D6).

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::id::SessionId;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{BootTime, Span};

use crate::call::{Action, Answer, Event, ToolCall};
use crate::effects;
use crate::locking::{Doing, Got, Need};
use crate::messages::{self, Who};
use crate::people::Glance;
use crate::repos::{Repo, Shared};
use crate::service::Service;
use crate::table::{AgentSession, Change, EARLIER_CALL, HeldLock, InFlight, LostClaim};
use crate::versions::Version;

/// What others changed this recently may still be half of something.
const UNSETTLED: Span = Span::from_secs(60);
/// Files named in one text: the rest is counted.
const FILES_SHOWN_MAX: usize = 8;

impl Service {
    pub(crate) async fn after(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: &Event,
        call: &ToolCall,
        ok: bool,
    ) -> Answer {
        // A failed call may have changed something before it failed: it is looked at all the same.
        let end = self.ends.begin();
        let flight = who.lock().over(&call.id);
        let mut facts = Vec::new();
        match &call.action {
            Action::Write { paths, .. } | Action::Unknown { paths } => self.wrote(who, event, paths),
            Action::Shell { .. } => self.shell_wrote(who, event, call),
            Action::Read(_) | Action::Harmless => {}
        }
        if let Some(flight) = flight.as_ref().filter(|flight| !flight.recorded) {
            let seen = self.compare(who, Some(event), &call.id, flight).await;
            self.record(who, &call.id, flight, ok, &seen).await;
            drop(end);
            facts.extend(seen.facts);
            if let Some((tree, glance)) = flight.before.tree.as_ref().zip(seen.glance) {
                self.see_saves_after(&tree.repo, glance, (who.as_ref(), &call.id)).await;
            }
            if flight.stages {
                who.lock().keep_index(&call.id);
            }
            if flight.may_change {
                self.look_at_gate(who).await;
                facts.extend(self.unguarded(who));
            }
        }
        if !ok && matches!(call.action, Action::Shell { .. }) {
            facts.extend(self.others_at_work(who, event));
        }
        if flight.is_some_and(|flight| flight.may_change) {
            // Its end is on the disk before the agent is answered: a daemon that dies then has nothing left to find out. The sync
            // is shared with all who wait, and runs while locks are given back.
            let ((), settled) = tokio::join!(self.call_over(who, &call.id), self.journal.settled());
            if let Err(error) = settled {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "write down the end of a call; it is tried again"
                );
            }
            self.look_again(who);
        } else {
            self.call_over(who, &call.id).await;
        }
        self.tell_who_waits(who);
        facts.splice(0..0, self.pending(who));
        Answer::with(facts)
    }

    /// The end of a call, however it ended: what was locked for it alone is given back. One that never said what came of it is
    /// looked at first.
    pub(crate) async fn call_over(self: &Arc<Self>, who: &Arc<AgentSession>, id: &str) {
        let flight = who.lock().over(id);
        if let Some(flight) = flight.filter(|f| f.may_change && !f.recorded) {
            if let Some(earlier) = &flight.earlier {
                if !earlier.found {
                    self.note_unknown_end(who, id);
                }
                who.notify(messages::end_unknown(id));
            }
            self.look_once(who, id, &flight).await;
        }
        let over = {
            let mut inner = who.lock();
            inner.in_flight.remove(id);
            inner.in_flight.remove(EARLIER_CALL);
            inner.take_locks(|l| l.only_for.as_deref() == Some(id))
        };
        self.give_back(who, over).await;
        self.end_slots_of(who, id).await;
    }

    /// A call that was begun and is not let through after all: whatever changes meanwhile is none of its work.
    pub(crate) fn came_to_nothing(&self, who: &AgentSession, id: &str) {
        let begun = who.lock().over(id);
        if let Some(flight) = begun.filter(|flight| flight.may_change && !flight.recorded) {
            self.people.call_left(&flight, &[], self.now());
            self.note_done(who, flight.agent_id.as_ref(), id, false, Vec::new());
        }
    }

    /// Looks at what a call has done whose end nobody has reported, and writes it down.
    pub(crate) async fn look_once(self: &Arc<Self>, who: &Arc<AgentSession>, id: &str, flight: &InFlight) {
        let seen = self.compare(who, None, id, flight).await;
        self.record(who, id, flight, false, &seen).await;
    }

    /// A command failed: what others have changed in the same work tree just before may be why (T9).
    fn others_at_work(&self, who: &AgentSession, event: &Event) -> Option<String> {
        let root = self.repos.around(&event.cwd).ok().flatten()?.tree.root.clone();
        let now = self.now();
        let recent = self
            .changes()
            .since(now - UNSETTLED, |change| change.session != *who.sid() && change.repo.tree.root == root);
        let busy: Vec<SessionId> =
            self.all().iter().filter(|o| o.lock().may_change_in_flight() > 0).map(|o| o.sid().clone()).collect();
        let rows: Vec<(String, Who, bool)> = recent
            .into_iter()
            .take(FILES_SHOWN_MAX)
            .map(|(path, change)| (path.to_string(), change.who, busy.contains(&change.session)))
            .collect();
        (!rows.is_empty()).then(|| messages::others_at_work(&rows))
    }

    /// Writes down what a call has changed, its bytes kept.
    async fn record(&self, who: &AgentSession, id: &str, flight: &InFlight, ok: bool, seen: &Seen) {
        if !flight.may_change {
            return;
        }
        let (snapshots, before, touched, now) =
            (self.snapshots.clone(), flight.before.clone(), seen.touched.clone(), seen.now.clone());
        let changes = tokio::task::spawn_blocking(move || snapshots.changes(&before, &touched, now.as_ref())).await;
        let mut changes = changes.unwrap_or_default();
        if let Some(earlier) = &flight.earlier {
            let theirs = || self.without_theirs(Some(who.sid()), earlier.since, changes);
            let (own, mixed) = tokio::task::block_in_place(theirs);
            changes = own;
            for text in mixed {
                let fact = rr_journal::Event::Told { text: text.as_str().into() };
                self.journal.note(self.entry(who, None, Some(id), fact));
            }
        }
        // What may write anything had its end before the tree was looked at, and not in the moment of that.
        let over = seen.glance.as_ref().map_or_else(|| self.now(), |glance| glance.at - Span::from_millis(1));
        self.people.call_left(flight, &changes, over);
        who.lock().unsaved.extend(changes.iter().map(|c| c.root.clone()));
        self.note_done(who, flight.agent_id.as_ref(), id, ok, changes);
    }

    fn wrote(&self, who: &AgentSession, event: &Event, paths: &[PathBuf]) {
        for path in paths {
            if let Ok(Some(place)) = self.repos.place(path, true) {
                self.note_change(who, Some(event), &place.repo, &place.path, &place.disk);
            }
        }
    }

    /// What a command named as its writes: the agent knows what is in them as well as it can.
    fn shell_wrote(&self, who: &AgentSession, event: &Event, call: &ToolCall) {
        if let Ok(found) = effects::of(&call.action, &event.cwd, &self.repos, &self.guarded) {
            for place in &found.writes {
                let changed = {
                    let inner = who.lock();
                    let seen = inner.reads.get(&(event.agent_id.clone(), place.disk.clone()));
                    seen.is_none_or(|v| !v.is_current(&place.disk))
                };
                if changed {
                    self.note_change(who, Some(event), &place.repo, &place.path, &place.disk);
                }
            }
        }
    }

    /// Notes who changed a path, remembers it as seen by its writer, and tells everybody else who has read it.
    pub(crate) fn note_change(
        &self,
        who: &AgentSession,
        event: Option<&Event>,
        repo: &Arc<Repo>,
        path: &RepoPath,
        disk: &Path,
    ) {
        let version = Version::of(disk);
        if let Some(event) = event {
            who.lock().saw(event.agent_id.as_ref(), disk, version.clone());
        }
        let by = self.who(who.sid(), None);
        let change = Change {
            session: who.sid().clone(),
            who: by.clone(),
            repo: repo.clone(),
            disk: disk.to_owned(),
            at: self.now(),
        };
        self.changes().note(path.clone(), change);
        self.live.changed_by(&repo.tree.root, path, who.sid());
        for other in self.all().into_iter().filter(|o| o.sid() != who.sid()) {
            let read_it = other.lock().reads.iter().any(|((_, p), v)| p == disk && *v != version);
            if read_it {
                other.notify(messages::changed_since_read(&path.to_string(), &by));
            }
        }
    }

    /// Compares the tree with how it was before the call. `event`: the agent's report of its end, if there is one.
    async fn compare(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: Option<&Event>,
        call: &str,
        flight: &InFlight,
    ) -> Seen {
        let mut seen = Seen::default();
        let Some(tree) = &flight.before.tree else { return seen };
        let repo = &tree.repo;
        // Before the look: what has ended by then has written all that it will.
        let (at, left_running) = (self.now(), self.is_anything_left_running(repo).await);
        let looked = repo.clone();
        let Ok(Ok(now)) = tokio::task::spawn_blocking(move || looked.tree.dirty()).await else {
            self.look_at_commits(who, repo, Some(flight.started)).await;
            seen.facts.push(messages::not_compared());
            return seen;
        };
        let mut own = Vec::new();
        let mut changed = tree.dirty.changed_until(&now, &repo.tree.root);
        let earlier: Vec<PathBuf> = tree.found.iter().filter(|file| !changed.contains(file)).cloned().collect();
        changed.extend(earlier);
        for file in changed {
            let bytes = file.as_os_str().as_bytes();
            let Ok(path) = RepoPath::parse(bytes) else {
                // No lock is given out for such a name: whoever has found it first has made it.
                if let Ok(path) = RepoPath::found(bytes)
                    && !self.is_anothers(who, repo, &path, flight.started)
                {
                    self.note_change(who, event, repo, &path, &repo.tree.root.join(path.as_path()));
                    seen.touched.push(path);
                }
                continue;
            };
            match self.whose(who, repo, &path, flight.started) {
                Whose::Another => continue,
                Whose::Known => {}
                Whose::Ours => own.push(path.clone()),
                Whose::Hit(holder) => seen.facts.push(self.hit(who, repo, &path, &holder)),
            }
            seen.touched.push(path);
        }
        seen.facts.extend(self.count_as_own(who, event, call, repo, own).await);
        if tree.dirty.head_moved(&now) {
            who.lock().reads.retain(|(_, p), v| v.is_current(p));
            let moved = messages::tree_moved(&repo.tree.branch());
            for other in self.all().into_iter().filter(|o| o.sid() != who.sid() && works_in(o, repo)) {
                other.notify(moved.clone());
            }
        }
        // Before anything is given back: afterwards nobody could tell whose it was.
        let recorded = self.look_at_commits(who, repo, Some(flight.started)).await;
        if flight.commits && recorded {
            let over = who.lock().take_locks(|l| committed(l, repo, &now));
            self.give_back(who, over).await;
        }
        seen.glance = Some(Glance { now: now.clone(), at, left_running });
        seen.now = Some(now);
        seen
    }

    fn is_anothers(&self, who: &AgentSession, repo: &Repo, path: &RepoPath, since: BootTime) -> bool {
        let is_anothers = |change: &Change| change.session != *who.sid() && change.at >= since;
        self.changes().of(repo, path).is_some_and(is_anothers)
            || self.wrote.since(&repo.tree.root.join(path.as_path()), since)
    }

    /// Whose change a changed file is.
    fn whose(&self, who: &AgentSession, repo: &Arc<Repo>, path: &RepoPath, since: BootTime) -> Whose {
        let claim = Claim::exclusive(Scope::Path(path.clone()));
        let change = self.changes().of(repo, path).cloned();
        if who.lock().covering(repo, &claim).is_some() {
            // Held all along: named before, or counted before. Noted unless this very call has noted it.
            return match change {
                Some(c) if c.session == *who.sid() && c.at >= since => Whose::Known,
                _ => Whose::Ours,
            };
        }
        if self.is_anothers(who, repo, path, since) {
            return Whose::Another;
        }
        let holder = self.all().into_iter().find(|o| o.sid() != who.sid() && o.lock().covering(repo, &claim).is_some());
        match holder {
            // It is writing just now itself: the change may well be its own.
            Some(h) if h.lock().may_change_in_flight() > 0 => Whose::Another,
            Some(h) => Whose::Hit(h),
            None => Whose::Ours,
        }
    }

    /// A command changed a file that somebody else holds: both are told in their next texts.
    fn hit(&self, who: &AgentSession, repo: &Arc<Repo>, path: &RepoPath, holder: &AgentSession) -> String {
        who.lock().note_lost(never_held(repo, Claim::exclusive(Scope::Path(path.clone()))));
        holder.notify(messages::hit_by(&path.to_string(), &self.who(who.sid(), None)));
        self.note_change(who, None, repo, path, &repo.tree.root.join(path.as_path()));
        tracing::warn!(by = %who.sid(), holder = %holder.sid(), %path, "a command changed a file that another session holds");
        messages::hit_others(&path.to_string(), &self.who(holder.sid(), None))
    }

    /// Changes that nobody else made: noted, locked where free, and told if the command had not named them.
    async fn count_as_own(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: Option<&Event>,
        call: &str,
        repo: &Arc<Repo>,
        own: Vec<RepoPath>,
    ) -> Option<String> {
        let mut unforeseen = Vec::new();
        for path in own {
            let disk = repo.tree.root.join(path.as_path());
            self.note_change(who, event, repo, &path, &disk);
            let claim = Claim::exclusive(Scope::Path(path.clone()));
            if who.lock().covering(repo, &claim).is_none() {
                unforeseen.push((path, claim));
            }
        }
        let doing = Doing { words: "changed by a command", call: Some(call) };
        for (_, claim) in unforeseen.iter().take(FILES_SHOWN_MAX) {
            let needs = [claim.clone(), Claim::shared(repo.shared(Shared::Tree))];
            let needs = needs.map(|claim| Need { repo: repo.clone(), claim, only_for: None });
            if let Got::Refused { .. } = self.need(who, &needs, doing).await {
                self.withdraw_requests(who).await;
                who.lock().note_lost(never_held(repo, claim.clone()));
            }
        }
        self.note_contested(who, repo, unforeseen.get(FILES_SHOWN_MAX..).unwrap_or_default()).await;
        let names: Vec<String> = unforeseen.iter().take(FILES_SHOWN_MAX).map(|(p, _)| p.to_string()).collect();
        let more = unforeseen.len().saturating_sub(FILES_SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| messages::unforeseen(&format!("{}{more}", names.join(", "))))
    }

    /// Of what is too much to be locked one by one: remembers what somebody else has.
    async fn note_contested(&self, who: &AgentSession, repo: &Arc<Repo>, changed: &[(RepoPath, Claim)]) {
        if changed.is_empty() {
            return;
        }
        let paths: Vec<RepoPath> = changed.iter().map(|(path, _)| path.clone()).collect();
        let standing = self.fleet.standing(&repo.id, &paths).await;
        // Who cannot ask must take it for contested.
        let is_free = |path: &RepoPath| standing.as_ref().is_ok_and(|s| s.other(&who.session, path).is_none());
        for (_, claim) in changed.iter().filter(|(path, _)| !is_free(path)) {
            who.lock().note_lost(never_held(repo, claim.clone()));
        }
    }

    /// A holder learns that somebody waits for what it holds.
    fn tell_who_waits(&self, who: &AgentSession) {
        for waiter in self.view.waiters().iter().filter(|w| w.session != *who.sid()) {
            let mut inner = who.lock();
            let held =
                inner.locks.iter().filter(|l| l.is_file()).map(HeldLock::shown).find(|s| waiter.shown.contains(s));
            let Some(what) = held else { continue };
            if inner.told_waiters.insert(waiter.since) {
                drop(inner);
                who.notify(messages::waited_for(&what, &self.who(&waiter.session, None)));
            }
        }
    }
}

enum Whose {
    /// Its own, and noted already.
    Known,
    Ours,
    /// Another session changed it itself, meanwhile.
    Another,
    Hit(Arc<AgentSession>),
}

/// What a look at the tree after a call has shown.
#[derive(Default)]
struct Seen {
    facts: Vec<String>,
    /// What the call changed, named or not.
    touched: Vec<RepoPath>,
    now: Option<rr_git::Dirty>,
    glance: Option<Glance>,
}

/// Written while somebody else had it.
fn never_held(repo: &Repo, claim: Claim) -> LostClaim {
    LostClaim { repo: repo.id.clone(), claim, token: None }
}

fn works_in(who: &AgentSession, repo: &Repo) -> bool {
    Path::new(&who.lock().record.workspace).starts_with(&repo.tree.root)
}

/// A lock whose files are all as committed, or the index that was committed.
pub(crate) fn committed(lock: &HeldLock, repo: &Repo, now: &rr_git::Dirty) -> bool {
    if lock.repo.tree.root != repo.tree.root || lock.only_for.is_some() {
        return false;
    }
    match &lock.grant.claim.scope {
        Scope::Path(path) => {
            !now.paths().any(|p| RepoPath::parse(p.as_os_str().as_bytes()).is_ok_and(|p| path.covers(&p)))
        }
        scope => *scope == repo.shared(Shared::Index),
    }
}

//! Rollback of one session (R18, X4): its changes are read from the journal, what taking them out comes to is planned on what
//! stands now (`rr_core::rollback`), and the plan is written under locks of a session of its own, journalled before and after.
//! So a rollback is seen, waited for and undone like anybody's work. Who may ask is the coordinator's to say.

mod plan;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::path::{RepoPath, show, typed};
use rr_core::rollback::{Change, Place, Plan, Request, Selection};
use rr_core::scope::{Claim, Scope};
use rr_fleet::{Answer as Asked, Ending, GrantedLock, Registered, Session, SessionRecord};
use rr_git::{Applied, ApplyError};
use rr_journal::{Does, Entry, Event as Fact, FileChange, Filter, Kind, Spot};
use rr_proto::v1;
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;

use crate::asked::Declined;
use crate::messages;
use crate::people::OwnHand;
use crate::processes::Snapshot;
use crate::record::kept;
use crate::repos::{Repo, Shared};
use crate::service::Service;
use crate::snapshots::repo_path;
use crate::table::AgentSession;
pub(crate) use plan::Plans;
use told::{Sides, reply, where_they_differ};

/// Conflicts shown with both sides; of the rest the path and the reason.
const SIDES_SHOWN_MAX: usize = 20;
/// The agent of a session that a rollback works under.
const UNDOER: &str = "rollback";

/// A session whose changes are looked for, or several together.
pub(crate) struct Target {
    /// The one that was named first.
    pub sid: SessionId,
    all: BTreeSet<SessionId>,
    /// Those that are at work here.
    pub live: Vec<Arc<AgentSession>>,
}

impl Target {
    fn names(&self) -> String {
        self.all.iter().map(SessionId::short).collect::<Vec<_>>().join(" and ")
    }

    fn in_words(&self) -> String {
        let sessions = if self.all.len() == 1 { "session" } else { "sessions" };
        format!("rollback of {sessions} {}", self.names())
    }

    fn add(&mut self, further: Self) {
        let new = further.live.into_iter().filter(|who| !self.all.contains(who.sid()));
        self.live.extend(new);
        self.all.extend(further.all);
    }
}

impl Service {
    /// Takes a session's own changes out of what stands now. The text of an error is for the person who asked.
    pub(crate) async fn roll_back(
        self: &Arc<Self>,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, Declined> {
        let settled = self.journal.settled().await;
        let mut target = self.target(&asked.session)?;
        for further in &asked.with {
            target.add(self.target(further)?);
        }
        // A command that outlived an earlier sidecar may have ended a moment ago.
        let running = Snapshot::take();
        for who in &target.live {
            self.look_at_earlier(who, &running).await;
        }
        settled.map_err(|error| Declined::Refused(not_all_written(&error)))?;
        let history = self.history_of(&target).await.map_err(Declined::Refused)?;
        target.live.extend(self.behind(&history, &target));
        self.roll_back_target(asked, &target).await.map_err(Declined::Refused)
    }

    /// Those at work whose changes come back when a rollback is taken back: what they hold is in nobody's way then, and they are held
    /// back with it.
    fn behind(&self, history: &[Change], target: &Target) -> Vec<Arc<AgentSession>> {
        let owners: HashMap<u64, &SessionId> = history.iter().map(|change| (change.seq, &change.session)).collect();
        let mut whose: BTreeSet<&SessionId> = target.all.iter().collect();
        // What a rollback takes out lies before it.
        for change in history.iter().rev() {
            if whose.contains(&change.session) {
                whose.extend(change.undoes.iter().filter_map(|seq| owners.get(seq)));
            }
        }
        self.all().into_iter().filter(|who| whose.contains(who.sid()) && !target.all.contains(who.sid())).collect()
    }

    async fn roll_back_target(
        self: &Arc<Self>,
        asked: &v1::RollbackRequest,
        target: &Target,
    ) -> Result<v1::RollbackReply, String> {
        // What is only asked for stops nobody.
        let held_back = target.live.iter().filter(|_| !asked.dry_run).map(|who| HeldBack::hold(who));
        let _held_back = held_back.collect::<Result<Vec<_>, _>>()?;
        let request = self.request(asked, target)?;
        let history = self.history_of(target).await?;
        let (first, sides) = self.planned(&history, &request).await?;
        if asked.dry_run || !first.conflicts.is_empty() || first.writes.is_empty() && first.settled.is_empty() {
            return Ok(reply(&target.sid, &first, &sides, None));
        }
        let repos = self.repos_of(&first)?;
        let undoer = self.undoer(&repos, target).await?;
        let done = self.under_locks(&undoer, &repos, target, &request, asked).await;
        if let Err(error) = self.fleet.end(&undoer, Ending::Clean).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "end a rollback's session; its lease runs out by itself"
            );
        }
        done
    }

    /// The session that is meant: by the first digits of its id, or by the agent's own name for it.
    pub(crate) fn target(&self, named: &str) -> Result<Target, Declined> {
        if named.is_empty() {
            let why = "Name a session: `rrctl log` and `rrctl sessions` show their ids.".to_owned();
            return Err(Declined::Refused(why));
        }
        let mut found: BTreeSet<SessionId> = BTreeSet::new();
        if let Ok(sid) = SessionId::parse(named) {
            // A whole id needs no look at all the others.
            let own = Filter { session: Some(named.to_owned()), limit: Some(1), ..Filter::default() };
            found.extend(self.journal.reader().query(&own).find_map(Result::ok).map(|_| sid));
        }
        let all = Filter { kinds: Some(vec![Kind::SessionStarted]), ..Filter::default() };
        let others = if found.is_empty() { Some(self.journal.reader().query(&all)) } else { None };
        for entry in others.into_iter().flatten().filter_map(Result::ok).map(|(_, entry)| entry) {
            let Fact::SessionStarted { agent_session, .. } = &entry.event else { continue };
            let Some(sid) = entry.session else { continue };
            if sid.as_str().starts_with(named) || agent_session == named {
                found.insert(sid);
            }
        }
        let mut found = found.into_iter();
        match (found.next(), found.len()) {
            (None, _) => Err(Declined::NotHere(format!(
                "This machine's journal knows no session `{named}`. `rrctl log` shows what it knows."
            ))),
            (Some(sid), 0) => {
                let live = self.all().into_iter().filter(|who| *who.sid() == sid).collect();
                Ok(Target { all: [sid.clone()].into(), sid, live })
            }
            (Some(first), _) => {
                let all: Vec<String> = std::iter::once(first).chain(found).map(|s| s.short().to_owned()).collect();
                let why = format!("`{named}` names several sessions: {}. Type more digits of one.", all.join(", "));
                Err(Declined::Refused(why))
            }
        }
    }

    fn request(&self, asked: &v1::RollbackRequest, target: &Target) -> Result<Request, String> {
        let selection = match (asked.steps, asked.since_unix_ms, asked.to_checkpoint) {
            (0, 0, false) => Selection::All,
            (steps, 0, false) => Selection::Steps(usize::try_from(steps).unwrap_or(usize::MAX)),
            (0, since, false) => Selection::Since(since),
            (0, 0, true) => Selection::After(self.last_checkpoint(&target.sid)?),
            _ => return Err("Of steps, a time and the last checkpoint one can be named.".to_owned()),
        };
        if target.all.len() > 1 && !matches!(selection, Selection::All | Selection::Since(_)) {
            return Err("Several sessions together are taken back whole, or since a time.".to_owned());
        }
        let below = (!asked.path.is_empty()).then(|| typed(asked.path.as_ref()));
        Ok(Request { sessions: target.all.clone(), selection, below })
    }

    fn last_checkpoint(&self, sid: &SessionId) -> Result<u64, String> {
        let filter = Filter {
            session: Some(sid.to_string()),
            kinds: Some(vec![Kind::Checkpoint]),
            order: rr_journal::Order::NewestFirst,
            limit: Some(1),
            ..Filter::default()
        };
        let found = self.journal.reader().query(&filter).find_map(Result::ok);
        found.map(|(sequence, _)| sequence).ok_or_else(|| {
            "There is no checkpoint of this session yet. `--steps` or `--to TIME` say how far to go back.".to_owned()
        })
    }

    /// Everybody's changes since the session's first one.
    async fn history_of(self: &Arc<Self>, target: &Target) -> Result<Vec<Change>, String> {
        // A call's end is written a moment after it: without it a step would be overlooked, and an earlier one taken for the last.
        self.journal.settled().await.map_err(|error| not_all_written(&error))?;
        let (reader, all) = (self.journal.reader(), target.all.clone());
        let read = move || {
            let Some(first) = all.iter().filter_map(|sid| first_of(&reader, sid)).min() else { return Ok(Vec::new()) };
            let all = Filter {
                kinds: Some(vec![Kind::Done, Kind::RolledBack]),
                after: Some(first.saturating_sub(1)),
                ..Filter::default()
            };
            let mut history = Vec::new();
            for found in reader.query(&all) {
                match found {
                    Ok((sequence, entry)) => note_changes(&mut history, sequence, entry),
                    Err(damage) => return Err(damage.to_string()),
                }
            }
            Ok(history)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| "reading the journal failed".to_owned())?;
        read.map_err(|why| {
            format!("The journal is damaged after that session began ({why}), so what others did cannot be told apart for certain. `rrctl doctor` says more.")
        })
    }

    /// A plan, and both sides of its conflicts as text.
    async fn planned(&self, history: &[Change], request: &Request) -> Result<(Plan, Sides), String> {
        let (vault, history, request) = (self.snapshots.vault.clone(), history.to_vec(), request.clone());
        let planning = move || {
            let planned = rr_git::plan_rollback(&vault, &history, &request);
            let planned = planned.map_err(|error| format!("what stands now cannot be looked at: {}", chain(&error)))?;
            let text = |content: Content| {
                let bytes = content.blob().and_then(|blob| vault.bytes(blob).ok())?;
                String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))
            };
            let shown = planned.conflicts.iter().take(SIDES_SHOWN_MAX);
            let sides = shown.map(|c| where_they_differ(text(c.ours), text(c.theirs))).collect();
            Ok((planned, sides))
        };
        tokio::task::spawn_blocking(planning).await.unwrap_or_else(|_| Err("planning the rollback failed".to_owned()))
    }

    /// The work trees that a plan writes in.
    fn repos_of(&self, plan: &Plan) -> Result<BTreeMap<PathBuf, Arc<Repo>>, String> {
        let mut repos = BTreeMap::new();
        for write in &plan.writes {
            let root = &write.place.root;
            if repos.contains_key(root) {
                continue;
            }
            match self.repos.around(root) {
                Ok(Some(repo)) if repo.tree.root == *root => repos.insert(root.clone(), repo),
                _ => return Err(format!("{} is no work tree any more. Nothing was changed.", root.display())),
            };
        }
        Ok(repos)
    }

    /// A session that the rollback works under: seen and told of like any other.
    async fn undoer(&self, repos: &BTreeMap<PathBuf, Arc<Repo>>, target: &Target) -> Result<Session, String> {
        let name = format!("{UNDOER}-{}-{}", target.sid.short(), unix_ms());
        let record = SessionRecord {
            host: self.host.clone(),
            host_name: self.host_name.clone(),
            boot: self.boot.clone(),
            pid: std::process::id(),
            start: 0,
            agent: UNDOER.to_owned(),
            agent_session: name.clone(),
            workspace: repos.keys().next().map(|root| root.display().to_string()).unwrap_or_default(),
            since_unix_ms: unix_ms(),
            task: target.in_words(),
            warning: String::new(),
        };
        match self.fleet.register(&record, self.host.as_str()).await {
            Ok(Registered::New(session)) => {
                self.journal.note(self.undo_entry(
                    &session,
                    None,
                    Fact::SessionStarted {
                        agent: UNDOER.to_owned(),
                        agent_session: name,
                        workspace: PathBuf::from(&record.workspace),
                        pid: record.pid,
                        task: record.task.as_str().into(),
                    },
                ));
                Ok(session)
            }
            Ok(Registered::SlotTaken { .. }) => Err("Another rollback has just begun here: try again.".to_owned()),
            Err(error) => {
                Err(format!("The store did not take the rollback's session: {}. Nothing was changed.", chain(&error)))
            }
        }
    }

    fn undo_entry(&self, session: &Session, call: Option<&str>, event: Fact) -> Entry {
        Entry {
            at_unix_ms: unix_ms(),
            session: Some(session.sid.clone()),
            agent_id: None,
            call: call.map(str::to_owned),
            revision: self.state().as_ref().map_or(0, |s| s.revision),
            event,
        }
    }

    async fn under_locks(
        self: &Arc<Self>,
        undoer: &Session,
        repos: &BTreeMap<PathBuf, Arc<Repo>>,
        target: &Target,
        request: &Request,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, String> {
        // What it did until now, also what was written down a moment ago.
        let history = self.history_of(target).await?;
        let (plan, _) = self.planned(&history, request).await?;
        let mut held = Vec::new();
        let locked = self.lock_for(undoer, repos, target, &plan, &mut held).await;
        let places: BTreeSet<Place> = plan.writes.iter().map(|w| w.place.clone()).collect();
        let done = match locked {
            Ok(()) => self.write_plan(undoer, target, request, &places, asked).await,
            Err(why) => Err(why),
        };
        for lock in &held {
            if let Err(error) = self.fleet.release(lock).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "give a rollback's lock back; it ends with its session"
                );
            }
        }
        done
    }

    /// The locks on all that is to be written, like anybody's. What the session itself holds is held back with it.
    async fn lock_for(
        &self,
        undoer: &Session,
        repos: &BTreeMap<PathBuf, Arc<Repo>>,
        target: &Target,
        plan: &Plan,
        held: &mut Vec<GrantedLock>,
    ) -> Result<(), String> {
        for (root, repo) in repos {
            let mut claims = Vec::new();
            for write in plan.writes.iter().filter(|w| w.place.root == *root) {
                // No lock is given out for some names: nobody else can hold it either.
                let Ok(path) = RepoPath::parse(write.place.path.as_os_str().as_bytes()) else { continue };
                let claim = Claim::exclusive(Scope::Path(path));
                let own = target.live.iter().any(|who| who.lock().covering(repo, &claim).is_some());
                if !own {
                    claims.push(claim);
                }
            }
            let tree = Claim::shared(repo.shared(Shared::Tree));
            for some in claims.chunks(rr_core::limits::SCOPES_PER_REQUEST_MAX - 1) {
                let claims = some.iter().cloned().chain([tree.clone()]).collect();
                let asked = rr_fleet::Request {
                    repo: repo.id.clone(),
                    claims,
                    doing: UNDOER.to_owned(),
                    now_unix_ms: unix_ms(),
                };
                match self.fleet.request(undoer, asked).await {
                    Ok(Asked::Granted(grant)) => held.extend(grant.locks),
                    Ok(Asked::Queued(waiter, blockers)) => {
                        self.fleet.cancel(undoer, &waiter).await;
                        return Err(self.in_use(&blockers));
                    }
                    Ok(Asked::Lost) => {
                        return Err("The rollback's session was lost. Nothing was changed: try again.".to_owned());
                    }
                    Err(error) => {
                        return Err(format!(
                            "The store gave no clear answer about the locks: {}. Nothing was changed.",
                            chain(&error)
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn in_use(&self, blockers: &[rr_core::lock::Blocker]) -> String {
        let names: BTreeSet<String> = blockers.iter().map(|b| self.who(b.session(), None).session).collect();
        let names: Vec<String> = names.into_iter().collect();
        format!(
            "Session {} is at work on files that the rollback has to change. Nothing was changed: wait until its turn is over \
             (`rrctl locks`), or take only other files (`--path`).",
            names.join(", ")
        )
    }

    /// Plans once more, now that nobody else may write, and writes.
    async fn write_plan(
        self: &Arc<Self>,
        undoer: &Session,
        target: &Target,
        request: &Request,
        locked: &BTreeSet<Place>,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, String> {
        let history = self.history_of(target).await?;
        let (plan, sides) = self.planned(&history, request).await?;
        if !plan.conflicts.is_empty() {
            return Ok(reply(&target.sid, &plan, &sides, None));
        }
        if let Some(more) = plan.writes.iter().find(|w| !locked.contains(&w.place)) {
            return Err(format!("{} has changed meanwhile. Nothing was changed: try again.", show(&more.place.path)));
        }
        let call = format!("{UNDOER}-{}", unix_ms());
        let hands = self.own_hands(&plan).await;
        let number = self.begin_undo(undoer, &call, &plan).await?;
        let (service, writes) = (Arc::clone(self), plan.writes.clone());
        let planned = self.undo_entry(undoer, Some(&call), rolled_back(target, &plan, &as_planned(&plan)));
        let applied = tokio::task::spawn_blocking(move || {
            let kept = service.plans.keep(number, &planned);
            kept.map_err(|error| ApplyError::Disk {
                doing: "keep the plan in",
                path: service.plans.dir(),
                source: error,
            })?;
            rr_git::apply(&service.snapshots.vault, number, &writes)
        })
        .await;
        let applied = match applied {
            Ok(Ok(applied)) => applied,
            // Its call stays open in the journal, and its plan on the disk: the next start goes on with it.
            Ok(Err(error @ ApplyError::HalfWay { .. })) => {
                return Err(format!("{}: put that right, then roll back again", chain(&error)));
            }
            Ok(Err(error)) => {
                let fact = Fact::Done { ok: false, changes: Vec::new() };
                self.journal.note(self.undo_entry(undoer, Some(&call), fact));
                self.plans.forget(number);
                return Err(format!("{}. Nothing was changed: try again.", chain(&error)));
            }
            Err(_) => return Err("writing the rollback failed: `rrctl log` shows how far it came".to_owned()),
        };
        for (root, hand) in &hands {
            let here = applied.iter().filter(|a| a.place.root == *root);
            hand.wrote(here.map(|a| (a.place.path.clone(), a.after)), self.now());
        }
        drop(hands);
        self.end_undo(undoer, &call, target, &plan, &applied).await?;
        self.plans.forget(number);
        self.tell_of_undo(target, &plan, &asked.who);
        Ok(reply(&target.sid, &plan, &sides, Some(&undoer.sid)))
    }

    /// What a rollback writes is nobody's save.
    async fn own_hands(&self, plan: &Plan) -> Vec<(PathBuf, OwnHand)> {
        let roots: BTreeSet<&PathBuf> = plan.writes.iter().map(|write| &write.place.root).collect();
        let mut hands = Vec::new();
        for root in roots {
            if let Ok(Some(repo)) = self.repos.around(root) {
                hands.push((root.clone(), self.people.own_hand(&repo).await));
            }
        }
        hands
    }

    async fn begin_undo(&self, undoer: &Session, call: &str, plan: &Plan) -> Result<u64, String> {
        let spots = plan
            .writes
            .iter()
            .filter_map(|w| Some(Spot { root: w.place.root.clone(), path: repo_path(&w.place.path)? }));
        let files = plan.writes.iter().filter_map(|w| Some(kept(&w.place.root, &repo_path(&w.place.path)?, w.expects)));
        let cwd = plan.writes.first().map(|w| w.place.root.clone()).unwrap_or_default();
        let facts = [
            Fact::Intent { tool: UNDOER.to_owned(), does: Does::Write(spots.collect()), cwd },
            Fact::Snapped { files: files.collect() },
            Fact::Started,
        ];
        let entries = facts.map(|fact| self.undo_entry(undoer, Some(call), fact));
        let number = self.journal.append(entries.into()).await;
        number.map_err(|error| format!("The journal cannot be written ({}), so nothing was changed.", chain(&error)))
    }

    async fn end_undo(
        &self,
        undoer: &Session,
        call: &str,
        target: &Target,
        plan: &Plan,
        applied: &[Applied],
    ) -> Result<(), String> {
        let fact = rolled_back(target, plan, applied);
        let entries = vec![
            self.undo_entry(undoer, Some(call), fact),
            self.undo_entry(undoer, None, Fact::SessionEnded { how: "done".into() }),
        ];
        let written = self.journal.append(entries).await;
        written.map(drop).map_err(|error| {
            format!(
                "The files are written, and the journal could not take that down ({}): `rrctl doctor`.",
                chain(&error)
            )
        })
    }

    /// Whoever has read one of the files learns that it has changed; so does the session itself.
    fn tell_of_undo(&self, target: &Target, plan: &Plan, by: &str) {
        let disks: Vec<PathBuf> = plan.writes.iter().map(|w| w.place.root.join(&w.place.path)).collect();
        for who in self.all() {
            let is_target = target.all.contains(who.sid());
            let files: Vec<String> = {
                let inner = who.lock();
                let read = |disk: &PathBuf| is_target || inner.reads.keys().any(|(_, p)| p == disk);
                disks.iter().filter(|disk| read(disk)).map(|disk| show(disk)).collect()
            };
            if !files.is_empty() {
                who.notify(messages::rolled_back(&files, is_target, &target.names(), by));
            }
        }
    }
}

/// A rollback as the journal has it.
fn rolled_back(target: &Target, plan: &Plan, applied: &[Applied]) -> Fact {
    let change = |place: &Place, before, after| {
        let path = repo_path(&place.path)?;
        Some(FileChange { root: place.root.clone(), path, before, after, foreseen: true })
    };
    let written = applied.iter().filter_map(|a| change(&a.place, a.before, a.after));
    let settled = plan.settled.iter().filter_map(|s| change(&s.place, s.stands, s.stands));
    let undone: BTreeSet<u64> = plan
        .writes
        .iter()
        .flat_map(|w| &w.undoes)
        .chain(plan.settled.iter().flat_map(|s| &s.undoes))
        .copied()
        .collect();
    Fact::RolledBack {
        of: target.sid.clone(),
        undone: undone.into_iter().collect(),
        changes: written.chain(settled).collect(),
        undoes: None,
    }
}

/// All of a plan, as if it were done.
fn as_planned(plan: &Plan) -> Vec<Applied> {
    let applied = |w: &rr_core::rollback::Write| Applied {
        place: w.place.clone(),
        before: w.expects,
        after: w.becomes,
        undoes: w.undoes.clone(),
    };
    plan.writes.iter().map(applied).collect()
}

/// A live session that may change nothing while it is rolled back.
struct HeldBack<'a>(&'a AgentSession);

impl<'a> HeldBack<'a> {
    fn hold(who: &'a AgentSession) -> Result<Self, String> {
        let mut inner = who.lock();
        if inner.held_back {
            return Err("A rollback of this session is under way already.".to_owned());
        }
        if inner.may_change_in_flight() > 0 {
            return Err(format!(
                "Session {} has a call under way. Nothing was changed: wait until it is over (`rrctl sessions`), or `rrctl pause-all` first.",
                who.sid().short()
            ));
        }
        inner.held_back = true;
        drop(inner);
        Ok(Self(who))
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.lock().held_back = false;
    }
}

/// Where what has to be known of a session's changes begins: at its first one. A rollback's begin with those that it took out.
fn first_of(reader: &rr_journal::Reader, sid: &SessionId) -> Option<u64> {
    let own = Filter {
        session: Some(sid.to_string()),
        kinds: Some(vec![Kind::Done, Kind::RolledBack]),
        limit: Some(1),
        ..Filter::default()
    };
    let (mut first, mut entry) = reader.query(&own).find_map(Result::ok)?;
    // One rollback may have taken out another: each step leads to an earlier entry, so this ends.
    while let Fact::RolledBack { undone, .. } = &entry.event {
        let Some(earlier) = undone.iter().min().copied().filter(|seq| *seq < first) else { break };
        let Ok(Some(found)) = reader.get(earlier) else { break };
        (first, entry) = (earlier, found);
    }
    Some(first)
}

fn not_all_written(error: &rr_journal::JournalError) -> String {
    format!(
        "The journal cannot be written ({}), so the last calls are not in it and cannot be told apart. Nothing was changed: `rrctl doctor`.",
        chain(error)
    )
}

fn note_changes(history: &mut Vec<Change>, sequence: u64, entry: Entry) {
    let Some(session) = entry.session else { return };
    let (changes, undone) = match entry.event {
        Fact::Done { changes, .. } => (changes, Vec::new()),
        Fact::RolledBack { changes, undone, .. } => (changes, undone),
        _ => return,
    };
    for change in changes {
        let place = Place { root: change.root, path: change.path.as_path().to_owned() };
        let undoes: Vec<u64> = {
            let here = |seq: &u64| history.iter().any(|c| c.seq == *seq && c.place == place);
            undone.iter().filter(|seq| here(seq)).copied().collect()
        };
        let (call, at_unix_ms) = (entry.call.clone().unwrap_or_default(), entry.at_unix_ms);
        let (seq, session) = (sequence, session.clone());
        let (before, after) = (change.before, change.after);
        history.push(Change { seq, session, call, at_unix_ms, place, before, after, undoes });
    }
}

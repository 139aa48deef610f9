//! Calls that this sidecar's earlier life let through and never saw the end of (H31): the journal says what stood before them.
//! What they have done is looked at before any hook is answered, and written down as what nobody reported: so it is in the log and
//! can be taken back even if the agent never comes back. A command that still runs is looked at when it has ended. An agent that
//! lives on may report the end all the same: what it did until then, and was not found before, is written down with that.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::time::{BootTime, Span};
use rr_journal::{Came, Does, Entry, Event as Fact, FileChange, Filter, Kind, OpenCall, Order};
use rr_runtime::clock::unix_ms;

use crate::messages;
use crate::processes::{Process, Snapshot};
use crate::service::Service;
use crate::snapshots::{Before, Began, FOUND_MAX, repo_path};
use crate::table::{AgentSession, EARLIER_CALL, InFlight};

/// How often `/proc` counts in a second on every machine that Linux runs on today.
const PROC_TICKS_PER_SECOND: u64 = 100;
/// The wall clock of the journal against the clock of processes: what began so shortly before a call may be its own.
const BEGAN_SLACK: Span = Span::from_secs(2);

/// What is known of a call that an earlier life let through.
#[derive(Clone)]
pub(crate) struct FromBefore {
    /// When it began.
    began: BootTime,
    is_shell: bool,
    /// What others changed behind this entry is theirs.
    pub since: u64,
    /// What it left was written down as found.
    pub found: bool,
}

/// What others have made of a file, by the last of them.
struct Theirs {
    by: SessionId,
    before: Content,
    after: Content,
}

/// What the journal left open, by session.
#[derive(Default)]
pub(crate) struct Earlier {
    open: Mutex<HashMap<SessionId, Vec<OpenCall>>>,
    /// Files that are some call's already: those that file tools named, and what was found for a command. A change is counted once.
    taken: Mutex<HashSet<PathBuf>>,
}

impl Earlier {
    pub(crate) fn new(open: Vec<OpenCall>) -> Self {
        let mut by_session: HashMap<SessionId, Vec<OpenCall>> = HashMap::new();
        let mut taken = HashSet::new();
        // Of a call that was not let through there is nothing to find out.
        for call in open.into_iter().filter(|call| call.came == Came::Started) {
            if matches!(call.does, Does::Write(_)) {
                taken.extend(call.files.iter().map(|kept| kept.root.join(kept.path.as_path())));
            }
            if let Some(sid) = call.session.clone() {
                by_session.entry(sid).or_default().push(call);
            }
        }
        Self { open: Mutex::new(by_session), taken: Mutex::new(taken) }
    }

    fn of(&self, sid: &SessionId) -> Vec<OpenCall> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(sid).unwrap_or_default()
    }

    fn rest(&self) -> Vec<OpenCall> {
        let all = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_values().flatten().collect()
    }
}

impl Service {
    /// The open calls of a session that is taken over, as if they had begun here.
    pub(crate) fn earlier_calls(&self, sid: &SessionId) -> Vec<(String, InFlight)> {
        let flight = |open: OpenCall| {
            let now = self.now();
            let ago = unix_ms().saturating_sub(open.at_unix_ms);
            let earlier = FromBefore {
                began: BootTime::from_millis(now.as_millis().saturating_sub(ago)),
                is_shell: matches!(open.does, Does::Shell(_)),
                since: open.first,
                found: false,
            };
            let flight = InFlight {
                agent_id: open.agent_id.clone(),
                started: now,
                may_change: true,
                before: tokio::task::block_in_place(|| self.before_earlier(&open)),
                recorded: false,
                earlier: Some(earlier),
                commits: false,
                stages: false,
                in_spite_of: None,
            };
            (open.call, flight)
        };
        self.earlier.of(sid).into_iter().map(flight).collect()
    }

    /// Writes down what a session's calls of an earlier life have done, but for commands that still run. What is found now is not
    /// found again by the end that its agent may yet report.
    pub(crate) async fn look_at_earlier(self: &Arc<Self>, who: &Arc<AgentSession>, running: &Snapshot) {
        let unseen: Vec<String> = {
            let inner = who.lock();
            let unseen = |flight: &InFlight| flight.earlier.as_ref().is_some_and(|e| !e.found);
            inner.in_flight.iter().filter(|(_, flight)| unseen(flight)).map(|(id, _)| id.clone()).collect()
        };
        let below = if unseen.is_empty() { BTreeSet::new() } else { running.below(who.process) };
        for id in unseen {
            let runs = |e: &FromBefore| e.is_shell && below.iter().any(|process| began_with(*process, e));
            let over = {
                let mut inner = who.lock();
                let is_over = inner.in_flight.get(&id).and_then(|f| f.earlier.as_ref()).is_some_and(|e| !runs(e));
                if is_over { inner.over(&id) } else { None }
            };
            let Some((mut flight, earlier)) = over.and_then(|f| Some((f.clone(), f.earlier?))) else { continue };
            self.note_unknown_end(who, &id);
            self.look_once(who, &id, &flight).await;
            let before = flight.before;
            let stands = tokio::task::spawn_blocking({
                let snapshots = self.snapshots.clone();
                move || snapshots.stands_again(&before)
            });
            let Ok(before) = stands.await else { continue };
            flight.before = before;
            flight.earlier = Some(FromBefore { found: true, since: self.journal.head().sequence, ..earlier });
            who.lock().in_flight.insert(id, flight);
        }
        let mut inner = who.lock();
        let runs_on = inner.in_flight.values().filter_map(|f| f.earlier.as_ref()).any(|e| !e.found);
        if !runs_on && inner.in_flight.values().any(|f| f.earlier.is_some()) {
            inner.in_flight.remove(EARLIER_CALL);
        }
    }

    /// In the journal, where its agent did not report it.
    pub(crate) fn note_unknown_end(&self, who: &AgentSession, id: &str) {
        let fact = Fact::Told { text: messages::end_unknown(id).as_str().into() };
        self.journal.note(self.entry(who, None, Some(id), fact));
    }

    /// Without what is another session's by now: the journal has what they have changed since. What cannot be told apart is nobody's,
    /// and said so.
    pub(crate) fn without_theirs(
        &self,
        sid: Option<&SessionId>,
        since: u64,
        changes: Vec<FileChange>,
    ) -> (Vec<FileChange>, Vec<String>) {
        let mut mixed = Vec::new();
        let own = |change: &FileChange| {
            let Some(theirs) = self.of_others(sid, since, change) else { return true };
            if theirs.after == change.before {
                return true;
            }
            if (theirs.before, theirs.after) != (change.before, change.after) {
                mixed.push(messages::mixed_with(&change.path.to_string(), theirs.by.short()));
            }
            false
        };
        let changes = changes.into_iter().filter(own).collect();
        (changes, mixed)
    }

    /// What other sessions have made of a file since an entry.
    fn of_others(&self, sid: Option<&SessionId>, since: u64, change: &FileChange) -> Option<Theirs> {
        let filter = Filter {
            path: Some(change.path.clone()),
            root: Some(change.root.clone()),
            kinds: Some(vec![Kind::Done, Kind::RolledBack]),
            after: Some(since),
            ..Filter::default()
        };
        let entries = self.journal.reader().query(&filter).filter_map(Result::ok).map(|(_, entry)| entry);
        let theirs = entries.filter(|entry| entry.session.as_ref() != sid).filter_map(|entry| {
            let (Fact::Done { changes, .. } | Fact::RolledBack { changes, .. }) = entry.event else { return None };
            let found =
                changes.into_iter().find(|c| c.path.as_path() == change.path.as_path() && c.root == change.root)?;
            Some(Theirs { by: entry.session?, before: found.before, after: found.after })
        });
        theirs.reduce(|first, last| Theirs { before: first.before, ..last })
    }

    /// What became of the calls of sessions that are over.
    pub(crate) fn settle_earlier(&self) {
        for open in self.earlier.rest() {
            let (changes, mixed) = tokio::task::block_in_place(|| {
                let before = self.before_earlier(&open);
                let changes = self.snapshots.changes(&before, &before.found(), None);
                self.without_theirs(open.session.as_ref(), open.first, changes)
            });
            tracing::warn!(
                session = open.session.as_ref().map(SessionId::as_str),
                call = open.call,
                files = changes.len(),
                "a call was under way when the sidecar last ended, and nobody reported its end"
            );
            let told = [messages::end_unknown(&open.call)].into_iter().chain(mixed);
            let told = told.map(|text| Fact::Told { text: text.as_str().into() });
            for event in told.chain([Fact::Done { ok: false, changes }]) {
                self.journal.note(Entry {
                    at_unix_ms: unix_ms(),
                    session: open.session.clone(),
                    agent_id: open.agent_id.clone(),
                    call: Some(open.call.clone()),
                    revision: 0,
                    event,
                });
            }
        }
    }

    /// What stood before a call of an earlier life. A command may have changed more than it named: whatever differs from the last
    /// commit and from what was last known of it, and is nobody else's, counts as its own, as it would have then (D8).
    fn before_earlier(&self, open: &OpenCall) -> Before {
        let before = Before::earlier(&self.repos, &open.files);
        if !matches!(open.does, Does::Shell(_)) {
            return before;
        }
        let folder = open.session.as_ref().and_then(|sid| self.workspace_of(sid));
        let Some(repo) = folder.and_then(|folder| self.repos.around(&folder).ok().flatten()) else { return before };
        let dirty = match repo.tree.dirty() {
            Ok(dirty) => dirty,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "look at a work tree after a crash");
                return before;
            }
        };
        let last = |file: &Path| Some((file.to_owned(), self.last_known(&repo.tree.root, file)?));
        let known: HashMap<PathBuf, Content> = dirty.paths().take(FOUND_MAX).filter_map(last).collect();
        let root = repo.tree.root.clone();
        let mut taken = self.earlier.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            before.and_besides(&self.snapshots, repo, dirty, known, &taken, Began::at_unix_ms(open.at_unix_ms));
        taken.extend(before.found().iter().map(|path| root.join(path.as_path())));
        before
    }

    fn workspace_of(&self, sid: &SessionId) -> Option<PathBuf> {
        let kinds = Some(vec![Kind::SessionStarted]);
        let filter = Filter { session: Some(sid.to_string()), kinds, limit: Some(1), ..Filter::default() };
        match self.journal.reader().query(&filter).find_map(Result::ok)?.1.event {
            Fact::SessionStarted { workspace, .. } => Some(workspace),
            _ => None,
        }
    }

    /// What the journal last says of a file.
    fn last_known(&self, root: &Path, file: &Path) -> Option<Content> {
        let path = repo_path(file)?;
        let filter = Filter {
            path: Some(path),
            root: Some(root.to_owned()),
            kinds: Some(vec![Kind::Snapped, Kind::Done, Kind::RolledBack]),
            order: Order::NewestFirst,
            ..Filter::default()
        };
        let said = |fact: Fact| match fact {
            Fact::Snapped { files } => {
                files.iter().find(|kept| kept.path.as_path() == file && kept.root == root).map(|kept| kept.content)
            }
            Fact::Done { changes, .. } | Fact::RolledBack { changes, .. } => changes
                .iter()
                .find(|change| change.path.as_path() == file && change.root == root)
                .map(|change| change.after),
            _ => None,
        };
        self.journal.reader().query(&filter).filter_map(Result::ok).find_map(|(_, entry)| said(entry.event))
    }
}

/// Whether a process of the agent may be this call's: one that ran before it is a server of the agent's.
fn began_with(process: Process, call: &FromBefore) -> bool {
    let began = BootTime::from_millis(process.start.saturating_mul(1_000 / PROC_TICKS_PER_SECOND));
    began + BEGAN_SLACK >= call.began
}

//! Calls that this sidecar's earlier life let through and never saw the end of (H31): the journal says what stood before them.
//! Those of sessions that live on end when their agent says so; what the others did is looked at once, and written down as what
//! nobody reported.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_journal::{Came, Does, Entry, Event as Fact, Filter, Kind, OpenCall, Order};
use rr_runtime::clock::unix_ms;

use crate::messages;
use crate::service::Service;
use crate::snapshots::{Before, FOUND_MAX, repo_path};
use crate::table::InFlight;

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
                taken.extend(call.files.iter().map(|kept| kept.root.join(kept.path.shown())));
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
            let flight = InFlight {
                agent_id: open.agent_id.clone(),
                started: self.now(),
                may_change: true,
                before: tokio::task::block_in_place(|| self.before_earlier(&open)),
                recorded: false,
                earlier: true,
                commits: false,
                stages: false,
                in_spite_of: None,
            };
            (open.call, flight)
        };
        self.earlier.of(sid).into_iter().map(flight).collect()
    }

    /// What became of the calls of sessions that are over.
    pub(crate) fn settle_earlier(&self) {
        for open in self.earlier.rest() {
            let changes = tokio::task::block_in_place(|| {
                let before = self.before_earlier(&open);
                self.snapshots.changes(&before, &before.found(), None)
            });
            tracing::warn!(
                session = open.session.as_ref().map(SessionId::as_str),
                call = open.call,
                files = changes.len(),
                "a call was under way when the sidecar last ended, and nobody reported its end"
            );
            let told = Fact::Told { text: messages::end_unknown(&open.call).as_str().into() };
            for event in [told, Fact::Done { ok: false, changes }] {
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
        let before = before.and_besides(&self.snapshots, repo, dirty, known, &taken);
        taken.extend(before.found().iter().map(|path| root.join(path.shown())));
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
            path: Some(path.clone()),
            root: Some(root.to_owned()),
            kinds: Some(vec![Kind::Snapped, Kind::Done, Kind::RolledBack]),
            order: Order::NewestFirst,
            ..Filter::default()
        };
        let said = |fact: Fact| match fact {
            Fact::Snapped { files } => {
                files.iter().find(|kept| kept.path == path && kept.root == root).map(|kept| kept.content)
            }
            Fact::Done { changes, .. } | Fact::RolledBack { changes, .. } => {
                changes.iter().find(|change| change.path == path && change.root == root).map(|change| change.after)
            }
            _ => None,
        };
        self.journal.reader().query(&filter).filter_map(Result::ok).find_map(|(_, entry)| said(entry.event))
    }
}

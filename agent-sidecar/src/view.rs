//! The fleet as last seen, indexed for the questions that each call asks: who holds this path, who is here. It is a hint for
//! texts; what decides is the store's own answer. `following` keeps it fresh.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, PoisonError, RwLock};

use crate::messages::Who;
use rr_core::id::{RepoId, SessionId, Token};
use rr_core::path::{RepoPath, typed};
use rr_core::scope::Mode;
use rr_core::time::Span;
use rr_fleet::{Fleet, LockRow, Overview, SessionRecord, WaiterRow};
use rr_runtime::clock::unix_ms;
use rr_runtime::metrics::FleetSize;

#[derive(Default)]
pub(crate) struct View {
    sessions: HashMap<SessionId, SessionRecord>,
    /// Exclusive locks by repository and shown path.
    locks: HashMap<(RepoId, RepoPath), LockRow>,
    by_session: HashMap<SessionId, Vec<(RepoId, String)>>,
    waiters: Vec<WaiterRow>,
    /// Shared ones and names too.
    all_locks: usize,
}

pub(crate) type SharedView = Arc<RwLock<Arc<View>>>;

impl View {
    fn of(all: Overview) -> Self {
        let mut view = Self { waiters: all.waiters, all_locks: all.locks.len(), ..Self::default() };
        view.sessions.extend(all.sessions.into_iter().map(|row| (row.sid, row.record)));
        for row in all.locks.into_iter().filter(|l| l.mode == Mode::Exclusive && !l.shown.starts_with('!')) {
            view.by_session.entry(row.session.clone()).or_default().push((row.repo.clone(), row.shown.clone()));
            let shown = if row.shown == "." { "" } else { row.shown.as_str() };
            if let Ok(path) = RepoPath::parse(typed(shown.as_ref()).as_os_str().as_bytes()) {
                view.locks.insert((row.repo.clone(), path), row);
            }
        }
        view
    }

    /// Who holds a path or a folder around it, if that is somebody else.
    pub(crate) fn holder(&self, repo: &RepoId, path: &RepoPath, me: &SessionId) -> Option<&LockRow> {
        let mut at = Some(path.clone());
        while let Some(p) = at {
            match self.locks.get(&(repo.clone(), p.clone())) {
                Some(row) if row.session != *me => return Some(row),
                _ => at = parent(&p),
            }
        }
        None
    }

    pub(crate) fn session(&self, sid: &SessionId) -> Option<&SessionRecord> {
        self.sessions.get(sid)
    }

    /// Those of all sessions of the fleet.
    pub(crate) fn records(&self) -> impl Iterator<Item = &SessionRecord> {
        self.sessions.values()
    }

    /// The other sessions that hold something in a repository or work in its folder, with what they hold there.
    pub(crate) fn others(
        &self,
        repo: &RepoId,
        root: &str,
        me: &SessionId,
    ) -> Vec<(&SessionId, &SessionRecord, Vec<&str>)> {
        let mut found: Vec<_> = self
            .sessions
            .iter()
            .filter(|(sid, _)| *sid != me)
            .map(|(sid, record)| {
                let held = self.by_session.get(sid).into_iter().flatten();
                (sid, record, held.filter(|(r, _)| r == repo).map(|(_, s)| s.as_str()).collect::<Vec<_>>())
            })
            .filter(|(_, record, held)| !held.is_empty() || record.workspace.starts_with(root))
            .collect();
        found.sort_by_key(|(_, record, _)| record.since_unix_ms);
        found
    }

    /// Since when a grant has been held, by the wall clock.
    pub(crate) fn lock_since(&self, session: &SessionId, token: Token) -> Option<u64> {
        self.locks.values().find(|l| l.session == *session && l.token == token).map(|l| l.since_unix_ms)
    }

    /// How much there is of everything.
    pub(crate) fn sizes(&self) -> FleetSize {
        FleetSize { sessions: self.sessions.len(), locks: self.all_locks, waiters: self.waiters.len() }
    }

    pub(crate) fn waiters(&self) -> &[WaiterRow] {
        &self.waiters
    }
}

fn parent(path: &RepoPath) -> Option<RepoPath> {
    RepoPath::parse(path.as_path().parent()?.as_os_str().as_bytes()).ok()
}

/// A session in words, from its record if there is one.
pub(crate) fn in_words(sid: &SessionId, record: Option<&SessionRecord>, since_unix_ms: Option<u64>) -> Who {
    let since = since_unix_ms.map(|then| Span::from_millis(unix_ms().saturating_sub(then)));
    let session = sid.short().to_owned();
    let Some(r) = record else {
        let (agent, host) = ("agent".to_owned(), "unknown host".to_owned());
        return Who { session, agent, person: None, host, pid: 0, task: String::new(), since };
    };
    let (agent, person) = (r.agent.clone(), r.person().map(str::to_owned));
    Who { session, agent, person, host: r.host_name.clone(), pid: r.pid, task: r.task.clone(), since }
}

pub(crate) fn current(view: &SharedView) -> Arc<View> {
    view.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Reads the fleet anew.
pub(crate) async fn refresh(fleet: &Fleet, view: &SharedView) {
    match fleet.overview().await {
        Ok(all) => show(view, all),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "look at the fleet"),
    }
}

pub(crate) fn show(view: &SharedView, all: Overview) {
    *view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(View::of(all));
}

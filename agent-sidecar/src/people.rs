//! People are sessions too (X14, docs/adr/0029): a change that no agent's call and nothing an agent left running can have made is
//! somebody's save. Work trees are looked at when the system tells of a change and when a call begins or ends that may write
//! anything; between two such looks lies a window. What is not provably a person's is nobody's. What a save leads to is
//! `saves`; what a window accounts for, `window`; which files are an editor's own, `editors`.

mod editors;
mod saves;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rr_core::content::Content;
use rr_core::path::RepoPath;
use rr_core::time::BootTime;
use rr_git::Dirty;
use rr_journal::FileChange;

use crate::processes::survivors;
use crate::repos::Repo;
use crate::service::Service;
use crate::snapshots::{Before, repo_path};
use crate::table::{AgentKey, AgentSession, InFlight};
use window::{Accounted, Stood, Window};

/// With more that differs from the last commit, a work tree is not looked at for saves: each of those files would have to be kept.
const DIRTY_MAX: usize = 2_000;

/// The work trees that are looked at for saves, and when each person last saved.
#[derive(Default)]
pub(crate) struct People {
    windows: Mutex<BTreeMap<PathBuf, Arc<Window>>>,
    last_save: Mutex<HashMap<AgentKey, BootTime>>,
}

/// A work tree as git told of it at one moment.
pub(crate) struct Glance {
    pub now: Dirty,
    /// When git was asked.
    pub at: BootTime,
    /// Something that an agent has started may have been writing then.
    pub left_running: bool,
}

/// Keeps a work tree from being looked at while the product's own hand writes there.
pub(crate) struct OwnHand {
    window: Arc<Window>,
    _held: tokio::sync::OwnedMutexGuard<Option<Stood>>,
}

impl OwnHand {
    /// What it has written by now is nobody's save.
    pub(crate) fn wrote(&self, files: impl Iterator<Item = (PathBuf, Content)>, now: BootTime) {
        self.window.over(false, std::iter::empty(), files, now);
    }
}

impl People {
    fn window(&self, repo: &Arc<Repo>) -> Arc<Window> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Window::new(repo.clone()));
        windows.entry(repo.tree.root.clone()).or_insert_with(new).clone()
    }

    fn windows(&self) -> Vec<Arc<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Nobody works in this tree any more.
    pub(crate) fn forget(&self, root: &Path) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).remove(root);
    }

    /// From here on calls are noted for this work tree: before the first look at it begins.
    pub(crate) fn expect_a_look(&self, repo: &Arc<Repo>) {
        self.window(repo);
    }

    /// A call has begun. It is among those under way already.
    pub(crate) fn call_begins(&self, flight: &InFlight, now: BootTime) {
        for window in self.windows() {
            let any = may_write_anything(flight, &window.repo);
            window.begins(any, named(flight, &window.repo), now);
        }
    }

    /// A call was over then, and this is what it changed.
    pub(crate) fn call_left(&self, flight: &InFlight, changes: &[FileChange], then: BootTime) {
        for window in self.windows() {
            let any = may_write_anything(flight, &window.repo);
            let here = changes.iter().filter(|change| change.root == window.repo.tree.root);
            let left = here.map(|change| (change.path.as_path().to_owned(), change.after));
            window.over(any, named(flight, &window.repo), left, then);
        }
    }

    /// The product's own hand is about to write in a work tree: until it has, nobody looks there.
    pub(crate) async fn own_hand(&self, repo: &Arc<Repo>) -> OwnHand {
        let window = self.window(repo);
        OwnHand { _held: window.stood.clone().lock_owned().await, window }
    }
}

impl Service {
    /// Looks at a work tree for saves.
    pub(crate) async fn see_saves(self: &Arc<Self>, repo: &Arc<Repo>) {
        self.see_saves_but(repo, None).await;
    }

    /// The same at the end of a call that may write anything and does not count any more, by a look that was taken then. If somebody
    /// has looked since, while the call still counted, there is another look: what is saved from now on is nobody's else.
    pub(crate) async fn see_saves_after(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        glance: Glance,
        over: (&AgentSession, &str),
    ) {
        if !self.see_saves_by(repo, glance, Some(over)).await {
            self.see_saves_but(repo, Some(over)).await;
        }
    }

    async fn see_saves_but(self: &Arc<Self>, repo: &Arc<Repo>, over: Option<(&AgentSession, &str)>) {
        self.people.expect_a_look(repo);
        if repo.tree.is_landing() {
            return;
        }
        let (at, left_running) = (self.now(), self.is_anything_left_running(repo).await);
        let looked = repo.clone();
        if let Ok(Ok(now)) = tokio::task::spawn_blocking(move || looked.tree.dirty()).await {
            self.see_saves_by(repo, Glance { now, at, left_running }, over).await;
        }
    }

    /// The same with a look that was taken already. `over`: a call that does not count any more. False: somebody has looked since.
    pub(crate) async fn see_saves_by(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        glance: Glance,
        over: Option<(&AgentSession, &str)>,
    ) -> bool {
        let window = self.people.window(repo);
        let mut stood = window.stood.lock().await;
        let is_newer = stood.as_ref().is_none_or(|stood| stood.at <= glance.at);
        // A landing that has begun meanwhile has moved files that were looked at already.
        if is_newer && !repo.tree.is_landing() {
            self.turn(&window, &mut stood, glance, over).await;
        }
        is_newer
    }

    /// One window ends with a look, and the next one begins.
    async fn turn(
        self: &Arc<Self>,
        window: &Arc<Window>,
        stood: &mut Option<Stood>,
        Glance { now, at, left_running }: Glance,
        over: Option<(&AgentSession, &str)>,
    ) {
        let repo = &window.repo;
        if now.paths().count() > DIRTY_MAX {
            *stood = None;
            return;
        }
        let accounted = window.accounted();
        let before = stood.as_ref().and_then(|stood| stood.before.as_ref());
        if let Some(before) = before.filter(|_| !accounted.any && !self.may_be_shared(repo))
            && let Err(why) = self.attribute(window, before, &accounted, &now).await
        {
            // What could not be told now is in the window that goes on.
            tracing::debug!(why, root = %repo.tree.root.display(), "tell a person's save");
            return;
        }
        window.turn(at, || self.under_way(repo, left_running, over));
        self.give_back_committed(repo, &now).await;
        let (snapshots, kept) = (self.snapshots.clone(), repo.clone());
        let keep = move || snapshots.keep_standing(kept, now);
        let before = if window.accounted().any { None } else { tokio::task::spawn_blocking(keep).await.ok() };
        *stood = Some(Stood { before, at });
    }

    /// What is under way in a repository, but for one call.
    fn under_way(&self, repo: &Repo, left_running: bool, over: Option<(&AgentSession, &str)>) -> Accounted {
        let mut all = Accounted { any: left_running || self.may_be_shared(repo), ..Accounted::default() };
        for who in self.all() {
            let inner = who.lock();
            let is_here = Path::new(&inner.record.workspace).starts_with(&repo.tree.root);
            for (id, flight) in inner.in_flight.iter().filter(|(_, flight)| flight.may_change) {
                if over.is_some_and(|(by, call)| by.sid() == who.sid() && call == id) {
                    continue;
                }
                // What an earlier life let through is not known by name.
                let unknown = flight.earlier.is_some() || id == crate::table::EARLIER_CALL;
                all.any |= may_write_anything(flight, repo) || (unknown && is_here);
                all.named.extend(named(flight, repo));
            }
        }
        all
    }

    /// Whether sessions of another machine work in a folder of this name: it may be this one, over a network file system, and what they
    /// change here is no call that we know of.
    fn may_be_shared(&self, repo: &Repo) -> bool {
        self.view
            .any_session(|record| record.host != self.host && Path::new(&record.workspace).starts_with(&repo.tree.root))
    }

    /// Whether something runs that an agent's shell has started here: it may write at any time.
    pub(crate) async fn is_anything_left_running(&self, repo: &Repo) -> bool {
        let calls = |who: &Arc<AgentSession>| {
            who.lock().in_flight.values().filter(|flight| may_write_anything(flight, repo)).count()
        };
        if self.all().iter().map(calls).sum::<usize>() > 1 {
            // Whichever of them is over: another one is not.
            return true;
        }
        let here = |who: &&Arc<AgentSession>| Path::new(&who.lock().record.workspace).starts_with(&repo.tree.root);
        let all = self.all();
        let marks: Vec<String> =
            all.iter().filter(here).map(|who| format!("RAILROAD_SESSION={}", who.key.session)).collect();
        let look = move || {
            let nobody = crate::processes::Process { pid: 0, start: 0 };
            !marks.is_empty() && !survivors(&BTreeSet::new(), nobody, &marks).is_empty()
        };
        // Who cannot look must take it for running.
        tokio::task::spawn_blocking(look).await.unwrap_or(true)
    }
}

/// Whether a call may write in this repository what it does not name.
fn may_write_anything(flight: &InFlight, repo: &Repo) -> bool {
    flight.before.tree.as_ref().is_some_and(|tree| tree.repo.id == repo.id)
}

/// The files of a work tree that a call names.
fn named(flight: &InFlight, repo: &Repo) -> impl Iterator<Item = PathBuf> {
    let root = repo.tree.root.clone();
    let below = flight.before.named_files().filter_map(move |file| file.strip_prefix(&root).ok().map(Path::to_owned));
    below.collect::<Vec<_>>().into_iter()
}

/// The files that differ from how they stood and that no call accounts for.
fn unaccounted(stood: &Before, accounted: &Accounted, now: &Dirty, repo: &Repo) -> Vec<RepoPath> {
    let Some(tree) = &stood.tree else { return Vec::new() };
    let changed = tree.dirty.changed_until(now, &repo.tree.root);
    let mut files: BTreeSet<PathBuf> = changed.into_iter().collect();
    files.extend(accounted.left.keys().cloned());
    let ours = |file: &PathBuf| editors::may_be_a_save(file) && !accounted.named.contains(file);
    files.into_iter().filter(ours).filter_map(|file| repo_path(&file)).collect()
}

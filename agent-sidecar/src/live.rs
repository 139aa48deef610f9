//! The work trees of this machine's sessions, looked at whenever something in them changes: what stands there goes to the store as
//! a change set, and what the watcher finds about it is told to whoever works there. It is beside the calls, never on their
//! path. How a look becomes a change set is `live/made`; what wakes it up is `live/watching`; what is told, `live/telling`.

mod made;
mod makers;
mod recall;
mod telling;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rr_core::id::{CommitId, ObjectId, SessionId};
use rr_core::live::{ChangeSet, Rest, TreeKey};
use rr_core::path::RepoPath;
use rr_fleet::{FleetError, LiveLease};
use rr_runtime::trouble::Trouble;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::repos::Repo;
use crate::service::Service;
use crate::table::AgentSession;
use made::{Calls, Maker};
use makers::Touched;
pub(crate) use telling::Telling;
use watching::Watching;

/// Without a reason to look, a tree whose changes the system does not tell is looked at this often (G19).
const SCAN_EVERY: Duration = Duration::from_secs(30);
/// And one whose changes it does tell: what it may have missed.
const TRUST_FOR: Duration = Duration::from_secs(300);
/// Two looks that found the same, this far apart, are of a tree at rest.
const REST: Duration = Duration::from_millis(1_500);
/// Writes come in bursts: looked at once.
const GATHER: Duration = Duration::from_millis(150);
/// Looking takes at most one part in so many of a core, however large the tree.
const REST_PER_LOOK: u32 = 8;
/// How often sessions are looked through for new work trees.
const TICK: Duration = Duration::from_secs(1);

/// What calls leave for the looking: which trees they have changed.
#[derive(Default)]
pub(crate) struct Live {
    wake: Notify,
    touched: Mutex<BTreeSet<PathBuf>>,
    /// Files that calls have changed since the last look, in each work tree.
    changed: Mutex<BTreeMap<PathBuf, Touched>>,
    watching: Watching,
    /// Trees of this machine whose contents other machines need.
    wanted: Mutex<BTreeSet<String>>,
    all_due: AtomicBool,
}

impl Live {
    /// A call in this work tree is over.
    fn call_over(&self, root: &Path) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(root.to_owned());
        self.wake.notify_one();
    }

    /// A call of this session has changed a file of this work tree.
    pub(crate) fn changed_by(&self, root: &Path, path: &RepoPath, by: &SessionId) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.entry(root.to_owned()).or_default().entry(path.clone()).or_default().insert(by.clone());
    }

    fn take_changed(&self, root: &Path) -> Touched {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).remove(root).unwrap_or_default()
    }

    fn is_wanted(&self, tree: &str) -> bool {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(tree)
    }

    /// Whether a call in this work tree has ended since that was last asked.
    fn is_touched(&self, root: &Path) -> bool {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).contains(root)
    }

    fn take_touched(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One work tree that somebody works in.
struct Tree {
    repo: Arc<Repo>,
    key: TreeKey,
    maker: Arc<Maker>,
    watched: bool,
    /// When it is looked at next.
    due: Instant,
    looked: Option<Looked>,
    /// A call in it has ended since.
    call_over: bool,
    /// As the store has it.
    told: Option<ChangeSet>,
    /// As other machines can fetch it.
    sent: Option<ObjectId>,
    /// What stood there when it was looked at for saves: its contents, and the last commit.
    seen: Option<(ObjectId, Option<CommitId>)>,
}

#[derive(Clone, Copy)]
struct Looked {
    at: Instant,
    took: Duration,
}

impl Service {
    /// Looks at work trees until shutdown.
    pub(crate) async fn follow_trees(self: Arc<Self>, shutdown: CancellationToken) {
        let mut trees = BTreeMap::<PathBuf, Tree>::new();
        let mut lease = None;
        let mut trouble = Trouble::with("tell the store of work trees");
        while !shutdown.is_cancelled() {
            let next =
                trees.values().map(|t| t.due).min().map_or(TICK, |due| due.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.live.wake.notified() => {}
                () = tokio::time::sleep(next.min(TICK)) => {}
            }
            self.end_idle_people().await;
            self.enrol_trees(&mut trees);
            self.note_wakes(&mut trees);
            match self.look_at_due(&mut trees, &mut lease).await {
                Ok(()) => trouble.worked(),
                Err(error) => {
                    let wait = trouble.failed(&rr_runtime::errors::chain(&error));
                    let _ = tokio::time::timeout(wait.as_std(), shutdown.cancelled()).await;
                }
            }
        }
    }

    /// New sessions bring new work trees; where nobody works any more nothing is looked at.
    fn enrol_trees(&self, trees: &mut BTreeMap<PathBuf, Tree>) {
        let mut found = BTreeMap::new();
        for who in self.all() {
            let (workspace, mut roots) = {
                let inner = who.lock();
                if inner.ended {
                    continue;
                }
                (PathBuf::from(&inner.record.workspace), inner.tips.keys().cloned().collect::<Vec<_>>())
            };
            roots.push(workspace);
            for folder in roots {
                if let Ok(Some(repo)) = self.repos.around(&folder) {
                    found.entry(repo.tree.root.clone()).or_insert(repo);
                }
            }
        }
        trees.retain(|root, tree| {
            let stays = found.contains_key(root);
            if !stays {
                self.live.watching.forget(root);
                self.people.forget(root);
                tree.maker.forget();
            }
            stays
        });
        for (root, repo) in found {
            if trees.contains_key(&root) {
                continue;
            }
            let key = TreeKey { host: self.host.clone(), tree: repo.tag().to_owned() };
            match Maker::open(&self.mirrors, &repo, key.clone()) {
                Ok(maker) => {
                    let tree = Tree {
                        repo,
                        key,
                        maker: Arc::new(maker),
                        watched: false,
                        due: Instant::now(),
                        looked: None,
                        call_over: false,
                        told: None,
                        sent: None,
                        seen: None,
                    };
                    trees.insert(root, tree);
                }
                Err(error) => {
                    tracing::warn!(root = %root.display(), error = &error as &dyn std::error::Error, "look at a work tree");
                }
            }
        }
    }

    fn note_wakes(&self, trees: &mut BTreeMap<PathBuf, Tree>) {
        let now = Instant::now();
        if self.live.all_due.swap(false, Ordering::Relaxed) {
            trees.values_mut().for_each(|tree| tree.due = tree.due.min(tree.not_before(now)));
        }
        for root in self.live.take_touched() {
            if let Some(tree) = trees.get_mut(&root) {
                tree.call_over = true;
                tree.due = tree.due.min(tree.not_before(now));
            }
        }
        for root in self.live.watching.take_changed() {
            if let Some(tree) = trees.get_mut(&root) {
                tree.due = tree.due.min(tree.not_before(now + GATHER));
            }
        }
    }

    async fn look_at_due(
        self: &Arc<Self>,
        trees: &mut BTreeMap<PathBuf, Tree>,
        lease: &mut Option<LiveLease>,
    ) -> Result<(), FleetError> {
        let lease = self.live_lease(lease).await?;
        let gone: Vec<TreeKey> = lease.keys().filter(|key| !trees.values().any(|t| t.key == **key)).cloned().collect();
        for key in gone {
            self.fleet.drop_live(lease, &key).await?;
        }
        let roots: Vec<PathBuf> =
            trees.iter().filter(|(_, t)| t.due <= Instant::now()).map(|(r, _)| r.clone()).collect();
        for root in roots {
            if let Some(tree) = trees.get_mut(&root) {
                self.look_at(tree, lease).await?;
            }
        }
        Ok(())
    }

    /// One look. What cannot be looked at is said once in the log, and tried again.
    async fn look_at(self: &Arc<Self>, tree: &mut Tree, lease: &mut LiveLease) -> Result<(), FleetError> {
        let began = Instant::now();
        let (busy, writers) = self.at_work_in(tree);
        let changed = self.live.take_changed(&tree.repo.tree.root);
        let calls = Calls { busy, over: std::mem::take(&mut tree.call_over), changed, journal: self.journal.reader() };
        let (maker, repo) = (tree.maker.clone(), tree.repo.clone());
        let branch = repo.config().0.health.branch.clone();
        let made = tokio::task::spawn_blocking(move || maker.look(&repo, branch.as_deref(), calls, writers)).await;
        tree.looked = Some(Looked { at: began, took: began.elapsed() });
        let every = if tree.watched { TRUST_FOR } else { SCAN_EVERY };
        tree.due = tree.not_before(Instant::now() + every);
        let mut made = match made {
            Ok(Ok(Some(made))) => made,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(root = %tree.repo.tree.root.display(), error = &error as &dyn std::error::Error, "look at a work tree");
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        // What began or ended during the look may be half in it.
        if (!busy && self.at_work_in(tree).0) || self.live.is_touched(&tree.repo.tree.root) {
            made.set.rest = Rest::InFlux;
        }
        if made.again {
            tree.due = tree.not_before(Instant::now() + REST);
        }
        let stands = (made.set.tree.clone(), made.set.head.clone());
        if tree.seen.as_ref() != Some(&stands) {
            self.see_saves(&tree.repo).await;
            tree.seen = Some(stands);
            tree.looked = Some(Looked { at: began, took: began.elapsed() });
        }
        tree.watched = self.live.watching.watch(&tree.repo.tree.root, &made.folders);
        if tree.told.as_ref() != Some(&made.set) {
            self.fleet.put_live(lease, &tree.key, &made.set).await?;
            tree.told = Some(made.set);
        }
        self.send(tree, lease).await
    }

    /// Shows other machines what stands there, if one of them needs it.
    async fn send(&self, tree: &mut Tree, lease: &mut LiveLease) -> Result<(), FleetError> {
        let Some((set, remote)) = tree.told.as_ref().and_then(|set| Some((set, set.remote.clone()?))) else {
            return Ok(());
        };
        if tree.sent.as_ref() == Some(&set.tree) || !self.live.is_wanted(&tree.key.tree) {
            return Ok(());
        }
        let (maker, contents) = (tree.maker.clone(), set.tree.clone());
        if let Ok(Ok(true)) = tokio::task::spawn_blocking(move || maker.send(&remote)).await {
            self.fleet.sent_live(lease, &tree.key, &contents).await?;
            tree.sent = Some(contents);
        }
        Ok(())
    }

    /// Follows which of this machine's trees others need, until shutdown.
    pub(crate) async fn follow_wanted(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.note_wanted() => {}
            }
            let _ = tokio::time::timeout(TICK, shutdown.cancelled()).await;
        }
    }

    /// Until the store does not answer.
    async fn note_wanted(&self) {
        let Ok(mut follower) = self.fleet.follow_wanted(&self.host).await else { return };
        while let Ok(wanted) = follower.next().await {
            *self.live.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted.into_iter().collect();
            self.live.all_due.store(true, Ordering::Relaxed);
            self.live.wake.notify_one();
        }
    }

    async fn live_lease<'a>(&self, lease: &'a mut Option<LiveLease>) -> Result<&'a mut LiveLease, FleetError> {
        let alive = match lease.as_mut() {
            Some(lease) => self.fleet.renew_live(lease).await?,
            None => false,
        };
        if !alive {
            *lease = Some(self.fleet.keep_live(&self.host).await?);
        }
        Ok(lease.as_mut().unwrap_or_else(|| unreachable!("just made")))
    }

    /// A call of this session, which may have changed something, is over.
    pub(crate) fn look_again(&self, who: &AgentSession) {
        let (workspace, unsaved) = {
            let inner = who.lock();
            (PathBuf::from(&inner.record.workspace), inner.unsaved.clone())
        };
        let home = self.repos.around(&workspace).ok().flatten().map(|repo| repo.tree.root.clone());
        home.into_iter().chain(unsaved).for_each(|root| self.live.call_over(&root));
    }

    /// Whether a call that may change something is under way there, and who works there.
    fn at_work_in(&self, tree: &Tree) -> (bool, Vec<SessionId>) {
        let (mut busy, mut writers) = (false, Vec::new());
        for who in self.all() {
            let inner = who.lock();
            if inner.ended || !Path::new(&inner.record.workspace).starts_with(&tree.repo.tree.root) {
                continue;
            }
            busy |= inner.may_change_in_flight() > 0;
            writers.push(who.sid().clone());
        }
        writers.sort();
        (busy, writers)
    }
}

impl Tree {
    /// The first moment from `at` on that the last look's cost allows.
    fn not_before(&self, at: Instant) -> Instant {
        self.looked.map_or(at, |last| at.max(last.at + last.took * REST_PER_LOOK))
    }
}

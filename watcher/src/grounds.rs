//! The repositories that this watcher can merge and check, each with its mirror, its folders on this machine and what its file says of
//! health. A repository that no work tree of this machine belongs to is fetched from where the others push it to.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
use rr_core::incident::{Line, Place};
use rr_core::live::Target;
use rr_git::{Mirror, MirrorError, Worktree};
use rr_runtime::config::{Health, LastGood};

use crate::scene::Scene;

/// One repository.
#[derive(Clone)]
pub(crate) struct Ground {
    pub repo: RepoId,
    pub mirror: Mirror,
    /// Work trees of it on this machine, the main one first.
    pub trees: Vec<Worktree>,
    /// Where hosts push to, if they do.
    pub remote: Option<String>,
    /// The branch that everybody builds on.
    pub branch: Option<String>,
    /// The tree whose `.gitattributes` say how files are merged: the target's, as somebody last saw it.
    pub attributes: Option<ObjectId>,
    pub health: Health,
}

pub(crate) struct Grounds {
    host: HostId,
    mirrors: PathBuf,
    /// Remote repositories are asked only in a fleet of several machines: one machine's own work never leaves it.
    asks_remotes: bool,
    files: Mutex<HashMap<PathBuf, LastGood>>,
    known: Mutex<HashMap<RepoId, (Seen, Arc<Ground>)>>,
    /// Where branches of clones stood, and their files then.
    tips: Mutex<HashMap<Line, Stood>>,
}

impl Grounds {
    pub(crate) fn new(host: HostId, mirrors: PathBuf, asks_remotes: bool) -> Self {
        Self { host, mirrors, asks_remotes, files: Mutex::default(), known: Mutex::default(), tips: Mutex::default() }
    }

    /// The repository as it can be worked with now. The same as before costs a look at its file.
    ///
    /// # Errors
    /// If its mirror can not be opened: then nothing of it is compared or checked.
    pub(crate) fn of(&self, repo: &RepoId, scene: &Scene) -> Result<Option<Arc<Ground>>, MirrorError> {
        let seen = Seen::of(repo, scene, self);
        let before = self.known().get(repo).cloned();
        if let Some((known, ground)) = &before
            && *known == seen
            && ground.health == self.health_of(&ground.trees)
        {
            return Ok(Some(ground.clone()));
        }
        let mut trees: Vec<Worktree> = Vec::new();
        for root in &seen.roots {
            if let Ok(Some(tree)) = Worktree::discover(Path::new(root))
                && !trees.contains(&tree)
            {
                trees.push(tree);
            }
        }
        trees.sort_by_key(|tree| tree.git_dir != tree.common_dir);
        let dir = self.mirrors.join(format!("{repo}.git"));
        let mirror = match (before, trees.first(), &seen.remote) {
            (Some((_, ground)), ..) => ground.mirror.clone(),
            (None, Some(tree), _) => Mirror::open(&dir, tree)?,
            (None, None, Some(remote)) => Mirror::open_from(&dir, remote)?,
            (None, None, None) => return Ok(None),
        };
        for tree in &trees {
            mirror.borrow_from(tree)?;
        }
        let health = self.health_of(&trees);
        let ground = Arc::new(Ground {
            repo: repo.clone(),
            trees,
            remote: seen.remote.clone(),
            branch: health.branch.clone().or_else(|| seen.target.as_ref().map(|t| t.branch.clone())),
            // A commit that is only on another machine yet says nothing here.
            attributes: seen.target.as_ref().and_then(|target| mirror.prefix(&target.commit).ok()),
            mirror,
            health,
        });
        self.known().insert(repo.clone(), (seen, ground.clone()));
        Ok(Some(ground))
    }

    fn health_of(&self, trees: &[Worktree]) -> Health {
        trees.first().map(|tree| self.health(&tree.root)).unwrap_or_default()
    }

    /// What the repository's file says, as a person last wrote it: agents may not write it.
    fn health(&self, root: &Path) -> Health {
        let mut files = self.files();
        let file = files.entry(root.to_owned()).or_insert_with(|| LastGood::new(root));
        file.current().0.health.clone()
    }

    /// Where a line stands now, its commits in the mirror. A clone whose refs have not moved is not asked again.
    ///
    /// # Errors
    /// If git cannot be asked, or the remote does not answer.
    pub(crate) fn stands(&self, ground: &Ground, line: &Line) -> Result<Option<CommitId>, MirrorError> {
        let place = match (&line.place, self.place(line)) {
            (Place::Remote { url }, _) => return ground.mirror.fetch_branch(url, &line.branch),
            (Place::Clone { .. }, None) => return Ok(None),
            (Place::Clone { .. }, Some(place)) => place,
        };
        let rr_git::Place::Local { clone, branch } = &place else { return ground.mirror.stands(&place) };
        let now = stamps(&clone.common_dir, branch);
        let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, tip)) = tips.get(line)
            && *then == now
        {
            return Ok(Some(tip.clone()));
        }
        let tip = ground.mirror.stands(&place)?;
        match &tip {
            Some(tip) => drop(tips.insert(line.clone(), (now, tip.clone()))),
            None => drop(tips.remove(line)),
        }
        Ok(tip)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RepoId, (Seen, Arc<Ground>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, LastGood>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The branches of a repository that this watcher looks after: the one at the remote where hosts push to one, else the one of each
    /// clone here. With a remote a clone's own branch is work that is not shared yet: a break of it would be reverted twice.
    pub(crate) fn lines(&self, ground: &Ground) -> Vec<Line> {
        let Some(branch) = &ground.branch else { return vec![] };
        let line = |place| Line { repo: ground.repo.clone(), place, branch: branch.clone() };
        if let Some(url) = &ground.remote {
            return vec![line(Place::Remote { url: url.clone() })];
        }
        let mut clones: Vec<&Worktree> = Vec::new();
        for tree in &ground.trees {
            if !clones.iter().any(|known| known.common_dir == tree.common_dir) {
                clones.push(tree);
            }
        }
        let place = |tree: &Worktree| Place::Clone { host: self.host.clone(), root: tree.root.display().to_string() };
        clones.into_iter().map(|tree| line(place(tree))).collect()
    }

    /// Where git can act on a line. `None`: its clone is on another host, or gone.
    pub(crate) fn place(&self, line: &Line) -> Option<rr_git::Place> {
        match &line.place {
            Place::Remote { url } => Some(rr_git::Place::Remote { url: url.clone(), branch: line.branch.clone() }),
            Place::Clone { host, root } if *host == self.host => {
                let clone = Worktree::discover(Path::new(root)).ok().flatten()?;
                Some(rr_git::Place::Local { clone, branch: line.branch.clone() })
            }
            Place::Clone { .. } => None,
        }
    }
}

/// What of the picture a repository is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    roots: BTreeSet<String>,
    remote: Option<String>,
    target: Option<Target>,
}

impl Seen {
    fn of(repo: &RepoId, scene: &Scene, grounds: &Grounds) -> Self {
        let mut seen = Self { roots: BTreeSet::new(), remote: None, target: None };
        for (key, set) in scene.of(repo) {
            seen.remote = seen.remote.or_else(|| set.remote.clone().filter(|_| grounds.asks_remotes));
            seen.target = seen.target.or_else(|| set.target.clone());
            if key.host == grounds.host {
                seen.roots.insert(set.root.clone());
            }
        }
        seen
    }
}

/// A branch as it stood, and its files then.
type Stood = (Vec<Option<Stamp>>, CommitId);

/// A file as far as a change of it shows without reading it.
type Stamp = (i64, i64, u64, u64);

/// The files that a clone's branch is in, in each of git's formats.
fn stamps(common: &Path, branch: &str) -> Vec<Option<Stamp>> {
    let loose = Path::new("refs/heads").join(branch);
    let files = [loose.as_path(), Path::new("packed-refs"), Path::new("reftable/tables.list")];
    let stamp = |file: &&Path| {
        let meta = std::fs::metadata(common.join(file)).ok()?;
        Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()))
    };
    files.iter().map(stamp).collect()
}

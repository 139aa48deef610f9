//! What stood before a call, kept before it may run, and what the call made of it (R17, G22). Files that it names are kept one
//! by one; for what it may change besides, every file that differs from the last commit is kept, each once a version, and the
//! rest is in that commit. The bytes are `rr_git`'s vault's; whose a change is, `aftermath` says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rr_core::content::Content;
use rr_core::path::RepoPath;
use rr_core::scope::Scope;
use rr_git::{Contents as _, Dirty, Stamp, Vault, VaultError, Worktree};
use rr_journal::{FileChange, Kept};

use crate::effects::Effects;
use crate::record::kept;
use crate::repos::{Place, Repo, Repos};

/// Files that git ignores and a command may change with a whole folder: what can be made anew is not kept without bound.
const IGNORED_KEPT_MAX: usize = 2_000;
const IGNORED_BYTES_MAX: u64 = 64 << 20;
/// Contents taken over after a call; the rest follows within a minute.
const ADOPT_AT_ONCE_MAX: usize = 64;
/// A wall clock that went so much otherwise than time does was set meanwhile.
const CLOCK_SET: Duration = Duration::from_secs(1);
/// A file is dated by the kernel's last tick (10 ms apart at the most): one that looks so little older than a call may be its own.
const TICK: Duration = Duration::from_millis(20);
/// Files that are looked at for a command that outlived its sidecar: a start must not read a whole tree.
pub(crate) const FOUND_MAX: usize = 1_000;

/// The machine's snapshot store, and what it was last given of each work tree. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Snapshots {
    pub vault: Vault,
    last: Arc<LastKept>,
    /// The same for looks that no entry tells of: a call must name in its own what it found.
    stood: Arc<LastKept>,
    /// Clones whose objects the store looks into: asked once.
    borrowed: Arc<Mutex<HashSet<PathBuf>>>,
}

/// What was there before a call.
#[derive(Clone, Default)]
pub(crate) struct Before {
    /// The files that it names, or that stand under a folder it names.
    named: Vec<(Place, Content)>,
    pub tree: Option<TreeBefore>,
    newly: Vec<Kept>,
}

/// A work tree before a call that may change more than it names.
#[derive(Clone)]
pub(crate) struct TreeBefore {
    pub repo: Arc<Repo>,
    pub dirty: Arc<Dirty>,
    /// What differed from the last commit, relative to the work tree.
    contents: Arc<HashMap<PathBuf, Content>>,
    /// When the call began.
    began: Began,
    /// Changed already when this was looked at: the call began in an earlier life of the sidecar.
    pub found: Arc<Vec<PathBuf>>,
}

/// A moment by the clock that files are dated with, and by one that nobody sets.
#[derive(Clone, Copy)]
pub(crate) struct Began {
    wall: SystemTime,
    /// None for a moment of an earlier life.
    steady: Option<Instant>,
}

impl Began {
    fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Some(Instant::now()) }
    }

    pub(crate) fn at_unix_ms(ms: u64) -> Self {
        Self { wall: SystemTime::UNIX_EPOCH + Duration::from_millis(ms), steady: None }
    }

    /// Whether the clock was not set since.
    fn is_steady(&self) -> bool {
        let by_wall = self.wall.elapsed().unwrap_or_default();
        self.steady.is_none_or(|steady| by_wall.abs_diff(steady.elapsed()) < CLOCK_SET)
    }

    fn is_after(&self, dated: SystemTime) -> bool {
        dated + TICK < self.wall
    }

    /// What stood where git knew of nothing. That is not always nothing: a file that git ignored, and ignores no more, was there; one that
    /// is older than the call and was moved here from where git sees nothing must not be removed as if the call had made it.
    fn unheard_of(&self, disk: &Path, now: Content, gone: &Gone) -> Content {
        let Ok(meta) = disk.symlink_metadata() else { return Content::Absent };
        let nanos = u32::try_from(meta.ctime_nsec()).unwrap_or_default();
        let changed = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(meta.ctime()).unwrap_or_default(), nanos);
        match meta.created() {
            Ok(made) if self.is_steady() && self.is_after(made) && !gone.may_be(disk, now) => {
                if self.is_after(changed) { now } else { Content::Unkept }
            }
            // Where the disk does not say when a file was made, it was the call.
            _ => Content::Absent,
        }
    }
}

impl Began {
    /// The folders that the call made for files of its own: they go with them. One that is `known` is on record already, and one that
    /// may be older than the call is not its own.
    fn made_above<'p>(
        &self,
        root: &Path,
        files: impl Iterator<Item = &'p Path>,
        known: &HashSet<&Path>,
    ) -> BTreeSet<&'p Path> {
        let mut made = BTreeSet::new();
        let is_made = |folder: &&Path| {
            let meta = root.join(folder).symlink_metadata().ok().filter(std::fs::Metadata::is_dir);
            meta.and_then(|meta| meta.created().ok()).is_some_and(|at| !self.is_after(at))
        };
        for file in files.filter(|_| self.is_steady()) {
            let above = file.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
            let new = above.take_while(|folder| !made.contains(*folder) && !known.contains(*folder) && is_made(folder));
            made.extend(new.collect::<Vec<_>>());
        }
        made
    }
}

/// Files that a call took away from where they were known: one that is new elsewhere may be one of them.
struct Gone {
    contents: HashSet<Content>,
    names: HashSet<OsString>,
}

impl Gone {
    fn of<'a>(all: impl Iterator<Item = ((&'a &'a RepoPath, &'a Option<Content>), &'a Content)>) -> Self {
        let mut gone = Self { contents: HashSet::new(), names: HashSet::new() };
        for ((path, was), after) in all {
            if let (Some(was), Content::Absent) = (was, after) {
                gone.contents.insert(*was);
                gone.names.extend(path.as_path().file_name().map(OsStr::to_owned));
            }
        }
        gone
    }

    /// Moved as it was, or changed and moved with its folder.
    fn may_be(&self, disk: &Path, now: Content) -> bool {
        self.contents.contains(&now) || disk.file_name().is_some_and(|name| self.names.contains(name))
    }
}

impl Before {
    /// As an earlier life of the sidecar wrote it down.
    pub(crate) fn earlier(repos: &Repos, files: &[Kept]) -> Self {
        let place = |kept: &Kept| {
            let repo = repos.around(&kept.root).ok().flatten().filter(|r| r.tree.root == kept.root)?;
            let disk = kept.root.join(kept.path.as_path());
            Some((Place { repo, path: kept.path.clone(), disk }, kept.content))
        };
        Self { named: files.iter().filter_map(place).collect(), ..Self::default() }
    }

    /// With a work tree as it stands after that life, and what was last `known` of files that differ from the last commit there.
    /// One of which nothing is known was as committed. `not` its own: named by others that were at work too. Blocks.
    pub(crate) fn and_besides(
        mut self,
        snapshots: &Snapshots,
        repo: Arc<Repo>,
        dirty: Dirty,
        known: HashMap<PathBuf, Content>,
        not: &HashSet<PathBuf>,
        began: Began,
    ) -> Self {
        let now = |file: &Path| keep_in(&snapshots.vault, &repo.tree.root, file).unwrap_or(Content::Unkept);
        let changed = |file: &&Path| {
            !not.contains(&repo.tree.root.join(file)) && known.get(*file).is_none_or(|known| *known != now(file))
        };
        let found: Vec<PathBuf> = dirty.paths().take(FOUND_MAX).filter(changed).map(Path::to_owned).collect();
        self.tree =
            Some(TreeBefore { repo, dirty: Arc::new(dirty), contents: Arc::new(known), began, found: Arc::new(found) });
        self
    }

    /// What was found changed, as the repository names it.
    pub(crate) fn found(&self) -> Vec<RepoPath> {
        self.tree.iter().flat_map(|tree| tree.found.iter()).filter_map(|file| repo_path(file)).collect()
    }

    /// Where the files are that the call names.
    pub(crate) fn named_files(&self) -> impl Iterator<Item = &Path> {
        self.named.iter().map(|(place, _)| place.disk.as_path())
    }

    /// What was kept for this call and not for an earlier one.
    pub(crate) fn newly_kept(&self) -> Vec<Kept> {
        self.newly.clone()
    }
}

/// The last version of each file that was kept, by work tree: a file is read again only when it has changed.
#[derive(Default)]
struct LastKept(Mutex<HashMap<PathBuf, Versions>>);

/// By path below the work tree: how the file looked, and what it held.
type Versions = HashMap<PathBuf, (Option<Stamp>, Content)>;

impl LastKept {
    fn of(&self, root: &Path, file: &Path, stamp: Option<Stamp>) -> Option<Content> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, content) = known.get(root)?.get(file)?;
        (*seen == stamp).then_some(*content)
    }

    fn note(&self, root: &Path, dirty: &Dirty, contents: &HashMap<PathBuf, Content>) {
        let versions = contents.iter().map(|(file, content)| (file.clone(), (dirty.stamp(file), *content)));
        // What is clean by now need not be remembered.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(root.to_owned(), versions.collect());
    }
}

impl Snapshots {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault, last: Arc::default(), stood: Arc::default(), borrowed: Arc::default() }
    }

    /// Keeps what a call may change. Blocks: reads files, writes and waits for the disk.
    pub(crate) fn keep_before(&self, found: &Effects, tree: Option<(Arc<Repo>, Dirty)>) -> Result<Before, VaultError> {
        let mut before = Before::default();
        for place in &found.writes {
            self.borrow(&place.repo.tree);
            before.named.extend(absent_above(place));
            before.named.push((place.clone(), keep_place(&self.vault, place)?));
        }
        for place in ignored_below(found) {
            let content = keep_place(&self.vault, &place).unwrap_or(Content::Unkept);
            before.named.push((place, content));
        }
        before.newly = before.named.iter().map(|(p, content)| kept(&p.repo.tree.root, &p.path, *content)).collect();
        if let Some((repo, dirty)) = tree {
            self.borrow(&repo.tree);
            before.tree = Some(keep_tree(&self.vault, &self.last, repo, dirty, &mut before.newly));
        }
        Ok(before)
    }

    /// Keeps a work tree as it stands, for whoever compares it later. Blocks.
    pub(crate) fn keep_standing(&self, repo: Arc<Repo>, dirty: Dirty) -> Before {
        self.borrow(&repo.tree);
        let mut before = Before::default();
        before.tree = Some(keep_tree(&self.vault, &self.stood, repo, dirty, &mut before.newly));
        before
    }

    /// The same files as they stand now, for a call of which it is written down what it has done until now. Blocks.
    pub(crate) fn stands_again(&self, before: &Before) -> Before {
        let stands = |(place, _): &(Place, Content)| {
            let content = kept_after(&place.disk, keep_place(&self.vault, place));
            (place.clone(), content)
        };
        let mut again = Before { named: before.named.iter().map(stands).collect(), ..Before::default() };
        if let Some(tree) = &before.tree {
            match tree.repo.tree.dirty() {
                Ok(dirty) => again.tree = self.keep_standing(tree.repo.clone(), dirty).tree,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "look at a work tree again"),
            }
        }
        again
    }

    /// What became of files of a work tree since something has left them as it is said. Blocks.
    pub(crate) fn changes_since(
        &self,
        before: &Before,
        files: &[RepoPath],
        left: &HashMap<PathBuf, Content>,
    ) -> Vec<FileChange> {
        let Some(tree) = &before.tree else { return Vec::new() };
        let root = &tree.repo.tree.root;
        let change = |path: &RepoPath| {
            let file = path.as_path();
            let was = *left.get(file)?;
            let after = kept_after(&root.join(file), keep_in(&self.vault, root, file));
            let (root, path) = (root.clone(), path.clone());
            (after != was).then_some(FileChange { root, path, before: was, after, foreseen: false })
        };
        files.iter().filter_map(change).collect()
    }

    /// What is committed in a work tree's clone need not be stored a second time.
    pub(crate) fn borrow(&self, tree: &Worktree) {
        let first = self.borrowed.lock().unwrap_or_else(PoisonError::into_inner).insert(tree.common_dir.clone());
        if first && let Err(error) = self.vault.borrow_from(tree) {
            // Without it everything is kept as bytes of our own: slower, no less safe.
            tracing::debug!(error = &error as &dyn std::error::Error, "use a repository's own objects");
        }
    }

    /// What became of the files that a call named, and of those `touched` besides that are its own. Blocks.
    pub(crate) fn changes(&self, before: &Before, touched: &[RepoPath], now: Option<&Dirty>) -> Vec<FileChange> {
        let mut changes = Vec::new();
        for (place, was) in &before.named {
            let after = kept_after(&place.disk, keep_place(&self.vault, place));
            if after != *was {
                let (root, path) = (place.repo.tree.root.clone(), place.path.clone());
                changes.push(FileChange { root, path, before: *was, after, foreseen: true });
            }
        }
        if let Some(tree) = &before.tree {
            changes.extend(self.besides(before, tree, touched));
            if let Some(now) = now {
                self.note_kept(&tree.repo.tree.root, now, &changes);
            }
        }
        // At once: until then they are only as safe as the work repository.
        if let Err(error) = self.vault.adopt(ADOPT_AT_ONCE_MAX) {
            tracing::warn!(error = &error as &dyn std::error::Error, "take over contents");
        }
        changes
    }

    fn besides(&self, before: &Before, tree: &TreeBefore, touched: &[RepoPath]) -> Vec<FileChange> {
        let root = &tree.repo.tree.root;
        let named = before.named.iter().filter(|(place, _)| place.repo.tree.root == *root);
        let named: HashSet<&Path> = named.map(|(place, _)| place.path.as_path()).collect();
        let besides: Vec<&RepoPath> = touched.iter().filter(|path| !named.contains(path.as_path())).collect();
        let keep =
            |path: &&RepoPath| kept_after(&root.join(path.as_path()), keep_in(&self.vault, root, path.as_path()));
        let after: Vec<Content> = besides.iter().map(keep).collect();
        let earlier = earlier(&self.vault, tree, &besides);
        let gone = Gone::of(besides.iter().zip(&earlier).zip(&after));
        let mut changes = Vec::new();
        for ((path, was), after) in besides.into_iter().zip(earlier).zip(after) {
            let before = was.unwrap_or_else(|| tree.began.unheard_of(&root.join(path.as_path()), after, &gone));
            if after != before {
                changes.push(FileChange { root: root.clone(), path: path.clone(), before, after, foreseen: false });
            }
        }
        let made = changes.iter().filter(|change| change.before == Content::Absent).map(|change| change.path.as_path());
        let folders = tree.began.made_above(root, made, &named);
        let (before, after) = (Content::Absent, Content::Folder);
        let folder = |path| FileChange { root: root.clone(), path, before, after, foreseen: false };
        let folders: Vec<FileChange> = folders.into_iter().filter_map(repo_path).map(folder).collect();
        changes.extend(folders);
        changes
    }

    /// Remembers the versions that were kept, so that the next call need not keep them again.
    fn note_kept(&self, root: &Path, now: &Dirty, changes: &[FileChange]) {
        let here = changes.iter().filter(|change| change.root == *root);
        let changed: HashMap<&Path, Content> = here.map(|change| (change.path.as_path(), change.after)).collect();
        let content = |file: &Path| changed.get(file).copied().or_else(|| self.last.of(root, file, now.stamp(file)));
        let kept = now.paths().filter_map(|file| Some((file.to_owned(), content(file)?))).collect();
        self.last.note(root, now, &kept);
    }
}

fn keep_tree(vault: &Vault, last: &LastKept, repo: Arc<Repo>, dirty: Dirty, newly: &mut Vec<Kept>) -> TreeBefore {
    let (root, began) = (&repo.tree.root, Began::now());
    let mut contents = HashMap::new();
    for file in dirty.paths() {
        let known = last.of(root, file, dirty.stamp(file));
        // One that is being written at this moment is its writer's; it was kept before that.
        let content = known.unwrap_or_else(|| keep_in(vault, root, file).unwrap_or(Content::Unkept));
        if known.is_none()
            && let Some(path) = repo_path(file)
        {
            newly.push(kept(root, &path, content));
        }
        contents.insert(file.to_owned(), content);
    }
    last.note(root, &dirty, &contents);
    TreeBefore { repo, dirty: Arc::new(dirty), contents: Arc::new(contents), began, found: Arc::default() }
}

/// Folders that a call will make for its file: they go with it.
fn absent_above(place: &Place) -> Vec<(Place, Content)> {
    let root = &place.repo.tree.root;
    let Ok(file) = place.disk.strip_prefix(root) else { return Vec::new() };
    let spot = rr_core::rollback::Place { root: root.clone(), path: file.to_owned() };
    let folder = |folder: PathBuf| {
        let (repo, disk) = (place.repo.clone(), root.join(&folder));
        Some((Place { repo, path: repo_path(&folder)?, disk }, Content::Absent))
    };
    rr_git::absent_folders(&spot).into_iter().filter_map(folder).collect()
}

/// A file that stands somewhere in a work tree, by whatever name.
pub(crate) fn repo_path(file: &Path) -> Option<RepoPath> {
    RepoPath::found(std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str())).ok()
}

/// Files that git ignores, in the folders and patterns that a call names. Git says nothing of their contents later.
fn ignored_below(found: &Effects) -> Vec<Place> {
    let mut all = Vec::new();
    let mut bytes = 0;
    for (repo, claim) in &found.claims {
        let (folder, glob) = match &claim.scope {
            Scope::Path(path) => (path, None),
            Scope::Glob { folder, glob } => (folder, Some(glob)),
            Scope::Named(_) => continue,
        };
        let below = repo.tree.root.join(folder.as_path());
        for file in repo.tree.ignored_below(&below, IGNORED_KEPT_MAX).unwrap_or_default() {
            let Some(path) = repo_path(&file) else { continue };
            if glob.is_some_and(|g| !g.matches(path.key_parts().get(folder.key_parts().len()..).unwrap_or_default())) {
                continue;
            }
            let disk = repo.tree.root.join(&file);
            bytes += disk.symlink_metadata().map_or(0, |m| m.len());
            if all.len() >= IGNORED_KEPT_MAX || bytes > IGNORED_BYTES_MAX {
                tracing::info!(folder = %below.display(), "more ignored files than are kept");
                return all;
            }
            all.push(Place { repo: repo.clone(), path, disk });
        }
    }
    all
}

/// What stands at a file of a work tree, kept. No link is followed on the way: a folder that was swapped for one meanwhile leads
/// elsewhere (H23).
fn keep_in(vault: &Vault, root: &Path, file: &Path) -> Result<Content, VaultError> {
    vault.stands(&rr_core::rollback::Place { root: root.to_owned(), path: file.to_owned() })
}

fn keep_place(vault: &Vault, place: &Place) -> Result<Content, VaultError> {
    let root = &place.repo.tree.root;
    // A place is below its root: it was found that way.
    keep_in(vault, root, place.disk.strip_prefix(root).unwrap_or(place.path.as_path()))
}

fn kept_after(disk: &Path, kept: Result<Content, VaultError>) -> Content {
    kept.unwrap_or_else(|error| {
        tracing::warn!(file = %disk.display(), error = &error as &dyn std::error::Error, "keep what a call made");
        Content::Unkept
    })
}

/// What stood at paths before a call: what differed from the last commit was kept, the rest is in that commit. None: git knew of nothing.
fn earlier(vault: &Vault, tree: &TreeBefore, paths: &[&RepoPath]) -> Vec<Option<Content>> {
    let known = |path: &RepoPath| tree.contents.get(path.as_path()).copied();
    let clean: Vec<PathBuf> = paths.iter().filter(|p| known(p).is_none()).map(|p| p.as_path().to_owned()).collect();
    let put = if clean.is_empty() { None } else { put_earlier(vault, tree, &clean) };
    paths.iter().map(|path| known(path).or_else(|| put.as_ref()?.get(path.as_path()).copied())).collect()
}

fn put_earlier(vault: &Vault, tree: &TreeBefore, paths: &[PathBuf]) -> Option<HashMap<PathBuf, Content>> {
    let commit = tree.dirty.commit()?;
    let place = match tempfile::Builder::new().prefix("earlier-").tempdir_in(vault.dir()) {
        Ok(place) => place,
        Err(error) => {
            tracing::warn!(%error, "make room for files of the last commit");
            return Some(paths.iter().map(|p| (p.clone(), Content::Unkept)).collect());
        }
    };
    match tree.repo.tree.put_earlier(commit, paths, place.path()) {
        Ok(put) => {
            let stood = |file: &PathBuf| match kept_after(&put.files.join(file), vault.keep(&put.files.join(file))) {
                Content::Absent => Content::Unkept,
                stood => stood,
            };
            Some(put.had.iter().map(|file| (file.clone(), stood(file))).collect())
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "look at files of the last commit");
            Some(paths.iter().map(|p| (p.clone(), Content::Unkept)).collect())
        }
    }
}

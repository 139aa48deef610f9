//! Which repository a path belongs to, and how the path is called there. Paths are resolved as the kernel would, so a symlink
//! cannot smuggle a write out of the repository or give one file two names (H22-H24).

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rr_core::id::RepoId;
use rr_core::path::{PathError, RepoPath};
use rr_core::scope::{Name, Scope};
use rr_git::Worktree;
use rr_runtime::config::{LastGood, RepoConfig};

use crate::judged::Rules;

/// How long "this folder lies in that work tree" is believed: a new work tree is seen within this.
const BELIEVED_FOR: Duration = Duration::from_secs(2);
/// Longest path the kernel takes; a longer one names nothing.
pub(crate) const DISK_PATH_BYTES_MAX: usize = 4_096;
/// Longest piece of a path that an error repeats.
const SHOWN_CHARS_MAX: usize = 200;
/// Links followed in one path, as the kernel's own limit.
const LINKS_MAX: usize = 40;

/// A work tree and what is needed to lock in it.
pub(crate) struct Repo {
    pub tree: Worktree,
    pub id: RepoId,
    tree_tag: String,
    clone_tag: String,
    config: Mutex<LastGood>,
    /// The rules of one version of its file.
    rules: Mutex<Option<(Arc<RepoConfig>, Arc<Rules>)>>,
}

/// One file or folder inside a work tree.
#[derive(Clone)]
pub(crate) struct Place {
    pub repo: Arc<Repo>,
    pub path: RepoPath,
    /// Where it is on disk, with every link resolved.
    pub disk: PathBuf,
}

/// What has one instance per work tree, or per clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// All files of a work tree: shared by those who edit some, exclusive for a command that moves any.
    Tree,
    Head,
    Index,
    Stash,
    Refs,
    Config,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{path} leads out of the repository through a symbolic link ({target})")]
    LeadsOut { path: String, target: String },
    #[error("{path} cannot be locked: {why}")]
    Rejected { path: String, why: PathError },
    #[error("{path} has {links} hard links: writing it would also change another name")]
    HardLinks { path: String, links: u64 },
    #[error("{path} follows more than {LINKS_MAX} symbolic links")]
    Loop { path: String },
    #[error("{path} is longer than {DISK_PATH_BYTES_MAX} bytes")]
    TooLong { path: String },
    #[error(transparent)]
    Git(#[from] rr_git::GitError),
}

impl Repo {
    fn new(tree: Worktree) -> Self {
        let mut config = LastGood::new(&tree.root);
        let id = tree.repo_id(config.current().0.repo.as_deref());
        let (tree_tag, clone_tag) = (tree.tree_tag(), tree.clone_tag());
        Self { tree, id, tree_tag, clone_tag, config: Mutex::new(config), rules: Mutex::default() }
    }

    /// Its name for this work tree.
    pub(crate) fn tag(&self) -> &str {
        &self.tree_tag
    }

    /// The rules of this repository now, and what is wrong with its file, if anything is; and whether an earlier version of it
    /// goes on (rather than the defaults).
    pub(crate) fn config(&self) -> (Arc<RepoConfig>, Option<(String, bool)>) {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, error) = config.current();
        let (current, error) = (current.clone(), error.map(ToString::to_string));
        let kept = config.was_good();
        (current, error.map(|why| (why, kept)))
    }

    /// What `make` makes of a version of the file, made once.
    pub(crate) fn compiled(&self, config: &Arc<RepoConfig>, make: impl Fn(&RepoConfig) -> Arc<Rules>) -> Arc<Rules> {
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, rules)) if Arc::ptr_eq(of, config) => rules.clone(),
            _ => {
                let rules = make(config);
                *known = Some((config.clone(), rules.clone()));
                rules
            }
        }
    }

    /// The lock's name for something of which this work tree or clone has one.
    pub(crate) fn shared(&self, what: Shared) -> Scope {
        let text = match what {
            Shared::Tree => format!("tree.{}", self.tree_tag),
            Shared::Head => format!("head.{}", self.tree_tag),
            Shared::Index => format!("index.{}", self.tree_tag),
            Shared::Stash => format!("stash.{}", self.clone_tag),
            Shared::Refs => format!("refs.{}", self.clone_tag),
            Shared::Config => format!("config.{}", self.clone_tag),
        };
        // Hex digits behind a fixed word are a legal name.
        Name::parse(&text).map_or_else(|_| Scope::Path(RepoPath::root()), Scope::Named)
    }

    /// The stop file (G24): while it exists, nothing in this work tree may run.
    pub(crate) fn stop_file(&self) -> PathBuf {
        self.tree.root.join(".railroad/STOP")
    }
}

/// When a folder was looked at, and the repository it was found in.
type Belief = (Instant, Option<Arc<Repo>>);

/// Finds repositories and remembers them.
#[derive(Default)]
pub(crate) struct Repos {
    folders: Mutex<HashMap<PathBuf, Belief>>,
    trees: Mutex<HashMap<Worktree, Arc<Repo>>>,
}

impl Repos {
    /// The repository whose work tree a folder lies in.
    pub(crate) fn around(&self, folder: &Path) -> Result<Option<Arc<Repo>>, rr_git::GitError> {
        let known = self.folders.lock().unwrap_or_else(PoisonError::into_inner).get(folder).cloned();
        if let Some((seen, repo)) = known
            && seen.elapsed() < BELIEVED_FOR
        {
            return Ok(repo);
        }
        let repo = Worktree::discover(folder)?.map(|tree| self.repo(tree));
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.retain(|_, (seen, _)| seen.elapsed() < BELIEVED_FOR);
        folders.insert(folder.to_owned(), (Instant::now(), repo.clone()));
        Ok(repo)
    }

    fn repo(&self, tree: Worktree) -> Arc<Repo> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.entry(tree.clone()).or_insert_with(|| Arc::new(Repo::new(tree))).clone()
    }

    /// Where a write to `path` would land. `None`: in no repository, which is nobody's business here.
    /// `follow`: whether the operation follows a link at the path's end (a write does, a deletion does not).
    pub(crate) fn place(&self, path: &Path, follow: bool) -> Result<Option<Place>, PlaceError> {
        let (disk, links) = resolve(path, follow)?;
        if links > 0 && self.left_behind(path, &disk)? {
            return Err(leads_out(path, &disk));
        }
        let folder = if disk.is_dir() { disk.as_path() } else { disk.parent().unwrap_or(&disk) };
        let Some(repo) = self.around(folder)? else { return Ok(None) };
        let Ok(relative) = disk.strip_prefix(&repo.tree.root) else { return Ok(None) };
        let shown = || shown(path);
        let path = RepoPath::parse(relative.as_os_str().as_bytes())
            .map_err(|why| PlaceError::Rejected { path: shown(), why })?;
        Ok(Some(Place { repo, path, disk }))
    }

    /// Whether a path that was named inside a work tree lands outside of it.
    fn left_behind(&self, path: &Path, disk: &Path) -> Result<bool, rr_git::GitError> {
        for folder in path.ancestors().skip(1).filter(|a| !is_link(a)) {
            if let Some(repo) = self.around(folder)?
                && path.starts_with(&repo.tree.root)
            {
                return Ok(!disk.starts_with(&repo.tree.root));
            }
        }
        Ok(false)
    }

    /// As [`Repos::place`], for a file that is to be written: one with several names is refused (H24).
    pub(crate) fn written(&self, path: &Path) -> Result<Option<Place>, PlaceError> {
        let place = self.place(path, true)?;
        if let Some(place) = &place
            && let Ok(meta) = place.disk.symlink_metadata()
            && meta.is_file()
            && meta.nlink() > 1
        {
            return Err(PlaceError::HardLinks { path: shown(path), links: meta.nlink() });
        }
        Ok(place)
    }
}

/// Where a path lands, as far as it can be told: rules are put to that, not to a link's name.
pub(crate) fn landing(path: &Path) -> PathBuf {
    resolve(path, true).map_or_else(|_| path.to_owned(), |(disk, _)| disk)
}

fn leads_out(path: &Path, disk: &Path) -> PlaceError {
    PlaceError::LeadsOut { path: shown(path), target: shown(disk) }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink())
}

/// Walks a path as the kernel does: every link on the way is followed, `..` goes up from where the link led; what does not
/// exist yet is taken as written.
/// Also says how many links that were.
fn resolve(path: &Path, follow_last: bool) -> Result<(PathBuf, usize), PlaceError> {
    if path.as_os_str().len() > DISK_PATH_BYTES_MAX {
        return Err(PlaceError::TooLong { path: shown(path) });
    }
    let mut todo: Vec<std::ffi::OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        if (todo.is_empty() && !follow_last) || !is_link(&at) {
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(PlaceError::Loop { path: shown(path) });
        }
        let target = std::fs::read_link(&at).unwrap_or_default();
        at.pop();
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        todo.extend(parts(&target));
    }
    Ok((at, links))
}

fn shown(path: &Path) -> String {
    crate::messages::cut(&path.display().to_string(), SHOWN_CHARS_MAX)
}

/// The parts of a path, last one first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let named = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut all: Vec<_> = named.collect();
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn repo() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().canonicalize().expect("canonical").join("r");
        std::fs::create_dir_all(root.join("src")).expect("mkdir");
        assert!(Command::new("git").args(["init", "-q"]).current_dir(&root).status().expect("git").success());
        (dir, root)
    }

    #[test]
    fn a_path_is_called_by_where_it_lands() {
        let (_dir, root) = repo();
        std::fs::write(root.join("src/real.txt"), "x").expect("write");
        symlink("src", root.join("link")).expect("link");
        symlink("src/real.txt", root.join("alias")).expect("link");
        let repos = Repos::default();
        let named =
            |p: &str, follow| repos.place(&root.join(p), follow).expect("fine").expect("inside").path.to_string();
        assert_eq!(named("src/real.txt", true), "src/real.txt");
        assert_eq!(named("link/real.txt", true), "src/real.txt");
        assert_eq!(named("alias", true), "src/real.txt");
        assert_eq!(named("alias", false), "alias", "a deletion takes the link itself");
        assert_eq!(named("link/../new/deep/file", true), "new/deep/file");
    }

    #[test]
    fn a_link_out_of_the_repository_is_refused_and_a_path_elsewhere_is_nobodys() {
        let (dir, root) = repo();
        let outside = dir.path().canonicalize().expect("canonical").join("outside");
        std::fs::create_dir(&outside).expect("mkdir");
        symlink(&outside, root.join("exit")).expect("link");
        symlink(outside.join("file"), root.join("dangling")).expect("link");
        let repos = Repos::default();
        for p in ["exit/file", "dangling", "exit/../outside/file"] {
            assert!(matches!(repos.place(&root.join(p), true), Err(PlaceError::LeadsOut { .. })), "{p}");
        }
        assert!(repos.place(&outside.join("file"), true).expect("fine").is_none());
    }

    #[test]
    fn git_folders_hard_links_and_loops_are_refused() {
        let (_dir, root) = repo();
        std::fs::write(root.join("a"), "x").expect("write");
        std::fs::hard_link(root.join("a"), root.join("b")).expect("link");
        symlink("loop", root.join("loop")).expect("link");
        let repos = Repos::default();
        assert!(matches!(repos.written(&root.join("b")), Err(PlaceError::HardLinks { links: 2, .. })));
        assert!(matches!(repos.written(&root.join("loop")), Err(PlaceError::Loop { .. })));
        let git = repos.written(&root.join(".git/config"));
        assert!(matches!(git, Err(PlaceError::Rejected { .. }) | Ok(None)), "never a lock on it");
    }
}

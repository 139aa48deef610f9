//! One bare repository a machine for each repository of its fleet, beside the agents' own clones: what stands in work trees is kept
//! in it as commits, merged and checked out there, so that no agent's repository, index or folder is touched. It borrows the
//! clones' objects and writes its own. Several programs of a machine may use one at a time. What a finding or a break is, is
//! not known here. A work tree is seen in [`look`], compared with its target in [`changes`], merged in [`merge`], and shown to
//! other hosts in [`travel`].

mod answer;
mod ask;
mod borrow;
mod bytes;
mod changes;
mod check_tree;
mod combine;
mod compose;
mod keep;
mod land;
mod look;
mod merge;
mod own_index;
mod queue;
mod ranges;
mod reads;
mod run;
mod standing;
mod target;
mod tidy;
mod travel;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::command::{GitError, Input, git_with};
use crate::worktree::Worktree;

pub use changes::{CHANGES_MAX, Changes};
pub use check_tree::{CheckTree, Moved};
pub use combine::Combined;
pub use compose::Union;
pub use land::{Landing, Place, Recovered, Refusal, RevertPlan, Step};
pub(crate) use land::{WHY as LANDING_WHY, folders_of as landing_folders};
pub use look::{LOOK_BYTES_MAX, Look, Looked, Note, Noted, Operation};
pub use merge::{MERGE_EXCERPT_MAX, Merged};
pub use queue::{Queue, QueuedCommit};
pub use tidy::MirrorTidied;
pub use travel::{Fetched, Followed, Sent};

#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("{doing} {}", .path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("git {command} took longer than {seconds} s in {folder}")]
    TooLong { command: String, folder: String, seconds: u64 },
    #[error("understand git {command}: {said}")]
    Words { command: &'static str, said: String },
    #[error("{} names objects by {theirs}, its fleet's repository by {ours}", .clone.display())]
    ObjectFormat { clone: PathBuf, ours: String, theirs: String },
    #[error("reach {remote}: {said}")]
    Unreachable { remote: String, said: String },
}

impl MirrorError {
    /// Whether the same may go well a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Unreachable { .. } | Self::Disk { .. })
    }
}

fn disk_error(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MirrorError {
    let path = path.to_owned();
    move |source| MirrorError::Disk { doing, path, source }
}

/// What holds for every git command in a mirror, whatever the user's own configuration says: no hook of anybody's runs, nothing is
/// cleaned up beside us, merges are git's default ones, and a crash leaves no half object.
const CONFIG: &str = "[core]\n\thooksPath = /dev/null\n\tfsyncMethod = batch\n\tlogAllRefUpdates = false\n\
    [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[merge]\n\tconflictStyle = merge\n\trenames = true\n\
    \tdirectoryRenames = conflict\n[diff]\n\trenames = true\n[push]\n\tfollowTags = false\n\trecurseSubmodules = no\n\
    [fetch]\n\trecurseSubmodules = no\n\twriteCommitGraph = false\n[submodule]\n\trecurse = false\n";

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Mirror {
    dir: PathBuf,
    shared: Arc<Shared>,
}

/// What a program remembers of its own looks. It may be lost at any time.
#[derive(Debug, Default)]
struct Shared {
    /// By the root of the work tree.
    indexes: Mutex<HashMap<PathBuf, own_index::OwnIndex>>,
    changes: Mutex<changes::Known>,
    reader: Mutex<Option<bytes::Reader>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// Opens the mirror of this folder, or makes it with the object format of a work tree's repository.
    ///
    /// # Errors
    /// If the folder cannot be made, or git cannot make a repository of it.
    pub fn open(dir: &Path, like: &Worktree) -> Result<Self, MirrorError> {
        if !dir.join("HEAD").exists() {
            make(dir, &object_format(&like.root)?)?;
        }
        Ok(Self::opened(dir))
    }

    fn opened(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), shared: Arc::default() }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs git in the mirror. What a clone has left with its remote is not fetched for it.
    pub(crate) fn git<S: AsRef<OsStr>>(&self, args: &[S], input: &Input<'_>) -> Result<Vec<u8>, GitError> {
        let env = [input.env, &[("GIT_NO_LAZY_FETCH", OsStr::new("1"))]].concat();
        git_with(&self.dir, args, &Input { env: &env, ..*input })
    }

    fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }
}

/// Whole or not at all: two programs may do it at once.
fn make(dir: &Path, format: &str) -> Result<(), MirrorError> {
    let format = format!("--object-format={format}");
    let new = dir.with_extension(format!("new-{}", nonce()));
    std::fs::create_dir_all(&new).map_err(disk_error("make the folder", &new))?;
    let made = (|| {
        crate::command::git(&new, ["init", "--quiet", "--bare", "--template=", &format, "."])?;
        let config = new.join("config");
        let first = std::fs::read_to_string(&config).map_err(disk_error("read", &config))?;
        std::fs::write(&config, first + CONFIG).map_err(disk_error("write", &config))?;
        match std::fs::rename(&new, dir) {
            Err(_) if dir.join("HEAD").exists() => Ok(()),
            renamed => renamed.map_err(disk_error("make the folder", dir)),
        }
    })();
    let _ = std::fs::remove_dir_all(&new);
    made
}

fn object_format(folder: &Path) -> Result<String, GitError> {
    let said = crate::command::git(folder, ["rev-parse", "--show-object-format"])?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// A name that no other program or thread takes.
fn nonce() -> String {
    let mut random = [0; 8];
    // Without randomness the process id has to do.
    let _ = getrandom::fill(&mut random);
    format!("{}-{}", std::process::id(), rr_core::id::hex(&random))
}

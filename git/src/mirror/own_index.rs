//! An index of our own for one work tree: made from the user's, then kept as the work tree was last seen, so that the next look
//! reads no file twice. It is made anew when the user's changes. Its time stamp is part of its contents: git trusts no entry
//! that was written in the same moment as the index.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rr_core::id::ObjectId;

use super::look::Note;
use super::{Mirror, MirrorError, disk_error, locked, nonce};
use crate::worktree::Worktree;

/// Where they are, below the mirror.
pub(super) const FOLDER: &str = "looks";
/// Beside each: the tree that was written from it, for whoever tidies up.
pub(super) const TREE_ENDING: &str = "tree";

/// Removed when it is dropped.
#[derive(Debug)]
pub(super) struct OwnIndex {
    pub(super) file: PathBuf,
    seed: Option<Seed>,
    /// What it holds, once it is written.
    pub(super) tree: Option<ObjectId>,
    /// What git would not take into it.
    pub(super) refused: Vec<Note>,
    /// It has let go of a path that git would ignore, were it not in the user's: good for this look alone.
    pub(super) is_spent: bool,
}

/// The user's index, as it was when ours was made from it. None: there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seed {
    /// How the user's index is now.
    pub(super) fn of(tree: &Worktree) -> Option<Self> {
        let meta = tree.git_dir.join("index").metadata().ok()?;
        Some(Self {
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Drop for OwnIndex {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_file(self.file.with_extension(TREE_ENDING));
    }
}

impl OwnIndex {
    fn make(folder: &Path, tree: &Worktree) -> Result<Self, MirrorError> {
        std::fs::create_dir_all(folder).map_err(disk_error("make the folder", folder))?;
        let file = folder.join(format!("{}-{}.index", tree.tree_tag(), nonce()));
        let own = Self { file, seed: Seed::of(tree), tree: None, refused: Vec::new(), is_spent: false };
        let theirs = tree.git_dir.join("index");
        match copy(&theirs, &own.file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk_error("copy the index", &theirs)(e)),
            _ => Ok(own),
        }
    }

    /// What the user's index was when this was made from it.
    pub(super) fn seed(&self) -> Option<Seed> {
        self.seed
    }

    /// Says what it holds, and that it is in use.
    pub(super) fn holds(&mut self, tree: ObjectId) -> Result<(), MirrorError> {
        let file = self.file.with_extension(TREE_ENDING);
        std::fs::write(&file, tree.as_str()).map_err(disk_error("write", &file))?;
        self.tree = Some(tree);
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let modified = from.metadata()?.modified()?;
    let mut to = File::create(to)?;
    io::copy(&mut from, &mut to)?;
    to.set_modified(modified)
}

impl Mirror {
    /// The one of the last look, if the user's index is what it was; else a new one.
    pub(super) fn own_index(&self, tree: &Worktree) -> Result<OwnIndex, MirrorError> {
        let known = locked(&self.shared.indexes).remove(&tree.root);
        match known {
            Some(own) if own.seed == Seed::of(tree) && (own.file.exists() || own.seed.is_none()) => Ok(own),
            _ => OwnIndex::make(&self.dir.join(FOLDER), tree),
        }
    }

    pub(super) fn keep_index(&self, tree: &Worktree, own: OwnIndex) {
        let mut indexes = locked(&self.shared.indexes);
        // Work trees come and go.
        indexes.retain(|root, _| root.exists());
        if !own.is_spent {
            indexes.insert(tree.root.clone(), own);
        }
    }
}

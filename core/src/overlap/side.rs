//! One work tree as the index has it: its change set, by path, and how its caller wants it looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ranges;
use crate::live::{ChangeSet, FileChange, GitPath, Onto, TreeKey};

/// More changed paths than this are a sweep: a rename through the whole repository, a formatter's run. Everybody meets it, and
/// nobody can do anything about it.
pub const SWEEP_PATHS: usize = 50;

/// How a work tree takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    #[default]
    Live,
    /// About to land, at this place in the line.
    Queued(u64),
    /// Compared with nobody: a sweep, or its agent has been silent for long.
    Aside,
}

/// Whether a change set is better told to nobody: too many paths, or nothing but layout.
#[must_use]
pub fn is_sweep(set: &ChangeSet) -> bool {
    let paths = set.files.len() + set.left_out;
    paths > SWEEP_PATHS || (paths > 0 && set.left_out == 0 && set.files.iter().all(|file| file.layout_only))
}

pub(super) type Files = BTreeMap<GitPath, Arc<FileChange>>;

#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) key: TreeKey,
    /// Its files are in `files`.
    pub(super) set: ChangeSet,
    pub(super) files: Files,
    /// Files it added; whoever adds may have renamed, flagged or not.
    pub(super) added: usize,
    /// Where it moved files to, by where they were.
    pub(super) moved: BTreeMap<GitPath, BTreeSet<GitPath>>,
}

impl Side {
    pub(super) fn new(key: TreeKey, set: ChangeSet) -> Self {
        Self { key, set, files: Files::new(), added: 0, moved: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, file: &Arc<FileChange>) {
        self.added += usize::from(is_added(file));
        if let Some(old) = &file.renamed_from {
            self.moved.entry(old.clone()).or_default().insert(file.path.clone());
        }
        self.files.insert(file.path.clone(), file.clone());
    }

    pub(super) fn remove(&mut self, file: &FileChange) {
        self.added -= usize::from(is_added(file));
        if let Some(old) = &file.renamed_from
            && let Some(to) = self.moved.get_mut(old)
        {
            to.remove(&file.path);
            if to.is_empty() {
                self.moved.remove(old);
            }
        }
        self.files.remove(&file.path);
    }

    pub(super) fn paths(&self) -> usize {
        self.files.len() + self.set.left_out
    }

    pub(super) fn lines(&self) -> u64 {
        self.files.values().flat_map(|file| &file.ranges).map(|range| u64::from(range.count.max(1))).sum()
    }

    /// What people call it: its branch, else its folder.
    pub(super) fn name(&self) -> &str {
        if self.set.branch.is_empty() { &self.set.root } else { &self.set.branch }
    }

    /// Work for different branches meets when those branches are merged, not before.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        match (&self.set.target, &other.set.target) {
            (Some(a), Some(b)) => a.branch == b.branch,
            _ => true,
        }
    }

    /// Both are merged onto the same commit of the target: one base, one numbering of lines.
    pub(super) fn shares_target(&self, other: &Self) -> bool {
        let clean = |side: &Self| matches!(side.set.onto, Onto::Clean(_));
        clean(self) && clean(other) && self.set.target.is_some() && self.set.target == other.set.target
    }
}

pub(super) fn is_added(file: &FileChange) -> bool {
    file.from.is_none() && file.to.is_some()
}

/// The files of a change set by path, their ranges in order. They are taken out of it.
pub(super) fn take_files(set: &mut ChangeSet) -> BTreeMap<GitPath, FileChange> {
    let tidied = |mut file: FileChange| {
        file.ranges = ranges::tidy(std::mem::take(&mut file.ranges));
        (file.path.clone(), file)
    };
    std::mem::take(&mut set.files).into_iter().map(tidied).collect()
}

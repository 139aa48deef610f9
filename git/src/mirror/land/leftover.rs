//! What a landing leaves when its process is killed: a note of what it was about, files half moved, locks. The next landing in
//! that clone undoes it first, from the originals that lie beside; if the branch had moved already, only the rest is cleared
//! away. What somebody has done since stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use rr_core::id::CommitId;
use rr_core::live::GitPath;

use super::files::{Staged, touched};
use super::local::{Alone, folders_of};
use super::locks::{IndexLock, remove_left_ref_locks};
use super::place::{self, git, plain};
use crate::command::Input;
use crate::mirror::MirrorError;
use crate::mirror::ask::names;
use crate::worktree::Worktree;

/// What there was to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    Nothing,
    /// In so many work trees.
    Undone {
        trees: usize,
    },
    /// A landing is under way there.
    Busy,
}

struct Note {
    expected: CommitId,
    revert: CommitId,
    branch: String,
}

pub(super) fn settle(clone: &Worktree, _alone: &Alone) -> Result<Recovered, MirrorError> {
    let mut trees = 0;
    for tree in place::worktrees(clone)? {
        for work in folders_of(&tree) {
            if work.exists() && settle_one(&tree, &work)? {
                trees += 1;
            }
        }
    }
    Ok(if trees == 0 { Recovered::Nothing } else { Recovered::Undone { trees } })
}

/// Whether there was anything to undo.
fn settle_one(tree: &Worktree, work: &Path) -> Result<bool, MirrorError> {
    let disk = |doing| move |source| MirrorError::Disk { doing, path: work.to_owned(), source };
    let Some(note) = read_note(work) else {
        // It had not come to anything.
        remove(work).map_err(disk("clear"))?;
        return Ok(false);
    };
    remove_left_ref_locks(tree, &note.branch, &note.revert).map_err(disk("unlock the branch beside"))?;
    // Held all the time, unless somebody has removed it by hand.
    let lock = IndexLock::take_up(tree).map_or_else(|| IndexLock::take(tree), |lock| Ok(Some(lock)))?;
    // Somebody works there: they are not disturbed, and what is left is undone another time.
    let Some(lock) = lock else { return Ok(false) };
    let staged = Staged::found(tree, work, touched(tree, &note.expected, &note.revert)?);
    let head = head_of(tree)?;
    if head.as_ref() != Some(&note.revert) {
        if head.as_ref() == Some(&note.expected) {
            index_back(tree, work, &note, &staged)?;
        }
        let since = changed_since(tree, &note.expected, head.as_ref())?;
        staged.put_back(|path| !since.contains(path))?;
    }
    lock.free().map_err(disk("unlock beside"))?;
    clear(&staged, work).map_err(disk("clear"))?;
    tracing::warn!(root = %tree.root.display(), branch = note.branch, "a landing that was cut off is undone");
    Ok(true)
}

fn head_of(tree: &Worktree) -> Result<Option<CommitId>, MirrorError> {
    let said = plain(&tree.root, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
    Ok(CommitId::parse(&said.line()).ok())
}

/// Paths that somebody's newer commit has changed: theirs to have as they are.
fn changed_since(
    tree: &Worktree,
    expected: &CommitId,
    head: Option<&CommitId>,
) -> Result<BTreeSet<GitPath>, MirrorError> {
    let Some(head) = head else { return Ok(BTreeSet::new()) };
    let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", expected.as_str(), head.as_str()];
    let said = plain(&tree.root, &args)?.ok(&tree.root)?;
    Ok(names(&said).map(GitPath::new).collect())
}

/// The index as it was, if it has moved. One that somebody has changed on these paths since stays.
fn index_back(tree: &Worktree, work: &Path, note: &Note, staged: &Staged<'_>) -> Result<(), MirrorError> {
    let (index, now) = (tree.git_dir.join("index"), work.join("index.back"));
    let disk = |doing| move |source| MirrorError::Disk { doing, path: work.to_owned(), source };
    if fs::copy(&index, &now).is_err() {
        return Ok(());
    }
    let env = [("GIT_INDEX_FILE", now.as_os_str())];
    let input = Input { env: &env, ..Input::default() };
    let (old, new) = (note.expected.as_str(), note.revert.as_str());
    let different = git(&tree.root, &["diff-index", "--cached", "--name-only", "--no-renames", "-z", old], &input)?;
    let touched = staged.paths();
    if !names(&different.out).any(|path| touched.contains(&GitPath::new(path))) {
        return Ok(());
    }
    if git(&tree.root, &["read-tree", "-m", "-i", new, old], &input)?.is_ok() {
        fs::rename(&now, &index).map_err(disk("put the index back beside"))?;
    }
    Ok(())
}

fn read_note(work: &Path) -> Option<Note> {
    let text = fs::read_to_string(work.join("note")).ok()?;
    let mut lines = text.splitn(3, '\n');
    let expected = CommitId::parse(lines.next()?).ok()?;
    let revert = CommitId::parse(lines.next()?).ok()?;
    Some(Note { expected, revert, branch: lines.next()?.strip_suffix('\n')?.to_owned() })
}

/// Removes what a landing kept beside. What is not committed anywhere, because a program wrote on into a file that was exchanged
/// under it, is kept under another name.
pub(super) fn clear(staged: &Staged<'_>, work: &Path) -> io::Result<()> {
    if staged.is_spent() {
        return remove(work);
    }
    let is_free = |n: &u32| !work.with_extension(format!("kept-{n}")).exists();
    let kept = work.with_extension(format!("kept-{}", (1..).find(is_free).unwrap_or_default()));
    tracing::warn!(kept = %kept.display(), "somebody wrote into a file while it was exchanged; what they wrote is kept");
    drop(fs::remove_file(work.join("note")));
    fs::rename(work, kept)
}

/// Under another name first: half a folder with a note would be read as a landing that was cut off.
fn remove(work: &Path) -> io::Result<()> {
    let gone = work.with_extension("gone");
    drop(fs::remove_dir_all(&gone));
    fs::rename(work, &gone)?;
    fs::remove_dir_all(gone)
}

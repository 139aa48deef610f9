//! What can be asked of a clone on this machine about a branch, and done to it where no work tree has it: where it stands, in
//! which work trees it is checked out, what is unfinished there, new objects, a ref moved from an old value. Files and indexes
//! are the business of `local`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rr_core::id::CommitId;

use super::{Landing, Refusal};
use crate::command::Input;
use crate::mirror::ask::{LOCAL_LIMIT, Question, Said, ask, names};
use crate::mirror::{Mirror, MirrorError};
use crate::worktree::Worktree;

/// In the reflogs.
pub(crate) const WHY: &str = "railroad: revert";

/// Files in a work tree's git folder that say what is unfinished there.
const UNFINISHED: [(&str, &str); 5] = [
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
];

/// Those that hold a branch's name while HEAD is elsewhere: the branch is set or taken up again at the end.
const HOLDS_BRANCH: [(&str, &str); 3] =
    [("rebase-merge/head-name", "rebase"), ("rebase-apply/head-name", "rebase"), ("BISECT_START", "bisection")];

/// A git command in a user's clone, with that clone's own settings but none of its hooks.
pub(super) fn git<S: AsRef<OsStr>>(folder: &Path, args: &[S], input: &Input<'_>) -> Result<Said, MirrorError> {
    ask(folder, args, &Question { input: *input, limit: LOCAL_LIMIT, is_neutral: false })
}

pub(super) fn plain<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Result<Said, MirrorError> {
    git(folder, args, &Input::default())
}

/// Where a ref stands; none where there is none.
pub(super) fn tip(root: &Path, full: &str) -> Result<Option<CommitId>, MirrorError> {
    let said = plain(root, &["for-each-ref", "--format=%(refname) %(objectname)", full])?.ok(root)?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let found = text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == full);
    found.map(|(_, id)| crate::mirror::combine::commit_of(root, id)).transpose()
}

/// The tip is not the expected one: has somebody landed it, or something else?
pub(super) fn elsewhere(root: &Path, tip: CommitId, revert: &CommitId) -> Result<Landing, MirrorError> {
    if tip == *revert || contains(root, revert, &tip)? { Ok(Landing::AlreadyThere) } else { Ok(Landing::Moved { tip }) }
}

/// Whether a commit is in another's history. One that is not there at all is not.
pub(super) fn contains(root: &Path, old: &CommitId, young: &CommitId) -> Result<bool, MirrorError> {
    Ok(plain(root, &["merge-base", "--is-ancestor", old.as_str(), young.as_str()])?.is_ok())
}

/// All work trees of the clone that are there.
pub(super) fn worktrees(clone: &Worktree) -> Result<Vec<Worktree>, MirrorError> {
    let said = plain(&clone.root, &["worktree", "list", "--porcelain", "-z"])?.ok(&clone.root)?;
    let roots = names(&said).filter_map(|line| line.strip_prefix(b"worktree "));
    let roots = roots.map(|root| PathBuf::from(OsStr::from_bytes(root))).filter(|root| root.is_dir());
    let mut found = Vec::new();
    for root in roots {
        found.extend(Worktree::discover(&root)?.filter(|tree| tree.common_dir == clone.common_dir));
    }
    // The main work tree of a submodule or of a moved `.git` is listed by its git folder.
    if !found.contains(clone) {
        found.push(clone.clone());
    }
    Ok(found)
}

/// Whether the branch is what HEAD of this work tree stands for.
pub(super) fn is_on(tree: &Worktree, branch: &str) -> Result<bool, MirrorError> {
    let said = plain(&tree.root, &["symbolic-ref", "--quiet", "HEAD"])?;
    Ok(said.line() == format!("refs/heads/{branch}"))
}

/// What is unfinished and would be torn by moving the branch under it.
pub(super) fn unfinished(trees: &[Worktree], branch: &str) -> Result<Option<Refusal>, MirrorError> {
    let full = format!("refs/heads/{branch}");
    for tree in trees {
        let refused = |what| Ok(Some(Refusal::InProgress { what, root: tree.root.clone() }));
        for (file, what) in HOLDS_BRANCH {
            let held = std::fs::read_to_string(tree.git_dir.join(file)).unwrap_or_default();
            if held.trim() == full || held.trim() == branch {
                return refused(what);
            }
        }
        if !is_on(tree, branch)? {
            continue;
        }
        if let Some((_, what)) = UNFINISHED.iter().find(|(file, _)| tree.git_dir.join(file).exists()) {
            return refused(what);
        }
    }
    Ok(None)
}

/// Copies a commit and what it needs into the clone, beyond what `known` has. What is there already is not written again.
pub(super) fn copy(
    mirror: &Mirror,
    clone: &Worktree,
    commit: &CommitId,
    known: Option<&CommitId>,
) -> Result<(), MirrorError> {
    let there = plain(&clone.root, &["cat-file", "-e", &format!("{commit}^{{commit}}")])?.is_ok();
    // A whole history is in the clone, or is not; a new commit of ours may be there in part.
    if there && known.is_none() {
        return Ok(());
    }
    let known = known.map(|known| format!("^{known}\n")).unwrap_or_default();
    let list = format!("{commit}\n{known}");
    let input = Input { stdin: Some(list.as_bytes()), ..Input::default() };
    let pack = mirror.neutral_with(&["pack-objects", "--revs", "--stdout", "-q"], &input)?.ok(&mirror.dir)?;
    let input = Input { stdin: Some(&pack), ..Input::default() };
    // On the disk before a ref names them.
    let unpack = ["-c", "core.fsync=committed,loose-object", "unpack-objects", "-q"];
    git(&clone.root, &unpack, &input)?.ok(&clone.root)?;
    Ok(())
}

/// Moves a branch that no work tree has.
pub(super) fn move_ref(
    root: &Path,
    branch: &str,
    (expected, revert): (&CommitId, &CommitId),
) -> Result<Landing, MirrorError> {
    let full = format!("refs/heads/{branch}");
    let said = plain(root, &["update-ref", "-m", WHY, &full, revert.as_str(), expected.as_str()])?;
    if said.is_ok() {
        return Ok(Landing::Landed);
    }
    match tip(root, &full)? {
        None => Ok(Landing::Refused { why: Refusal::NoSuchBranch }),
        Some(tip) if tip == *expected => Ok(Landing::Refused { why: Refusal::RefLocked { said: said.err } }),
        Some(tip) => elsewhere(root, tip, revert),
    }
}

/// Makes a branch that was not there before. False: there is one with other work.
pub(super) fn keep(clone: &Worktree, full: &str, culprit: &CommitId) -> Result<bool, MirrorError> {
    let none = "0".repeat(culprit.as_str().len());
    let said = plain(&clone.root, &["update-ref", "-m", "railroad: kept", full, culprit.as_str(), &none])?;
    if said.is_ok() {
        return Ok(true);
    }
    match tip(&clone.root, full)? {
        Some(tip) => Ok(tip == *culprit || contains(&clone.root, culprit, &tip)?),
        None => Err(said.failed(&clone.root).into()),
    }
}

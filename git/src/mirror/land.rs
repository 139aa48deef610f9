//! A revert lands: a commit is made in the mirror, and a branch moves to it from exactly the commit that was expected, or not at
//! all (D12, D19). Nobody's commit is lost and no uncommitted byte: whatever is in the way is a refusal with its reason. Whether
//! something should be reverted is decided elsewhere. A branch of this machine goes on in `local`, one elsewhere in `remote`.

mod files;
mod leftover;
mod local;
mod locks;
mod place;
mod remote;

use std::fmt;
use std::path::PathBuf;

use rr_core::id::{CommitId, ObjectId};
use rr_core::live::GitPath;

use super::{Mirror, MirrorError};
use crate::worktree::Worktree;

pub use leftover::Recovered;
pub(crate) use local::folders_of;
pub(crate) use place::WHY;

/// Other branches of the same name at other commits, before giving up.
const KEPT_NAMES_MAX: usize = 20;

/// Where a branch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A branch of a clone on this machine, checked out in one of its work trees or in none.
    Local { clone: Worktree, branch: String },
    /// A branch of a remote repository.
    Remote { url: String, branch: String },
}

/// A revert that is known to be green.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertPlan {
    /// Where the branch is expected to stand; the commit's parent.
    pub tip: CommitId,
    /// What was checked.
    pub tree: ObjectId,
    pub message: String,
    pub trailers: Vec<(String, String)>,
}

/// What became of landing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    Landed,
    /// The branch has it, whoever landed it; perhaps with newer commits on it.
    AlreadyThere,
    /// Somebody committed: nothing was done.
    Moved {
        tip: CommitId,
    },
    /// Nothing was done.
    Refused {
        why: Refusal,
    },
    /// Nobody answered. [`Mirror::stands`] tells, once somebody does, whether it landed.
    Unreachable {
        said: String,
    },
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The other repository would not have it: a hook, a protected branch, no right to push.
    Remote {
        said: String,
    },
    /// Uncommitted work in the files that the revert changes.
    Dirty {
        paths: Vec<GitPath>,
    },
    /// What git does not know stands where files would come back.
    InTheWay {
        paths: Vec<GitPath>,
    },
    /// Another git command is running in that work tree, or was killed in it.
    IndexLocked {
        lock: PathBuf,
    },
    /// The branch could not be held: another command has it, or was killed.
    RefLocked {
        said: String,
    },
    /// A rebase, merge, cherry-pick, revert or bisection that has the branch is not finished.
    InProgress {
        what: &'static str,
        root: PathBuf,
    },
    /// In more than one work tree at once.
    CheckedOutTwice {
        roots: Vec<PathBuf>,
    },
    NoSuchBranch,
    /// Another landing in this clone has not come to its end in time.
    Busy,
    /// The commit to land is not made on the one that is expected.
    NotOnExpected,
}

/// How far a landing on a checked-out branch has come; for those who show it, and for tests that end there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Copied,
    Staged,
    IndexHeld,
    RefHeld,
    FileMoved(usize),
    IndexMoved,
    RefMoved,
    IndexFree,
}

impl Mirror {
    /// Makes the commit, here alone. Always the same one for the same plan and second, so that a second watcher makes it too.
    ///
    /// # Errors
    /// If the mirror does not have the tip or the tree, or the disk refuses.
    pub fn make_revert(&self, plan: &RevertPlan, at_unix_s: u64) -> Result<CommitId, MirrorError> {
        for name in [format!("{}^{{commit}}", plan.tip), format!("{}^{{tree}}", plan.tree)] {
            let said = self.neutral(&["cat-file", "-e", &name])?;
            if !said.is_ok() {
                return Err(said.failed(&self.dir).into());
            }
        }
        let who = format!("Railroad <railroad@localhost> {at_unix_s} +0000");
        let (tree, tip, message) = (&plan.tree, &plan.tip, words(plan));
        self.write_commit(format!("tree {tree}\nparent {tip}\nauthor {who}\ncommitter {who}\n\n{message}").as_bytes())
    }

    /// Lands a commit that was made on `expected`, if the branch still stands there.
    ///
    /// # Errors
    /// If git or the disk fail in a way that no refusal names; then nothing was done, or [`Mirror::recover`] undoes it.
    pub fn land(&self, place: &Place, expected: &CommitId, revert: &CommitId) -> Result<Landing, MirrorError> {
        self.land_watched(place, expected, revert, &mut |_| ())
    }

    /// The same, telling each step on the way.
    ///
    /// # Errors
    /// As for [`Mirror::land`].
    pub fn land_watched(
        &self,
        place: &Place,
        expected: &CommitId,
        revert: &CommitId,
        step: &mut dyn FnMut(Step),
    ) -> Result<Landing, MirrorError> {
        let parent = self.neutral(&["rev-parse", "--verify", "--quiet", &format!("{revert}^1")])?;
        if parent.line() != expected.as_str() {
            return Ok(Landing::Refused { why: Refusal::NotOnExpected });
        }
        match place {
            Place::Local { clone, branch } => local::land(self, clone, branch, (expected, revert), step),
            Place::Remote { url, branch } => remote::land(self, url, branch, (expected, revert)),
        }
    }

    /// Where the branch stands now; none if there is none. After a timeout this is the truth, not the timeout.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn stands(&self, place: &Place) -> Result<Option<CommitId>, MirrorError> {
        match place {
            Place::Local { clone, branch } => place::tip(&clone.root, &format!("refs/heads/{branch}")),
            Place::Remote { url, branch } => remote::tip(self, url, &format!("refs/heads/{branch}")),
        }
    }

    /// Keeps the reverted work on a branch of its own and returns the branch's name. One of that name that has other work stays as
    /// it is, and the next free name is taken; one that has this work is good as it is.
    ///
    /// # Errors
    /// If it cannot be written there, or all names are taken.
    pub fn keep_reverted(&self, place: &Place, culprit: &CommitId) -> Result<String, MirrorError> {
        if let Place::Local { clone, .. } = place {
            place::copy(self, clone, culprit, None)?;
        }
        let first = format!("railroad/reverted/{}", culprit.short());
        let others = (2..=KEPT_NAMES_MAX).map(|n| format!("{first}-{n}"));
        for name in std::iter::once(first.clone()).chain(others) {
            let full = format!("refs/heads/{name}");
            let kept = match place {
                Place::Local { clone, .. } => place::keep(clone, &full, culprit)?,
                Place::Remote { url, .. } => remote::keep(self, url, &full, culprit)?,
            };
            if kept {
                return Ok(name);
            }
        }
        let said = format!("all branches {first}, {first}-2 to {first}-{KEPT_NAMES_MAX} have other work");
        let folder = self.dir.display().to_string();
        Err(crate::GitError::Failed { command: "update-ref".into(), folder, said }.into())
    }

    /// Undoes what landings left half done in a clone when their process was killed. [`Mirror::land`] does so by itself first.
    ///
    /// # Errors
    /// If git or the disk fail.
    pub fn recover(&self, clone: &Worktree) -> Result<Recovered, MirrorError> {
        match local::Alone::take(clone)? {
            Some(alone) => leftover::settle(clone, &alone),
            None => Ok(Recovered::Busy),
        }
    }
}

/// The message as it stands in the commit: no trailing space, one line end, trailers of one line each.
fn words(plan: &RevertPlan) -> String {
    let one_line = |text: &str| text.split(['\n', '\r', '\0']).map(str::trim).collect::<Vec<_>>().join(" ");
    let message = plan.message.replace('\0', " ");
    let trailers: Vec<String> =
        plan.trailers.iter().map(|(key, value)| format!("{}: {}\n", one_line(key), one_line(value))).collect();
    let gap = if trailers.is_empty() { "" } else { "\n" };
    format!("{}\n{gap}{}", message.trim_end(), trailers.concat())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |paths: &[GitPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Remote { said } => write!(f, "the remote repository refused it: {said}"),
            Self::Dirty { paths } => write!(f, "uncommitted work in {}", list(paths)),
            Self::InTheWay { paths } => write!(f, "files that git does not know are in the way: {}", list(paths)),
            Self::IndexLocked { lock } => {
                write!(f, "another git command is running there, or was killed: {} is held", lock.display())
            }
            Self::RefLocked { said } => write!(f, "the branch is held: {said}"),
            Self::InProgress { what, root } => write!(f, "a {what} is not finished in {}", root.display()),
            Self::CheckedOutTwice { roots } => {
                let roots: Vec<String> = roots.iter().map(|r| r.display().to_string()).collect();
                write!(f, "the branch is checked out more than once: {}", roots.join(", "))
            }
            Self::NoSuchBranch => f.write_str("there is no such branch"),
            Self::Busy => f.write_str("another landing there has not ended"),
            Self::NotOnExpected => f.write_str("it is not made on the commit that is expected"),
        }
    }
}

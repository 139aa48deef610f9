//! Trees of commits taken together or apart, made without any work tree: one commit on another base, several of them, the tip
//! without one. Git's own three-way merge makes them, under no settings of this machine, so that every host makes the same
//! tree. It does not know why somebody wants one; which commits there are is told by [`Mirror::commits_between`].

use std::ffi::OsStr;
use std::path::Path;

use rr_core::id::{CommitId, ObjectId};
use rr_core::live::GitPath;

use super::ask::{Question, Said, ask, names};
use super::{Mirror, MirrorError};
use crate::command::{GitError, Input};

/// What taking commits together came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Combined {
    /// Also where nothing is left of a change: then it is the base's own tree.
    Tree(ObjectId),
    Conflict(Vec<GitPath>),
}

impl Mirror {
    /// The tree of a commit: all that was landed up to it.
    ///
    /// # Errors
    /// If the mirror does not have it; so for all of these.
    pub fn prefix(&self, commit: &CommitId) -> Result<ObjectId, MirrorError> {
        self.object(&format!("{commit}^{{tree}}"))
    }

    /// One commit made on another base. Of a merge, all that it brought to its first parent.
    pub fn alone(&self, base: &CommitId, commit: &CommitId) -> Result<Combined, MirrorError> {
        self.set(base, std::slice::from_ref(commit))
    }

    /// Several commits made on another base, in this order.
    pub fn set(&self, base: &CommitId, commits: &[CommitId]) -> Result<Combined, MirrorError> {
        let steps = commits.iter().map(|commit| Ok((self.before(commit)?, commit.as_str().to_owned())));
        self.merge_in_turn(base, steps.collect::<Result<_, MirrorError>>()?)
    }

    /// The tip with one commit taken out: the inverse merge. Of a merge, all that it brought to its first parent.
    pub fn without(&self, tip: &CommitId, culprit: &CommitId) -> Result<Combined, MirrorError> {
        self.without_all(tip, std::slice::from_ref(culprit))
    }

    /// The tip with several commits taken out, whatever their order here: the youngest first.
    pub fn without_all(&self, tip: &CommitId, culprits: &[CommitId]) -> Result<Combined, MirrorError> {
        let mut order: Vec<&CommitId> = Vec::with_capacity(culprits.len());
        for culprit in culprits {
            let mut at = 0;
            while at < order.len() && !self.is_ancestor(order[at], culprit)? {
                at += 1;
            }
            order.insert(at, culprit);
        }
        let steps = order.into_iter().map(|culprit| Ok((culprit.as_str().to_owned(), self.before(culprit)?)));
        self.merge_in_turn(tip, steps.collect::<Result<_, MirrorError>>()?)
    }

    /// Merges each (base, theirs) onto what came of the one before.
    fn merge_in_turn(&self, start: &CommitId, steps: Vec<(String, String)>) -> Result<Combined, MirrorError> {
        let mut ours = start.as_str().to_owned();
        let mut tree = self.prefix(start)?;
        let last = steps.len();
        for (n, (base, theirs)) in steps.into_iter().enumerate() {
            match self.merge_onto(&base, &ours, &theirs)? {
                Combined::Tree(merged) => tree = merged,
                conflict @ Combined::Conflict(_) => return Ok(conflict),
            }
            if n + 1 < last {
                ours = self.as_commit(&tree)?;
            }
        }
        Ok(Combined::Tree(tree))
    }

    fn merge_onto(&self, base: &str, ours: &str, theirs: &str) -> Result<Combined, MirrorError> {
        let base = format!("--merge-base={base}");
        let said =
            self.neutral(&["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", &base, ours, theirs])?;
        let is_clean = match said.code {
            Some(0) => true,
            Some(1) => false,
            _ => return Err(said.failed(&self.dir).into()),
        };
        let mut found = names(&said.out);
        let tree = found.next().unwrap_or_default();
        if is_clean {
            return Ok(Combined::Tree(object_of(&self.dir, &String::from_utf8_lossy(tree))?));
        }
        let mut paths: Vec<GitPath> = found.map(GitPath::new).collect();
        paths.dedup();
        Ok(Combined::Conflict(paths))
    }

    /// What stood before a commit: its first parent; nothing, for the first of all.
    fn before(&self, commit: &CommitId) -> Result<String, MirrorError> {
        let said = self.neutral(&["rev-parse", "--verify", "--quiet", &format!("{commit}^1")])?;
        if said.is_ok() {
            return Ok(said.line());
        }
        // Is it there at all?
        self.prefix(commit)?;
        let empty = self.neutral_with(&["mktree"], &Input { stdin: Some(b""), ..Input::default() })?.ok(&self.dir)?;
        self.as_commit(&object_of(&self.dir, &String::from_utf8_lossy(&empty))?)
    }

    /// Older gits merge commits only. Always the same one for the same tree.
    fn as_commit(&self, tree: &ObjectId) -> Result<String, MirrorError> {
        let nobody = "Railroad <railroad@localhost> 0 +0000";
        let text = format!("tree {tree}\nauthor {nobody}\ncommitter {nobody}\n\na tree on its way\n");
        self.write_commit(text.as_bytes()).map(|id| id.as_str().to_owned())
    }

    pub(super) fn write_commit(&self, text: &[u8]) -> Result<CommitId, MirrorError> {
        let said = self.neutral_with(
            &["-c", "core.fsync=committed,loose-object", "hash-object", "-t", "commit", "-w", "--stdin"],
            &Input { stdin: Some(text), ..Input::default() },
        )?;
        let said = said.ok(&self.dir)?;
        commit_of(&self.dir, &String::from_utf8_lossy(&said))
    }

    pub(super) fn is_ancestor(&self, old: &CommitId, young: &CommitId) -> Result<bool, MirrorError> {
        let said = self.neutral(&["merge-base", "--is-ancestor", old.as_str(), young.as_str()])?;
        match said.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(said.failed(&self.dir).into()),
        }
    }

    fn object(&self, name: &str) -> Result<ObjectId, MirrorError> {
        let said = self.neutral(&["rev-parse", "--verify", "--quiet", "--end-of-options", name])?;
        if said.is_ok() {
            return object_of(&self.dir, &said.line());
        }
        let why = format!("it has no {name}");
        Err(GitError::Failed { command: "rev-parse".into(), folder: self.dir.display().to_string(), said: why }.into())
    }

    pub(super) fn neutral<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Said, MirrorError> {
        self.neutral_with(args, &Input::default())
    }

    pub(super) fn neutral_with<S: AsRef<OsStr>>(&self, args: &[S], input: &Input<'_>) -> Result<Said, MirrorError> {
        ask(&self.dir, args, &Question { input: *input, is_neutral: true, ..Question::default() })
    }
}

pub(super) fn object_of(folder: &Path, text: &str) -> Result<ObjectId, MirrorError> {
    ObjectId::parse(text.trim()).map_err(|e| unreadable(folder, e.to_string()))
}

pub(super) fn commit_of(folder: &Path, text: &str) -> Result<CommitId, MirrorError> {
    CommitId::parse(text.trim()).map_err(|e| unreadable(folder, e.to_string()))
}

fn unreadable(folder: &Path, said: String) -> MirrorError {
    GitError::Failed { command: "(its answer)".into(), folder: folder.display().to_string(), said }.into()
}

//! Git's own locks, held by a landing: the index of a work tree as a file of git's name, the branch and HEAD by a `git update-ref`
//! that has prepared its transaction and waits. Whoever commits meets them as those of any git command. Which is taken when is
//! `local`'s.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rr_core::id::CommitId;

use super::place;
use super::{Landing, Refusal};
use crate::command::{GitError, Input};
use crate::mirror::MirrorError;
use crate::mirror::ask::{Question, quiet};
use crate::worktree::Worktree;

/// A `git add` is done sooner. A `git commit -a` holds the index while its hooks run: then somebody is committing, and the branch
/// will move anyway.
const INDEX_LIMIT: Duration = Duration::from_secs(5);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Git gives up on a ref's lock after a tenth of a second, and holds its own for less: one that stays this long was left.
const LEFT_AFTER: Duration = Duration::from_secs(1);
/// What the lock of the index holds while it is ours.
const MARK: &str = "railroad landing\n";

/// The index of a work tree, locked as git locks it. Dropped, it is free again.
pub(super) struct IndexLock {
    path: PathBuf,
    is_held: bool,
}

impl IndexLock {
    pub(super) fn path(tree: &Worktree) -> PathBuf {
        tree.git_dir.join("index.lock")
    }

    /// None: somebody else holds it.
    pub(super) fn take(tree: &Worktree) -> Result<Option<Self>, MirrorError> {
        let path = Self::path(tree);
        let failed = |source| MirrorError::Disk { doing: "lock the index of", path: tree.root.clone(), source };
        let until = Instant::now() + INDEX_LIMIT;
        loop {
            match File::options().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let marked = file.write_all(MARK.as_bytes()).and_then(|()| file.sync_all());
                    let lock = Self { path, is_held: true };
                    return marked.map(|()| Some(lock)).map_err(failed);
                }
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
                Err(_) if Instant::now() >= until => return Ok(None),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// One that an earlier process of ours left.
    pub(super) fn take_up(tree: &Worktree) -> Option<Self> {
        let path = Self::path(tree);
        let is_ours = fs::read_to_string(&path).is_ok_and(|text| text == MARK);
        is_ours.then_some(Self { path, is_held: true })
    }

    pub(super) fn free(mut self) -> io::Result<()> {
        self.is_held = false;
        fs::remove_file(&self.path)
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        if self.is_held {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A branch and HEAD, locked by git itself, the branch proven to stand where it is expected. Dropped, nothing has moved.
pub(super) struct RefHold {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl RefHold {
    /// Or what became of the landing because it could not be held.
    pub(super) fn take(
        tree: &Worktree,
        branch: &str,
        (old, new): (&CommitId, &CommitId),
    ) -> Result<Result<Self, Landing>, MirrorError> {
        let input = Input { stdin: Some(b""), ..Input::default() };
        let args = ["update-ref", "--create-reflog", "-m", place::WHY, "-z", "--stdin"];
        let mut command = quiet(&tree.root, &args, &Question { input, ..Question::default() });
        let mut child = command.spawn().map_err(GitError::NotStarted)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for as pipes")
        };
        let mut hold = Self { child, to: Some(to), from: BufReader::new(from) };
        let full = format!("refs/heads/{branch}");
        if hold.say(&format!("start\0update {full}\0{new}\0{old}\0prepare\0"), "prepare: ok").is_ok() {
            return Ok(Ok(hold));
        }
        let said = hold.end();
        match place::tip(&tree.root, &full)? {
            None => Ok(Err(Landing::Refused { why: Refusal::NoSuchBranch })),
            Some(tip) if tip == *old => Ok(Err(Landing::Refused { why: Refusal::RefLocked { said } })),
            Some(tip) => Ok(Err(place::elsewhere(&tree.root, tip, new)?)),
        }
    }

    pub(super) fn commit(mut self) -> io::Result<()> {
        self.say("commit\0", "commit: ok")
    }

    fn say(&mut self, words: &str, answer: &str) -> io::Result<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        to.write_all(words.as_bytes())?;
        to.flush()?;
        loop {
            let mut line = String::new();
            match self.from.read_line(&mut line)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if line.trim() == answer => return Ok(()),
                _ => {}
            }
        }
    }

    /// Ends it and returns what it complained of.
    fn end(&mut self) -> String {
        drop(self.to.take());
        let said = self.child.stderr.take().map(io::read_to_string);
        drop(self.child.wait());
        said.and_then(Result::ok).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for RefHold {
    fn drop(&mut self) {
        self.end();
    }
}

/// Removes what a killed `git update-ref` left: it was ours if the branch's lock holds the commit that was to land.
pub(super) fn remove_left_ref_locks(tree: &Worktree, branch: &str, revert: &CommitId) -> io::Result<()> {
    let of_branch = tree.common_dir.join("refs/heads").join(format!("{branch}.lock"));
    if !fs::read_to_string(&of_branch).is_ok_and(|text| text.trim() == revert.as_str()) {
        return Ok(());
    }
    let of_head = tree.git_dir.join("HEAD.lock");
    let stamp = |path: &Path| path.metadata().ok().map(|m| (m.ino(), m.ctime(), m.ctime_nsec(), m.len()));
    let before = [stamp(&of_branch), stamp(&of_head)];
    std::thread::sleep(LEFT_AFTER);
    for (path, was) in [&of_branch, &of_head].into_iter().zip(before) {
        if was.is_some() && stamp(path) == was {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

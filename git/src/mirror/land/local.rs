//! A branch of a clone on this machine. Where a work tree has it checked out, its files, its index and the branch move under two
//! locks of git's own, the index's and the branch's, so that no commit can come in between. In this order: locks, files, index,
//! branch, locks free. Who is killed on the way leaves the index locked and a note, and [`leftover`] undoes it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rr_core::id::CommitId;
use rr_core::live::GitPath;
use rustix::fs::{FlockOperation, flock};

use super::files::{Staged, Stop, absent_and_new, touched, write_durable};
use super::locks::{IndexLock, LOOK_EVERY, RefHold};
use super::place::{self, git};
use super::{Landing, Refusal, Step, leftover};
use crate::command::Input;
use crate::mirror::ask::names;
use crate::mirror::{Mirror, MirrorError};
use crate::worktree::Worktree;

/// Another landing in the same clone: it stages, moves some files, and ends.
const ALONE_LIMIT: Duration = Duration::from_secs(60);
/// `git commit` reads the index before it locks it, and would write what it read. So the lock stays for longer than it takes
/// git to get from the one to the other: it then ends with "index.lock exists" instead.
const HELD_AFTER: Duration = Duration::from_millis(50);

/// The only landing in a clone, as long as it is held. It goes with the process.
pub(super) struct Alone(#[expect(dead_code, reason = "held open, never read")] File);

impl Alone {
    /// None: another one has not come to its end in time.
    pub(super) fn take(clone: &Worktree) -> Result<Option<Self>, MirrorError> {
        let path = clone.common_dir.join("railroad-landing.lock");
        let failed = |source| MirrorError::Disk { doing: "lock", path: path.clone(), source };
        let file = File::create(&path).map_err(failed)?;
        let until = Instant::now() + ALONE_LIMIT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(e) if e != rustix::io::Errno::WOULDBLOCK => return Err(failed(e.into())),
                Err(_) if Instant::now() >= until => return Ok(None),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

pub(super) fn land(
    mirror: &Mirror,
    clone: &Worktree,
    branch: &str,
    ids: (&CommitId, &CommitId),
    step: &mut dyn FnMut(Step),
) -> Result<Landing, MirrorError> {
    let refused = |why| Ok(Landing::Refused { why });
    let Some(alone) = Alone::take(clone)? else { return refused(Refusal::Busy) };
    leftover::settle(clone, &alone)?;
    match place::tip(&clone.root, &format!("refs/heads/{branch}"))? {
        None => return refused(Refusal::NoSuchBranch),
        Some(tip) if tip != *ids.0 => return place::elsewhere(&clone.root, tip, ids.1),
        Some(_) => {}
    }
    let trees = place::worktrees(clone)?;
    if let Some(why) = place::unfinished(&trees, branch)? {
        return refused(why);
    }
    place::copy(mirror, clone, ids.1, Some(ids.0))?;
    step(Step::Copied);
    match &on_branch(trees, branch)?[..] {
        [] => alone_in_refs(clone, branch, ids),
        [tree] => InTree { tree, branch, ids, work: folder_of(tree), moves_branch: true }.run(step),
        several => refused(Refusal::CheckedOutTwice { roots: several.iter().map(|t| t.root.clone()).collect() }),
    }
}

fn on_branch(trees: Vec<Worktree>, branch: &str) -> Result<Vec<Worktree>, MirrorError> {
    let mut on = Vec::new();
    for tree in trees {
        if place::is_on(&tree, branch)? {
            on.push(tree);
        }
    }
    Ok(on)
}

fn alone_in_refs(clone: &Worktree, branch: &str, ids: (&CommitId, &CommitId)) -> Result<Landing, MirrorError> {
    let landing = place::move_ref(&clone.root, branch, ids)?;
    if landing == Landing::Landed {
        // Somebody may have checked it out as it was, in the moment before: those files and that index follow it.
        for tree in on_branch(place::worktrees(clone)?, branch)? {
            let follow = InTree { tree: &tree, branch, ids, work: folder_of(&tree), moves_branch: false };
            let followed = follow.run(&mut |_| ());
            tracing::info!(root = %tree.root.display(), ?followed, "checked out while it moved");
        }
    }
    Ok(landing)
}

/// Where a landing keeps what it needs: on the work tree's own disk, for names are exchanged.
fn folder_of(tree: &Worktree) -> PathBuf {
    let disk = |path: &Path| path.metadata().map(|meta| meta.dev()).ok();
    let [beside_git, beside_files] = folders_of(tree);
    if disk(&tree.root) == disk(&tree.git_dir) { beside_git } else { beside_files }
}

pub(crate) fn folders_of(tree: &Worktree) -> [PathBuf; 2] {
    [tree.git_dir.join("railroad-landing"), tree.root.join(".railroad-landing")]
}

struct InTree<'a> {
    tree: &'a Worktree,
    branch: &'a str,
    /// The expected commit and the one to land.
    ids: (&'a CommitId, &'a CommitId),
    work: PathBuf,
    /// False: it has moved already.
    moves_branch: bool,
}

impl InTree<'_> {
    fn run(&self, step: &mut dyn FnMut(Step)) -> Result<Landing, MirrorError> {
        let staged = Staged::found(self.tree, &self.work, touched(self.tree, self.ids.0, self.ids.1)?);
        self.make_ready(&staged)?;
        step(Step::Staged);
        let landing = match self.locked(&staged, step) {
            Ok(landing) => landing,
            Err(Stop::Refused(why)) => Landing::Refused { why },
            Err(Stop::Failed(e)) => return Err(e),
        };
        leftover::clear(&staged, &self.work).map_err(self.disk("clear"))?;
        Ok(landing)
    }

    fn make_ready(&self, staged: &Staged<'_>) -> Result<(), MirrorError> {
        fs::create_dir_all(&self.work).map_err(self.disk("make the folder"))?;
        fs::write(self.work.join(".gitignore"), "*\n").map_err(self.disk("write"))?;
        staged.write()?;
        let note = format!("{}\n{}\n{}\n", self.ids.0, self.ids.1, self.branch);
        write_durable(&self.work.join("note"), note.as_bytes()).map_err(self.disk("write"))
    }

    fn locked(&self, staged: &Staged<'_>, step: &mut dyn FnMut(Step)) -> Result<Landing, Stop> {
        staged.survey()?;
        let Some(index) = IndexLock::take(self.tree)? else {
            return Err(Stop::Refused(Refusal::IndexLocked { lock: IndexLock::path(self.tree) }));
        };
        step(Step::IndexHeld);
        let mut held = None;
        if self.moves_branch {
            match RefHold::take(self.tree, self.branch, self.ids)? {
                Ok(hold) => held = Some(hold),
                Err(landing) => return Ok(landing),
            }
        }
        // Under the locks nothing of this can change any more.
        if let Some(why) = place::unfinished(std::slice::from_ref(self.tree), self.branch)? {
            return Err(Stop::Refused(why));
        }
        if !place::is_on(self.tree, self.branch)? {
            let what = "change of branches";
            return Err(Stop::Refused(Refusal::InProgress { what, root: self.tree.root.clone() }));
        }
        step(Step::RefHeld);
        let done = self.move_under(staged, held, step);
        if done.as_ref().is_ok_and(|landing| *landing == Landing::Landed) {
            std::thread::sleep(HELD_AFTER);
        }
        index.free().map_err(self.disk("unlock"))?;
        step(Step::IndexFree);
        done
    }

    fn move_under(
        &self,
        staged: &Staged<'_>,
        held: Option<RefHold>,
        step: &mut dyn FnMut(Step),
    ) -> Result<Landing, Stop> {
        self.index_ready(staged)?;
        if let Err(stop) = staged.survey().and_then(|()| staged.move_all(step)) {
            staged.put_back(|_| true)?;
            return Err(stop);
        }
        let (index, was) = (self.tree.git_dir.join("index"), self.work.join("index.was"));
        self.index_git(&["update-index", "-q", "--refresh"], &[])?;
        fs::rename(self.work.join("index.now"), &index).map_err(self.disk("move the index"))?;
        step(Step::IndexMoved);
        let Some(held) = held else { return Ok(Landing::Landed) };
        let said = held.commit();
        let tip = place::tip(&self.tree.root, &format!("refs/heads/{}", self.branch))?;
        if tip.as_ref() == Some(self.ids.1) {
            step(Step::RefMoved);
            return Ok(Landing::Landed);
        }
        fs::rename(&was, &index).map_err(self.disk("put the index back"))?;
        staged.put_back(|_| true)?;
        Err(Stop::Refused(Refusal::RefLocked { said: said.err().map(|e| e.to_string()).unwrap_or_default() }))
    }

    /// The index as it will be: `index.now`; and as it is: `index.was`.
    fn index_ready(&self, staged: &Staged<'_>) -> Result<(), Stop> {
        for name in ["index.was", "index.now"] {
            match fs::copy(self.tree.git_dir.join("index"), self.work.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Stop::Failed(self.disk("copy the index")(e)));
                }
                _ => {}
            }
        }
        let (old, new) = (self.ids.0.as_str(), self.ids.1.as_str());
        let different = self.index_git(&["diff-index", "--cached", "--name-only", "--no-renames", "-z", old], &[])?;
        let touched = staged.paths();
        let paths: Vec<_> = names(&different).map(GitPath::new).filter(|p| touched.contains(p)).collect();
        if !paths.is_empty() {
            return Err(Stop::Refused(Refusal::Dirty { paths }));
        }
        self.index_git(&["read-tree", "-m", "-i", old, new], &[])?;
        let absent = absent_and_new(&staged.touched);
        if !absent.is_empty() {
            self.index_git(&["update-index", "-z", "--skip-worktree", "--stdin"], &absent)?;
        }
        Ok(())
    }

    fn index_git(&self, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, MirrorError> {
        let index = self.work.join("index.now");
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        let said = git(&self.tree.root, args, &Input { stdin: Some(stdin), env: &env, ..Input::default() })?;
        // A refresh that finds work of others says so by its exit code.
        if args.contains(&"--refresh") { Ok(said.out) } else { Ok(said.ok(&self.tree.root)?) }
    }

    fn disk(&self, doing: &'static str) -> impl Fn(io::Error) -> MirrorError + '_ {
        move |source| MirrorError::Disk { doing, path: self.tree.root.clone(), source }
    }
}

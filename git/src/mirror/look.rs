//! One look at a work tree: its whole tree as it stands, in the mirror, and nothing of the user's repository written. Git tells what
//! is not as in our own copy of the index; only those paths are read. What cannot be kept is said. Next: `changes`.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use rr_core::id::{CommitId, ObjectId, hex};
use rr_core::live::GitPath;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::own_index::{OwnIndex, Seed};
use super::run::{Told, run};
use super::standing::{Standing, as_path};
use super::{Mirror, MirrorError, borrow};
use crate::worktree::Worktree;

/// A larger file is not kept: nobody merges it, and every save of it would be stored. It counts as changed by its stamp.
pub const LOOK_BYTES_MAX: u64 = 64 << 20;
/// How often a work tree that moves under our eyes is looked at again at once.
const TRIES: usize = 3;
/// A work tree whose filters or disk need longer is told as restless.
const GIT_LIMIT: Duration = Duration::from_secs(120);
/// Paths that git refuses, one by one, before the look is given up.
const REFUSED_MAX: usize = 16;
/// Notes that a look carries; more of them say nothing new.
const NOTES_MAX: usize = 200;

/// What stood in a work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// All of it: untracked files included, ignored ones not.
    pub tree: ObjectId,
    /// None: there is no commit yet.
    pub head: Option<CommitId>,
    /// Empty where none is checked out.
    pub branch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// What the tree does not have as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    #[serde(default)]
    pub notes_left_out: usize,
}

/// What git is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Rebase,
    Merge,
    CherryPick,
    Revert,
    Bisect,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    pub path: GitPath,
    pub what: Noted,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noted {
    /// Larger than [`LOOK_BYTES_MAX`]. The tree has it as it was committed, or not at all. The stamp changes when the file does.
    Large { bytes: u64, stamp: String },
    /// May not be read. The same holds for the tree.
    Unreadable { stamp: String },
    /// Git would not take it, in its own words.
    Refused { said: String, stamp: String },
    /// A repository of its own that is no submodule: another work tree, say. It is no part of the tree.
    Repository,
    /// A submodule with changes that are in none of its commits.
    DirtySubmodule,
}

impl Note {
    /// Of a path that changed, but not in the tree.
    pub(super) fn stamp(&self) -> Option<&str> {
        match &self.what {
            Noted::Large { stamp, .. } | Noted::Unreadable { stamp } | Noted::Refused { stamp, .. } => Some(stamp),
            Noted::Repository | Noted::DirtySubmodule => None,
        }
    }
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// As it was before.
    Same,
    Changed(Look),
    /// It did not hold still for long enough, or git could not read it, for this reason.
    Restless(String),
}

enum Once {
    Seen(Look),
    Moved(String),
}

impl Mirror {
    /// Looks at a work tree. Costs one pass over it when nothing changed, and stores nothing then.
    ///
    /// # Errors
    /// If git cannot be run there at all, or the mirror's disk refuses.
    pub fn look(&self, tree: &Worktree, before: Option<&Look>) -> Result<Looked, MirrorError> {
        let mut why = String::new();
        for _ in 0..TRIES {
            match self.look_once(tree) {
                Ok(Once::Seen(look)) if Some(&look) == before => return Ok(Looked::Same),
                Ok(Once::Seen(look)) => return Ok(Looked::Changed(look)),
                Ok(Once::Moved(reason)) => why = reason,
                Err(e @ MirrorError::TooLong { .. }) => return Ok(Looked::Restless(e.to_string())),
                Err(e) => return Err(e),
            }
        }
        Ok(Looked::Restless(why))
    }

    fn look_once(&self, tree: &Worktree) -> Result<Once, MirrorError> {
        let mut own = self.own_index(tree)?;
        let eye = Eye { mirror: self, tree };
        if own.tree.is_none() {
            if !self.lenders()?.contains(&tree.common_dir.join("objects")) {
                // Else all of its objects would be stored once more, or under names of another kind.
                self.borrow_from(tree)?;
            }
            eye.refresh(&own)?;
        }
        let standing = eye.standing(&own)?;
        let mut plan = Plan::of(tree, &standing, &own);
        let known = own.tree.clone().filter(|_| plan.is_empty());
        let written = match known {
            Some(known) => known,
            None => {
                if let Some(moved) = eye.update(&mut own, &mut plan)? {
                    return Ok(Once::Moved(moved));
                }
                eye.write_tree(&own)?
            }
        };
        own.holds(written.clone())?;
        if own.seed() != Seed::of(tree) {
            return Ok(Once::Moved("git changed its index meanwhile".to_owned()));
        }
        self.keep_index(tree, own);
        let (notes, notes_left_out) = plan.notes();
        let (head, branch) = (standing.head, standing.branch);
        let operation = operation(tree);
        Ok(Once::Seen(Look { tree: written, head, branch, operation, notes, notes_left_out }))
    }
}

/// What is to be done to our index.
#[derive(Default)]
struct Plan {
    out: Vec<GitPath>,
    take: Vec<GitPath>,
    notes: Vec<Note>,
}

impl Plan {
    fn of(tree: &Worktree, standing: &Standing, own: &OwnIndex) -> Self {
        let mut plan = Self { out: standing.gone.clone(), ..Self::default() };
        for path in &standing.other {
            plan.sort_in(tree, path, own);
        }
        let note = |what: Noted| move |path: &GitPath| Note { path: path.clone(), what: what.clone() };
        plan.notes.extend(standing.repositories.iter().map(note(Noted::Repository)));
        plan.notes.extend(standing.dirty_submodules.iter().map(note(Noted::DirtySubmodule)));
        plan
    }

    fn sort_in(&mut self, tree: &Worktree, path: &GitPath, own: &OwnIndex) {
        let on_disk = tree.root.join(as_path(path));
        if let Some(note) = own.refused.iter().find(|note| note.path == *path)
            && note.stamp() == Some(&stamp_at(&on_disk))
        {
            // It would be refused again.
            self.notes.push(note.clone());
            return;
        }
        match on_disk.symlink_metadata() {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.out.push(path.clone());
            }
            // Git says what is wrong with it.
            Err(_) => self.take.push(path.clone()),
            // Pipes, sockets, devices have no place in a tree.
            Ok(meta) if is_special(&meta) => self.out.push(path.clone()),
            Ok(meta) if meta.is_file() && meta.len() > LOOK_BYTES_MAX => {
                self.note(path, Noted::Large { bytes: meta.len(), stamp: stamp(&meta) });
            }
            Ok(meta) if meta.is_file() && is_closed(&on_disk) => {
                self.note(path, Noted::Unreadable { stamp: stamp(&meta) });
            }
            Ok(_) => self.take.push(path.clone()),
        }
    }

    fn note(&mut self, path: &GitPath, what: Noted) {
        self.notes.push(Note { path: path.clone(), what });
    }

    fn is_empty(&self) -> bool {
        self.out.is_empty() && self.take.is_empty()
    }

    /// The first so many, and how many more there are.
    fn notes(mut self) -> (Vec<Note>, usize) {
        self.notes.sort();
        let left_out = self.notes.len().saturating_sub(NOTES_MAX);
        self.notes.truncate(NOTES_MAX);
        (self.notes, left_out)
    }
}

fn is_special(meta: &Metadata) -> bool {
    let kind = meta.file_type();
    kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device()
}

fn is_closed(path: &Path) -> bool {
    File::open(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn stamp_at(path: &Path) -> String {
    path.symlink_metadata().map_or_else(|_| String::new(), |meta| stamp(&meta))
}

fn stamp(meta: &Metadata) -> String {
    let parts = [meta.ino().to_le_bytes(), meta.len().to_le_bytes(), meta.mtime().to_le_bytes()];
    let more = [meta.mtime_nsec().to_le_bytes(), meta.ctime().to_le_bytes(), meta.ctime_nsec().to_le_bytes()];
    hex(&Sha256::digest([parts, more].concat().concat()))
}

/// Where Git LFS puts what its filter takes in, below the mirror.
pub(super) const LFS: &str = "lfs";

/// Runs git in the user's work tree, on our index, with our store of objects.
struct Eye<'a> {
    mirror: &'a Mirror,
    tree: &'a Worktree,
}

/// What the user's configuration may not do to a look: run hooks or monitors, write shared indexes beside theirs, trust half a
/// stamp, refuse line ends, or sync each object by itself.
const OVERRIDES: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.ignoreStat=false",
    "core.safecrlf=false",
    "core.fsyncMethod=batch",
];

impl Eye<'_> {
    fn git(&self, own: &OwnIndex, args: &[&str], stdin: Option<Vec<u8>>) -> Result<Told, MirrorError> {
        let mut lfs = OsString::from("lfs.storage=");
        lfs.push(self.mirror.dir.join(LFS));
        let overrides = OVERRIDES.iter().map(OsString::from).chain([lfs]);
        let mut words: Vec<OsString> = overrides.flat_map(|setting| ["-c".into(), setting]).collect();
        words.extend(args.iter().map(OsString::from));
        let lent = borrow::quoted(&self.tree.common_dir.join("objects"));
        let env = [
            ("GIT_INDEX_FILE", own.file.clone().into_os_string()),
            ("GIT_OBJECT_DIRECTORY", self.mirror.objects().into_os_string()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", std::os::unix::ffi::OsStringExt::from_vec(lent)),
        ];
        run(&self.tree.root, &words, stdin, &env, GIT_LIMIT)
    }

    /// Of a copied index: entries that git would read the files of again each time, because of when they were written, are read
    /// once. What differs is not its business.
    fn refresh(&self, own: &OwnIndex) -> Result<(), MirrorError> {
        if own.seed().is_some() {
            self.git(own, &["update-index", "-q", "--unmerged", "--refresh", "--force-write-index"], None)?;
        }
        Ok(())
    }

    fn standing(&self, own: &OwnIndex) -> Result<Standing, MirrorError> {
        let how = ["status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames"];
        let what = ["--untracked-files=all", "--ignored=no", "--ignore-submodules=none"];
        let said = self.git(own, &[&how[..], &what].concat(), None)?.good(&self.tree.root)?;
        Ok(Standing::read(&said))
    }

    fn write_tree(&self, own: &OwnIndex) -> Result<ObjectId, MirrorError> {
        // What a partial clone has left with its remote is part of the tree all the same.
        let written = self.git(own, &["write-tree", "--missing-ok"], None)?.good(&self.tree.root)?;
        object(&written, "write-tree")
    }

    /// Brings our index to what stands. What git refuses is noted. Some: it could not be done, for this reason.
    fn update(&self, own: &mut OwnIndex, plan: &mut Plan) -> Result<Option<String>, MirrorError> {
        if !plan.out.is_empty() {
            let args = ["update-index", "--force-remove", "-z", "--stdin"];
            self.git(own, &args, Some(lines(&plan.out)))?.good(&self.tree.root)?;
            let ignored =
                self.git(own, &["check-ignore", "--no-index", "-q", "-z", "--stdin"], Some(lines(&plan.out)))?;
            own.is_spent |= ignored.status.success();
        }
        let mut waiting = vec![std::mem::take(&mut plan.take)];
        let mut refused = 0;
        while let Some(mut paths) = waiting.pop() {
            let told = self.take(own, &paths)?;
            if told.is_none() {
                continue;
            }
            let said = told.unwrap_or_default();
            if paths.len() > 1 {
                // One of them is refused: which one shows in halves.
                let rest = paths.split_off(paths.len() / 2);
                waiting.extend([rest, paths]);
            } else if refused == REFUSED_MAX {
                return Ok(Some(said));
            } else if let Some(path) = paths.pop() {
                refused += 1;
                let stamp = stamp_at(&self.tree.root.join(as_path(&path)));
                let note = Note { path, what: Noted::Refused { said, stamp } };
                own.refused.push(note.clone());
                plan.notes.push(note);
            }
        }
        Ok(None)
    }

    /// None: all of them are taken.
    fn take(&self, own: &OwnIndex, paths: &[GitPath]) -> Result<Option<String>, MirrorError> {
        if paths.is_empty() {
            return Ok(None);
        }
        let args = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"];
        let told = self.git(own, &args, Some(lines(paths)))?;
        Ok((!told.status.success()).then(|| told.words()))
    }
}

fn lines(paths: &[GitPath]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect()
}

pub(super) fn object(said: &[u8], command: &'static str) -> Result<ObjectId, MirrorError> {
    let said = String::from_utf8_lossy(said).trim().to_owned();
    ObjectId::parse(&said).map_err(|_| MirrorError::Words { command, said })
}

/// What git is in the middle of, by the files it leaves for itself.
fn operation(tree: &Worktree) -> Option<Operation> {
    let has = |name: &str| tree.git_dir.join(name).exists();
    // Some kinds of repository keep these two as refs.
    let names = |name: &str| {
        has(name)
            || (tree.common_dir.join("reftable").exists()
                && crate::command::git(&tree.root, ["rev-parse", "--quiet", "--verify", name]).is_ok())
    };
    match () {
        () if has("rebase-merge") || has("rebase-apply") => Some(Operation::Rebase),
        () if has("MERGE_HEAD") => Some(Operation::Merge),
        () if names("CHERRY_PICK_HEAD") => Some(Operation::CherryPick),
        () if names("REVERT_HEAD") => Some(Operation::Revert),
        () if has("BISECT_LOG") => Some(Operation::Bisect),
        () => None,
    }
}

//! A standing work tree that checks run in, outside every agent's: moved from tree to tree so that what did not change keeps its time
//! and what a build left keeps its use. A check may do to it what it likes, and a move may be cut off anywhere: the next one
//! sets it right. It knows no checks. What is moved to comes from the [`Mirror`].
//!
//! No program that a repository or this machine names runs in it: no hooks, no filters. The same tree looks the same on every
//! host; what a filter keeps elsewhere (LFS) stays the pointer that is committed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rr_core::id::ObjectId;
use rr_core::live::GitPath;
use rustix::fs::{FlockOperation, flock};

use super::ask::{LOCAL_LIMIT, Question, Said, ask, names};
use super::{Mirror, MirrorError};
use crate::command::Input;

/// One slot's work tree. What it needs lies in the slot's folder: `tree`, its index, which tree stands there.
#[derive(Clone, Debug)]
pub struct CheckTree {
    mirror: Mirror,
    folder: PathBuf,
}

/// What a move did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files that were written or removed.
    pub changed: usize,
    /// Their folders are there and empty: nobody has their commits here.
    pub submodules: Vec<GitPath>,
}

/// How much of the old is trusted.
#[derive(Clone, Copy, Debug)]
enum Care {
    Index,
    /// Nothing is known but the files themselves: those that are right keep their time.
    Files,
    Nothing,
}

impl CheckTree {
    /// The slot's tree, wherever it stands; the first move makes it.
    #[must_use]
    pub fn open(mirror: &Mirror, folder: &Path) -> Self {
        Self { mirror: mirror.clone(), folder: folder.to_owned() }
    }

    /// Where checks run.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Makes it this tree, or this commit's. Waits for another move of the same slot.
    ///
    /// # Errors
    /// If the mirror has no such tree, or the disk refuses even a new start.
    pub fn move_to(&self, tree_or_commit: &ObjectId) -> Result<Moved, MirrorError> {
        let said = self.mirror.neutral(&["rev-parse", "--verify", "--quiet", &format!("{tree_or_commit}^{{tree}}")])?;
        if !said.is_ok() {
            return Err(said.failed(&self.mirror.dir).into());
        }
        let tree = said.line();
        fs::create_dir_all(self.root()).map_err(self.disk("make the folder"))?;
        let alone = fs::File::create(self.folder.join("lock")).map_err(self.disk("lock"))?;
        flock(&alone, FlockOperation::LockExclusive).map_err(|e| self.disk("lock")(e.into()))?;
        let mut last = self.attempt(&tree, Care::Index);
        for care in [Care::Files, Care::Nothing] {
            if let Err(e) = &last {
                tracing::warn!(error = %e, folder = %self.folder.display(), "check tree is set up anew: {care:?}");
                last = self.attempt(&tree, care);
            }
        }
        last
    }

    fn attempt(&self, tree: &str, care: Care) -> Result<Moved, MirrorError> {
        match care {
            Care::Index => self.remove("index.lock")?,
            Care::Files => {
                self.remove("index.lock")?;
                self.remove("index")?;
                make_writable(&self.root());
            }
            Care::Nothing => self.start_anew()?,
        }
        if !self.folder.join("index").exists() {
            self.index_of_files()?;
        }
        // Files of a tree that was half written may be ignored ones: they are only known by going there first.
        if let Some(cut_off) = self.note("going").filter(|t| t != tree && self.note("at").as_ref() != Some(t)) {
            self.go(&cut_off)?;
        }
        self.go(tree)
    }

    fn go(&self, tree: &str) -> Result<Moved, MirrorError> {
        fs::write(self.folder.join("going"), tree).map_err(self.disk("note"))?;
        self.git(&["update-index", "-q", "--refresh"])?;
        let mut changed: BTreeSet<Vec<u8>> =
            self.list(&["diff-files", "--name-only", "-z", "--ignore-submodules=all"])?;
        changed.extend(self.list(&["diff-index", "--cached", "--name-only", "--no-renames", "-z", tree])?);
        if !changed.is_empty() {
            self.git(&["read-tree", "--reset", "-u", tree])?.ok(&self.folder)?;
        }
        let removed = self.git(&["clean", "-ffd"])?.ok(&self.folder)?;
        let removed = removed.split(|b| *b == b'\n').filter(|line| line.starts_with(b"Removing ")).count();
        // Not git's to clean, and a check would take it for its repository.
        remove_all(&self.root().join(".git")).map_err(self.disk("remove"))?;
        let submodules = self.empty_submodules()?;
        fs::write(self.folder.join("at"), tree).map_err(self.disk("note"))?;
        self.remove("going")?;
        Ok(Moved { changed: changed.len() + removed, submodules })
    }

    /// An index of what stood there last, or was on its way, so that files that are right are left alone.
    fn index_of_files(&self) -> Result<(), MirrorError> {
        if let Some(tree) = self.note("at").or_else(|| self.note("going")) {
            self.git(&["read-tree", &tree])?.ok(&self.folder)?;
        }
        Ok(())
    }

    fn empty_submodules(&self) -> Result<Vec<GitPath>, MirrorError> {
        let entries = self.list(&["ls-files", "--stage", "-z"])?;
        let linked = entries.iter().filter(|e| e.starts_with(b"160000 "));
        let paths: Vec<&[u8]> = linked.filter_map(|e| e.splitn(2, |b| *b == b'\t').nth(1)).collect();
        for path in &paths {
            let folder = self.root().join(OsStr::from_bytes(path));
            if fs::read_dir(&folder).is_ok_and(|mut inside| inside.next().is_some()) {
                remove_all(&folder).and_then(|()| fs::create_dir_all(&folder)).map_err(self.disk("empty"))?;
            }
        }
        Ok(paths.into_iter().map(GitPath::new).collect())
    }

    fn start_anew(&self) -> Result<(), MirrorError> {
        remove_all(&self.root()).map_err(self.disk("remove"))?;
        for name in ["index", "index.lock", "at", "going"] {
            self.remove(name)?;
        }
        fs::create_dir_all(self.root()).map_err(self.disk("make the folder"))
    }

    fn note(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        ObjectId::parse(text.trim()).ok().map(|id| id.as_str().to_owned())
    }

    fn remove(&self, name: &str) -> Result<(), MirrorError> {
        match fs::remove_file(self.folder.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.disk("remove")(e)),
            _ => Ok(()),
        }
    }

    fn list(&self, args: &[&str]) -> Result<BTreeSet<Vec<u8>>, MirrorError> {
        Ok(names(&self.git(args)?.ok(&self.folder)?).map(<[u8]>::to_vec).collect())
    }

    fn git(&self, args: &[&str]) -> Result<Said, MirrorError> {
        let (root, index) = (self.root(), self.folder.join("index"));
        let git_dir = self.mirror.dir.canonicalize().unwrap_or_else(|_| self.mirror.dir.clone());
        let env: [(&str, &OsStr); 3] = [
            ("GIT_DIR", git_dir.as_os_str()),
            ("GIT_WORK_TREE", root.as_os_str()),
            ("GIT_INDEX_FILE", index.as_os_str()),
        ];
        // What somebody ignores on this machine only would survive here and not elsewhere.
        let fixed = ["-c", "core.excludesFile=/dev/null", "-c", "core.attributesFile=/dev/null"];
        let words: Vec<OsString> = fixed.iter().chain(args).map(OsString::from).collect();
        let input = Input { env: &env, ..Input::default() };
        ask(&root, &words, &Question { input, limit: LOCAL_LIMIT, is_neutral: true })
    }

    fn disk(&self, doing: &'static str) -> impl Fn(io::Error) -> MirrorError + '_ {
        move |source| MirrorError::Disk { doing, path: self.folder.clone(), source }
    }
}

/// A check may have closed a folder, also to its owner.
fn make_writable(folder: &Path) {
    let Ok(meta) = folder.symlink_metadata() else { return };
    if !meta.is_dir() {
        return;
    }
    let mode = meta.permissions().mode();
    if mode & 0o700 != 0o700 {
        drop(fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o700)));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_writable(&entry.path());
    }
}

fn remove_all(folder: &Path) -> io::Result<()> {
    make_writable(folder);
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => fs::remove_file(folder),
        done => done,
    }
}

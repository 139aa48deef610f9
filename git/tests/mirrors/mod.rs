//! A clone with a mirror beside it, and git as people type it, for the tests of what is made, checked out and landed from there.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rr_core::id::{CommitId, ObjectId};
use rr_git::{Landing, Mirror, Place, RevertPlan, Worktree};

pub(crate) struct Room {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clone: Worktree,
    pub(crate) mirror: Mirror,
}

pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args);
    for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"] {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
    command
}

pub(crate) fn tried(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("git runs")
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let done = tried(folder, args);
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

pub(crate) fn put(root: &Path, path: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
    let path = root.join(path.as_ref());
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

pub(crate) fn id(text: &str) -> CommitId {
    CommitId::parse(text).expect("a commit")
}

pub(crate) fn tree(text: &str) -> ObjectId {
    ObjectId::parse(text).expect("a tree")
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::of("sha1")
    }

    pub(crate) fn of(format: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("clone");
        fs::create_dir(&root).expect("made");
        git(&root, &["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        git(&root, &["config", "user.name", "t"]);
        git(&root, &["config", "user.email", "t@example.org"]);
        let clone = Worktree::discover(&root).expect("readable").expect("a work tree");
        let mirror = Self::mirror_beside(dir.path(), "mirror", &clone);
        Self { dir, clone, mirror }
    }

    /// A mirror that has all that a clone has.
    pub(crate) fn mirror_beside(dir: &Path, name: &str, clone: &Worktree) -> Mirror {
        let mirror = Mirror::open(&dir.join(name), clone).expect("made");
        let info = mirror.dir().join("objects/info");
        fs::create_dir_all(&info).expect("made");
        let lent = format!("{}\n", clone.common_dir.join("objects").display());
        fs::write(info.join("alternates"), lent).expect("written");
        mirror
    }

    pub(crate) fn root(&self) -> &Path {
        &self.clone.root
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(self.root(), args)
    }

    pub(crate) fn put(&self, path: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        put(self.root(), path, bytes);
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).expect("read")
    }

    /// Commits everything that stands there.
    pub(crate) fn commit(&self, subject: &str) -> CommitId {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", subject]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        id(&self.git(&["rev-parse", "HEAD"]))
    }

    pub(crate) fn tree_of(&self, commit: &str) -> ObjectId {
        tree(&self.git(&["rev-parse", &format!("{commit}^{{tree}}")]))
    }

    pub(crate) fn place(&self) -> Place {
        Place::Local { clone: self.clone.clone(), branch: "main".into() }
    }

    /// The commit that takes `culprit` out of `tip`.
    pub(crate) fn revert(&self, tip: &CommitId, culprit: &CommitId) -> CommitId {
        revert(&self.mirror, tip, culprit)
    }

    pub(crate) fn land(&self, expected: &CommitId, revert: &CommitId) -> Landing {
        self.mirror.land(&self.place(), expected, revert).expect("answered")
    }

    pub(crate) fn status(&self) -> String {
        self.git(&["status", "--porcelain", "--untracked-files=all"])
    }
}

pub(crate) fn revert(mirror: &Mirror, tip: &CommitId, culprit: &CommitId) -> CommitId {
    let rr_git::Combined::Tree(tree) = mirror.without(tip, culprit).expect("merged") else {
        panic!("the revert conflicts")
    };
    let plan = RevertPlan {
        tip: tip.clone(),
        tree,
        message: format!("Revert {culprit}\n\nIt broke the build."),
        trailers: vec![("Railroad-Reverts".into(), culprit.to_string())],
    };
    mirror.make_revert(&plan, 1_700_000_000).expect("made")
}

/// Every file below a folder but git's own, as bytes.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("listed").flatten() {
            let path = entry.path();
            let kind = entry.file_type().expect("a kind");
            let bytes = if entry.file_name() == OsStr::from_bytes(b".git") {
                continue;
            } else if kind.is_dir() {
                open.push(path);
                continue;
            } else if kind.is_symlink() {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).expect("read")
            };
            found.insert(path.strip_prefix(root).expect("below").to_owned(), bytes);
        }
    }
    found
}

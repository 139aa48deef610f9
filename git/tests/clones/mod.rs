//! Clones to look at: made by the git program, with whatever it can be set up to, and a way to see that nobody wrote to them.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rr_core::id::HostId;
use rr_core::live::TreeKey;
use rr_git::{Look, Looked, Mirror, Worktree};

/// Runs git with nobody's configuration.
pub(crate) fn git_output(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new("git");
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "t").env(format!("GIT_{name}_EMAIL"), "t@example.org");
    }
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_EDITOR", "true");
    command.output().expect("git runs")
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = git_output(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// One clone, and a mirror beside it.
pub(crate) struct Place {
    pub(crate) room: tempfile::TempDir,
    pub(crate) dir: PathBuf,
    pub(crate) tree: Worktree,
    pub(crate) mirror: Mirror,
}

pub(crate) fn place() -> Place {
    place_with(&[])
}

/// `init` is told these words more.
pub(crate) fn place_with(init: &[&str]) -> Place {
    let room = tempfile::tempdir().expect("a folder");
    let dir = room.path().join("clone");
    fs::create_dir(&dir).expect("made");
    git(&dir, &[&["init", "-q", "-b", "main"], init].concat());
    Place::at(room, dir)
}

pub(crate) fn discover(dir: &Path) -> Worktree {
    Worktree::discover(dir).expect("readable").expect("a work tree")
}

impl Place {
    pub(crate) fn at(room: tempfile::TempDir, dir: PathBuf) -> Self {
        let tree = discover(&dir);
        let mirror = Mirror::open(&room.path().join("mirror.git"), &tree).expect("a mirror");
        mirror.borrow_from(&tree).expect("borrowed");
        Self { room, dir, tree, mirror }
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.dir, args)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write(&self.dir, name, text);
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Looks, and sees that nothing of the user's was written.
    pub(crate) fn look(&self) -> Look {
        self.look_at(&self.tree)
    }

    pub(crate) fn look_at(&self, tree: &Worktree) -> Look {
        match self.looked(tree, None) {
            Looked::Changed(look) => look,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn looked(&self, tree: &Worktree, before: Option<&Look>) -> Looked {
        let stood = everything(&self.dir);
        let looked = self.mirror.look(tree, before).expect("looked");
        assert_same(&stood, &everything(&self.dir));
        looked
    }

    /// Paths and contents of a look's tree.
    pub(crate) fn files(&self, look: &Look) -> BTreeMap<String, String> {
        let list = git(self.mirror.dir(), &["ls-tree", "-r", look.tree.as_str()]);
        let file = |line: &str| {
            let (head, path) = line.split_once('\t').expect("a line");
            let id = head.split(' ').nth(2).expect("an id");
            let text = if head.starts_with("160000") {
                id.to_owned()
            } else {
                git(self.mirror.dir(), &["cat-file", "blob", id])
            };
            (path.to_owned(), text)
        };
        list.lines().map(file).collect()
    }

    pub(crate) fn own_objects(&self) -> String {
        let said = git(self.mirror.dir(), &["count-objects", "-v"]);
        said.lines().filter(|line| line.starts_with("count:") || line.starts_with("in-pack:")).collect()
    }
}

pub(crate) fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

pub(crate) fn key(host: u8, tree: &str) -> TreeKey {
    TreeKey { host: HostId::from_random([host; 16]), tree: tree.to_owned() }
}

/// What is below a folder: size, time of the last write and the bytes of small files. Of objects, git renews the time when it
/// comes upon them again, so only their being there counts.
pub(crate) fn everything(dir: &Path) -> BTreeMap<PathBuf, (u64, i128, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let meta = entry.path().symlink_metadata().expect("there");
            let timeless =
                dir.to_string_lossy().contains("/objects") || entry.path().to_string_lossy().contains("sharedindex");
            let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
            let small = meta.is_file() && meta.len() < 100_000;
            let bytes = if small { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            found.insert(entry.path(), (meta.len(), if timeless { 0 } else { time }, bytes));
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

pub(crate) fn assert_same(
    before: &BTreeMap<PathBuf, (u64, i128, Vec<u8>)>,
    after: &BTreeMap<PathBuf, (u64, i128, Vec<u8>)>,
) {
    let of = |paths: &BTreeMap<PathBuf, (u64, i128, Vec<u8>)>| paths.keys().cloned().collect::<Vec<_>>();
    assert_eq!(of(before), of(after), "files came or went");
    for (path, was) in before {
        assert!(after.get(path) == Some(was), "{} was written", path.display());
    }
}

/// Numbers that a test can repeat: printed with what fails.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below.max(1)
    }
}

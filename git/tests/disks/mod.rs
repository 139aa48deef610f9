//! Disks for tests: one that fails at its n-th step, and one that keeps only what was synced. And repositories to work on.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rr_git::Worktree;
use rr_git::disk::{Disk, Folder, RealDisk, Rename};

/// How a disk comes to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// No space for anything new; what frees space or renames goes on.
    Full,
    /// Nothing at all any more: the machine is gone.
    Gone,
}

pub(crate) struct Failing {
    left: AtomicUsize,
    end: End,
}

impl Failing {
    pub(crate) fn after(steps: usize, end: End) -> Self {
        Self { left: AtomicUsize::new(steps), end }
    }

    pub(crate) fn run_out_after(&self, steps: usize) {
        self.left.store(steps, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.left.store(usize::MAX, Ordering::SeqCst);
    }

    fn step(&self, needs_space: bool) -> io::Result<()> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return match self.end {
                End::Full if !needs_space => Ok(()),
                End::Full => Err(io::ErrorKind::StorageFull.into()),
                End::Gone => Err(io::Error::other("the machine is gone")),
            };
        }
        self.left.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Disk for Failing {
    fn create(&self, folder: &Folder, name: &OsStr) -> io::Result<File> {
        self.step(true)?;
        RealDisk.create(folder, name)
    }
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.step(true)?;
        RealDisk.write(file, bytes)
    }
    fn sync(&self, _: &File) -> io::Result<()> {
        self.step(true)
    }
    fn sync_folder(&self, _: &Folder) -> io::Result<()> {
        self.step(false)
    }
    fn set_mode(&self, file: &File, mode: u16) -> io::Result<()> {
        self.step(false)?;
        RealDisk.set_mode(file, mode)
    }
    fn link(&self, folder: &Folder, name: &OsStr, target: &OsStr) -> io::Result<()> {
        self.step(true)?;
        RealDisk.link(folder, name, target)
    }
    fn make_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        self.step(true)?;
        RealDisk.make_folder(folder, name)
    }
    fn remove_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        self.step(false)?;
        RealDisk.remove_folder(folder, name)
    }
    fn remove(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        self.step(false)?;
        RealDisk.remove(folder, name)
    }
    fn rename(&self, from: (&Folder, &OsStr), to: (&Folder, &OsStr), how: Rename) -> io::Result<()> {
        self.step(false)?;
        RealDisk.rename(from, to, how)
    }
}

/// Keeps the bytes of a file that was synced, under the names of a folder that was synced.
#[derive(Default)]
pub(crate) struct Forgetful {
    state: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    /// Files written to since they were last synced.
    unsynced: HashMap<u64, ()>,
    /// Names that a folder got since it was last synced, and what was there before.
    names: HashMap<PathBuf, Vec<(PathBuf, u64)>>,
}

impl Forgetful {
    /// The machine loses power: what is left is what was synced.
    pub(crate) fn lose_power(&self) {
        let mut state = self.state.lock().expect("unpoisoned");
        for (_, names) in state.names.drain() {
            for (path, _) in names {
                let _ = std::fs::remove_file(path);
            }
        }
        state.unsynced.clear();
    }

    fn note(&self, folder: &Folder, name: &OsStr) {
        let path = folder.path().join(name);
        let inode = path.symlink_metadata().map_or(0, |meta| meta.ino());
        let mut state = self.state.lock().expect("unpoisoned");
        state.names.entry(folder.path().to_owned()).or_default().push((path, inode));
    }
}

impl Disk for Forgetful {
    fn create(&self, folder: &Folder, name: &OsStr) -> io::Result<File> {
        let file = RealDisk.create(folder, name)?;
        self.note(folder, name);
        Ok(file)
    }
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.state.lock().expect("unpoisoned").unsynced.insert(file.metadata()?.ino(), ());
        RealDisk.write(file, bytes)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.state.lock().expect("unpoisoned").unsynced.remove(&file.metadata()?.ino());
        Ok(())
    }
    fn sync_folder(&self, folder: &Folder) -> io::Result<()> {
        let mut state = self.state.lock().expect("unpoisoned");
        // A name that is synced before its bytes leads to an empty file.
        for (path, inode) in state.names.remove(folder.path()).unwrap_or_default() {
            if state.unsynced.contains_key(&inode) && path.exists() {
                std::fs::remove_file(&path)?;
                File::create(&path)?;
            }
        }
        Ok(())
    }
    fn set_mode(&self, file: &File, mode: u16) -> io::Result<()> {
        RealDisk.set_mode(file, mode)
    }
    fn link(&self, folder: &Folder, name: &OsStr, target: &OsStr) -> io::Result<()> {
        RealDisk.link(folder, name, target)?;
        self.note(folder, name);
        Ok(())
    }
    fn make_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        RealDisk.make_folder(folder, name)
    }
    fn remove_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        RealDisk.remove_folder(folder, name)
    }
    fn remove(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        RealDisk.remove(folder, name)
    }
    fn rename(&self, from: (&Folder, &OsStr), to: (&Folder, &OsStr), how: Rename) -> io::Result<()> {
        RealDisk.rename(from, to, how)?;
        let mut state = self.state.lock().expect("unpoisoned");
        let old = from.0.path().join(from.1);
        if let Some(names) = state.names.get_mut(from.0.path()) {
            names.retain(|(path, _)| *path != old);
        }
        drop(state);
        self.note(to.0, to.1);
        Ok(())
    }
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args);
    for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
        command.env_remove(name);
    }
    let done = command.stdin(Stdio::null()).output().expect("git runs");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A repository with one commit.
pub(crate) fn repository(files: &[(&str, &str)]) -> (tempfile::TempDir, Worktree) {
    let dir = tempfile::tempdir().expect("a folder");
    git(dir.path(), &["init", "-q", "-b", "main"]);
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-q", "--allow-empty", "-m", "first"]);
    let tree = Worktree::discover(dir.path()).expect("readable").expect("a work tree");
    (dir, tree)
}

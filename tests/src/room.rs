//! A folder of one running test, whose name says whose it is: gone when dropped, and swept by a later run if its owner was
//! killed. Owns that promise, and that nothing is touched which no such test has made. What is put into it is its user's.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Short: a socket's path may have 103 bytes.
const PREFIX: &str = "rr-t.";
/// A folder without this file was made by somebody else, whatever it is called.
const MARKER: &str = ".made-by-rr-tests";

/// A process of this machine, told apart from a later one with the same pid and from those that another container counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    /// The process namespace that the pid is counted in.
    space: u64,
    pid: u32,
    /// Ticks since boot.
    started: u64,
}

impl Owner {
    fn this() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { space: own_space()?, pid, started: started(pid)? })
    }

    /// From a room's name; `None` for any other name.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('.');
        let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
        let (space, pid, started) = (number(16)?, number(16)?, number(16)?);
        Some(Self { space, pid: u32::try_from(pid).ok()?, started })
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{:x}.{:x}.{:x}.", self.space, self.pid, self.started)
    }

    /// Known to be dead: one that is counted elsewhere may live.
    fn is_dead(&self) -> bool {
        own_space().is_ok_and(|space| space == self.space) && started(self.pid).ok() != Some(self.started)
    }
}

fn own_space() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

fn started(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; this is the 22nd field of all, the 20th behind it.
    let field = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
    field.and_then(|f| f.parse().ok()).ok_or_else(|| io::Error::other(format!("no start time of {pid} in /proc")))
}

/// One test's folder.
#[derive(Debug)]
pub struct Room(TempDir);

impl Room {
    /// Makes one, and sweeps those whose owners are dead.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Self> {
        // Links in the way to it (macOS: /tmp) would give its files two names.
        let base = std::env::temp_dir().canonicalize()?;
        sweep(&base);
        let folder = tempfile::Builder::new().prefix(&Owner::this()?.prefix()).rand_bytes(4).tempdir_in(base)?;
        File::create(folder.path().join(MARKER))?;
        Ok(Self(folder))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Removes what killed tests have left in `base`: processes that name their room, then the room.
fn sweep(base: &Path) {
    for room in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = room.file_name();
        let owner = name.to_str().and_then(Owner::of);
        if owner.is_some_and(|owner| owner.is_dead()) && is_ours(&room.path()) {
            inhabitants(&room.path()).for_each(end);
            // Another test may be sweeping as well.
            let _ = fs::remove_dir_all(room.path());
        }
    }
}

fn is_ours(room: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    [room.to_owned(), room.join(MARKER)].iter().all(|path| path.symlink_metadata().is_ok_and(|m| m.uid() == uid))
}

/// Processes that were started in a room: its path is in their arguments or their environment.
fn inhabitants(room: &Path) -> impl Iterator<Item = u32> {
    let inside = format!("{}/", room.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |&pid| {
        let says = |file: &str| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.windows(inside.len()).any(|part| part == inside.as_bytes())
        };
        pid != std::process::id() && (says("cmdline") || says("environ"))
    })
}

fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::daemon::until;

    /// A room as a test leaves it that was killed: its owner was a process that has ended.
    fn abandoned(base: &Path, marked: bool) -> PathBuf {
        let mut gone = Command::new("true").spawn().expect("start");
        let owner = Owner { pid: gone.id(), ..Owner::this().expect("this process") };
        gone.wait().expect("end");
        let room = base.join(format!("{}x", owner.prefix()));
        fs::create_dir(&room).expect("make");
        if marked {
            File::create(room.join(MARKER)).expect("mark");
        }
        room
    }

    #[test]
    fn what_a_killed_test_left_is_swept_with_the_processes_in_it() {
        let base = tempfile::tempdir().expect("folder");
        let room = abandoned(base.path(), true);
        let lodger = room.join("home");
        let mut left = Command::new("sleep").arg("60").env("HOME", lodger).stdin(Stdio::null()).spawn().expect("start");
        until("it runs", || inhabitants(&room).any(|pid| pid == left.id()));
        sweep(base.path());
        assert!(!left.wait().expect("ended").success());
        assert!(!room.exists());
    }

    #[test]
    fn nothing_is_swept_that_is_not_known_to_be_left_over() {
        let base = tempfile::tempdir().expect("folder");
        let this = Owner::this().expect("this process");
        let alive = base.path().join(format!("{}x", this.prefix()));
        let elsewhere = Owner { space: this.space + 1, pid: u32::MAX, started: 1 };
        let elsewhere = base.path().join(format!("{}x", elsewhere.prefix()));
        let foreign = ["rr-t.", "rr-t.x.y.z.a", "rr-demo-1"].map(|name| base.path().join(name));
        let kept = [&[alive, elsewhere][..], &foreign[..]].concat();
        for room in &kept {
            fs::create_dir(room).expect("make");
            File::create(room.join(MARKER)).expect("mark");
        }
        let unmarked = abandoned(base.path(), false);
        sweep(base.path());
        assert!(kept.iter().chain([&unmarked]).all(|room| room.exists()));
    }

    #[test]
    fn a_name_says_whose_it_is() {
        let this = Owner::this().expect("this process");
        assert_eq!(Owner::of(&format!("{}a1B2", this.prefix())), Some(this.clone()));
        assert!(!this.is_dead());
        assert!(Owner { started: this.started + 1, ..this }.is_dead(), "the same pid, given out again");
    }
}

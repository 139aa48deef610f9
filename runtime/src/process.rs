//! A program of ours as a process: which one it is, how it is told to end, and that there is one of its kind for a state folder.
//! A pid is trusted only together with its start time and boot, since pids are used again (H13). It knows nothing of what the
//! programs do. Next: `program`.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Longer than any line we write; a longer file is not ours.
const PID_FILE_BYTES_MAX: usize = 256;
/// The start time among the fields of `/proc/<pid>/stat` that follow the program's name.
const START_FIELD: usize = 19;

/// A running process that is known to be the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    pub pid: u32,
    start: u64,
}

impl Daemon {
    /// The daemon that the pid file names, if that very process still runs.
    #[must_use]
    pub fn find(pid_file: &Path) -> Option<Self> {
        let text = fs::read_to_string(pid_file).ok().filter(|text| text.len() <= PID_FILE_BYTES_MAX)?;
        let mut words = text.split_whitespace();
        let daemon = Self { pid: words.next()?.parse().ok()?, start: words.next()?.parse().ok()? };
        let same_boot = words.next() == Some(crate::host::boot_id().as_str());
        (same_boot && daemon.runs()).then_some(daemon)
    }

    fn runs(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }

    /// Asks it to end; waits for its end if told how long. `false`: it still runs.
    ///
    /// # Errors
    /// If it may not be signalled.
    pub fn end(&self, wait: Option<Duration>) -> io::Result<bool> {
        let failed = io::Error::from;
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(true) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok(true),
            Err(e) => return Err(failed(e)),
        };
        // Looked at again with the process in hand: from here on nobody else can get its pid.
        if !self.runs() {
            return Ok(true);
        }
        match pidfd_send_signal(&process, Signal::TERM) {
            Ok(()) => {}
            Err(Errno::SRCH) => return Ok(true),
            Err(e) => return Err(failed(e)),
        }
        let Some(wait) = wait else { return Ok(false) };
        let wait = Timespec::try_from(wait).ok();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], wait.as_ref()).map_err(failed)?;
        Ok(ended > 0)
    }
}

/// The pid file of this process, removed on drop.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Written only by who holds the store or the program's place, so never by two.
    ///
    /// # Errors
    /// If the folder does not allow it.
    pub fn write(path: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let start = start_time(pid).unwrap_or_default();
        let draft = path.with_extension("pid.n");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{pid} {start} {}", crate::host::boot_id())?;
        fs::rename(&draft, path)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // One that is left over names a process that no longer runs, and is not believed.
        let _ = fs::remove_file(&self.path);
    }
}

/// The right to be the one program of its kind for a state folder: a lock on a file there, which ends with the process.
#[derive(Debug)]
pub struct Place {
    _locked: File,
}

/// Why the place could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{program} runs already{}", .by.as_ref().map_or_else(String::new, |by| format!(" ({by})")))]
    Taken { program: String, by: Option<String> },
    #[error("{doing} {file}")]
    Io {
        doing: &'static str,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Place {
    /// Takes the place of `program` in a state folder, on behalf of `owner` (itself, or the one process that does the work of
    /// several).
    ///
    /// # Errors
    /// If somebody has it, or the folder does not allow it.
    pub fn take(state: &Path, program: &str, owner: &str) -> Result<Self, PlaceError> {
        let path = place_file(state, program);
        let io = |doing| {
            let file = path.clone();
            move |source| PlaceError::Io { doing, file, source }
        };
        let opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PlaceError::Taken {
                    program: program.to_owned(),
                    by: fs::read_to_string(&path).ok().as_deref().map(trimmed),
                });
            }
            Err(TryLockError::Error(e)) => return Err(io("lock")(e)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{owner}, pid {}", std::process::id())).map_err(io("write"))?;
        Ok(Self { _locked: file })
    }

    /// Whether the place was last taken by the program itself: then somebody starts it as a program of its own.
    #[must_use]
    pub fn is_its_own(state: &Path, program: &str) -> bool {
        let text = fs::read_to_string(place_file(state, program)).unwrap_or_default();
        text.split(',').next() == Some(program)
    }
}

fn place_file(state: &Path, program: &str) -> PathBuf {
    state.join(format!("{program}.lock"))
}

fn trimmed(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(PID_FILE_BYTES_MAX).collect()
}

/// Whether a process is a daemon that may not have written its pid file yet, as against a short order.
#[must_use]
pub fn is_up(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|b| *b == 0).skip(1).any(|word| word == b"up")
}

/// When a process started, in clock ticks since boot.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold spaces and brackets: fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_names_this_very_process_and_no_later_one_with_its_pid() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("daemon.pid");
        assert_eq!(Daemon::find(&path), None);
        let file = PidFile::write(&path).expect("written");
        assert_eq!(Daemon::find(&path).map(|d| d.pid), Some(std::process::id()));

        let text = fs::read_to_string(&path).expect("there");
        let words: Vec<&str> = text.split_whitespace().collect();
        for other in [
            format!("{} {} {}", words[0], words[1].parse::<u64>().expect("number") + 1, words[2]),
            format!("{} {} another-boot", words[0], words[1]),
            "rubbish".to_owned(),
        ] {
            fs::write(&path, &other).expect("written");
            assert_eq!(Daemon::find(&path), None, "{other}");
        }
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_place_is_taken_once_and_remembers_who_had_it() {
        let dir = tempfile::tempdir().expect("folder");
        let take = |owner| Place::take(dir.path(), "rr-sidecar", owner);
        assert!(!Place::is_its_own(dir.path(), "rr-sidecar"));
        let first = take("rr-sidecar").expect("free");
        let refused = take("rrctl up").expect_err("taken").to_string();
        assert_eq!(refused, format!("rr-sidecar runs already (rr-sidecar, pid {})", std::process::id()));
        Place::take(dir.path(), "rr-watcher", "rr-watcher").expect("another program's place is another");
        drop(first);
        assert!(Place::is_its_own(dir.path(), "rr-sidecar"), "also when it is down");
        let _one = take("rrctl up").expect("free again");
        assert!(!Place::is_its_own(dir.path(), "rr-sidecar"));
    }
}

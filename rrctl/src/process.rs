//! The daemon as a process: which one it is, and how it is told to end. A pid is trusted only together with its start time
//! and boot, since pids are used again (H13). It knows nothing of what the daemon does.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// Longer than any line we write; a longer file is not ours.
const PID_FILE_BYTES_MAX: usize = 256;
/// The start time among the fields of `/proc/<pid>/stat` that follow the program's name.
const START_FIELD: usize = 19;

/// A running process that is known to be the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub(crate) pid: u32,
    start: u64,
}

impl Daemon {
    /// The daemon that the pid file names, if that very process still runs.
    pub(crate) fn find(pid_file: &Path) -> Option<Self> {
        let text = fs::read_to_string(pid_file).ok().filter(|text| text.len() <= PID_FILE_BYTES_MAX)?;
        let mut words = text.split_whitespace();
        let daemon = Self { pid: words.next()?.parse().ok()?, start: words.next()?.parse().ok()? };
        let same_boot = words.next() == Some(rr_runtime::host::boot_id().as_str());
        (same_boot && daemon.runs()).then_some(daemon)
    }

    fn runs(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }

    /// Asks it to end; waits for its end if told how long. `false`: it still runs.
    pub(crate) fn end(&self, wait: Option<Duration>) -> Result<bool, Failure> {
        let failed = |e: Errno| Failure::at(format!("stop the daemon (pid {})", self.pid), &std::io::Error::from(e));
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
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Written only by the owner of the store, so never by two.
    pub(crate) fn write(path: &Path) -> std::io::Result<Self> {
        let pid = std::process::id();
        let start = start_time(pid).unwrap_or_default();
        let draft = path.with_extension("pid.n");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{pid} {start} {}", rr_runtime::host::boot_id())?;
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

/// Whether a process is a daemon that may not have written its pid file yet, as against a short order.
pub(crate) fn is_up(pid: u32) -> bool {
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

/// Ends with the first signal that asks for the end, or with the program.
pub(crate) async fn signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (mut interrupt, mut hang_up) = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
        () = shutdown.cancelled() => {}
    }
    shutdown.cancel();
    Ok(())
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
}

//! Putting the daemon into the background (D4a): a process of its own session, with none of our streams, whose parent is
//! gone. Started by a hook this must cost milliseconds and hold nothing of the agent's open; started by a person it waits
//! until the daemon answers. Next: the new process runs `up`.

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rr_runtime::dirs::Dirs;

use crate::exit::{Failure, Kind};
use crate::process::Daemon;

/// How long a person waits for the daemon to answer.
const READY_MAX: Duration = Duration::from_secs(5);
const READY_TRY_EVERY: Duration = Duration::from_millis(10);
/// Lines of the log that are shown when the daemon did not start.
const LOG_LINES: usize = 5;

/// The option by which the new process knows what it is. Not for people.
pub(crate) const CHILD_OPTION: &str = "--background";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It was started and, if that was waited for, answers.
    New,
    /// One was running before.
    Running { pid: u32 },
}

/// Where the daemon answers once it is ready.
fn sockets(dirs: &Dirs) -> [PathBuf; 2] {
    [dirs.hook_socket(), dirs.api_socket()]
}

/// Starts the daemon in the background. `wait`: until it answers.
pub(crate) fn start(dirs: &Dirs, wait: bool) -> Result<Started, Failure> {
    if let Some(daemon) = Daemon::find(&dirs.pid_file()) {
        if wait {
            await_answer(dirs, None)?;
        }
        return Ok(Started::Running { pid: daemon.pid });
    }
    rr_runtime::program::prepare(dirs)?;
    if !wait {
        // An agent that ends its hook's whole process group must not catch the new process before it has left. It fails
        // where we lead a group ourselves, and then nobody ends us with another one.
        let _ = rustix::process::setsid();
    }
    let child = spawn(dirs)?;
    if wait {
        await_answer(dirs, Some(child))?;
    }
    Ok(Started::New)
}

fn spawn(dirs: &Dirs) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
    let log = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(dirs.log_file());
    let log = log.map_err(|e| Failure::at(format!("open {}", dirs.log_file().display()), &e))?;
    Command::new(&program)
        .args(["up", CHILD_OPTION])
        // Not in a worktree: that could not be removed while we run.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Only what is said before the log is set up, and panics.
        .stderr(log)
        .spawn()
        .map_err(|e| Failure::at(format!("start {}", program.display()), &e))
}

/// What the new process does first: leave the session of whoever started it.
pub(crate) fn leave_session() -> Result<(), Failure> {
    rustix::process::setsid().map(drop).map_err(|e| Failure::at("leave the session", &std::io::Error::from(e)))
}

fn await_answer(dirs: &Dirs, mut child: Option<Child>) -> Result<(), Failure> {
    let start = Instant::now();
    let sockets = sockets(dirs);
    let failed =
        |what: String| Failure::new(Kind::Failed, what).because(log_end(&dirs.log_file())).hint("rrctl doctor");
    while start.elapsed() < READY_MAX {
        if sockets.iter().all(|socket| UnixStream::connect(socket).is_ok()) {
            return Ok(());
        }
        let ended = child.as_mut().and_then(|c| c.try_wait().ok().flatten());
        match ended {
            // Another one was faster: its answer is as good.
            Some(status) if status.code() == Some(i32::from(Kind::Refused.code())) => child = None,
            Some(status) => return Err(failed(format!("the daemon did not start ({status})"))),
            None => {}
        }
        std::thread::sleep(READY_TRY_EVERY);
    }
    Err(failed(format!("the daemon does not answer after {} s", READY_MAX.as_secs())))
}

fn log_end(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if last.is_empty() { format!("{} is empty", log.display()) } else { last.join("\n") }
}

/// Whether our output goes nowhere: then no person waits for us, a hook does.
pub(crate) fn nobody_looks() -> bool {
    let Ok(null) = std::fs::metadata("/dev/null") else { return false };
    rustix::fs::fstat(std::io::stdout())
        .is_ok_and(|out| out.st_rdev == null.rdev() && out.st_mode & 0o170_000 == 0o020_000)
}

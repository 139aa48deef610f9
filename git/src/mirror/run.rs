//! A git command with an end: what it runs (filters, ssh, a remote that never answers) may hang, and is ended with all it started
//! when its time is over. It knows no command.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, setpriority_process};

use super::{Mirror, MirrorError};
use crate::command::{GitError, Input, failed, prepared};

/// What a command says beside its answer is for people: the end of it is enough.
const SAID_BYTES_MAX: usize = 64 << 10;
/// Of 19: a hook's answer goes before a look at a work tree, and the look still gets on.
const STANDS_BACK: i32 = 5;

pub(super) struct Told {
    pub(super) status: ExitStatus,
    pub(super) out: Vec<u8>,
    pub(super) said: Vec<u8>,
    command: Command,
}

impl Told {
    /// What it printed, if it went well.
    pub(super) fn good(self, folder: &Path) -> Result<Vec<u8>, MirrorError> {
        if self.status.success() { Ok(self.out) } else { Err(self.bad(folder).into()) }
    }

    pub(super) fn bad(&self, folder: &Path) -> GitError {
        failed(&self.command, folder, &self.said)
    }

    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(&self.said).trim().to_owned()
    }
}

/// Runs git in a folder, at most so long.
pub(super) fn run<S: AsRef<OsStr>, N: AsRef<OsStr>>(
    folder: &Path,
    args: &[S],
    stdin: Option<Vec<u8>>,
    env: &[(N, OsString)],
    limit: Duration,
) -> Result<Told, MirrorError> {
    let input = Input { stdin: stdin.as_deref(), ..Input::default() };
    let mut command = prepared(folder, args, &input);
    command.env("GIT_NO_LAZY_FETCH", "1").envs(env.iter().map(|(name, value)| (name, value))).process_group(0);
    let mut child = command.spawn().map_err(GitError::NotStarted)?;
    // Beside somebody's calls, which do not wait for it. What cannot be made to stand back runs as it is.
    let _ = setpriority_process(Some(Pid::from_child(&child)), STANDS_BACK);
    if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
        // Beside the reading: both pipes are small. A child that stops reading says why itself.
        std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    let (out, said) = (listen(child.stdout.take(), usize::MAX), listen(child.stderr.take(), SAID_BYTES_MAX));
    let until = Instant::now() + limit;
    let rest = |until: Instant| until.saturating_duration_since(Instant::now());
    let heard = out.recv_timeout(limit).and_then(|out| Ok((out, said.recv_timeout(rest(until))?)));
    let Ok((out, said)) = heard else {
        end(&mut child);
        let command = command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let folder = folder.display().to_string();
        return Err(MirrorError::TooLong { command, folder, seconds: limit.as_secs() });
    };
    let status = child.wait().map_err(GitError::NotStarted)?;
    Ok(Told { status, out, said, command })
}

/// All that a pipe says until it is closed, or the last of it.
fn listen(pipe: Option<impl Read + Send + 'static>, most: usize) -> mpsc::Receiver<Vec<u8>> {
    let (told, heard) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        if let Some(mut pipe) = pipe {
            while let Ok(n @ 1..) = pipe.read(&mut piece) {
                all.extend_from_slice(&piece[..n]);
                if all.len() / 2 > most {
                    all.drain(..all.len() - most);
                }
            }
        }
        // Nobody waits any more after the time is over.
        let _ = told.send(all);
    });
    heard
}

fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl Mirror {
    /// Runs git in the mirror, at most so long.
    pub(super) fn timed<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        stdin: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Told, MirrorError> {
        run::<_, &str>(&self.dir, args, stdin, &[], limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_ended_with_what_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let alias = "alias.hang=!sleep 600 & echo $! > pid; wait";
        let told = run::<_, &str>(dir.path(), &["init", "-q"], None, &[], Duration::from_secs(60)).expect("run");
        assert!(told.status.success());
        let start = Instant::now();
        // Long enough for a busy machine to start git, its shell and what that starts.
        let hung = run::<_, &str>(dir.path(), &["-c", alias, "hang"], None, &[], Duration::from_secs(3));
        assert!(matches!(hung, Err(MirrorError::TooLong { .. })), "it is said");
        assert!(start.elapsed() < Duration::from_secs(60));
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("it had started");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(60);
        // Gone, or only waiting to be counted by whoever takes in orphans.
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(Instant::now() < until, "it lives on: {}", state());
            std::thread::yield_now();
        }
    }
}

//! The separate programs on a host (`rr-sidecar`, `rr-coordinator`, `rr-watcher`), each a child of the test. Owns when one is
//! ready, and that none is left. All in one process (`rrctl up`) is [`crate::daemon::Daemon`].

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::thread;

use rustix::process::Signal;

use super::Host;
use crate::daemon::{rrctl_program, signal, until};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sidecar,
    Coordinator,
    Watcher,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "rr-sidecar",
            Self::Coordinator => "rr-coordinator",
            Self::Watcher => "rr-watcher",
        }
    }

    /// It answers there once it is ready.
    const fn socket(self) -> Option<&'static str> {
        match self {
            Self::Sidecar => Some("hook.sock"),
            Self::Coordinator => Some("api.sock"),
            Self::Watcher => None,
        }
    }
}

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// If it ends at once, with what it said; so below, if it cannot be done.
    #[track_caller]
    #[must_use]
    pub fn start(host: &Host, kind: Kind) -> Self {
        let path = host.path().join(format!("{}.log", kind.name()));
        let log = File::options().append(true).create(true).open(&path).expect("open its log");
        let program = rrctl_program().with_file_name(kind.name());
        assert!(program.is_file(), "no {}: run `cargo build --workspace` first", program.display());
        let mut command = host.command(program);
        command.stdout(log.try_clone().expect("share its log")).stderr(log).process_group(0);
        let mut program = Self { child: command.spawn().expect("it starts"), log: path };
        until(&format!("{} is ready", kind.name()), || {
            let ended = program.child.try_wait().expect("look at it");
            assert!(ended.is_none(), "{} ended at once ({ended:?}): {}", kind.name(), program.said());
            kind.socket().is_none_or(|name| UnixStream::connect(host.runtime.join(name)).is_ok())
        });
        program
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning, as a crash or the kernel does.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill it");
        self.child.wait().expect("wait for it");
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) {
        signal(self.pid(), Signal::TERM);
        until("it ends", || self.child.try_wait().expect("look at it").is_some());
    }

    /// Freezes it: its sockets stay, and nothing answers.
    pub fn stop(&self) {
        signal(self.pid(), Signal::STOP);
    }

    pub fn cont(&self) {
        signal(self.pid(), Signal::CONT);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.said());
        }
    }
}

//! The separate programs on a machine in a folder: started as systemd would, told ready as systemd is told, ended by signals.
//!
//! Owns their processes and their logs. What runs on that machine besides is [`crate::daemon::Sandbox`]'s; the cluster they
//! stand on is [`crate::etcd`]'s.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use crate::daemon::{SOON, Sandbox, rrctl_program, signal, until};

/// One of the built programs, beside `rrctl`.
///
/// # Panics
/// If it was not built: tests of another package do not build it by themselves.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = rrctl_program().with_file_name(name);
    assert!(program.is_file(), "no {}: run `cargo build --workspace` first", program.display());
    program
}

/// A program as a child of the test; killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    told: UnixDatagram,
}

impl Program {
    /// Starts one with variables of its own, and does not wait for it.
    ///
    /// # Panics
    /// If it cannot be started; so below.
    #[must_use]
    pub fn start(sandbox: &Sandbox, name: &str, variables: &[(&str, &str)]) -> Self {
        let notify = sandbox.path().join(format!("{name}.notify"));
        drop(fs::remove_file(&notify));
        let told = UnixDatagram::bind(&notify).expect("listen as systemd does");
        told.set_read_timeout(Some(SOON)).expect("limit the wait");
        let log = sandbox.path().join(format!("{name}.log"));
        let out = fs::File::options().append(true).create(true).open(&log).expect("open its log");
        let mut command: Command = sandbox.command(program(name));
        command.envs(variables.iter().copied()).env("NOTIFY_SOCKET", &notify).process_group(0);
        command.stdout(out.try_clone().expect("share its log")).stderr(out);
        let child = command.spawn().expect("it starts");
        Self { name: name.to_owned(), child, log, told }
    }

    /// Waits until it tells systemd that it is ready.
    #[track_caller]
    #[must_use]
    pub fn ready(self) -> Self {
        assert_eq!(self.heard(), "READY=1", "{}", self.text());
        self
    }

    /// The next that it tells systemd.
    #[track_caller]
    #[must_use]
    pub fn heard(&self) -> String {
        let mut bytes = [0; 64];
        let length = self.told.recv(&mut bytes);
        let length = length.unwrap_or_else(|e| panic!("{} told nothing ({e}): {}", self.name, self.text()));
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Whether it has told systemd nothing yet.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.told.set_nonblocking(true).expect("look without waiting");
        let heard = self.told.recv(&mut [0; 64]);
        self.told.set_nonblocking(false).expect("wait again");
        heard.is_err()
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has logged.
    #[must_use]
    pub fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The word behind `what` in its log, as `address=` for where it listens.
    #[track_caller]
    #[must_use]
    pub fn logged(&self, line: &str, what: &str) -> String {
        let text = self.text();
        let line = text.lines().rfind(|l| l.contains(line)).unwrap_or_else(|| panic!("no {line:?} in: {text}"));
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(what));
        word.unwrap_or_else(|| panic!("no {what} in: {line}")).to_owned()
    }

    /// Ends it without a warning.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill it");
        self.child.wait().expect("wait for it");
    }

    pub fn tell(&self, what: Signal) {
        signal(self.child.id(), what);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().expect("look at it");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Asks it to end and waits until it has; how long that took at most is the caller's to say.
    #[track_caller]
    pub fn stop(&mut self, at_most: Duration) -> ExitStatus {
        let start = std::time::Instant::now();
        self.tell(Signal::TERM);
        let status = self.ended();
        assert!(start.elapsed() < at_most, "{} took {:?} to end: {}", self.name, start.elapsed(), self.text());
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.text());
        }
    }
}

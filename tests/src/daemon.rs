//! A person's machine in a folder, and the real daemon on it: repository, home, state and sockets of its own.
//!
//! Owns where the built programs are, what they start with, and that nothing is left running. It builds nothing and knows
//! the product by its command line only. The agents on it are in [`crate::agent`].

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Only a hang reaches it.
pub const SOON: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Variables of whoever runs the tests that would reach into the sandbox; so would all of the product's own.
const FOREIGN: [&str; 6] =
    ["CLAUDE_CONFIG_DIR", "CLAUDE_PROJECT_DIR", "CLAUDE_CODE_SESSION_ID", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

/// Returns as soon as `holds`.
///
/// # Panics
/// Naming `what`, if that takes longer than [`SOON`].
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "waited {SOON:?} and this did not happen: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// The `rrctl` of this build, which lies beside the test programs' folder.
///
/// # Panics
/// If it was not built: tests of another package do not build it by themselves.
#[must_use]
pub fn rrctl_program() -> PathBuf {
    let test = std::env::current_exe().expect("the test program has a path");
    let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let program = profile.join("rrctl");
    assert!(program.is_file(), "no {}: run `cargo build --workspace` first", program.display());
    program
}

/// A home, a repository with a first commit, and private folders for state and sockets; gone when dropped.
pub struct Sandbox {
    /// If the folder is its own.
    root: Option<tempfile::TempDir>,
    /// What goes before each command, if it is not on this machine.
    prefix: Vec<String>,
    pub repo: PathBuf,
    pub home: PathBuf,
    pub state: PathBuf,
    pub runtime: PathBuf,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// # Panics
    /// If the folders or the repository cannot be made; so below.
    #[must_use]
    pub fn new() -> Self {
        // Short: a socket's path may have 103 bytes.
        let root = tempfile::Builder::new().prefix("rr-").tempdir().expect("make a sandbox");
        // Links in the way to it (macOS: /tmp) would give its files two names.
        let path = root.path().canonicalize().expect("the sandbox has a path");
        let mut sandbox = Self::on(&path, vec![], None);
        sandbox.root = Some(root);
        sandbox
    }

    /// One in a folder of somebody else's, whose commands begin with `prefix`; its repository is a clone of `origin`, or new.
    #[must_use]
    pub(crate) fn on(path: &Path, prefix: Vec<String>, origin: Option<&Path>) -> Self {
        let [repo, home, state, runtime] = ["repo", "home", "state", "run"].map(|n| path.join(n));
        fs::create_dir_all(&home).expect("make the home");
        fs::create_dir_all(&repo).expect("make the repository");
        fs::write(home.join(".gitconfig"), "[user]\n\tname = Agent\n\temail = agent@example.invalid\n")
            .expect("write .gitconfig");
        let sandbox = Self { root: None, prefix, repo, home, state, runtime };
        match origin {
            Some(origin) => drop(sandbox.git(&["clone", "--quiet", &origin.display().to_string(), "."])),
            None => sandbox.make_repository(),
        }
        sandbox
    }

    fn make_repository(&self) {
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        fs::write(self.repo.join("README.md"), "# A project\n").expect("write a file");
        self.git(&["add", "."]);
        // Of its own, so that two sandboxes are two repositories: the first commit's id is a repository's name.
        let title = format!("start {}", self.path().display());
        self.git(&["commit", "--quiet", "--message", &title]);
    }

    /// The folder that holds all others: a place for further work trees.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.repo.parent().unwrap_or(&self.repo)
    }

    /// Any program, as started on this machine: in the repository, with this home and these folders.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_in(&self.repo, program)
    }

    /// The same in another folder.
    #[must_use]
    pub fn command_in(&self, folder: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                // The way into another machine forgets the folder.
                let mut command = Command::new(first);
                command.args(rest).args(["env", "-C"]).arg(folder).arg(program);
                command
            }
        };
        let own = std::env::vars_os().map(|(name, _)| name).filter(|n| n.to_string_lossy().starts_with("RAILROAD_"));
        own.chain(FOREIGN.map(Into::into)).for_each(|name| {
            command.env_remove(name);
        });
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("RAILROAD_STATE_DIR", &self.state)
            .env("RAILROAD_RUNTIME_DIR", &self.runtime);
        command
    }

    /// Runs git in the repository and returns what it printed.
    #[track_caller]
    pub fn git(&self, words: &[&str]) -> String {
        let output = self.command("git").args(words).output().expect("git runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {words:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Puts a file into the repository, as a person would with an editor: no hook is asked.
    pub fn put(&self, path: &str, content: &str) {
        let path = self.repo.join(path);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("make its folder");
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }

    /// Puts files into the repository and commits them.
    pub fn commit(&self, files: &[(&str, &str)]) {
        files.iter().for_each(|(path, content)| self.put(path, content));
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=files"]);
    }

    /// A file of the repository as it is now; empty if it is not there.
    #[must_use]
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.repo.join(path)).unwrap_or_default()
    }

    /// Sets this machine's `config.yaml`; the next daemon reads it.
    pub fn machine_config(&self, yaml: &str) {
        let folder = self.home.join(".config/railroad");
        fs::create_dir_all(&folder).expect("make the configuration folder");
        fs::write(folder.join("config.yaml"), yaml).expect("write config.yaml");
    }

    /// What came of typing `rrctl <words>` in the repository.
    pub fn rrctl(&self, words: &[&str]) -> Output {
        let mut command = self.command(rrctl_program());
        command.args(words).output().expect("rrctl runs")
    }

    /// The JSON that `rrctl --json <words>` printed.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    #[must_use]
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.rrctl(&[&["--json"], words].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rrctl {words:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("rrctl {words:?} printed no JSON: {e}"))
    }

    /// The rows of `rrctl locks`.
    #[track_caller]
    #[must_use]
    pub fn locks(&self) -> Vec<Value> {
        rows(&self.json(&["locks"]), "locks")
    }

    /// The rows of `rrctl sessions`.
    #[track_caller]
    #[must_use]
    pub fn sessions(&self) -> Vec<Value> {
        rows(&self.json(&["status"]), "sessions")
    }

    /// The agent name of whoever holds a file, if anybody does.
    #[track_caller]
    #[must_use]
    pub fn holder(&self, file: &str) -> Option<String> {
        let session = self.locks().into_iter().find(|l| l["lock"] == file)?["session"].clone();
        let sessions = self.sessions();
        let row = sessions.iter().find(|s| s["session"] == session)?;
        row["agent_session"].as_str().map(str::to_owned)
    }

    /// The daemon that runs here now, whoever started it.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.runtime.join("daemon.pid")).ok()?;
        let pid = text.split(' ').next()?.parse().ok()?;
        UnixStream::connect(self.runtime.join("hook.sock")).ok()?;
        Some(pid)
    }

    fn answers(&self, daemon: u32) -> bool {
        // What a killed daemon was just starting may have its sockets for a moment longer than itself.
        let listens = |socket: UnixStream| {
            socket_peercred(socket).is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(daemon))
        };
        ["hook.sock", "api.sock"].iter().all(|s| UnixStream::connect(self.runtime.join(s)).is_ok_and(listens))
    }

    /// What its daemon said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path().join("daemon.log")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // One that a hook has started is nobody's child. A stale pid file does no harm: `down` looks twice.
        if self.runtime.join("daemon.pid").exists() {
            drop(self.rrctl(&["down", "--wait"]));
        }
        if thread::panicking() {
            for log in [self.log(), self.state.join("daemon.log")] {
                let text = fs::read_to_string(&log).unwrap_or_default();
                eprintln!("--- {}\n{text}", log.display());
            }
        }
    }
}

fn rows(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}

/// `rrctl up`, in the foreground and as our child; killed when dropped.
pub struct Daemon<'a> {
    sandbox: &'a Sandbox,
    child: Child,
}

impl<'a> Daemon<'a> {
    /// Starts it and waits until both of its sockets answer.
    #[track_caller]
    #[must_use]
    pub fn start(sandbox: &'a Sandbox) -> Self {
        let log = fs::File::options().append(true).create(true).open(sandbox.log()).expect("open its log");
        let mut command = sandbox.command(rrctl_program());
        command.arg("up").stdout(log.try_clone().expect("share its log")).stderr(log).process_group(0);
        let mut child = command.spawn().expect("rrctl up starts");
        until("the daemon answers", || {
            let ended = child.try_wait().expect("look at the daemon");
            assert!(
                ended.is_none(),
                "the daemon ended at once: {}",
                fs::read_to_string(sandbox.log()).unwrap_or_default()
            );
            sandbox.answers(child.id())
        });
        Self { sandbox, child }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning, as a crash or the kernel does.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("wait for the daemon");
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        signal(self.child.id(), Signal::TERM);
        until("the daemon ends", || self.child.try_wait().expect("look at the daemon").is_some());
    }

    /// Starts it again, after [`Self::kill9`] or [`Self::stop`].
    #[track_caller]
    pub fn restart(&mut self) {
        if self.child.try_wait().expect("look at the daemon").is_none() {
            self.stop();
        }
        *self = Self::start(self.sandbox);
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that this test has started.
///
/// # Panics
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(raw, signal).unwrap_or_else(|e| panic!("signal {pid}: {e}"));
    if signal == Signal::STOP {
        until("every thread has stopped", || threads_are_stopped(pid));
    }
}

/// A stop takes each thread at its next way through the kernel, not at once.
pub(crate) fn threads_are_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|t| fs::read_to_string(t.path().join("stat")).ok()).all(|stat| {
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        matches!(state, Some('T' | 'Z'))
    })
}

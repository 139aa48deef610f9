//! One run of one check in a given folder: under limits, without input, with a clean environment, its output read while
//! it runs, and nothing of it left behind. What it said is judged by `run::classify` and `read`. It knows no git and no
//! repository; the folder is a standing work tree that nobody else writes to while the check runs.

mod capture;
mod classify;
mod environment;
mod family;
mod limits;
mod warden;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit, setpriority_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::find::Check;
use crate::outcome::{Outcome, Output, Why};
use capture::Capture;
use environment::Environment;
use family::Family;
pub use limits::Limits;
use warden::Warden;

/// For what lies in the pipe when all who could write to it are gone.
const LAST_WORDS: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;
/// Agents, sidecar and watcher come first.
const NICE: i32 = 5;
/// The first to go when the machine runs out of memory.
const OOM_SCORE: &str = "1000";
/// In the kernel's own limit, which counts all threads of the user and is there for what multiplies faster than it is
/// looked at. It does not hold root.
const THREADS_A_PROCESS: u64 = 8;
/// Waits until its limits are set, then becomes the check. What it prints is the check's alone.
const GATE: &str = "umask 022; read -r go || exit 125; exec /bin/sh -c \"$1\" </dev/null";

/// Runs checks one at a time or many; it keeps nothing between them.
#[derive(Clone, Debug)]
pub struct Runner {
    environment: Environment,
    guarded: Vec<PathBuf>,
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl Runner {
    #[must_use]
    pub fn new() -> Self {
        Self { environment: Environment::of_this_process(), guarded: Vec::new() }
    }

    /// One more variable for every check: its own target folder, its own cache.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.set(name, value);
        self
    }

    /// A folder outside the work tree that a check writes to, and whose disk it may not fill.
    #[must_use]
    pub fn guarding(mut self, folder: impl Into<PathBuf>) -> Self {
        self.guarded.push(folder.into());
        self
    }

    /// Whether a program can be found by checks.
    #[must_use]
    pub fn finds(&self, program: &str) -> bool {
        self.environment.finds(program)
    }

    /// Runs a check in a tree whose root is `root`, until it ends, reaches a limit or is cancelled. When this returns,
    /// nothing that it started runs any more. If the future is dropped, the same is seen to in the background.
    pub async fn run(&self, check: &Check, root: &Path, limits: &Limits, cancel: &CancellationToken) -> Outcome {
        let begin = Instant::now();
        let ended = self.ended(check, root, limits, cancel).await;
        classify::outcome(ended, check, root, begin.elapsed())
    }

    /// The same, not judged.
    pub(crate) async fn ended(&self, check: &Check, root: &Path, limits: &Limits, cancel: &CancellationToken) -> Ended {
        let begin = Instant::now();
        match self.started(check, root, limits) {
            Ok(mut running) => running.watch(limits, begin, cancel).await,
            Err(why) => Ended::unstarted(why),
        }
    }

    fn started(&self, check: &Check, root: &Path, limits: &Limits) -> Result<Running, Why> {
        let folder = root.join(&check.folder);
        if !folder.is_dir() {
            return Err(Why::CouldNotStart(format!("there is no folder {}", folder.display())));
        }
        let environment = self.environment.for_run(&mark(), &folder, &check.path);
        if let Some(missing) = check.needs.iter().find(|program| !environment.finds(program)) {
            return Err(Why::MissingTool(missing.clone()));
        }
        let disks: Vec<PathBuf> = [&folder].into_iter().chain(&self.guarded).cloned().collect();
        if free_bytes(&disks) < limits.free_bytes_floor {
            return Err(Why::NoSpace);
        }
        Running::start(&check.run, &folder, &environment, disks, limits).map_err(|e| Why::CouldNotStart(e.to_string()))
    }
}

/// Names one run; nobody else's process carries it.
fn mark() -> String {
    let mut bytes = [0; 8];
    // Without random numbers the machine has other troubles; time and pid still tell runs apart.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes = (u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32).to_le_bytes();
    }
    crate::find::hex(&bytes)
}

/// The least that is free under any of these folders, for a user without rights.
fn free_bytes(folders: &[PathBuf]) -> u64 {
    let free = |folder: &PathBuf| {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    };
    folders.iter().filter_map(free).min().unwrap_or(u64::MAX)
}

/// How a run ended, before anybody asks what that means.
pub(crate) struct Ended {
    pub(crate) status: Option<ExitStatus>,
    /// Ended by the runner, and why.
    by_us: Option<Why>,
    pub(crate) output: Output,
    least_free_bytes: u64,
    free_bytes_floor: u64,
}

impl Ended {
    fn unstarted(why: Why) -> Self {
        let output = Output::default();
        Self { status: None, by_us: Some(why), output, least_free_bytes: u64::MAX, free_bytes_floor: 0 }
    }
}

struct Running {
    child: Child,
    output: pipe::Receiver,
    warden: Warden,
    capture: Capture,
}

impl Running {
    fn start(
        run: &str,
        folder: &Path,
        environment: &Environment,
        disks: Vec<PathBuf>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let before = family::pids().collect();
        let (reader, writer) = io::pipe()?;
        let pipe_name = fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GATE, "sh", run]).current_dir(folder).env_clear().envs(environment.all());
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        // Its copies of the writing end: with them open the output would have no end.
        drop(command);
        let pid = child.id().ok_or_else(|| io::Error::other("it was gone at once"))?;
        limit(pid, limits)?;
        let mark = environment.all().find(|(name, _)| *name == environment::MARK).map(|(_, value)| value.clone());
        let mark = format!("{}={}", environment::MARK, mark.unwrap_or_default().to_string_lossy());
        let family = Family::new(pid, mark.into_bytes(), pipe_name, before);
        Ok(Self {
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?,
            warden: Warden::start(family, disks, limits)?,
            child,
            capture: Capture::new(limits.output_bytes),
        })
    }

    async fn watch(&mut self, limits: &Limits, begin: Instant, cancel: &CancellationToken) -> Ended {
        let by_us = match self.open_gate().await {
            Ok(()) => self.until_end(limits, begin, cancel).await,
            Err(e) => Some(Why::CouldNotStart(e.to_string())),
        };
        let (account, unheard) = self.warden.end_all().await;
        let status = self.child.wait().await.ok();
        self.last_words().await;
        if account.left > 0 {
            self.capture.push(format!("\n[{} of its processes could not be ended]\n", account.left).as_bytes());
        }
        Ended {
            status,
            by_us: by_us.or(unheard),
            output: std::mem::replace(&mut self.capture, Capture::new(0)).finish(),
            least_free_bytes: account.least_free_bytes,
            free_bytes_floor: limits.free_bytes_floor,
        }
    }

    async fn open_gate(&mut self) -> io::Result<()> {
        let Some(mut gate) = self.child.stdin.take() else { return Ok(()) };
        gate.write_all(b"go\n").await
    }

    /// Until the check's own shell has ended (`None`), or there is a reason to end it.
    async fn until_end(&mut self, limits: &Limits, begin: Instant, cancel: &CancellationToken) -> Option<Why> {
        let mut buffer = vec![0; READ_BYTES];
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Some(Why::Cancelled),
                () = sleep_until(begin + limits.wall_clock) => return Some(Why::TimedOut),
                why = self.warden.objects() => return Some(why),
                _ = self.child.wait() => return None,
                read = self.output.read(&mut buffer), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(len) => self.capture.push(&buffer[..len]),
                },
            }
        }
    }

    async fn last_words(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Ok(len)) = timeout(until - Instant::now(), self.output.read(&mut buffer)).await {
            if len == 0 {
                return;
            }
            self.capture.push(&buffer[..len]);
        }
    }
}

/// Before the gate is opened: what comes after it inherits all of this.
fn limit(pid: u32, limits: &Limits) -> io::Result<()> {
    let process = family::raw(pid);
    let at_most = |max| Rlimit { current: Some(max), maximum: Some(max) };
    prlimit(process, Resource::Fsize, at_most(limits.file_bytes))?;
    prlimit(process, Resource::Core, at_most(0))?;
    if !rustix::process::getuid().is_root() {
        let present = family::threads_of_this_user();
        prlimit(process, Resource::Nproc, at_most(present + limits.processes as u64 * THREADS_A_PROCESS))?;
    }
    // Courtesies, not limits: a container or namespace may not allow them, and the check runs all the same.
    let _ = setpriority_process(process, NICE);
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
    Ok(())
}

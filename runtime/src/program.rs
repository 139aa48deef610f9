//! From `main` to the end, the same for every program: arguments, configuration, folders, logs, one of its kind, metrics, store,
//! then the program's own start, signals, drain, exit code. What a program does is its crate's `app`; `rrctl up` stands on the
//! same floor with three of them.

mod arguments;

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rr_core::id::HostId;
use rr_core::time::Clock;
use rr_store::Store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::clock::BootClock;
use crate::config::{Loaded, MachineConfig, StoreKind};
use crate::dirs::Dirs;
use crate::exit::{Failure, Kind};
use crate::host::host_id;
use crate::metrics::{Metrics, Page};
use crate::process::{Place, PlaceError};
use crate::readiness::Readiness;
use crate::store::{self, Metered};
use crate::tasks::{Kind::Essential, Tasks};
use crate::trouble::patiently;
use crate::{exit, telemetry};

use self::arguments::{Asked, asked};

/// From the wish to end to the end: calls under way are answered and an office is given back, each within 5 s at most; then
/// all is cut off.
pub const DRAIN_MAX: Duration = Duration::from_secs(8);

/// As much as malloc may keep at its end for the next need: what it starts with.
const TRIM_BYTES: usize = 128 << 10;

/// A program as its `main` describes it.
pub struct About {
    pub name: &'static str,
    /// One line, for `--help`.
    pub does: &'static str,
    /// Its part, for `/readyz`.
    pub part: &'static str,
    /// Its metrics are so many ports above `listen.metrics`.
    pub port_step: u16,
    /// What has to go on before the store is reached.
    pub prepare: fn(&Ground) -> Result<(), Failure>,
}

/// What a program finds under its feet when it starts.
pub struct Floor {
    pub config: MachineConfig,
    pub dirs: Dirs,
    pub host: HostId,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub tasks: Tasks,
    pub ready: Readiness,
    pub metrics: Metrics,
}

/// What there is before the store is reached.
pub struct Ground {
    pub config: MachineConfig,
    pub dirs: Dirs,
    pub tasks: Tasks,
    pub ready: Readiness,
    pub metrics: Metrics,
}

impl Ground {
    #[must_use]
    pub fn new(config: MachineConfig, dirs: Dirs, program: &str, parts: &[&'static str]) -> Self {
        let (tasks, ready, metrics) = (Tasks::new(), Readiness::of(parts), Metrics::of(program));
        Self { config, dirs, tasks, ready, metrics }
    }

    /// Shows the metrics from now on, if this machine has an address for them.
    ///
    /// # Errors
    /// If that address is taken.
    pub async fn show_metrics(&self, port_step: u16) -> Result<(), Failure> {
        let Some(address) = self.config.listen.metrics else { return Ok(()) };
        let page = Page::open(address, port_step, self.metrics.clone(), self.ready.clone()).await;
        let page = page.map_err(|e| Failure::at("serve metrics", &e).hint("set listen.metrics to a free address"))?;
        self.tasks.spawn("metrics", Essential, page.serve(self.tasks.shutdown_token()));
        Ok(())
    }

    /// The floor on a store that is open.
    ///
    /// # Errors
    /// If this host's id cannot be read.
    pub fn floor(self, store: Arc<dyn Store>) -> Result<Floor, Failure> {
        let host = host_id(&self.dirs).map_err(|e| Failure::at("read this host's id", &e))?;
        let Self { config, dirs, tasks, ready, metrics } = self;
        let store = Metered::over(store, metrics.clone());
        Ok(Floor { config, dirs, host, store, clock: Arc::new(BootClock), tasks, ready, metrics })
    }

    /// Opens the cluster that this machine's file names, however long it cannot be reached.
    ///
    /// # Errors
    /// If what the file says can never work.
    pub async fn reach_store(&self) -> Result<Arc<dyn Store>, Failure> {
        let open = || store::open(&self.config, &self.dirs, Arc::new(BootClock));
        Ok(patiently("reach the store", store::StoreError::passes, open).await?)
    }
}

/// Runs a program; `start` opens what it serves and spawns its tasks.
pub fn run(about: &About, start: impl AsyncFnOnce(Floor) -> Result<(), Failure>) -> ExitCode {
    let ended = asked(about).and_then(|asked| match asked {
        Asked::Answered => Ok(()),
        Asked::ToRun(loaded) => serve(about, *loaded, start),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told {
                eprint!("{}", failure.text());
            }
            ExitCode::from(failure.kind.code())
        }
    }
}

/// Makes this user's folders, if they are not there.
///
/// # Errors
/// Where one cannot be made or is not this user's alone, with what helps.
pub fn prepare(dirs: &Dirs) -> Result<(), Failure> {
    dirs.prepare().map_err(|e| {
        Failure::at("prepare this user's folders", &e)
            .hint("RAILROAD_STATE_DIR and RAILROAD_RUNTIME_DIR can name others; rrctl doctor looks at them")
    })
}

fn serve(about: &About, loaded: Loaded, start: impl AsyncFnOnce(Floor) -> Result<(), Failure>) -> Result<(), Failure> {
    if loaded.config.store.kind == StoreKind::Embedded {
        return Err(embedded(about));
    }
    with_lean_malloc();
    allow_open_files();
    let dirs = Dirs::from_env().map_err(|e| Failure::at("find this user's folders", &e))?;
    prepare(&dirs)?;
    telemetry::init("info", None).map_err(|e| Failure::at("set up the log", &e))?;
    let place = Place::take(&dirs.state, about.name, about.name).map_err(|e| taken(&e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(about.part).build();
    let runtime = runtime.map_err(|e| Failure::at("start the program's runtime", &e))?;
    let ground = Ground::new(loaded.config, dirs, about.name, &[about.part]);
    let ended = runtime.block_on(until_the_end(ground.tasks.clone(), ground.ready.clone(), async {
        tracing::info!(pid = std::process::id(), state = %ground.dirs.state.display(), "{} starts", about.name);
        ground.show_metrics(about.port_step).await?;
        (about.prepare)(&ground)?;
        let store = ground.reach_store().await?;
        start(ground.floor(store)?).await
    }));
    // What was cut off may hang in a call to the system for good.
    runtime.shutdown_background();
    drop(place);
    tracing::info!("{} ends", about.name);
    ended
}

fn embedded(about: &About) -> Failure {
    Failure::new(Kind::Refused, format!("{} needs a store that several programs can use", about.name))
        .because("this machine's store is a file (`store.kind: embedded`), and that has one owner")
        .hint("rrctl up runs all in one process; or set store.kind: etcd and store.endpoints")
}

/// Why the program's place could not be had.
#[must_use]
pub fn taken(error: &PlaceError) -> Failure {
    match error {
        PlaceError::Taken { .. } => Failure::new(Kind::Refused, exit::chain(error))
            .hint("stop it first, or give this one a state folder of its own (RAILROAD_STATE_DIR)"),
        PlaceError::Io { .. } => Failure::at("take the program's place", error).hint("rrctl doctor"),
    }
}

/// Starts, then runs until a signal or the end of an essential task; then drains. A second signal ends it at once.
///
/// # Errors
/// What the start or a task failed of.
pub async fn until_the_end(
    tasks: Tasks,
    ready: Readiness,
    start: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|e| Failure::at("listen for signals", &e))?;
    let shutdown = tasks.shutdown_token();
    let started = tokio::select! {
        started = start => started,
        () = signals.next() => { shutdown.cancel(); Ok(()) }
        () = shutdown.cancelled() => Ok(()),
    };
    if started.is_err() {
        shutdown.cancel();
    }
    let ended = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = signals.next() => shutdown.cancel(),
        }
        tracing::info!(drain = ?DRAIN_MAX, "stopping: what is under way is finished");
        ready.stop();
        tokio::select! {
            ended = tasks.run_until_end(DRAIN_MAX) => ended.map_err(|e| Failure::at("keep the program running", &e)),
            () = signals.next() => Err(Failure::new(Kind::Failed, "told to end a second time: ended at once")),
        }
    };
    let ended = ended.await;
    started.and(ended)
}

/// Each that asks for the end.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hang_up: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Each hook that waits is an open file: as many as this user may have, not as few as a shell gives by default.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // With fewer the program works all the same: hooks of a crowd are turned away sooner, and deny.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Begins again with a malloc that gives back what is not needed any more; glibc reads how only at the start of a program. An arena
/// for each thread keeps what that thread once needed: with 50 sessions and 5,000 locks 10 to 20 MiB more. And a threshold that grows
/// with the largest piece ever freed keeps, after one listing of all locks, what that took. The pid stays the same.
pub fn with_lean_malloc() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    const TRIM: &str = "MALLOC_TRIM_THRESHOLD_";
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).env(ARENAS, "1").env(TRIM, TRIM_BYTES.to_string());
    let error = again.exec();
    tracing::debug!(%error, "went on with the usual malloc");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    fn signal_ourselves() {
        kill_process(getpid(), Signal::TERM).expect("this process is there");
    }

    /// In one test: signals are for the whole process.
    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_ends_at_once() {
        let (tasks, drained) = (Tasks::new(), Arc::new(AtomicBool::new(false)));
        let (shutdown, flag) = (tasks.shutdown_token(), Arc::clone(&drained));
        tasks.spawn("polite", Essential, async move {
            shutdown.cancelled().await;
            flag.store(true, Ordering::Relaxed);
        });
        let ready = Readiness::of(&[]);
        let ended = until_the_end(tasks, ready.clone(), async {
            signal_ourselves();
            Ok(())
        });
        assert_eq!(ended.await, Ok(()));
        assert!(drained.load(Ordering::Relaxed) && ready.check() == Err("stopping".to_owned()));

        let tasks = Tasks::new();
        let shutdown = tasks.shutdown_token();
        tasks.spawn("deaf", Essential, async move {
            shutdown.cancelled().await;
            signal_ourselves();
            std::future::pending::<()>().await;
        });
        let ended = until_the_end(tasks, Readiness::default(), async {
            signal_ourselves();
            Ok(())
        });
        let told = tokio::time::timeout(DRAIN_MAX, ended).await.expect("at once").expect_err("cut short");
        assert!(told.text().contains("a second time"), "{}", told.text());

        let tasks = Tasks::new();
        let waiting = async {
            signal_ourselves();
            std::future::pending().await
        };
        assert_eq!(until_the_end(tasks, Readiness::default(), waiting).await, Ok(()), "also while it starts");
    }

    #[tokio::test]
    async fn a_start_that_fails_ends_the_program_with_its_failure() {
        let tasks = Tasks::new();
        let shutdown = tasks.shutdown_token();
        tasks.spawn("metrics", Essential, async move { shutdown.cancelled().await });
        let failed = Failure::new(Kind::Refused, "no");
        let ended = until_the_end(tasks, Readiness::default(), async { Err(failed.clone()) }).await;
        assert_eq!(ended, Err(failed));
    }
}

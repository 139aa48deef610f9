//! Everything in one process (`rrctl up`): the table of contents of the daemon. Store, fleet, then each task in order, then
//! the end. What a task does is in its crate's `app`; how the daemon is put into the background is in `detach`.

use std::sync::Arc;
use std::time::Duration;

use rr_runtime::config::MachineConfig;
use rr_runtime::dirs::Dirs;
use rr_runtime::host::host_id;
use rr_runtime::tasks::{Kind::Essential, Tasks};
use rr_store::embedded::{EmbeddedStore, OpenError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::door::{self, own_fleet};
use crate::exit::{Failure, Kind};
use crate::process::{self, Daemon, PidFile, signals};

/// From the wish to end to the end: calls under way are answered, then all is cut off.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// An order given without a daemon has the store for a moment only.
const STORE_TRIES: u32 = 400;
const STORE_TRY_EVERY: Duration = Duration::from_millis(5);

/// Runs the daemon until it is told to end.
pub(crate) async fn run(dirs: Dirs) -> Result<(), Failure> {
    dirs.prepare().map_err(|e| Failure::at("prepare this user's folders", &e))?;
    allow_open_files();
    let timing = MachineConfig::load().map_err(|e| Failure::at("read this machine's config.yaml", &e))?.timing;
    let tasks = Tasks::new();
    let shutdown = tasks.shutdown_token();
    tasks.spawn("signals", Essential, signals(shutdown.clone()));

    let store = open_store(&dirs).await?;
    let pid_file = PidFile::write(&dirs.pid_file()).map_err(|e| Failure::at("write the pid file", &e))?;
    let host = host_id(&dirs).map_err(|e| Failure::at("read this host's id", &e))?;
    let fleet = own_fleet(Arc::clone(&store), timing).await?;
    tracing::info!(pid = std::process::id(), %host, state = %dirs.state.display(), "the daemon starts");

    let coordinator = rr_coordinator::app::serve(rr_coordinator::app::Setup {
        fleet: fleet.clone(),
        socket: dirs.api_socket(),
        remote: None,
        issuer: None,
        shutdown: shutdown.clone(),
    });
    let setup = rr_sidecar::app::Setup { fleet: fleet.clone(), dirs, host: host.clone(), shutdown: shutdown.clone() };
    tasks.spawn("coordinator", Essential, coordinator);
    tasks.spawn("sidecar", Essential, rr_sidecar::app::run(setup));
    tasks.spawn("watcher", Essential, rr_watcher::app::run(fleet, host, shutdown));

    let ended = tasks.run_until_end(DRAIN_MAX).await;
    drop(pid_file);
    // Only now: the next owner writes a pid file of its own.
    drop(store);
    tracing::info!("the daemon ends");
    ended.map_err(|e| Failure::at("keep the daemon running", &e))
}

/// Each hook that waits is an open file: as many as this user may have, not as few as a shell gives by default.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // With fewer the daemon works all the same: hooks of a crowd are turned away sooner, and deny.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The store is the daemon's proof that it is the only one.
async fn open_store(dirs: &Dirs) -> Result<Arc<EmbeddedStore>, Failure> {
    for _ in 0..STORE_TRIES {
        match door::store(dirs) {
            Ok(store) => return Ok(store),
            // Waiting for another daemon's end would bring back what somebody has just stopped.
            Err(OpenError::InUse { pid, .. }) if is_another_daemon(dirs, pid) => return Err(runs_already(pid)),
            Err(OpenError::InUse { .. }) => tokio::time::sleep(STORE_TRY_EVERY).await,
            Err(error) => return Err(door::unopened(&error)),
        }
    }
    Err(runs_already(None))
}

fn is_another_daemon(dirs: &Dirs, owner: Option<u32>) -> bool {
    Daemon::find(&dirs.pid_file()).is_some() || owner.is_some_and(process::is_up)
}

pub(crate) fn runs_already(pid: Option<u32>) -> Failure {
    let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Failure::new(Kind::Refused, format!("a daemon runs already{pid}")).hint("rrctl status, or rrctl down to stop it")
}

//! Everything in one process (`rrctl up`): the table of contents of the daemon. Folders and places, store, fleet, then each
//! part in order, then the end. What a part does is in its crate's `app`; how the daemon is put into the background is in
//! `detach`.

use std::sync::Arc;
use std::time::Duration;

use rr_fleet::{Fleet, FleetError};
use rr_link::upkeep;
use rr_runtime::clock::BootClock;
use rr_runtime::config::{Loaded, StoreKind};
use rr_runtime::dirs::Dirs;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::program::{self, Ground, until_the_end};
use rr_runtime::store::{self, StoreError};
use rr_runtime::trouble::patiently;
use rr_store::Store;
use rr_store::embedded::OpenError;

use crate::exit::{Failure, Kind};
use crate::process::{self, Daemon, PidFile, Place, PlaceError};

/// How the places of the three programs are marked while this one process has them.
const OWNER: &str = "rrctl up";
/// The programs whose work is done here.
const PROGRAMS: [&str; 3] = [rr_sidecar::app::PROGRAM, rr_coordinator::app::PROGRAM, rr_watcher::app::PROGRAM];
const PARTS: [&str; 3] = [rr_sidecar::app::PART, rr_coordinator::app::PART, rr_watcher::app::PART];
/// An order given without a daemon has the store for a moment only.
const STORE_TRIES: u32 = 400;
const STORE_TRY_EVERY: Duration = Duration::from_millis(5);

/// Runs the daemon until it is told to end.
pub(crate) async fn run(dirs: Dirs) -> Result<(), Failure> {
    program::prepare(&dirs)?;
    program::allow_open_files();
    let config =
        Loaded::load(None).map_err(|e| Failure::at("read this machine's config.yaml", &e).of_kind(Kind::Usage))?.config;
    let places = take_places(&dirs).await?;
    let ground = Ground::new(config, dirs, "rrctl", &PARTS);
    let mut pid_file = None;
    let ended = until_the_end(ground.tasks.clone(), ground.ready.clone(), async {
        upkeep::start(&ground)?;
        let store = match ground.config.store.kind {
            StoreKind::Embedded => {
                let store = own_store(&ground).await?;
                pid_file = Some(write_pid(&ground.dirs)?);
                store
            }
            // Hooks and people shall see that somebody is at it while the cluster cannot be reached.
            StoreKind::Etcd => {
                pid_file = Some(write_pid(&ground.dirs)?);
                ground.show_metrics(0).await?;
                ground.reach_store().await?
            }
        };
        serve(ground, store).await
    })
    .await;
    drop(pid_file);
    // Only now: the next owner writes a pid file of its own.
    drop(places);
    tracing::info!("the daemon ends");
    ended
}

async fn serve(ground: Ground, store: Arc<dyn Store>) -> Result<(), Failure> {
    if ground.config.store.kind == StoreKind::Embedded {
        ground.show_metrics(0).await?;
    }
    let floor = ground.floor(store)?;
    let (pid, host, state) = (std::process::id(), &floor.host, floor.dirs.state.display());
    tracing::info!(pid, %host, %state, "the daemon starts");
    let open = || {
        let (store, clock) = (Arc::clone(&floor.store), Arc::clone(&floor.clock));
        Fleet::open(store, &floor.config.fleet, clock, Arc::new(OsEntropy), floor.config.timing)
    };
    let fleet = patiently("open the fleet", FleetError::is_outage, open).await;
    let fleet = fleet.map_err(|e| Failure::at("open the fleet", &e))?;
    rr_coordinator::app::start(&floor, fleet.clone()).await?;
    rr_sidecar::app::start(&floor, fleet.clone());
    rr_watcher::app::start(&floor, fleet);
    Ok(())
}

fn write_pid(dirs: &Dirs) -> Result<PidFile, Failure> {
    PidFile::write(&dirs.pid_file()).map_err(|e| Failure::at("write the pid file", &e))
}

/// Those of the three programs: neither a second daemon nor one of them can run beside this one.
async fn take_places(dirs: &Dirs) -> Result<Vec<Place>, Failure> {
    let mut tries = STORE_TRIES;
    loop {
        let places: Result<Vec<_>, _> =
            PROGRAMS.iter().map(|program| Place::take(&dirs.state, program, OWNER)).collect();
        let error = match places {
            Ok(places) => return Ok(places),
            Err(error) => error,
        };
        let daemon = match &error {
            PlaceError::Taken { by: Some(by), .. } if by.starts_with(OWNER) => {
                by.rsplit(' ').next().and_then(|pid| pid.parse().ok())
            }
            _ => return Err(program::taken(&error)),
        };
        tries -= 1;
        if tries == 0 || daemon.is_none_or(process::is_up) {
            return Err(runs_already(daemon));
        }
        // What a killed daemon was just starting has its place for a moment longer than itself.
        tokio::time::sleep(STORE_TRY_EVERY).await;
    }
}

/// The store is the daemon's proof that it is the only one.
async fn own_store(ground: &Ground) -> Result<Arc<dyn Store>, Failure> {
    for _ in 0..STORE_TRIES {
        match store::open(&ground.config, &ground.dirs, Arc::new(BootClock)).await {
            Ok(store) => return Ok(store),
            // Waiting for another daemon's end would bring back what somebody has just stopped.
            Err(StoreError::Embedded(OpenError::InUse { pid, .. })) if is_another_daemon(&ground.dirs, pid) => {
                return Err(runs_already(pid));
            }
            Err(StoreError::Embedded(OpenError::InUse { .. })) => tokio::time::sleep(STORE_TRY_EVERY).await,
            Err(error) => return Err(error.into()),
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

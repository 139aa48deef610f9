//! The sidecar, top to bottom: what it opens, what it takes over, what it runs. Every task is named here.

use std::sync::Arc;

use rr_core::id::{FleetName, HostId};
use rr_fleet::{Fleet, FleetError};
use rr_git::{Vault, VaultError};
use rr_journal::{Journal, JournalError};
use rr_runtime::dirs::Dirs;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::exit::Failure;
use rr_runtime::metrics::Metrics;
use rr_runtime::program::Floor;
use rr_runtime::readiness::Readiness;
use rr_runtime::tasks::Kind::Essential;
use rr_runtime::trouble::patiently;
use tokio_util::sync::CancellationToken;

use crate::earlier::Earlier;
use crate::guarded::Guarded;
use crate::history::History;
use crate::holds::{Holds, HoldsError};
use crate::live::Telling;
use crate::memory::Memory;
use crate::service::{Belongings, Service};
use crate::snapshots::Snapshots;
use crate::socket::{self, SocketError};
use crate::undo::Plans;

/// Its name as a program of its own.
pub const PROGRAM: &str = "rr-sidecar";
/// Its name among the parts of a program.
pub const PART: &str = "sidecar";

/// What a sidecar needs from the program around it.
pub struct Setup {
    pub fleet: Fleet,
    /// The fleet's name: a repository that names another one is not this sidecar's.
    pub name: FleetName,
    pub dirs: Dirs,
    pub host: HostId,
    pub ready: Readiness,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

/// The sidecar as a program of its own.
///
/// # Errors
/// If the store can not be used as this fleet's.
pub async fn run_on(floor: Floor) -> Result<(), Failure> {
    let open = || {
        let (store, clock) = (Arc::clone(&floor.store), Arc::clone(&floor.clock));
        Fleet::open(store, &floor.config.fleet, clock, Arc::new(OsEntropy), floor.config.timing)
    };
    let fleet = patiently("open the fleet", FleetError::is_outage, open).await;
    start(&floor, fleet.map_err(|e| Failure::at("open the fleet", &e))?);
    Ok(())
}

/// Begins to answer hooks for a fleet that is open.
pub fn start(floor: &Floor, fleet: Fleet) {
    let setup = Setup {
        fleet,
        name: floor.config.fleet.clone(),
        dirs: floor.dirs.clone(),
        host: floor.host.clone(),
        ready: floor.ready.clone(),
        metrics: floor.metrics.clone(),
        shutdown: floor.tasks.shutdown_token(),
    };
    floor.tasks.spawn(PART, Essential, run(setup));
}

#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("take over the sessions of an earlier life")]
    Adopt(#[source] rr_fleet::FleetError),
    #[error("open the journal")]
    Journal(#[from] JournalError),
    #[error("open the snapshots")]
    Snapshots(#[from] VaultError),
    #[error(transparent)]
    Holds(#[from] HoldsError),
    #[error("a part of the sidecar ended unexpectedly")]
    PartEnded,
}

/// Runs the sidecar until shutdown; then answers the calls that are under way and takes no others.
///
/// # Errors
/// If its socket cannot be opened, or the store cannot be read as a fleet's.
pub async fn run(setup: Setup) -> Result<(), SidecarError> {
    let Setup { fleet, name, dirs, host, ready, metrics, shutdown } = setup;
    let guarded = Guarded::new(&[dirs.state.clone(), dirs.runtime.clone()]);
    let history = History::load(&dirs.state);
    let memory = Memory::read(&dirs.state);
    let telling = Telling::read(&dirs.state);
    let holds = Holds::read(&dirs.state)?;
    let (journal, recovered) =
        Journal::open(&dirs.journal_dir(), &rr_journal::Options::default(), Arc::new(rr_journal::RealDisk))?;
    let vault = Vault::open(&dirs.snapshots_dir(), Arc::new(rr_git::disk::RealDisk))?;
    let plans = Plans::new(dirs.rollbacks_dir());
    let mut open_calls = recovered.open_calls;
    // Before anybody may write: what a crash left half done of a rollback is ended, and its call with it.
    let over = tokio::task::block_in_place(|| plans.finish(&vault, &journal));
    open_calls.retain(|open| !over.contains(&open.call));
    let snapshots = Snapshots::new(vault);
    let earlier = Earlier::new(open_calls);
    let mirrors = dirs.mirrors_dir();
    let belongings = Belongings {
        name,
        host,
        guarded,
        history,
        metrics,
        memory,
        telling,
        journal,
        snapshots,
        earlier,
        mirrors,
        holds,
        plans,
    };
    let service = Arc::new(Service::new(fleet.clone(), belongings));

    let adopting = patiently("take over the sessions", FleetError::is_outage, || service.adopt());
    match shutdown.run_until_cancelled(adopting).await {
        None => return Ok(()),
        Some(adopted) => adopted.map_err(SidecarError::Adopt)?,
    }
    service.read_permit().await;
    service.view.refresh(&fleet).await;
    let listener = socket::listen(&dirs.hook_socket())?;
    service.clone().count();
    ready.is_up(PART);

    let hooks = service.clone();
    let answer = move |question| hooks.clone().answer(question);
    let mut serving = std::pin::pin!(socket::serve(listener, answer, shutdown.clone()));
    let mut served = false;
    tokio::select! {
        () = &mut serving => served = true,
        () = whole(service.clone().keep(shutdown.clone())) => {}
        () = whole(service.clone().follow_permit(shutdown.clone())) => {}
        () = whole(service.clone().follow_work(shutdown.clone())) => {}
        () = whole(service.clone().follow_answers(shutdown.clone())) => {}
        () = whole(service.clone().keep_records(shutdown.clone())) => {}
        () = whole(service.clone().follow_trees(shutdown.clone())) => {}
        () = whole(service.clone().follow_wanted(shutdown.clone())) => {}
        () = whole(service.clone().follow_findings(shutdown.clone())) => {}
    }
    let told = shutdown.is_cancelled();
    if told && !served {
        serving.await;
    }
    service.memory.keep(&service);
    // Sessions stay in the store with their leases: the next life takes them over.
    service.all().iter().for_each(|who| crate::pause::thaw(who));
    let _ = std::fs::remove_file(dirs.hook_socket());
    if told { Ok(()) } else { Err(SidecarError::PartEnded) }
}

/// A part in a task of its own, so that a panic in it ends the sidecar instead of hanging it.
async fn whole(part: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(part).await {
        tracing::error!(%error, "a part of the sidecar failed");
    }
}

//! The sidecar, top to bottom: what it opens, what it takes over, what it runs. Every task is named here.

use std::sync::Arc;

use rr_core::id::HostId;
use rr_fleet::Fleet;
use rr_runtime::dirs::Dirs;
use tokio_util::sync::CancellationToken;

use crate::guarded::Guarded;
use crate::memory::Memory;
use crate::service::Service;
use crate::socket::{self, SocketError};
use crate::view::{self, SharedView};

/// What a sidecar needs from the program around it.
pub struct Setup {
    pub fleet: Fleet,
    pub dirs: Dirs,
    pub host: HostId,
    pub shutdown: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("take over the sessions of an earlier life")]
    Adopt(#[source] rr_fleet::FleetError),
    #[error("a part of the sidecar ended unexpectedly")]
    PartEnded,
}

/// Runs the sidecar until shutdown.
///
/// # Errors
/// If its socket cannot be opened, or the store cannot be read at the start.
pub async fn run(setup: Setup) -> Result<(), SidecarError> {
    let Setup { fleet, dirs, host, shutdown } = setup;
    let view = SharedView::default();
    let guarded = Guarded::new(&[dirs.state.clone(), dirs.runtime.clone()]);
    let service = Arc::new(Service::new(fleet.clone(), host, view.clone(), guarded, Memory::read(&dirs.state)));

    service.adopt().await.map_err(SidecarError::Adopt)?;
    service.read_permit().await;
    view::refresh(&fleet, &view).await;
    let listener = socket::listen(&dirs.hook_socket())?;

    let hooks = service.clone();
    let answer = move |question| hooks.clone().answer(question);
    let ended = tokio::select! {
        () = socket::serve(listener, answer, shutdown.clone()) => shutdown.is_cancelled(),
        () = whole(service.clone().keep(shutdown.clone())) => shutdown.is_cancelled(),
        () = whole(service.clone().follow_permit(shutdown.clone())) => shutdown.is_cancelled(),
        () = whole(service.clone().follow_losses(shutdown.clone())) => shutdown.is_cancelled(),
        () = whole(view::keep(fleet, view, shutdown.clone())) => shutdown.is_cancelled(),
    };
    service.memory.keep(&service);
    // Sessions stay in the store with their leases: the next life takes them over.
    service.all().iter().for_each(|who| crate::pause::thaw(who));
    let _ = std::fs::remove_file(dirs.hook_socket());
    if ended { Ok(()) } else { Err(SidecarError::PartEnded) }
}

/// A part in a task of its own, so that a panic in it ends the sidecar instead of hanging it.
async fn whole(part: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(part).await {
        tracing::error!(%error, "a part of the sidecar failed");
    }
}

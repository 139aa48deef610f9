//! The table of contents of the coordinator: its socket, its services, its end. It knows nothing of what the services do;
//! that is `services`, then `ops`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rr_fleet::Fleet;
use rr_proto::v1::fleet_server::FleetServer;
use rr_proto::v1::locks_server::LocksServer;
use rr_proto::v1::publish_server::PublishServer;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::services::Desk;
use crate::socket;

/// How long answers under way may take once the end was asked for: longer than any request, short of a person's patience.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Requests at a time on one connection: a person's program has a few, a runaway one shall wait.
const REQUESTS_PER_CONNECTION_MAX: usize = 16;
/// A request is a few short texts; anything longer is a mistake.
const REQUEST_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("another process answers on {}", .0.display())]
    Taken(PathBuf),
    #[error("{} is in the way: it is no socket", .0.display())]
    InTheWay(PathBuf),
    #[error("{what} {}", path.display())]
    Socket { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("serve the fleet's requests")]
    Server(#[source] tonic::transport::Error),
}

/// Serves `Fleet`, `Locks` and `Publish` on a unix socket for this user alone, until `shutdown`; then answers what is under way.
///
/// # Errors
/// If the socket cannot be made, or another process answers on it.
pub async fn serve(fleet: Fleet, socket: &Path, shutdown: CancellationToken) -> Result<(), ServeError> {
    let (listener, socket_file) = socket::bind(socket).await?;
    let desk = Desk::new(fleet, shutdown.clone());
    let server = Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .add_service(FleetServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(PublishServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(LocksServer::new(desk).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming_shutdown(socket::own_connections(listener), shutdown.clone().cancelled_owned());
    tracing::info!(socket = %socket.display(), "the coordinator listens");
    let ended = tokio::select! {
        ended = server => ended.map_err(ServeError::Server),
        () = drained(&shutdown) => Ok(()),
    };
    drop(socket_file);
    ended
}

/// Ends [`DRAIN_MAX`] after the end was asked for: a client that does not read its answer must not keep us.
async fn drained(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

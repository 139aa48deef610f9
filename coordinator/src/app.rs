//! The table of contents of the coordinator: its socket, its services, its end. It knows nothing of what the services do;
//! that is `services`, then `ops`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use rr_fleet::{Fleet, FleetError};
use rr_proto::v1::fleet_server::FleetServer;
use rr_proto::v1::locks_server::LocksServer;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::exit::{Failure, Kind};
use rr_runtime::program::Floor;
use rr_runtime::tasks::Kind::Essential;
use rr_runtime::trouble::patiently;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::services::{Desk, of_a_version_near_ours};
use crate::socket::{self, SocketFile};
use crate::{numbers, tcp};

/// Its name as a program of its own.
pub const PROGRAM: &str = "rr-coordinator";
/// Its name among the parts of a program.
pub const PART: &str = "coordinator";
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
    #[error("listen on {address}")]
    Tcp { address: SocketAddr, source: std::io::Error },
    #[error("{0} can be reached from other machines, and nothing there would ask who calls")]
    Open(SocketAddr),
    #[error("serve the fleet's requests")]
    Server(#[source] tonic::transport::Error),
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let (kind, hint) = match &error {
            ServeError::Taken(_) => (Kind::Refused, "stop the other one first (rrctl down, or systemctl)"),
            ServeError::Open(_) => (Kind::Usage, "set listen.coordinator to an address of 127.0.0.0/8 or ::1"),
            ServeError::InTheWay(_) => (Kind::Failed, "move it away"),
            ServeError::Tcp { .. } => (Kind::Failed, "set listen.coordinator to a free address of this machine"),
            ServeError::Socket { .. } | ServeError::Server(_) => (Kind::Failed, "rrctl doctor"),
        };
        Self::at("serve the fleet", &error).of_kind(kind).hint(hint)
    }
}

/// The coordinator as a program of its own.
///
/// # Errors
/// If the store can not be used as this fleet's, or an address is taken.
pub async fn run_on(floor: Floor) -> Result<(), Failure> {
    let open = || {
        let (store, clock) = (Arc::clone(&floor.store), Arc::clone(&floor.clock));
        Fleet::open(store, &floor.config.fleet, clock, Arc::new(OsEntropy), floor.config.timing)
    };
    let fleet = patiently("open the fleet", FleetError::is_outage, open).await;
    start(&floor, fleet.map_err(|e| Failure::at("open the fleet", &e))?).await
}

/// Begins to answer for a fleet that is open.
///
/// # Errors
/// If an address is taken or not allowed.
pub async fn start(floor: &Floor, fleet: Fleet) -> Result<(), Failure> {
    let open = Open::at(&floor.dirs.api_socket(), floor.config.listen.coordinator).await?;
    numbers::show(&floor.metrics, fleet.clone());
    floor.tasks.spawn(PART, Essential, open.serve(fleet, floor.tasks.shutdown_token()));
    floor.ready.is_up(PART);
    Ok(())
}

/// The addresses, listening.
pub struct Open {
    socket: UnixListener,
    socket_file: SocketFile,
    tcp: Option<TcpListener>,
}

impl Open {
    /// A unix socket for this user alone, and an address for programs if there is one.
    ///
    /// # Errors
    /// If the socket cannot be made, another process answers on it, or the address is taken.
    pub async fn at(socket: &Path, address: Option<SocketAddr>) -> Result<Self, ServeError> {
        let tcp = match address {
            Some(address) => Some(tcp::listen(address).await?),
            None => None,
        };
        let (listener, socket_file) = socket::bind(socket).await?;
        tracing::info!(socket = %socket.display(), "the coordinator listens");
        Ok(Self { socket: listener, socket_file, tcp })
    }

    /// Where programs reach it, beside the socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Serves `Fleet` and `Locks` until `shutdown`; then answers what is under way.
    ///
    /// # Errors
    /// If a server fails.
    pub async fn serve(self, fleet: Fleet, shutdown: CancellationToken) -> Result<(), ServeError> {
        let Self { socket, socket_file, tcp } = self;
        let desk = Desk::new(fleet, shutdown.clone());
        let remote = async {
            match tcp {
                Some(tcp) => answer(desk.clone(), tcp::connections(tcp), shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let local = answer(desk.clone(), socket::own_connections(socket), shutdown.clone());
        let ended = tokio::select! {
            ended = async { tokio::try_join!(local, remote) } => ended.map(|_| ()),
            () = drained(&shutdown) => Ok(()),
        };
        drop(socket_file);
        ended
    }
}

/// Answers on every connection of a stream, whatever it came over.
async fn answer<C>(
    desk: Desk,
    connections: impl Stream<Item = std::io::Result<C>>,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let fleet = FleetServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let locks = LocksServer::new(desk).max_decoding_message_size(REQUEST_BYTES_MAX);
    Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .add_service(InterceptedService::new(fleet, of_a_version_near_ours))
        .add_service(InterceptedService::new(locks, of_a_version_near_ours))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned())
        .await
        .map_err(ServeError::Server)
}

/// Serves on a unix socket for this user alone, until `shutdown`.
///
/// # Errors
/// As [`Open::at`] and [`Open::serve`].
pub async fn serve(fleet: Fleet, socket: &Path, shutdown: CancellationToken) -> Result<(), ServeError> {
    Open::at(socket, None).await?.serve(fleet, shutdown).await
}

/// Ends [`DRAIN_MAX`] after the end was asked for: a client that does not read its answer must not keep us.
async fn drained(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

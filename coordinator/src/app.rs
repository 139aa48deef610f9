//! The table of contents of the coordinator: its connections, the gate before its services, its end. It knows nothing of what
//! the services do; that is `services`, then `ops`.

use std::path::PathBuf;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use rr_fleet::Fleet;
use rr_link::accept::{Connection, Door, incoming};
use rr_proto::v1::enrol_server::EnrolServer;
use rr_proto::v1::fleet_server::FleetServer;
use rr_proto::v1::locks_server::LocksServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::enrol::Issuer;
use crate::gate::GateLayer;
use crate::services::Desk;
use crate::socket;

/// How long answers under way may take once the end was asked for: longer than any request, short of a person's patience.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Requests at a time on one connection: a person's program has a few, a runaway one shall wait.
const REQUESTS_PER_CONNECTION_MAX: usize = 16;
/// A request is a few short texts; anything longer is a mistake.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A connection lives at most this long, so that what was exchanged meanwhile (a certificate, a right) is in force; and at most a
/// quarter of a certificate's life, so that it never outlives one that is renewed in time.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3_600);
const LIVES_PER_CONNECTION: u32 = 4;
/// The other end went without a word: its watch shall not stay.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a coordinator needs from the program around it.
pub struct Setup {
    pub fleet: Fleet,
    /// For this user's programs on this machine.
    pub socket: PathBuf,
    /// For others: an address that [`rr_link::accept::listen`] let pass, and who comes in by it.
    pub remote: Option<(TcpListener, Door)>,
    /// Gives out certificates, if the authority is here.
    pub issuer: Option<Issuer>,
    pub shutdown: CancellationToken,
}

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

/// Serves the fleet's requests until `shutdown`; then answers what is under way.
///
/// # Errors
/// If the socket cannot be made, or another process answers on it.
pub async fn serve(setup: Setup) -> Result<(), ServeError> {
    let Setup { fleet, socket, remote, issuer, shutdown } = setup;
    let (listener, socket_file) = socket::bind(&socket).await?;
    let address = remote.as_ref().and_then(|(listener, _)| listener.local_addr().ok());
    let age = remote.as_ref().map_or(CONNECTION_AGE_MAX, |(_, door)| connection_age(door));
    let desk = Desk::new(fleet.clone(), issuer, shutdown.clone());
    let server = Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .max_connection_age(age)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER_MAX))
        .layer(GateLayer { fleet })
        .add_service(FleetServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(LocksServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(EnrolServer::new(desk).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming_shutdown(connections(listener, remote), shutdown.clone().cancelled_owned());
    tracing::info!(socket = %socket.display(), ?address, "the coordinator listens");
    let ended = tokio::select! {
        ended = server => ended.map_err(ServeError::Server),
        () = drained(&shutdown) => Ok(()),
    };
    drop(socket_file);
    ended
}

/// Each with who is at its other end.
fn connections(
    socket: tokio::net::UnixListener,
    remote: Option<(TcpListener, Door)>,
) -> impl Stream<Item = std::io::Result<Connection>> {
    let local = socket::own_connections(socket).map(|found| found.map(Connection::local));
    let remote = match remote {
        Some((listener, door)) => incoming(listener, door).boxed(),
        None => stream::pending().boxed(),
    };
    stream::select(local.boxed(), remote)
}

fn connection_age(door: &Door) -> Duration {
    match door {
        Door::Loopback => CONNECTION_AGE_MAX,
        Door::Tls { material, .. } => CONNECTION_AGE_MAX.min(material.current().life() / LIVES_PER_CONNECTION),
    }
}

/// Ends [`DRAIN_MAX`] after the end was asked for: a client that does not read its answer must not keep us.
async fn drained(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

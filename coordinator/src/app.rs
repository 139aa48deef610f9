//! The table of contents of the coordinator: its connections, the gate before its services, its end. It knows nothing of what
//! the services do; that is `services`, then `ops`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use rr_fleet::{Fleet, FleetError};
use rr_link::accept::{Connection, Door, ListenError, incoming};
use rr_link::local::{self, LocalError, SocketFile};
use rr_proto::v1::approvals_server::ApprovalsServer;
use rr_proto::v1::counted_slots_server::CountedSlotsServer;
use rr_proto::v1::enrol_server::EnrolServer;
use rr_proto::v1::fleet_server::FleetServer;
use rr_proto::v1::health_server::HealthServer;
use rr_proto::v1::incidents_server::IncidentsServer;
use rr_proto::v1::journal_server::JournalServer;
use rr_proto::v1::locks_server::LocksServer;
use rr_proto::v1::overlap_server::OverlapServer;
use rr_proto::v1::publish_server::PublishServer;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::exit::{Failure, Kind};
use rr_runtime::metrics::Metrics;
use rr_runtime::program::Floor;
use rr_runtime::tasks::Kind::Essential;
use rr_runtime::trouble::patiently;
use rr_store::Forgetful;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::enrol::Issuer;
use crate::gate::GateLayer;
use crate::services::{Desk, of_a_version_near_ours};
use crate::{numbers, remote};

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

/// A connection lives at most this long, so that what was exchanged meanwhile (a certificate, a right) is in force; and at most a
/// quarter of a certificate's life, so that it never outlives one that is renewed in time.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3_600);
/// A certificate of no life is refused by everybody; its server need not spin meanwhile.
const CONNECTION_AGE_MIN: Duration = Duration::from_secs(1);
const CONNECTIONS_PER_LIFE: u32 = 4;
/// The other end went without a word: its watch shall not stay.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Socket(#[from] LocalError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("serve the fleet's requests")]
    Server(#[source] tonic::transport::Error),
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let (kind, hint) = match &error {
            ServeError::Socket(LocalError::Taken(_)) => {
                (Kind::Refused, "stop the other one first (rrctl down, or systemctl)")
            }
            ServeError::Listen(ListenError::Open(_)) => {
                (Kind::Usage, "set listen.coordinator to an address of 127.0.0.0/8 or ::1")
            }
            ServeError::Socket(LocalError::InTheWay(_)) => (Kind::Failed, "move it away"),
            ServeError::Listen(_) => (Kind::Failed, "set listen.coordinator to a free address of this machine"),
            ServeError::Socket(LocalError::Socket { .. }) | ServeError::Server(_) => (Kind::Failed, "rrctl doctor"),
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
        let (store, clock) = (Forgetful::over(Arc::clone(&floor.store)), Arc::clone(&floor.clock));
        Fleet::open(store, &floor.config.fleet, clock, Arc::new(OsEntropy), floor.config.timing)
    };
    let fleet = patiently("open the fleet", FleetError::is_outage, open).await;
    start(&floor, fleet.map_err(|e| Failure::at("open the fleet", &e))?).await
}

/// Begins to answer for a fleet that is open.
///
/// # Errors
/// If an address is taken or not allowed, or this machine's certificate or authority cannot be used.
pub async fn start(floor: &Floor, fleet: Fleet) -> Result<(), Failure> {
    let open = Open::at(&floor.dirs.api_socket(), remote::listen(floor).await?).await?.counting(&floor.metrics);
    let issuer = remote::issuer(&floor.config)?;
    numbers::show(&floor.metrics, fleet.clone());
    floor.tasks.spawn(PART, Essential, open.serve(fleet, issuer, floor.tasks.shutdown_token()));
    floor.ready.is_up(PART);
    Ok(())
}

/// The addresses, listening.
pub struct Open {
    socket: UnixListener,
    socket_file: SocketFile,
    remote: Option<(TcpListener, Door)>,
    metrics: Option<Metrics>,
}

impl Open {
    /// A unix socket for this user alone, and an address that [`rr_link::accept::listen`] let pass, if there is one.
    ///
    /// # Errors
    /// If the socket cannot be made, or another process answers on it.
    pub async fn at(socket: &Path, remote: Option<(TcpListener, Door)>) -> Result<Self, ServeError> {
        let (listener, socket_file) = local::bind(socket).await?;
        tracing::info!(socket = %socket.display(), "the coordinator listens");
        Ok(Self { socket: listener, socket_file, remote, metrics: None })
    }

    /// The same, counting what is decided.
    #[must_use]
    pub fn counting(self, metrics: &Metrics) -> Self {
        Self { metrics: Some(metrics.clone()), ..self }
    }

    /// Serves until `shutdown`; then answers what is under way. With an `issuer` it gives out certificates.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn serve(
        self,
        fleet: Fleet,
        issuer: Option<Issuer>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { socket, socket_file, remote, metrics } = self;
        let age = remote.as_ref().map_or(CONNECTION_AGE_MAX, |(_, door)| connection_age(door));
        let desk = Desk::new(fleet.clone(), issuer, metrics, shutdown.clone());
        let served = answer(fleet, desk, age, connections(socket, remote), shutdown.clone());
        let ended = tokio::select! {
            ended = served => ended,
            () = drained(&shutdown) => Ok(()),
        };
        drop(socket_file);
        ended
    }
}

/// Answers on every connection of a stream, whatever it came over. The gate stands before all services.
async fn answer(
    fleet: Fleet,
    desk: Desk,
    age: Duration,
    connections: impl Stream<Item = std::io::Result<Connection>>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let fleets = FleetServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let locks = LocksServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let publish = PublishServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let approvals = ApprovalsServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let journal = JournalServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let overlap = OverlapServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let health = HealthServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let incidents = IncidentsServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let slots = CountedSlotsServer::new(desk.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let enrol = EnrolServer::new(desk).max_decoding_message_size(REQUEST_BYTES_MAX);
    Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .max_connection_age(age)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER_MAX))
        .layer(GateLayer { fleet })
        .add_service(InterceptedService::new(fleets, of_a_version_near_ours))
        .add_service(InterceptedService::new(locks, of_a_version_near_ours))
        .add_service(InterceptedService::new(publish, of_a_version_near_ours))
        .add_service(InterceptedService::new(approvals, of_a_version_near_ours))
        .add_service(InterceptedService::new(journal, of_a_version_near_ours))
        .add_service(InterceptedService::new(overlap, of_a_version_near_ours))
        .add_service(InterceptedService::new(health, of_a_version_near_ours))
        .add_service(InterceptedService::new(incidents, of_a_version_near_ours))
        .add_service(InterceptedService::new(slots, of_a_version_near_ours))
        .add_service(InterceptedService::new(enrol, of_a_version_near_ours))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned())
        .await
        .map_err(ServeError::Server)
}

/// Each with who is at its other end.
fn connections(
    socket: UnixListener,
    remote: Option<(TcpListener, Door)>,
) -> impl Stream<Item = std::io::Result<Connection>> {
    let local = local::own_connections(socket).map(|found| found.map(Connection::local));
    let remote = match remote {
        Some((listener, door)) => incoming(listener, door).boxed(),
        None => stream::pending().boxed(),
    };
    stream::select(local.boxed(), remote)
}

fn connection_age(door: &Door) -> Duration {
    match door {
        Door::Loopback => CONNECTION_AGE_MAX,
        Door::Tls { material, .. } => {
            let age = material.current().life() / CONNECTIONS_PER_LIFE;
            age.clamp(CONNECTION_AGE_MIN, CONNECTION_AGE_MAX)
        }
    }
}

/// Serves on a unix socket for this user alone, until `shutdown`.
///
/// # Errors
/// As [`Open::at`] and [`Open::serve`].
pub async fn serve(fleet: Fleet, socket: &Path, shutdown: CancellationToken) -> Result<(), ServeError> {
    Open::at(socket, None).await?.serve(fleet, None, shutdown).await
}

/// Ends [`DRAIN_MAX`] after the end was asked for: a client that does not read its answer must not keep us.
async fn drained(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

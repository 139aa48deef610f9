//! One connection to one member, made whole before it is used: dialled, TLS spoken, the member has answered, we are logged
//! in. It is used until it breaks and never dials again by itself: whether a request was sent is then always known, and
//! a burst of requests does not wait for one dial each. Who makes the next one is [`super::endpoint`].

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::proto::PbStatusResponse;
use etcd_client::{
    Channel, Client, ConnectOptions, Error as EtcdError, KvClient, LeaseClient, MaintenanceClient, WatchClient,
};
use hyper_util::rt::TokioIo;
use rr_core::bugs::{self, Bug};
use rr_core::time::{BootTime, Span};
use tokio::net::TcpStream;
use tonic::transport::{Endpoint as Dial, Uri};

use super::failure::{Failure, Fate};
use super::options::{Credentials, TlsFiles, is_tls, shown};
use super::tls::{Material, read};

/// For all of it, TLS and the first answer included: a frozen member accepts connections, too.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A connection that is silent for this long is asked whether it is alive ...
const PING_EVERY: Duration = Duration::from_secs(5);
/// ... and is dead if that takes longer. Only while a request or a stream is open: etcd closes a connection that pings
/// without one (`too_many_pings`, after 20 s), so one that lies idle is asked before it is used ([`Line::is_silent`]).
const PONG_MAX: Duration = Duration::from_secs(3);
/// One that has not been heard of for this long may have been cut: a write that is sent over it would be lost. A sidecar
/// polls more often, so only those who seldom write pay for the question.
const SILENCE_MAX: Span = Span::from_secs(10);
/// For a range of 50,000 keys, and for the largest of values many times over; the library's own limit is 4 MiB.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What every connection of a store needs to know.
#[derive(Debug)]
pub(super) struct Access {
    pub credentials: Option<Credentials>,
    pub tls: Option<TlsFiles>,
    /// The cluster that the first endpoint to answer belongs to, and that endpoint.
    pub cluster: OnceLock<(u64, String)>,
}

impl Access {
    /// The cluster's id is made from its first members, so it survives a restore: it tells clusters apart, not histories.
    fn is_ours(&self, cluster_id: u64, uri: &Uri) -> Result<(), Failure> {
        let (ours, first) = self.cluster.get_or_init(|| (cluster_id, shown(uri)));
        if *ours == cluster_id {
            return Ok(());
        }
        let why = format!("it belongs to another cluster ({cluster_id:x}) than {first} ({ours:x})");
        Err(Failure { fate: Fate::Foreign { first: first.clone() }, ..Failure::not_sent(why) })
    }
}

pub(super) struct Line {
    pub kv: KvClient,
    pub lease: LeaseClient,
    pub watch: WatchClient,
    maintenance: MaintenanceClient,
    client: Client,
    /// What was read from the TLS files for it.
    pub material: Option<Material>,
    /// When the member last answered, in milliseconds since boot.
    heard: AtomicU64,
}

impl Line {
    pub(super) async fn connect(uri: &Uri, access: &Access, now: BootTime) -> Result<Self, Failure> {
        let within = tokio::time::timeout(CONNECT_MAX, Self::dial(uri, access, now));
        within.await.unwrap_or_else(|_| Err(Failure::not_sent(format!("no answer within {CONNECT_MAX:?}"))))
    }

    async fn dial(uri: &Uri, access: &Access, now: BootTime) -> Result<Self, Failure> {
        let material = match (&access.tls, is_tls(uri)) {
            (Some(files), true) => Some(read(files).await.map_err(Failure::not_sent)?),
            _ => None,
        };
        let mut dial = Dial::from(uri.clone()).http2_keep_alive_interval(PING_EVERY).keep_alive_timeout(PONG_MAX);
        if let Some(material) = &material {
            dial = dial.tls_config(material.config()).map_err(|e| unsent(&e.into()))?;
        }
        let channel = dial.connect_with_connector(once(uri)).await.map_err(|e| unsent(&e.into()))?;
        let channel = Channel::Tonic(channel);
        let client = Client::from_channel(channel.clone(), Some(login(access))).await.map_err(|e| unsent(&e))?;
        // A member tells of itself in any state, unless it asks for a user: logging in takes a leader, too.
        let mut maintenance = match access.credentials {
            Some(_) => client.maintenance_client(),
            None => Client::from_channel(channel, None).await.map_err(|e| unsent(&e))?.maintenance_client(),
        };
        let status = maintenance.status().await.map_err(|e| rejected(unsent(&e), access))?;
        access.is_ours(status.header().map_or(0, etcd_client::ResponseHeader::cluster_id), uri)?;
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            lease: client.lease_client(),
            watch: client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            maintenance,
            client,
            material,
            heard: AtomicU64::new(now.as_millis()),
        })
    }

    /// Gets another token.
    pub(super) async fn log_in(&self) -> Result<(), Failure> {
        self.client.refresh_token().await.map_err(|error| unsent(&error))
    }

    pub(super) fn heard(&self, now: BootTime) {
        self.heard.store(now.as_millis(), Ordering::Release);
    }

    pub(super) fn is_silent(&self, now: BootTime) -> bool {
        now.since(BootTime::from_millis(self.heard.load(Ordering::Acquire))) > SILENCE_MAX
    }

    /// What the member says of itself.
    pub(super) async fn status(&self) -> Result<PbStatusResponse, EtcdError> {
        self.maintenance.clone().status().await.map(|status| status.0)
    }
}

fn login(access: &Access) -> ConnectOptions {
    // A member without a leader refuses at once, before it proposes anything.
    let options = ConnectOptions::new().with_require_leader(!bugs::is_on(Bug::B6));
    match &access.credentials {
        Some(Credentials { user, password }) => options.with_user(user, password).with_auto_token_refresh(true),
        None => options,
    }
}

/// No request of a caller has been sent over a line that is not whole yet.
fn unsent(error: &EtcdError) -> Failure {
    let failure = Failure::of(error);
    match failure.fate {
        Fate::Final(_) => failure,
        _ => Failure::not_sent(failure.why),
    }
}

/// A server looks at our certificate only after the handshake is over for us: all we see is a connection that ends.
fn rejected(failure: Failure, access: &Access) -> Failure {
    match &access.tls {
        Some(files) if failure.is_unsent() => {
            let hint = "is it valid, and of an authority that etcd trusts?";
            Failure { why: format!("{} (our certificate is {}: {hint})", failure.why, files.cert.display()), ..failure }
        }
        _ => failure,
    }
}

/// Dials one time. The library asks again when the connection has broken, and is told so.
fn once(
    uri: &Uri,
) -> impl tower::Service<Uri, Response = TokioIo<TcpStream>, Error = io::Error, Future: Send> + Send + use<> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or_default();
    let used = AtomicBool::new(false);
    tower::service_fn(move |_| {
        let (host, again) = (host.clone(), used.swap(true, Ordering::AcqRel));
        async move {
            if again {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "the connection broke"));
            }
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        }
    })
}

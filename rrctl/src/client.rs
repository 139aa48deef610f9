//! A coordinator, over this machine's unix socket or at an address. It owns how it is dialled, how long is waited for an
//! answer, which failure means that nobody is there, and that both sides are near in version; what is asked is the
//! commands'. Next: `rr_coordinator::ops` answers.

mod journal;
mod slots;
mod watch;

use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use rr_link::dial::{self, Address};
use rr_link::upkeep;
use rr_proto::v1::approvals_client::ApprovalsClient;
use rr_proto::v1::counted_slots_client::CountedSlotsClient;
use rr_proto::v1::enrol_client::EnrolClient;
use rr_proto::v1::fleet_client::FleetClient;
use rr_proto::v1::health_client::HealthClient;
use rr_proto::v1::incidents_client::IncidentsClient;
use rr_proto::v1::journal_client::JournalClient;
use rr_proto::v1::locks_client::LocksClient;
use rr_proto::v1::overlap_client::OverlapClient;
use rr_proto::v1::publish_client::PublishClient;
use rr_proto::{VERSION, VERSION_KEY, speaks_with, too_far_apart, v1};
use rr_runtime::config::MachineConfig;
use tokio::net::UnixStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::service_fn;

pub(crate) use self::journal::LogLines;
use crate::exit::{Failure, Kind, chain};

/// A unix socket connects at once or its server is stuck; so does a coordinator that is worth waiting for.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A store that has lost its leader may take seconds; a person waits about this long.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Where there is another way: an order to stop everything must not wait for a coordinator that is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// A picture of a fleet at its limits (50,000 locks) is some 20 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A channel whose every request says which version asks.
type Signed = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

#[derive(Clone)]
pub(crate) struct Client {
    fleet: FleetClient<Signed>,
    locks: LocksClient<Signed>,
    enrol: EnrolClient<Signed>,
    publish: PublishClient<Signed>,
    approvals: ApprovalsClient<Signed>,
    journal: JournalClient<Signed>,
    overlap: OverlapClient<Signed>,
    health: HealthClient<Signed>,
    incidents: IncidentsClient<Signed>,
    slots: CountedSlotsClient<Signed>,
    patience: Duration,
    /// It has answered, and not as a version that we understand.
    too_far_apart: bool,
}

impl Client {
    /// The coordinator of this machine.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Failure> {
        let path = socket.to_owned();
        let connector = service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The name is never looked up: the connector knows the way.
        let endpoint = Endpoint::from_static("http://coordinator.railroad");
        let shown = socket.display();
        reached(&shown.to_string(), endpoint.connect_with_connector(connector)).await.map(Self::on)
    }

    /// A coordinator at an address, shown this machine's certificate if it has one.
    pub(crate) async fn connect_to(url: &str, config: &MachineConfig) -> Result<Self, Failure> {
        let address = Address::parse(url);
        let address =
            address.map_err(|e| Failure::at(format!("understand the address {url}"), &e).of_kind(Kind::Usage))?;
        let material = if address.is_tls() { upkeep::material(config)? } else { None };
        let channel = dial::dial(&address, material.as_ref()).await.map_err(|e| unreachable(e.to_string()))?;
        Ok(Self::on(channel))
    }

    fn on(channel: Channel) -> Self {
        Self {
            fleet: FleetClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            locks: LocksClient::with_interceptor(channel.clone(), sign as _),
            enrol: EnrolClient::with_interceptor(channel.clone(), sign as _),
            publish: PublishClient::with_interceptor(channel.clone(), sign as _),
            approvals: ApprovalsClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            journal: JournalClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            overlap: OverlapClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            health: HealthClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            incidents: IncidentsClient::with_interceptor(channel.clone(), sign as _)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            slots: CountedSlotsClient::with_interceptor(channel, sign as _).max_decoding_message_size(ANSWER_BYTES_MAX),
            patience: ANSWER_MAX,
            too_far_apart: false,
        }
    }

    /// The same, waited for only as long as one does who has another way.
    pub(crate) fn one_of_several_ways(mut self) -> Self {
        self.patience = STUCK_AFTER;
        self
    }

    pub(crate) const fn is_too_far_apart(&self) -> bool {
        self.too_far_apart
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        let call = answer("read the fleet's state", self.patience, self.fleet.status(v1::StatusRequest {})).await;
        self.heard(call)
    }

    pub(crate) async fn pause(&mut self, request: v1::PauseRequest) -> Result<v1::PauseReply, Failure> {
        let call = answer("pause the fleet", self.patience, self.fleet.pause(request)).await;
        self.heard(call)
    }

    pub(crate) async fn resume(&mut self, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Failure> {
        let call = answer("resume the fleet", self.patience, self.fleet.resume(request)).await;
        self.heard(call)
    }

    pub(crate) async fn post_restore(
        &mut self,
        request: v1::PostRestoreRequest,
    ) -> Result<v1::PostRestoreReply, Failure> {
        let call = answer("start anew after a restore", self.patience, self.fleet.post_restore(request)).await;
        self.heard(call)
    }

    pub(crate) async fn force_release(
        &mut self,
        request: v1::ForceReleaseRequest,
    ) -> Result<v1::ForceReleaseReply, Failure> {
        let call = answer("take the lock away", self.patience, self.locks.force_release(request)).await;
        self.heard(call)
    }

    pub(crate) async fn judge(&mut self, request: v1::JudgeRequest) -> Result<v1::JudgeReply, Failure> {
        let call = answer("ask what is known of the commits", self.patience, self.publish.judge(request)).await;
        self.heard(call)
    }

    pub(crate) async fn vouch(&mut self, request: v1::VouchRequest) -> Result<v1::VouchReply, Failure> {
        let call = answer("vouch for the commits", self.patience, self.publish.vouch(request)).await;
        self.heard(call)
    }

    pub(crate) async fn watch(&mut self) -> Result<Pictures, Failure> {
        let call = answer("watch the fleet", self.patience, self.fleet.watch(v1::WatchRequest {})).await;
        self.heard(call).map(|stream| Pictures::of(stream.boxed()))
    }

    pub(crate) async fn approvals(&mut self) -> Result<v1::ApprovalsReply, Failure> {
        let asked = self.approvals.list(v1::ListApprovalsRequest {});
        let call = answer("list the requests for approval", self.patience, asked).await;
        self.heard(call)
    }

    pub(crate) async fn watch_approvals(&mut self) -> Result<Pictures<v1::ApprovalsReply>, Failure> {
        let asked = self.approvals.watch(v1::WatchApprovalsRequest {});
        let call = answer("watch the requests for approval", self.patience, asked).await;
        self.heard(call).map(|stream| Pictures::of(stream.boxed()))
    }

    pub(crate) async fn decide(&mut self, request: v1::DecideRequest) -> Result<v1::DecideReply, Failure> {
        let call = answer("decide on the request", self.patience, self.approvals.decide(request)).await;
        self.heard(call)
    }

    pub(crate) async fn create_token(
        &mut self,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenReply, Failure> {
        let call = answer("make a join token", self.patience, self.enrol.create_token(request)).await;
        self.heard(call)
    }

    pub(crate) async fn deny(&mut self, request: v1::DenyRequest) -> Result<v1::DenyReply, Failure> {
        let call = answer("shut the host out", self.patience, self.enrol.deny(request)).await;
        self.heard(call)
    }

    pub(crate) async fn allow(&mut self, request: v1::AllowRequest) -> Result<v1::AllowReply, Failure> {
        let call = answer("let the host in again", self.patience, self.enrol.allow(request)).await;
        self.heard(call)
    }

    pub(crate) async fn hosts(&mut self) -> Result<v1::HostsReply, Failure> {
        let call = answer("list the hosts", self.patience, self.enrol.hosts(v1::HostsRequest {})).await;
        self.heard(call)
    }

    fn heard<T>(&mut self, answered: Result<T, Unanswered>) -> Result<T, Failure> {
        answered.map_err(|unanswered| {
            self.too_far_apart |= unanswered.too_far_apart;
            unanswered.failure
        })
    }
}

async fn reached(
    shown: &str,
    connecting: impl Future<Output = Result<Channel, tonic::transport::Error>>,
) -> Result<Channel, Failure> {
    match tokio::time::timeout(CONNECT_MAX, connecting).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(unreachable(format!("{shown}: {}", root(&error)))),
        Err(_) => Err(unreachable(format!("{shown} takes no connection"))),
    }
}

#[allow(clippy::result_large_err, clippy::unnecessary_wraps, reason = "tonic fixes the type of an interceptor")]
fn sign(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert(VERSION_KEY, MetadataValue::from_static(VERSION));
    Ok(request)
}

/// The fleet, or a part of it, at once and after each change.
pub(crate) struct Pictures<T = v1::StatusReply> {
    stream: BoxStream<'static, Result<T, Status>>,
}

impl<T> Pictures<T> {
    pub(crate) fn of(stream: BoxStream<'static, Result<T, Status>>) -> Self {
        Self { stream }
    }

    /// The next picture, whenever it comes. The end of the daemon is a failure.
    pub(crate) async fn next(&mut self) -> Result<T, Failure> {
        match self.stream.next().await {
            Some(Ok(picture)) => Ok(picture),
            None => Err(unreachable("it was stopped".to_owned())),
            Some(Err(status)) => Err(failure("watch the fleet", &status)),
        }
    }
}

/// Why there is no answer.
struct Unanswered {
    failure: Failure,
    too_far_apart: bool,
}

async fn answer<T>(
    doing: &str,
    patience: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Unanswered> {
    let (failure, metadata) = match tokio::time::timeout(patience, call).await {
        Ok(Ok(reply)) => match apart(doing, reply.metadata()) {
            None => return Ok(reply.into_inner()),
            Some(failure) => return Err(Unanswered { failure, too_far_apart: true }),
        },
        Ok(Err(status)) => (failure(doing, &status), status.metadata().clone()),
        Err(_) => (no_answer(doing, patience), MetadataMap::new()),
    };
    Err(match apart(doing, &metadata) {
        Some(failure) => Unanswered { failure, too_far_apart: true },
        None => Unanswered { failure, too_far_apart: false },
    })
}

fn no_answer(doing: &str, patience: Duration) -> Failure {
    Failure::new(Kind::Failed, format!("could not {doing}: no answer within {} s", patience.as_secs()))
        .because("the coordinator is stuck, or its store is")
        .hint("rrctl doctor; it may have happened: rrctl status")
}

/// Why what answered is too far from us in version, if it is. One that does not say is older than the saying of it.
fn apart(doing: &str, metadata: &MetadataMap) -> Option<Failure> {
    let theirs = metadata.get(VERSION_KEY)?.to_str().unwrap_or("unreadable");
    let refused = || {
        Failure::new(Kind::Refused, format!("could not {doing}"))
            .because(too_far_apart("the coordinator", theirs))
            .hint("update the older of the two")
    };
    (!speaks_with(theirs)).then(refused)
}

/// What a refusal of the daemon means here. Without a connection there is an error below the status.
pub(crate) fn failure(doing: &str, status: &Status) -> Failure {
    if status.source().is_some_and(|s| s.is::<tonic::transport::Error>() || s.is::<std::io::Error>()) {
        return unreachable(format!("it went away: {}", dial::explain(status)));
    }
    let kind = match status.code() {
        Code::InvalidArgument => Kind::Usage,
        Code::NotFound => Kind::NotFound,
        Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => Kind::Refused,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, format!("could not {doing}"));
    if status.code() == Code::Unimplemented {
        return failure.because("the daemon is of another version").hint("rrctl down --wait && rrctl up --detach");
    }
    failure.because(status.message())
}

fn unreachable(cause: String) -> Failure {
    Failure::new(Kind::Unreachable, "no daemon answers on this machine").because(cause).hint("rrctl up --detach")
}

/// The innermost cause: the layers above a unix socket only say that there was one.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    chain(innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_version(version: &'static str) -> tonic::Response<u8> {
        let mut response = tonic::Response::new(7);
        response.metadata_mut().insert(VERSION_KEY, MetadataValue::from_static(version));
        response
    }

    #[tokio::test]
    async fn a_coordinator_one_minor_version_away_is_heard_and_another_is_refused_clearly() {
        let near = answer("read", ANSWER_MAX, async { Ok(of_version("0.2.3")) }).await;
        assert!(matches!(near, Ok(7)));
        let unsaid = answer("read", ANSWER_MAX, async { Ok(tonic::Response::new(8)) }).await;
        assert!(matches!(unsaid, Ok(8)));
        let far = answer("read", ANSWER_MAX, async { Ok(of_version("0.3.0")) }).await;
        let Err(Unanswered { failure, too_far_apart: true }) = far else { panic!("heard") };
        assert_eq!(failure.kind, Kind::Refused);
        let text = failure.text();
        assert!(text.contains("the coordinator is version 0.3.0, this program 0.1.0"), "{text}");
        assert!(text.contains("update the older of the two"), "{text}");
    }

    #[tokio::test]
    async fn its_own_refusal_of_our_version_is_told_as_one_too() {
        let mut status = Status::failed_precondition("too far apart");
        status.metadata_mut().insert(VERSION_KEY, MetadataValue::from_static("2.0.0"));
        let refused = answer::<u8>("read", ANSWER_MAX, async { Err(status) }).await;
        let Err(Unanswered { failure, too_far_apart: true }) = refused else { panic!("heard") };
        assert_eq!(failure.kind, Kind::Refused);
    }
}

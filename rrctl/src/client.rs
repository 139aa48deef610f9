//! The coordinator of this machine, over its unix socket. It owns how long is waited for an answer and which failure means
//! "no daemon"; what is asked is the commands'. Next: `rr_coordinator::ops` answers.

use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rr_proto::v1;
use rr_proto::v1::fleet_client::FleetClient;
use rr_proto::v1::locks_client::LocksClient;
use rr_proto::v1::publish_client::PublishClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::service_fn;

use crate::exit::{Failure, Kind, chain};

/// A unix socket connects at once or its server is stuck.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A store that has lost its leader may take seconds; a person waits about this long.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A picture of a fleet at its limits (50,000 locks) is some 20 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub(crate) struct Client {
    fleet: FleetClient<Channel>,
    locks: LocksClient<Channel>,
    publish: PublishClient<Channel>,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Failure> {
        let path = socket.to_owned();
        let connector = service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The name is never looked up: the connector knows the way.
        let endpoint = Endpoint::from_static("http://coordinator.railroad");
        let connecting = tokio::time::timeout(CONNECT_MAX, endpoint.connect_with_connector(connector));
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(unreachable(format!("{}: {}", socket.display(), root(&error)))),
            Err(_) => return Err(unreachable(format!("{} takes no connection", socket.display()))),
        };
        Ok(Self {
            fleet: FleetClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            locks: LocksClient::new(channel.clone()),
            publish: PublishClient::new(channel),
        })
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        answer("read the fleet's state", self.fleet.status(v1::StatusRequest {})).await
    }

    pub(crate) async fn pause(&mut self, request: v1::PauseRequest) -> Result<v1::PauseReply, Failure> {
        answer("pause the fleet", self.fleet.pause(request)).await
    }

    pub(crate) async fn resume(&mut self, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Failure> {
        answer("resume the fleet", self.fleet.resume(request)).await
    }

    pub(crate) async fn force_release(
        &mut self,
        request: v1::ForceReleaseRequest,
    ) -> Result<v1::ForceReleaseReply, Failure> {
        answer("take the lock away", self.locks.force_release(request)).await
    }

    pub(crate) async fn judge(&mut self, request: v1::JudgeRequest) -> Result<v1::JudgeReply, Failure> {
        answer("ask what is known of the commits", self.publish.judge(request)).await
    }

    pub(crate) async fn vouch(&mut self, request: v1::VouchRequest) -> Result<v1::VouchReply, Failure> {
        answer("vouch for the commits", self.publish.vouch(request)).await
    }

    pub(crate) async fn watch(&mut self) -> Result<Pictures, Failure> {
        let stream = answer("watch the fleet", self.fleet.watch(v1::WatchRequest {})).await?;
        Ok(Pictures { stream })
    }
}

/// The fleet at once and after each change.
pub(crate) struct Pictures {
    stream: Streaming<v1::StatusReply>,
}

impl Pictures {
    /// The next picture, whenever it comes. The end of the daemon is a failure.
    pub(crate) async fn next(&mut self) -> Result<v1::StatusReply, Failure> {
        match self.stream.message().await {
            Ok(Some(picture)) => Ok(picture),
            Ok(None) => Err(unreachable("it was stopped".to_owned())),
            Err(status) => Err(failure("watch the fleet", &status)),
        }
    }
}

async fn answer<T>(doing: &str, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_MAX, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(failure(doing, &status)),
        Err(_) => {
            Err(Failure::new(Kind::Failed, format!("could not {doing}: no answer within {} s", ANSWER_MAX.as_secs()))
                .because("the daemon is stuck, or its store is")
                .hint("rrctl doctor; it may have happened: rrctl status"))
        }
    }
}

/// What a refusal of the daemon means here. Without a connection there is an error below the status.
pub(crate) fn failure(doing: &str, status: &Status) -> Failure {
    if status.source().is_some_and(|s| s.is::<tonic::transport::Error>() || s.is::<std::io::Error>()) {
        return unreachable(format!("it went away: {}", root(status)));
    }
    let kind = match status.code() {
        Code::InvalidArgument => Kind::Usage,
        Code::FailedPrecondition => Kind::Refused,
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

//! The two services of `railroad/v1/fleet.proto`, each method one line: what it does is in `ops`, the watch in `follow`. Every
//! request says which version asks, and every answer which one answers; too far apart is a refusal.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rr_fleet::Fleet;
use rr_proto::v1::fleet_server::Fleet as FleetService;
use rr_proto::v1::locks_server::Locks as LocksService;
use rr_proto::{VERSION, VERSION_KEY, speaks_with, too_far_apart, v1};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::{follow, ops};

/// Where requests arrive: a handle, one for each service.
#[derive(Clone)]
pub(crate) struct Desk {
    fleet: Fleet,
    /// Ends the watches, which never end by themselves.
    shutdown: CancellationToken,
}

impl Desk {
    pub(crate) fn new(fleet: Fleet, shutdown: CancellationToken) -> Self {
        Self { fleet, shutdown }
    }
}

#[tonic::async_trait]
impl FleetService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::StatusReply, Status>>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        ops::status(&self.fleet).await.map(said).map_err(refused)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseReply>, Status> {
        ops::pause(&self.fleet, request.into_inner()).await.map(said).map_err(refused)
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        ops::resume(&self.fleet, request.into_inner()).await.map(said).map_err(refused)
    }

    async fn post_restore(
        &self,
        request: Request<v1::PostRestoreRequest>,
    ) -> Result<Response<v1::PostRestoreReply>, Status> {
        ops::post_restore(&self.fleet, request.into_inner()).await.map(Response::new)
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let pictures = follow::pictures(self.fleet.clone()).take_until(self.shutdown.clone().cancelled_owned());
        Ok(said(pictures.boxed()))
    }
}

#[tonic::async_trait]
impl LocksService for Desk {
    async fn force_release(
        &self,
        request: Request<v1::ForceReleaseRequest>,
    ) -> Result<Response<v1::ForceReleaseReply>, Status> {
        ops::force_release(&self.fleet, request.into_inner()).await.map(said).map_err(refused)
    }
}

/// Lets a request in whose program is near ours in version. One that does not say which it is speaks our protocol by other
/// means, and takes its own risk.
#[allow(clippy::result_large_err, reason = "tonic fixes the type of a refusal")]
pub(crate) fn of_a_version_near_ours(request: Request<()>) -> Result<Request<()>, Status> {
    let Some(theirs) = request.metadata().get(VERSION_KEY) else { return Ok(request) };
    let theirs = theirs.to_str().unwrap_or("unreadable");
    if speaks_with(theirs) {
        return Ok(request);
    }
    let what = too_far_apart("the program that asks", theirs);
    Err(refused(Status::failed_precondition(format!("{what}; update the older of the two"))))
}

fn said<T>(answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    sign(response.metadata_mut());
    response
}

fn refused(mut status: Status) -> Status {
    sign(status.metadata_mut());
    status
}

fn sign(metadata: &mut MetadataMap) {
    metadata.insert(VERSION_KEY, MetadataValue::from_static(VERSION));
}

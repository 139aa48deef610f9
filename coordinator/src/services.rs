//! The two services of `railroad/v1/fleet.proto`, each method one line: what it does is in `ops`, the watch in `follow`.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_proto::v1::fleet_server::Fleet as FleetService;
use rr_proto::v1::locks_server::Locks as LocksService;
use tokio_util::sync::CancellationToken;
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

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}

#[tonic::async_trait]
impl FleetService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::StatusReply, Status>>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        ops::status(&self.fleet).await.map(Response::new)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseReply>, Status> {
        ops::pause(&self.fleet, request.into_inner()).await.map(Response::new)
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        ops::resume(&self.fleet, request.into_inner()).await.map(Response::new)
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let pictures = follow::pictures(self.fleet.clone()).take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(pictures.boxed()))
    }
}

#[tonic::async_trait]
impl LocksService for Desk {
    async fn force_release(
        &self,
        request: Request<v1::ForceReleaseRequest>,
    ) -> Result<Response<v1::ForceReleaseReply>, Status> {
        ops::force_release(&self.fleet, request.into_inner()).await.map(Response::new)
    }
}

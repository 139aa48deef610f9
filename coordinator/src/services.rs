//! The services of the wire, each method one line: what it does is in `ops` and `enrol`, the watch in `follow`. Whoever gets
//! here may ask what he asks: `gate` saw to that. Every request says which version asks, and every answer which one answers;
//! too far apart is a refusal.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use rr_fleet::Fleet;
use rr_proto::v1::enrol_server::Enrol as EnrolService;
use rr_proto::v1::fleet_server::Fleet as FleetService;
use rr_proto::v1::locks_server::Locks as LocksService;
use rr_proto::{VERSION, VERSION_KEY, speaks_with, too_far_apart, v1};
use rr_runtime::metrics::{DecisionWord, Metrics};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::enrol::{self, Issuer};
use crate::gate::{Caller, check_not_denied};
use crate::{follow, ops};

/// Where requests arrive: a handle, one for each service.
#[derive(Clone)]
pub(crate) struct Desk {
    fleet: Fleet,
    /// Where this coordinator gives out certificates.
    issuer: Option<Arc<Issuer>>,
    /// Ends the watches, which never end by themselves.
    shutdown: CancellationToken,
    /// Where decisions are counted, if anywhere.
    metrics: Option<Metrics>,
}

impl Desk {
    pub(crate) fn new(
        fleet: Fleet,
        issuer: Option<Issuer>,
        metrics: Option<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { fleet, issuer: issuer.map(Arc::new), shutdown, metrics }
    }

    pub(crate) fn count(&self, decision: DecisionWord) {
        if let Some(metrics) = &self.metrics {
            metrics.decision(decision);
        }
    }

    pub(crate) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    fn issuer(&self) -> Result<&Issuer, Status> {
        self.issuer.as_deref().ok_or_else(|| refused(enrol::without_authority()))
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}

#[tonic::async_trait]
impl FleetService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::StatusReply, Status>>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        ops::status(&self.fleet).await.map(said).map_err(refused)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        ops::pause(&self.fleet, request).await.map(said).map_err(refused)
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        ops::resume(&self.fleet, request).await.map(said).map_err(refused)
    }

    async fn post_restore(
        &self,
        request: Request<v1::PostRestoreRequest>,
    ) -> Result<Response<v1::PostRestoreReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        ops::post_restore(&self.fleet, request).await.map(said).map_err(refused)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (fleet, caller) = (self.fleet.clone(), Caller::of(&request)?);
        // A watch outlives the look at the gate: each picture is one more.
        let pictures = follow::pictures(self.fleet.clone()).and_then(move |picture| {
            let (fleet, caller) = (fleet.clone(), caller.clone());
            async move { check_not_denied(&fleet, &caller).await.map(|()| picture) }
        });
        Ok(said(pictures.take_until(self.shutdown.clone().cancelled_owned()).boxed()))
    }
}

#[tonic::async_trait]
impl LocksService for Desk {
    async fn force_release(
        &self,
        request: Request<v1::ForceReleaseRequest>,
    ) -> Result<Response<v1::ForceReleaseReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        ops::force_release(&self.fleet, request).await.map(said).map_err(refused)
    }
}

#[tonic::async_trait]
impl EnrolService for Desk {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenReply>, Status> {
        let caller = Caller::of(&request)?;
        self.issuer()?.create_token(&self.fleet, &caller, request.into_inner()).await.map(said).map_err(refused)
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        self.issuer()?.join(&self.fleet, request.into_inner()).await.map(said).map_err(refused)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        self.issuer()?.renew(&Caller::of(&request)?).map(said).map_err(refused)
    }

    async fn deny(&self, request: Request<v1::DenyRequest>) -> Result<Response<v1::DenyReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        enrol::deny(&self.fleet, request).await.map(said).map_err(refused)
    }

    async fn allow(&self, request: Request<v1::AllowRequest>) -> Result<Response<v1::AllowReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        enrol::allow(&self.fleet, request).await.map(said).map_err(refused)
    }

    async fn hosts(&self, _: Request<v1::HostsRequest>) -> Result<Response<v1::HostsReply>, Status> {
        enrol::hosts(&self.fleet).await.map(said).map_err(refused)
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

pub(crate) fn said<T>(answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    sign(response.metadata_mut());
    response
}

pub(crate) fn refused(mut status: Status) -> Status {
    sign(status.metadata_mut());
    status
}

fn sign(metadata: &mut MetadataMap) {
    metadata.insert(VERSION_KEY, MetadataValue::from_static(VERSION));
}

//! What is asked of a coordinator about overlap, health and incidents. How it is dialled, and what a failure means, is the
//! parent's. Next: `rr_coordinator::watch` answers.

use futures::StreamExt as _;
use rr_proto::v1;

use super::{Client, Pictures, answer};
use crate::exit::Failure;

impl Client {
    pub(crate) async fn overlap(&mut self) -> Result<v1::OverlapReply, Failure> {
        let call = answer("list the overlap", self.patience, self.overlap.list(v1::ListOverlapRequest {})).await;
        self.heard(call)
    }

    pub(crate) async fn watch_overlap(&mut self) -> Result<Pictures<v1::OverlapReply>, Failure> {
        let call = answer("watch the overlap", self.patience, self.overlap.watch(v1::WatchOverlapRequest {})).await;
        self.heard(call).map(|stream| Pictures::of(stream.boxed()))
    }

    pub(crate) async fn explain(&mut self, request: v1::ExplainRequest) -> Result<v1::ExplainReply, Failure> {
        let call = answer("explain the finding", self.patience, self.overlap.explain(request)).await;
        self.heard(call)
    }

    pub(crate) async fn health(&mut self) -> Result<v1::HealthReply, Failure> {
        let call = answer("read the health", self.patience, self.health.show(v1::ShowHealthRequest {})).await;
        self.heard(call)
    }

    pub(crate) async fn health_history(
        &mut self,
        request: v1::HealthHistoryRequest,
    ) -> Result<v1::HealthHistoryReply, Failure> {
        let call = answer("list the runs of checks", self.patience, self.health.history(request)).await;
        self.heard(call)
    }

    pub(crate) async fn run_health(&mut self, request: v1::RunHealthRequest) -> Result<v1::RunHealthReply, Failure> {
        let call = answer("ask for a check", self.patience, self.health.run(request)).await;
        self.heard(call)
    }

    pub(crate) async fn trust_plan(&mut self, request: v1::TrustPlanRequest) -> Result<v1::TrustPlanReply, Failure> {
        let call = answer("trust the checks", self.patience, self.health.trust(request)).await;
        self.heard(call)
    }

    pub(crate) async fn incidents(&mut self, request: v1::ListIncidentsRequest) -> Result<v1::IncidentsReply, Failure> {
        let call = answer("list the incidents", self.patience, self.incidents.list(request)).await;
        self.heard(call)
    }

    pub(crate) async fn incident(&mut self, request: v1::ShowIncidentRequest) -> Result<v1::IncidentReply, Failure> {
        let call = answer("read the incident", self.patience, self.incidents.show(request)).await;
        self.heard(call)
    }

    pub(crate) async fn watch_incident(
        &mut self,
        request: v1::ShowIncidentRequest,
    ) -> Result<Pictures<v1::IncidentReply>, Failure> {
        let call = answer("watch the incident", self.patience, self.incidents.watch(request)).await;
        self.heard(call).map(|stream| Pictures::of(stream.boxed()))
    }

    pub(crate) async fn order_incident(
        &mut self,
        request: v1::OrderIncidentRequest,
    ) -> Result<v1::OrderIncidentReply, Failure> {
        let call = answer("give the order", self.patience, self.incidents.order(request)).await;
        self.heard(call)
    }
}

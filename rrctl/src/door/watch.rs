//! The ways to what the watcher knows, and the orders to it. An order given twice where the first answer was lost is one order.

use futures::StreamExt as _;
use rr_coordinator::watch::{health, incidents, overlap};
use rr_fleet::Fleet;
use rr_proto::v1;

use super::{Door, Way};
use crate::client::{Client, Pictures};
use crate::exit::Failure;

impl Door {
    pub(crate) async fn overlap(&mut self) -> Result<v1::OverlapReply, Failure> {
        let by = async |client: &mut Client| client.overlap().await;
        self.ask("list the overlap", by, async |fleet| overlap::list(fleet).await).await
    }

    pub(crate) async fn watch_overlap(&mut self) -> Result<Pictures<v1::OverlapReply>, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch_overlap().await,
            Way::Own(fleet) => Ok(Pictures::of(overlap::pictures(fleet.clone()).boxed())),
        }
    }

    pub(crate) async fn explain(&mut self, request: v1::ExplainRequest) -> Result<v1::ExplainReply, Failure> {
        let by = async |client: &mut Client| client.explain(request.clone()).await;
        let own = async |fleet: &Fleet| overlap::explain(fleet, request.clone()).await;
        self.ask("explain the finding", by, own).await
    }

    pub(crate) async fn health(&mut self) -> Result<v1::HealthReply, Failure> {
        let by = async |client: &mut Client| client.health().await;
        self.ask("read the health", by, async |fleet| health::show(fleet).await).await
    }

    pub(crate) async fn health_history(
        &mut self,
        request: v1::HealthHistoryRequest,
    ) -> Result<v1::HealthHistoryReply, Failure> {
        let by = async |client: &mut Client| client.health_history(request.clone()).await;
        let own = async |fleet: &Fleet| health::history(fleet, request.clone()).await;
        self.ask("list the runs of checks", by, own).await
    }

    pub(crate) async fn run_health(&mut self, request: v1::RunHealthRequest) -> Result<v1::RunHealthReply, Failure> {
        let by = async |client: &mut Client| client.run_health(request.clone()).await;
        let own = async |fleet: &Fleet| health::run(fleet, request.clone()).await;
        self.ask("ask for a check", by, own).await
    }

    pub(crate) async fn trust_plan(&mut self, request: v1::TrustPlanRequest) -> Result<v1::TrustPlanReply, Failure> {
        let by = async |client: &mut Client| client.trust_plan(request.clone()).await;
        let own = async |fleet: &Fleet| health::trust(fleet, request.clone()).await;
        self.ask("trust the checks", by, own).await
    }

    pub(crate) async fn incidents(&mut self, request: v1::ListIncidentsRequest) -> Result<v1::IncidentsReply, Failure> {
        let by = async |client: &mut Client| client.incidents(request).await;
        let own = async |fleet: &Fleet| incidents::list(fleet, request).await;
        self.ask("list the incidents", by, own).await
    }

    pub(crate) async fn incident(&mut self, request: v1::ShowIncidentRequest) -> Result<v1::IncidentReply, Failure> {
        let by = async |client: &mut Client| client.incident(request.clone()).await;
        let own = async |fleet: &Fleet| incidents::show(fleet, request.clone()).await;
        self.ask("read the incident", by, own).await
    }

    pub(crate) async fn watch_incident(
        &mut self,
        request: v1::ShowIncidentRequest,
    ) -> Result<Pictures<v1::IncidentReply>, Failure> {
        match &mut self.way {
            Way::Coordinator(client) => client.watch_incident(request).await,
            Way::Own(fleet) => Ok(Pictures::of(incidents::pictures(fleet.clone(), request).boxed())),
        }
    }

    pub(crate) async fn order_incident(
        &mut self,
        request: v1::OrderIncidentRequest,
    ) -> Result<v1::OrderIncidentReply, Failure> {
        let by = async |client: &mut Client| client.order_incident(request.clone()).await;
        let own = async |fleet: &Fleet| incidents::order(fleet, request.clone()).await;
        self.ask("give the order", by, own).await
    }
}

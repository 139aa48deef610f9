//! Breaks as the wire has them, and people's orders about one. Whether an order can be carried out is the watcher's to
//! find out; what is plainly impossible is said at once.

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use rr_core::id::{IncidentId, SessionId};
use rr_core::incident::Incident;
use rr_fleet::{Fleet, IncidentFound, Order, Ordered, PAST_INCIDENTS_MAX, RepairRecord};
use rr_proto::v1;
use rr_proto::v1::incidents_server::Incidents as IncidentsService;
use rr_proto::v1::order_incident_reply::Outcome;
use rr_proto::v1::order_incident_request::Order as Wanted;
use rr_runtime::clock::unix_ms;
use tonic::{Request, Response, Status};

use super::people::People;
use super::{when_other, while_let_in};
use crate::gate::Caller;
use crate::ops::text;
use crate::refusal::{bad, from_fleet};
use crate::services::{Desk, refused, said};

/// Those that are open, and the last ones that are over, in short.
///
/// # Errors
/// If the store does not answer.
pub async fn list(fleet: &Fleet, request: v1::ListIncidentsRequest) -> Result<v1::IncidentsReply, Status> {
    let past = usize::try_from(request.past).unwrap_or(usize::MAX).min(PAST_INCIDENTS_MAX);
    let mut found = fleet.open_incidents().await.map_err(|e| from_fleet(&e))?;
    if past > 0 {
        found.extend(fleet.past_incidents(past).await.map_err(|e| from_fleet(&e))?);
    }
    let about = About::of(fleet).await?;
    let incidents = found.iter().map(|stored| about.on_the_wire(&stored.incident).in_short()).collect();
    Ok(v1::IncidentsReply { incidents, now_unix_ms: unix_ms() })
}

/// One of them whole.
///
/// # Errors
/// If there is none or more than one whose id begins so, or the store does not answer.
pub async fn show(fleet: &Fleet, request: v1::ShowIncidentRequest) -> Result<v1::IncidentReply, Status> {
    let incident = match fleet.incident(&request.id).await.map_err(|e| from_fleet(&e))? {
        IncidentFound::Open(stored) | IncidentFound::Past(stored) => stored.incident,
        IncidentFound::None => {
            return Err(Status::not_found("there is no such incident, or no longer; rrctl incident list shows them"));
        }
        IncidentFound::Several(ids) => {
            return Err(Status::not_found(format!(
                "{} incidents have an id that begins so; name more of it",
                ids.len()
            )));
        }
    };
    let incident = Some(About::of(fleet).await?.on_the_wire(&incident));
    Ok(v1::IncidentReply { incident, now_unix_ms: unix_ms() })
}

/// The same at once and after each change, until it or the store cannot be read for good.
pub fn pictures(
    fleet: Fleet,
    request: v1::ShowIncidentRequest,
) -> impl Stream<Item = Result<v1::IncidentReply, Status>> + Send {
    let all = vec![fleet.keyspace().all().to_owned()];
    let pictures = crate::follow::follow(fleet, all, move |fleet| {
        let request = request.clone();
        async move {
            // Of before the look: what changes meanwhile is looked at again.
            let revision = fleet.state().await.map_err(|e| from_fleet(&e))?.revision;
            Ok((show(&fleet, request).await?, revision))
        }
        .boxed()
    });
    when_other(pictures, |reply| v1::IncidentReply { now_unix_ms: 0, ..reply.clone() })
}

/// Gives an order about one that is open. The same order of the same person, not taken up yet, is one order.
///
/// # Errors
/// If nobody or nothing is named, or the store does not answer clearly.
pub async fn order(fleet: &Fleet, request: v1::OrderIncidentRequest) -> Result<v1::OrderIncidentReply, Status> {
    let id = IncidentId::parse(&request.id).map_err(|e| bad(e.to_string()))?;
    let who = text("who", request.who)?;
    let order = match request.order {
        Some(Wanted::Accept(true)) => Order::Accept,
        Some(Wanted::Resolve(reason)) => Order::Resolve { reason: text("reason", reason)? },
        Some(Wanted::Dismiss(reason)) => Order::Dismiss { reason: text("reason", reason)? },
        Some(Wanted::HandOver(to)) => Order::HandOver { to: SessionId::parse(&to).map_err(|e| bad(e.to_string()))? },
        Some(Wanted::Accept(false)) | None => return Err(bad("nothing is ordered")),
    };
    let outcome = match fleet.incident(id.as_str()).await.map_err(|e| from_fleet(&e))? {
        IncidentFound::Open(stored) => give(fleet, &stored.incident, order.clone(), &who).await?,
        IncidentFound::Past(_) => Outcome::Over(true),
        IncidentFound::None | IncidentFound::Several(_) => Outcome::Unknown(true),
    };
    tracing::warn!(%id, who, ?order, ?outcome, "an order about an incident");
    Ok(v1::OrderIncidentReply { outcome: Some(outcome) })
}

async fn give(fleet: &Fleet, incident: &Incident, order: Order, who: &str) -> Result<Outcome, Status> {
    if let Some(why) = impossible(fleet, incident, &order).await? {
        return Ok(Outcome::Refused(why));
    }
    let waiting = fleet.orders().await.map_err(|e| from_fleet(&e))?;
    if waiting.iter().any(|(id, given, by, _)| (id, given, by.as_str()) == (&incident.id, &order, who)) {
        return Ok(Outcome::Ordered(true));
    }
    let done = fleet.order(&incident.id, order, who).await.map_err(|e| from_fleet(&e))?;
    Ok(match done {
        Ordered::Yes => Outcome::Ordered(true),
        Ordered::NoSuchIncident => Outcome::Over(true),
        Ordered::TooMany => Outcome::Refused("it has as many orders as it may".to_owned()),
    })
}

async fn impossible(fleet: &Fleet, incident: &Incident, order: &Order) -> Result<Option<String>, Status> {
    Ok(match order {
        Order::Accept => match &incident.revert {
            // One that is only proposed is made when a person wants it.
            None if incident.culprits.is_empty() => Some("no culprit is proven: no revert is proposed".to_owned()),
            None => None,
            Some(revert) if revert.commit.is_some() => Some("its revert is done".to_owned()),
            Some(_) => None,
        },
        Order::HandOver { to } if !People::of(fleet).await?.is_here(to) => {
            Some(format!("there is no session {}", to.short()))
        }
        Order::HandOver { .. } | Order::Resolve { .. } | Order::Dismiss { .. } => None,
    })
}

/// What else is known of incidents.
struct About {
    orders: Vec<(IncidentId, Order, String)>,
    repair: Option<RepairRecord>,
}

impl About {
    async fn of(fleet: &Fleet) -> Result<Self, Status> {
        let orders = fleet.orders().await.map_err(|e| from_fleet(&e))?;
        // One that cannot be read exempts nobody, and hides no incident.
        let repair = match fleet.repair().await {
            Err(error) if error.is_outage() => return Err(from_fleet(&error)),
            found => found.unwrap_or(None),
        };
        Ok(Self { orders: orders.into_iter().map(|(id, order, who, _)| (id, order, who)).collect(), repair })
    }

    fn on_the_wire(&self, incident: &Incident) -> v1::Incident {
        let last = self.orders.iter().rev().find(|(id, ..)| *id == incident.id);
        let repair = self.repair.as_ref().filter(|repair| repair.incident == incident.id);
        v1::Incident {
            ordered: last.map(|(_, order, who)| words(order, who)).unwrap_or_default(),
            repairing: repair.map(|repair| repair.sid.to_string()).unwrap_or_default(),
            ..incident.into()
        }
    }
}

fn words(order: &Order, who: &str) -> String {
    match order {
        Order::Accept => format!("the revert, by {who}"),
        Order::Resolve { reason } => format!("to close it, by {who}: {reason}"),
        Order::HandOver { to } => format!("to hand it to session {}, by {who}", to.short()),
        Order::Dismiss { reason } => format!("to dismiss it, by {who}: {reason}"),
    }
}

#[tonic::async_trait]
impl IncidentsService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::IncidentReply, Status>>;

    async fn list(&self, request: Request<v1::ListIncidentsRequest>) -> Result<Response<v1::IncidentsReply>, Status> {
        list(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }

    async fn show(&self, request: Request<v1::ShowIncidentRequest>) -> Result<Response<v1::IncidentReply>, Status> {
        show(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }

    async fn watch(&self, request: Request<v1::ShowIncidentRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let fleet = self.fleet().clone();
        let pictures = while_let_in(fleet.clone(), caller, pictures(fleet, request.into_inner()));
        Ok(said(pictures.take_until(self.shutdown().cancelled_owned()).boxed()))
    }

    async fn order(
        &self,
        request: Request<v1::OrderIncidentRequest>,
    ) -> Result<Response<v1::OrderIncidentReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        order(self.fleet(), request).await.map(said).map_err(refused)
    }
}

//! Counted slots on the wire (`railroad/v1/slots.proto`): lines are shown, joined, stayed in and left. As in [`crate::ops`] no
//! socket is involved, so `rrctl` does the same where no coordinator runs. Nothing is kept here: a place is found again by its
//! ticket, through any coordinator. Who is next is `rr_fleet`'s to say.

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use rr_core::id::{HostId, OpId, SessionId};
use rr_core::time::Span;
use rr_fleet::{Fleet, SlotHolder, SlotPlace, SlotRow, SlotTicket};
use rr_proto::v1;
use rr_proto::v1::counted_slots_server::CountedSlots as SlotsService;
use rr_proto::v1::stay_in_line_reply::Outcome;
use rr_runtime::clock::unix_ms;
use rr_store::Revision;
use tonic::{Request, Response, Status};

use crate::gate::{Caller, check_not_denied};
use crate::ops::text;
use crate::refusal::{bad, from_fleet};
use crate::services::{Desk, refused, said};
use crate::watch::People;

/// Well below what a client waits for an answer, and below a lease.
const STAY_MAX: Span = Span::from_secs(5);
/// More at a time run on no machine.
const OF_MAX: u32 = 256;

/// Every line.
///
/// # Errors
/// If the store does not answer.
pub async fn list(fleet: &Fleet) -> Result<v1::SlotsReply, Status> {
    seen(fleet).await.map(|(reply, _)| reply)
}

async fn seen(fleet: &Fleet) -> Result<(v1::SlotsReply, Revision), Status> {
    let (rows, revision) = fleet.slots_seen_at().await.map_err(|e| from_fleet(&e))?;
    let people = People::of(fleet).await?;
    let slots = rows.into_iter().map(|row| on_the_wire(row, &people)).collect();
    Ok((v1::SlotsReply { slots, now_unix_ms: unix_ms() }, revision))
}

/// Every line at once and after each change, until the store cannot be read for good.
pub fn pictures(fleet: Fleet) -> impl Stream<Item = Result<v1::SlotsReply, Status>> + Send {
    let below = vec![fleet.keyspace().counted_slots()];
    crate::follow::follow(fleet, below, |fleet| async move { seen(&fleet).await }.boxed())
}

/// Stands in line.
///
/// # Errors
/// If what is named is none, the line is too long, or the store does not answer clearly: then nothing is left that lasts.
pub async fn join(fleet: &Fleet, request: v1::JoinLineRequest) -> Result<v1::JoinLineReply, Status> {
    let v1::JoinLineRequest { host, name, of, holder } = request;
    let holder = holder_from(holder.unwrap_or_default())?;
    let joined = fleet.join_line(&host_from(&host)?, &name, count(of)?, &holder).await;
    let ticket = joined.map_err(|e| from_fleet(&e))?;
    Ok(v1::JoinLineReply { ticket: ticket.op.to_string() })
}

/// Renews a place in line and says where it stands.
///
/// # Errors
/// If what is named is none, or the store does not answer clearly: says nothing about the place.
pub async fn stay(fleet: &Fleet, request: v1::StayInLineRequest) -> Result<v1::StayInLineReply, Status> {
    let (ticket, of) = (ticket_from(request.place)?, count(request.of)?);
    let wait = Span::from_millis(request.wait_ms.into()).min(STAY_MAX);
    let place = fleet.stay_in_line(&ticket, of, fleet.clock().now() + wait).await.map_err(|e| from_fleet(&e))?;
    let outcome = match place {
        SlotPlace::HasIt => Outcome::HasIt(true),
        SlotPlace::Gone => Outcome::Gone(true),
        SlotPlace::Waits { holders, ahead } => {
            let holders = holders.into_iter().map(holder_on_the_wire).collect();
            Outcome::Waits(v1::SlotWait { holders, ahead: narrow(ahead) })
        }
    };
    Ok(v1::StayInLineReply { outcome: Some(outcome) })
}

/// Gives up a place in line, and the slot if it has one.
///
/// # Errors
/// If what is named is none, or the store does not answer clearly: it goes with its lease all the same.
pub async fn leave(fleet: &Fleet, request: v1::LeaveLineRequest) -> Result<v1::LeaveLineReply, Status> {
    fleet.leave_line(&ticket_from(request.place)?).await.map_err(|e| from_fleet(&e))?;
    Ok(v1::LeaveLineReply {})
}

fn host_from(id: &str) -> Result<HostId, Status> {
    HostId::parse(id).map_err(|e| bad(e.to_string()))
}

fn count(of: u32) -> Result<usize, Status> {
    match of {
        1..=OF_MAX => Ok(of as usize),
        _ => Err(bad(format!("there are 1 to {OF_MAX} slots of a name"))),
    }
}

fn ticket_from(place: Option<v1::LinePlace>) -> Result<SlotTicket, Status> {
    let v1::LinePlace { host, name, ticket } = place.ok_or_else(|| bad("no place in a line is named"))?;
    let op = OpId::parse(&ticket).map_err(|e| bad(e.to_string()))?;
    Ok(SlotTicket { host: host_from(&host)?, name, op })
}

fn holder_from(holder: v1::SlotHolder) -> Result<SlotHolder, Status> {
    let v1::SlotHolder { who, session, root, since_unix_ms } = holder;
    let session = match session.as_str() {
        "" => None,
        id => Some(SessionId::parse(id).map_err(|e| bad(e.to_string()))?),
    };
    let root = match root.as_str() {
        "" => None,
        _ => Some(text("root", root)?),
    };
    Ok(SlotHolder { who: text("who", who)?, session, root, since_unix_ms })
}

fn holder_on_the_wire(holder: SlotHolder) -> v1::SlotHolder {
    let SlotHolder { who, session, root, since_unix_ms } = holder;
    let session = session.map(|id| id.to_string()).unwrap_or_default();
    v1::SlotHolder { who, session, root: root.unwrap_or_default(), since_unix_ms }
}

fn on_the_wire(row: SlotRow, people: &People) -> v1::SlotInLine {
    let SlotRow { host, name, holder, of, place, has_it } = row;
    let (host_name, host) = (people.host_name(host.as_str()), host.to_string());
    let holder = Some(holder_on_the_wire(holder));
    v1::SlotInLine { host, host_name, name, holder, of: narrow(of), place: narrow(place), has_it }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Another machine asks for slots of its own only.
fn check_own(caller: &Caller, host: &str) -> Result<(), Status> {
    match caller.card() {
        Some(card) if card.identity.host.as_str() != host => {
            let own = card.identity.host.short();
            Err(refused(Status::permission_denied(format!("that is another host's line: this certificate is {own}'s"))))
        }
        _ => Ok(()),
    }
}

fn host_of(place: Option<&v1::LinePlace>) -> &str {
    place.map_or("", |place| place.host.as_str())
}

#[tonic::async_trait]
impl SlotsService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::SlotsReply, Status>>;

    async fn list(&self, _: Request<v1::ListSlotsRequest>) -> Result<Response<v1::SlotsReply>, Status> {
        list(self.fleet()).await.map(said).map_err(refused)
    }

    async fn watch(&self, request: Request<v1::WatchSlotsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (fleet, caller) = (self.fleet().clone(), Caller::of(&request)?);
        // A watch outlives the look at the gate: each picture is one more.
        let pictures = pictures(fleet.clone()).and_then(move |picture| {
            let (fleet, caller) = (fleet.clone(), caller.clone());
            async move { check_not_denied(&fleet, &caller).await.map(|()| picture) }
        });
        Ok(said(pictures.take_until(self.shutdown().cancelled_owned()).boxed()))
    }

    async fn join(&self, request: Request<v1::JoinLineRequest>) -> Result<Response<v1::JoinLineReply>, Status> {
        check_own(&Caller::of(&request)?, &request.get_ref().host)?;
        join(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }

    async fn stay(&self, request: Request<v1::StayInLineRequest>) -> Result<Response<v1::StayInLineReply>, Status> {
        check_own(&Caller::of(&request)?, host_of(request.get_ref().place.as_ref()))?;
        stay(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }

    async fn leave(&self, request: Request<v1::LeaveLineRequest>) -> Result<Response<v1::LeaveLineReply>, Status> {
        check_own(&Caller::of(&request)?, host_of(request.get_ref().place.as_ref()))?;
        leave(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }
}

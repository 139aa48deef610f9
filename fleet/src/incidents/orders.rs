//! What people want of an open incident. An order is taken by the leader, once: it then stays, marked, as long as the incident
//! is open, so that no copy of it that arrives late is taken for a new one. What the leader makes of it is not known here.

use rr_core::id::{IncidentId, OpId, SessionId};
use rr_store::{Compare, Keys, Op, Revision};
use serde::{Deserialize, Serialize};

use super::turn_of;
use crate::approvals::shown;
use crate::records::{decode, encode};
use crate::turn::{Step, Turn};
use crate::{Doing, Fleet, FleetError, Leader};

/// Of one incident, those taken among them: more than people who agree need.
pub const ORDERS_MAX: usize = 32;
/// A name or a reason.
const TEXT_BYTES_MAX: usize = 1 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Do the revert that was proposed.
    Accept,
    /// Close it and lift its hold.
    Resolve { reason: String },
    /// Let this session repair it.
    HandOver { to: SessionId },
    /// It is none.
    Dismiss { reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    Yes,
    /// No incident of this id is open.
    NoSuchIncident,
    /// [`ORDERS_MAX`] were given.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTaken {
    /// By this call: carry it out.
    Yes,
    /// Before, or its incident is over.
    Already,
}

/// `order/<incident>/<op>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderRecord {
    order: Order,
    who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<OpId>,
}

impl Fleet {
    /// Orders something of an open incident. Its id must be whole.
    ///
    /// # Errors
    /// If the store does not answer clearly: it may have been ordered, see [`Fleet::orders`].
    pub async fn order(&self, id: &IncidentId, order: Order, who: &str) -> Result<Ordered, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let (key, own) = (self.keys.order(id, &op), self.keys.orders_of(id));
        let record = OrderRecord { order: bounded(order), who: shown(who, TEXT_BYTES_MAX), taken: None };
        let open = self.keys.open_incidents();
        let reads = [Keys::prefix(own.clone()), Keys::prefix(open.clone())];
        let turn = Turn { area: "orders", leader: None, doing: "order something of an incident" };
        let ordered = self
            .in_turn(&turn, &reads, |seen| {
                if seen.at(&key).is_some() {
                    return Ok(Step::Done(Ordered::Yes));
                }
                let incident = seen.below(&open).find(|kv| super::id_of(kv).as_ref() == Some(id));
                let Some(incident) = incident else { return Ok(Step::Done(Ordered::NoSuchIncident)) };
                if seen.below(&own).count() >= ORDERS_MAX {
                    return Ok(Step::Done(Ordered::TooMany));
                }
                let guards = vec![Compare::created_at(incident.key.clone(), incident.create_revision)];
                let ops = vec![Op::put(key.clone(), encode(&record))];
                Ok(Step::Write { guards, ops, outcome: Ordered::Yes })
            })
            .await;
        ordered.map(|(ordered, _)| ordered)
    }

    /// The orders that nobody has taken, the oldest first, each with what taking it names. One that cannot be read is passed
    /// over with a warning.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn orders(&self) -> Result<Vec<(IncidentId, Order, String, Revision)>, FleetError> {
        let prefix = self.keys.orders();
        let mut kvs = self.store.range(Keys::prefix(prefix.clone())).await.doing("list orders")?.kvs;
        kvs.sort_by_key(|kv| kv.create_revision);
        let orders = kvs.iter().filter_map(|kv| {
            let id = IncidentId::parse(kv.key.strip_prefix(&prefix)?.split('/').next()?).ok()?;
            let record = decode::<OrderRecord>(kv);
            let record = record.inspect_err(|error| tracing::warn!(%error, "an order is passed over")).ok()?;
            record.taken.is_none().then_some((id, record.order, record.who, kv.mod_revision))
        });
        Ok(orders.collect())
    }

    /// Takes an incident's order of this revision: of all that try, over all leaders, one is told [`OrderTaken::Yes`].
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: then it may be taken, and nobody will carry it out.
    pub async fn take_order(
        &self,
        leader: &Leader,
        id: &IncidentId,
        revision: Revision,
    ) -> Result<OrderTaken, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let prefix = self.keys.orders_of(id);
        let taken = self
            .in_turn(&turn_of(Some(leader)), &[Keys::prefix(prefix.clone())], |seen| {
                let own = |record: OrderRecord| record.taken.as_ref() == Some(&op);
                if seen.below(&prefix).any(|kv| decode(kv).is_ok_and(own)) {
                    return Ok(Step::Done(OrderTaken::Yes));
                }
                let Some(kv) = seen.below(&prefix).find(|kv| kv.mod_revision == revision) else {
                    return Ok(Step::Done(OrderTaken::Already));
                };
                let mut record: OrderRecord = decode(kv)?;
                if record.taken.replace(op.clone()).is_some() {
                    return Ok(Step::Done(OrderTaken::Already));
                }
                let guards = vec![Compare::modified_at(kv.key.clone(), revision)];
                let ops = vec![Op::put(kv.key.clone(), encode(&record))];
                Ok(Step::Write { guards, ops, outcome: OrderTaken::Yes })
            })
            .await;
        taken.map(|(taken, _)| taken)
    }
}

fn bounded(order: Order) -> Order {
    match order {
        Order::Resolve { reason } => Order::Resolve { reason: shown(&reason, TEXT_BYTES_MAX) },
        Order::Dismiss { reason } => Order::Dismiss { reason: shown(&reason, TEXT_BYTES_MAX) },
        other @ (Order::Accept | Order::HandOver { .. }) => other,
    }
}

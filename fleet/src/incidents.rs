//! Incidents as the store keeps them: at most one open a line, moved on by whoever leads and saw its last state, and kept for a
//! while when it is over. `deadline` is the time that outlives a watcher, `orders` what people want of it, `pauses` the fleet's
//! standing still for it, `reverts` how many there were lately. What an incident does next is `rr_core`'s. Listings pass over one that
//! cannot be read, with a warning; its line stays closed to another until a person has looked.

mod deadline;
mod orders;
mod pauses;
mod reverts;

use rr_core::id::IncidentId;
use rr_core::incident::Incident;
use rr_store::{KeyValue, Keys, Op, Revision};
use serde::Deserialize;

pub use deadline::Deadline;
pub use orders::{ORDERS_MAX, Order, OrderTaken, Ordered};
pub use pauses::{Drain, ResumedFor};

use crate::records::{decode, encode};
use crate::turn::{Step, Turn};
use crate::{Doing, Fleet, FleetError, Leader};

/// Of the whole fleet. More lines that are red at a time have one cause, which is none of theirs.
pub const OPEN_INCIDENTS_MAX: usize = 64;
/// Kept for people to look back at: some weeks' worth.
pub const PAST_INCIDENTS_MAX: usize = 200;
/// Bounded notes and output, and a few hundred suspects and runs.
pub const INCIDENT_BYTES_MAX: usize = 256 << 10;
/// Past ones that one transaction takes away; each closing adds one.
const OLD_PER_CLOSE: usize = 16;
/// Digits of an id that may stand for all of it.
const SHORT_MIN: usize = 4;

/// An incident, and the revision at which it was so.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub incident: Incident,
    pub revision: Revision,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    Yes(Stored),
    /// Its line has one that is open.
    Already(Stored),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Advanced {
    Yes(Stored),
    /// It is not as it was: so it is now. Absent: over.
    Overtaken(Option<Stored>),
}

/// What an id, or the beginning of one, stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum IncidentFound {
    Open(Stored),
    Past(Stored),
    None,
    /// It stands for each of these.
    Several(Vec<IncidentId>),
}

/// The id alone: so that one whose rest cannot be read is still known to be open.
#[derive(Deserialize)]
struct Named {
    id: IncidentId,
}

pub(crate) fn id_of(kv: &KeyValue) -> Option<IncidentId> {
    decode::<Named>(kv).ok().map(|named| named.id)
}

pub(super) fn turn_of(leader: Option<&Leader>) -> Turn<'_> {
    Turn { area: "incidents", leader, doing: "write an incident" }
}

fn stored(kv: &KeyValue) -> Result<Stored, FleetError> {
    Ok(Stored { incident: decode(kv)?, revision: kv.mod_revision })
}

fn readable(kv: &KeyValue) -> Option<Stored> {
    stored(kv).inspect_err(|error| tracing::warn!(%error, "an incident is passed over")).ok()
}

fn value_of(incident: &Incident) -> Result<Vec<u8>, FleetError> {
    let value = encode(incident);
    let (bytes, max) = (value.len(), INCIDENT_BYTES_MAX);
    if bytes > max { Err(FleetError::TooLong { what: "an incident", bytes, max }) } else { Ok(value) }
}

impl Fleet {
    /// Opens an incident, if its line has none that is open.
    ///
    /// # Errors
    /// If another leads, it is too long, there are too many, or the store does not answer clearly: it may be asked again.
    pub async fn open_incident(&self, leader: &Leader, incident: &Incident) -> Result<Opened, FleetError> {
        let (prefix, key) = (self.keys.open_incidents(), self.keys.open_incident(&incident.line));
        let value = value_of(incident)?;
        let (opened, revision) = self
            .in_turn(&turn_of(Some(leader)), &[Keys::prefix(prefix.clone())], |seen| {
                if let Some(kv) = seen.at(&key) {
                    let there = stored(kv)?;
                    let is_own = kv.value == value;
                    return Ok(Step::Done(if is_own { Opened::Yes(there) } else { Opened::Already(there) }));
                }
                if seen.below(&prefix).count() >= OPEN_INCIDENTS_MAX {
                    return Err(FleetError::TooMany { what: "open incidents", max: OPEN_INCIDENTS_MAX });
                }
                let opened = Opened::Yes(Stored { incident: incident.clone(), revision: 0 });
                Ok(Step::write(vec![Op::put(key.clone(), value.clone())], opened))
            })
            .await?;
        Ok(match opened {
            Opened::Yes(stored) if revision > 0 => Opened::Yes(Stored { revision, ..stored }),
            other => other,
        })
    }

    /// Moves an incident on from the state that was seen.
    ///
    /// # Errors
    /// If another leads, it is too long, or the store does not answer clearly: it may be asked again.
    pub async fn advance(&self, leader: &Leader, seen: &Stored, next: &Incident) -> Result<Advanced, FleetError> {
        let (key, value) = (self.keys.open_incident(&seen.incident.line), value_of(next)?);
        self.check_same(seen, next)?;
        let (advanced, revision) = self
            .in_turn(&turn_of(Some(leader)), &[Keys::one(key.clone())], |found| {
                let Some(kv) = found.at(&key) else { return Ok(Step::Done(Advanced::Overtaken(None))) };
                if kv.mod_revision == seen.revision {
                    let advanced = Advanced::Yes(Stored { incident: next.clone(), revision: 0 });
                    return Ok(Step::write(vec![Op::put(key.clone(), value.clone())], advanced));
                }
                // By a try whose answer was lost.
                let is_own = kv.value == value;
                let now = stored(kv)?;
                Ok(Step::Done(if is_own { Advanced::Yes(now) } else { Advanced::Overtaken(Some(now)) }))
            })
            .await?;
        Ok(match advanced {
            Advanced::Yes(stored) if revision > 0 => Advanced::Yes(Stored { revision, ..stored }),
            other => other,
        })
    }

    /// Ends an incident: in one transaction it is open no longer and among the past ones, and its time, its orders and the claim
    /// of its repair are gone. Its hold is not touched: see [`Fleet::resume_for`].
    ///
    /// # Errors
    /// As [`Fleet::advance`].
    pub async fn close_incident(
        &self,
        leader: &Leader,
        seen: &Stored,
        last: &Incident,
    ) -> Result<Advanced, FleetError> {
        self.check_same(seen, last)?;
        let (key, value, id) = (self.keys.open_incident(&last.line), value_of(last)?, &last.id);
        let (past, own, repair) = (self.keys.past_incidents(), self.keys.past_incident(id), self.keys.repair());
        let reads = [Keys::one(key.clone()), Keys::prefix(past.clone()), Keys::one(repair.clone())];
        let (closed, revision) = self
            .in_turn(&turn_of(Some(leader)), &reads, |found| {
                let open = found.at(&key);
                if let Some(kv) = found.at(&own).filter(|kv| kv.value == value) {
                    return Ok(Step::Done(Advanced::Yes(stored(kv)?)));
                }
                let Some(kv) = open.filter(|kv| kv.mod_revision == seen.revision) else {
                    return Ok(Step::Done(Advanced::Overtaken(open.map(stored).transpose()?)));
                };
                let mut old: Vec<&KeyValue> = found.below(&past).collect();
                old.sort_by_key(|kv| kv.mod_revision);
                let over = (old.len() + 1).saturating_sub(PAST_INCIDENTS_MAX).min(OLD_PER_CLOSE);
                let mut ops: Vec<Op> = old[..over].iter().map(|kv| Op::Delete(Keys::one(kv.key.clone()))).collect();
                ops.push(Op::Delete(Keys::one(kv.key.clone())));
                ops.push(Op::put(own.clone(), value.clone()));
                ops.push(Op::Delete(Keys::prefix(self.keys.deadlines_of(id))));
                ops.push(Op::Delete(Keys::prefix(self.keys.orders_of(id))));
                ops.push(Op::Delete(Keys::one(self.keys.paused_for(id))));
                let mut guards = vec![];
                let claim = found.at(&repair);
                if let Some(kv) = claim.filter(|kv| claims(kv, id)) {
                    guards.push(crate::turn::unchanged(&repair, Some(kv)));
                    ops.push(Op::Delete(Keys::one(repair.clone())));
                }
                let outcome = Advanced::Yes(Stored { incident: last.clone(), revision: 0 });
                Ok(Step::Write { guards, ops, outcome })
            })
            .await?;
        Ok(match closed {
            Advanced::Yes(stored) if revision > 0 => Advanced::Yes(Stored { revision, ..stored }),
            other => other,
        })
    }

    /// An incident keeps its id and its line.
    fn check_same(&self, seen: &Stored, next: &Incident) -> Result<(), FleetError> {
        if (&seen.incident.id, &seen.incident.line) == (&next.id, &next.line) {
            return Ok(());
        }
        let key = self.keys.open_incident(&seen.incident.line);
        Err(FleetError::Garbage { key, why: "an incident never becomes another one, or another line's".to_owned() })
    }

    /// The incidents that are open, the oldest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn open_incidents(&self) -> Result<Vec<Stored>, FleetError> {
        let mut kvs = self.store.range(Keys::prefix(self.keys.open_incidents())).await.doing("list incidents")?.kvs;
        kvs.sort_by_key(|kv| kv.create_revision);
        Ok(kvs.iter().filter_map(readable).collect())
    }

    /// The last incidents that are over, the latest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn past_incidents(&self, count: usize) -> Result<Vec<Stored>, FleetError> {
        let mut kvs = self.store.range(Keys::prefix(self.keys.past_incidents())).await.doing("list incidents")?.kvs;
        kvs.sort_by_key(|kv| std::cmp::Reverse(kv.mod_revision));
        Ok(kvs.iter().filter_map(readable).take(count).collect())
    }

    /// The incident of this id, or of the only one that begins so.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn incident(&self, id: &str) -> Result<IncidentFound, FleetError> {
        if id.len() < SHORT_MIN {
            return Ok(IncidentFound::None);
        }
        let begins = |stored: &Stored| stored.incident.id.as_str().starts_with(id);
        let open = self.open_incidents().await?.into_iter().filter(&begins).map(IncidentFound::Open);
        // Open ones first: one that was closed in between is then found twice, not missed.
        let past = self.past_incidents(usize::MAX).await?.into_iter().filter(&begins).map(IncidentFound::Past);
        let mut found: Vec<IncidentFound> = open.chain(past).collect();
        let mut ids: Vec<IncidentId> = found.iter().filter_map(IncidentFound::id).cloned().collect();
        ids.sort();
        ids.dedup();
        if ids.len() > 1 {
            return Ok(IncidentFound::Several(ids));
        }
        Ok(found.pop().unwrap_or(IncidentFound::None))
    }
}

impl IncidentFound {
    fn id(&self) -> Option<&IncidentId> {
        match self {
            Self::Open(stored) | Self::Past(stored) => Some(&stored.incident.id),
            Self::None | Self::Several(_) => None,
        }
    }
}

fn claims(kv: &KeyValue, id: &IncidentId) -> bool {
    decode::<crate::repair::RepairRecord>(kv).is_ok_and(|record| record.incident == *id)
}

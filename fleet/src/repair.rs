//! Who repairs a broken line: at most one session at a time, claimed by itself or handed to it. The claim goes with the session,
//! and it names the epoch it was made in, so that a later pause exempts nobody. What an exempt session may do is the gate's
//! business.

use rr_core::id::{Epoch, IncidentId, SessionId};
use rr_core::incident::{Incident, State};
use rr_store::{Change, Compare, KeyValue, Keys, LeaseId, Op, Revision, StoreError, WatchEvent};
use serde::{Deserialize, Serialize};

use crate::records::{SessionRecord, decode, encode};
use crate::turn::{Seen, Step, Turn};
use crate::{Fleet, FleetError, FleetState, Leader, Session};

/// `fleet/repair`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRecord {
    pub sid: SessionId,
    pub incident: IncidentId,
    /// The fleet's when it was claimed or handed over.
    pub epoch: Epoch,
}

impl RepairRecord {
    /// Whether this session may go on in spite of this pause: it repairs, nothing was paused or resumed since it was let, and the
    /// watcher alone holds the fleet. A person's hold stops everybody, and so does one whose reason nobody recorded.
    #[must_use]
    pub fn exempts(&self, sid: &SessionId, state: &FleetState) -> bool {
        self.sid == *sid && self.epoch == state.epoch && state.is_paused_by_watcher_alone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    Yes,
    TakenBy(SessionId),
    NoSuchIncident,
    /// The watcher is still at it.
    NotYet(State),
    /// The session, its host or the generation is no longer valid.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    Yes,
    NoSuchIncident,
    NoSuchSession,
}

/// Who hands a repair over.
#[derive(Clone, Copy, Debug)]
pub enum HandBy<'a> {
    Leader(&'a Leader),
    Person,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairReleased {
    Yes,
    /// This session did not have it.
    NotHeld,
}

/// What a change below [`crate::Keyspace::fleet`] says of the claim. A hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairChange {
    Now(RepairRecord),
    Gone,
}

impl<'a> From<&'a Leader> for HandBy<'a> {
    fn from(leader: &'a Leader) -> Self {
        Self::Leader(leader)
    }
}

impl Fleet {
    /// Claims the repair of an open incident that the watcher has given up. Who has it already, has it anew: for the present pause.
    ///
    /// # Errors
    /// If the store does not answer clearly: then ask again, or release it.
    pub async fn claim_repair(&self, session: &Session, incident: &IncidentId) -> Result<Repair, FleetError> {
        let claimed = self
            .in_turn(&turn_of(None), &self.repair_reads(&session.sid), |seen| {
                let Some(kv) = self.open_in(seen, incident) else { return Ok(Step::Done(Repair::NoSuchIncident)) };
                let open: Incident = decode(kv)?;
                if !open.is_for_others() {
                    return Ok(Step::Done(Repair::NotYet(open.state)));
                }
                let holder = self.holder(seen);
                if let Some(other) =
                    holder.as_ref().filter(|held| held.sid != session.sid && self.is_open(seen, &held.incident))
                {
                    return Ok(Step::Done(Repair::TakenBy(other.sid.clone())));
                }
                let denied = self.keys.denied(&session.fingerprint);
                let (own, generation) = (seen.at(&self.keys.session(&session.sid)), seen.at(&self.keys.generation()));
                if own.map(|kv| kv.create_revision) != Some(session.created)
                    || generation.map(|kv| kv.mod_revision) != Some(session.generation)
                    || seen.at(&denied).is_some()
                {
                    return Ok(Step::Done(Repair::Lost));
                }
                let record =
                    RepairRecord { sid: session.sid.clone(), incident: incident.clone(), epoch: self.epoch_in(seen)? };
                if holder.as_ref() == Some(&record) {
                    return Ok(Step::Done(Repair::Yes));
                }
                let guards = vec![
                    Compare::modified_at(kv.key.clone(), kv.mod_revision),
                    Compare::created_at(self.keys.session(&session.sid), session.created),
                    self.same_generation(session.generation),
                    Compare::absent(Keys::one(denied)),
                ];
                Ok(self.write_repair(seen, &record, session.lease, guards, Repair::Yes))
            })
            .await;
        match claimed {
            Err(FleetError::Store { source: StoreError::LeaseNotFound(_), .. }) => Ok(Repair::Lost),
            claimed => claimed.map(|(claimed, _)| claimed),
        }
    }

    /// Gives the repair of an open incident to a session, whoever had it.
    ///
    /// # Errors
    /// If it is the leader's to say and another leads, or the store does not answer clearly: it may be asked again.
    pub async fn hand_repair(
        &self,
        by: impl Into<HandBy<'_>>,
        to: &SessionId,
        incident: &IncidentId,
    ) -> Result<Handed, FleetError> {
        let leader = match by.into() {
            HandBy::Leader(leader) => Some(leader),
            HandBy::Person => None,
        };
        let handed = self
            .in_turn(&turn_of(leader), &self.repair_reads(to), |seen| {
                if !self.is_open(seen, incident) {
                    return Ok(Step::Done(Handed::NoSuchIncident));
                }
                let session = seen.at(&self.keys.session(to));
                let Some((kv, lease)) = session.and_then(|kv| Some((kv, kv.lease?))) else {
                    return Ok(Step::Done(Handed::NoSuchSession));
                };
                let record = RepairRecord { sid: to.clone(), incident: incident.clone(), epoch: self.epoch_in(seen)? };
                if self.holder(seen).as_ref() == Some(&record) {
                    return Ok(Step::Done(Handed::Yes));
                }
                let mut guards = vec![Compare::created_at(kv.key.clone(), kv.create_revision)];
                // Of a host that is shut out, only the lease is left.
                if let Ok(session) = decode::<SessionRecord>(kv) {
                    let denied = self.keys.denied(session.host.as_str());
                    if seen.at(&denied).is_some() {
                        return Ok(Step::Done(Handed::NoSuchSession));
                    }
                    guards.push(Compare::absent(Keys::one(denied)));
                }
                Ok(self.write_repair(seen, &record, lease, guards, Handed::Yes))
            })
            .await;
        match handed {
            Err(FleetError::Store { source: StoreError::LeaseNotFound(_), .. }) => Ok(Handed::NoSuchSession),
            handed => handed.map(|(handed, _)| handed),
        }
    }

    /// Gives the repair back.
    ///
    /// # Errors
    /// If the store does not answer clearly: it goes with the session all the same.
    pub async fn release_repair(&self, session: &Session) -> Result<RepairReleased, FleetError> {
        let key = self.keys.repair();
        let mut released = RepairReleased::NotHeld;
        let reads = [Keys::one(key.clone())];
        let done = self
            .in_turn(&turn_of(None), &reads, |seen| {
                if self.holder(seen).is_none_or(|held| held.sid != session.sid) {
                    return Ok(Step::Done(()));
                }
                released = RepairReleased::Yes;
                Ok(Step::write(vec![Op::Delete(Keys::one(key.clone()))], ()))
            })
            .await;
        done?;
        Ok(released)
    }

    /// Who repairs what.
    ///
    /// # Errors
    /// If the store does not answer, or the claim cannot be read: then nobody is exempt.
    pub async fn repair(&self) -> Result<Option<RepairRecord>, FleetError> {
        self.get(&self.keys.repair(), "read who repairs").await?.map(|kv| decode(&kv)).transpose()
    }

    /// What a change of the running state says of the repair claim, if anything.
    #[must_use]
    pub fn repair_in(&self, event: &WatchEvent) -> Option<RepairChange> {
        let key = self.keys.repair();
        let change = event.changes.iter().find(|change| change.key() == key)?;
        Some(match change {
            Change::Put(kv) => decode(kv).map_or(RepairChange::Gone, RepairChange::Now),
            Change::Delete { .. } => RepairChange::Gone,
        })
    }

    fn repair_reads(&self, sid: &SessionId) -> [Keys; 6] {
        let keys = &self.keys;
        [
            Keys::one(keys.repair()),
            Keys::one(keys.session(sid)),
            Keys::one(keys.epoch()),
            Keys::one(keys.generation()),
            Keys::prefix(keys.denied("")),
            Keys::prefix(keys.open_incidents()),
        ]
    }

    /// One that cannot be read is nobody's.
    fn holder(&self, seen: &Seen) -> Option<RepairRecord> {
        decode(seen.at(&self.keys.repair())?).ok()
    }

    fn is_open(&self, seen: &Seen, incident: &IncidentId) -> bool {
        self.open_in(seen, incident).is_some()
    }

    fn open_in<'s>(&self, seen: &'s Seen, incident: &IncidentId) -> Option<&'s KeyValue> {
        let open = self.keys.open_incidents();
        let is_it = |kv: &&KeyValue| crate::incidents::id_of(kv).as_ref() == Some(incident);
        seen.below(&open).find(is_it)
    }

    fn epoch_in(&self, seen: &Seen) -> Result<Epoch, FleetError> {
        seen.at(&self.keys.epoch()).map_or(Ok(Epoch(0)), crate::permit::epoch_of)
    }

    fn write_repair<T>(
        &self,
        seen: &Seen,
        record: &RepairRecord,
        lease: LeaseId,
        mut guards: Vec<Compare>,
        outcome: T,
    ) -> Step<T> {
        // It names the epoch that was read, and the incident that was open then.
        let revision = |kv: Option<&KeyValue>| kv.map_or(0, |kv| kv.mod_revision);
        let epoch = self.keys.epoch();
        guards.push(Compare::modified_at(epoch.clone(), revision(seen.at(&epoch)) as Revision));
        guards.extend(
            self.open_in(seen, &record.incident).map(|kv| Compare::created_at(kv.key.clone(), kv.create_revision)),
        );
        Step::Write { guards, ops: vec![Op::put_leased(self.keys.repair(), encode(record), lease)], outcome }
    }
}

fn turn_of(leader: Option<&Leader>) -> Turn<'_> {
    Turn { area: "repair", leader, doing: "settle who repairs" }
}

//! The fleet's standing still for an incident (lock-protocol §4, H17, H18): paused once for it, however many watchers come to
//! that, and let go by taking away its own hold and nobody else's. A person's word stands: a pause that a person has ended is
//! not made again, and what a person holds stays held.
//!
//! `act/pause-<incident>` is written with the pause and with the lifting of its hold. It tells a hold that the watcher lifted
//! from one that a person lifted, and a pause that is to be made from one that was made and ended. On a full store it is not
//! written, as the hold is not: the fleet then stands still until a person resumes it.

use rr_core::affected::Affected;
use rr_core::id::{Epoch, IncidentId, SessionId};
use rr_core::incident::Pause;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Txn};
use serde::{Deserialize, Serialize};

use crate::permit::{Beside, describe};
use crate::records::{AckRecord, RunRecord, decode, encode};
use crate::turn::unchanged;
use crate::{AckState, Doing, Fleet, FleetError, FleetState, Hold, HoldKind, Leader, PauseDone};

/// Tries while people pause and resume, or answers are lost.
const TRIES_MAX: usize = 16;
/// The name under which the watcher pauses.
const WATCHER: &str = "watcher";
/// Its holds' names begin so, and end in the incident's.
const HOLD: &str = "incident-";
/// What holds a fleet that was paused without room for a reason.
const UNRECORDED: &str =
    "the store was full when the fleet was paused: no reason is recorded, a person has to resume it";

/// What came of taking an incident's hold away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumedFor {
    Running {
        epoch: Epoch,
    },
    /// Its hold is gone; these remain.
    StillHeld {
        by: Vec<String>,
    },
    /// A person has ended it meanwhile, or lifted its hold.
    AlreadyOver,
}

/// How far the sessions have followed a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub epoch: Epoch,
    /// `false`: it runs, and nothing below counts for anything.
    pub paused: bool,
    pub live: Vec<SessionId>,
    /// Those of them that may still have something running.
    pub waiting: Vec<SessionId>,
}

/// `act/pause-<incident>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PausedFor {
    epoch: Epoch,
    /// By a watcher, not by a person.
    lifted: bool,
}

/// What stands of one incident's pause, at one revision.
struct Standing {
    state: FleetState,
    /// The record's key and value.
    act: String,
    record: Option<KeyValue>,
}

impl Standing {
    fn made(&self) -> Option<PausedFor> {
        decode(self.record.as_ref()?).ok()
    }

    fn has(&self, hold: &str) -> bool {
        self.state.is_paused() && self.state.holds.iter().any(|held| held.id == hold)
    }

    fn same_record(&self) -> Compare {
        unchanged(&self.act, self.record.as_ref())
    }

    fn holders(&self) -> Vec<String> {
        self.state.holds.iter().map(describe).collect()
    }
}

enum Next {
    Done(ResumedFor),
    Lift,
    Permit,
}

impl Fleet {
    /// Pauses the fleet for an incident, or adds its hold to a pause. Doing it again adds nothing, also when a person has
    /// resumed in between: whether the pause still stands, says [`Fleet::has_hold`]. After [`Fleet::resume_for`] has lifted it, it is a new pause.
    /// `affected`: whom it stops; everybody, if that is not said.
    ///
    /// # Errors
    /// If another leads, or the store does not answer: the caller must not believe that the fleet is paused.
    pub async fn pause_for(
        &self,
        leader: &Leader,
        id: &IncidentId,
        reason: &str,
        affected: Option<Affected>,
        now_unix_ms: u64,
    ) -> Result<Pause, FleetError> {
        let hold = Hold {
            id: hold_of(id),
            kind: HoldKind::Watcher,
            who: WATCHER.to_owned(),
            reason: reason.to_owned(),
            hard: false,
            affected,
            since_unix_ms: now_unix_ms,
        };
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_pause_for(leader, id, &hold).await {
                Ok(Some(epoch)) => return Ok(Pause { epoch, hold: hold.id }),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn try_pause_for(&self, leader: &Leader, id: &IncidentId, hold: &Hold) -> Result<Option<Epoch>, FleetError> {
        let standing = self.standing_for(leader, id).await?;
        if let Some(made) = standing.made().filter(|made| !made.lifted) {
            return Ok(Some(made.epoch));
        }
        let at = if standing.state.is_paused() { standing.state.epoch } else { Epoch(standing.state.epoch.0 + 1) };
        let record = PausedFor { epoch: at, lifted: false };
        let beside = Beside {
            guards: vec![leader.still(), standing.same_record()],
            ops: vec![Op::put(standing.act.clone(), encode(&record))],
        };
        let done = self.pause_from(&standing.state, &hold.id, hold, &beside).await?;
        Ok(done.map(|done| match done {
            PauseDone::Paused { epoch, .. }
            | PauseDone::Already { epoch, .. }
            | PauseDone::PausedWithoutRecord { epoch } => epoch,
        }))
    }

    /// Takes an incident's hold away, and lets the fleet run if nobody else holds it. It touches no other's hold and no later
    /// pause. Doing it again says the same.
    ///
    /// # Errors
    /// If another leads, or the store does not answer clearly: it may be asked again.
    pub async fn resume_for(&self, leader: &Leader, pause: &Pause, who: &str) -> Result<ResumedFor, FleetError> {
        let Some(id) = incident_of(&pause.hold) else {
            return Err(FleetError::BadName { what: "hold of an incident", got: pause.hold.clone() });
        };
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_resume_for(leader, pause, &id, who).await {
                Ok(Some(resumed)) => return Ok(resumed),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn try_resume_for(
        &self,
        leader: &Leader,
        pause: &Pause,
        id: &IncidentId,
        who: &str,
    ) -> Result<Option<ResumedFor>, FleetError> {
        let standing = self.standing_for(leader, id).await?;
        let next = Epoch(pause.epoch.0 + 1);
        let (last_guard, ops) = match what_next(&standing, pause) {
            Next::Done(resumed) => return Ok(Some(resumed)),
            Next::Lift => {
                let lifted = PausedFor { epoch: pause.epoch, lifted: true };
                let own = self.keys.hold(&pause.hold);
                let ops = vec![Op::Delete(Keys::one(own.clone())), Op::put(standing.act.clone(), encode(&lifted))];
                (Compare::exists(own), ops)
            }
            Next::Permit => {
                let run = encode(&RunRecord { epoch: next, who: who.to_owned() });
                let ops = vec![Op::put(self.keys.run(), run), Op::put(self.keys.epoch(), next.0.to_string())];
                (Compare::absent(Keys::prefix(self.keys.holds())), ops)
            }
        };
        let guards = vec![
            leader.still(),
            standing.same_record(),
            Compare::absent(Keys::one(self.keys.run())),
            Compare::value_is(self.keys.epoch(), pause.epoch.0.to_string()),
            self.same_generation(standing.state.generation.revision),
            last_guard,
        ];
        // Whatever comes of it: the next look says what stands now.
        self.store.txn(Txn::when(guards).then(ops)).await.doing("let the fleet go").map(|_| None)
    }

    /// The running state, the leader and one incident's record, at one revision.
    async fn standing_for(&self, leader: &Leader, id: &IncidentId) -> Result<Standing, FleetError> {
        let act = self.keys.paused_for(id);
        let own = [leader.key.clone(), act.clone()].map(Keys::one);
        let reads = self.state_keys().into_iter().chain(own).map(Op::Get).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look how the fleet stands")?;
        let kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        if !kvs.iter().any(|kv| kv.key == leader.key && kv.create_revision == leader.created) {
            return Err(FleetError::NotLeading);
        }
        let state = self.decode_state(&kvs, reply.revision)?;
        let record = kvs.into_iter().find(|kv| kv.key == act);
        Ok(Standing { state, act, record })
    }

    /// Whether an incident's pause still stands, with its own hold.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn has_hold(&self, pause: &Pause) -> Result<bool, FleetError> {
        let state = self.state().await?;
        Ok(state.is_paused() && state.epoch == pause.epoch && state.holds.iter().any(|hold| hold.id == pause.hold))
    }

    /// Which sessions there are, and which may still have something running from before the pause. One whose word cannot be read
    /// counts among these.
    ///
    /// # Errors
    /// If the store does not answer, or the run state cannot be read.
    pub async fn drained(&self) -> Result<Drain, FleetError> {
        let (sessions, acks) = (self.keys.sessions(), self.keys.acks());
        let own = [sessions.clone(), acks.clone()].map(Keys::prefix);
        let reads = self.state_keys().into_iter().chain(own).map(Op::Get).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look who has followed a pause")?;
        let kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        let state = self.decode_state(&kvs, reply.revision)?;
        let sids = kvs.iter().filter_map(|kv| kv.key.strip_prefix(&sessions));
        let live: Vec<SessionId> = sids.filter_map(|sid| SessionId::parse(sid).ok()).collect();
        let is_drained = |sid: &SessionId| {
            let ack = kvs.iter().find(|kv| kv.key == self.keys.ack(sid)).and_then(|kv| decode::<AckRecord>(kv).ok());
            ack.is_some_and(|ack| ack.epoch == state.epoch && ack.state == AckState::Drained)
        };
        let waiting = live.iter().filter(|sid| !is_drained(sid)).cloned().collect();
        Ok(Drain { epoch: state.epoch, paused: state.is_paused(), live, waiting })
    }
}

impl Hold {
    /// The incident that it is for, of a watcher's hold.
    #[must_use]
    pub fn incident(&self) -> Option<IncidentId> {
        incident_of(&self.id).filter(|_| self.kind == HoldKind::Watcher)
    }
}

fn hold_of(id: &IncidentId) -> String {
    format!("{HOLD}{id}")
}

fn incident_of(hold: &str) -> Option<IncidentId> {
    IncidentId::parse(hold.strip_prefix(HOLD)?).ok()
}

fn what_next(standing: &Standing, pause: &Pause) -> Next {
    let (state, made) = (&standing.state, standing.made());
    let is_this = state.is_paused() && state.epoch == pause.epoch;
    if standing.has(&pause.hold) {
        // A restore leaves holds and raises the epoch: those are a person's to lift.
        return if is_this { Next::Lift } else { Next::Done(ResumedFor::StillHeld { by: standing.holders() }) };
    }
    let lifted_here = made.as_ref().is_some_and(|made| made.lifted && made.epoch == pause.epoch);
    if lifted_here {
        return match (state.is_paused(), is_this) {
            (false, _) => Next::Done(ResumedFor::Running { epoch: state.epoch }),
            (true, true) if state.holds.is_empty() => Next::Permit,
            (true, true) => Next::Done(ResumedFor::StillHeld { by: standing.holders() }),
            (true, false) => Next::Done(ResumedFor::AlreadyOver),
        };
    }
    if is_this && made.is_none() {
        let by = if state.holds.is_empty() { vec![UNRECORDED.to_owned()] } else { standing.holders() };
        return Next::Done(ResumedFor::StillHeld { by });
    }
    Next::Done(ResumedFor::AlreadyOver)
}

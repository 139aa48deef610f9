//! Pause and resume (lock-protocol §4). Paused is the absence of `fleet/run`: deleting needs no space, no lock and no healthy
//! watcher. A resume names the epoch it ends, so that it cannot undo a pause it has not seen (H18).

use rr_core::affected::Affected;
use rr_core::bugs::{self, Bug};
use rr_core::id::Epoch;
use rr_core::permit::{Permit, ResumeRefusal};
use rr_store::{Change, Compare, KeyValue, Keys, Op, OpReply, Revision, StoreError, Txn, WatchEvent};
use serde::{Deserialize, Serialize};

use crate::records::{AckRecord, RunRecord, decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Tries before an operator is told that the store is too busy with other pauses.
const TRIES_MAX: usize = 16;

/// What [`Bug::B9`] writes in place of deleting the permit.
const PAUSED: &[u8] = br#"{"paused":"until the permit is written anew by a resume"}"#;

/// Who keeps the fleet paused. A program may only lift what a program of its kind made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldKind {
    Person,
    Watcher,
}

/// `fleet/hold/<id>`: one reason to stay paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    #[serde(skip)]
    pub id: String,
    pub kind: HoldKind,
    pub who: String,
    pub reason: String,
    /// Also stop what the agents have running, not only their next call.
    #[serde(default)]
    pub hard: bool,
    /// Whom it stops, where it does not stop everybody. Only the watcher makes such a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<Affected>,
    pub since_unix_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckState {
    /// Its sidecar denies new calls; earlier ones are still running.
    Seen,
    /// Nothing authorised before the pause is running any more.
    Drained,
}

/// All that is known about running and pausing, at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetState {
    pub permit: Permit,
    pub epoch: Epoch,
    pub holds: Vec<Hold>,
    pub generation: Generation,
    pub revision: Revision,
}

/// Which life of the store this is: changed by a new start after a restore, and by nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Random, never given twice.
    pub id: String,
    /// Compared in every transaction of a session.
    pub revision: Revision,
}

impl FleetState {
    #[must_use]
    pub fn is_paused(&self) -> bool {
        matches!(self.permit, Permit::Paused(_))
    }

    /// Whether it stands still for the watcher's reasons alone. One whose reason nobody recorded does not.
    #[must_use]
    pub fn is_paused_by_watcher_alone(&self) -> bool {
        self.is_paused() && !self.holds.is_empty() && self.holds.iter().all(|hold| hold.kind == HoldKind::Watcher)
    }

    /// What all that holds it concerns. `None`: it stops everybody, for one hold that does is enough.
    #[must_use]
    pub fn affected(&self) -> Option<Vec<Affected>> {
        if !self.is_paused_by_watcher_alone() {
            return None;
        }
        self.holds.iter().map(|hold| hold.affected.clone()).collect()
    }

    /// Whether the running commands are to be stopped as well.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.is_paused() && self.holds.iter().any(|h| h.hard)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseDone {
    /// Paused by this call: `epoch` is what a resume must name.
    Paused { epoch: Epoch, hold: String },
    /// It was paused before; this reason was added.
    Already { epoch: Epoch, hold: String },
    /// Paused, but the store had no room for the reason or the next epoch.
    PausedWithoutRecord { epoch: Epoch },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeDone {
    Resumed { epoch: Epoch },
    Refused(ResumeRefusal),
}

/// What somebody who pauses wants to hold for the pause too, and to be written with it where there is room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) guards: Vec<Compare>,
    pub(crate) ops: Vec<Op>,
}

impl Fleet {
    /// Reads the running state. Linearizable: a permit seen here was valid at or after the call.
    ///
    /// # Errors
    /// If the store does not answer or a value under `fleet/` is unreadable.
    pub async fn state(&self) -> Result<FleetState, FleetError> {
        let reads = self.state_keys().map(Op::Get).to_vec();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the run permit")?;
        let kvs: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        self.decode_state(&kvs, reply.revision)
    }

    /// All that the state is made of. Not the whole of `fleet/`: questions lie there too, and this is read every few seconds.
    /// The generation is among it: without it a restored store could not be told from a new start.
    pub(crate) fn state_keys(&self) -> [Keys; 4] {
        let keys = &self.keys;
        [Keys::one(keys.run()), Keys::one(keys.epoch()), Keys::prefix(keys.holds()), Keys::one(keys.generation())]
    }

    pub(crate) fn decode_state(&self, kvs: &[KeyValue], revision: Revision) -> Result<FleetState, FleetError> {
        let (permit, generation) = (Permit::Paused(Epoch(0)), Generation::default());
        let mut state = FleetState { permit, epoch: Epoch(0), holds: vec![], generation, revision };
        let mut running = false;
        for kv in kvs {
            if kv.key == self.keys.run() {
                running = !bugs::is_on(Bug::B9) || kv.value != PAUSED;
            } else if kv.key == self.keys.epoch() {
                state.epoch = epoch_of(kv)?;
            } else if kv.key == self.keys.generation() {
                let id = String::from_utf8_lossy(&kv.value).into_owned();
                state.generation = Generation { id, revision: kv.mod_revision };
            } else if let Some(id) = kv.key.strip_prefix(&self.keys.holds()) {
                state.holds.push(Hold { id: id.to_owned(), ..decode(kv)? });
            }
        }
        state.permit = if running { Permit::Run(state.epoch) } else { Permit::Paused(state.epoch) };
        Ok(state)
    }

    /// The pause that a change of the running state shows, if it is one. A hint: it may be believed before it is read.
    #[must_use]
    pub fn pause_in(&self, event: &WatchEvent) -> Option<Epoch> {
        let (run, epoch) = (self.keys.run(), self.keys.epoch());
        let withdrawn = event.changes.iter().any(|c| matches!(c, Change::Delete { key } if *key == run));
        let raised = event.changes.iter().find_map(|change| match change {
            Change::Put(kv) if kv.key == epoch => epoch_of(kv).ok(),
            _ => None,
        });
        // Without room for a record the epoch stays, and is not among the changes.
        withdrawn.then(|| raised.unwrap_or(Epoch(0)))
    }

    /// Pauses the fleet, or adds a reason to a pause. Returns only after the pause is acknowledged or read back.
    ///
    /// # Errors
    /// If the store does not answer: the caller must not report success.
    pub async fn pause(&self, hold: &Hold) -> Result<PauseDone, FleetError> {
        let id = rr_core::id::hex(&self.entropy.bits()[..4]);
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_pause(&id, hold).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn try_pause(&self, id: &str, hold: &Hold) -> Result<Option<PauseDone>, FleetError> {
        let state = self.state().await?;
        self.pause_from(&state, id, hold, &Beside::default()).await
    }

    /// One try from what was seen. `None`: it is no longer so, look again.
    pub(crate) async fn pause_from(
        &self,
        state: &FleetState,
        id: &str,
        hold: &Hold,
        beside: &Beside,
    ) -> Result<Option<PauseDone>, FleetError> {
        if state.is_paused() {
            self.add_hold(state, id, hold, beside).await
        } else {
            self.withdraw(state, id, hold, beside).await
        }
    }

    /// One try to delete the permit. `None`: somebody else was faster, look again.
    async fn withdraw(
        &self,
        state: &FleetState,
        id: &str,
        hold: &Hold,
        beside: &Beside,
    ) -> Result<Option<PauseDone>, FleetError> {
        let next = Epoch(state.epoch.0 + 1);
        let mut guard = beside.guards.clone();
        guard.push(Compare::exists(self.keys.run()));
        guard.push(Compare::value_is(self.keys.epoch(), state.epoch.0.to_string()));
        let mut ops = beside.ops.clone();
        ops.push(self.withdrawal());
        ops.push(Op::put(self.keys.epoch(), next.0.to_string()));
        ops.push(Op::put(self.keys.hold(id), encode(hold)));
        let full = Txn::when(guard.clone()).then(ops);
        match self.store.txn(full).await {
            Ok(reply) if reply.succeeded => Ok(Some(PauseDone::Paused { epoch: next, hold: id.to_owned() })),
            Ok(_) => Ok(None),
            Err(StoreError::NoSpace(_)) => self.withdraw_without_space(state, guard).await,
            // Unknown: the next round reads what is there. Unavailable: the caller's loop decides.
            Err(e) => Err(e).doing("pause the fleet"),
        }
    }

    async fn withdraw_without_space(
        &self,
        state: &FleetState,
        guard: Vec<Compare>,
    ) -> Result<Option<PauseDone>, FleetError> {
        let bare = Txn::when(guard).then(vec![self.withdrawal()]);
        let reply = self.store.txn(bare).await.doing("pause the fleet without space for a record")?;
        Ok(reply.succeeded.then_some(PauseDone::PausedWithoutRecord { epoch: state.epoch }))
    }

    /// Needs no space.
    fn withdrawal(&self) -> Op {
        let delete = Op::Delete(Keys::one(self.keys.run()));
        if bugs::is_on(Bug::B9) { Op::put(self.keys.run(), PAUSED) } else { delete }
    }

    async fn add_hold(
        &self,
        state: &FleetState,
        id: &str,
        hold: &Hold,
        beside: &Beside,
    ) -> Result<Option<PauseDone>, FleetError> {
        if state.holds.iter().any(|h| h.id == id) {
            // Our own earlier try, whose answer was lost, had paused it.
            return Ok(Some(PauseDone::Paused { epoch: state.epoch, hold: id.to_owned() }));
        }
        // The epoch as well: a late copy of this must not hold up what was resumed and paused since.
        let mut guards = beside.guards.clone();
        guards.push(Compare::absent(Keys::one(self.keys.run())));
        guards.push(Compare::value_is(self.keys.epoch(), state.epoch.0.to_string()));
        let mut ops = beside.ops.clone();
        ops.push(Op::put(self.keys.hold(id), encode(hold)));
        match self.store.txn(Txn::when(guards).then(ops)).await {
            Ok(reply) => {
                let done = PauseDone::Already { epoch: state.epoch, hold: id.to_owned() };
                Ok(reply.succeeded.then_some(done))
            }
            Err(StoreError::NoSpace(_)) => Ok(Some(PauseDone::PausedWithoutRecord { epoch: state.epoch })),
            Err(e) => Err(e).doing("add a reason to the pause"),
        }
    }

    /// Resumes the fleet if `epoch` is the present one and nobody else holds it. Lifts the holds that `lift` names first;
    /// holds of a later pause are never touched, because the epoch is compared with them.
    ///
    /// # Errors
    /// If the store does not answer clearly after a read-back.
    pub async fn resume(
        &self,
        epoch: Epoch,
        who: &str,
        lift: impl Fn(&Hold) -> bool + Send,
    ) -> Result<ResumeDone, FleetError> {
        let state = self.state().await?;
        let epoch = if bugs::is_on(Bug::B8) { state.epoch } else { epoch };
        if state.epoch != epoch {
            return Ok(ResumeDone::Refused(ResumeRefusal::OtherEpoch { present: state.epoch }));
        }
        if !state.is_paused() {
            return Ok(ResumeDone::Refused(ResumeRefusal::AlreadyRunning { present: state.epoch }));
        }
        self.lift_holds(&state, &lift).await?;
        let next = Epoch(epoch.0 + 1);
        let txn = Txn::when(vec![
            Compare::absent(Keys::prefix(self.keys.holds())),
            Compare::absent(Keys::one(self.keys.run())),
            Compare::value_is(self.keys.epoch(), epoch.0.to_string()),
            // A restored store may show this epoch a second time.
            self.same_generation(state.generation.revision),
        ])
        .then(vec![
            Op::put(self.keys.run(), encode(&RunRecord { epoch: next, who: who.to_owned() })),
            Op::put(self.keys.epoch(), next.0.to_string()),
        ]);
        match self.store.txn(txn).await {
            Ok(reply) if reply.succeeded => Ok(ResumeDone::Resumed { epoch: next }),
            Ok(_) => self.why_not_resumed(epoch).await,
            Err(e) if e.is_unknown() => self.why_not_resumed(epoch).await,
            Err(e) => Err(e).doing("resume the fleet"),
        }
    }

    async fn lift_holds(&self, state: &FleetState, lift: &(impl Fn(&Hold) -> bool + Send)) -> Result<(), FleetError> {
        let ops: Vec<Op> =
            state.holds.iter().filter(|h| lift(h)).map(|h| Op::Delete(Keys::one(self.keys.hold(&h.id)))).collect();
        for chunk in ops.chunks(rr_store::TXN_OPS_MAX) {
            let guard = Compare::value_is(self.keys.epoch(), state.epoch.0.to_string());
            self.store.txn(Txn::when(vec![guard]).then(chunk.to_vec())).await.doing("lift a hold")?;
        }
        Ok(())
    }

    async fn why_not_resumed(&self, epoch: Epoch) -> Result<ResumeDone, FleetError> {
        let state = self.state().await?;
        if !state.is_paused() && state.epoch == Epoch(epoch.0 + 1) {
            return Ok(ResumeDone::Resumed { epoch: state.epoch });
        }
        Ok(ResumeDone::Refused(if state.epoch != epoch {
            ResumeRefusal::OtherEpoch { present: state.epoch }
        } else if state.holds.is_empty() {
            // A transaction that is still under way: uncertain is "no".
            return Err(FleetError::Voided);
        } else {
            ResumeRefusal::Held { by: state.holds.iter().map(describe).collect() }
        }))
    }

    /// Records how far a session has followed the pause of an epoch.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn acknowledge(&self, session: &Session, ack: &AckRecord) -> Result<(), FleetError> {
        let key = self.keys.ack(&session.sid);
        let txn = Txn::when(vec![
            Compare::created_at(self.keys.session(&session.sid), session.created),
            Compare::value_is(self.keys.epoch(), ack.epoch.0.to_string()),
        ])
        .then(vec![Op::put_leased(key, encode(ack), session.lease)]);
        self.store.txn(txn).await.doing("acknowledge a pause").map(|_| ())
    }
}

pub(crate) fn describe(hold: &Hold) -> String {
    let kind = match hold.kind {
        HoldKind::Person => "person",
        HoldKind::Watcher => "watcher",
    };
    format!("{} ({kind} {}: {})", hold.id, hold.who, hold.reason)
}

pub(crate) fn epoch_of(kv: &KeyValue) -> Result<Epoch, FleetError> {
    let text = String::from_utf8_lossy(&kv.value);
    text.parse()
        .map(Epoch)
        .map_err(|_| FleetError::Garbage { key: kv.key.clone(), why: format!("{text:?} is no number") })
}

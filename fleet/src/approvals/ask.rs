//! The asking session's side: ask for a call, and learn the answer by asking again. How many may wait is bounded here: exactly
//! for a session, and for the fleet but for those that ask at the same moment. Next: `spend`.

use rr_core::id::{ApprovalId, CallPrint, OpId};
use rr_core::limits::{APPROVALS_PER_FLEET_MAX, APPROVALS_PER_SESSION_MAX};
use rr_store::{Compare, KeyValue, Keys, LeaseId, Op, Relation, Revision, StoreError, Subject, Txn};

use super::{Answer, AnswerRecord, ApprovalRequest, AskRecord, Seen};
use crate::records::{decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Tries while answers are lost.
const OUTAGES_MAX: usize = 8;
/// Tries in all: of many calls of one session that ask at once, each round lets one through until all places are taken.
const TRIES_MAX: usize = APPROVALS_PER_SESSION_MAX + OUTAGES_MAX;
/// Orphaned answers taken away in one transaction: with a compare each, well below the store's limit.
const SWEPT_PER_TXN: usize = 50;

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A person is asked. `ahead`: how many requests of the fleet have waited longer.
    Waiting {
        id: ApprovalId,
        ahead: usize,
    },
    /// The call may pass, once: [`Fleet::use_approval`].
    Approved {
        id: ApprovalId,
    },
    Rejected {
        id: ApprovalId,
        by: String,
        reason: String,
    },
    /// Nobody answered in time, or the approval was not used in time. It stays so until it is withdrawn.
    Expired {
        id: ApprovalId,
    },
    /// Nobody was asked.
    TooMany(TooMany),
    /// The session, its host or the generation is no longer valid.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    OfSession { max: usize },
    OfFleet { max: usize },
}

/// Room for one more request of a session.
enum Room {
    Free,
    /// Its oldest that is settled goes; `revision` of its answer, if it has one.
    InsteadOf {
        answer: String,
        revision: Option<Revision>,
    },
    /// All of them still matter.
    None,
}

/// What stands when a session asks.
struct Before {
    asks: Vec<KeyValue>,
    answers: Vec<Seen>,
    revision: Revision,
}

impl Fleet {
    /// Asks a person for a call, or answers what became of the same request. Safe to call as often as wanted: the same
    /// session and call have one request.
    ///
    /// # Errors
    /// If the store does not answer clearly: then ask again, it is the same request.
    pub async fn ask_approval(&self, session: &Session, request: &ApprovalRequest) -> Result<Asked, FleetError> {
        let id = ApprovalId::from_random(self.entropy.bits());
        let (mut lease, mut outages) = (None, 0);
        for _ in 0..TRIES_MAX {
            match self.try_ask(session, request, &id, &mut lease).await {
                Ok(Some(asked)) => {
                    let is_ours = matches!(&asked, Asked::Waiting { id: standing, .. } if *standing == id);
                    if let Some(lease) = lease.filter(|_| !is_ours) {
                        self.revoke_quietly(lease).await;
                    }
                    return Ok(asked);
                }
                Ok(None) => {}
                Err(error) if error.is_outage() && outages < OUTAGES_MAX => outages += 1,
                Err(error) => return Err(error),
            }
        }
        Err(FleetError::Voided)
    }

    /// `None`: something changed in between, look again.
    async fn try_ask(
        &self,
        session: &Session,
        request: &ApprovalRequest,
        id: &ApprovalId,
        granted: &mut Option<LeaseId>,
    ) -> Result<Option<Asked>, FleetError> {
        let before = self.before(session).await?;
        if let Some(asked) = self.standing_ask(session, &request.call_print, &before)? {
            return Ok(Some(asked));
        }
        let mut ahead = before.answers.iter().filter(|seen| seen.is_waiting()).count();
        if ahead >= APPROVALS_PER_FLEET_MAX {
            ahead = self.sweep_orphans().await?;
        }
        if ahead >= APPROVALS_PER_FLEET_MAX {
            return Ok(Some(Asked::TooMany(TooMany::OfFleet { max: APPROVALS_PER_FLEET_MAX })));
        }
        let room = self.room(&before);
        if matches!(room, Room::None) {
            return Ok(Some(Asked::TooMany(TooMany::OfSession { max: APPROVALS_PER_SESSION_MAX })));
        }
        let lease = match *granted {
            Some(lease) => lease,
            None => *granted.insert(self.store.grant(request.wait()).await.doing("grant a request's time")?),
        };
        let txn = self.ask_txn(session, request, id, lease, &before, room);
        let reply = match self.store.txn(txn).await {
            // The session's, or that of a request that took too long to write.
            Err(StoreError::LeaseNotFound(_)) => {
                *granted = None;
                let asker = Txn::when(self.asker(session));
                let is_valid = self.store.txn(asker).await.doing("look why nobody was asked")?.succeeded;
                return Ok((!is_valid).then_some(Asked::Lost));
            }
            other => other.doing("ask for approval")?,
        };
        if reply.succeeded {
            return Ok(Some(Asked::Waiting { id: id.clone(), ahead }));
        }
        let valid = self.is_valid(session, reply.replies);
        Ok((!valid).then_some(Asked::Lost))
    }

    async fn before(&self, session: &Session) -> Result<Before, FleetError> {
        let own = self.keys.asks_of(&session.sid);
        let (asks, answers, revision) = self.asks_and_answers(own, self.keys.answers()).await?;
        Ok(Before { asks, answers, revision })
    }

    /// What became of this session's request for the call, if there is one.
    fn standing_ask(&self, session: &Session, call: &CallPrint, before: &Before) -> Result<Option<Asked>, FleetError> {
        let (ask, answer) = (self.keys.ask(&session.sid, call), self.keys.answer(&session.sid, call));
        let Some(kv) = before.asks.iter().find(|kv| kv.key == ask) else { return Ok(None) };
        let id = decode::<AskRecord>(kv)?.id;
        let Some(seen) = before.answers.iter().find(|seen| seen.key == answer) else {
            return Ok(Some(Asked::Expired { id }));
        };
        Ok(Some(match &seen.record.answer {
            Answer::Waiting => {
                let is_ahead = |other: &&Seen| other.is_waiting() && other.revision < seen.revision;
                Asked::Waiting { id, ahead: before.answers.iter().filter(is_ahead).count() }
            }
            Answer::Approved { .. } => Asked::Approved { id },
            Answer::Rejected { who, reason, .. } => Asked::Rejected { id, by: who.clone(), reason: reason.clone() },
            // A use takes the request away with it.
            Answer::Used { .. } => Asked::Expired { id },
        }))
    }

    /// Whether a session may have one more request.
    fn room(&self, before: &Before) -> Room {
        if before.asks.len() < APPROVALS_PER_SESSION_MAX {
            return Room::Free;
        }
        let mut settled = Vec::new();
        for kv in &before.asks {
            let Some((sid, call)) = self.keys.parse_ask(&kv.key) else { continue };
            let answer = self.keys.answer(&sid, &call);
            match before.answers.iter().find(|seen| seen.key == answer) {
                None => settled.push((kv.mod_revision, answer, None)),
                Some(seen) if matches!(seen.record.answer, Answer::Rejected { .. }) => {
                    settled.push((kv.mod_revision, answer, Some(seen.revision)));
                }
                Some(_) => {}
            }
        }
        match settled.into_iter().min() {
            Some((_, answer, revision)) => Room::InsteadOf { answer, revision },
            None => Room::None,
        }
    }

    fn ask_txn(
        &self,
        session: &Session,
        request: &ApprovalRequest,
        id: &ApprovalId,
        lease: LeaseId,
        before: &Before,
        room: Room,
    ) -> Txn {
        let call = &request.call_print;
        let (ask, answer) = (self.keys.ask(&session.sid, call), self.keys.answer(&session.sid, call));
        let record = AskRecord {
            id: id.clone(),
            session: session.created,
            generation: session.generation,
            host: session.fingerprint.clone(),
            request: request.fit_to_show(),
        };
        let op = OpId::from_random(self.entropy.bits());
        let waiting = AnswerRecord { id: id.clone(), op, decision: None, answer: Answer::Waiting };
        let used = before.answers.iter().find(|seen| seen.key == answer).map(|seen| seen.revision);
        let mut guards = self.asker(session);
        // What was counted is still all there is.
        guards.push(Compare {
            keys: Keys::prefix(self.keys.asks_of(&session.sid)),
            relation: Relation::Less,
            subject: Subject::ModRevision(before.revision + 1),
        });
        guards.push(unchanged(&answer, used));
        let mut ops =
            vec![Op::put_leased(ask, encode(&record), session.lease), Op::put_leased(answer, encode(&waiting), lease)];
        if let Room::InsteadOf { answer: old, revision } = room {
            guards.push(unchanged(&old, revision));
            ops.extend(self.ask_of(&old).map(|key| Op::Delete(Keys::one(key))));
            ops.push(Op::Delete(Keys::one(old)));
        }
        Txn::when(guards).then(ops).otherwise(self.asker_reads(session))
    }

    /// Takes away the answers whose session is gone, and counts those that still wait.
    async fn sweep_orphans(&self) -> Result<usize, FleetError> {
        let (asks, answers, _) = self.asks_and_answers(self.keys.asks(), self.keys.answers()).await?;
        let has_ask = |seen: &Seen| {
            self.ask_of(&seen.key).is_some_and(|ask| asks.binary_search_by(|kv| kv.key.cmp(&ask)).is_ok())
        };
        let (standing, orphans): (Vec<Seen>, Vec<Seen>) =
            answers.into_iter().filter(Seen::is_waiting).partition(has_ask);
        for chunk in orphans.chunks(SWEPT_PER_TXN) {
            let guards = chunk.iter().map(|seen| Compare::modified_at(seen.key.clone(), seen.revision)).collect();
            let deletes = chunk.iter().map(|seen| Op::Delete(Keys::one(seen.key.clone()))).collect();
            self.store.txn(Txn::when(guards).then(deletes)).await.doing("take orphaned requests away")?;
        }
        Ok(standing.len())
    }
}

fn unchanged(key: &str, seen: Option<Revision>) -> Compare {
    match seen {
        Some(revision) => Compare::modified_at(key, revision),
        None => Compare::absent(Keys::one(key)),
    }
}

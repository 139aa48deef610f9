//! The asking session's side: ask for a call, learn the answer by asking again, use an approval once, withdraw. Every write
//! compares the session, its host's denial and the generation, as all transactions of a session do.

use rr_core::id::{ApprovalId, CallPrint, OpId};
use rr_core::limits::{APPROVALS_PER_FLEET_MAX, APPROVALS_PER_SESSION_MAX};
use rr_store::{Compare, KeyValue, Keys, LeaseId, Op, OpReply, Relation, Revision, StoreError, Subject, Txn};

use super::{Answer, AnswerRecord, ApprovalRequest, AskRecord, Seen};
use crate::records::{decode, encode};
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// Tries while others write, or answers are lost.
const TRIES_MAX: usize = 8;
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

/// What came of using an approval. Only [`Used::Yes`] lets a call pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// This use, and no other, has the approval.
    Yes {
        by: String,
    },
    /// It was used before.
    Already,
    Waiting,
    Rejected {
        by: String,
        reason: String,
    },
    Expired,
    /// Nothing starts while the fleet is paused; the approval is kept.
    Paused,
    /// No such request of this session.
    Unknown,
    /// The session, its host or the generation is no longer valid.
    Lost,
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
        let (mut lease, mut last) = (None, FleetError::Voided);
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
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
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
        let Some(room) = self.room(&before)? else {
            return Ok(Some(Asked::TooMany(TooMany::OfSession { max: APPROVALS_PER_SESSION_MAX })));
        };
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

    /// What has to make room for one more request of a session: nothing, or its oldest that is settled. `None`: all of them
    /// still matter.
    fn room(&self, before: &Before) -> Result<Option<Vec<(String, Option<Revision>)>>, FleetError> {
        if before.asks.len() < APPROVALS_PER_SESSION_MAX {
            return Ok(Some(vec![]));
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
        settled.sort_unstable();
        Ok(settled.into_iter().next().map(|(_, answer, revision)| vec![(answer, revision)]))
    }

    fn ask_txn(
        &self,
        session: &Session,
        request: &ApprovalRequest,
        id: &ApprovalId,
        lease: LeaseId,
        before: &Before,
        room: Vec<(String, Option<Revision>)>,
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
        for (old, revision) in room {
            guards.push(unchanged(&old, revision));
            ops.extend(self.ask_of(&old).map(|key| Op::Delete(Keys::one(key))));
            ops.push(Op::Delete(Keys::one(old)));
        }
        Txn::when(guards).then(ops).otherwise(self.asker_reads(session))
    }

    fn ask_of(&self, answer: &str) -> Option<String> {
        self.keys.parse_ask(answer).map(|(sid, call)| self.keys.ask(&sid, &call))
    }

    /// What makes a session one that may ask and use.
    fn asker(&self, session: &Session) -> Vec<Compare> {
        vec![
            self.same_generation(session.generation),
            Compare::created_at(self.keys.session(&session.sid), session.created),
            Compare::absent(Keys::one(self.keys.denied(&session.fingerprint))),
        ]
    }

    fn asker_reads(&self, session: &Session) -> Vec<Op> {
        let keys = [self.keys.generation(), self.keys.session(&session.sid), self.keys.denied(&session.fingerprint)];
        keys.into_iter().chain([self.keys.run()]).map(|key| Op::Get(Keys::one(key))).collect()
    }

    /// Whether the replies to [`Fleet::asker_reads`] show that the session is still one.
    fn is_valid(&self, session: &Session, replies: Vec<OpReply>) -> bool {
        let mut found = replies.into_iter().map(|reply| reply.into_keys().into_iter().next());
        let mut next = || found.next().flatten();
        let generation = next().is_some_and(|kv| kv.mod_revision == session.generation);
        let key = next().is_some_and(|kv| kv.create_revision == session.created);
        generation && key && next().is_none()
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

    /// Uses an approval: of all uses of it, whatever is retried or raced, one is told [`Used::Yes`].
    ///
    /// # Errors
    /// If the store does not answer clearly after several tries: the call must not pass. The approval may be spent.
    pub async fn use_approval(&self, session: &Session, id: &ApprovalId) -> Result<Used, FleetError> {
        let op = OpId::from_random(self.entropy.bits());
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_use(session, id, &op).await {
                Ok(Some(used)) => return Ok(used),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `None`: something changed in between, look again.
    async fn try_use(&self, session: &Session, id: &ApprovalId, op: &OpId) -> Result<Option<Used>, FleetError> {
        let (own, answers) = (self.keys.asks_of(&session.sid), self.keys.answers_of(&session.sid));
        let (asks, answers, _) = self.asks_and_answers(own, answers).await?;
        let Some(seen) = answers.into_iter().find(|seen| seen.record.id == *id) else {
            let is_asked = asks.iter().any(|kv| decode::<AskRecord>(kv).is_ok_and(|record| record.id == *id));
            return Ok(Some(if is_asked { Used::Expired } else { Used::Unknown }));
        };
        let by = match &seen.record.answer {
            Answer::Approved { who, .. } => who.clone(),
            Answer::Used { who } if seen.record.op == *op => return Ok(Some(Used::Yes { by: who.clone() })),
            Answer::Used { .. } => return Ok(Some(Used::Already)),
            Answer::Waiting => return Ok(Some(Used::Waiting)),
            Answer::Rejected { who, reason, .. } => {
                return Ok(Some(Used::Rejected { by: who.clone(), reason: reason.clone() }));
            }
        };
        let (Some(ask), Some(lease)) = (self.ask_of(&seen.key), seen.lease) else { return Ok(Some(Used::Unknown)) };
        let (op, decision) = (op.clone(), Some(seen.record.op.clone()));
        let record = AnswerRecord { id: id.clone(), op, decision, answer: Answer::Used { who: by.clone() } };
        let mut guards = self.asker(session);
        guards.push(Compare::exists(self.keys.run()));
        guards.push(Compare::modified_at(seen.key.clone(), seen.revision));
        let ops = vec![Op::Delete(Keys::one(ask)), Op::put_leased(seen.key, encode(&record), lease)];
        let txn = Txn::when(guards).then(ops).otherwise(self.asker_reads(session));
        let reply = match self.store.txn(txn).await {
            Err(StoreError::LeaseNotFound(_)) => return Ok(None),
            other => other.doing("use an approval")?,
        };
        if reply.succeeded {
            return Ok(Some(Used::Yes { by }));
        }
        let is_paused = matches!(reply.replies.last(), Some(OpReply::Get(run)) if run.is_empty());
        let valid = self.is_valid(session, reply.replies);
        Ok(if !valid { Some(Used::Lost) } else { is_paused.then_some(Used::Paused) })
    }

    /// Takes a request back, however it stands: whoever decides on it later is told that there is none. Doing it twice is
    /// safe.
    ///
    /// # Errors
    /// If the store does not answer clearly: then the request goes with its session.
    pub async fn withdraw_approval(&self, session: &Session, id: &ApprovalId) -> Result<(), FleetError> {
        let own = self.store.range(Keys::prefix(self.keys.asks_of(&session.sid))).await;
        for kv in own.doing("look for a request")?.kvs {
            let Some((sid, call)) = self.keys.parse_ask(&kv.key) else { continue };
            if decode::<AskRecord>(&kv)?.id == *id {
                let answer = self.keys.answer(&sid, &call);
                let guard = Compare::modified_at(kv.key.clone(), kv.mod_revision);
                let deletes = [kv.key, answer].map(|key| Op::Delete(Keys::one(key))).to_vec();
                self.insist(Txn::when(vec![guard]).then(deletes), "withdraw a request").await?;
            }
        }
        Ok(())
    }
}

fn unchanged(key: &str, seen: Option<Revision>) -> Compare {
    match seen {
        Some(revision) => Compare::modified_at(key, revision),
        None => Compare::absent(Keys::one(key)),
    }
}

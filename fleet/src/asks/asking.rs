//! The asker's side of a question: put it, hear who takes it up and what they answer, withdraw it. For each host it
//! is known whether it took the question up: one that did and does not answer may have acted; one that did not before
//! the question was closed never will.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use futures::StreamExt as _;
use rr_core::id::{HostId, OpId};
use rr_core::time::{BootTime, Span};
use rr_store::{Change, Compare, KeyValue, Keys, LeaseId, Op, OpReply, Revision, Txn, WatchStream};

use super::{
    ANSWER_BYTES_MAX, ANSWER_BYTES_MIN, ANSWERS_BYTES_MAX, PART_BYTES, QUESTION_BYTES_MAX, QUESTIONS_MAX,
    QuestionRecord, ReplyRecord, TTL_MAX,
};
use crate::heads::JournalHost;
use crate::records::{decode, encode};
use crate::{Doing, Fleet, FleetError};

/// Tries to put a question while others take the free places, or answers are lost.
const TRIES_MAX: usize = 16;
/// A watch may fall silent: the asker looks this often whatever it hears.
const LOOK_AGAIN: Span = Span::from_secs(1);
/// A store that did not answer is asked again after this.
const RETRY: Span = Span::from_millis(100);

/// How far a host is with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowFar {
    /// No sidecar of it has been heard of.
    NotTakenUp,
    /// A sidecar took it up: it may be acting, or have acted.
    TakenUp,
    Answered,
}

/// What an asker hears, once for each host and step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    TakenUp { host: HostId },
    Answered { host: HostId, answer: Vec<u8> },
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody can take it up any more, and all who did are known.
    Settled,
    /// Its time was over before: somebody may have taken it up without its asker having heard.
    Lapsed,
}

/// A question that was put. Dropping it withdraws it, as soon as the store can be told.
pub struct Asking {
    fleet: Fleet,
    id: OpId,
    /// The question's own key, and its create revision.
    place: String,
    opened: Revision,
    lease: LeaseId,
    hosts: Vec<JournalHost>,
    far: BTreeMap<HostId, HowFar>,
    heard: VecDeque<Heard>,
    /// Open since the last look. `None`: look first.
    changes: Option<WatchStream>,
    is_over: bool,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("id", &self.id).field("far", &self.far).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Asks the sidecars of all hosts, or of one. It ends after `ttl` at the latest.
    ///
    /// # Errors
    /// If it is too long, too many are open, or the store does not answer clearly: then nobody will act on it, or not
    /// for longer than `ttl`.
    pub async fn ask_hosts(
        &self,
        to: Option<&HostId>,
        question: Vec<u8>,
        who: &str,
        ttl: Span,
    ) -> Result<Asking, FleetError> {
        let bytes = question.len() + who.len();
        if bytes > QUESTION_BYTES_MAX {
            return Err(FleetError::TooLong { what: "a question", bytes, max: QUESTION_BYTES_MAX });
        }
        let mut hosts = self.journal_hosts().await?;
        hosts.retain(|known| to.is_none_or(|to| known.host == *to));
        let id = OpId::from_random(self.entropy.bits());
        let room = ANSWERS_BYTES_MAX / hosts.len().max(1);
        let record = QuestionRecord {
            id: id.clone(),
            to: to.cloned(),
            who: who.to_owned(),
            generation: self.generation().await?,
            answer_bytes_max: room.clamp(ANSWER_BYTES_MIN, ANSWER_BYTES_MAX),
            ttl_ms: ttl.min(TTL_MAX).as_millis(),
        };
        let lease = self.store.grant(ttl.min(TTL_MAX)).await.doing("grant a question's lease")?;
        let put = self.put_question(&record, &question, lease).await;
        let (fleet, far, heard) = (self.clone(), BTreeMap::new(), VecDeque::new());
        match put {
            Ok((place, opened)) => {
                Ok(Asking { fleet, id, place, opened, lease, hosts, far, heard, changes: None, is_over: false })
            }
            Err(error) => {
                // Without its lease a late copy can no longer be put.
                self.revoke_quietly(lease).await;
                Err(error)
            }
        }
    }

    async fn put_question(
        &self,
        record: &QuestionRecord,
        question: &[u8],
        lease: LeaseId,
    ) -> Result<(String, Revision), FleetError> {
        let value = [encode(record), b"\n".to_vec(), question.to_vec()].concat();
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_put_question(record, &value, lease).await {
                Ok(Some(put)) => return Ok(put),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `None`: somebody was faster, look again.
    async fn try_put_question(
        &self,
        record: &QuestionRecord,
        value: &[u8],
        lease: LeaseId,
    ) -> Result<Option<(String, Revision)>, FleetError> {
        let asked = self.keys.asked(&record.id);
        let reads = vec![Op::Get(Keys::prefix(self.keys.questions())), Op::Get(Keys::one(asked.clone()))];
        let found = self.store.txn(Txn::default().then(reads)).await.doing("look for a free place")?;
        let found: Vec<KeyValue> = found.replies.into_iter().flat_map(OpReply::into_keys).collect();
        if let Some(kv) = found.iter().find(|kv| kv.key == asked) {
            // An earlier try whose answer was lost.
            return Ok(Some((String::from_utf8_lossy(&kv.value).into_owned(), kv.create_revision)));
        }
        let places = (0..QUESTIONS_MAX).map(|n| self.keys.question(n));
        let free: Vec<String> = places.filter(|place| !found.iter().any(|kv| kv.key == *place)).collect();
        if free.is_empty() {
            return Err(FleetError::TooManyQuestions { max: QUESTIONS_MAX });
        }
        // Any of them: those who ask at once shall not all want the same.
        let place = free[usize::from(self.entropy.bits()[0]) % free.len()].clone();
        let txn = Txn::when(vec![
            Compare::absent(Keys::one(asked.clone())),
            Compare::absent(Keys::one(place.clone())),
            self.same_generation(record.generation),
        ])
        .then(vec![Op::put_leased(place.clone(), value, lease), Op::put_leased(asked, place.clone(), lease)]);
        let reply = self.store.txn(txn).await.doing("put a question")?;
        Ok(reply.succeeded.then_some((place, reply.revision)))
    }
}

impl Fleet {
    /// `None`: it is no longer there, or longer than an answer may be.
    async fn read_answer(&self, id: &OpId, host: &HostId, parts: usize) -> Result<Option<Vec<u8>>, FleetError> {
        if parts > ANSWER_BYTES_MAX / PART_BYTES {
            return Ok(None);
        }
        let mut answer = Vec::new();
        for n in 0..parts {
            let key = self.keys.reply_part(id, host, n);
            let Some(part) = self.get(&key, "read an answer").await? else { return Ok(None) };
            answer.extend(part.value);
        }
        Ok(Some(answer))
    }
}

impl Asking {
    #[must_use]
    pub fn id(&self) -> &OpId {
        &self.id
    }

    /// The hosts that are known to have something to say, of those that are asked.
    #[must_use]
    pub fn hosts(&self) -> &[JournalHost] {
        &self.hosts
    }

    /// As far as was heard.
    #[must_use]
    pub fn how_far(&self, host: &HostId) -> HowFar {
        self.far.get(host).copied().unwrap_or(HowFar::NotTakenUp)
    }

    /// Every host that took it up, known before or not.
    pub fn taken_up(&self) -> impl Iterator<Item = (&HostId, HowFar)> {
        self.far.iter().map(|(host, far)| (host, *far))
    }

    /// What is heard next. `None`: nothing until then, though the store was looked at once more.
    ///
    /// # Errors
    /// If the store does not answer until then; it may be asked again.
    pub async fn next(&mut self, until: BootTime) -> Result<Option<Heard>, FleetError> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            let left = until.since(self.fleet.clock.now());
            if self.changes.is_none() || left == Span::ZERO {
                match self.look().await {
                    Err(error) if error.is_outage() && left > Span::ZERO => {
                        tracing::debug!(%error, "look for answers again");
                        tokio::time::sleep(RETRY.min(left).as_std()).await;
                    }
                    Err(error) => return Err(error),
                    Ok(()) if self.heard.is_empty() && left == Span::ZERO => return Ok(None),
                    Ok(()) => {}
                }
            } else {
                self.wait(left.min(LOOK_AGAIN)).await;
            }
        }
    }

    /// Until a change is taken in, or a look is due.
    async fn wait(&mut self, longest: Span) {
        let Some(changes) = &mut self.changes else { return };
        let Ok(Some(Ok(event))) = tokio::time::timeout(longest.as_std(), changes.next()).await else {
            self.changes = None;
            return;
        };
        for change in event.changes {
            let Change::Put(kv) = change else { continue };
            if let Err(error) = self.take_in(&kv).await {
                tracing::debug!(%error, "read an answer again");
                self.changes = None;
            }
        }
    }

    async fn look(&mut self) -> Result<(), FleetError> {
        let below = Keys::prefix(self.fleet.keys.replies_to(&self.id));
        let reply = self.fleet.store.range(below.clone()).await.doing("look for answers")?;
        for kv in &reply.kvs {
            self.take_in(kv).await?;
        }
        // From the look on: nothing can fall between.
        let changes = self.fleet.store.watch(below, reply.revision + 1).await.doing("watch for answers")?;
        self.changes = Some(changes);
        Ok(())
    }

    /// Notes how far a host is, if that is news.
    async fn take_in(&mut self, kv: &KeyValue) -> Result<(), FleetError> {
        let host = kv.key.strip_prefix(&self.fleet.keys.replies_to(&self.id)).map(HostId::parse);
        let Some(Ok(host)) = host else { return Ok(()) };
        let far = self.how_far(&host);
        // What cannot be read was put by a sidecar all the same.
        let parts = decode::<ReplyRecord>(kv).ok().and_then(|record| record.parts);
        match (far, parts) {
            (HowFar::NotTakenUp, None) => {
                self.far.insert(host.clone(), HowFar::TakenUp);
                self.heard.push_back(Heard::TakenUp { host });
            }
            (HowFar::NotTakenUp | HowFar::TakenUp, Some(parts)) => {
                self.far.insert(host.clone(), HowFar::TakenUp);
                if let Some(answer) = self.fleet.read_answer(&self.id, &host, parts).await? {
                    self.far.insert(host.clone(), HowFar::Answered);
                    self.heard.push_back(Heard::Answered { host, answer });
                }
            }
            (HowFar::TakenUp, None) | (HowFar::Answered, _) => {}
        }
        Ok(())
    }

    /// Lets nobody take it up from now on. Those who did may still answer: [`Asking::next`] goes on telling.
    ///
    /// # Errors
    /// If the store does not answer clearly; it may be asked again.
    pub async fn close(&mut self) -> Result<Closed, FleetError> {
        let (below, asked) = (self.fleet.keys.replies_to(&self.id), self.fleet.keys.asked(&self.id));
        let reads = [Op::Get(Keys::prefix(below)), Op::Get(Keys::one(asked.clone()))];
        let [replies, mark] = reads.clone();
        // The delete and the read at one revision: whoever is not in the read came too late.
        let txn = Txn::when(vec![Compare::created_at(self.place.clone(), self.opened)])
            .then(vec![Op::Delete(Keys::one(self.place.clone())), replies, mark])
            .otherwise(reads.to_vec());
        let reply = self.fleet.insist(txn, "withdraw a question").await?;
        let found: Vec<KeyValue> = reply.replies.into_iter().flat_map(OpReply::into_keys).collect();
        let (mark, replies): (Vec<_>, Vec<_>) = found.into_iter().partition(|kv| kv.key == asked);
        for kv in &replies {
            self.take_in(kv).await?;
        }
        Ok(if mark.is_empty() { Closed::Lapsed } else { Closed::Settled })
    }

    /// Withdraws it with all its answers.
    pub async fn over(mut self) {
        self.is_over = true;
        self.fleet.revoke_quietly(self.lease).await;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_over {
            let (fleet, lease) = (self.fleet.clone(), self.lease);
            runtime.spawn(async move { fleet.revoke_quietly(lease).await });
        }
    }
}

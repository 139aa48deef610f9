//! Questions to sidecars, through the store: whoever may read the fleet's keys puts one under a lease, the sidecar of
//! each host (or of one) takes it up exactly once and puts its answer, and all of it vanishes with the lease.
//! `asking` is the asker's side, `answering` the sidecar's. What is asked, and whether that may be asked, is not
//! known here.
//!
//! # Why a host acts on a question at most once
//!
//! `reply/<id>/at/<host>` says how far a host is. It is made in one transaction that compares that it is absent and
//! that the question is still open, under the question's lease: it cannot go while the question can come back. Who
//! made it holds a [`TakenUp`] and may act; every other life of that sidecar finds it and may not. `reply/<id>/asked`
//! does the same for the asker: a late copy of a question that was put and withdrawn finds it and puts nothing.

mod answering;
mod asking;

use rr_core::id::{HostId, OpId};
use rr_core::time::Span;
use rr_store::{Change, KeyValue, Keys, LeaseId, Revision, WatchEvent};
use serde::{Deserialize, Serialize};

pub use answering::{Answered, TakeUp, TakenUp};
pub use asking::{Asking, Closed, Heard, HowFar};

use crate::{Doing, Fleet, FleetError};

/// A question is a few names and times; every sidecar is sent it.
pub const QUESTION_BYTES_MAX: usize = 16 << 10;
/// Open at a time: more than people ask, and so few that reading them all is cheap.
pub const QUESTIONS_MAX: usize = 64;
/// Of one host: more than a person reads, and few parts.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Of all hosts together: a store keeps what was put into it for a while, even when it is gone.
const ANSWERS_BYTES_MAX: usize = 16 << 20;
/// However many hosts there are, each may say this much.
const ANSWER_BYTES_MIN: usize = 32 << 10;
/// Well below what a store takes as one value, so that other writers get their turn in between.
const PART_BYTES: usize = 256 << 10;
/// No question stays longer, whatever its asker wants: nobody waits for it any more.
const TTL_MAX: Span = Span::from_secs(15 * 60);

/// The first line of `fleet/question/<place>`; the rest is the question itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct QuestionRecord {
    id: OpId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<HostId>,
    who: String,
    /// Mod revision of the fleet's generation when it was asked.
    generation: Revision,
    answer_bytes_max: usize,
    ttl_ms: u64,
}

/// `reply/<id>/at/<host>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ReplyRecord {
    /// Tells this taking up from another one.
    op: OpId,
    /// Of its answer, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
}

/// One open question, as a sidecar sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub id: OpId,
    /// `None`: all hosts are asked.
    pub to: Option<HostId>,
    pub question: Vec<u8>,
    /// Under whose name it is asked, for the record.
    pub who: String,
    /// Create revision of its key.
    pub revision: Revision,
    /// How long an answer may be.
    pub answer_bytes_max: usize,
    /// From when it was put, nobody waits longer than this.
    pub ttl: Span,
    generation: Revision,
    key: String,
    lease: LeaseId,
}

impl Question {
    #[must_use]
    pub fn is_for(&self, host: &HostId) -> bool {
        self.to.as_ref().is_none_or(|to| to == host)
    }

    /// A value that cannot be read is no question: nobody could answer it.
    fn read(kv: &KeyValue) -> Option<Self> {
        let end = kv.value.iter().position(|byte| *byte == b'\n')?;
        let record: QuestionRecord = serde_json::from_slice(&kv.value[..end]).ok()?;
        Some(Self {
            id: record.id,
            to: record.to,
            question: kv.value[end + 1..].to_vec(),
            who: record.who,
            revision: kv.create_revision,
            answer_bytes_max: record.answer_bytes_max.min(ANSWER_BYTES_MAX),
            ttl: Span::from_millis(record.ttl_ms),
            generation: record.generation,
            key: kv.key.clone(),
            lease: kv.lease?,
        })
    }
}

impl Fleet {
    /// The question that a change below [`crate::Keyspace::fleet`] puts, if it is one. A hint: taking it up is what
    /// counts.
    #[must_use]
    pub fn question_in(&self, event: &WatchEvent) -> Option<Question> {
        let prefix = self.keys.questions();
        event.changes.iter().find_map(|change| match change {
            Change::Put(kv) if kv.key.starts_with(&prefix) => Question::read(kv),
            _ => None,
        })
    }

    /// Every open question that a host may take up, the oldest first; those that it has taken up are among them, which
    /// [`Fleet::take_up`] will say. For one who may have missed a change.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn open_questions(&self, host: &HostId) -> Result<Vec<Question>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.questions())).await.doing("look for questions")?;
        let mut open: Vec<Question> = reply.kvs.iter().filter_map(Question::read).collect();
        open.retain(|question| question.is_for(host));
        open.sort_by_key(|question| question.revision);
        Ok(open)
    }
}

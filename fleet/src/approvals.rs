//! Approvals: a call that a rule wants a person's word for waits here, on whatever host it was made, until somebody answers or
//! its time is over. `ask` and `spend` are the asking session's side, `decide` the person's, `follow` tells a sidecar what was answered,
//! `shown` makes an agent's words safe to show. Which calls need approval is the policy's to say, not known here.
//!
//! # Two keys for one request
//!
//! `ask/<sid>/<call>` is what is asked: under the session's lease, so it goes with the session. `answer/<sid>/<call>` is how it
//! stands: under a lease of its own, so that an unanswered request and an unused approval end by the store's time and not by
//! anybody's clock. A request without its answer has expired, which means "no". Both are written in one transaction, so
//! while nobody has decided they have the same revision; a decision names that revision, and whoever decides second, too
//! late, or on an older request changes nothing. A use turns the answer into "used" by compare-and-write: the same call
//! passes once.

mod ask;
mod decide;
mod follow;
mod shown;
mod spend;

use std::collections::HashMap;

use rr_core::id::{ApprovalId, CallPrint, OpId, RepoId, SessionId};
use rr_core::limits::{
    APPROVAL_COMMAND_BYTES_MAX, APPROVAL_DIFF_BYTES_MAX, APPROVAL_TEXT_BYTES_MAX, APPROVAL_WAIT_MAX, APPROVAL_WAIT_MIN,
};
use rr_core::time::Span;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Revision, Txn};
use serde::{Deserialize, Serialize};

pub use ask::{Asked, TooMany};
pub use decide::{Decide, Decided, Decision};
pub use follow::{AnswerChange, Answers};
pub use shown::shown;
pub use spend::Used;

use crate::records::decode;
use crate::session::Session;
use crate::{Doing, Fleet, FleetError};

/// What is asked of a person. Its texts are made safe to show and cut to their limits when it is asked; secrets are the
/// caller's to take out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoId>,
    /// Which call: of tool, arguments and folder.
    pub call_print: CallPrint,
    pub tool: String,
    /// The command, or what the call would do, as text.
    pub command: String,
    pub folder: String,
    pub agent: String,
    /// For people only.
    pub host_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The rule that wants approval, as it was written, and its reason.
    pub rule: String,
    #[serde(default)]
    pub because: String,
    pub asked_unix_ms: u64,
    /// For people. What counts is the store's time: this much after it was asked.
    pub expires_unix_ms: u64,
}

impl ApprovalRequest {
    fn fit_to_show(&self) -> Self {
        let text = |text: &str| shown(text, APPROVAL_TEXT_BYTES_MAX);
        Self {
            repo: self.repo.clone(),
            call_print: self.call_print.clone(),
            tool: text(&self.tool),
            command: shown(&self.command, APPROVAL_COMMAND_BYTES_MAX),
            folder: text(&self.folder),
            agent: text(&self.agent),
            host_name: text(&self.host_name),
            diff: self.diff.as_ref().map(|diff| shown(diff, APPROVAL_DIFF_BYTES_MAX)),
            rule: text(&self.rule),
            because: text(&self.because),
            asked_unix_ms: self.asked_unix_ms,
            expires_unix_ms: self.asked_unix_ms.saturating_add(self.wait().as_millis()),
        }
    }

    fn wait(&self) -> Span {
        let asked_for = Span::from_millis(self.expires_unix_ms.saturating_sub(self.asked_unix_ms));
        asked_for.clamp(APPROVAL_WAIT_MIN, APPROVAL_WAIT_MAX)
    }
}

/// `ask/<sid>/<call>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AskRecord {
    id: ApprovalId,
    /// Create revision of the session's key: a decision compares it.
    session: Revision,
    /// Mod revision of the fleet's generation when it was asked.
    generation: Revision,
    /// The session's host: while it is denied nothing of it is approved.
    host: String,
    request: ApprovalRequest,
}

/// `answer/<sid>/<call>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AnswerRecord {
    id: ApprovalId,
    /// Of whoever wrote this state, so that a lost answer can be read back.
    op: OpId,
    /// Of a used approval: the decision that it came of, for a decider whose own answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<OpId>,
    #[serde(flatten)]
    answer: Answer,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Answer {
    Waiting,
    /// The same call may pass once.
    Approved {
        who: String,
        #[serde(default)]
        reason: String,
        at_unix_ms: u64,
    },
    /// Stands as long as the session.
    Rejected {
        who: String,
        reason: String,
        at_unix_ms: u64,
    },
    /// Approved, and the call has passed.
    Used {
        who: String,
    },
}

/// How a request stands, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    Answered(Answer),
    /// Nobody answered in time, or the approval was not used in time: it means "no".
    Expired,
}

/// One request for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    pub id: ApprovalId,
    pub session: SessionId,
    /// What a decision must name.
    pub revision: Revision,
    pub state: ApprovalState,
    pub request: ApprovalRequest,
}

impl ApprovalRow {
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == ApprovalState::Answered(Answer::Waiting)
    }
}

/// One answer as read.
struct Seen {
    key: String,
    revision: Revision,
    lease: Option<rr_store::LeaseId>,
    record: AnswerRecord,
}

impl Seen {
    fn read(kv: &KeyValue) -> Result<Self, FleetError> {
        Ok(Self { key: kv.key.clone(), revision: kv.mod_revision, lease: kv.lease, record: decode(kv)? })
    }

    /// Whether this is what the decision of that operation made of it.
    fn is_of(&self, decision: &OpId) -> bool {
        self.record.op == *decision || self.record.decision.as_ref() == Some(decision)
    }

    fn is_waiting(&self) -> bool {
        self.record.answer == Answer::Waiting
    }
}

impl Fleet {
    /// Every standing request of the fleet, the oldest first. A value that cannot be read is left out: it hides nothing else,
    /// and it approves nothing.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn approvals(&self) -> Result<Vec<ApprovalRow>, FleetError> {
        self.approvals_seen_at().await.map(|(rows, _)| rows)
    }

    /// The same with the store's revision, for one who follows them.
    ///
    /// # Errors
    /// As [`Fleet::approvals`].
    pub async fn approvals_seen_at(&self) -> Result<(Vec<ApprovalRow>, Revision), FleetError> {
        let (asks, answers, revision) = self.asks_and_answers(self.keys.asks(), self.keys.answers()).await?;
        let mut states: HashMap<String, Answer> =
            answers.into_iter().map(|seen| (seen.key, seen.record.answer)).collect();
        let mut rows = Vec::new();
        for kv in asks {
            let Some((session, call)) = self.keys.parse_ask(&kv.key) else { continue };
            let Ok(record) = decode::<AskRecord>(&kv) else { continue };
            let state = states
                .remove(&self.keys.answer(&session, &call))
                .map_or(ApprovalState::Expired, ApprovalState::Answered);
            let (id, request) = (record.id, record.request);
            rows.push(ApprovalRow { id, session, revision: kv.mod_revision, state, request });
        }
        rows.sort_by_key(|row| row.revision);
        Ok((rows, revision))
    }

    /// Requests and answers below two prefixes, at one revision.
    async fn asks_and_answers(
        &self,
        asks: String,
        answers: String,
    ) -> Result<(Vec<KeyValue>, Vec<Seen>, Revision), FleetError> {
        let reads = [asks, answers].map(|prefix| Op::Get(Keys::prefix(prefix))).to_vec();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the requests for approval")?;
        let mut replies = reply.replies.into_iter().map(OpReply::into_keys);
        let asks = replies.next().unwrap_or_default();
        let answers = replies.next().unwrap_or_default();
        Ok((asks, answers.iter().filter_map(|kv| Seen::read(kv).ok()).collect(), reply.revision))
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
}

//! What is asked of a person, and the answer (`railroad/v1/approvals.proto`). As in [`crate::ops`] no socket is involved, so
//! `rrctl` lists and decides by the same rules where no coordinator runs. Whether a decision counts is `rr_fleet`'s to say.

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use rr_core::id::ApprovalId;
use rr_fleet::{ApprovalAnswer, ApprovalRow, ApprovalState, Decide, Decided, Decision, Fleet};
use rr_proto::v1;
use rr_proto::v1::approvals_server::Approvals as ApprovalsService;
use rr_proto::v1::decide_reply::Outcome;
use rr_runtime::clock::unix_ms;
use rr_runtime::metrics::DecisionWord;
use rr_store::Revision;
use tonic::{Request, Response, Status};

use crate::gate::{Caller, check_not_denied};
use crate::ops::text;
use crate::refusal::{bad, from_fleet};
use crate::services::{Desk, refused, said};

/// Every standing request.
///
/// # Errors
/// If the store does not answer.
pub async fn list(fleet: &Fleet) -> Result<v1::ApprovalsReply, Status> {
    seen(fleet).await.map(|(reply, _)| reply)
}

async fn seen(fleet: &Fleet) -> Result<(v1::ApprovalsReply, Revision), Status> {
    let (rows, revision) = fleet.approvals_seen_at().await.map_err(|e| from_fleet(&e))?;
    let approvals = rows.into_iter().map(on_the_wire).collect();
    Ok((v1::ApprovalsReply { approvals, now_unix_ms: unix_ms() }, revision))
}

/// Every standing request at once and after each change, until the store cannot be read for good.
pub fn pictures(fleet: Fleet) -> impl Stream<Item = Result<v1::ApprovalsReply, Status>> + Send {
    let below = vec![fleet.keyspace().asks(), fleet.keyspace().answers()];
    crate::follow::follow(fleet, below, |fleet| async move { seen(&fleet).await }.boxed())
}

/// Approves or rejects one request. An answer means that it is known what became of it.
///
/// # Errors
/// If nobody is named, a rejection has no reason, the id is none, or the store does not answer clearly.
pub async fn decide(fleet: &Fleet, request: v1::DecideRequest) -> Result<v1::DecideReply, Status> {
    let v1::DecideRequest { id, revision, approve, who, reason } = request;
    let id = ApprovalId::parse(&id).map_err(|e| bad(e.to_string()))?;
    let who = text("who", who)?;
    let (decision, reason) = match approve {
        true if reason.trim().is_empty() => (Decision::Approve, String::new()),
        true => (Decision::Approve, text("reason", reason)?),
        false => (Decision::Reject, text("reason", reason)?),
    };
    let decide = Decide { id, revision, decision, who, reason, now_unix_ms: unix_ms() };
    let done = fleet.decide_approval(&decide).await.map_err(|e| from_fleet(&e))?;
    let Decide { id, who, reason, .. } = &decide;
    tracing::warn!(%id, revision, who, reason, ?decision, ?done, "a request for approval was decided on");
    Ok(v1::DecideReply { outcome: Some(outcome(&decide, done)) })
}

fn outcome(decide: &Decide, done: Decided) -> Outcome {
    match done {
        Decided::Yes => Outcome::Decided(v1::Decided {
            state: word(decide.decision).to_owned(),
            who: decide.who.clone(),
            reason: decide.reason.clone(),
        }),
        Decided::Already(answer) => {
            let (state, who, reason) = parts(answer);
            Outcome::Already(v1::Decided { state: state.to_owned(), who, reason })
        }
        Decided::Changed { revision } => Outcome::ChangedRevision(revision),
        Decided::Expired => Outcome::Expired(true),
        Decided::AskerGone => Outcome::AskerGone(true),
        Decided::Unknown => Outcome::Unknown(true),
    }
}

const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
    }
}

/// The word of an answer, who gave it, and why.
fn parts(answer: ApprovalAnswer) -> (&'static str, String, String) {
    match answer {
        ApprovalAnswer::Waiting => ("waiting", String::new(), String::new()),
        ApprovalAnswer::Approved { who, reason, .. } => (word(Decision::Approve), who, reason),
        ApprovalAnswer::Rejected { who, reason, .. } => (word(Decision::Reject), who, reason),
        ApprovalAnswer::Used { who } => ("used", who, String::new()),
    }
}

fn on_the_wire(row: ApprovalRow) -> v1::Approval {
    let ApprovalRow { id, session, revision, state, request } = row;
    let (state, who, reason) = match state {
        ApprovalState::Answered(answer) => parts(answer),
        ApprovalState::Expired => ("expired", String::new(), String::new()),
    };
    v1::Approval {
        id: id.to_string(),
        revision,
        state: state.to_owned(),
        who,
        reason,
        session: session.to_string(),
        agent: request.agent,
        host_name: request.host_name,
        repo: request.repo.map(|repo| repo.to_string()).unwrap_or_default(),
        folder: request.folder,
        tool: request.tool,
        command: request.command,
        diff: request.diff.unwrap_or_default(),
        rule: request.rule,
        because: request.because,
        asked_unix_ms: request.asked_unix_ms,
        expires_unix_ms: request.expires_unix_ms,
    }
}

/// What a decision is counted as.
fn counted(reply: &v1::DecideReply) -> DecisionWord {
    match &reply.outcome {
        Some(Outcome::Decided(done)) if done.state == word(Decision::Approve) => DecisionWord::Approved,
        Some(Outcome::Decided(_)) => DecisionWord::Rejected,
        Some(Outcome::Already(_)) => DecisionWord::Already,
        Some(Outcome::Expired(_)) => DecisionWord::Expired,
        Some(Outcome::AskerGone(_) | Outcome::ChangedRevision(_) | Outcome::Unknown(_)) | None => DecisionWord::Gone,
    }
}

#[tonic::async_trait]
impl ApprovalsService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::ApprovalsReply, Status>>;

    async fn list(&self, _: Request<v1::ListApprovalsRequest>) -> Result<Response<v1::ApprovalsReply>, Status> {
        list(self.fleet()).await.map(said).map_err(refused)
    }

    async fn watch(&self, request: Request<v1::WatchApprovalsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (fleet, caller) = (self.fleet().clone(), Caller::of(&request)?);
        // A watch outlives the look at the gate: each picture is one more.
        let pictures = pictures(fleet.clone()).and_then(move |picture| {
            let (fleet, caller) = (fleet.clone(), caller.clone());
            async move { check_not_denied(&fleet, &caller).await.map(|()| picture) }
        });
        Ok(said(pictures.take_until(self.shutdown().cancelled_owned()).boxed()))
    }

    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::DecideReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        let reply = decide(self.fleet(), request).await.map_err(refused)?;
        self.count(counted(&reply));
        Ok(said(reply))
    }
}

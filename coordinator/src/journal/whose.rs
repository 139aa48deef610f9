//! On which host a session worked, by the begin of its id or the agent's own name for it: one that lives is in the
//! store; of one that has ended only its host's journal tells, so all hosts are asked what a rollback would come to,
//! and exactly one must know the session. Nothing is changed here.

use rr_core::id::{HostId, SessionId};
use rr_core::time::Span;
use rr_fleet::{Fleet, SessionRow};
use rr_proto::v1::answer::What as Said;
use rr_proto::v1::ask::What;
use rr_proto::v1::{RollbackReply, RollbackRequest};
use tonic::Status;

use super::asked::{Answers, HostAnswer, all};
use super::words;
use crate::refusal::from_fleet;

/// A plan reads and merges what a rollback would write: longer than a log takes.
const PLAN_WAIT: Span = Span::from_secs(20);

pub(super) enum Found {
    /// There, and this is its name in full.
    Host { host: HostId, session: String },
    /// What was found out on the way is all there is to know.
    Reply(Box<RollbackReply>),
}

pub(super) async fn find(fleet: &Fleet, request: &RollbackRequest) -> Result<Found, Status> {
    let all_there_is = fleet.overview().await.map_err(|e| from_fleet(&e))?;
    let live: Vec<&SessionRow> = all_there_is.sessions.iter().filter(|row| is_meant(row, &request.session)).collect();
    match live.as_slice() {
        [one] => Ok(Found::Host { host: one.record.host.clone(), session: one.sid.to_string() }),
        [] => ended(fleet, request).await,
        many => {
            let lines = many.iter().map(|row| {
                let (of, name) = (&row.record.agent, &row.record.host_name);
                format!("{} ({of}, on {})", row.sid, words::host(&row.record.host, name))
            });
            Err(ambiguous(&request.session, &lines.collect::<Vec<_>>()))
        }
    }
}

fn is_meant(row: &SessionRow, wanted: &str) -> bool {
    row.sid.as_str().starts_with(&wanted.to_ascii_lowercase()) || row.record.agent_session == wanted
}

async fn ended(fleet: &Fleet, request: &RollbackRequest) -> Result<Found, Status> {
    let plan = RollbackRequest { dry_run: true, ..request.clone() };
    let answers = all(fleet, What::Rollback(plan), &request.who, PLAN_WAIT).await?;
    let Answers { said, missing } = answers;
    let unheard: Vec<String> = missing.into_iter().map(|host| host.why).collect();
    let claims: Vec<HostAnswer> = said.into_iter().filter(|answer| !matches!(answer.what, Said::NotHere(_))).collect();
    if claims.len() > 1 {
        return Err(ambiguous(&request.session, &claims.iter().map(claim).collect::<Vec<_>>()));
    }
    match claims.into_iter().next() {
        None => Err(unknown(&request.session, &unheard)),
        Some(answer) => decided(answer, request, &unheard),
    }
}

fn decided(answer: HostAnswer, request: &RollbackRequest, unheard: &[String]) -> Result<Found, Status> {
    let shown = words::host(&answer.host, &answer.name);
    let plan = match answer.what {
        Said::Rollback(plan) => plan,
        Said::Refused(why) => return Err(Status::failed_precondition(format!("{shown} refuses: {why}"))),
        Said::Log(_) | Said::Checkpoint(_) | Said::Hold(_) | Said::NotHere(_) => {
            return Err(words::other_answer(&shown));
        }
    };
    let is_whole_id = SessionId::parse(&request.session.to_ascii_lowercase()).is_ok();
    if !is_whole_id && !unheard.is_empty() {
        // Another session of that name may be there.
        return Err(Status::not_found(format!(
            "{shown} knows session {} as {}, but not all hosts have answered, and one may know another: {}; name it in \
             full",
            plan.of,
            request.session,
            unheard.join("; ")
        )));
    }
    // With a conflict nothing would be written.
    if request.dry_run || !plan.conflicts.is_empty() {
        return Ok(Found::Reply(Box::new(plan)));
    }
    Ok(Found::Host { host: answer.host, session: plan.of })
}

fn claim(answer: &HostAnswer) -> String {
    let shown = words::host(&answer.host, &answer.name);
    match &answer.what {
        Said::Rollback(plan) => format!("{} (on {shown})", plan.of),
        Said::Refused(why) => format!("one on {shown}, which refuses: {why}"),
        Said::Log(_) | Said::Checkpoint(_) | Said::Hold(_) | Said::NotHere(_) => shown,
    }
}

fn ambiguous(wanted: &str, lines: &[String]) -> Status {
    Status::not_found(format!(
        "{} sessions are called {wanted}: name one by its id:\n{}",
        lines.len(),
        lines.join("\n")
    ))
}

fn unknown(wanted: &str, unheard: &[String]) -> Status {
    let not_all = if unheard.is_empty() {
        String::new()
    } else {
        format!("; not all hosts have answered: {}", unheard.join("; "))
    };
    Status::not_found(format!("no host knows a session {wanted}{not_all}"))
}

//! What happened on all hosts, and what is undone on one (`railroad/v1/journal.proto`). Journals and work trees are
//! the sidecars'; they are asked through the store (docs/adr/0019). `asked` puts a question and hears the answers,
//! `merge` makes one log of many, `whose` finds the host of a session, `words` says who did not answer. As in
//! [`crate::ops`] no socket is involved, so `rrctl` asks by the same rules on a cluster of its own.

mod asked;
mod merge;
mod whose;
mod words;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use rr_core::id::HostId;
use rr_core::time::Span;
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_proto::v1::answer::What as Said;
use rr_proto::v1::ask::What;
use rr_proto::v1::journal_server::Journal as JournalService;
use rr_proto::v1::{RollbackReply, RollbackRequest};
use tonic::{Request, Response, Status};

use self::asked::{all, one};
use self::whose::{Found, find};
use crate::gate::Caller;
use crate::ops::text;
use crate::refusal::bad;
use crate::services::{Desk, refused, said};

/// A person waits for a log; a host that takes longer is named instead.
const LOG_WAIT: Span = Span::from_secs(3);
/// A rollback waits for the locks it needs and merges what may be a thousand files.
pub const ROLLBACK_WAIT: Span = Span::from_secs(120);
/// A checkpoint writes what changed in one work tree.
pub const CHECKPOINT_WAIT: Span = Span::from_secs(60);
/// A hold is written down and takes effect at once.
pub const HOLD_WAIT: Span = Span::from_secs(20);
/// Sessions in one rollback: those that have got into each other's way, not a fleet.
const TOGETHER_MAX: usize = 16;
/// A session is named by this many digits at least: with fewer, the next session may be meant.
const NAME_CHARS_MIN: usize = 4;
/// Names, folders and paths of a request.
const TEXT_BYTES_MAX: usize = 4_096;

/// Entries of all hosts' journals as one log; then one line for each host whose journal, or a part of it, is missing.
///
/// # Errors
/// If the request is too long. Afterwards, in the stream: if the store does not answer.
pub fn log(
    fleet: Fleet,
    request: v1::LogRequest,
    who: String,
) -> Result<impl Stream<Item = Result<v1::LogReply, Status>> + Send + 'static, Status> {
    for text in [&request.session, &request.path].into_iter().chain(&request.kinds) {
        short("what is asked for", text)?;
    }
    // The answer begins at once: its reader knows by that that somebody is there.
    let gathered = stream::once(async move { gather(&fleet, request, &who).await });
    Ok(gathered.flat_map(|found| match found {
        Ok(lines) => stream::iter(lines).map(Ok).boxed(),
        Err(status) => stream::iter([Err(status)]).boxed(),
    }))
}

async fn gather(fleet: &Fleet, request: v1::LogRequest, who: &str) -> Result<Vec<v1::LogReply>, Status> {
    let (limit, newest_first) = (request.limit, request.newest_first);
    let answers = all(fleet, What::Log(request), who, LOG_WAIT).await?;
    Ok(merge::merge(answers, usize::try_from(limit).unwrap_or(usize::MAX), newest_first))
}

/// Takes a session's own changes out of what stands now, on the host where it worked.
///
/// # Errors
/// If no such session is known, more than one is, its host refuses or does not answer, or the store does not.
pub async fn rollback(fleet: &Fleet, request: RollbackRequest) -> Result<RollbackReply, Status> {
    let request = checked(request)?;
    let (host, session) = match find(fleet, &request).await? {
        Found::Host { host, session } => (host, session),
        // It was asked for no more, or there is no more to be had.
        Found::Reply(reply) => return Ok(*reply),
    };
    let order = RollbackRequest { session, ..request };
    let (who, wanted) = (order.who.clone(), order.session.clone());
    let answer = one(fleet, &host, What::Rollback(order.clone()), &who, ROLLBACK_WAIT).await;
    let answer = answer.map_err(|missing| missing.status(&words::nothing_rolled_back(&wanted)))?;
    let (told, shown) = (answer.what, words::host(&host, &answer.name));
    tracing::warn!(who, host = %host, session = wanted, dry_run = order.dry_run, "a rollback was asked for");
    match told {
        Said::Rollback(reply) => Ok(reply),
        Said::Refused(why) => Err(Status::failed_precondition(format!("{shown} refuses: {why}"))),
        Said::NotHere(why) => Err(Status::not_found(format!("{shown}: {why}"))),
        Said::Log(_) | Said::Checkpoint(_) | Said::Hold(_) => Err(words::other_answer(&shown)),
    }
}

/// Keeps one session from making calls, on the host where it works, or lets it go on. One that has ended needs no hold.
///
/// # Errors
/// If no such session is known, more than one is, its host refuses or does not answer, or the store does not.
pub async fn hold(fleet: &Fleet, request: v1::HoldRequest) -> Result<v1::HoldReply, Status> {
    let named = checked(RollbackRequest {
        session: request.session,
        who: request.who,
        dry_run: true,
        ..RollbackRequest::default()
    })?;
    short("the reason", &request.reason)?;
    short("what it is told", &request.told)?;
    let (host, session) = match find(fleet, &named).await? {
        Found::Host { host, session } => (host, session),
        Found::Reply(plan) => return Ok(v1::HoldReply { session: plan.of, ..v1::HoldReply::default() }),
    };
    let (who, lift) = (named.who, request.lift);
    let order = v1::HoldRequest { session, who: who.clone(), reason: request.reason, lift, told: request.told };
    let wanted = order.session.clone();
    let answer = one(fleet, &host, What::Hold(order), &who, HOLD_WAIT).await;
    let answer = answer.map_err(|missing| missing.status(&words::nothing_held()))?;
    let shown = words::host(&host, &answer.name);
    tracing::warn!(who, host = %host, session = wanted, lift, "a session was held, or let go");
    match answer.what {
        Said::Hold(reply) => Ok(reply),
        Said::Refused(why) => Err(Status::failed_precondition(format!("{shown} refuses: {why}"))),
        Said::NotHere(why) => Err(Status::not_found(format!("{shown}: {why}"))),
        Said::Log(_) | Said::Rollback(_) | Said::Checkpoint(_) => Err(words::other_answer(&shown)),
    }
}

fn checked(mut request: RollbackRequest) -> Result<RollbackRequest, Status> {
    request.who = text("who", request.who)?;
    request.session = request.session.trim().to_owned();
    for given in [&request.session, &request.path, &request.folder].into_iter().chain(&request.with) {
        short("what is asked for", given)?;
    }
    if request.with.len() > TOGETHER_MAX {
        return Err(bad(format!("at most {TOGETHER_MAX} sessions can be taken back together")));
    }
    if request.session.chars().count() < NAME_CHARS_MIN {
        return Err(bad(format!(
            "`{}` is too short to say which session of the fleet is meant: type {NAME_CHARS_MIN} digits of its id at least \
             (`rrctl sessions`, `rrctl log`)",
            request.session
        )));
    }
    let bounds = [request.steps > 0, request.since_unix_ms > 0, request.to_checkpoint];
    if bounds.into_iter().filter(|given| *given).count() > 1 {
        return Err(bad("how far back: by steps, by time or to the last checkpoint, one of them"));
    }
    Ok(request)
}

fn short(what: &str, text: &str) -> Result<(), Status> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(bad(format!("{what} is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Keeps the whole of a work tree of one host as it stands now.
///
/// # Errors
/// If no host or folder is named, the host refuses or does not answer, or the store does not.
pub async fn checkpoint(
    fleet: &Fleet,
    request: v1::CheckpointRequest,
    who: &str,
) -> Result<v1::CheckpointReply, Status> {
    let host = HostId::parse(&request.host).map_err(|e| bad(e.to_string()))?;
    if request.folder.is_empty() {
        return Err(bad("which work tree? any folder of it"));
    }
    for given in [&request.folder, &request.why] {
        short("what is asked for", given)?;
    }
    let answer = one(fleet, &host, What::Checkpoint(request), who, CHECKPOINT_WAIT).await;
    let answer = answer.map_err(|missing| missing.status(&words::nothing_kept()))?;
    let shown = words::host(&host, &answer.name);
    match answer.what {
        Said::Checkpoint(reply) => Ok(reply),
        Said::Refused(why) => Err(Status::failed_precondition(format!("{shown} refuses: {why}"))),
        Said::NotHere(why) => Err(Status::not_found(format!("{shown}: {why}"))),
        Said::Log(_) | Said::Rollback(_) | Said::Hold(_) => Err(words::other_answer(&shown)),
    }
}

#[tonic::async_trait]
impl JournalService for Desk {
    type LogStream = BoxStream<'static, Result<v1::LogReply, Status>>;

    async fn log(&self, request: Request<v1::LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        let who = Caller::of(&request)?.who(words::LOCAL);
        let lines = log(self.fleet().clone(), request.into_inner(), who).map_err(refused)?;
        Ok(said(lines.take_until(self.shutdown().cancelled_owned()).boxed()))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        rollback(self.fleet(), request).await.map(said).map_err(refused)
    }

    async fn hold(&self, request: Request<v1::HoldRequest>) -> Result<Response<v1::HoldReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.who = caller.who(&request.who);
        hold(self.fleet(), request).await.map(said).map_err(refused)
    }

    async fn checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointReply>, Status> {
        let who = Caller::of(&request)?.who(words::LOCAL);
        checkpoint(self.fleet(), request.into_inner(), &who).await.map(said).map_err(refused)
    }
}

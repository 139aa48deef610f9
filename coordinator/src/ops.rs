//! What each request does: checks what was typed, asks the fleet, says what came of it. No socket is involved, so `rrctl`
//! can pause and resume on a store of its own when no daemon runs, by the same rules. Next: `rr_fleet`'s transactions.

use rr_core::id::{Epoch, Token};
use rr_core::permit::ResumeRefusal;
use rr_fleet::{Fleet, FleetError, Hold, HoldKind, PauseDone, Released, ResumeDone};
use rr_proto::v1;
use rr_proto::v1::resume_reply::Outcome;
use rr_runtime::clock::unix_ms;
use rr_store::StoreError;
use tonic::Status;

use crate::picture;
use crate::refusal::{bad, from_fleet};

/// A reason is a sentence for people; a name is shorter.
const TEXT_BYTES_MAX: usize = 1_000;
/// Reasons to stay paused that one resume may lift by name.
const HOLDS_MAX: usize = 100;

/// One consistent picture of the fleet.
///
/// # Errors
/// If the store does not answer, or holds what cannot be read.
pub async fn status(fleet: &Fleet) -> Result<v1::StatusReply, Status> {
    let all = fleet.overview().await.map_err(|e| from_fleet(&e))?;
    Ok(picture::draw(all, unix_ms()))
}

/// Pauses, or adds a reason to a pause. An answer means that the pause is in the store.
///
/// # Errors
/// If nobody is named, or the store does not answer.
pub async fn pause(fleet: &Fleet, request: v1::PauseRequest) -> Result<v1::PauseReply, Status> {
    let v1::PauseRequest { who, reason, hard } = request;
    let who = text("who", who)?;
    let reason = text("reason", reason)?;
    let hold =
        Hold { id: String::new(), kind: HoldKind::Person, who, reason, hard, affected: None, since_unix_ms: unix_ms() };
    let done = fleet.pause(&hold).await.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who = hold.who, reason = hold.reason, hard, ?done, "the fleet is paused");
    Ok(match done {
        PauseDone::Paused { epoch, hold } => v1::PauseReply { epoch: epoch.0, hold, ..Default::default() },
        PauseDone::Already { epoch, hold } => {
            v1::PauseReply { epoch: epoch.0, hold, already: true, ..Default::default() }
        }
        PauseDone::PausedWithoutRecord { epoch } => {
            v1::PauseReply { epoch: epoch.0, without_record: true, ..Default::default() }
        }
    })
}

/// Ends all that a restored store wrongly believes to go on, and pauses the fleet.
///
/// # Errors
/// If nobody or no reason is named, or the store does not answer clearly: then it is safe to ask again.
pub async fn post_restore(fleet: &Fleet, request: v1::PostRestoreRequest) -> Result<v1::PostRestoreReply, Status> {
    let who = text("who", request.who)?;
    let reason = text("reason", request.reason)?;
    let hold = Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who,
        reason,
        hard: false,
        affected: None,
        since_unix_ms: unix_ms(),
    };
    let mut done = fleet.post_restore(&hold).await;
    if let Err(FleetError::Store { source: StoreError::WentBack { .. }, .. }) = &done {
        // That is what it is asked for.
        fleet.accept_history();
        done = fleet.post_restore(&hold).await;
    }
    let done = done.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who = hold.who, reason = hold.reason, ?done, "the fleet starts anew on a restored store");
    Ok(v1::PostRestoreReply { epoch: done.epoch.0, denied: done.denied })
}

/// Resumes if `epoch` is the present one and no hold is left after those named (or all that people made) are lifted.
///
/// # Errors
/// If nobody is named, or the store does not answer clearly.
pub async fn resume(fleet: &Fleet, request: v1::ResumeRequest) -> Result<v1::ResumeReply, Status> {
    let v1::ResumeRequest { epoch, who, holds } = request;
    let who = text("who", who)?;
    if holds.len() > HOLDS_MAX {
        return Err(bad(format!("at most {HOLDS_MAX} holds can be lifted at a time")));
    }
    let lift = move |hold: &Hold| match holds.as_slice() {
        [] => hold.kind == HoldKind::Person,
        named => named.contains(&hold.id),
    };
    let done = fleet.resume(Epoch(epoch), &who, lift).await.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who, epoch, ?done, "a resume was asked for");
    let outcome = match done {
        ResumeDone::Resumed { epoch } => Outcome::ResumedEpoch(epoch.0),
        ResumeDone::Refused(ResumeRefusal::OtherEpoch { present }) => Outcome::OtherEpoch(present.0),
        ResumeDone::Refused(ResumeRefusal::AlreadyRunning { present }) => Outcome::AlreadyRunningEpoch(present.0),
        ResumeDone::Refused(ResumeRefusal::Held { by }) => Outcome::Held(v1::HeldBy { holds: by }),
    };
    Ok(v1::ResumeReply { outcome: Some(outcome) })
}

/// Takes exactly one grant away. A key that is no lock's, or another grant of it, is left alone.
///
/// # Errors
/// If no reason is given, or the store does not answer.
pub async fn force_release(fleet: &Fleet, request: v1::ForceReleaseRequest) -> Result<v1::ForceReleaseReply, Status> {
    let v1::ForceReleaseRequest { key, token, who, reason } = request;
    let who = text("who", who)?;
    let reason = text("reason", reason)?;
    let all = fleet.overview().await.map_err(|e| from_fleet(&e))?;
    // The key comes from outside and names what will be deleted: it has to be a lock's.
    let Some(lock) = all.locks.iter().find(|l| l.key == key && l.token == Token(token)) else {
        return Ok(v1::ForceReleaseReply { released: false });
    };
    let done = fleet.force_release(&key, Token(token)).await.map_err(|e| from_fleet(&e))?;
    let released = done == Released::Yes;
    tracing::warn!(who, reason, lock = lock.shown, session = %lock.session, token, released, "a lock was taken away");
    Ok(v1::ForceReleaseReply { released })
}

pub(crate) fn text(field: &str, value: String) -> Result<String, Status> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err(bad(format!("`{field}` is empty: say it, it is recorded and shown to the others")));
    }
    if trimmed.len() > TEXT_BYTES_MAX {
        return Err(bad(format!("`{field}` is longer than {TEXT_BYTES_MAX} bytes: shorten it")));
    }
    Ok(if trimmed.len() == value.len() { value } else { trimmed.to_owned() })
}

//! Every call that was let through, by the true time: its session's lease was sure to last, the fleet could not have been paused
//! for longer than a permit counts, and its locks were nobody else's. And every session went when its lease was over.

use std::collections::HashMap;

use rr_core::time::{BootTime, Span};
use rr_store::Revision;

use crate::check::{Rule, Violation};
use crate::facts::{End, Facts, Life};
use crate::record::{Call, Deed, History, Outcome, Pass};

/// When the store acknowledged that a session lives.
struct Beat {
    answered: BootTime,
    sent: BootTime,
}

pub(crate) fn check(history: &History, facts: &Facts, found: &mut Vec<Violation>) {
    let beats = beats(history);
    let pauses = pauses(history, facts);
    let rivals = rivals(history, facts);
    for pass in &history.passes {
        let judged = [
            before_the_cut_off(history, &beats, pass),
            before_the_pause_reached(history, &pauses, pass),
            on_its_own_locks(facts, &rivals, pass),
        ];
        found.extend(judged.into_iter().filter_map(Result::err));
    }
    nothing_is_left(history, facts, found);
}

fn acknowledged(call: &Call) -> bool {
    matches!((&call.deed, &call.outcome), (_, Outcome::Alive | Outcome::Registered { .. }))
}

/// For each session, by the time of the answer: the latest sending that had been answered by then.
fn beats(history: &History) -> HashMap<&str, Vec<Beat>> {
    let mut all: HashMap<&str, Vec<Beat>> = HashMap::new();
    for call in history.calls.iter().filter(|call| acknowledged(call)) {
        if let (Some(sid), Some(answered)) = (&call.session, call.answered) {
            all.entry(sid.as_str()).or_default().push(Beat { answered, sent: call.invoked });
        }
    }
    for beats in all.values_mut() {
        beats.sort_by_key(|beat| beat.answered);
        let mut latest = BootTime::default();
        for beat in beats {
            latest = latest.max(beat.sent);
            beat.sent = latest;
        }
    }
    all
}

fn violation(rule: Rule, revision: Revision, why: String) -> Result<(), Violation> {
    Err(Violation { rule, revision, why })
}

/// By the latest keep-alive that had been answered then, counted from its sending.
fn before_the_cut_off(history: &History, beats: &HashMap<&str, Vec<Beat>>, pass: &Pass) -> Result<(), Violation> {
    let beats = beats.get(pass.session.as_str()).map_or(&[][..], Vec::as_slice);
    let heard = beats.partition_point(|beat| beat.answered <= pass.at);
    let sent = heard.checked_sub(1).map(|last| beats[last].sent);
    match sent {
        Some(sent) if pass.at.since(sent) < history.timing.cut_off => Ok(()),
        _ => violation(Rule::CutOff, 0, format!("{pass:?}, and the last keep-alive was sent at {sent:?}")),
    }
}

/// Each epoch that a pause ended, and when the pause was acknowledged.
fn pauses(history: &History, facts: &Facts) -> HashMap<u64, BootTime> {
    let mut all: HashMap<u64, BootTime> = HashMap::new();
    for call in &history.calls {
        let ended = match &call.outcome {
            Outcome::Paused { hold, .. } => facts.holds.get(hold).and_then(|revision| last_run(facts, *revision)),
            // Nothing could be written: the epoch is still the one that was running.
            Outcome::PausedBare { epoch } => Some(epoch.0),
            _ => None,
        };
        if let (Some(epoch), Some(answered)) = (ended, call.answered) {
            all.entry(epoch).and_modify(|at| *at = (*at).min(answered)).or_insert(answered);
        }
    }
    all
}

/// The epoch of the last permit at or before a revision.
fn last_run(facts: &Facts, revision: Revision) -> Option<u64> {
    let after = facts.permit.partition_point(|running| running.since <= revision);
    facts.permit[..after].iter().rev().find(|running| running.running).map(|running| running.epoch)
}

fn before_the_pause_reached(history: &History, pauses: &HashMap<u64, BootTime>, pass: &Pass) -> Result<(), Violation> {
    match pauses.get(&pass.epoch.0) {
        Some(paused) if pass.at.since(*paused) > history.timing.permit_fresh => {
            violation(Rule::PauseReaches, 0, format!("{pass:?}, and the pause was acknowledged at {paused:?}"))
        }
        _ => Ok(()),
    }
}

/// When each lock was told to its holder.
struct Rival<'a> {
    life: &'a Life,
    token: Revision,
    told: BootTime,
}

fn rivals<'a>(history: &'a History, facts: &'a Facts) -> HashMap<&'a str, Vec<Rival<'a>>> {
    let mut all: HashMap<&str, Vec<Rival<'_>>> = HashMap::new();
    for call in &history.calls {
        let (Outcome::Granted { locks, .. }, Some(told)) = (&call.outcome, call.answered) else { continue };
        for lock in locks {
            if let Some(life) = facts.holders.get(&(lock.key.clone(), lock.token.0)) {
                all.entry(life.repo.as_str()).or_default().push(Rival { life, token: lock.token.0, told });
            }
        }
    }
    all
}

/// Nobody passes on a lock that went with his lease once somebody else was told that it is his. What was taken away by force
/// may be used until that is known, and what was given back is the giver's own affair.
fn on_its_own_locks(facts: &Facts, rivals: &HashMap<&str, Vec<Rival<'_>>>, pass: &Pass) -> Result<(), Violation> {
    for (key, token) in &pass.locks {
        let Some(life) = facts.holders.get(&(key.clone(), token.0)) else {
            return violation(Rule::PassesWithLock, token.0, format!("{pass:?} on a lock that never was"));
        };
        let Some((ended, End::Session)) = life.ended else { continue };
        let others = rivals.get(life.repo.as_str()).into_iter().flatten();
        let mut later = others.filter(|r| r.token > ended && r.told <= pass.at && r.life.session != life.session);
        if let Some(rival) = later.find(|rival| rival.life.claimed.excludes(&life.claimed)) {
            let why = format!("{pass:?}, and {} had it with token {}", rival.life.session, rival.token);
            return violation(Rule::PassesWithLock, ended, why);
        }
    }
    Ok(())
}

/// From the last call that may have renewed its lease, a session has the lease's time and the grace, not more.
fn nothing_is_left(history: &History, facts: &Facts, found: &mut Vec<Violation>) {
    let mut last: HashMap<&str, BootTime> = HashMap::new();
    for call in &history.calls {
        let renews = acknowledged(call) || matches!(call.deed, Deed::KeepAlive | Deed::Register);
        if let (true, Some(sid)) = (renews, &call.session) {
            // A request that nobody heard the answer to may have arrived late.
            let at = call.answered.unwrap_or(call.invoked + LATE);
            last.entry(sid.as_str()).and_modify(|known| *known = (*known).max(at)).or_insert(at);
        }
    }
    for (sid, life) in &facts.sessions {
        let Some(heard) = last.get(sid.as_str()) else { continue };
        let due = *heard + history.timing.lease + history.grace;
        let (revision, went) = life.ended.unwrap_or((life.created, history.until));
        if went > due {
            let why = format!("session {sid} was there at {went:?}; its lease and the grace were over at {due:?}");
            found.push(Violation { rule: Rule::NothingLeft, revision, why });
        }
    }
}

/// A request without an answer may have been on its way for so long.
const LATE: Span = Span::from_secs(5);

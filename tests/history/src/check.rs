//! The judgement: every rule by name, and the one function that applies them all.

use std::fmt;

use rr_core::time::BootTime;
use rr_store::{Revision, WatchEvent};

use crate::facts::Facts;
use crate::record::History;
use crate::{account, entitled, replay, watched};

/// What was promised (lock-protocol §9), and so what can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two sessions never hold what excludes each other, at any revision.
    Exclusive,
    /// Conflicting requests are first come, first served.
    FirstCome,
    /// Locks, places in line and records go with their session, in one revision.
    GoesWithSession,
    /// A grant belongs to the present generation.
    Generation,
    /// One live session a slot.
    Slot,
    /// The epoch rises with each pause and resume, and a fleet with holds does not run.
    Permit,
    /// What can be read of the store at all.
    Readable,
    /// What was acknowledged is in the history, at its revision, with its effect.
    Acknowledged,
    /// What was answered as not done, or by nobody asked for, is not in the history.
    NotDone,
    /// A token is its holder's create revision and is told once.
    Token,
    /// A lock goes by its holder's hand, by force, or with its session.
    NotTaken,
    /// A resume lifts only the pause that it names.
    ResumeNamesItsPause,
    /// No reply shows an older store than an earlier one.
    NeverOlder,
    /// Left-overs are told to those in whose scope they lie.
    LeftOvers,
    /// No call passes after the cut-off.
    CutOff,
    /// No call passes later than a pause and the longest age of a permit.
    PauseReaches,
    /// No call passes on a lock that is another's by now.
    PassesWithLock,
    /// A session's keys go when its lease is over.
    NothingLeft,
    /// A watch tells every change, in order.
    WatchTellsAll,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// 0 if it is about no revision in particular.
    pub revision: Revision,
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at revision {}: {}", self.rule, self.revision, self.why)
    }
}

/// How much there was to judge: a history in which nothing happened proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub revisions: usize,
    pub calls: usize,
    pub unknown: usize,
    pub grants: usize,
    pub waits: usize,
    pub sessions: usize,
    pub pauses: usize,
    pub passes: usize,
}

/// More are not worth reading.
const VIOLATIONS_MAX: usize = 20;

/// Judges a history.
///
/// # Errors
/// The promises that it breaks, the first ones first.
pub fn check(history: &History) -> Result<Report, Vec<Violation>> {
    let mut found = Vec::new();
    let events = history.events.iter().map(|seen| (&seen.event, seen.at));
    let walked = replay::walk(&history.prefix, events, &mut found);
    walked.compare(&history.last, &mut found);
    let facts = walked.facts;
    account::check(history, &facts, &mut found);
    entitled::check(history, &facts, &mut found);
    watched::check(history, &mut found);
    if found.is_empty() {
        return Ok(report(history, &facts));
    }
    found.sort_by_key(|violation| violation.revision);
    found.truncate(VIOLATIONS_MAX);
    Err(found)
}

/// Judges what must hold at every revision, whatever anybody was told.
///
/// # Errors
/// The first promise that is broken.
pub fn check_revisions(prefix: &str, events: &[WatchEvent]) -> Result<(), Violation> {
    let mut found = Vec::new();
    replay::walk(prefix, events.iter().map(|event| (event, BootTime::default())), &mut found);
    found.into_iter().next().map_or(Ok(()), Err)
}

fn report(history: &History, facts: &Facts) -> Report {
    use crate::record::Outcome;
    let calls = |is: fn(&Outcome) -> bool| history.calls.iter().filter(|call| is(&call.outcome)).count();
    Report {
        revisions: history.events.len(),
        calls: history.calls.len(),
        unknown: calls(|outcome| matches!(outcome, Outcome::Unknown)),
        grants: calls(|outcome| matches!(outcome, Outcome::Granted { .. })),
        waits: facts.waits,
        sessions: facts.sessions.len(),
        pauses: calls(|outcome| matches!(outcome, Outcome::Paused { .. } | Outcome::PausedBare { .. })),
        passes: history.passes.len(),
    }
}

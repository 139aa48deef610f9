//! One question to sidecars and its answers: of all hosts within a time, with a line for each that does not answer;
//! or of one, where it matters whether it acted. Of an order that nobody took up in time it is made sure that nobody
//! ever does.

use std::collections::BTreeMap;

use rr_core::id::HostId;
use rr_core::time::Span;
use rr_fleet::{Asking, Closed, Fleet, FleetError, Heard, HowFar};
use rr_proto::v1::answer::What as Said;
use rr_proto::v1::ask::What;
use rr_proto::{pack, unpack, v1};
use rr_runtime::errors::chain;
use tonic::Status;

use super::words::{self, Order};
use crate::refusal::from_fleet;

/// A sidecar that runs takes a question up within a moment.
const TAKE_UP_WAIT: Span = Span::from_secs(5);
/// A question stays a little longer than it is waited for, so that its end is its asker's to say.
const TTL_SLACK: Span = Span::from_secs(10);

/// What all hosts said.
pub(super) struct Answers {
    pub(super) said: Vec<HostAnswer>,
    /// Hosts that should have answered and did not.
    pub(super) missing: Vec<MissingHost>,
}

pub(super) struct HostAnswer {
    pub(super) host: HostId,
    pub(super) name: String,
    pub(super) what: Said,
}

pub(super) struct MissingHost {
    pub(super) host: HostId,
    pub(super) name: String,
    pub(super) why: String,
}

/// Asks all hosts.
pub(super) async fn all(fleet: &Fleet, what: What, who: &str, wait: Span) -> Result<Answers, Status> {
    let ask = pack(&v1::Ask { what: Some(what) });
    let until = fleet.clock().now() + wait;
    let mut asking = fleet.ask_hosts(None, ask, who, wait + TTL_SLACK).await.map_err(|e| from_fleet(&e))?;
    let mut heard = BTreeMap::new();
    while !has_heard_all(&asking) {
        match asking.next(until).await {
            Ok(Some(Heard::Answered { host, answer })) => drop(heard.insert(host, answer)),
            Ok(Some(Heard::TakenUp { .. })) => {}
            Ok(None) => break,
            Err(error) => return Err(from_fleet(&error)),
        }
    }
    let answers = sorted(&asking, &heard, wait);
    asking.over().await;
    Ok(answers)
}

/// Whether nobody is left to wait for: all who are known to have something to say, and all who took it up, have
/// answered.
fn has_heard_all(asking: &Asking) -> bool {
    let mut known = asking.hosts().iter().filter(|host| host.denied.is_none());
    let nobody_is_known = asking.hosts().is_empty() && asking.taken_up().next().is_none();
    !nobody_is_known
        && known.all(|known| asking.how_far(&known.host) == HowFar::Answered)
        && asking.taken_up().all(|(_, far)| far == HowFar::Answered)
}

fn sorted(asking: &Asking, heard: &BTreeMap<HostId, Vec<u8>>, wait: Span) -> Answers {
    let (mut said, mut missing) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<HostId, String> = BTreeMap::new();
    for known in asking.hosts() {
        let (host, name) = (known.host.clone(), known.name.clone());
        names.insert(host.clone(), name.clone());
        let shown = words::host(&host, &name);
        let why = match (&known.denied, asking.how_far(&host)) {
            (Some(denial), _) => words::denied(&shown, denial),
            (None, HowFar::NotTakenUp) => words::nobody_there(&shown),
            (None, HowFar::TakenUp | HowFar::Answered) => continue,
        };
        missing.push(MissingHost { host, name, why });
    }
    let out: Vec<HostId> = missing.iter().map(|gone| gone.host.clone()).collect();
    for (host, _) in asking.taken_up().filter(|(host, _)| !out.contains(host)) {
        let (host, name) = (host.clone(), names.get(host).cloned().unwrap_or_default());
        let shown = words::host(&host, &name);
        match heard.get(&host).map(|answer| read(answer)) {
            Some(Some(what)) => said.push(HostAnswer { host, name, what }),
            Some(None) => missing.push(MissingHost { host, name, why: words::unreadable(&shown) }),
            None => missing.push(MissingHost { host, name, why: words::no_answer_yet(&shown, wait) }),
        }
    }
    Answers { said, missing }
}

fn read(answer: &[u8]) -> Option<Said> {
    unpack::<v1::Answer>(answer).ok()?.what
}

/// Why an order to one host has no answer.
pub(super) enum NoAnswer {
    /// It was not carried out, and will not be.
    NotDone { why: Status },
    /// It may have been.
    Unknown { shown: String, why: String },
}

impl NoAnswer {
    pub(super) fn status(self, order: &Order) -> Status {
        match self {
            Self::NotDone { why } => Status::new(why.code(), format!("{}; {}", why.message(), order.nothing_done)),
            Self::Unknown { shown, why } => {
                Status::deadline_exceeded(format!("{why}; it is not known what came of it on {shown}: {}", order.look))
            }
        }
    }

    /// A question whose putting is unclear may be open until its time is over.
    fn not_put(error: &FleetError, shown: String) -> Self {
        if error.is_outage() {
            Self::Unknown { shown, why: chain(error) }
        } else {
            Self::NotDone { why: from_fleet(error) }
        }
    }
}

/// Asks one host to do something.
pub(super) async fn one(
    fleet: &Fleet,
    host: &HostId,
    what: What,
    who: &str,
    wait: Span,
) -> Result<HostAnswer, NoAnswer> {
    let ask = pack(&v1::Ask { what: Some(what) });
    let ttl = TAKE_UP_WAIT + wait + TTL_SLACK;
    let asked = fleet.ask_hosts(Some(host), ask, who, ttl).await;
    let mut asking = asked.map_err(|e| NoAnswer::not_put(&e, words::host(host, "")))?;
    let known = asking.hosts().first().cloned();
    let name = known.as_ref().map(|known| known.name.clone()).unwrap_or_default();
    let shown = words::host(host, &name);
    if let Some(denial) = known.and_then(|known| known.denied) {
        asking.over().await;
        return Err(NoAnswer::NotDone { why: Status::failed_precondition(words::denied(&shown, &denial)) });
    }
    let answer = hear_one(fleet, &mut asking, host, &shown, wait).await;
    asking.over().await;
    let answer = answer?;
    let unreadable = || NoAnswer::Unknown { why: words::unreadable(&shown), shown: shown.clone() };
    let what = read(&answer).ok_or_else(unreadable)?;
    Ok(HostAnswer { host: host.clone(), name, what })
}

async fn hear_one(
    fleet: &Fleet,
    asking: &mut Asking,
    host: &HostId,
    shown: &str,
    wait: Span,
) -> Result<Vec<u8>, NoAnswer> {
    match asking.next(fleet.clock().now() + TAKE_UP_WAIT).await {
        Ok(Some(Heard::Answered { answer, .. })) => return Ok(answer),
        Ok(Some(Heard::TakenUp { .. })) => {}
        // Nobody yet, or the store does not say: from here on nobody shall, and whoever did is known.
        Ok(None) | Err(_) => match asking.close().await {
            Ok(Closed::Settled) if asking.how_far(host) == HowFar::NotTakenUp => {
                return Err(NoAnswer::NotDone { why: Status::unavailable(words::nobody_there(shown)) });
            }
            Ok(Closed::Settled) => {}
            Ok(Closed::Lapsed) => {
                let why = "the question ended before its asker heard of it".to_owned();
                return Err(NoAnswer::Unknown { shown: shown.to_owned(), why });
            }
            Err(error) => return Err(NoAnswer::Unknown { shown: shown.to_owned(), why: chain(&error) }),
        },
    }
    let until = fleet.clock().now() + wait;
    loop {
        match asking.next(until).await {
            Ok(Some(Heard::Answered { answer, .. })) => return Ok(answer),
            Ok(Some(Heard::TakenUp { .. })) => {}
            Ok(None) => {
                return Err(NoAnswer::Unknown { shown: shown.to_owned(), why: words::no_answer_yet(shown, wait) });
            }
            Err(error) => return Err(NoAnswer::Unknown { shown: shown.to_owned(), why: chain(&error) }),
        }
    }
}

//! `rrctl incident`: breaks of branches that everybody builds on, and a person's word about one. What an order comes to
//! is the watcher's to do; here it is given.

use jiff::tz::TimeZone;
use rr_proto::v1;
use rr_proto::v1::order_incident_reply::Outcome;
use rr_proto::v1::order_incident_request::Order;
use serde_json::json;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::follow::{More, follow};
use crate::hand::Hand;
use crate::out;
use crate::pick;
use crate::publish::Pusher;
use crate::sidecar;
use crate::table::plain;
use crate::view::short;
use crate::watch::incident::{is_open, rows, show, view, whole_view};
use crate::watch::only_a_person;

/// How many that are over are listed.
const PAST_DEFAULT: u32 = 10;
/// As many are looked at for an id that was typed.
const PAST_MAX: u32 = 1_000;

/// Show breaks of the branch that everybody builds on, and say what is to be done about one
///
/// When the branch turns red, the fleet is paused, the change that did it is searched and proven, reverted, checked,
/// and the fleet goes on. Where that cannot be done by itself, a person is asked: `show` says what is known and what to
/// type.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(List),
    Show(Show),
    Resolve(Resolve),
    HandOver(HandOver),
    Claim(Claim),
    GiveBack(GiveBack),
    Dismiss(Dismiss),
}

/// List the incidents that are open, and the last ones that are over
#[derive(Debug, clap::Args)]
struct List {
    /// How many that are over
    #[arg(long, value_name = "N", default_value_t = PAST_DEFAULT)]
    past: u32,
}

/// Show one incident: suspects, each build of the search, the proof, the revert, what happened, and what to type next
#[derive(Debug, clap::Args)]
struct Show {
    /// The id that `rrctl incident list` shows, or the begin of it
    id: String,
    /// Show it again after each change, until it is over; with --json one line a change
    #[arg(long)]
    watch: bool,
}

/// Settle an incident: have the revert done that is prepared, or say how you have mended it
///
/// With --reason it is closed, and the fleet goes on unless something else holds it.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("how").required(true))]
struct Resolve {
    /// The id that `rrctl incident list` shows, or the begin of it
    id: String,
    /// Do the revert that is proposed
    #[arg(long, group = "how")]
    revert: bool,
    /// It is mended, in this way: it is recorded
    #[arg(long, value_name = "TEXT", group = "how")]
    reason: Option<String>,
}

/// Give an incident to a session: it mends the branch, and may work while the others are paused
#[derive(Debug, clap::Args)]
struct HandOver {
    /// The id that `rrctl incident list` shows, or the begin of it
    id: String,
    /// The begin of the session's id, or the agent's own name for it
    #[arg(long, value_name = "SESSION")]
    to: String,
}

/// Take up the repair of an incident, as an agent: only in an agent's own shell
///
/// While the watcher's pause stops everybody, the session that has the repair goes on. One has it at a time; a person's
/// pause stops it too. It can be claimed when the watcher has left the repair to others.
#[derive(Debug, clap::Args)]
struct Claim {
    /// The id that the pause names, or the begin of it
    id: String,
}

/// Give the repair of an incident back, as the agent that has it
#[derive(Debug, clap::Args)]
struct GiveBack {
    /// The id that the pause names, or the begin of it
    id: String,
}

/// Say that an incident is none: nothing more is done about it, and the fleet goes on
#[derive(Debug, clap::Args)]
struct Dismiss {
    /// The id that `rrctl incident list` shows, or the begin of it
    id: String,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    match &args.what {
        What::List(args) => list(args, hand).await,
        What::Show(args) => look(args, hand).await,
        What::Resolve(Resolve { id, revert: true, .. }) => order(hand, id, Word::Revert).await,
        What::Resolve(args) => order(hand, &args.id, Word::Resolve(args.reason.clone().unwrap_or_default())).await,
        What::HandOver(args) => order(hand, &args.id, Word::HandOver(args.to.clone())).await,
        What::Claim(Claim { id }) => repair(hand, "claim", id),
        What::GiveBack(GiveBack { id }) => repair(hand, "give-back", id),
        What::Dismiss(args) => order(hand, &args.id, Word::Dismiss(args.reason.clone())).await,
    }
}

async fn list(args: &List, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    let reply = door.incidents(v1::ListIncidentsRequest { past: args.past }).await?;
    let now = reply.now_unix_ms;
    let views: Vec<_> = reply.incidents.iter().map(|incident| view(incident, now)).collect();
    hand.answer(&json!({ "incidents": views, "now_unix_ms": now }), || listed(&reply.incidents, now))
}

fn listed(incidents: &[v1::Incident], now: u64) -> String {
    let open = incidents.iter().filter(|incident| is_open(incident)).count();
    let mut text = match open {
        0 => "No incident is open.\n".to_owned(),
        _ => String::new(),
    };
    if !incidents.is_empty() {
        text.push_str(&rows(incidents, now, out::columns()));
    }
    if let Some(first) = incidents.iter().find(|incident| is_open(incident)) {
        text.push_str(&format!("\nWhat is known of one: rrctl incident show {}\n", plain(short(&first.id))));
    }
    text
}

async fn look(args: &Show, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    let id = find(&mut door, &args.id).await?.id;
    let request = v1::ShowIncidentRequest { id };
    let zone = TimeZone::system();
    let tell = |reply: &v1::IncidentReply| {
        let (incident, now) = (known(reply)?, reply.now_unix_ms);
        hand.answer(&whole_view(incident, now), || show(incident, now, &zone, out::columns()))?;
        Ok(if is_open(incident) { More::ToCome } else { More::Enough })
    };
    if args.watch {
        return follow(door.watch_incident(request).await?, hand, tell).await;
    }
    tell(&door.incident(request).await?).map(drop)
}

fn known(reply: &v1::IncidentReply) -> Result<&v1::Incident, Failure> {
    let unknown = || Failure::new(Kind::Failed, "the daemon gave an answer that this rrctl does not know");
    reply.incident.as_ref().ok_or_else(unknown)
}

/// The one whose id was typed, or the begin of it; open or over.
async fn find(door: &mut Door, wanted: &str) -> Result<v1::Incident, Failure> {
    let reply = door.incidents(v1::ListIncidentsRequest { past: PAST_MAX }).await?;
    pick::incident(&reply.incidents, wanted).cloned()
}

/// What a person says about an incident.
enum Word {
    Revert,
    Resolve(String),
    HandOver(String),
    Dismiss(String),
}

async fn order(hand: &Hand, id: &str, word: Word) -> Result<(), Failure> {
    only_a_person("decide on an incident")?;
    let mut door = Door::to_look(&hand.dirs).await?;
    let incident = find(&mut door, id).await?;
    let (name, told, order) = match word {
        Word::Revert => ("revert", "The revert will be done.".to_owned(), Order::Accept(true)),
        Word::Resolve(reason) => {
            ("resolve", "It will be closed, and the fleet goes on.".to_owned(), Order::Resolve(reason))
        }
        Word::Dismiss(reason) => ("dismiss", "Nothing more will be done about it.".to_owned(), Order::Dismiss(reason)),
        Word::HandOver(wanted) => {
            let to = pick::session(&door.status().await?.sessions, &wanted)?.id.clone();
            ("hand-over", format!("Session {} will be asked to mend it.", short(&to)), Order::HandOver(to))
        }
    };
    let request = v1::OrderIncidentRequest { id: incident.id.clone(), who: hand.who(), order: Some(order) };
    stands(&incident, door.order_incident(request).await?.outcome)?;
    let id = short(&incident.id);
    hand.answer(&json!({ "id": incident.id, "ordered": name, "state": incident.state }), || {
        format!("{told}\nFollow it with: rrctl incident show {} --watch\n", plain(id))
    })
}

/// An agent's own word about the repair: its machine's sidecar knows which session it runs in.
fn repair(hand: &Hand, word: &str, id: &str) -> Result<(), Failure> {
    let Pusher::Agent { session } = Pusher::of_environment() else {
        return Err(Failure::new(Kind::Refused, "only an agent can do that, in its own shell")
            .because("it acts for the session that types it")
            .hint(format!("rrctl incident hand-over {id} --to SESSION")));
    };
    let said = sidecar::repair(&hand.dirs.hook_socket(), &session, word, id)
        .map_err(|why| Failure::new(Kind::Refused, "the repair stays as it was").because(why))?;
    hand.answer(&json!({ "incident": id, "asked": word, "said": said }), || format!("{said}\n"))
}

/// Why an order does not count, if it does not.
fn stands(incident: &v1::Incident, outcome: Option<Outcome>) -> Result<(), Failure> {
    let id = plain(short(&incident.id));
    Err(match outcome {
        Some(Outcome::Ordered(_)) => return Ok(()),
        Some(Outcome::Over(_)) => {
            Failure::new(Kind::Refused, format!("incident {id} is over")).hint(format!("rrctl incident show {id}"))
        }
        Some(Outcome::Refused(why)) => Failure::new(Kind::Refused, format!("incident {id} cannot be settled so"))
            .because(plain(&why))
            .hint(format!("rrctl incident show {id}")),
        // Also what only a newer version says: nothing is known to stand.
        Some(Outcome::Unknown(_)) | None => {
            Failure::new(Kind::NotFound, format!("incident {id} is not known any more")).hint("rrctl incident list")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::incident::tests::incident;

    #[test]
    fn only_an_order_that_stands_is_told_as_given() {
        let told = |outcome| stands(&incident("1a2b"), outcome).map_err(|f| f.kind);
        assert_eq!(told(Some(Outcome::Ordered(true))), Ok(()));
        assert_eq!(told(Some(Outcome::Over(true))), Err(Kind::Refused));
        assert_eq!(told(Some(Outcome::Refused("nothing is prepared".into()))), Err(Kind::Refused));
        assert_eq!(told(Some(Outcome::Unknown(true))), Err(Kind::NotFound));
        assert_eq!(told(None), Err(Kind::NotFound));
    }

    #[test]
    fn a_list_says_when_nothing_is_open_and_which_to_look_at() {
        assert_eq!(listed(&[], 9), "No incident is open.\n");
        let mut two = [incident("1a2b"), incident("3c4d")];
        two[0].state = "resumed".into();
        assert!(listed(&two, 9).ends_with("\nWhat is known of one: rrctl incident show 3c4d3c4d\n"));
        two[1].state = "resumed".into();
        assert!(listed(&two, 9).starts_with("No incident is open.\nID"));
    }
}

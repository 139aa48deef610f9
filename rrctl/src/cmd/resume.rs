//! `rrctl resume`: ends one pause, the one whose epoch is named. It works without a daemon, as `pause-all` does.

use rr_proto::v1;
use rr_proto::v1::resume_reply::Outcome;
use serde_json::json;

use super::pause_all::resume_command;
use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Let a paused fleet run again
///
/// The epoch says which pause is meant, so that one made meanwhile is not undone unseen. Reasons that people gave are
/// lifted; a watcher's stays until it lifts it itself or it is named with --hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pause that is meant, as `rrctl status` shows it
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// Lift this reason only (repeat for several)
    #[arg(long, value_name = "ID")]
    hold: Vec<String>,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::open(&hand.dirs).await?;
    let request = v1::ResumeRequest { epoch: args.epoch, who: hand.who(), holds: args.hold.clone() };
    let reply = door.resume(request).await?;
    let (epoch, text) = match reply.outcome {
        Some(Outcome::ResumedEpoch(epoch)) if door.is_daemon() => {
            (epoch, format!("The fleet runs again (epoch {epoch}).\n"))
        }
        Some(Outcome::ResumedEpoch(epoch)) => {
            (epoch, format!("The fleet may run again (epoch {epoch}); no daemon runs here yet: rrctl up --detach\n"))
        }
        Some(Outcome::AlreadyRunningEpoch(epoch)) => (epoch, format!("The fleet runs already (epoch {epoch}).\n")),
        Some(Outcome::OtherEpoch(present)) => return Err(other_epoch(&mut door, args.epoch, present).await),
        Some(Outcome::Held(by)) => return Err(held(args.epoch, &by.holds)),
        None => return Err(Failure::new(Kind::Failed, "the daemon gave an answer that this rrctl does not know")),
    };
    let resumed = matches!(reply.outcome, Some(Outcome::ResumedEpoch(_)));
    hand.answer(&json!({ "resumed": resumed, "epoch": epoch }), || text)
}

/// Says whether there is anything left to resume, and with which command.
async fn other_epoch(door: &mut Door, named: u64, present: u64) -> Failure {
    let failure = Failure::new(Kind::Refused, format!("epoch {named} is not the present one: that is {present}"));
    let run = door.status().await.ok().and_then(|picture| picture.run);
    match run {
        Some(run) if !run.paused => failure.because("somebody resumed the fleet before: it runs").hint("rrctl status"),
        _ => failure
            .because("somebody paused or resumed the fleet since")
            .hint(format!("look at the reason (rrctl status), then: {}", resume_command(present))),
    }
}

fn held(epoch: u64, by: &[String]) -> Failure {
    let holds: Vec<&str> = by.iter().filter_map(|hold| hold.split_whitespace().next()).collect();
    let options: String = holds.iter().map(|id| format!(" --hold {id}")).collect();
    Failure::new(Kind::Refused, "the fleet stays paused: other reasons hold it")
        .because(by.join("\n"))
        .hint(format!("to lift them as well: {}{options}", resume_command(epoch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_fleet_names_each_hold_and_the_command_that_lifts_them() {
        let failure = held(4, &["ab12 (watcher w: red)".to_owned(), "cd34 (person kim: lunch)".to_owned()]);
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.text().contains("rrctl resume --epoch 4 --hold ab12 --hold cd34"), "{}", failure.text());
    }
}

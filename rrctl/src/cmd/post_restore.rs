//! `rrctl post-restore`: the step after a restore of the store that only a person can know to be due.

use std::fmt::Write as _;

use rr_proto::v1;
use serde_json::json;

use super::pause_all::resume_command;
use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;

/// Start anew after the store was restored from a snapshot
///
/// A restored store believes the past: who is there, who holds what, whether the fleet runs. This ends all sessions, locks
/// and waits in it, makes every token of before worthless, and pauses the fleet. Agents register again by themselves. Restore
/// with a raised revision and the old range marked compacted (`etcdutl snapshot restore --bump-revision 1000000000
/// --mark-compacted`), type this, look around, then resume. Doing it twice is safe.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Why: it is shown to the agents and to other people
    #[arg(long)]
    reason: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::open(&hand.dirs).await?;
    let request = v1::PostRestoreRequest { who: hand.who(), reason: args.reason.clone() };
    let done = door.post_restore(request).await?;
    let resume = resume_command(done.epoch);
    hand.answer(&json!({ "epoch": done.epoch, "denied": done.denied, "resume": resume }), || said(&done, &resume))
}

fn said(done: &v1::PostRestoreReply, resume: &str) -> String {
    let mut text = format!("Everything of before is ended, and the fleet is paused (epoch {}).\n", done.epoch);
    // Writing to a String cannot fail.
    let _ = match done.denied.as_slice() {
        [] => writeln!(text, "No host is denied. One that was denied after the snapshot must be denied again."),
        hosts => writeln!(
            text,
            "Denied hosts: {}. One that was denied after the snapshot must be denied again.",
            hosts.join(", ")
        ),
    };
    let _ = writeln!(text, "Resume with: {resume}");
    text
}

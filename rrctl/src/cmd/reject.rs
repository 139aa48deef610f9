//! `rrctl reject`: a person's no to one call.

use crate::cmd::approve::{Word, say};
use crate::exit::Failure;
use crate::hand::Hand;

/// Reject a call that waits for approval: its agent is told why
///
/// The same call of the same session stays rejected.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id that `rrctl approvals` shows, or the begin of it
    id: String,
    /// Why: the agent is told, and it is recorded
    #[arg(long)]
    reason: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let said = say(hand, &args.id, Word::Reject, &args.reason).await?;
    hand.answer(&said.json(), || said.text())
}

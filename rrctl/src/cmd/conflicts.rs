//! `rrctl conflicts`: one finding of the overlap, explained.

use rr_proto::v1;

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::pick;
use crate::watch::finding::{explain, explained};

/// Explain one finding that `rrctl overlap` lists
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Explain(Explain),
}

/// Show both sides of a finding: who, where, the hunks, who should give way and why, and what to type next
#[derive(Debug, clap::Args)]
struct Explain {
    /// The id that `rrctl overlap` shows, or the begin of it
    id: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let What::Explain(args) = &args.what;
    let mut door = Door::to_look(&hand.dirs).await?;
    let overlap = door.overlap().await?;
    let id = pick::finding(&overlap.findings, &args.id)?.id.clone();
    let reply = door.explain(v1::ExplainRequest { id }).await?;
    hand.answer(&explained(&reply), || explain(&reply))
}

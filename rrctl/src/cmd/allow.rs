//! `rrctl allow`: lets a host in again that was shut out.

use rr_proto::v1;
use serde_json::json;

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::pick;

/// Let a host in again that was shut out
///
/// Its agents register anew with their next call. If its certificate ended meanwhile, it needs a new token.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or id, as `rrctl hosts` shows it
    host: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::open(&hand.dirs).await?;
    let host = pick::host(&door.hosts().await?.hosts, &args.host)?;
    let done = door.allow(v1::AllowRequest { host: host.id.clone(), who: hand.who() }).await?;
    hand.answer(&json!({ "host_id": host.id, "allowed": done.allowed }), || {
        let name = crate::cmd::host(&host);
        if done.allowed { format!("{name} is let in again.\n") } else { format!("{name} was not shut out.\n") }
    })
}

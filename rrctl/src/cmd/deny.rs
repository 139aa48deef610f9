//! `rrctl deny`: shuts a host out of the fleet.

use rr_proto::v1;
use serde_json::json;

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::pick;

/// Shut a host out of the fleet: its sessions end, their locks go, and it gets no new certificate
///
/// It works whatever certificate the host has, until `rrctl allow`. The next holder of each of its files is told to look first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or id, as `rrctl hosts` shows it
    host: String,
    /// Why: its agents are told, and it is recorded
    #[arg(long)]
    reason: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::open(&hand.dirs).await?;
    let host = pick::host(&door.hosts().await?.hosts, &args.host)?;
    let request = v1::DenyRequest { host: host.id.clone(), who: hand.who(), reason: args.reason.clone() };
    let done = door.deny(request).await?;
    let json = json!({ "host_id": host.id, "already": done.already, "sessions_ended": done.sessions_ended });
    hand.answer(&json, || {
        let again = if done.already { " It was shut out before; the earlier reason stays." } else { "" };
        format!("{} is shut out; {} of its sessions ended.{again}\n", crate::cmd::host(&host), done.sessions_ended)
    })
}

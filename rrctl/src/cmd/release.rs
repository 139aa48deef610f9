//! `rrctl release`: takes one lock from its holder. Which one is meant is `pick`'s to say; what happens then, the fleet's.

use rr_proto::v1;
use serde_json::json;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::pick;
use crate::table::{age, plain};
use crate::view::{FleetView, short};

/// Take a lock away from the session that holds it
///
/// The holder is denied its next change of that file, and the next holder is told to look at the file first. A session that
/// has died loses its locks by itself within a minute; this is for one that lives and does not let go.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Required: the holder may be in the middle of an edit
    #[arg(long, required = true)]
    force: bool,
    /// Why: it is recorded
    #[arg(long)]
    reason: String,
    /// A path, a pattern or a !name as `rrctl locks` shows it, or a key from `rrctl locks --json`
    lock: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    let view = FleetView::of(door.status().await?);
    let lock = pick::lock(&view.locks, &args.lock)?;
    let order = v1::ForceReleaseRequest {
        key: lock.key.clone(),
        token: lock.token,
        who: hand.who(),
        reason: args.reason.clone(),
    };
    if !door.force_release(order).await?.released {
        return Err(Failure::new(Kind::NotFound, format!("{} was given back just now", lock.lock)).hint("rrctl locks"));
    }
    let json = json!({ "released": true, "lock": lock });
    hand.answer(&json, || {
        let (session, age) = (short(&lock.session), age(lock.age_ms));
        let host = lock.host_shown.as_deref().unwrap_or("a host that is not known");
        plain(&format!(
            "Took {} from session {session} ({} on {host}), which held it for {age}.",
            lock.lock, lock.agent
        )) + "\n"
    })
}

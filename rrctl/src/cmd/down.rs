//! `rrctl down`: ends the daemon by its verified pid. What the end does is in `crate::up`.

use std::time::Duration;

use serde_json::json;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::process::Daemon;

/// Stop the daemon of this machine
///
/// Calls under way are answered first. Agents whose daemon is stopped are denied changes until it runs again; the next
/// call of a hook starts it. To stop the agents, use `rrctl pause-all`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait until it is gone, at most this many seconds
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "10")]
    wait: Option<u64>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let Some(daemon) = Daemon::find(&hand.dirs.pid_file()) else {
        return hand.answer(&json!({ "pid": null, "gone": true }), || "No daemon runs.\n".to_owned());
    };
    let pid = daemon.pid;
    let gone = daemon.end(args.wait.map(Duration::from_secs));
    let gone = gone.map_err(|e| Failure::at(format!("stop the daemon (pid {pid})"), &e))?;
    if args.wait.is_some() && !gone {
        return Err(Failure::new(Kind::Failed, format!("the daemon (pid {pid}) still runs"))
            .because("it was asked to end and has not yet")
            .hint("wait longer with --wait 60; its log says what it does"));
    }
    hand.answer(&json!({ "pid": pid, "gone": gone }), || match gone {
        true => format!("The daemon is gone (pid {pid}).\n"),
        false => format!("The daemon was asked to end (pid {pid}). Before it is started again: rrctl down --wait\n"),
    })
}

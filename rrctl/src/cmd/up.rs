//! `rrctl up`: in the foreground, or started into the background by `detach`. What runs is in `crate::up`.

use rr_runtime::config::{MachineConfig, StoreKind};
use serde_json::json;

use crate::detach::{self, Started};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::process::Place;
use crate::up;

/// Start the daemon of this machine: sidecar, coordinator and watcher in one process
///
/// In the foreground it logs to the terminal and ends with Ctrl-C. `--detach` starts it in the background and returns once
/// it answers; its log is daemon.log in the state folder. A second one refuses (exit 4).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start it in the background and return once it answers
    #[arg(long)]
    detach: bool,
    /// With --detach: return at once
    #[arg(long, requires = "detach")]
    no_wait: bool,
    /// What `--detach` starts.
    #[arg(long, hide = true, conflicts_with = "detach")]
    background: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    if args.detach {
        return detached(args, hand);
    }
    rr_runtime::program::with_lean_malloc();
    if args.background {
        detach::leave_session()?;
    }
    rr_runtime::program::prepare(&hand.dirs)?;
    let log = args.background.then(|| hand.dirs.log_file());
    rr_runtime::telemetry::init("info", log.as_deref()).map_err(|e| Failure::at("set up the log", &e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("railroad").build();
    let runtime = runtime.map_err(|e| Failure::at("start the daemon's runtime", &e))?;
    let ended = runtime.block_on(up::run(hand.dirs.clone()));
    ended.map_err(|failure| if args.background { logged(failure) } else { failure })
}

/// In the background there is the log alone. Of two that were started at once one loses, and that is nothing to tell.
fn logged(failure: Failure) -> Failure {
    if failure.kind != Kind::Refused {
        tracing::error!("{}", failure.text().trim_end());
    }
    failure.told()
}

fn detached(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let nobody_looks = detach::nobody_looks();
    if nobody_looks && sidecar_is_its_own(hand) {
        return Err(Failure::new(Kind::Refused, "this machine's sidecar is a program of its own")
            .hint("start it: systemctl start rr-sidecar; or rrctl up to run all in one process"));
    }
    let started = detach::start(&hand.dirs, !args.no_wait && !nobody_looks)?;
    if nobody_looks {
        return Ok(());
    }
    let (is_new, text) = match started {
        Started::New => (true, "The daemon runs in the background. Stop it with: rrctl down\n".to_owned()),
        Started::Running { pid } => (false, format!("The daemon runs already (pid {pid}).\n")),
    };
    hand.answer(&json!({ "started": is_new }), || text)
}

/// Whether somebody else sees to it that a sidecar runs here. A hook that finds none for a moment must not put another one
/// in its place.
fn sidecar_is_its_own(hand: &Hand) -> bool {
    Place::is_its_own(&hand.dirs.state, rr_sidecar::app::PROGRAM)
        && MachineConfig::load().is_ok_and(|config| config.store.kind == StoreKind::Etcd)
}

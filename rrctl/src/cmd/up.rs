//! `rrctl up`: in the foreground, or started into the background by `detach`. What runs is in `crate::up`.

use std::os::unix::process::CommandExt as _;

use serde_json::json;

use crate::detach::{self, Started};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
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
    with_one_arena();
    if args.background {
        detach::leave_session()?;
    }
    hand.dirs.prepare().map_err(|e| Failure::at("prepare this user's folders", &e))?;
    let log = args.background.then(|| hand.dirs.log_file());
    rr_runtime::telemetry::init("info", log.as_deref()).map_err(|e| Failure::at("set up the log", &e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("railroad").build();
    let runtime = runtime.map_err(|e| Failure::at("start the daemon's runtime", &e))?;
    let ended = runtime.block_on(up::run(hand.dirs.clone()));
    ended.map_err(|failure| if args.background { logged(failure) } else { failure })
}

/// Begins again with one malloc arena, which glibc reads only at the start of a program. An arena a thread keeps what each once
/// needed: with 50 sessions and 5,000 locks 47-57 MiB instead of 37-39. The pid stays the same.
fn with_one_arena() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(ARENAS, "1").exec();
    tracing::debug!(%error, "went on with the usual arenas");
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

//! `rrctl slot-keeper`: looks after the slot of another process. Not for people: `rrctl run` starts it. What it does is
//! `crate::slots::keeper`'s.

use std::process::{Command, Stdio};

use crate::exit::Failure;
use crate::hand::Hand;
use crate::slots::{Wanted, keeper};

/// Stand in line for a process and look after its slot
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// It is the keeper itself, and nobody's child
    #[arg(long)]
    orphan: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    if !args.orphan {
        return leave_home(&args.wanted);
    }
    // What ends the command's process group must not catch us: the slot is still to be given back.
    let _ = rustix::process::setsid();
    hand.wait_for(keeper::keep(&args.wanted, hand))
}

/// Starts the keeper and ends, so that it is no child of the command's: a program may wait for all of its children.
fn leave_home(wanted: &Wanted) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::at("start the keeper of the slot", &e);
    let program = std::env::current_exe().map_err(failed)?;
    let mut keeper = Command::new(program);
    keeper.args(["slot-keeper", "--orphan"]).args(wanted.words()).stdin(Stdio::null());
    keeper.spawn().map_err(failed)?;
    Ok(())
}

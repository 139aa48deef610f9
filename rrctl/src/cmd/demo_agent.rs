//! `rrctl demo-agent`: one scripted agent as a process of its own. Not for people: `rrctl demo` and the tests start it.

use std::io;
use std::path::PathBuf;

use crate::demo::agent::Agent;
use crate::demo::hook::Hook;
use crate::demo::script;
use crate::demo::steer;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::hookbin;

/// Play one agent: call the hook, obey it, act
///
/// It works in the present folder. What it did is told on standard output, one line of JSON each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session's name
    #[arg(long)]
    session: String,
    /// The hook program; else the one carried in this program is placed and used
    #[arg(long, value_name = "PATH")]
    hook: Option<PathBuf>,
    /// Let the hook start a daemon where none runs
    #[arg(long)]
    starts_daemon: bool,
    /// What to do: a file with a script, or the script itself
    #[arg(long, value_name = "FILE|JSON", required_unless_present = "interactive", conflicts_with = "interactive")]
    script: Option<String>,
    /// Do what standard input says, line by line
    #[arg(long)]
    interactive: bool,
    /// With --script: end as soon as standard input is closed
    #[arg(long, requires = "script")]
    tied: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let project = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let program = match &args.hook {
        Some(program) => program.clone(),
        None => hookbin::place(&hand.dirs.bin_dir()).map_err(|e| Failure::at("place the hook", &e))?,
    };
    let own = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
    let hook = Hook { program, daemon: args.starts_daemon.then_some(own) };
    let mut agent = Agent::new(hook, args.session.clone(), project);
    let ended = match &args.script {
        None => steer::run(&mut agent, io::stdin().lock(), io::stdout().lock()),
        Some(script) => {
            let script = script::load(script)
                .map_err(|e| Failure::new(Kind::Usage, "the script is not understood").because(e))?;
            if args.tied {
                end_with_input();
            }
            script::Player::new(agent, args.session.clone()).play(script)
        }
    };
    ended.map_err(|e| Failure::at("play the agent", &e))
}

/// Whoever started this process holds the other end of its input: when that one is gone, so are we.
fn end_with_input() {
    std::thread::spawn(|| {
        // Nothing is ever written: the end of the copy is the end of the other side.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(i32::from(Kind::Failed.code()));
    });
}

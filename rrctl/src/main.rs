//! `rrctl`: the person's hand on the fleet. What can be typed is in `cli`; each command is a file under `cmd`.

mod always;
mod bisect;
mod cli;
mod client;
mod cmd;
mod demo;
mod detach;
mod door;
mod follow;
mod hand;
mod hookbin;
mod install;
mod journal;
mod out;
mod pick;
mod plan;
mod publish;
mod recover;
mod repo_file;
mod sidecar;
mod slots;
mod table;
mod up;
mod view;
mod watch;

use rr_runtime::{exit, process};

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}

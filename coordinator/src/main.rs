//! `rr-coordinator`: people's and programs' way to the fleet. Next: `app`.

use std::process::ExitCode;

use rr_coordinator::app;
use rr_runtime::program::{self, About};

const ABOUT: About = About {
    name: app::PROGRAM,
    does: "Answers rrctl and other programs about the fleet, and carries out their orders",
    part: app::PART,
    port_step: 1,
    prepare: rr_link::upkeep::start,
};

fn main() -> ExitCode {
    program::run(&ABOUT, app::run_on)
}

//! `rr-sidecar`: the gate beside the agents of one machine. Next: `app`.

use std::process::ExitCode;

use rr_runtime::program::{self, About};
use rr_sidecar::app;

const ABOUT: About = About {
    name: app::PROGRAM,
    does: "Answers the hooks of this machine's agents: which tool call may run, and who holds which lock",
    part: app::PART,
    port_step: 0,
    prepare: rr_link::upkeep::start,
};

fn main() -> ExitCode {
    program::run(&ABOUT, app::run_on)
}

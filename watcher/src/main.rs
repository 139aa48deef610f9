//! `rr-watcher`: one acting leader of a fleet looks for what no single agent can see. Next: `app`.

use std::process::ExitCode;

use rr_runtime::program::{self, About};
use rr_watcher::app;

const ABOUT: About = About {
    name: app::PROGRAM,
    does: "Looks, as the one leader of its fleet, for what no single agent can see",
    part: app::PART,
    port_step: 2,
    prepare: rr_link::upkeep::start,
};

fn main() -> ExitCode {
    program::run(&ABOUT, app::run_on)
}

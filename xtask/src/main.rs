//! The project's verbs, the same by hand and in CI: `cargo xtask test | lint | fmt | bench | demo | install | soak`. Only
//! std, so that it is built in a moment. Each verb is a list of steps in `verbs`; how a step runs is `step`'s, what the
//! system must have first is `system`'s.

mod bench;
mod openings;
mod step;
mod system;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match verbs::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nFAILED: {failed}");
            ExitCode::FAILURE
        }
    }
}

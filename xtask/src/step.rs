//! One step of a verb: a heading, a command in the checkout's root without standard input, and the time it took. A step
//! that fails names itself and the command to type for it alone.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Why a verb ended: in words for the one who typed it.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Outcome = Result<(), Failed>;

/// The steps of one verb, and how long each took.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    times: Vec<(String, Duration, bool)>,
    failed: Vec<Failed>,
}

impl Steps {
    /// Runs a step that the later ones need.
    pub(crate) fn must(&mut self, heading: &str, step: impl FnOnce() -> Outcome) -> Outcome {
        println!("\n==> {heading}");
        let from = Instant::now();
        let outcome = step();
        let took = from.elapsed();
        let word = if outcome.is_ok() { "done" } else { "FAILED" };
        println!("    {word} in {}", seconds(took));
        self.times.push((heading.to_owned(), took, outcome.is_ok()));
        outcome
    }

    /// Runs a step whose failure is told at the end: the others' results are worth having as well.
    pub(crate) fn should(&mut self, heading: &str, step: impl FnOnce() -> Outcome) {
        if let Err(failed) = self.must(heading, step) {
            self.failed.push(failed);
        }
    }

    /// The times, and all failures as one.
    pub(crate) fn end(self) -> Outcome {
        println!("\n==> summary");
        for (heading, took, ok) in &self.times {
            let word = if *ok { "ok" } else { "FAILED" };
            println!("    {word:<6} {:>8}  {heading}", seconds(*took));
        }
        if self.failed.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = self.failed.iter().map(ToString::to_string).collect();
        Err(Failed(all.join("\n        ")))
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// The folder that holds this crate's: cargo names it at run time, so a checkout may be moved.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = PathBuf::from(own);
    own.parent().map_or(own.clone(), PathBuf::from)
}

/// A command in the checkout's root, with nothing to read: nobody may be there to answer.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, args)
}

/// Runs it with its output shown.
pub(crate) fn run(mut command: Command) -> Outcome {
    let shown = shown(&command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed(format!("`{shown}` ended with {status}"))),
        Err(error) => Err(Failed(format!("`{shown}` cannot be started: {error}"))),
    }
}

/// Whether it runs and says yes; its output is dropped.
pub(crate) fn works(mut command: Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// As one would type it, with the plain name of the program.
pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspaces() {
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn a_failed_step_names_the_command_and_the_others_still_run() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.should("first", || run(command("false", &["x"])));
        steps.should("second", || {
            ran = true;
            run(command("true", &[]))
        });
        let failed = steps.end().unwrap_err().to_string();
        assert!(ran && failed.starts_with("`false x` ended with"), "{failed}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_told_as_such() {
        let failed = run(command("no-such-program-here", &[])).unwrap_err().to_string();
        assert!(failed.contains("cannot be started"), "{failed}");
        assert!(!works(command("no-such-program-here", &[])));
    }
}

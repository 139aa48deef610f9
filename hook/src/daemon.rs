//! Starting a sidecar where none listens. Owns how the starter is run and how long its socket is waited for; refuses
//! to know what the starter does. Next: `rrctl up --detach`, which leaves this process's session and returns at once.

use std::env;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::courier;
use crate::guard::Budget;
use crate::socket::Place;
use crate::trouble::Trouble;

/// How often the socket is tried: a small part of what a start takes.
const POLL: Duration = Duration::from_millis(5);

/// Kept back for the request itself once somebody listens.
const REQUEST_RESERVE: Duration = Duration::from_millis(400);

/// Runs `program up --detach` and returns the first connection. `find` is repeated because the folder may be new.
pub(crate) fn start(
    program: &Path,
    budget: Budget,
    find: impl Fn() -> Result<Place, Trouble>,
) -> Result<(Place, UnixStream), Trouble> {
    let failed = |error| Trouble::Daemon { program: program.to_owned(), error };
    let mut child = starter(program).spawn().map_err(failed)?;
    while !budget.left_keeping(REQUEST_RESERVE).is_zero() {
        thread::sleep(POLL);
        // Reaped when it ends; its exit code says nothing, since a second starter loses its race and fails.
        drop(child.try_wait());
        let connected = find().and_then(|place| courier::connect(&place).map(|stream| (place, stream)));
        match connected {
            Err(trouble) if trouble.mended_by_a_start() => {}
            done => return done,
        }
    }
    Err(Trouble::NotUp(program.to_owned()))
}

/// All streams closed off: an agent waits for whoever still holds the hook's stdout. The agent's secrets stay behind,
/// since the sidecar outlives the session and serves others.
fn starter(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["up", "--detach"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_private(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn is_private(name: &str) -> bool {
    let agents_own = ["CLAUDE", "ANTHROPIC_"].iter().any(|prefix| name.starts_with(prefix));
    agents_own || ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"].iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_keys_and_session_do_not_reach_the_sidecar() {
        for name in ["ANTHROPIC_API_KEY", "CLAUDE_CODE_MESSAGING_TOKEN", "CLAUDECODE", "OPENAI_API_KEY", "DB_PASSWORD"]
        {
            assert!(is_private(name), "{name}");
        }
        for name in ["PATH", "HOME", "XDG_RUNTIME_DIR", "RAILROAD_RUNTIME_DIR", "SSH_AUTH_SOCK"] {
            assert!(!is_private(name), "{name}");
        }
    }
}

//! What belongs to the daemon: who owns the store, whether it answers and in which version, and the hook's way to it.

use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rr_runtime::dirs::Dirs;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::Row;
use crate::client::Client;
use crate::exit::Kind;
use crate::hookbin;
use crate::process::Daemon;
use crate::view::FleetView;

/// As the embedded store names it.
const LOCK_FILE: &str = "store.lock";
const LOG_FILE: &str = "store.log";
const DAMAGED: &str = "store.log.damaged-";
const OWNER_BYTES_MAX: u64 = 256;
/// An event that belongs to no call and registers no session, about no file: only the way is measured.
const PROBE: &str = r#"{"hook_event_name":"ConfigChange","session_id":"doctor","cwd":"/"}"#;
const PROBES: usize = 5;
/// The hook's own budget, and a little.
const PROBE_MAX: Duration = Duration::from_secs(3);
/// Agents wait for the hook at every call.
const HOOK_SLOW: Duration = Duration::from_millis(50);

pub(super) fn store(dirs: &Dirs) -> Row {
    const CHECK: &str = "store";
    let path = dirs.store_dir().join(LOCK_FILE);
    let Ok(mut file) = File::open(&path) else { return Row::ok(CHECK, "none yet: the first start makes it") };
    let daemon = Daemon::find(&dirs.pid_file());
    match (file.try_lock_shared(), daemon) {
        (Err(TryLockError::Error(e)), _) => Row::fail(CHECK, format!("{}: {e}", path.display()), "make it readable"),
        (Err(TryLockError::WouldBlock), Some(daemon)) => {
            Row::ok(CHECK, format!("owned by the daemon (pid {})", daemon.pid))
        }
        (Err(TryLockError::WouldBlock), None) => {
            let mut owner = String::new();
            // Without its line the owner stays unnamed.
            let _ = file.by_ref().take(OWNER_BYTES_MAX).read_to_string(&mut owner);
            let owner = owner.trim().to_owned();
            Row::fail(
                CHECK,
                format!("owned by {owner}, which left no pid file"),
                "look at that process; end it if it is stuck",
            )
        }
        (Ok(()), Some(daemon)) => Row::fail(
            CHECK,
            format!("the daemon (pid {}) does not own {}", daemon.pid, dirs.store_dir().display()),
            "it runs with another RAILROAD_STATE_DIR: rrctl down --wait && rrctl up --detach",
        ),
        (Ok(()), None) => match damaged(dirs) {
            Some(kept) => Row::fail(
                CHECK,
                format!("damaged, and kept at {}: no daemon starts", kept.display()),
                "rrctl up says what to do",
            ),
            None => Row::ok(CHECK, "free: no daemon runs"),
        },
    }
}

/// A log that was found damaged and that nobody has taken away: while it lies there no new one is begun.
fn damaged(dirs: &Dirs) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dirs.store_dir()).ok()?.flatten().map(|entry| entry.path());
    let (kept, others): (Vec<_>, Vec<_>) = entries.partition(|path| path.to_string_lossy().contains(DAMAGED));
    let is_settled = others.iter().any(|path| path.ends_with(LOG_FILE));
    if is_settled { None } else { kept.into_iter().max() }
}

pub(super) async fn answers(dirs: &Dirs) -> Vec<Row> {
    const CHECK: &str = "daemon";
    let picture = match Client::connect(&dirs.api_socket()).await {
        Ok(mut client) => client.status().await,
        Err(failure) => Err(failure),
    };
    let view = match picture {
        Ok(picture) => FleetView::of(picture),
        Err(failure) => {
            let text = failure.text().replace('\n', " ");
            let running = Daemon::find(&dirs.pid_file());
            return vec![match running {
                None if failure.kind == Kind::Unreachable => {
                    Row::warn(CHECK, "none runs: the first call of a hook starts it", "rrctl up --detach")
                }
                _ => Row::fail(CHECK, text.trim_end().to_owned(), "rrctl down --wait && rrctl up --detach"),
            }];
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    let version = if view.version == ours {
        Row::ok(CHECK, format!("answers, version {ours}"))
    } else {
        let found = format!("answers, but is version {}; this rrctl is {ours}", view.version);
        Row::warn(CHECK, found, "rrctl down --wait && rrctl up --detach")
    };
    let fleet = if view.paused {
        let todo = super::super::pause_all::resume_command(view.epoch);
        Row::warn("fleet", format!("paused (epoch {}): no agent may act", view.epoch), todo)
    } else {
        Row::ok("fleet", format!("runs (epoch {})", view.epoch))
    };
    vec![version, fleet]
}

pub(super) async fn hook(dirs: &Dirs) -> Row {
    const CHECK: &str = "hook";
    let program = dirs.bin_dir().join("rr-hook");
    if !hookbin::is_current(&program) {
        return Row::fail(CHECK, format!("{} is missing or of another version", program.display()), "rrctl install");
    }
    let socket = dirs.hook_socket();
    if UnixStream::connect(&socket).is_err() {
        return Row::warn(CHECK, format!("in place; nobody answers it on {}", socket.display()), "rrctl up --detach");
    }
    let mut took = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        match probe(&program, &socket).await {
            Ok(time) => took.push(time),
            Err(why) => return Row::fail(CHECK, format!("{}: {why}", program.display()), "rrctl install"),
        }
    }
    took.sort_unstable();
    let median = took[PROBES / 2];
    let found = format!("answered in {median:.1?} (whole process)");
    if median > HOOK_SLOW {
        Row::warn(CHECK, found, "every call of an agent waits for that: look for load on this machine")
    } else {
        Row::ok(CHECK, found)
    }
}

/// One whole run of the hook program against the live socket.
async fn probe(program: &std::path::Path, socket: &std::path::Path) -> Result<Duration, String> {
    let start = Instant::now();
    let mut command = Command::new(program);
    command.args(["--agent", "claude", "--socket"]).arg(socket).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(PROBE.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    match timeout(PROBE_MAX, run).await {
        Err(_) => Err(format!("no answer within {} s", PROBE_MAX.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(output)) if output.status.success() => Ok(start.elapsed()),
        Ok(Ok(output)) => Err(format!("it ended with {}", output.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_damaged_store_is_a_finding_until_somebody_has_taken_it_away() {
        let temp = tempfile::tempdir().expect("folder");
        let dirs = Dirs { state: temp.path().join("state"), runtime: temp.path().join("run") };
        let folder = dirs.store_dir();
        std::fs::create_dir_all(&folder).expect("folder");
        std::fs::write(folder.join(LOCK_FILE), "").expect("written");
        assert_eq!(store(&dirs).state, State::Ok);
        let kept = folder.join(format!("{DAMAGED}1"));
        std::fs::write(&kept, "").expect("written");
        let row = store(&dirs);
        assert!(row.state == State::Fail && row.found.contains(&kept.display().to_string()), "{}", row.found);
        // A store begun since then: the old one is a keepsake.
        std::fs::write(folder.join(LOG_FILE), "").expect("written");
        assert_eq!(store(&dirs).state, State::Ok);
    }
}

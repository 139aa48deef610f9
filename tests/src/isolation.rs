//! Runs one test in a network of its own with nothing but loopback, and in a process tree that dies with it.
//!
//! The test program starts itself again below `unshare` with only the calling test selected, so that agent,
//! scripted model, hooks and sidecar share one loopback and no program needs to know about it.
//! Where the kernel refuses namespaces the test runs as it is and says so; agents then have only the dead
//! proxies of their own environment between them and the network.

use std::ffi::OsStr;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::room::Room;

/// Set for the inner process: the folder of its test.
const ROOM: &str = "RAILROAD_TEST_ROOM";
/// The file in it in which the inner process proves that it really ran the test.
const PROOF: &str = "proof";

/// In order of preference. Killed agents leave shells behind: a process namespace ends them with the test.
const WAYS_IN: [&[&str]; 3] = [
    &["--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"],
    &["--net", "--pid", "--fork", "--mount-proc", "--kill-child"],
    &["--map-root-user", "--net"],
];

/// The shell stays as the first process of the namespace: it reaps orphans as an init would.
const ENTER: &str = r#"ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || exit 97; "$@"; exit $?"#;

/// Runs `story`, a closure written in the body of the calling `#[test]`, without a network.
///
/// # Panics
/// When the story fails, as a test does.
pub fn alone<Story, Done>(story: Story)
where
    Story: FnOnce() -> Done,
    Done: Future<Output = Result<()>>,
{
    alone_as(test_of::<Story>(), story);
}

/// [`alone`] for a wrapper that was given the test's closure by somebody else; the name is from [`test_of`].
///
/// # Panics
/// When the story fails, as a test does.
pub fn alone_as<Story, Done>(test: &str, story: Story)
where
    Story: FnOnce() -> Done,
    Done: Future<Output = Result<()>>,
{
    let outcome = if let Some(room) = room() {
        end_with_the_outer_process();
        prove(&room.join(PROOF)).and_then(|()| play(story))
    } else if let Some(way) = WAYS_IN.into_iter().find(|way| permitted(way)) {
        again_below(way, test)
    } else {
        eprintln!("NOT ISOLATED: {test}: network namespaces are refused here; only dead proxies hold the agent back");
        play(story)
    };
    if let Err(error) = outcome {
        panic!("{test}: {error:#}");
    }
}

/// Whether this process has nothing but loopback around it.
#[must_use]
pub fn walled() -> bool {
    room().is_some()
}

/// The folder that the outer process has made for this test and removes after it; `None` without a wall.
#[must_use]
pub fn room() -> Option<PathBuf> {
    std::env::var_os(ROOM).map(PathBuf::from)
}

/// The name under which the test harness knows the function whose body holds the closure `Story`.
#[must_use]
pub fn test_of<Story>() -> &'static str {
    let full = std::any::type_name::<Story>();
    let function = full.split("::{{closure}}").next().unwrap_or(full);
    function.split_once("::").map_or(function, |(_binary, path)| path)
}

fn play<Done: Future<Output = Result<()>>>(story: impl FnOnce() -> Done) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(async { story().await })
}

fn permitted(way: &[&str]) -> bool {
    unshare(way, "true", &[]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn again_below(way: &[&str], test: &str) -> Result<()> {
    let room = Room::new().context("make the test's folder")?;
    let proof = room.path().join(PROOF);
    let this = std::env::current_exe().context("find the test program")?;
    let mut inner = unshare(way, this, &["--exact", test, "--nocapture"])
        .env(ROOM, room.path())
        .stdin(Stdio::piped())
        .spawn()
        .context("start the test program again")?;
    // Held open until the end: waiting would close it.
    let input = inner.stdin.take();
    let status = inner.wait().context("wait for the inner test program")?;
    drop(input);
    ensure!(status.success(), "failed in its namespace, see above ({status})");
    ensure!(proof.exists(), "no test of this name ran in the namespace: call this from the body of a #[test]");
    Ok(())
}

/// The outer process may be killed: its end of our input closes then, and with us everything in the namespace ends.
fn end_with_the_outer_process() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0; 1]);
        eprintln!("whoever started this test is gone");
        std::process::exit(1);
    });
}

fn unshare(way: &[&str], program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", ENTER, "sh"]).arg(program).args(arguments);
    command
}

/// A misspelt name selects no test and succeeds: only what ran can leave this mark.
fn prove(proof: &Path) -> Result<()> {
    let mut file = std::fs::File::create(proof).context("make the proof file")?;
    file.write_all(b"ran\n").context("write the proof file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_test_is_no_success() {
        if let Some(way) = WAYS_IN.into_iter().find(|way| permitted(way)) {
            let outcome = again_below(way, "isolation::tests::no_such_test");
            assert!(outcome.is_err_and(|error| error.to_string().contains("no test of this name")));
        }
    }
}

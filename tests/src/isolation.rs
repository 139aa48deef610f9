//! Runs one test in a network of its own with nothing but loopback, and in a process tree that dies with it.
//!
//! The test program starts itself again below `unshare` with only the calling test selected, so that agent,
//! scripted model, hooks and sidecar share one loopback and no program needs to know about it.
//! Where the kernel refuses namespaces the test runs as it is and says so; agents then have only the dead
//! proxies of their own environment between them and the network.

use std::ffi::OsStr;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Set for the inner process: the file in which it proves that it really ran the test.
const PROOF: &str = "RAILROAD_TEST_PROOF";

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
    let outcome = if let Some(proof) = std::env::var_os(PROOF) {
        prove(Path::new(&proof)).and_then(|()| play(story))
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
    std::env::var_os(PROOF).is_some()
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
    let proof = tempfile::NamedTempFile::new().context("make the proof file")?;
    let this = std::env::current_exe().context("find the test program")?;
    let status = unshare(way, this, &["--exact", test, "--nocapture"])
        .env(PROOF, proof.path())
        .status()
        .context("start the test program again")?;
    ensure!(status.success(), "failed in its namespace, see above ({status})");
    let proven = std::fs::read(proof.path()).context("read the proof file")?;
    ensure!(!proven.is_empty(), "no test of this name ran in the namespace: call this from the body of a #[test]");
    Ok(())
}

fn unshare(way: &[&str], program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", ENTER, "sh"]).arg(program).args(arguments);
    command
}

/// A misspelt name selects no test and succeeds: only what ran can leave this mark.
fn prove(proof: &Path) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).open(proof).context("open the proof file")?;
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

//! The branch of a remote repository: moved by a push that names where it must stand, and asked where it stands when an answer did
//! not come. Never anything but a fast-forward; no hooks of this machine, no questions to a person, an end in time. Branches of
//! this machine are `local`'s.

use std::ffi::OsStr;
use std::time::Duration;

use rr_core::id::CommitId;

use super::{Landing, Refusal};
use crate::command::Input;
use crate::mirror::ask::{Question, Said, ask};
use crate::mirror::{Mirror, MirrorError};

/// A revert is a few objects; a server's hooks may run a while. After this [`tip`] is asked.
const PUSH_LIMIT: Duration = Duration::from_secs(120);
/// A list of refs, or of a branch's newest commits.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// What ssh may not do: ask.
const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=20";

pub(super) fn land(
    mirror: &Mirror,
    url: &str,
    branch: &str,
    (expected, revert): (&CommitId, &CommitId),
) -> Result<Landing, MirrorError> {
    let full = format!("refs/heads/{branch}");
    // That it is a child of what is expected was checked; with the lease it is a fast-forward, or nothing.
    let said = push(mirror, url, &format!("--force-with-lease={full}:{expected}"), &format!("{revert}:{full}"))?;
    if said.is_ok() {
        // `=`: it was there.
        let is_new = !String::from_utf8_lossy(&said.out).lines().any(|line| line.starts_with("=\t"));
        return Ok(if is_new { Landing::Landed } else { Landing::AlreadyThere });
    }
    // Whatever the push said, where the branch stands is the truth.
    let now = match tip(mirror, url, &full) {
        Ok(now) => now,
        Err(e) => return Ok(Landing::Unreachable { said: format!("{} {e}", said.err).trim().to_owned() }),
    };
    match now {
        None => Ok(Landing::Refused { why: Refusal::NoSuchBranch }),
        Some(now) if now == *revert => Ok(Landing::AlreadyThere),
        Some(now) if now == *expected && said.timed_out => {
            Ok(Landing::Unreachable { said: "no answer in time".into() })
        }
        Some(now) if now == *expected => Ok(Landing::Refused { why: Refusal::Remote { said: reason(&said) } }),
        Some(now) => Ok(match has(mirror, url, &full, revert, &now) {
            Ok(true) => Landing::AlreadyThere,
            Ok(false) => Landing::Moved { tip: now },
            Err(e) => Landing::Unreachable { said: e.to_string() },
        }),
    }
}

/// Where a ref of it stands.
pub(super) fn tip(mirror: &Mirror, url: &str, full: &str) -> Result<Option<CommitId>, MirrorError> {
    let said = run(mirror, &["ls-remote", "--", url, full], LOOK_LIMIT)?.ok(&mirror.dir)?;
    let text = String::from_utf8_lossy(&said).into_owned();
    // A pattern also matches the ends of other names.
    let found = text.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == full);
    found.map(|(id, _)| crate::mirror::combine::commit_of(&mirror.dir, id)).transpose()
}

/// Makes a branch that was not there before. False: there is one with other work.
pub(super) fn keep(mirror: &Mirror, url: &str, full: &str, culprit: &CommitId) -> Result<bool, MirrorError> {
    let said = push(mirror, url, &format!("--force-with-lease={full}:"), &format!("{culprit}:{full}"))?;
    if said.is_ok() {
        return Ok(true);
    }
    match tip(mirror, url, full)? {
        Some(now) if now == *culprit => Ok(true),
        Some(now) => has(mirror, url, full, culprit, &now),
        None => Err(said.failed(&mirror.dir).into()),
    }
}

fn push(mirror: &Mirror, url: &str, lease: &str, what: &str) -> Result<Said, MirrorError> {
    run(
        mirror,
        &["push", "--porcelain", "--no-verify", "--no-progress", "--recurse-submodules=no", lease, "--", url, what],
        PUSH_LIMIT,
    )
}

/// Whether a commit is in a branch's history; its newest commits are fetched for that, and no ref of ours is moved.
fn has(mirror: &Mirror, url: &str, full: &str, commit: &CommitId, tip: &CommitId) -> Result<bool, MirrorError> {
    let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--", url, full];
    run(mirror, &fetch, LOOK_LIMIT)?.ok(&mirror.dir)?;
    Ok(mirror.neutral(&["merge-base", "--is-ancestor", commit.as_str(), tip.as_str()])?.is_ok())
}

fn run(mirror: &Mirror, args: &[&str], limit: Duration) -> Result<Said, MirrorError> {
    // The user's own ways to a remote (credentials, addresses) hold; only questions are turned off where nobody chose another ssh.
    let asks_its_own = std::env::var_os("GIT_SSH_COMMAND").is_some()
        || std::env::var_os("GIT_SSH").is_some()
        || mirror.git(&["config", "core.sshCommand"], &Input::default()).is_ok();
    let env: &[(&str, &OsStr)] = if asks_its_own { &[] } else { &[("GIT_SSH_COMMAND", OsStr::new(SSH))] };
    let input = Input { env, ..Input::default() };
    ask(&mirror.dir, args, &Question { input, limit, is_neutral: false })
}

/// What the other side said, without the progress around it.
fn reason(said: &Said) -> String {
    let report = String::from_utf8_lossy(&said.out).into_owned();
    let rejected = report.lines().filter(|line| line.starts_with('!')).filter_map(|line| line.rsplit('\t').next());
    let told = said.err.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    let lines: Vec<&str> = rejected.chain(told).filter(|line| !line.is_empty()).take(REASON_LINES_MAX).collect();
    if lines.is_empty() { said.err.clone() } else { lines.join("; ") }
}

/// A hook may print a page.
const REASON_LINES_MAX: usize = 20;

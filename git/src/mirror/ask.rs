//! Asks git where its answer may be no, or may not come: the exit code and the end of its time are values. Hooks, file monitors and
//! housekeeping are off. What the answers mean is for those who ask; how a command is ended is [`run`](super::run)'s.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::MirrorError;
use super::run::run;
use crate::command::{GitError, Input, prepared};

/// Work on this machine's disk: a checkout of a large tree on a busy machine takes a minute.
pub(super) const LOCAL_LIMIT: Duration = Duration::from_secs(600);

/// What no repository and no person decides here: nothing of theirs runs beside a move of ours.
const QUIET: [&str; 10] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "advice.detachedHead=false",
];

/// Settings of this machine that would make the same tree look different on another one: filters, line ends, merge drivers.
const NEUTRAL: [(&str, &str); 6] = [
    ("GIT_CONFIG_PARAMETERS", ""),
    ("GIT_CONFIG_COUNT", "0"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
];

/// What git answered.
#[derive(Debug)]
pub(super) struct Said {
    /// None: it was ended by a signal.
    pub(super) code: Option<i32>,
    pub(super) out: Vec<u8>,
    pub(super) err: String,
    pub(super) timed_out: bool,
    command: String,
}

impl Said {
    pub(super) fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    pub(super) fn line(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    /// What it printed, or its failure as an error.
    pub(super) fn ok(self, folder: &Path) -> Result<Vec<u8>, GitError> {
        if self.is_ok() { Ok(self.out) } else { Err(self.failed(folder)) }
    }

    pub(super) fn failed(self, folder: &Path) -> GitError {
        GitError::Failed { command: self.command, folder: folder.display().to_string(), said: self.err }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) input: Input<'a>,
    pub(super) limit: Duration,
    pub(super) is_neutral: bool,
}

impl Default for Question<'_> {
    fn default() -> Self {
        Self { input: Input::default(), limit: LOCAL_LIMIT, is_neutral: false }
    }
}

/// A git command to talk with, that runs nothing of the user's.
pub(super) fn quiet<S: AsRef<OsStr>>(folder: &Path, args: &[S], question: &Question<'_>) -> Command {
    let mut command = prepared(folder, words(args), &question.input);
    command.envs(environment(question)).process_group(0);
    command
}

/// # Errors
/// Only if git cannot be started.
pub(super) fn ask<S: AsRef<OsStr>>(folder: &Path, args: &[S], question: &Question<'_>) -> Result<Said, MirrorError> {
    let stdin = question.input.stdin.map(<[u8]>::to_vec);
    let shown: Vec<String> = args.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
    let command = shown.join(" ");
    match run(folder, &words(args), stdin, &environment(question), question.limit) {
        Ok(told) => Ok(Said { code: told.status.code(), err: told.words(), out: told.out, timed_out: false, command }),
        Err(e @ MirrorError::TooLong { .. }) => {
            Ok(Said { code: None, out: Vec::new(), err: e.to_string(), timed_out: true, command })
        }
        Err(e) => Err(e),
    }
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> Vec<OsString> {
    QUIET.iter().map(OsString::from).chain(args.iter().map(|a| a.as_ref().to_owned())).collect()
}

fn environment<'a>(question: &Question<'a>) -> Vec<(&'a str, OsString)> {
    // A question on the terminal would never be answered; out of the foreground it cannot be asked.
    let mut env = vec![("GIT_ASKPASS", "true".into()), ("SSH_ASKPASS_REQUIRE", "never".into())];
    if question.is_neutral {
        env.extend(NEUTRAL.map(|(name, value)| (name, value.into())));
    } else {
        // A partial clone has to fetch what it is to check out.
        env.push(("GIT_NO_LAZY_FETCH", "0".into()));
    }
    env.extend(question.input.env.iter().map(|(name, value)| (*name, (*value).to_owned())));
    env
}

/// Names separated by zero bytes.
pub(super) fn names(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split(|b| *b == 0).filter(|name| !name.is_empty())
}

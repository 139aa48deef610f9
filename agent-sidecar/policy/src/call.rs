//! What is judged and what is answered, as plain data.

use std::path::{Path, PathBuf};

use rr_shell::Analysis;

/// One tool call, as far as rules can tell calls apart.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The agent program (`claude`, `codex`, ...).
    pub agent: &'a str,
    /// The agent's name for the tool (`Bash`, `Write`, ...).
    pub tool: &'a str,
    /// The shell command, if the tool runs one.
    pub command: Option<&'a str>,
    /// Its parse. A command without one is judged as unreadable.
    pub analysis: Option<&'a Analysis>,
    /// Files it reads: absolute, links resolved.
    pub reads: &'a [PathBuf],
    /// Files it changes: absolute, links resolved.
    pub writes: &'a [PathBuf],
    /// The work tree.
    pub root: Option<&'a Path>,
    pub home: Option<&'a Path>,
    /// Folders for temporary files besides `/tmp` and `/var/tmp`.
    pub temporary: &'a [PathBuf],
}

/// What the rules say to a call. The strictest rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Pass,
    /// Rules matched, and the policy only logs (`shadow: true`).
    Shadowed(Vec<Hit>),
    /// A person is asked.
    Approve(Hit),
    Deny(Hit),
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The entry as written, or the name of a built-in rule.
    pub rule: String,
    pub origin: Origin,
    /// What matched: the command or the path.
    pub what: String,
    pub because: String,
    /// The safe way to do the same.
    pub instead: Option<String>,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Built in.
    DefaultSet,
    /// A line of `railroad.yaml`.
    Line(u32),
}

//! Why nobody could be asked: the one error of this program. Owns the cases and their wording; refuses to know what
//! follows from them. Next: `fallback.rs` turns a trouble into an answer, `daemon.rs` mends two of them.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Each way in which asking the sidecar can fail.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command line is not understood.
    Usage(String),
    /// No socket, or not even its folder: a sidecar may be started.
    Absent(PathBuf),
    /// A socket without a listener: a sidecar may be started.
    Refused(PathBuf),
    /// The socket's folder could have been prepared by somebody else.
    Untrusted {
        folder: PathBuf,
        why: &'static str,
    },
    /// The program that should start a sidecar cannot be run.
    Daemon {
        program: PathBuf,
        error: io::Error,
    },
    /// A sidecar was started and did not listen in time.
    NotUp(PathBuf),
    /// Connected, but no complete answer in time.
    NoAnswer,
    /// The agent did not finish what it sends to the hook.
    InputUnfinished,
    /// The sidecar speaks another version of the conversation.
    Version(String),
    /// The answer is not one.
    Garbage(&'static str),
    Io {
        step: &'static str,
        error: io::Error,
    },
    /// A bug in this program.
    Panic,
}

impl Trouble {
    /// Whether starting a sidecar can help.
    pub(crate) fn mended_by_a_start(&self) -> bool {
        matches!(self, Trouble::Absent(_) | Trouble::Refused(_))
    }

    /// The `map_err` of a step that may time out on the socket.
    pub(crate) fn io(step: &'static str) -> impl Fn(io::Error) -> Trouble {
        move |error| {
            if is_timeout(&error) { Trouble::NoAnswer } else { Trouble::Io { step, error } }
        }
    }
}

/// A socket with a timeout reports its end as either kind, by platform.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Usage(what) => write!(f, "the hook's command line is wrong: {what}"),
            Trouble::Absent(path) => write!(f, "no sidecar runs (no socket at {})", path.display()),
            Trouble::Refused(path) => write!(f, "the sidecar is gone (nobody listens at {})", path.display()),
            Trouble::Untrusted { folder, why } => {
                write!(f, "the socket folder {} {why}", folder.display())
            }
            Trouble::Daemon { program, error } => {
                write!(f, "no sidecar runs, and {} cannot start one: {error}", program.display())
            }
            Trouble::NotUp(program) => {
                write!(f, "no sidecar runs, and one started by {} did not listen in time", program.display())
            }
            Trouble::NoAnswer => f.write_str("the sidecar did not answer in time"),
            Trouble::InputUnfinished => f.write_str("the agent did not finish its message to the hook in time"),
            Trouble::Version(theirs) => {
                write!(f, "hook and sidecar are of different versions ({} and {theirs})", crate::wire::VERSION)
            }
            Trouble::Garbage(what) => write!(f, "the sidecar's answer is broken: {what}"),
            Trouble::Io { step, error } => write!(f, "cannot {step}: {error}"),
            Trouble::Panic => f.write_str("the hook program failed on a bug of its own"),
        }
    }
}

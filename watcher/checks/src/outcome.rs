//! How one run of a check ended. The three kinds are not to be mixed: green and red speak of the tree, infrastructure
//! speaks of the machine and is never held against anybody. It knows no process. Made by `run`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::read::{Findings, Nature};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    Green { took_ms: u64 },
    Red { findings: Findings, nature: Nature, output: Output, took_ms: u64 },
    Infrastructure { why: Why, output: Output, retry: bool, took_ms: u64 },
}

impl Outcome {
    /// Wall-clock time, from the start of the command until nothing of it was left.
    #[must_use]
    pub const fn took_ms(&self) -> u64 {
        match self {
            Self::Green { took_ms } | Self::Red { took_ms, .. } | Self::Infrastructure { took_ms, .. } => *took_ms,
        }
    }

    #[must_use]
    pub const fn output(&self) -> Option<&Output> {
        match self {
            Self::Green { .. } => None,
            Self::Red { output, .. } | Self::Infrastructure { output, .. } => Some(output),
        }
    }
}

/// Why a run says nothing about the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The disk is full, nearly full, or a file grew past its limit.
    NoSpace,
    OutOfMemory,
    TooManyProcesses,
    /// By somebody else: the system, or a person.
    Killed,
    TimedOut,
    /// Waited for a lock of its tool until its time was over.
    LockTimeout,
    Network,
    MissingTool(String),
    /// It asked a question. Nobody is there to answer.
    NeedsInput,
    CouldNotStart(String),
    Cancelled,
}

impl Why {
    /// Whether the same run may end otherwise a little later, with nobody having done anything.
    #[must_use]
    pub const fn passes_by_itself(&self) -> bool {
        match self {
            Self::NoSpace | Self::OutOfMemory | Self::Killed | Self::TimedOut | Self::LockTimeout | Self::Network => {
                true
            }
            Self::CouldNotStart(_) | Self::Cancelled => true,
            Self::TooManyProcesses | Self::MissingTool(_) | Self::NeedsInput => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no space on the disk"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::TooManyProcesses => f.write_str("too many processes"),
            Self::Killed => f.write_str("killed from outside"),
            Self::TimedOut => f.write_str("it hangs: not done within its time limit"),
            Self::LockTimeout => f.write_str("waited for another program's lock for too long"),
            Self::Network => f.write_str("the network could not be reached"),
            Self::MissingTool(tool) => write!(f, "{tool} is not installed"),
            Self::NeedsInput => f.write_str("it asks for input"),
            Self::CouldNotStart(why) => write!(f, "could not be started: {why}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// What a check printed, both streams in the order they came: its begin and its end, if it was too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub text: String,
    /// All that it printed, kept or not.
    pub printed_bytes: u64,
    pub left_out_bytes: u64,
}

//! Names of things: sessions, hosts, operations, repositories. Each is a short text that is safe inside a store key.
//! Randomness comes from outside (`from_random`), so a simulation can choose every name. A copy shares the text: each of
//! thousands of locks names its session and its repository.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}, got {got:?}")]
pub struct IdError {
    kind: &'static str,
    rule: &'static str,
    got: String,
}

/// A text that is a name of this kind, or is refused with the rule.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $is_one:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("# Errors\nIf `text` is not ", $rule, ".")]
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let is_one: fn(&str) -> bool = $is_one;
                if is_one(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { kind: $kind, rule: $rule, got: text.chars().take(80).collect() })
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        id!($(#[$doc])* $name, $kind, "32 lower-case hex digits", |text| is_hex(text) && text.len() == 32);

        impl $name {
            #[must_use]
            pub fn from_random(bits: [u8; 16]) -> Self {
                Self(hex(&bits).into())
            }

            /// The first eight digits, for people.
            #[must_use]
            pub fn short(&self) -> &str {
                &self.0[..8]
            }
        }
    };
}

random_id!(
    /// One registered life of one agent: made by the sidecar, never by the agent (D13).
    SessionId, "session id"
);
random_id!(
    /// One machine, chosen at random on first start. Host names repeat; this does not (H14).
    HostId, "host id"
);
random_id!(
    /// One operation on the store, so that an unknown outcome can be read back (lock-protocol §1.4).
    OpId, "operation id"
);
random_id!(
    /// One request for a person's approval. Asking for the same call again later has another one.
    ApprovalId, "approval id"
);
random_id!(
    /// One break of a branch, from when it is seen until it is over.
    IncidentId, "incident id"
);

id!(
    /// Which call: a hash over its tool, arguments and folder, so that an approval is good for exactly that call. A shorter hash
    /// could be made to fit another call.
    CallPrint, "call print", "32 to 64 lower-case hex digits", |text| is_hex(text) && (32..=64).contains(&text.len())
);
id!(
    /// Which repository: the first 16 hex digits of a hash over its identity (D5), so that it fits into a key.
    RepoId, "repository id", "16 lower-case hex digits", |text| is_hex(text) && text.len() == 16
);

macro_rules! git_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        id!($(#[$doc])* $name, $kind, "40 or 64 lower-case hex digits", |text| is_hex(text) && matches!(text.len(), 40 | 64));

        impl $name {
            /// As many digits as git shows.
            #[must_use]
            pub fn short(&self) -> &str {
                &self.0[..10]
            }
        }
    };
}

git_id!(
    /// A git commit's whole object name: 40 hex digits, or 64 where the repository uses SHA-256.
    CommitId, "commit"
);
git_id!(
    /// The whole name of a git object that is no commit: a tree, a blob. As long as a commit's.
    ObjectId, "object"
);

id!(
    /// The fleet's name: the prefix of every key it owns.
    FleetName, "fleet name", "1-63 of a-z 0-9 . _ -",
    |text| (1..=63).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
);

impl Default for FleetName {
    fn default() -> Self {
        Self("default".into())
    }
}

/// A fencing token: the create revision of the holder's key. Later grants have higher ones (lock-protocol §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts pauses and resumes; a resume names the epoch it ends (D19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Lower-case hex of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Where new names come from; a simulation hands in its own.
pub trait Entropy: Send + Sync + 'static {
    fn bits(&self) -> [u8; 16];
}

//! The values behind the keys, as JSON. Unknown fields are ignored, so that a newer minor version can add one; a value that
//! cannot be read is an error that names its key, never a guess.

use rr_core::glob::Glob;
use rr_core::id::{Epoch, HostId, OpId, SessionId};
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Mode, Name, Scope};
use rr_store::KeyValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::FleetError;

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain structs with text keys: serialising them cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn decode<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, FleetError> {
    serde_json::from_slice(&kv.value).map_err(|e| FleetError::Garbage { key: kv.key.clone(), why: e.to_string() })
}

/// `sess/<sid>`: who a session is. Identity is (host, boot, pid, start), never a host name or the hook's own pid (D13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub host: HostId,
    /// For people only.
    pub host_name: String,
    pub boot: String,
    /// The agent's process and its start time in clock ticks since boot: a pid alone is reused (H13).
    pub pid: u32,
    pub start: u64,
    /// The kind of agent: `claude`, `codex`, …
    pub agent: String,
    /// The agent's own name for its session.
    pub agent_session: String,
    /// The folder it was started in.
    pub workspace: String,
    /// When it was registered, in milliseconds of the wall clock: for display only.
    pub since_unix_ms: u64,
    /// What it is at, in the words of its last prompt, shortened.
    #[serde(default)]
    pub task: String,
    /// What a person should know about it: unguarded, left-overs running. Empty: nothing.
    #[serde(default)]
    pub warning: String,
}

/// The agent of a person's session.
pub const PERSON: &str = "person";

impl SessionRecord {
    /// The user whose saves this session stands for, if it is no agent's. The name of its session is `<user>@<repository>`: a
    /// person has no process that would be the same at the next save.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        let user = self.agent_session.split_once('@').map_or(self.agent_session.as_str(), |(user, _)| user);
        (self.agent == PERSON).then_some(user)
    }
}

/// A holder or a mark (lock-protocol §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRecord {
    pub op: OpId,
    pub mode: Mode,
    /// The path as it was given, for people.
    pub shown: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    pub since_unix_ms: u64,
    /// What the holder does with it, for the one who is denied.
    #[serde(default)]
    pub doing: String,
}

impl HolderRecord {
    /// The claim that a record and the anchor of its key stand for.
    pub(crate) fn claim(&self, anchor: &str) -> Option<Claim> {
        let scope = scope_of(anchor, &self.shown, self.glob.as_deref())?;
        Some(Claim { scope, mode: self.mode })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkRecord {
    pub shown: String,
    /// The holder ended uncleanly, but it and all it started are known to be gone: no cooling is needed.
    #[serde(default)]
    pub gone: bool,
}

/// One claim inside a queue entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimRecord {
    pub anchor: String,
    pub shown: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    pub mode: Mode,
}

impl ClaimRecord {
    pub(crate) fn of(claim: &Claim) -> Self {
        let (shown, glob) = shown_of(&claim.scope);
        Self { anchor: claim.scope.anchor_key(), shown, glob, mode: claim.mode }
    }

    pub(crate) fn claim(&self) -> Option<Claim> {
        let scope = scope_of(&self.anchor, &self.shown, self.glob.as_deref())?;
        Some(Claim { scope, mode: self.mode })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    pub claims: Vec<ClaimRecord>,
    pub since_unix_ms: u64,
}

/// `op/<sid>/<opid>`: what became of an operation, for reading back an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OpRecord {
    Granted,
    /// Refused as the youngest of a ring of waiters.
    Ring,
    /// Settled as "never happens" after an unknown outcome: the operation's own guard now fails for good.
    Void,
}

/// `fleet/run`: the permit. Its presence is what counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub epoch: Epoch,
    pub who: String,
}

impl RunRecord {
    pub(crate) fn first() -> Self {
        Self { epoch: Epoch(1), who: "first start".to_owned() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

/// `ack/<sid>`: how far a session has followed a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckRecord {
    pub epoch: Epoch,
    pub state: crate::permit::AckState,
    pub in_flight: u32,
}

/// `slot/<host>/<workspace>`: which session occupies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotRecord {
    pub sid: SessionId,
}

pub(crate) fn shown_of(scope: &Scope) -> (String, Option<String>) {
    match scope {
        Scope::Path(p) => (p.shown().to_owned(), None),
        Scope::Glob { folder, glob } => (folder.shown().to_owned(), Some(glob.as_str().to_owned())),
        Scope::Named(n) => (format!("!{}", n.as_str()), None),
    }
}

fn scope_of(anchor: &str, shown: &str, glob: Option<&str>) -> Option<Scope> {
    if let Some(name) = anchor.strip_prefix('!') {
        return Name::parse(name).ok().map(Scope::Named);
    }
    let path = RepoPath::from_key(anchor, shown)?;
    match glob {
        None => Some(Scope::Path(path)),
        Some(pattern) => Glob::parse(pattern).ok().map(|glob| Scope::Glob { folder: path, glob }),
    }
}

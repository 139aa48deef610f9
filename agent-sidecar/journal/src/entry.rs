//! What the journal holds: one [`Entry`] for each thing that happened to a session or to the machine. Plain data: who, when,
//! in which call, and what. It knows no file and no bytes; those are `codec`'s, and what is taken out of texts before they are
//! kept is `redact`'s.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rr_core::content::Content;
use rr_core::id::SessionId;
use rr_core::path::{RepoPath, typed};

use crate::text::Text;

/// One thing that happened. Its place in the order is its sequence number, which the journal gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By the wall clock: for people. Order is the sequence number's.
    pub at_unix_ms: u64,
    /// None where it belongs to the machine.
    pub session: Option<SessionId>,
    /// Which of a session's agents, where the agent says.
    pub agent_id: Option<String>,
    /// The agent's name for the call.
    pub call: Option<String>,
    /// The store's revision when it happened, 0 if unknown.
    pub revision: u64,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    SessionStarted {
        agent: String,
        agent_session: String,
        workspace: PathBuf,
        pid: u32,
        task: Text,
    },
    SessionEnded {
        how: Text,
    },
    /// A call wants to do this.
    Intent {
        tool: String,
        does: Does,
        cwd: PathBuf,
    },
    Verdict {
        verdict: Verdict,
        reason: Text,
        rule: Option<String>,
    },
    /// What stood at each path that the call may change is kept.
    Snapped {
        files: Vec<Kept>,
    },
    /// The call may run: from here on, until it is done, what it did is unknown.
    Started,
    Done {
        ok: bool,
        changes: Vec<FileChange>,
    },
    Lock {
        scope: String,
        token: u64,
        how: LockStep,
    },
    /// Something was said to the agent.
    Told {
        text: Text,
    },
    Paused {
        epoch: u64,
        who: String,
        reason: Text,
    },
    Resumed {
        epoch: u64,
        who: String,
    },
    Approval {
        id: String,
        outcome: ApprovalStep,
        who: String,
        reason: Text,
    },
    /// Changes of a session were taken out. `undone` are the sequence numbers of its [`Event::Done`] entries; `undoes` is
    /// the rollback that this one takes back.
    RolledBack {
        of: SessionId,
        undone: Vec<u64>,
        changes: Vec<FileChange>,
        undoes: Option<u64>,
    },
    Checkpoint {
        root: PathBuf,
        commit: String,
        why: Text,
    },
    /// So many notes could not be kept: the journal could not be written, and more came than may wait.
    Missed {
        notes: u64,
    },
    /// The entries below this sequence number were removed: too old, or too many.
    Forgotten {
        before: u64,
    },
}

/// What a call is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    Read(Vec<Spot>),
    Write(Vec<Spot>),
    Shell(Text),
    Other,
}

/// A path in one work tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    pub root: PathBuf,
    pub path: RepoPath,
}

/// What stood at a path before a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub root: PathBuf,
    pub path: RepoPath,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub root: PathBuf,
    pub path: RepoPath,
    pub before: Content,
    pub after: Content,
    /// Whether it was known before the call that it would change this.
    pub foreseen: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// In the order in which they are numbered on disk: new ones go to the end.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word by which people and programs know it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(Verdict {
    Passed = "passed",
    Denied = "denied",
    /// The fleet is paused, or the session is not entitled.
    Stopped = "stopped",
    Asked = "asked",
    /// It would have been denied; the rule only watches.
    Shadowed = "shadowed",
});

words!(LockStep { Granted = "granted", Released = "released", Lost = "lost", Taken = "taken" });

words!(ApprovalStep {
    Asked = "asked",
    Approved = "approved",
    Rejected = "rejected",
    Expired = "expired",
    Used = "used",
});

words!(
    /// What an entry is about, without its particulars.
    Kind {
        SessionStarted = "session-started",
        SessionEnded = "session-ended",
        Intent = "intent",
        Verdict = "verdict",
        Snapped = "snapped",
        Started = "started",
        Done = "done",
        Lock = "lock",
        Told = "told",
        Paused = "paused",
        Resumed = "resumed",
        Approval = "approval",
        RolledBack = "rolled-back",
        Checkpoint = "checkpoint",
        Missed = "missed",
        Forgotten = "forgotten",
    }
);

impl Event {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::SessionStarted { .. } => Kind::SessionStarted,
            Self::SessionEnded { .. } => Kind::SessionEnded,
            Self::Intent { .. } => Kind::Intent,
            Self::Verdict { .. } => Kind::Verdict,
            Self::Snapped { .. } => Kind::Snapped,
            Self::Started => Kind::Started,
            Self::Done { .. } => Kind::Done,
            Self::Lock { .. } => Kind::Lock,
            Self::Told { .. } => Kind::Told,
            Self::Paused { .. } => Kind::Paused,
            Self::Resumed { .. } => Kind::Resumed,
            Self::Approval { .. } => Kind::Approval,
            Self::RolledBack { .. } => Kind::RolledBack,
            Self::Checkpoint { .. } => Kind::Checkpoint,
            Self::Missed { .. } => Kind::Missed,
            Self::Forgotten { .. } => Kind::Forgotten,
        }
    }

    /// The paths that it names, each with its work tree where that is known; a lock's scope only if it is one path.
    pub fn for_each_path(&self, mut see: impl FnMut(Option<&Path>, &RepoPath)) {
        match self {
            Self::Intent { does: Does::Read(spots) | Does::Write(spots), .. } => {
                spots.iter().for_each(|spot| see(Some(&spot.root), &spot.path));
            }
            Self::Snapped { files } => files.iter().for_each(|kept| see(Some(&kept.root), &kept.path)),
            Self::Done { changes, .. } | Self::RolledBack { changes, .. } => {
                changes.iter().for_each(|change| see(Some(&change.root), &change.path));
            }
            Self::Lock { scope, .. } if !scope.starts_with('!') => {
                if let Ok(path) = RepoPath::parse(typed(scope.as_ref()).as_os_str().as_bytes()) {
                    see(None, &path);
                }
            }
            _ => {}
        }
    }
}

impl Kind {
    /// Those of which [`Event::for_each_path`] may name a path.
    pub(crate) const OF_PLACES: [Self; 5] = [Self::Intent, Self::Snapped, Self::Done, Self::Lock, Self::RolledBack];

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }
}

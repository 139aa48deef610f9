//! What two change sets mean for each other: the findings that agents and people are told (design D11). A finding is named by
//! what it is about, not by when it was found, so that whoever looks finds the same one.
//! [`Index`] finds them; what only git or a check can say it asks as a [`Question`]. [`Told`] is what keeps the fleet quiet
//! about what it knows already, [`Hot`] about files that everybody edits.

mod answers;
mod folders;
mod hot;
mod index;
mod meeting;
mod packages;
mod pair;
mod question;
mod quiet;
mod ranges;
mod repo;
mod severity;
mod side;
mod symbols;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{CommitId, ObjectId, RepoId, SessionId};
use crate::live::{GitPath, Lines, TreeKey};

pub use hot::{Edited, Hot};
pub use index::{Index, Options};
pub use question::{Answer, Base, LABEL_OURS, LABEL_THEIRS, Question, Why};
pub use quiet::{Event, Told};
pub use side::{SWEEP_PATHS, Standing, is_sweep};

/// Bytes of the hunks that a finding carries: enough to see what it is about, small enough for the store.
pub const EXCERPT_BYTES_MAX: usize = 4 << 10;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Level {
    /// Both changed a file, apart from each other. Never told, shown on request.
    Shared = 0,
    /// The same symbol, or one changed what the other newly uses; not proven to break anything.
    Symbol = 1,
    /// Git itself cannot merge them.
    Conflict = 2,
    /// Merged, they fail a check that both pass alone.
    Broken = 3,
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level as u8
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        [Self::Shared, Self::Symbol, Self::Conflict, Self::Broken]
            .into_iter()
            .find(|level| *level as u8 == number)
            .ok_or_else(|| format!("{number} is no level: 0 to 3"))
    }
}

/// A hash over the two work trees and what it is about, in 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FindingId(String);

impl FindingId {
    /// # Errors
    /// If `text` is not 16 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ok = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if ok { Ok(Self(text.to_owned())) } else { Err(format!("{text:?} is no finding: 16 lower-case hex digits")) }
    }

    /// The name of what these two have against each other in one matter.
    fn of(repo: &RepoId, sides: [&TreeKey; 2], matter: &str) -> Self {
        let mut hash = Sha256::new();
        for part in
            [repo.as_str(), sides[0].host.as_str(), &sides[0].tree, sides[1].host.as_str(), &sides[1].tree, matter]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(crate::id::hex(&hash.finalize()[..8]))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for FindingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for FindingId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<FindingId> for String {
    fn from(id: FindingId) -> Self {
        id.0
    }
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Both changed these files.
    Files,
    /// The same lines, both added it, one deleted what the other changed, mode, binary: git's own words for each path.
    Merge,
    /// The same package in two versions: its key in the manifest, or several of them with commas between.
    Package(String),
    /// A symbol that one took away or changed and the other newly uses (S1), that both added (S2), both changed (S3), or whose
    /// direct caller the other changed (S4).
    Symbol { name: String, how: SymbolClash },
    /// The check that fails on both together.
    Check(String),
    /// What stands in one work tree, not committed, fails a check that its last commit passes.
    Edits { check: String, command: String, whose: Whose },
    /// What this session had landed was taken out of the branch again: it broke the check there. It is kept on a branch.
    Reverted { check: String, commit: CommitId, kept: String, session: SessionId },
}

/// Whose uncommitted edits fail a check. They stand in the finding's paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Whoever works in that tree: it cannot be told apart.
    Anybodys,
    /// Of no session that is known: a person's, or a program's that none started.
    Nobodys,
    /// These sessions', in order, each by itself.
    Sessions(Vec<SessionId>),
    /// These sessions', in order, and only together. One: together with edits of no session that is known.
    Together(Vec<SessionId>),
}

impl Whose {
    /// The sessions that are named.
    #[must_use]
    pub fn sessions(&self) -> &[SessionId] {
        match self {
            Self::Anybodys | Self::Nobodys => &[],
            Self::Sessions(sessions) | Self::Together(sessions) => sessions,
        }
    }

    /// The word that people and programs know it by.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Anybodys => "anybodys",
            Self::Nobodys => "nobodys",
            Self::Sessions(_) => "sessions",
            Self::Together(_) => "together",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolClash {
    GoneOrOther,
    BothAdded,
    BothChanged,
    CallerChanged,
}

/// Why one of the two should give way: uncommitted to committed, smaller to larger, dependent to foundational; of two that wait
/// to land, the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Uncommitted,
    Smaller,
    Dependent,
    Later,
}

/// Where in a file two sides meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub path: GitPath,
    /// The content that `lines` count in; absent where both added the file.
    pub base: Option<ObjectId>,
    /// The lines that one or the other changed where they touch. Empty: the whole file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Lines>,
}

/// One thing that two work trees have against each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub id: FindingId,
    pub repo: RepoId,
    pub level: Level,
    pub kind: Kind,
    /// In the order of their keys.
    pub sides: [TreeKey; 2],
    pub paths: Vec<GitPath>,
    /// Of a [`Kind::Merge`]: where, one place a path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// What git shows of it, at most [`EXCERPT_BYTES_MAX`].
    pub excerpt: String,
    /// Which of the sides should give way, and why.
    pub yields: Option<(usize, Because)>,
}

/// A revert, for the session whose commit it took out.
#[derive(Clone, Copy, Debug)]
pub struct Reverted<'a> {
    /// The command that fails with the commit.
    pub check: &'a str,
    pub commit: &'a CommitId,
    /// The branch that keeps it.
    pub kept: &'a str,
    pub session: &'a SessionId,
}

impl Finding {
    /// What an agent has committed does not pass a check that passes on the branch it is to land on. Both sides are its own.
    #[must_use]
    pub fn of_commit(repo: &RepoId, tree: &TreeKey, commit: &CommitId, check: &str, excerpt: String) -> Self {
        Self {
            id: FindingId::of(repo, [tree, tree], &format!("commit {commit} {check}")),
            repo: repo.clone(),
            level: Level::Broken,
            kind: Kind::Check(check.to_owned()),
            sides: [tree.clone(), tree.clone()],
            paths: vec![],
            places: vec![],
            excerpt,
            yields: None,
        }
    }

    /// What stands in a work tree fails a check that its last commit passes. It keeps its name while they who did it are the same.
    #[must_use]
    pub fn of_edits(
        repo: &RepoId,
        tree: &TreeKey,
        (check, command): (&str, &str),
        whose: Whose,
        paths: Vec<GitPath>,
        excerpt: String,
    ) -> Self {
        let sessions: Vec<&str> = whose.sessions().iter().map(SessionId::as_str).collect();
        let matter = format!("edits {check} {} {}", whose.word(), sessions.join(" "));
        Self {
            id: FindingId::of(repo, [tree, tree], &matter),
            repo: repo.clone(),
            level: Level::Broken,
            kind: Kind::Edits { check: check.to_owned(), command: command.to_owned(), whose },
            sides: [tree.clone(), tree.clone()],
            paths,
            places: vec![],
            excerpt,
            yields: None,
        }
    }

    /// Two works that pass a check each and fail it merged, found among all live work. The same thing found by the index has this name
    /// too.
    #[must_use]
    pub fn of_pair(repo: &RepoId, sides: [&TreeKey; 2], check: &str, paths: Vec<GitPath>, excerpt: String) -> Self {
        let mut sides = sides;
        sides.sort();
        Self {
            id: FindingId::of(repo, sides, &matter_of_check(check)),
            repo: repo.clone(),
            level: Level::Broken,
            kind: Kind::Check(check.to_owned()),
            sides: sides.map(TreeKey::clone),
            paths,
            places: vec![],
            excerpt,
            yields: None,
        }
    }

    /// A commit of this work tree's session was reverted on the branch that everybody builds on.
    #[must_use]
    pub fn of_revert(repo: &RepoId, tree: &TreeKey, of: &Reverted<'_>, excerpt: String) -> Self {
        let Reverted { check, commit, kept, session } = *of;
        Self {
            id: FindingId::of(repo, [tree, tree], &format!("reverted {commit}")),
            kind: Kind::Reverted {
                check: check.to_owned(),
                commit: commit.clone(),
                kept: kept.to_owned(),
                session: session.clone(),
            },
            ..Self::of_commit(repo, tree, commit, check, excerpt)
        }
    }

    /// Whether it says of the same work tree, by the same check, what the other said: while one stands, the other's end is no news.
    #[must_use]
    pub fn stands_for(&self, other: &Self) -> bool {
        let is_same = match (&self.kind, &other.kind) {
            (Kind::Edits { check, .. }, Kind::Edits { check: theirs, .. }) => check == theirs,
            (Kind::Check(check), Kind::Check(theirs)) => self.is_own() && check == theirs,
            _ => false,
        };
        is_same && self.sides == other.sides
    }

    /// Whether it is about one work tree alone.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.sides[0] == self.sides[1]
    }
}

/// What a pair's finding about a check is named by.
fn matter_of_check(check: &str) -> String {
    format!("check {check}")
}

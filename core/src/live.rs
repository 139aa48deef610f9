//! What stands in one work tree and is not on its target branch yet, as plain data: a change set (design D9, D11). Sidecars make
//! them from snapshots; the store carries them; the overlap index compares them. They hold names of contents, never contents.
//! Next: [`crate::overlap`].

mod rest;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{CommitId, HostId, ObjectId, RepoId, SessionId};

pub use rest::{Resting, Seen};

/// A path as git has it: any bytes but zero, relative to the work tree's root. As text, what is not printable UTF-8, and `%`
/// itself, is `%XX`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct GitPath(Vec<u8>);

impl GitPath {
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for GitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '%' || c.is_control() {
                    write!(f, "%{:02X}", u32::from(c))?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for GitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<&str> for GitPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for GitPath {
    /// The other way from `Display`; a `%` that no two hex digits follow stands for itself.
    fn from(text: String) -> Self {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
        while at < bytes.len() {
            let coded =
                bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
            if let Some(byte) = coded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                out.push(byte);
                at += 3;
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        Self(out)
    }
}

impl From<GitPath> for String {
    fn from(path: GitPath) -> Self {
        path.to_string()
    }
}

/// One work tree of the fleet. The tag is the sidecar's name for it, safe inside a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TreeKey {
    pub host: HostId,
    pub tree: String,
}

/// The branch that everybody's work is to land on, and where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub branch: String,
    pub commit: CommitId,
}

/// Whether a work tree may be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Its agent's call has ended, or two looks found the same, and what changed parses: good for checks and blame.
    Settled,
    /// Somebody is in the middle of it: good for overlap only.
    InFlux,
}

/// How it goes together with where the target stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Onto {
    /// The tree of the target with this work merged in. The changes are counted from the target's tree to this one.
    Clean(ObjectId),
    /// It conflicts with the target itself at these paths. The changes are counted from the merge base.
    Stale(Vec<GitPath>),
    /// No target is known (a new, shallow or detached repository). The changes are counted from the last commit.
    Alone,
}

/// One look at one work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSet {
    pub repo: RepoId,
    /// Where it is on its host, for people.
    pub root: String,
    /// The branch it has checked out; empty where none is.
    pub branch: String,
    pub head: Option<CommitId>,
    pub target: Option<Target>,
    /// Its whole tree as it stands, untracked files included, ignored ones not.
    pub tree: ObjectId,
    /// All of it is in commits: `tree` is the tree of `head`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub committed: bool,
    pub onto: Onto,
    pub rest: Rest,
    /// Who works in it: sessions, and nobody of them where a person does.
    pub writers: Vec<SessionId>,
    /// Where its contents can be fetched from, if the repository has a remote.
    pub remote: Option<String>,
    pub files: Vec<FileChange>,
    /// Files that changed and are not listed, because there are more than a change set holds.
    pub left_out: usize,
}

/// What git knows of one path: mode (`0o100644`, `0o100755`, `0o120000`, `0o160000`) and object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    pub mode: u32,
    pub id: ObjectId,
}

/// Lines of the earlier content that are replaced: `count` of them from `start` on, counted from 0. A count of 0 is an insertion
/// before `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lines {
    pub start: u32,
    pub count: u32,
}

/// One path that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: GitPath,
    /// Absent: it is new.
    pub from: Option<Entry>,
    /// Absent: it is gone.
    pub to: Option<Entry>,
    /// In order, of `from`, as the merge itself would diff it (histogram, no indent heuristic). Empty for a file that is new, gone
    /// or no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Lines>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub binary: bool,
    /// The path that this new one has its content from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<GitPath>,
    /// Only its layout changed: white space.
    #[serde(default, skip_serializing_if = "is_false")]
    pub layout_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<SymbolChange>,
    /// Names that the new content uses and the old one did not, or whose uses were edited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Of a manifest: what changed by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageChange>,
    /// The sessions that made it what it is, in order. Empty: somebody else had a hand in it, or nobody knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<SessionId>,
}

impl FileChange {
    /// A change of which no more is known than what git shows.
    #[must_use]
    pub fn of(path: GitPath, from: Option<Entry>, to: Option<Entry>) -> Self {
        Self {
            path,
            from,
            to,
            ranges: vec![],
            binary: false,
            renamed_from: None,
            layout_only: false,
            symbols: vec![],
            uses: vec![],
            packages: vec![],
            by: vec![],
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A definition that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolChange {
    pub name: String,
    /// What it is defined in: a type, a module; empty at the top of a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// As the language calls it: `function`, `method`, `class`, …
    pub kind: String,
    pub change: SymbolEdit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolEdit {
    Added,
    Removed,
    /// What its users see of it: name, parameters, result.
    Signature,
    Body,
}

/// One key of a manifest that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// From the top of the manifest: `dependencies/react`.
    pub key: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_reads_back_from_its_text() {
        for bytes in [&b"src/a.rs"[..], b"100%", b"50%41", b"caf\xc3\xa9", b"\xff\xfe/x", b"new\nline", b"%", b"%4"] {
            let path = GitPath::new(bytes);
            let text = path.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert_eq!(GitPath::from(text), path);
        }
    }
}

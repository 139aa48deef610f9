//! What the index cannot know by itself and asks: a real merge by git, or a check on a merged tree. A question is named by contents
//! alone, so that an answer is good for whoever asks it again, and after a restart. Who answers, and how, is the caller's business.

use serde::{Deserialize, Serialize};

use super::{EXCERPT_BYTES_MAX, SymbolClash};
use crate::id::{CommitId, ObjectId, RepoId};
use crate::live::{Entry, GitPath};

/// How the answering side marks the hunks of a conflict: `<<<<<<< ours`, `>>>>>>> theirs`. A finding has them by name.
pub const LABEL_OURS: &str = "<<<<<<< ours";
pub const LABEL_THEIRS: &str = ">>>>>>> theirs";

/// Paths that one answer names: more than anybody reads, and small enough to keep.
const PATHS_PER_ANSWER_MAX: usize = 256;
/// Bytes of git's words for one path, and of one finding of a check.
const WORDS_BYTES_MAX: usize = 512;

/// What two trees are merged onto.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The tree of this commit, which both have merged in already.
    Target(CommitId),
    /// The merge base of these two, as git finds it: each of the two trees stands on one of them.
    Fork(CommitId, CommitId),
    /// Nothing: neither has a commit.
    Nothing,
}

/// Answerable from git or from a check. `ours` and `theirs` are in the order of their contents, not of their work trees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A three-way merge of one path, as git would merge trees that hold only it. No base: both added it. One side missing: it
    /// deleted what the other changed.
    Files { repo: RepoId, path: GitPath, base: Option<Entry>, ours: Option<Entry>, theirs: Option<Entry> },
    /// A merge of whole trees: where one side renames, the bases differ, a file meets a folder, or both are about to land.
    Trees { repo: RepoId, base: Base, ours: ObjectId, theirs: ObjectId },
    /// The cheap check on the merged tree of two that merge without a conflict.
    Check { repo: RepoId, base: Base, ours: ObjectId, theirs: ObjectId, why: Why },
}

/// Why a merged tree is to be checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Both are about to land.
    Landing,
    /// They have this symbol against each other.
    Symbol { how: SymbolClash, name: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Clean,
    /// Git's own words for each path, and the hunks.
    Conflict {
        paths: Vec<(GitPath, String)>,
        excerpt: String,
    },
    /// Of a [`Question::Check`]: what it finds on both together and on neither alone. Nothing found is [`Answer::Clean`].
    Fails {
        check: String,
        findings: Vec<String>,
        excerpt: String,
    },
    /// Not now: why. It is asked again after [`super::Index::ask_again`].
    Unanswerable(String),
}

impl Question {
    /// The one form of all questions that have the same answer.
    pub(super) fn canonical(self) -> Self {
        match self {
            Self::Files { repo, path, base, ours, theirs } => {
                let (ours, theirs) = in_order(ours, theirs);
                Self::Files { repo, path, base, ours, theirs }
            }
            Self::Trees { repo, base, ours, theirs } => {
                let (ours, theirs) = in_order(ours, theirs);
                Self::Trees { repo, base: base.canonical(), ours, theirs }
            }
            Self::Check { repo, base, ours, theirs, why: _ } => {
                let (ours, theirs) = in_order(ours, theirs);
                Self::Check { repo, base: base.canonical(), ours, theirs, why: Why::Landing }
            }
        }
    }
}

impl Base {
    fn canonical(self) -> Self {
        match self {
            Self::Fork(a, b) => {
                let (a, b) = in_order(a, b);
                Self::Fork(a, b)
            }
            other => other,
        }
    }
}

fn in_order<T: Ord>(a: T, b: T) -> (T, T) {
    if b < a { (b, a) } else { (a, b) }
}

impl Answer {
    /// As it is kept: within its limits, and a failure without findings is none.
    pub(super) fn within_limits(self) -> Self {
        match self {
            Self::Fails { findings, .. } if findings.is_empty() => Self::Clean,
            Self::Fails { mut check, mut findings, mut excerpt } => {
                clip(&mut check, WORDS_BYTES_MAX);
                findings.truncate(PATHS_PER_ANSWER_MAX);
                findings.iter_mut().for_each(|finding| clip(finding, WORDS_BYTES_MAX));
                clip(&mut excerpt, EXCERPT_BYTES_MAX);
                Self::Fails { check, findings, excerpt }
            }
            Self::Conflict { mut paths, mut excerpt } => {
                paths.sort();
                paths.truncate(PATHS_PER_ANSWER_MAX);
                paths.iter_mut().for_each(|(_, words)| clip(words, WORDS_BYTES_MAX));
                clip(&mut excerpt, EXCERPT_BYTES_MAX);
                Self::Conflict { paths, excerpt }
            }
            Self::Unanswerable(mut why) => {
                clip(&mut why, WORDS_BYTES_MAX);
                Self::Unanswerable(why)
            }
            Self::Clean => Self::Clean,
        }
    }
}

/// At most so many bytes, whole characters only.
pub(super) fn clip(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

//! What landed on a branch since it was last green: its commits by first parents, whose they are, and what they touch. It reads the
//! mirror; which of them broke something is decided elsewhere. What they are together or apart is told by [`Mirror::set`] and its kin.

use std::collections::HashMap;

use rr_core::id::CommitId;
use rr_core::live::GitPath;

use super::combine::commit_of;
use super::{Mirror, MirrorError};
use crate::command::Input;
use crate::history::{PERSON, SESSION_TRAILER};

/// More than this between two checks is no queue to be searched; the branch was fed from elsewhere.
const COMMITS_MAX: usize = 10_000;

/// One landed commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedCommit {
    pub id: CommitId,
    pub parents: Vec<CommitId>,
    pub author: String,
    pub subject: String,
    /// The agent session named by its last trailer, by the agent's own name for it.
    pub session: Option<String>,
    /// When it was committed, by the clock of whoever did.
    pub at_unix_s: u64,
    /// What it changed against its first parent.
    pub paths: Vec<GitPath>,
}

/// What lies between two commits of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queue {
    /// By first parents, oldest first.
    Commits(Vec<QueuedCommit>),
    /// The older one is no ancestor of the younger: somebody has put another history in its place.
    Rewritten {
        meet: Option<CommitId>,
    },
    TooMany {
        most: usize,
    },
}

impl Mirror {
    /// The commits after `green` up to `tip`.
    ///
    /// # Errors
    /// If the mirror does not have both.
    pub fn commits_between(&self, green: &CommitId, tip: &CommitId) -> Result<Queue, MirrorError> {
        if !self.is_ancestor(green, tip)? {
            let said = self.neutral(&["merge-base", green.as_str(), tip.as_str()])?;
            return Ok(Queue::Rewritten { meet: CommitId::parse(&said.line()).ok() });
        }
        let commits = self.first_parents(green, tip)?;
        if commits.len() > COMMITS_MAX {
            return Ok(Queue::TooMany { most: COMMITS_MAX });
        }
        Ok(Queue::Commits(commits))
    }

    fn first_parents(&self, after: &CommitId, tip: &CommitId) -> Result<Vec<QueuedCommit>, MirrorError> {
        let trailer = format!("%(trailers:key={SESSION_TRAILER},valueonly,separator=%x2C)");
        // What people write comes last, so that it cannot stand for anything else.
        let format = format!("--format=%H%x1f%P%x1f%ct%x1f{trailer}%x1f%an%x1f%s");
        let most = format!("-n{}", COMMITS_MAX + 1);
        let range = format!("{after}..{tip}");
        let args = [
            "log",
            "--first-parent",
            "-z",
            "--no-show-signature",
            "--no-color",
            "--encoding=UTF-8",
            &format,
            &most,
            &range,
        ];
        let said = self.neutral(&args)?.ok(&self.dir)?;
        let text = String::from_utf8_lossy(&said).into_owned();
        let mut commits =
            text.split('\0').filter(|r| !r.is_empty()).map(|r| self.commit(r)).collect::<Result<Vec<_>, _>>()?;
        commits.reverse();
        let ids: Vec<_> = commits.iter().map(|c| (c.id.clone(), c.parents.first().cloned())).collect();
        let mut paths = self.paths_of(&ids)?;
        for commit in &mut commits {
            commit.paths = paths.remove(&commit.id).unwrap_or_default();
        }
        Ok(commits)
    }

    fn commit(&self, record: &str) -> Result<QueuedCommit, MirrorError> {
        let mut fields = record.trim_start_matches('\n').splitn(6, '\u{1f}');
        let mut next = || fields.next().unwrap_or_default();
        let id = commit_of(&self.dir, next())?;
        let parents = next().split_whitespace().map(|p| commit_of(&self.dir, p)).collect::<Result<_, _>>()?;
        let at_unix_s = next().parse::<i64>().unwrap_or(0).try_into().unwrap_or(0);
        let named = next().trim().rsplit(',').next().map(str::trim).filter(|name| *name != PERSON);
        let session = named.filter(|name| !name.is_empty()).map(str::to_owned);
        let author = next().to_owned();
        Ok(QueuedCommit { id, parents, author, session, at_unix_s, subject: next().to_owned(), paths: Vec::new() })
    }

    /// What each commit changed against its first parent, as bytes; a rename as both of its names.
    fn paths_of(
        &self,
        commits: &[(CommitId, Option<CommitId>)],
    ) -> Result<HashMap<CommitId, Vec<GitPath>>, MirrorError> {
        let line = |(id, parent): &(CommitId, Option<CommitId>)| match parent {
            Some(parent) => format!("{id} {parent}\n"),
            None => format!("{id}\n"),
        };
        let input: String = commits.iter().map(line).collect();
        let args = ["diff-tree", "--stdin", "--root", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none"];
        let said =
            self.neutral_with(&args, &Input { stdin: Some(input.as_bytes()), ..Input::default() })?.ok(&self.dir)?;
        let mut found: HashMap<CommitId, Vec<GitPath>> = HashMap::new();
        let mut at = None;
        let mut tokens = said.split(|b| *b == 0).filter(|t| !t.is_empty());
        while let Some(token) = tokens.next() {
            if token[0] != b':' {
                at = Some(commit_of(&self.dir, &String::from_utf8_lossy(token))?);
            } else if let (Some(id), Some(path)) = (&at, tokens.next()) {
                found.entry(id.clone()).or_default().push(GitPath::new(path));
            }
        }
        Ok(found)
    }
}

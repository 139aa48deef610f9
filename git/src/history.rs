//! Commits as the publish gate sees them: which are new, who says to have made them, which paths each changes, and whether a
//! change was only carried over from an earlier commit (rebase, amend, cherry-pick). Asks the git program and judges nothing.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::command::{GitError, Input, git_with};
use crate::worktree::Worktree;

/// The trailer by which a commit names the agent session that made it. The last one counts: whoever rewrites a commit adds
/// a name of its own below.
pub const SESSION_TRAILER: &str = "Railroad-Session";

/// Stands in that trailer where a person has rewritten an agent's commit. No session is called so.
pub const PERSON: &str = "(person)";

/// Earlier commits of one path that are looked through for a change that was carried over: a branch that is rebased has fewer.
const CARRIED_LOOK_MAX: usize = 200;

/// Where some branches stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips(BTreeSet<String>);

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The whole object name.
    pub id: String,
    pub parents: Vec<String>,
    /// When it was made, by the clock of whoever made it, in seconds.
    pub made_unix_s: i64,
    /// The session named by its last trailer; none where that names a person.
    pub session: Option<String>,
}

/// A branch that is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedOut {
    pub branch: String,
    /// The whole object name of its last commit.
    pub commit: String,
}

/// A repository's commits, asked for in one of its folders.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
    receiving: bool,
}

impl Worktree {
    /// Where HEAD of this work tree and all branches of its clone stand now.
    ///
    /// # Errors
    /// If neither git2 nor git can read them.
    pub fn tips(&self) -> Result<Tips, GitError> {
        match self.read_tips() {
            Ok(tips) => Ok(tips),
            // A repository format that only the program knows.
            Err(_) => self.ask_tips(),
        }
    }

    fn read_tips(&self) -> Result<Tips, git2::Error> {
        let repo = git2::Repository::open(&self.root)?;
        let mut found = BTreeSet::new();
        // Before the first commit HEAD names a branch that is not there yet.
        found.extend(repo.head().ok().and_then(|h| h.target()).map(|id| id.to_string()));
        for branch in repo.references_glob("refs/heads/*")? {
            found.extend(branch?.target().map(|id| id.to_string()));
        }
        Ok(Tips(found))
    }

    fn ask_tips(&self) -> Result<Tips, GitError> {
        let history = self.history();
        let mut found = history.refs(&["refs/heads"])?;
        let head = history.ask(&["rev-parse", "--verify", "--quiet", "HEAD"], None);
        found.extend(head.ok().map(|said| text(&said).trim().to_owned()));
        Ok(Tips(found))
    }

    #[must_use]
    pub fn history(&self) -> History {
        History::at(&self.root)
    }
}

impl Tips {
    /// Commits by their object names.
    #[must_use]
    pub fn named(ids: impl IntoIterator<Item = String>) -> Self {
        Self(ids.into_iter().collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl History {
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), receiving: false }
    }

    /// Inside a hook of a repository that receives a push: what is being received is seen as well.
    #[must_use]
    pub fn receiving(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), receiving: true }
    }

    fn ask(&self, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        git_with(&self.folder, args, &Input { stdin: input, keeps_quarantine: self.receiving, ..Input::default() })
    }

    /// Where the refs below these prefixes stand; all refs for none.
    ///
    /// # Errors
    /// If git fails.
    pub fn refs(&self, prefixes: &[&str]) -> Result<BTreeSet<String>, GitError> {
        let args = [&["for-each-ref", "--format=%(objectname)"], prefixes].concat();
        Ok(text(&self.ask(&args, None)?).lines().map(str::to_owned).collect())
    }

    /// The branch that is checked out here and the commit it stands at. `None`: none is, or it has no commit yet.
    ///
    /// # Errors
    /// If git cannot be run.
    pub fn checked_out(&self) -> Result<Option<CheckedOut>, GitError> {
        // With nothing committed, and in no repository, git says nothing.
        let said = match self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"], None) {
            Ok(said) => said,
            Err(GitError::Failed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let commit = text(&said).trim().to_owned();
        let name = match self.ask(&["symbolic-ref", "--quiet", "HEAD"], None) {
            Ok(said) => text(&said),
            Err(GitError::Failed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let branch = name.trim().strip_prefix("refs/heads/").map(str::to_owned);
        Ok(branch.map(|branch| CheckedOut { branch, commit }))
    }

    /// What is known to be published already: where every remote's branches stood when they were last looked at.
    ///
    /// # Errors
    /// If git fails.
    pub fn published(&self) -> Result<Tips, GitError> {
        self.refs(&["refs/remotes"]).map(Tips)
    }

    /// Every ref of the repository.
    ///
    /// # Errors
    /// If git fails.
    pub fn all_refs(&self) -> Result<Tips, GitError> {
        self.refs(&[]).map(Tips)
    }

    /// The commits reachable from `from` and from none of `known`, newest first; with `since`, those made from that second
    /// on. Names that lead to no commit, and known ones that are not here, count for nothing.
    ///
    /// # Errors
    /// If git fails.
    pub fn new_commits(&self, from: &Tips, known: &[&Tips], since: Option<i64>) -> Result<Vec<Commit>, GitError> {
        if from.is_empty() {
            return Ok(Vec::new());
        }
        let mut input: String = from.0.iter().map(|id| format!("{id}\n")).collect();
        input.extend(known.iter().flat_map(|tips| &tips.0).map(|id| format!("^{id}\n")));
        let format = format!("--format={}", commit_format());
        let since = format!("--max-age={}", since.unwrap_or(0));
        let args = ["log", "--ignore-missing", "--stdin", "--no-show-signature", "--no-color", "-z", &format, &since];
        let said = self.ask(&args, Some(input.as_bytes()))?;
        Ok(text(&said).split('\0').filter_map(commit_of).collect())
    }

    /// The commits that a person names: revisions and ranges as `git rev-list` takes them.
    ///
    /// # Errors
    /// If git does not know one of them.
    pub fn named(&self, revisions: &[String]) -> Result<Vec<String>, GitError> {
        let is_range = revisions.iter().any(|r| r.contains("..") || r.starts_with('^'));
        let walk: &[&str] = if is_range { &[] } else { &["--no-walk=unsorted"] };
        let revisions: Vec<&str> = revisions.iter().map(String::as_str).collect();
        let said = self.ask(&[&["rev-list"], walk, &["--end-of-options"], &revisions[..], &["--"]].concat(), None)?;
        Ok(text(&said).lines().map(str::to_owned).collect())
    }

    /// These commits, and nothing that they are built on.
    ///
    /// # Errors
    /// If git fails.
    pub fn each(&self, ids: &[String]) -> Result<Vec<Commit>, GitError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let format = format!("--format={}", commit_format());
        let args = ["log", "--no-walk=unsorted", "--stdin", "--no-show-signature", "--no-color", "-z", &format];
        let said = self.ask(&args, Some(input.as_bytes()))?;
        Ok(text(&said).split('\0').filter_map(commit_of).collect())
    }

    /// The paths that each commit changes, as bytes. A rename counts as both of its names. A merge counts with what is neither
    /// side's nor git's own merge of both: how a person or an agent resolved it.
    ///
    /// # Errors
    /// If git fails.
    pub fn changed_paths(&self, commits: &[Commit]) -> Result<HashMap<String, Vec<Vec<u8>>>, GitError> {
        let (merges, single): (Vec<&Commit>, Vec<&Commit>) = commits.iter().partition(|c| c.parents.len() > 1);
        let mut found = HashMap::new();
        if !single.is_empty() {
            let input: String = single.iter().map(|c| format!("{}\n", c.id)).collect();
            let args =
                ["diff-tree", "--stdin", "--root", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none"];
            let said = self.ask(&args, Some(input.as_bytes()))?;
            found = by_commit(&said);
        }
        for merge in merges {
            found.insert(merge.id.clone(), self.merged_by_hand(merge)?);
        }
        Ok(found)
    }

    fn merged_by_hand(&self, merge: &Commit) -> Result<Vec<Vec<u8>>, GitError> {
        // Git does not redo a merge of more than two: there, what differs from every side counts.
        let how = if merge.parents.len() == 2 { "--remerge-diff" } else { "-c" };
        let args = ["show", how, "--no-show-signature", "--name-only", "-z", "--no-renames", "--format=", &merge.id];
        let said = self.ask(&args, None)?;
        Ok(said.split(|b| *b == 0).filter(|p| !p.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The earlier commits, reachable from `earlier` or from a remote, that did to a path what this one does: the same contents
    /// afterwards, or the same lines taken out and put in. A rebase, an amendment or a cherry-pick has one; a commit
    /// that does nothing to the path has itself.
    ///
    /// # Errors
    /// If git fails.
    pub fn carried_from(&self, commit: &Commit, path: &[u8], earlier: &Tips) -> Result<Vec<Commit>, GitError> {
        let now = self.changes_of_path(&format!("{}\n", commit.id), path, 1)?;
        let Some(now) = now.into_iter().find(|change| change.commit.id == commit.id) else {
            return Ok(vec![commit.clone()]);
        };
        let remotes = self.refs(&["refs/remotes"])?;
        let known: String = earlier.0.union(&remotes).map(|id| format!("{id}\n")).collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        // What the commit is built on is no source: taking an old version up again is a new change.
        let then = self.changes_of_path(&format!("{known}^{}\n", commit.id), path, CARRIED_LOOK_MAX)?;
        Ok(then.into_iter().filter(|change| change.is_like(&now)).map(|change| change.commit).collect())
    }

    fn changes_of_path(&self, from: &str, path: &[u8], count: usize) -> Result<Vec<Change>, GitError> {
        let mut literal = b":(top,literal)".to_vec();
        literal.extend_from_slice(path);
        let (count, format) = (format!("-n{count}"), format!("--format=%x00{}", commit_format()));
        let fixed = [
            "-c",
            "log.follow=false",
            "log",
            "--ignore-missing",
            "--stdin",
            "--no-show-signature",
            "--no-color",
            &format,
            "-p",
            "-U0",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--full-index",
            "--ignore-submodules=none",
            "--submodule=short",
            &count,
            "--",
        ];
        let mut args: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        args.push(OsString::from_vec(literal));
        let said = git_with(
            &self.folder,
            args,
            &Input { stdin: Some(from.as_bytes()), keeps_quarantine: self.receiving, ..Input::default() },
        )?;
        Ok(said.split(|b| *b == 0).filter_map(Change::read).collect())
    }
}

/// What one commit does to one file.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    commit: Commit,
    /// Name of the contents afterwards.
    after: Vec<u8>,
    /// The lines it takes out and puts in.
    lines: Vec<Vec<u8>>,
}

impl Change {
    /// Reads one commit's part of `git log -p -U0 --full-index`.
    fn read(part: &[u8]) -> Option<Self> {
        let mut all = part.split(|b| *b == b'\n');
        let commit = commit_of(&text(all.next()?))?;
        let mut after = None;
        let (mut lines, mut in_hunks) = (Vec::new(), false);
        for line in all {
            if line.starts_with(b"@@") {
                in_hunks = true;
            } else if in_hunks && matches!(line.first(), Some(b'+' | b'-')) {
                lines.push(line.to_vec());
            } else if !in_hunks && let Some(names) = line.strip_prefix(b"index ") {
                let names = names.split(|b| *b == b' ').next().unwrap_or_default();
                after = text(names).split_once("..").map(|(_, after)| after.as_bytes().to_vec());
            }
        }
        Some(Self { commit, after: after?, lines })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.after == other.after || (!self.lines.is_empty() && self.lines == other.lines)
    }
}

fn commit_format() -> String {
    format!("%H%x1f%P%x1f%ct%x1f%(trailers:key={SESSION_TRAILER},valueonly,separator=%x2C)")
}

fn commit_of(record: &str) -> Option<Commit> {
    let mut fields = record.trim_start_matches('\n').split('\u{1f}');
    let id = fields.next().filter(|id| !id.is_empty())?.to_owned();
    let parents = fields.next()?.split(' ').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    let made_unix_s = fields.next()?.parse().unwrap_or(0);
    let session = fields.next().and_then(|names| names.trim().rsplit(',').next()).map(str::trim);
    let session = session.filter(|s| !s.is_empty() && *s != PERSON).map(str::to_owned);
    Some(Commit { id, parents, made_unix_s, session })
}

/// Takes apart `git diff-tree --stdin -z --raw`: a commit's name, then `:modes names status` and a path for each change.
fn by_commit(said: &[u8]) -> HashMap<String, Vec<Vec<u8>>> {
    let mut found: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    let mut at: Option<String> = None;
    let mut tokens = said.split(|b| *b == 0).filter(|t| !t.is_empty());
    while let Some(token) = tokens.next() {
        if token[0] != b':' {
            let id = text(token).trim().to_owned();
            found.entry(id.clone()).or_default();
            at = Some(id);
        } else if let (Some(id), Some(path)) = (&at, tokens.next()) {
            found.entry(id.clone()).or_default().push(path.to_vec());
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;

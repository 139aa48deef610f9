//! What a commit or tree of the mirror holds, read one piece at a time: files, names, folders, and the ground two commits share.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rr_core::id::{CommitId, ObjectId};
use rr_core::live::GitPath;
use rr_core::overlap::Edited;

use super::{Mirror, MirrorError};
use crate::command::Input;
use crate::history::SESSION_TRAILER;

/// Commits of a past that is learned from: what is hot shows in far fewer.
const COMMITS_MAX: usize = 5_000;

/// What was edited in some past, and by how many.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    pub files: Vec<Edited>,
    pub commits: u32,
    pub sessions: u32,
}

impl Mirror {
    /// Opens the mirror of this folder, or makes it from a repository that other machines push to: nobody works on it here.
    ///
    /// # Errors
    /// If the folder cannot be made, or the other repository cannot be reached.
    pub fn open_from(dir: &Path, remote: &str) -> Result<Self, MirrorError> {
        if !dir.join("HEAD").exists() {
            super::make(dir, "sha1")?;
        }
        let mirror = Self::opened(dir);
        let fetch =
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, "+refs/heads/*:refs/railroad/heads/*"];
        mirror.git(&fetch, &Input::default())?;
        Ok(mirror)
    }

    /// The bytes of a file in a commit, at most `max`. `None`: no such file.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn file_at(&self, commit: &CommitId, path: &str, max: usize) -> Result<Option<Vec<u8>>, MirrorError> {
        let said = self.neutral(&["rev-parse", "--verify", "--quiet", &format!("{commit}:{path}")])?;
        if !said.is_ok() {
            return Ok(None);
        }
        let Ok(id) = ObjectId::parse(&said.line()) else { return Ok(None) };
        let kind = self.neutral(&["cat-file", "-t", id.as_str()])?;
        if kind.line() == "blob" { self.bytes(&id, max) } else { Ok(None) }
    }

    /// The names directly in a folder of a commit; `""` is its root. Those that are no text are left out.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn names_at(&self, commit: &CommitId, folder: &str) -> Result<Vec<String>, MirrorError> {
        let said = self.neutral(&["ls-tree", "-z", "--name-only", &format!("{commit}:{folder}")])?;
        let names = said.out.split(|b| *b == 0).filter(|name| !name.is_empty());
        Ok(names.filter_map(|name| String::from_utf8(name.to_vec()).ok()).collect())
    }

    /// All files of a commit that are called so, wherever they are, by their paths. Those that are no text are left out.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn files_called(&self, commit: &CommitId, names: &[&str]) -> Result<Vec<String>, MirrorError> {
        let said = self.git(&["ls-tree", "-z", "-r", "--name-only", commit.as_str()], &Input::default())?;
        let paths = said.split(|b| *b == 0).filter_map(|path| std::str::from_utf8(path).ok());
        let is_called = |path: &&str| path.rsplit('/').next().is_some_and(|name| names.contains(&name));
        Ok(paths.filter(is_called).map(str::to_owned).collect())
    }

    /// Every folder of a tree, its root included.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn folders(&self, tree: &ObjectId) -> Result<Vec<PathBuf>, MirrorError> {
        let said = self.git(&["ls-tree", "-z", "-r", "-d", "--name-only", tree.as_str()], &Input::default())?;
        let names = said.split(|b| *b == 0).filter(|name| !name.is_empty());
        let below = names.map(|name| PathBuf::from(OsStr::from_bytes(name)));
        Ok(std::iter::once(PathBuf::new()).chain(below).collect())
    }

    /// How often each file was edited in the history of a commit, this many days back.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn edited(&self, tip: &CommitId, days: u32) -> Result<Edits, MirrorError> {
        let format = format!("--format=%x01%(trailers:key={SESSION_TRAILER},valueonly,separator=%x2C)");
        let (since, most) = (format!("--since={days}.days"), format!("--max-count={COMMITS_MAX}"));
        let args = ["log", "-z", "--no-merges", "--no-renames", "--name-only", &since, &most, &format, tip.as_str()];
        let said = self.git(&args, &Input::default())?;
        let mut edits = Edits::default();
        let (mut files, mut all) = (BTreeMap::<GitPath, (u32, BTreeSet<Vec<u8>>)>::new(), BTreeSet::new());
        for commit in said.split(|b| *b == 1).skip(1) {
            let end = commit.iter().position(|b| matches!(b, 0 | b'\n')).unwrap_or(commit.len());
            // Who has no session is one more pair of hands each time it is another commit's: counted as one.
            let session = commit[..end].to_vec();
            all.insert(session.clone());
            edits.commits += 1;
            let names = commit[end..].split(|b| *b == 0).map(<[u8]>::trim_ascii_start);
            for name in names.filter(|name| !name.is_empty()) {
                let (commits, sessions) = files.entry(GitPath::new(name)).or_default();
                *commits += 1;
                sessions.insert(session.clone());
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        edits.sessions = count(all.len());
        let edited = |(path, (commits, sessions)): (GitPath, (u32, BTreeSet<Vec<u8>>))| Edited {
            path,
            commits,
            sessions: count(sessions.len()),
        };
        edits.files = files.into_iter().map(edited).collect();
        Ok(edits)
    }

    /// The tree that two commits have in common, as git finds it; the empty one where they have nothing.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn fork(&self, a: &CommitId, b: &CommitId) -> Result<ObjectId, MirrorError> {
        let said = self.neutral(&["merge-base", a.as_str(), b.as_str()])?;
        match CommitId::parse(&said.line()) {
            Ok(base) => self.prefix(&base),
            Err(_) => self.nothing(),
        }
    }

    /// The empty tree.
    ///
    /// # Errors
    /// If git cannot make it.
    pub fn nothing(&self) -> Result<ObjectId, MirrorError> {
        let input = Input { stdin: Some(b""), ..Input::default() };
        let said = String::from_utf8_lossy(&self.git(&["mktree"], &input)?).trim().to_owned();
        ObjectId::parse(&said).map_err(|_| MirrorError::Words { command: "mktree", said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::git;
    use crate::worktree::Worktree;

    #[test]
    fn what_many_commits_and_sessions_edited_is_counted_by_file() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().join("r");
        std::fs::create_dir(&root).expect("mkdir");
        let run = |args: &[&str]| git(&root, args).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        for (n, session) in ["aa", "bb", "aa"].iter().enumerate() {
            std::fs::write(root.join("hot.txt"), format!("{n}\n")).expect("write");
            std::fs::write(root.join(format!("new\nline {n}")), "x").expect("write");
            run(&["add", "-A"]);
            run(&["commit", "-q", "-m", &format!("change\n\n{SESSION_TRAILER}: {session}")]);
        }
        let tree = Worktree::discover(&root).expect("readable").expect("a work tree");
        let mirror = Mirror::open(&dir.path().join("m.git"), &tree).expect("opens");
        mirror.borrow_from(&tree).expect("borrows");
        let tip = String::from_utf8(run(&["rev-parse", "HEAD"])).expect("text");
        let edits = mirror.edited(&CommitId::parse(tip.trim()).expect("an id"), 90).expect("reads");
        assert_eq!((edits.commits, edits.sessions, edits.files.len()), (3, 2, 4));
        let hot = edits.files.iter().find(|f| f.path == GitPath::from("hot.txt")).expect("found");
        assert_eq!((hot.commits, hot.sessions), (3, 2));
        assert!(edits.files.iter().any(|f| f.path == GitPath::new(&b"new\nline 1"[..])), "{:?}", edits.files);
    }
}

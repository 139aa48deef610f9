//! What differs from the last commit in a work tree, with enough about each file to see whether it changed between two looks.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::command::{GitError, git};
use crate::worktree::Worktree;

/// One look at a work tree: every path that differs from the last commit, untracked ones included, ignored ones not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    entries: BTreeMap<PathBuf, Option<Stamp>>,
    head: Vec<u8>,
    /// The last commit; none in a repository without one.
    commit: Option<String>,
}

/// What changes with every write through the file system: enough to tell "same as before" without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
}

impl Worktree {
    /// Looks at the work tree. Asks git, which is right where the library is not (sparse checkouts, filters, encodings).
    ///
    /// # Errors
    /// If git fails.
    pub fn dirty(&self) -> Result<Dirty, GitError> {
        let how = ["--porcelain=v2", "-z", "--branch", "--untracked-files=all"];
        let said = git(&self.root, ["status"].iter().chain(&how).chain(&["--no-renames", "--ignore-submodules=none"]))?;
        let head = std::fs::read(self.git_dir.join("HEAD")).unwrap_or_default();
        let paths = said.split(|b| *b == 0).filter_map(path_of);
        let entries = paths.map(|p| (p.to_owned(), stamp(&self.root.join(p)))).collect();
        let commit = said.split(|b| *b == 0).find_map(|record| record.strip_prefix(b"# branch.oid "));
        let commit = commit.map(|id| String::from_utf8_lossy(id).into_owned()).filter(|id| id != "(initial)");
        Ok(Dirty { entries, head, commit })
    }
}

impl Worktree {
    /// Files below a folder that git ignores, relative to the work tree: at most so many.
    ///
    /// # Errors
    /// If git fails.
    pub fn ignored_below(&self, folder: &Path, most: usize) -> Result<Vec<PathBuf>, GitError> {
        let how = ["--literal-pathspecs", "ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--"];
        let said = git(&self.root, how.map(OsStr::new).into_iter().chain([folder.as_os_str()]))?;
        let names = said.split(|b| *b == 0).filter(|name| !name.is_empty()).take(most);
        Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
    }
}

impl Worktree {
    /// The files that are not the same in two commits. What a checkout changes differs from neither.
    ///
    /// # Errors
    /// If git fails, as for a commit that is not there any more.
    pub fn changed_between(&self, old: &str, new: &str) -> Result<Vec<PathBuf>, GitError> {
        let how = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new];
        let said = git(&self.root, how)?;
        let names = said.split(|b| *b == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
    }
}

/// The path in one record of `--porcelain=v2 -z --no-renames`: `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path`,
/// `? path`.
fn path_of(record: &[u8]) -> Option<&Path> {
    let fields = match record.first()? {
        b'1' => 8,
        b'u' => 10,
        b'?' => 1,
        _ => return None,
    };
    let path = record.splitn(fields + 1, |b| *b == b' ').nth(fields)?;
    Some(Path::new(OsStr::from_bytes(path)))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = path.symlink_metadata().ok()?;
    let ns = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
    Some(Stamp {
        size: meta.len(),
        modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
        changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
        inode: meta.ino(),
    })
}

impl Dirty {
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }

    /// The paths whose files changed on disk between this look and a later one.
    #[must_use]
    pub fn changed_until(&self, later: &Self, root: &Path) -> Vec<PathBuf> {
        let mut changed: Vec<PathBuf> = Vec::new();
        for (path, stamp_now) in &later.entries {
            if self.entries.get(path) != Some(stamp_now) {
                changed.push(path.clone());
            }
        }
        for (path, stamp_then) in &self.entries {
            // Clean now: committed as it was, or brought back to what is committed.
            if !later.entries.contains_key(path) && stamp(&root.join(path)) != *stamp_then {
                changed.push(path.clone());
            }
        }
        changed.sort();
        changed
    }

    /// How the file at a path that differs from the last commit looked; none where nothing was.
    #[must_use]
    pub fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.entries.get(path).copied().flatten()
    }

    /// The last commit, as a full id.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// Whether another branch or commit is checked out since.
    #[must_use]
    pub fn head_moved(&self, later: &Self) -> bool {
        self.head != later.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo() -> (tempfile::TempDir, Worktree) {
        let dir = tempfile::tempdir().expect("temp dir");
        let run = |args: &[&str]| git(dir.path(), args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(dir.path().join("a b.txt"), "one\n").expect("write");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        let tree = Worktree::discover(dir.path()).expect("readable").expect("a work tree");
        (dir, tree)
    }

    #[test]
    fn a_change_between_two_looks_is_found_and_a_commit_of_it_is_none() {
        let (dir, tree) = repo();
        let clean = tree.dirty().expect("status");
        assert_eq!(clean.paths().count(), 0);
        let head = git(dir.path(), ["rev-parse", "HEAD"]).expect("rev-parse");
        assert_eq!(clean.commit(), Some(String::from_utf8_lossy(&head).trim()));
        std::fs::write(dir.path().join("a b.txt"), "two\n").expect("write");
        std::fs::write(dir.path().join("new"), "x").expect("write");
        let dirty = tree.dirty().expect("status");
        assert_eq!(clean.changed_until(&dirty, &tree.root), [PathBuf::from("a b.txt"), PathBuf::from("new")]);
        git(dir.path(), ["commit", "-qam", "second"]).expect("commit");
        let committed = tree.dirty().expect("status");
        assert!(dirty.changed_until(&committed, &tree.root).is_empty(), "committing changes no file");
        std::fs::remove_file(dir.path().join("new")).expect("remove");
        assert_eq!(committed.changed_until(&tree.dirty().expect("status"), &tree.root), [PathBuf::from("new")]);
    }

    #[test]
    fn what_a_checkout_changes_is_clean_before_and_after_and_found_between_the_commits() {
        let (dir, tree) = repo();
        let first = tree.dirty().expect("status");
        std::fs::write(dir.path().join("a b.txt"), "two\n").expect("write");
        git(dir.path(), ["commit", "-qam", "second"]).expect("commit");
        git(dir.path(), ["checkout", "-q", "HEAD~"]).expect("checkout");
        let before = tree.dirty().expect("status");
        git(dir.path(), ["checkout", "-q", "main"]).expect("checkout");
        let after = tree.dirty().expect("status");
        assert!(before.changed_until(&after, &tree.root).is_empty());
        let (old, new) = (before.commit().expect("a commit"), after.commit().expect("a commit"));
        assert_eq!(tree.changed_between(old, new).expect("git"), [PathBuf::from("a b.txt")]);
        assert_eq!(first.commit(), before.commit());
        assert_eq!(tree.was_landed_since(old), Some(false), "no landing of the product's own");
    }

    #[test]
    fn ignored_files_are_found_below_a_folder_and_nowhere_else() {
        let (dir, tree) = repo();
        for file in ["out/a.o", "out/deep/b.o", "elsewhere/c.o", "out/seen.txt"] {
            std::fs::create_dir_all(dir.path().join(file).parent().expect("a folder")).expect("mkdir");
            std::fs::write(dir.path().join(file), "x").expect("write");
        }
        std::fs::write(dir.path().join(".gitignore"), "*.o\n").expect("write");
        let found = tree.ignored_below(&tree.root.join("out"), 10).expect("git");
        assert_eq!(found, ["out/a.o", "out/deep/b.o"].map(PathBuf::from));
        assert_eq!(tree.ignored_below(&tree.root.join("out"), 1).expect("git").len(), 1);
    }

    #[test]
    fn a_path_that_does_not_exist_yet_is_in_the_work_tree_around_it() {
        let (dir, tree) = repo();
        let found = Worktree::discover(&dir.path().join("not/yet/there.txt")).expect("readable");
        assert_eq!(found, Some(tree.clone()));
        assert_eq!(tree.branch(), "main");
        assert_eq!(Worktree::discover(Path::new("/")).expect("readable"), None);
    }

    #[test]
    fn clones_and_work_trees_of_one_history_have_one_identity() {
        let (dir, tree) = repo();
        let other = tempfile::tempdir().expect("temp dir");
        let clone = other.path().join("clone");
        git(dir.path(), ["clone".as_ref(), "-q".as_ref(), ".".as_ref(), clone.as_os_str()]).expect("clone");
        git(dir.path(), ["worktree".as_ref(), "add".as_ref(), "-q".as_ref(), other.path().join("wt").as_os_str()])
            .expect("worktree");
        let at = |p: &Path| Worktree::discover(p).expect("readable").expect("a work tree");
        let (clone, linked) = (at(&clone), at(&other.path().join("wt")));
        assert_eq!(clone.repo_id(None), tree.repo_id(None));
        assert_eq!(linked.repo_id(None), tree.repo_id(None));
        assert_eq!(linked.clone_tag(), tree.clone_tag());
        assert_ne!(linked.tree_tag(), tree.tree_tag());
        assert_ne!(tree.repo_id(Some("other")), tree.repo_id(None));
    }
}

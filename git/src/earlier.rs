//! Files as a checkout of a commit would put them on disk: what stood at a path that was clean before somebody changed it. The
//! git program does it, because filters, line ends and encodings are its own to know. Nothing of the work tree is touched.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::command::{GitError, Input, git_with};
use crate::worktree::Worktree;

/// What a commit had at some paths.
pub struct PutEarlier {
    /// They stand below this folder.
    pub files: PathBuf,
    /// Those that the commit has. One that does not stand there all the same could not be put: a filter failed.
    pub had: HashSet<PathBuf>,
}

impl Worktree {
    /// Puts those of `paths` (relative to the work tree) that `commit` has below `into`, as a checkout would. Others are left out.
    /// `into` must be an empty folder of the caller's own; an index is made in it, too.
    ///
    /// # Errors
    /// If git fails.
    pub fn put_earlier(&self, commit: &str, paths: &[PathBuf], into: &Path) -> Result<PutEarlier, GitError> {
        let index = into.join("index");
        let files = into.join("files");
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        let own = Input { env: &env, ..Input::default() };
        git_with(&self.root, ["read-tree", commit], &own)?;
        let mut prefix = OsString::from("--prefix=");
        prefix.push(&files);
        prefix.push("/");
        let all = git_with(&self.root, ["ls-files", "-z"], &own)?;
        let all: HashSet<&[u8]> = all.split(|b| *b == 0).collect();
        let had: HashSet<PathBuf> = paths.iter().filter(|p| all.contains(p.as_os_str().as_bytes())).cloned().collect();
        let names: Vec<u8> = had.iter().flat_map(|p| [p.as_os_str().as_bytes(), b"\0"].concat()).collect();
        let args = ["checkout-index", "--quiet", "--force", "-z", "--stdin"].map(OsString::from);
        git_with(&self.root, args.into_iter().chain([prefix]), &Input { stdin: Some(&names), ..own }).or_else(
            |error| {
                // A filter that fails ends it: what it had put by then is whole.
                if matches!(error, GitError::Failed { .. }) { Ok(Vec::new()) } else { Err(error) }
            },
        )?;
        Ok(PutEarlier { files, had })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::command::git;

    #[test]
    fn a_clean_file_of_before_is_put_as_a_checkout_would_and_the_rest_is_left_out() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let run = |args: &[&str]| git(root, args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(root.join(".gitattributes"), "*.txt text eol=crlf\n").expect("write");
        std::fs::write(root.join("a b.txt"), "one\r\n").expect("write");
        std::fs::write(root.join("run.sh"), "#!/bin/sh\n").expect("write");
        std::fs::set_permissions(root.join("run.sh"), std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::os::unix::fs::symlink("run.sh", root.join("link")).expect("link");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        let tree = Worktree::discover(root).expect("readable").expect("a work tree");
        let commit = tree.dirty().expect("status").commit().expect("a commit").to_owned();
        std::fs::write(root.join("a b.txt"), "two\r\n").expect("write");
        let paths = ["a b.txt", "run.sh", "link", "never.txt"].map(PathBuf::from);
        let place = tempfile::tempdir().expect("temp dir");
        let put = tree.put_earlier(&commit, &paths, place.path()).expect("put");
        let files = put.files;
        assert!(put.had.len() == 3 && !put.had.contains(Path::new("never.txt")));
        assert_eq!(std::fs::read(files.join("a b.txt")).expect("there"), b"one\r\n");
        assert_eq!(std::fs::read_link(files.join("link")).expect("there"), PathBuf::from("run.sh"));
        let mode = std::fs::metadata(files.join("run.sh")).expect("there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
        assert!(!files.join("never.txt").exists());
        assert_eq!(std::fs::read(root.join("a b.txt")).expect("there"), b"two\r\n", "the work tree is as it was");
        let dirty = tree.dirty().expect("status");
        assert_eq!(dirty.paths().count(), 1);
    }

    #[test]
    fn a_file_whose_filter_fails_is_not_taken_for_one_that_was_not_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let run = |args: &[&str]| git(root, args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(root.join(".gitattributes"), "*.big filter=big\n").expect("write");
        std::fs::write(root.join("a.big"), "pointer\n").expect("write");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        run(&["config", "filter.big.smudge", "false"]);
        run(&["config", "filter.big.required", "true"]);
        let tree = Worktree::discover(root).expect("readable").expect("a work tree");
        let place = tempfile::tempdir().expect("temp dir");
        let put = tree.put_earlier("HEAD", &[PathBuf::from("a.big")], place.path()).expect("put");
        assert!(put.had.contains(Path::new("a.big")) && !put.files.join("a.big").exists());
    }
}

//! What changed together in the recent past of a work tree's branch: one list of paths for each commit. What follows from it is its
//! callers' business.

use rr_core::live::GitPath;

use crate::command::{GitError, git};
use crate::worktree::Worktree;

/// Commits of a past that is learned from: what belongs together shows in far fewer.
const COMMITS_MAX: usize = 2_000;

impl Worktree {
    /// The paths that each commit of the last so many days changed, the newest first; merges are left out. A repository without a
    /// commit has no past.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn past(&self, days: u32) -> Result<Vec<Vec<GitPath>>, GitError> {
        if git(&self.root, ["rev-parse", "--verify", "--quiet", "HEAD"]).is_err() {
            return Ok(Vec::new());
        }
        let (since, most) = (format!("--since={days}.days"), format!("--max-count={COMMITS_MAX}"));
        let how =
            ["log", "-z", "--no-merges", "--no-renames", "--name-only", "--format=%x01", &since, &most, "HEAD", "--"];
        let said = git(&self.root, how)?;
        let paths = |commit: &[u8]| {
            let names = commit.split(|b| *b == 0).map(<[u8]>::trim_ascii_start);
            names.filter(|name| !name.is_empty()).map(GitPath::new).collect()
        };
        Ok(said.split(|b| *b == 1).skip(1).map(paths).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_commit_is_what_it_changed_and_no_commit_is_no_past() {
        let dir = tempfile::tempdir().expect("folder");
        let run = |words: &[&str]| {
            let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
            assert!(Command::new("git").args(who).args(words).current_dir(dir.path()).status().expect("git").success());
        };
        run(&["init", "-q"]);
        let tree = Worktree::discover(dir.path()).expect("looked at").expect("a work tree");
        assert!(tree.past(90).expect("asked").is_empty());
        for files in [&["a", "b c"][..], &["ü"][..]] {
            files.iter().for_each(|file| std::fs::write(dir.path().join(file), "x").expect("write"));
            run(&["add", "."]);
            run(&["commit", "-q", "-m", "files"]);
        }
        let names = |commit: &Vec<GitPath>| commit.iter().map(ToString::to_string).collect::<Vec<_>>();
        let past: Vec<_> = tree.past(90).expect("asked").iter().map(names).collect();
        assert_eq!(past, [vec!["ü"], vec!["a", "b c"]]);
    }
}

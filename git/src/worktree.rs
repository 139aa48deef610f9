//! One work tree: where it is, which clone it belongs to, which branch it is on. Found with git2, and with the git program
//! where git2 refuses a repository format that git knows (reftable, split index, other object formats).

use std::path::{Path, PathBuf};

use crate::command::{GitError, git};

/// A work tree, with canonical paths. Two work trees of one clone share `common_dir`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worktree {
    pub root: PathBuf,
    pub git_dir: PathBuf,
    pub common_dir: PathBuf,
}

impl Worktree {
    /// The work tree that a path lies in, whether or not the path exists. `None`: it lies in none (also: inside a bare
    /// repository).
    ///
    /// # Errors
    /// If there is a repository but neither git2 nor git can read it.
    pub fn discover(path: &Path) -> Result<Option<Self>, GitError> {
        let Some(folder) = path.ancestors().find(|a| a.is_dir()) else {
            return Ok(None);
        };
        match git2::Repository::discover(folder) {
            Ok(repo) => Ok(Self::opened(&repo)),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(_) => Self::asked(folder),
        }
    }

    fn opened(repo: &git2::Repository) -> Option<Self> {
        let root = canonical(repo.workdir()?);
        Some(Self { root, git_dir: canonical(repo.path()), common_dir: canonical(repo.commondir()) })
    }

    fn asked(folder: &Path) -> Result<Option<Self>, GitError> {
        let args = ["rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir"];
        let said = match git(folder, args) {
            Ok(said) => said,
            Err(GitError::Failed { said, .. }) if said.contains("must be run in a work tree") => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let text = String::from_utf8_lossy(&said).into_owned();
        let mut lines = text.lines().map(|l| canonical(Path::new(l)));
        match (lines.next(), lines.next(), lines.next()) {
            (Some(root), Some(git_dir), Some(common_dir)) => Ok(Some(Self { root, git_dir, common_dir })),
            _ => Ok(None),
        }
    }

    /// The branch that is checked out, or the first digits of the commit.
    #[must_use]
    pub fn branch(&self) -> String {
        let head = std::fs::read_to_string(self.git_dir.join("HEAD")).unwrap_or_default();
        let head = head.trim();
        head.strip_prefix("ref: refs/heads/").map_or_else(|| head.chars().take(12).collect(), str::to_owned)
    }

    /// Whether a landing of the product's own is moving files here at this moment, or was killed in it.
    #[must_use]
    pub fn is_landing(&self) -> bool {
        crate::mirror::landing_folders(self).iter().any(|folder| folder.join("note").exists())
    }

    /// Whether HEAD came from one commit to where it stands by landings of the product's own alone, as git's own log of it says.
    /// `None`: git keeps none here, so nobody can say.
    #[must_use]
    pub fn was_landed_since(&self, commit: &str) -> Option<bool> {
        let log = std::fs::read_to_string(self.git_dir.join("logs/HEAD")).ok().filter(|log| !log.is_empty())?;
        // `old new who time zone<tab>why`, the newest last.
        for line in log.lines().rev() {
            let (ids, why) = line.split_once('\t').unwrap_or((line, ""));
            if why != crate::mirror::LANDING_WHY {
                return Some(false);
            }
            if ids.starts_with(commit) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// When a commit was made, in seconds since 1970, if this work tree is built on it.
    #[must_use]
    pub fn built_on_since(&self, commit: &str) -> Option<u64> {
        git(&self.root, ["merge-base", "--is-ancestor", commit, "HEAD"]).ok()?;
        let said = git(&self.root, ["log", "-1", "--no-show-signature", "--format=%ct", commit]).ok()?;
        String::from_utf8_lossy(&said).trim().parse().ok()
    }

    /// How many lines `mine` and `theirs` differ in: (only in theirs, only in mine). `None` for binary files.
    #[must_use]
    pub fn lines_apart(&self, mine: &Path, theirs: &Path) -> Option<(u64, u64)> {
        let args = ["diff", "--no-index", "--numstat", "--"].map(std::ffi::OsString::from);
        let args = args.into_iter().chain([mine.as_os_str().to_owned(), theirs.as_os_str().to_owned()]);
        // Exit status 1 means "they differ" here, so the output is read from the error's side as well.
        let output = std::process::Command::new("git").current_dir(&self.root).args(args).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = text.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

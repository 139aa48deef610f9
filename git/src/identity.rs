//! Which repository a work tree belongs to, over all its clones and hosts (D5): what `railroad.yaml` says, else the root
//! commit, else the remote's normalised address, else the clone's own folder.

use rr_core::id::{RepoId, hex};
use sha2::{Digest as _, Sha256};

use crate::command::git;
use crate::worktree::Worktree;

impl Worktree {
    /// The repository's identity. `configured` is `repo:` of `railroad.yaml`.
    #[must_use]
    pub fn repo_id(&self, configured: Option<&str>) -> RepoId {
        let source = configured
            .map(|name| format!("name:{name}"))
            .or_else(|| self.root_commit().map(|c| format!("root:{c}")))
            .or_else(|| self.remote().map(|r| format!("remote:{r}")))
            .unwrap_or_else(|| format!("folder:{}", self.common_dir.display()));
        digest(&source)
    }

    /// The commit without parents that the present history goes back to by first parents; a merge of foreign histories
    /// does not change it.
    fn root_commit(&self) -> Option<String> {
        let said = git(&self.root, ["rev-list", "--first-parent", "--max-parents=0", "HEAD"]).ok()?;
        if self.is_shallow() {
            return None;
        }
        String::from_utf8_lossy(&said).lines().last().map(str::to_owned)
    }

    /// A shallow clone's oldest commit is not the root.
    fn is_shallow(&self) -> bool {
        self.common_dir.join("shallow").exists()
    }

    fn remote(&self) -> Option<String> {
        let said = git(&self.root, ["config", "--get", "remote.origin.url"]).ok()?;
        let url = String::from_utf8_lossy(&said).trim().to_owned();
        (!url.is_empty()).then(|| normalise(&url))
    }

    /// A short name for this work tree, for locks on things that each work tree has one of.
    #[must_use]
    pub fn tree_tag(&self) -> String {
        short(&self.root.to_string_lossy())
    }

    /// A short name for this clone, for locks on things that all its work trees share.
    #[must_use]
    pub fn clone_tag(&self) -> String {
        short(&self.common_dir.to_string_lossy())
    }
}

/// `git@host:team/x.git`, `ssh://git@host/team/x` and `https://host/team/x/` are one repository.
fn normalise(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.replacen(':', "/", 1);
    rest.trim_end_matches('/').trim_end_matches(".git").to_lowercase()
}

fn digest(text: &str) -> RepoId {
    let full = hex(&Sha256::digest(text.as_bytes()));
    // Sixteen hex digits of a hash are sixteen hex digits.
    RepoId::parse(&full[..16]).unwrap_or_else(|_| unreachable!("hex of a hash"))
}

fn short(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_remote_are_one_repository() {
        for url in ["git@example.org:Team/x.git", "ssh://git@example.org/team/x", "https://example.org/team/x/"] {
            assert_eq!(normalise(url), "example.org/team/x", "{url}");
        }
    }
}

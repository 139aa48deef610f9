//! Which branch everybody's work is to land on, and where it stands, as one clone sees it. Nothing is fetched here; see `travel`.

use rr_core::id::CommitId;
use rr_core::live::Target;

use super::{Mirror, MirrorError};
use crate::command::{GitError, git};
use crate::worktree::Worktree;

/// Where a new repository's work goes by custom.
const CUSTOMARY: [&str; 2] = ["main", "master"];

impl Mirror {
    /// Where the target stands as this clone sees it, and the address it is fetched from (without what is secret in it).
    ///
    /// The branch: `configured`; else the one that the remote's HEAD names; else `main`, else `master`; else the one that the clone's
    /// main work tree has checked out. The remote: `origin`, else the only one. Where the branch stands: at the remote's
    /// (as last fetched), or at the clone's own branch of that name if that one is ahead of it and this work tree has not
    /// checked it out (what is committed there is then this work tree's own work). Without a remote's: at the clone's own.
    /// None: there is no such branch.
    ///
    /// # Errors
    /// If git cannot be asked.
    pub fn target(
        &self,
        tree: &Worktree,
        configured: Option<&str>,
    ) -> Result<Option<(Target, Option<String>)>, MirrorError> {
        let clone = Clone { tree, remote: remote_of(tree)? };
        let url = clone.remote.as_deref().and_then(|name| clone.said(&["remote", "get-url", name])).map(|u| shown(&u));
        let names: Vec<String> = match configured {
            Some(name) => vec![clone.without_remote(name)],
            None => clone.candidates(),
        };
        let target = names.into_iter().find_map(|branch| {
            let commit = clone.stands_at(&branch)?;
            Some(Target { branch, commit })
        });
        Ok(target.map(|target| (target, url)))
    }
}

struct Clone<'a> {
    tree: &'a Worktree,
    remote: Option<String>,
}

impl Clone<'_> {
    fn said(&self, args: &[&str]) -> Option<String> {
        let said = git(&self.tree.root, args).ok()?;
        Some(String::from_utf8_lossy(&said).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// `origin/main` is the remote's `main`, unless there is a branch of that very name.
    fn without_remote(&self, name: &str) -> String {
        let name = name.strip_prefix("refs/heads/").unwrap_or(name);
        let remote = self.remote.as_deref().unwrap_or("origin");
        let rest = name.strip_prefix(remote).and_then(|rest| rest.strip_prefix('/'));
        rest.filter(|_| self.commit(&format!("refs/heads/{name}")).is_none()).unwrap_or(name).to_owned()
    }

    fn candidates(&self) -> Vec<String> {
        let named = self.remote.as_deref().and_then(|remote| {
            let head = self.said(&["symbolic-ref", "--quiet", &format!("refs/remotes/{remote}/HEAD")])?;
            head.strip_prefix(&format!("refs/remotes/{remote}/")).map(str::to_owned)
        });
        let main_tree = self.said(&["worktree", "list", "--porcelain"]).and_then(|list| {
            let first = list.lines().take_while(|line| !line.is_empty());
            first.into_iter().find_map(|line| line.strip_prefix("branch refs/heads/").map(str::to_owned))
        });
        named.into_iter().chain(CUSTOMARY.map(str::to_owned)).chain(main_tree).collect()
    }

    fn commit(&self, name: &str) -> Option<CommitId> {
        CommitId::parse(&self.said(&["rev-parse", "--quiet", "--verify", &format!("{name}^{{commit}}")])?).ok()
    }

    fn stands_at(&self, branch: &str) -> Option<CommitId> {
        let local = format!("refs/heads/{branch}");
        let theirs = self.remote.as_deref().and_then(|r| self.commit(&format!("refs/remotes/{r}/{branch}")));
        let ours = self.commit(&local);
        let (Some(theirs), Some(ours)) = (&theirs, &ours) else { return theirs.or(ours) };
        let is_here = self.said(&["symbolic-ref", "--quiet", "HEAD"]).as_deref() == Some(local.as_str());
        let is_ahead = || git(&self.tree.root, ["merge-base", "--is-ancestor", theirs.as_str(), ours.as_str()]).is_ok();
        Some(if !is_here && is_ahead() { ours.clone() } else { theirs.clone() })
    }
}

/// `origin`, else the only one.
fn remote_of(tree: &Worktree) -> Result<Option<String>, GitError> {
    let said = git(&tree.root, ["remote"])?;
    let names: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
    Ok(match names.as_slice() {
        [only] => Some(only.clone()),
        _ => names.into_iter().find(|name| name == "origin"),
    })
}

/// An address that anybody may read: over HTTP, who is asking is part of it and may be a password.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) if scheme.starts_with("http") => format!("{scheme}://{host}{}", &rest[end..]),
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or(user);
            format!("{scheme}://{user}@{host}{}", &rest[end..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_in_an_address_that_is_shown() {
        for (url, seen) in [
            ("https://me:secret@example.org/a.git", "https://example.org/a.git"),
            ("https://token@example.org/a@b.git", "https://example.org/a@b.git"),
            ("ssh://git:pw@example.org/a", "ssh://git@example.org/a"),
            ("git@example.org:a/b.git", "git@example.org:a/b.git"),
            ("/srv/a.git", "/srv/a.git"),
        ] {
            assert_eq!(shown(url), seen);
        }
    }
}

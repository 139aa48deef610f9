//! Looks that stay: each as a commit on the last one of its work tree, under a name of its own, so that nothing prunes it and others can
//! find where it and theirs part. The same look is the same commit on every machine.

use std::ffi::OsStr;

use rr_core::id::{CommitId, HostId};
use rr_core::live::TreeKey;

use super::look::Look;
use super::{Mirror, MirrorError};
use crate::command::Input;

pub(super) const REFS: &str = "refs/railroad/live";
const MESSAGE: &str = "What stands in a work tree";
/// So that the same tree has the same name, whoever looks and whenever.
const NOBODY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "railroad"),
    ("GIT_AUTHOR_EMAIL", "railroad@localhost"),
    ("GIT_AUTHOR_DATE", "@0 +0000"),
    ("GIT_COMMITTER_NAME", "railroad"),
    ("GIT_COMMITTER_EMAIL", "railroad@localhost"),
    ("GIT_COMMITTER_DATE", "@0 +0000"),
];

pub(super) fn name_of(key: &TreeKey) -> String {
    format!("{REFS}/{}/{}", key.host, key.tree)
}

impl Mirror {
    /// Keeps a look under its work tree's name, in place of the one before.
    ///
    /// # Errors
    /// If git refuses: the work tree's last commit is not here, or its name is none for a ref.
    pub fn keep(&self, key: &TreeKey, look: &Look) -> Result<CommitId, MirrorError> {
        let commit = self.commit_of(look)?;
        self.git(&["update-ref", "--no-deref", &name_of(key), commit.as_str()], &Input::default())?;
        Ok(commit)
    }

    /// Forgets what is kept of a work tree. It need not be there.
    ///
    /// # Errors
    /// If git fails.
    pub fn forget(&self, key: &TreeKey) -> Result<(), MirrorError> {
        self.git(&["update-ref", "--no-deref", "-d", &name_of(key)], &Input::default())?;
        Ok(())
    }

    /// All that is kept: this host's work trees, and those fetched from others.
    ///
    /// # Errors
    /// If git fails.
    pub fn kept(&self) -> Result<Vec<(TreeKey, CommitId)>, MirrorError> {
        let said = self.git(&["for-each-ref", "--format=%(objectname) %(refname)", REFS], &Input::default())?;
        let text = String::from_utf8_lossy(&said).into_owned();
        let line = |line: &str| {
            let (commit, name) = line.split_once(' ')?;
            let (host, tree) = name.strip_prefix(REFS)?.strip_prefix('/')?.split_once('/')?;
            let key = TreeKey { host: HostId::parse(host).ok()?, tree: tree.to_owned() };
            Some((key, CommitId::parse(commit).ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Its commit, made if it is not here yet.
    pub(super) fn commit_of(&self, look: &Look) -> Result<CommitId, MirrorError> {
        let mut args = vec!["commit-tree", look.tree.as_str(), "-m", MESSAGE];
        if let Some(head) = &look.head {
            args.extend(["-p", head.as_str()]);
        }
        let env = NOBODY.map(|(name, value)| (name, OsStr::new(value)));
        let said = self.git(&args, &Input { env: &env, ..Input::default() })?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        CommitId::parse(&said).map_err(|_| MirrorError::Words { command: "commit-tree", said })
    }
}

//! In which work trees a typed path is meant: a session may have changed the same one in several. Whose changes they are is
//! `target`'s.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rr_core::path::{show, typed};
use rr_core::rollback::{Change, Place};
use rr_proto::v1;

use super::target::Target;
use crate::service::Service;

impl Service {
    /// The places that are meant. None: everything; and without a folder every work tree.
    pub(super) fn within(
        &self,
        asked: &v1::RollbackRequest,
        target: &Target,
        history: &[Change],
    ) -> Result<Option<Vec<Place>>, String> {
        if asked.path.is_empty() {
            return Ok(None);
        }
        let path = typed(asked.path.as_ref());
        let changed = history.iter().filter(|c| target.all.contains(&c.session) && c.place.path.starts_with(&path));
        let mut roots: BTreeSet<PathBuf> = changed.map(|change| change.place.root.clone()).collect();
        if !asked.folder.is_empty() {
            let words = |wrong: NotOne| wrong.in_words(&target.names(), &path, &asked.folder);
            roots = self.meant(asked.folder.as_ref(), roots).map_err(words)?;
        }
        Ok(Some(roots.into_iter().map(|root| Place { root, path: path.clone() }).collect()))
    }

    /// The work tree that the folder is in; else the only one of its repository. A folder of another machine says nothing.
    fn meant(&self, folder: &Path, mut roots: BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, NotOne> {
        let repo = |folder: &Path| self.repos.around(folder).ok().flatten();
        if let Some(here) = repo(folder).filter(|_| !roots.is_empty()) {
            if roots.contains(&here.tree.root) {
                return Ok([here.tree.root.clone()].into());
            }
            let (own, others): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
                roots.into_iter().partition(|root| repo(root).is_some_and(|repo| repo.id == here.id));
            if own.is_empty() {
                return Err(NotOne::Elsewhere(others));
            }
            roots = own;
        }
        if roots.len() > 1 { Err(NotOne::Several(roots)) } else { Ok(roots) }
    }
}

enum NotOne {
    Several(BTreeSet<PathBuf>),
    /// In other repositories only.
    Elsewhere(BTreeSet<PathBuf>),
}

impl NotOne {
    fn in_words(&self, session: &str, path: &Path, folder: &str) -> String {
        let (Self::Several(roots) | Self::Elsewhere(roots)) = self;
        let (path, roots) = (show(path), roots.iter().map(|root| show(root)).collect::<Vec<_>>().join(" and "));
        match self {
            Self::Several(_) => format!(
                "Session {session} has changed {path} in {roots}. Nothing was changed: type the same in the one that is meant, or leave \
                 `--path` out for all."
            ),
            Self::Elsewhere(_) => format!(
                "Session {session} has not changed {path} in the repository of {folder}, but in {roots}. Nothing was changed: if that is \
                 meant, type the same there."
            ),
        }
    }
}

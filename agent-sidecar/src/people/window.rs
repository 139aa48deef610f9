//! What is known of one work tree since it was last looked at: how it stood then, and which of its files agents' calls account
//! for since. A call that may write anything, or something an agent left running, makes all changes of that time ambiguous.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_core::content::Content;
use rr_core::time::BootTime;

use crate::repos::Repo;
use crate::snapshots::Before;

/// One work tree.
pub(super) struct Window {
    pub repo: Arc<Repo>,
    /// Held while somebody looks, and while the product's own hand writes there.
    pub stood: Arc<tokio::sync::Mutex<Option<Stood>>>,
    accounted: Mutex<Accounted>,
}

/// A work tree as it was found.
pub(super) struct Stood {
    pub before: Before,
    /// When git was asked.
    pub at: BootTime,
}

/// What agents' calls account for, by path below the work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    /// Something was at work that may have written any file.
    pub any: bool,
    /// Named by calls of file tools that are under way.
    pub named: HashSet<PathBuf>,
    /// As calls that are over have left them: whatever differs from that came later.
    pub left: HashMap<PathBuf, Content>,
}

impl Window {
    pub(super) fn new(repo: Arc<Repo>) -> Self {
        Self { repo, stood: Arc::default(), accounted: Mutex::default() }
    }

    fn accounted(&self) -> MutexGuard<'_, Accounted> {
        self.accounted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins. It is among those under way already, so that whoever begins a new window meanwhile counts it.
    pub(super) fn begins(&self, any: bool, named: impl Iterator<Item = PathBuf>) {
        let mut accounted = self.accounted();
        accounted.any |= any;
        accounted.named.extend(named);
    }

    /// A call that named some files is over and has left these.
    pub(super) fn over(&self, named: impl Iterator<Item = PathBuf>, left: impl Iterator<Item = (PathBuf, Content)>) {
        let mut accounted = self.accounted();
        for file in named {
            accounted.named.remove(&file);
        }
        accounted.left.extend(left);
    }

    /// The window before this one could not be told of: what it accounted for counts here too.
    pub(super) fn goes_on(&self, earlier: Accounted) {
        let mut accounted = self.accounted();
        accounted.any |= earlier.any;
        for (file, content) in earlier.left {
            accounted.left.entry(file).or_insert(content);
        }
    }

    /// What was accounted for until now. A new window begins, with what is under way now: asked for under the lock, so that no
    /// call falls between two windows.
    pub(super) fn turn(&self, under_way: impl FnOnce() -> Accounted) -> Accounted {
        let mut accounted = self.accounted();
        std::mem::replace(&mut *accounted, under_way())
    }
}

#[cfg(test)]
mod tests {
    use rr_core::content::BlobId;

    use super::*;

    fn window() -> Window {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(
            std::process::Command::new("git").arg("init").arg("-q").arg(dir.path()).status().expect("git").success()
        );
        let repo = crate::repos::Repos::default().around(dir.path()).expect("readable").expect("a work tree");
        Window::new(repo)
    }

    #[test]
    fn a_call_counts_in_every_window_that_it_reaches_into_and_what_it_left_only_in_one() {
        let (window, file) = (window(), PathBuf::from("a"));
        window.begins(false, [file.clone()].into_iter());
        let under_way = || Accounted { named: [file.clone()].into(), ..Accounted::default() };
        assert_eq!(window.turn(under_way).named, [file.clone()].into());
        let content = Content::File { blob: BlobId([1; 20]), mode: 0o644 };
        window.over([file.clone()].into_iter(), [(file.clone(), content)].into_iter());
        let second = window.turn(Accounted::default);
        assert!(second.named.is_empty() && second.left == [(file, content)].into());
        assert_eq!(window.turn(Accounted::default), Accounted::default());
        window.begins(true, std::iter::empty());
        assert!(window.turn(Accounted::default).any);
    }
}

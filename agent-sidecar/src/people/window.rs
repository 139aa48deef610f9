//! What is known of one work tree since it was last looked at: how it stood then, and which of its files agents' calls account
//! for since. A call that may write anything, or something an agent left running, makes all changes of that time ambiguous.
//!
//! A look takes time, and calls go on meanwhile: what is noted while git looks counts in the window that ends with the look and in
//! the one that begins with it.

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
    noted: Mutex<Noted>,
}

/// A work tree as it was found.
pub(super) struct Stood {
    /// None where nothing that follows could be told: then nothing was kept.
    pub before: Option<Before>,
    /// When git was asked.
    pub at: BootTime,
}

/// What agents' calls account for, by path below the work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    /// Something was at work that may have written any file.
    pub any: bool,
    /// Named by calls of file tools.
    pub named: HashSet<PathBuf>,
    /// As calls that are over have left them: whatever differs from that came later.
    pub left: HashMap<PathBuf, Content>,
}

/// The same, each with when it was noted last.
#[derive(Debug, Default)]
struct Noted {
    any: Option<BootTime>,
    named: HashMap<PathBuf, BootTime>,
    left: HashMap<PathBuf, (Content, BootTime)>,
}

impl Window {
    pub(super) fn new(repo: Arc<Repo>) -> Self {
        Self { repo, stood: Arc::default(), noted: Mutex::default() }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins. It is among those under way already, so that whoever begins a new window meanwhile counts it.
    pub(super) fn begins(&self, any: bool, named: impl Iterator<Item = PathBuf>, now: BootTime) {
        let mut noted = self.noted();
        if any {
            noted.any = noted.any.max(Some(now));
        }
        noted.named.extend(named.map(|file| (file, now)));
    }

    /// A call that named some files was over then, and had left these. `any`: it may have written anything until then.
    pub(super) fn over(
        &self,
        any: bool,
        named: impl Iterator<Item = PathBuf>,
        left: impl Iterator<Item = (PathBuf, Content)>,
        then: BootTime,
    ) {
        let mut noted = self.noted();
        if any {
            noted.any = noted.any.max(Some(then));
        }
        for file in named {
            noted.named.remove(&file);
        }
        noted.left.extend(left.map(|(file, content)| (file, (content, then))));
    }

    /// All that was accounted for until now.
    pub(super) fn accounted(&self) -> Accounted {
        let noted = self.noted();
        Accounted {
            any: noted.any.is_some(),
            named: noted.named.keys().cloned().collect(),
            left: noted.left.iter().map(|(file, (content, _))| (file.clone(), *content)).collect(),
        }
    }

    /// A new window begins with a look of that time: with what was noted since, and what is under way now. That is asked for
    /// under the lock, so that no call falls between two windows. It counts from the look on: its end is noted by itself.
    pub(super) fn turn(&self, looked_at: BootTime, under_way: impl FnOnce() -> Accounted) {
        let mut noted = self.noted();
        noted.any = noted.any.filter(|at| *at >= looked_at);
        noted.named.retain(|_, at| *at >= looked_at);
        noted.left.retain(|_, (_, at)| *at >= looked_at);
        let under_way = under_way();
        if under_way.any {
            noted.any = noted.any.max(Some(looked_at));
        }
        for file in under_way.named {
            noted.named.entry(file).or_insert(looked_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use rr_core::content::BlobId;
    use rr_core::time::Span;

    use super::*;

    const CONTENT: Content = Content::File { blob: BlobId([1; 20]), mode: 0o644 };

    fn window() -> Window {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(
            std::process::Command::new("git").arg("init").arg("-q").arg(dir.path()).status().expect("git").success()
        );
        let repo = crate::repos::Repos::default().around(dir.path()).expect("readable").expect("a work tree");
        Window::new(repo)
    }

    fn at(secs: u64) -> BootTime {
        BootTime::from_millis(1_000_000) + Span::from_secs(secs)
    }

    fn file() -> std::iter::Once<PathBuf> {
        std::iter::once(PathBuf::from("a"))
    }

    #[test]
    fn a_call_counts_in_every_window_that_it_reaches_into() {
        let window = window();
        window.begins(false, file(), at(1));
        let under_way = || Accounted { named: file().collect(), ..Accounted::default() };
        window.turn(at(2), under_way);
        assert_eq!(window.accounted().named, file().collect());
        window.over(false, file(), file().map(|file| (file, CONTENT)), at(3));
        let second = window.accounted();
        assert!(second.named.is_empty() && second.left == file().map(|file| (file, CONTENT)).collect());
        window.turn(at(4), Accounted::default);
        assert_eq!(window.accounted(), Accounted::default());
    }

    #[test]
    fn what_came_while_git_looked_counts_in_the_next_window_too() {
        let window = window();
        // The look began at 5; the call came and went until its end at 8.
        window.begins(false, file(), at(6));
        window.over(false, file(), file().map(|file| (file, CONTENT)), at(7));
        window.begins(true, std::iter::empty(), at(6));
        window.turn(at(5), Accounted::default);
        let next = window.accounted();
        assert!(next.any && next.left.len() == 1, "{next:?}");
        window.turn(at(9), Accounted::default);
        assert_eq!(window.accounted(), Accounted::default());
    }

    #[test]
    fn a_call_that_may_write_anything_and_was_over_before_the_look_does_not_reach_beyond_it() {
        let window = window();
        window.begins(true, std::iter::empty(), at(1));
        window.over(true, std::iter::empty(), std::iter::empty(), at(2));
        assert!(window.accounted().any);
        window.turn(at(3), Accounted::default);
        assert!(!window.accounted().any);
    }
}

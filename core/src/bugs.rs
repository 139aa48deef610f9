//! Known bugs, to be put in on purpose: a check that has never found one proves nothing. Each is one line at the place where
//! it would be made, and only test builds have it: without debug assertions [`is_on`] is a constant `false`, and the compiler
//! removes the line. A process gets one by `RAILROAD_TEST_BUG=B1`, a test on one thread by [`plant`].
//!
//! It knows their names only. Who finds which is in `tests/tests/bugs.rs`. B13 is the hook's, which imports nothing.

/// What goes wrong when it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A release does not compare the token: it deletes whatever lies under the holder's key.
    B1,
    /// The token is the queue entry's revision, not the holder's.
    B2,
    /// The cut-off counts from the reply to a keep-alive, not from its sending.
    B3,
    /// The clock stands still while the machine sleeps.
    B4,
    /// A transaction that timed out is tried again as another operation.
    B5,
    /// Watches and keep-alives are taken to a member without a leader.
    B6,
    /// A watch that was overtaken by a compaction goes on as if it had missed nothing.
    B7,
    /// A resume lifts whatever pause there is.
    B8,
    /// A pause writes that the fleet is paused, where it should delete the permit.
    B9,
    /// Transactions do not compare the generation.
    B10,
    /// The range of `src/a` reaches `src/ab`.
    B11,
    /// A waiter overlooks the one that came just before it.
    B12,
    /// The journal answers before it has synced.
    B14,
    /// A snapshot's name is not synced with its bytes.
    B15,
    /// A free lock is taken although somebody waits.
    B16,
}

/// Whether this bug is in.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn is_on(_: Bug) -> bool {
    false
}

/// A release build in which any of them could be switched on does not compile.
#[cfg(not(debug_assertions))]
const _: () = {
    use Bug::{B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B14, B15, B16};
    let all = [B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B14, B15, B16];
    let mut n = 0;
    while n < all.len() {
        assert!(!is_on(all[n]));
        n += 1;
    }
};

#[cfg(debug_assertions)]
pub use planted::{Planted, is_on, plant};

#[cfg(debug_assertions)]
mod planted {
    use std::cell::Cell;
    use std::marker::PhantomData;
    use std::sync::OnceLock;

    use super::Bug;

    const VARIABLE: &str = "RAILROAD_TEST_BUG";

    thread_local! {
        static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is in.
    #[must_use]
    pub fn is_on(bug: Bug) -> bool {
        static OF_PROCESS: OnceLock<Option<String>> = OnceLock::new();
        let of_process = OF_PROCESS.get_or_init(|| std::env::var(VARIABLE).ok());
        HERE.get() == Some(bug) || of_process.as_ref().is_some_and(|name| *name == format!("{bug:?}"))
    }

    /// Takes the bug out again when dropped.
    #[derive(Debug)]
    pub struct Planted(PhantomData<*const ()>);

    /// Puts a bug in, for this thread: other tests of the process stay as they are.
    #[must_use]
    pub fn plant(bug: Bug) -> Planted {
        HERE.set(Some(bug));
        Planted(PhantomData)
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            HERE.set(None);
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_planted_bug_is_in_on_its_thread_until_it_is_dropped() {
        assert!(!is_on(Bug::B1));
        let planted = plant(Bug::B1);
        assert!(is_on(Bug::B1) && !is_on(Bug::B2));
        assert!(!std::thread::spawn(|| is_on(Bug::B1)).join().unwrap());
        drop(planted);
        assert!(!is_on(Bug::B1));
    }
}

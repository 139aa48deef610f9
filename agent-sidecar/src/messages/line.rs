//! Locks: who has what an agent wants, its place in line, and what became of what it had or waited for.

use rr_core::time::Span;

use super::{Who, span};

/// A denial because of a lock (R3).
pub(crate) fn held(what: &str, who: &Who, place: usize, window: Span) -> String {
    let place = match place {
        0 => "You are next in line".to_owned(),
        n => format!("{n} other session(s) are ahead of you in line"),
    };
    format!(
        "{what} is being edited by {}. {place}: when it is free it is kept for you for {}, and you are told. \
         Other files are free to work on meanwhile; writing this one by another tool is refused as well.",
        who.named(),
        span(window)
    )
}

pub(crate) fn still_waiting(what: &str, who: Option<&Who>, waited: Span) -> String {
    let by = who.map_or_else(String::new, |w| format!(" It is held by {}.", w.named()));
    format!(
        "{what} is still not free; you have been in line for {}.{by} Other files are free to work on meanwhile.",
        span(waited)
    )
}

pub(crate) fn spinning(what: &str, times: u32) -> String {
    format!(
        "{what} was refused {times} times in a row for the same reason. Asking again does not change it: this part of the work has to wait; other work can go on."
    )
}

pub(crate) fn stopped(what: &str, times: u32) -> String {
    format!(
        "Stopped: {what} was asked for {times} times in a row and refused each time. `rrctl locks` shows who holds what."
    )
}

pub(crate) fn granted_later(what: &str, window: Span) -> String {
    format!("{what} is free and kept for you for {}. It may have changed: read it again before writing.", span(window))
}

pub(crate) fn wait_over(what: &str) -> String {
    format!("Your place in line for {what} is over: it did not become free in time. The next write asks again.")
}

pub(crate) fn ring(what: &str) -> String {
    format!(
        "Your place in line for {what} was given up: sessions were waiting for one another in a ring and yours joined last. Your own locks are given on when your turn ends."
    )
}

pub(crate) fn claim_lapsed(what: &str) -> String {
    format!("{what} was kept for you and not used; it is free for others again.")
}

pub(crate) fn lock_lost(what: &str) -> String {
    format!(
        "Your lock on {what} was lost (taken away, or its lease ran out). Somebody else may have changed it: read it again before writing."
    )
}

pub(crate) fn cooling(what: &str, left: Span) -> String {
    format!(
        "{what} is kept for you, but its last holder ended without giving it back and may still be writing. It can be used in {}. \
         Read it first: it may be half-finished.",
        span(left.max(Span::from_secs(1)))
    )
}

pub(crate) fn unclean(what: &str, session: &str) -> String {
    format!(
        "The last holder of {what} (session {session}) ended without giving it back. It may be half-finished: look at it before building on it."
    )
}

pub(crate) fn tree_in_use(who: &Who, what: &str) -> String {
    format!(
        "This command touches the whole work tree, and {} is working in it ({what}). It would move or take along that work. \
         Name only your own paths (`git add PATH`, `git commit PATH`, `git stash push -- PATH`), or use a work tree of your own (`git worktree add`).",
        who.named()
    )
}

pub(crate) fn waited_for(what: &str, who: &Who) -> String {
    format!(
        "{} is waiting for {what}, which you hold. It is given on when you commit it or when your turn ends.",
        who.named()
    )
}

pub(crate) fn elsewhere(what: &str, who: &Who, branch: &str, apart: &str) -> String {
    format!(
        "{what} was last changed by {} on branch {branch} in another work tree, and that is not in yours{apart}.",
        who.named()
    )
}

pub(crate) fn allowed_beside(what: &str, who: &Who) -> String {
    format!(
        "{what} is also being edited by {} in another work tree (this repository only warns of that). Expect a merge.",
        who.named()
    )
}

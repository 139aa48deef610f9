//! Slots: commands that wait for others of their kind, and manifests that wait for a build.

use rr_core::id::SessionId;
use rr_core::time::Span;
use rr_fleet::SlotHolder;
use rr_policy::NeededSlot;
use rr_runtime::clock::unix_ms;

use super::{quote, span};

pub(crate) fn slot(name: &str) -> String {
    format!("the slot `{name}`")
}

/// A command has to wait for others of its kind (G9).
pub(crate) fn slot_is_busy(
    slot: &NeededSlot,
    holders: &[&SlotHolder],
    me: &SessionId,
    ahead: usize,
    waited: Span,
    window: Span,
) -> String {
    let has = |holder: &&SlotHolder| {
        let since = span(Span::from_millis(unix_ms().saturating_sub(holder.since_unix_ms)));
        match &holder.session {
            Some(session) if session == me => {
                format!("an earlier command of yours, which still runs, has it ({})", quote(&holder.who))
            }
            _ => format!("{} has it, asked for {since} ago", quote(&holder.who)),
        }
    };
    let by: Vec<String> = holders.iter().map(has).collect();
    let by = if by.is_empty() { "it is being handed over".to_owned() } else { by.join("; ") };
    let so_many = if slot.of == 1 { "one runs".to_owned() } else { format!("{} run", slot.of) };
    let place = match ahead {
        0 => "You are next in line".to_owned(),
        n => format!("{n} other(s) are ahead of you in line"),
    };
    let waited = if waited > Span::from_secs(1) { format!(" (for {} now)", span(waited)) } else { String::new() };
    format!(
        "`{}` needs {} of this machine, where only {so_many} at a time: {by}. {place}{waited}. Do other work; you will be told when it is          your turn, and the slot is kept for you for {} then: run the command again.",
        quote(&slot.what),
        self::slot(&slot.name),
        span(window)
    )
}

pub(crate) fn slot_granted_later(name: &str, what: &str, window: Span) -> String {
    format!("It is your turn: {} is kept for you for {}. Run `{}` now.", slot(name), span(window), quote(what))
}

pub(crate) fn slot_lapsed(name: &str) -> String {
    format!("{} was kept for you and not used; it is free for others again.", slot(name))
}

pub(crate) fn slot_wait_over(name: &str) -> String {
    format!("Your place in line for {} is over: it was not your turn in time. The next command asks again.", slot(name))
}

/// A manifest is not changed under somebody's build (G2).
pub(crate) fn build_runs(what: &str, name: &str, by: &SlotHolder) -> String {
    let since = span(Span::from_millis(unix_ms().saturating_sub(by.since_unix_ms)));
    format!(
        "{what} is about dependencies, and {} is at work in this work tree with {} (asked for {since} ago): a build must not have its          dependencies changed under it. Other files are free; try again when it is over (`rrctl slots`).",
        quote(&by.who),
        slot(name)
    )
}

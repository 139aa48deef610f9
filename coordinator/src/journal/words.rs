//! What is said of hosts and their answers: who did not answer, what that means, what to do next. It decides nothing.

use rr_core::id::HostId;
use rr_core::time::Span;
use rr_fleet::Denial;
use tonic::Status;

/// Whoever asks over this machine's own socket.
pub(super) const LOCAL: &str = "a program of this machine";

/// What an asker needs to be told of an order that has no answer.
pub(super) struct Order {
    /// If it was certainly not carried out.
    pub(super) nothing_done: &'static str,
    /// Where to look if it may have been.
    pub(super) look: String,
}

pub(super) fn nothing_rolled_back(session: &str) -> Order {
    Order {
        nothing_done: "nothing was rolled back",
        look: format!("look in its journal before you ask again: `rrctl log --session {session}` there"),
    }
}

pub(super) fn nothing_kept() -> Order {
    Order { nothing_done: "nothing was kept", look: "ask again: one checkpoint more does no harm".to_owned() }
}

pub(super) fn nothing_held() -> Order {
    Order { nothing_done: "no session was held or let go", look: "ask again: it is the same twice".to_owned() }
}

pub(super) fn host(host: &HostId, name: &str) -> String {
    let id = host.short();
    if name.is_empty() { format!("host {id}") } else { format!("host {name} ({id})") }
}

pub(super) fn denied(shown: &str, denial: &Denial) -> String {
    format!("{shown} is shut out of the fleet by {}: {}", denial.who, denial.reason)
}

pub(super) fn nobody_there(shown: &str) -> String {
    format!("no sidecar of {shown} answers: start it there with `rrctl up`")
}

pub(super) fn no_answer_yet(shown: &str, waited: Span) -> String {
    format!("the sidecar of {shown} has not answered within {} s: ask again, or look there", waited.as_secs())
}

pub(super) fn unreadable(shown: &str) -> String {
    format!("what {shown} answers cannot be read: is it of another version?")
}

pub(super) fn cut_short(shown: &str) -> String {
    format!("{shown} has more than fits into one answer: ask for a session, a path or a shorter time")
}

pub(super) fn other_answer(shown: &str) -> Status {
    Status::internal(format!("{shown} answers something that was not asked; please report this"))
}

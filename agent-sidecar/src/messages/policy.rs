//! The policy's word: rules, scopes, and a person's answers to what was asked.

use rr_policy::{Hit, Origin, Why};

use super::{Who, quote};

/// A rule of the policy refuses it (R12).
pub(crate) fn blocked(hit: &Hit) -> String {
    let from = match hit.origin {
        Origin::DefaultSet => "a built-in rule".to_owned(),
        Origin::Line(line) => format!("railroad.yaml, line {line}"),
    };
    let instead = hit.instead.as_ref().map_or_else(String::new, |way| format!(" Instead: {way}."));
    format!(
        "Refused in every session by the rule `{}` ({from}): {}. It matched {}.{instead}",
        quote(&hit.rule),
        hit.because.trim_end_matches('.'),
        quote(&hit.what)
    )
}

pub(crate) fn approval_waits(rule: &str, because: &str, id: &str, ahead: usize) -> String {
    let because = if because.is_empty() { String::new() } else { format!(" ({})", because.trim_end_matches('.')) };
    let place = match ahead {
        0 => String::new(),
        1 => " One other request is before it.".to_owned(),
        _ => format!(" {ahead} other requests are before it."),
    };
    format!(
        "A person has to approve this first: rule `{}`{because}. They have been asked (request {id}, `rrctl approvals`).{place} Go on \
         with other work; you are told the answer, and then the same call passes once. No answer in time means no.",
        quote(rule)
    )
}

pub(crate) fn approval_granted(id: &str, by: &str) -> String {
    format!("Request {id} was approved by {}: make the same call again, it passes once.", quote(by))
}

pub(crate) fn approval_refused(id: &str, by: &str, reason: &str) -> String {
    format!("Request {id} was rejected by {}: {}. That call will not pass; go on without it.", quote(by), quote(reason))
}

pub(crate) fn approval_rejected(what: &str, by: &str, reason: &str) -> String {
    format!(
        "`{}` was rejected by {}: {}. It will not pass in this session; go on without it.",
        quote(what),
        quote(by),
        quote(reason)
    )
}

pub(crate) fn approval_expired(what: &str) -> String {
    format!(
        "Nobody answered in time whether `{}` may run, which means no. Go on without it, or tell the person you work for.",
        quote(what)
    )
}

pub(crate) fn approval_over(id: &str) -> String {
    format!(
        "Request {id} has run out without an answer, which means no. Go on without it, or tell the person you work for."
    )
}

pub(crate) fn approval_unused(id: &str) -> String {
    format!("The approval of request {id} was not used in time and is over: the next try asks a person again.")
}

pub(crate) fn approval_gone() -> String {
    "The approval of this call was used or taken back meanwhile: the next try asks a person again.".to_owned()
}

pub(crate) fn too_many_approvals() -> String {
    "A person would have to approve this, and too many requests are waiting already. Go on with other work.".to_owned()
}

/// A change outside of what a session may write (G7, T4).
pub(crate) fn out_of_scope(what: &str, why: Why, scope: &str, owner: Option<&str>) -> String {
    let why = match why {
        Why::NotInMay => "it is not among what the scope may change",
        Why::Never => "the scope never changes it",
        Why::CreateOnly => "there the scope only creates new files",
        Why::ReadOnly => "the scope only reads it",
    };
    let ask = owner.map_or_else(
        || "Tell the person you work for what would be needed there.".to_owned(),
        |owner| format!("Its owner is {}: say what is needed, and leave the change to them; they have been told if they are at work here.", quote(owner)),
    );
    format!("{what} is outside of this session's scope `{}`: {why}. Nothing was changed. {ask}", quote(scope))
}

pub(crate) fn asked_of_owner(what: &str, by: &Who) -> String {
    format!(
        "{} wanted to change {what}, which is in your scope and not in theirs; it was refused. They may ask you for it.",
        by.named()
    )
}

/// `scopes`: those that are this session's.
pub(crate) fn scopes(scopes: &[String]) -> String {
    if scopes.is_empty() {
        return "This repository has scopes, and none is for this session: it may change every file that no other rule forbids.".to_owned();
    }
    format!(
        "You may write within the scope {} only; other changes are refused, with whom to ask.",
        scopes.join(" and ")
    )
}

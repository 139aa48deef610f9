//! `rrctl doctor`: one row a check, each with what to do. It only looks. The checks are in `doctor/`.

mod certificate;
mod daemon;
mod etcd;
mod journal;
mod machine;
mod repo;
mod snapshots;

use serde::Serialize;
use serde_json::json;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::table::table;
use crate::view::MODE;

/// Check hooks, daemon, store and machine, and say what to do about what is wrong
///
/// Ends with 6 if a check fails; a warning alone ends with 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    check: &'static str,
    state: State,
    found: String,
    /// What to do about it; empty if nothing is.
    todo: String,
}

impl Row {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), todo: String::new() }
    }

    fn warn(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Warn, found: found.into(), todo: todo.into() }
    }

    fn fail(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Fail, found: found.into(), todo: todo.into() }
    }
}

pub(crate) async fn run(hand: &Hand) -> Result<(), Failure> {
    let mut rows = repo::hooks();
    rows.extend(repo::git_hooks());
    rows.push(repo::config());
    rows.extend(machine::folders(&hand.dirs));
    rows.push(machine::git());
    rows.push(machine::config());
    rows.push(machine::clock());
    rows.extend(certificate::certificate());
    rows.push(daemon::store(&hand.dirs));
    rows.extend(journal::journal(&hand.dirs));
    rows.push(snapshots::snapshots(&hand.dirs));
    rows.extend(etcd::cluster().await);
    rows.extend(daemon::answers(&hand.dirs).await);
    rows.push(daemon::hook(&hand.dirs).await);
    rows.push(Row::ok(
        "mode",
        format!("{MODE}: agents run as this user; they are kept from mistakes, not from malice"),
    ));
    let failed = rows.iter().filter(|row| row.state == State::Fail).count();
    hand.answer(&json!({ "ok": failed == 0, "mode": MODE, "checks": rows }), || as_text(&rows, out::columns()))?;
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Kind::Findings, format!("{failed} of {} checks failed", rows.len())))
}

fn as_text(rows: &[Row], columns: Option<u16>) -> String {
    let row = |r: &Row| {
        let todo = if r.todo.is_empty() { String::new() } else { format!(" -> {}", r.todo) };
        vec![r.check.to_owned(), r.state.word().to_owned(), format!("{}{todo}", r.found)]
    };
    table(&["CHECK", "STATE", "FOUND"], rows.iter().map(row), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_says_what_was_found_and_what_to_do() {
        let rows = [Row::ok("git", "2.47"), Row::fail("hooks", "none", "rrctl install")];
        assert_eq!(
            as_text(&rows, None),
            "CHECK  STATE  FOUND\ngit    ok     2.47\nhooks  FAIL   none -> rrctl install\n"
        );
    }
}

//! `rrctl sessions`: who works in the fleet.

use serde_json::json;

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::out;
use crate::table::{age, table};
use crate::view::{FleetView, SessionView};

/// List the sessions of all agents, with what each is at
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(hand: &Hand) -> Result<(), Failure> {
    let view = FleetView::of(Door::to_look(&hand.dirs).await?.status().await?);
    let json = json!({ "sessions": view.sessions, "revision": view.revision, "now_unix_ms": view.now_unix_ms });
    hand.answer(&json, || as_text(&view.sessions, out::columns()))
}

fn as_text(sessions: &[SessionView], columns: Option<u16>) -> String {
    if sessions.is_empty() {
        return "No sessions.\n".to_owned();
    }
    let row = |s: &SessionView| {
        let (pid, locks) = (s.pid_shown(), s.locks.to_string());
        vec![s.short().to_owned(), s.agent_shown(), pid, age(s.age_ms), s.host_shown.clone(), s.task.clone(), locks]
    };
    table(&["SESSION", "AGENT", "PID", "AGE", "HOST", "TASK", "LOCKS"], sessions.iter().map(row), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_a_row() {
        let view = FleetView::of(crate::view::tests::picture());
        let expected = "\
SESSION   AGENT   PID  AGE  HOST  TASK              LOCKS
aaaaaaaa  claude  7    20s  box   write the parser  2
bbbbbbbb  claude  8    20s  box   write the parser  1
";
        assert_eq!(as_text(&view.sessions, None), expected);
    }
}

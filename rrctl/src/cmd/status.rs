//! `rrctl status`: the fleet on one screen.

use std::fmt::Write as _;

use rr_proto::v1;
use rr_runtime::host;
use serde_json::{Value, json};

use super::slots;
use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::table::{age, plain, table};
use crate::view::{FleetView, HoldView, SessionView};
use crate::watch::alarm::Alarm;
use crate::{out, plan};

/// Show whether the fleet runs, who works in it, and how far each session has followed a pause
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    let view = FleetView::of(door.status().await?);
    let alarm = Alarm::look(&mut door).await;
    // Not knowing who builds must not hide the rest.
    let slots = door.slots().await.ok();
    let crowd = host::host_id(&hand.dirs).ok().and_then(|host| plan::warning(&view, host.as_str()));
    hand.answer(&as_json(&view, &alarm, slots.as_ref(), crowd.is_some()), || {
        let mut lines = crowd.clone().unwrap_or_default();
        lines.push_str(&slots.as_ref().and_then(slots::in_a_line).unwrap_or_default());
        as_text(&view, &alarm, &lines, out::columns())
    })
}

fn as_json(view: &FleetView, alarm: &Alarm, slots: Option<&v1::SlotsReply>, crowded: bool) -> Value {
    let slots = slots.map(|slots| slots::as_json(slots)["slots"].take());
    json!({
        "paused": view.paused, "hard": view.hard, "epoch": view.epoch, "mode": view.mode, "version": view.version,
        "holds": view.holds, "sessions": view.sessions, "locks": view.locks.len(), "waiters": view.waiters.len(),
        "revision": view.revision, "now_unix_ms": view.now_unix_ms, "unreadable": view.unreadable,
        "incidents": alarm.incidents(), "serious_findings": alarm.serious_findings(),
        "slots": slots, "more_agents_than_advised": crowded,
    })
}

/// `lines`: what else belongs below the head.
fn as_text(view: &FleetView, alarm: &Alarm, lines: &str, columns: Option<u16>) -> String {
    let run = match (view.paused, view.hard) {
        (false, _) => "running".to_owned(),
        (true, false) => format!("PAUSED: {}", followed(view)),
        (true, true) => format!("PAUSED, running commands are stopped too: {}", followed(view)),
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Fleet     {run} (epoch {})", view.epoch);
    let _ = writeln!(text, "Mode      {}: the agents run as this user, who could get around the hooks", view.mode);
    let _ = writeln!(text, "Daemon    {}", view.version);
    let (sessions, locks, waiters) = (view.sessions.len(), view.locks.len(), view.waiters.len());
    let _ = writeln!(text, "Sessions  {sessions}, holding {locks} locks, {waiters} waiting");
    text.push_str(&alarm.text());
    text.push_str(lines);
    if !view.holds.is_empty() {
        let _ = write!(text, "\n{}", holds(&view.holds, columns));
    }
    if !view.sessions.is_empty() {
        let _ = write!(text, "\n{}", sessions_table(view, columns));
    }
    for session in view.sessions.iter().filter(|s| !s.warning.is_empty()) {
        let _ = writeln!(text, "\nWARNING   {} (pid {}): {}", session.short(), session.pid, plain(&session.warning));
    }
    for what in &view.unreadable {
        let _ = writeln!(text, "\nWARNING   {}", plain(what));
    }
    if view.paused {
        let people = view.not_stopped();
        if !people.is_empty() {
            let _ = writeln!(text, "\n{}", plain(&people));
        }
        let _ = writeln!(text, "\nResume with: rrctl resume --epoch {}", view.epoch);
    }
    text
}

fn followed(view: &FleetView) -> String {
    let (all, late) = (view.agents().count(), view.undrained().len());
    if all == 0 {
        return "no sessions".to_owned();
    }
    format!("{} of {all} sessions drained", all - late)
}

fn holds(holds: &[HoldView], columns: Option<u16>) -> String {
    let row = |h: &HoldView| vec![h.id.clone(), h.who.clone(), h.kind.clone(), age(h.age_ms), h.reason.clone()];
    table(&["HOLD", "WHO", "KIND", "AGE", "REASON"], holds.iter().map(row), columns)
}

fn sessions_table(view: &FleetView, columns: Option<u16>) -> String {
    let state = |s: &SessionView| match s.pause {
        None if view.paused && s.person().is_some() => "not stopped".to_owned(),
        None => "runs".to_owned(),
        Some(word) if s.in_flight > 0 => format!("{word}, {} running", s.in_flight),
        Some(word) => word.to_owned(),
    };
    let row = |s: &SessionView| {
        let pid = s.pid_shown();
        vec![
            s.short().to_owned(),
            s.agent_shown(),
            pid,
            state(s),
            age(s.age_ms),
            s.host_shown.clone(),
            plain(&s.workspace),
        ]
    };
    let headings = ["SESSION", "AGENT", "PID", "STATE", "AGE", "HOST", "FOLDER"];
    table(&headings, view.sessions.iter().map(row), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_fleet_shows_each_session_and_the_command_that_resumes() {
        let view = FleetView::of(crate::view::tests::picture());
        let text = as_text(&view, &Alarm::default(), "", None);
        assert!(text.starts_with("Fleet     PAUSED: 1 of 2 sessions drained (epoch 4)\n"), "{text}");
        assert!(text.contains("cooperative"), "{text}");
        assert!(text.contains("aaaaaaaa  claude  7    drained"), "{text}");
        assert!(text.contains("bbbbbbbb  claude  8    seen"), "{text}");
        assert!(text.ends_with("Resume with: rrctl resume --epoch 4\n"), "{text}");
    }

    #[test]
    fn a_session_that_needs_a_person_stands_out() {
        let mut view = FleetView::of(crate::view::tests::picture());
        view.sessions[1].warning = "a shell it started still runs".into();
        let text = as_text(&view, &Alarm::default(), "", None);
        assert!(text.contains("\nWARNING   bbbbbbbb (pid 8): a shell it started still runs\n"), "{text}");
    }

    #[test]
    fn a_running_fleet_offers_no_resume() {
        let mut view = FleetView::of(crate::view::tests::picture());
        view.paused = false;
        let text = as_text(&view, &Alarm::default(), "", None);
        assert!(text.starts_with("Fleet     running (epoch 4)\n") && !text.contains("Resume"), "{text}");
    }
}

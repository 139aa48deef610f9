//! `rrctl pause-all`: the kill switch. It works with a daemon and without one, and says how far each session has followed.

use std::collections::HashMap;
use std::time::Duration;

use rr_proto::v1;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::view::{FleetView, SessionView};

/// Stop every agent of the fleet at its next tool call, on all hosts
///
/// It survives restarts and works without a daemon. Agents stay stopped until `rrctl resume` names the epoch shown here.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Why: it is shown to the agents and to other people
    #[arg(long, default_value = "paused by hand")]
    reason: String,
    /// Wait until nothing that was started before is running any more, at most this many seconds
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "60")]
    wait: Option<u64>,
    /// Also stop the commands that agents have running
    #[arg(long)]
    hard: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::open(&hand.dirs).await?;
    let request = v1::PauseRequest { who: hand.who(), reason: args.reason.clone(), hard: args.hard };
    let paused = door.pause(request).await?;
    if !hand.wants_json() {
        out::text(&said(&paused))?;
    }
    let (view, late) = match args.wait {
        Some(secs) => wait(door, paused.epoch, Duration::from_secs(secs), hand).await?,
        None => (present(&mut door, hand).await?, None),
    };
    if hand.wants_json() {
        out::json(&as_json(&paused, &view, args.wait.is_some()))?;
    } else {
        let people = view.not_stopped();
        let people = if people.is_empty() { people } else { crate::table::plain(&people) + "\n" };
        out::text(&format!("{people}Resume with: {}\n", resume_command(paused.epoch)))?;
    }
    late.map_or(Ok(()), Err)
}

/// How far each session is, at this moment.
async fn present(door: &mut Door, hand: &Hand) -> Result<FleetView, Failure> {
    let view = FleetView::of(door.status().await?);
    if !hand.wants_json() {
        out::text(&news(&view, &mut HashMap::new()))?;
    }
    Ok(view)
}

fn said(paused: &v1::PauseReply) -> String {
    let epoch = paused.epoch;
    if paused.without_record {
        format!("Paused (epoch {epoch}). The store is full: the reason could not be recorded.\n")
    } else if paused.already {
        format!("It was paused before (epoch {epoch}); your reason was added.\n")
    } else {
        format!("Paused (epoch {epoch}). No agent starts another call.\n")
    }
}

pub(crate) fn resume_command(epoch: u64) -> String {
    format!("rrctl resume --epoch {epoch}")
}

fn as_json(paused: &v1::PauseReply, view: &FleetView, waited: bool) -> serde_json::Value {
    json!({
        "paused": true, "epoch": paused.epoch, "hold": paused.hold, "already": paused.already,
        "without_record": paused.without_record, "drained": view.undrained().is_empty(), "waited": waited,
        "sessions": view.sessions, "resume": resume_command(paused.epoch),
    })
}

/// Follows the sessions until all are drained. A failure in the answer names those that are not; the pause stands.
async fn wait(door: Door, epoch: u64, at_most: Duration, hand: &Hand) -> Result<(FleetView, Option<Failure>), Failure> {
    let until = Instant::now() + at_most;
    let mut door = door;
    if !door.can_watch() {
        return without_daemon(door).await;
    }
    let mut pictures = door.watch().await?;
    let mut told = HashMap::new();
    let mut latest = None;
    loop {
        let Ok(picture) = timeout_at(until, pictures.next()).await else { break };
        let view = FleetView::of(picture?);
        if !view.paused || view.epoch != epoch {
            let what = format!("somebody resumed the fleet meanwhile (epoch {} now)", view.epoch);
            return Err(Failure::new(Kind::Refused, what).hint("rrctl status"));
        }
        if !hand.wants_json() {
            out::text(&news(&view, &mut told))?;
        }
        if view.undrained().is_empty() {
            return Ok((view, None));
        }
        latest = Some(view);
    }
    let view = match latest {
        Some(view) => view,
        None => FleetView::of(door.status().await?),
    };
    let late = not_drained(&view, &format!("after {} s", at_most.as_secs()));
    Ok((view, Some(late)))
}

/// Without a daemon nothing can be authorised here, but nobody can say what still runs either.
async fn without_daemon(mut door: Door) -> Result<(FleetView, Option<Failure>), Failure> {
    let view = FleetView::of(door.status().await?);
    if view.agents().next().is_none() {
        return Ok((view, None));
    }
    let late = not_drained(&view, "and no daemon runs that could say when")
        .hint("rrctl up --detach && rrctl pause-all --wait");
    Ok((view, Some(late)))
}

fn not_drained(view: &FleetView, when: &str) -> Failure {
    let late = view.undrained();
    let lines: Vec<String> = late.iter().map(|s| line(s)).collect();
    let next =
        if view.hard { "rrctl status" } else { "their running commands can still write: rrctl pause-all --hard" };
    Failure::new(
        Kind::Failed,
        format!("the fleet is paused, but {} of its sessions are not drained {when}", late.len()),
    )
    .because(lines.join("\n"))
    .hint(next)
}

/// What has changed since the last picture, a line a session.
fn news(view: &FleetView, told: &mut HashMap<String, String>) -> String {
    let mut text = String::new();
    for session in view.agents() {
        let line = line(session);
        if told.insert(session.session.clone(), line.clone()).as_ref() != Some(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let here = |id: &String| view.sessions.iter().any(|s| s.session == *id);
    let gone: Vec<String> = told.keys().filter(|id| !here(id)).cloned().collect();
    for id in gone {
        told.remove(&id);
        text.push_str(&format!("{}  ended\n", crate::view::short(&id)));
    }
    text
}

fn line(session: &SessionView) -> String {
    let state = session.pause.unwrap_or("runs");
    let running = if session.in_flight > 0 { format!(", {} running", session.in_flight) } else { String::new() };
    let line = format!(
        "{}  {} pid {} on {}: {state}{running}",
        session.short(),
        session.agent,
        session.pid,
        session.host_shown
    );
    crate::table::plain(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_told_when_they_change_only() {
        let mut view = FleetView::of(crate::view::tests::picture());
        let mut told = HashMap::new();
        assert_eq!(
            news(&view, &mut told),
            "aaaaaaaa  claude pid 7 on box: drained\nbbbbbbbb  claude pid 8 on box: seen\n"
        );
        assert_eq!(news(&view, &mut told), "");
        view.sessions[1].pause = Some("drained");
        assert_eq!(news(&view, &mut told), "bbbbbbbb  claude pid 8 on box: drained\n");
        view.sessions.remove(0);
        assert_eq!(news(&view, &mut told), "aaaaaaaa  ended\n");
    }

    #[test]
    fn a_fleet_that_is_not_drained_in_time_names_who_is_late() {
        let late = not_drained(&FleetView::of(crate::view::tests::picture()), "after 1 s");
        assert_eq!(late.kind, Kind::Failed);
        assert!(late.text().contains("bbbbbbbb") && !late.text().contains("aaaaaaaa"), "{}", late.text());
    }
}

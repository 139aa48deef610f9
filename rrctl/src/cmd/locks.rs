//! `rrctl locks`: who holds what, once or as it changes.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::follow::{More, follow};
use crate::hand::Hand;
use crate::out;
use crate::table::{age, table};
use crate::view::{FleetView, LockView, WaiterView, short};

/// With this many columns there is room for what each holder does with its lock.
const WIDE: u16 = 100;

/// List the locks that are held, over all sessions, and who waits
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show them again after each change, until interrupted; with --json one line a change
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    if args.watch {
        let pictures = door.watch().await?;
        return follow(pictures, hand, |now| show(&FleetView::of(now.clone()), hand).map(|()| More::ToCome)).await;
    }
    show(&FleetView::of(door.status().await?), hand)
}

fn show(view: &FleetView, hand: &Hand) -> Result<(), Failure> {
    hand.answer(&as_json(view), || as_text(view, out::columns()))
}

fn as_json(view: &FleetView) -> Value {
    json!({ "locks": view.locks, "waiters": view.waiters, "revision": view.revision, "now_unix_ms": view.now_unix_ms })
}

fn as_text(view: &FleetView, columns: Option<u16>) -> String {
    let mut text = match view.locks.as_slice() {
        [] => "No locks are held.\n".to_owned(),
        locks => locks_table(locks, columns),
    };
    if !view.waiters.is_empty() {
        text.push('\n');
        text.push_str(&waiters_table(&view.waiters, columns));
    }
    text
}

fn locks_table(locks: &[LockView], columns: Option<u16>) -> String {
    let wide = columns.is_some_and(|c| c >= WIDE);
    let many_repos = locks.iter().map(|l| &l.repo).collect::<HashSet<_>>().len() > 1;
    let mut headings = vec!["LOCK", "SESSION", "PID", "AGE", "HOST"];
    headings.extend(wide.then_some("DOING"));
    headings.extend(many_repos.then_some("REPO"));
    let row = |l: &LockView| {
        let mut row = vec![
            name(l),
            holder(l),
            pid(l.pid.filter(|_| l.person.is_none())),
            age(l.age_ms),
            host(l.host_shown.as_deref()),
        ];
        row.extend(wide.then(|| l.doing.clone()));
        row.extend(many_repos.then(|| short(&l.repo).to_owned()));
        row
    };
    table(&headings, locks.iter().map(row), columns)
}

fn waiters_table(waiters: &[WaiterView], columns: Option<u16>) -> String {
    let row = |w: &WaiterView| {
        let (locks, session, place) = (w.locks.join(", "), short(&w.session).to_owned(), w.place.to_string());
        vec![locks, session, pid(w.pid), age(w.age_ms), host(w.host_shown.as_deref()), place]
    };
    table(&["WAITS FOR", "SESSION", "PID", "AGE", "HOST", "PLACE"], waiters.iter().map(row), columns)
}

fn name(lock: &LockView) -> String {
    if lock.mode == "shared" { format!("{} (shared)", lock.lock) } else { lock.lock.clone() }
}

fn holder(lock: &LockView) -> String {
    let session = short(&lock.session);
    lock.person.as_ref().map_or_else(|| session.to_owned(), |user| format!("{session} ({user}, a person)"))
}

fn pid(pid: Option<u32>) -> String {
    pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())
}

fn host(host: Option<&str>) -> String {
    host.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_waiters_are_tables() {
        let view = FleetView::of(crate::view::tests::picture());
        let expected = "\
LOCK      SESSION   PID  AGE  HOST
src/a.rs  aaaaaaaa  7    12s  box
!build    aaaaaaaa  7    12s  box
src/b.rs  bbbbbbbb  8    12s  box

WAITS FOR  SESSION   PID  AGE  HOST  PLACE
src/b.rs   aaaaaaaa  7    1s   box   1
";
        assert_eq!(as_text(&view, None), expected);
    }

    #[test]
    fn a_wide_terminal_also_shows_what_is_done_with_a_lock() {
        let view = FleetView::of(crate::view::tests::picture());
        assert!(as_text(&view, Some(WIDE)).starts_with("LOCK      SESSION   PID  AGE  HOST  DOING\n"));
        assert!(!as_text(&view, Some(WIDE - 1)).contains("DOING"));
    }

    #[test]
    fn a_second_repository_adds_its_column() {
        let mut picture = crate::view::tests::picture();
        picture.locks[0].repo = "fedcba9876543210".into();
        let text = as_text(&FleetView::of(picture), None);
        assert!(text.lines().next().expect("headings").ends_with("REPO") && text.contains("fedcba98"), "{text}");
    }

    #[test]
    fn an_empty_fleet_says_so() {
        let mut picture = crate::view::tests::picture();
        (picture.locks, picture.waiters) = (vec![], vec![]);
        assert_eq!(as_text(&FleetView::of(picture), None), "No locks are held.\n");
    }
}

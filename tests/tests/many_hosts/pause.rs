//! Pauses over hosts: a host that is cut off follows by the age of what it knows (H4, H16), and the order needs no coordinator.

use std::time::Instant;

use rr_tests::daemon::until;
use rr_tests::hosts::{Apart, Direction, Kind, Program};

use super::stage::{Fleet, SLACK, Times, in_time, quick, with_a_late_cut_off};

pub(crate) fn a_pause_reaches_a_host_that_is_cut_off_by_the_age_of_its_permit(apart: Apart) {
    let fleet = Fleet::new(apart, 2, with_a_late_cut_off());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("b.txt", "1\n").must_pass();
    let permit_fresh = Times::now().permit_fresh;
    fleet.host(0).cut(Direction::Both);
    let epoch = fleet.host(1).json(&["pause-all", "--reason", "story"])["epoch"].as_u64().expect("an epoch");
    let paused = Instant::now();
    until("the host that hears of it denies", || two.write("b.txt", "2\n").denied());
    two.write("b.txt", "2\n").must_be_denied(&["paused", "story"]);

    let mut last_pass = None;
    while paused.elapsed() < permit_fresh * 2 + SLACK {
        one.prompt("go on");
        // By when it was asked for: no moment of the machine's between the answer and this note can move that.
        let asked = paused.elapsed();
        let said = one.write("a.txt", "2\n");
        match said.reason {
            None => last_pass = Some(asked),
            Some(reason) => assert!(!reason.contains("paused"), "it cannot know: {reason}"),
        }
    }
    assert!(
        last_pass.is_none_or(|at| at < permit_fresh),
        "a call passed that was asked for {last_pass:?} after the pause"
    );
    one.write("a.txt", "3\n").must_be_denied(&["the run permit was last seen"]);

    fleet.host(0).heal();
    in_time("it hears of the pause", || one.write("a.txt", "3\n").reason.is_some_and(|r| r.contains("story")));
    assert!(fleet.host(0).rrctl(&["resume", "--epoch", &epoch.to_string()]).status.success());
    in_time("both go on", || {
        one.prompt("go on");
        two.prompt("go on");
        one.write("a.txt", "4\n").passed() && two.write("b.txt", "4\n").passed()
    });
    assert_eq!(fleet.host(1).holder("a.txt").as_deref(), Some("one"), "its lock has outlived the cut");
}

pub(crate) fn pause_all_works_from_any_host_without_a_coordinator(apart: Apart) {
    let fleet = Fleet::new(apart, 3, quick());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.write("a.txt", "1\n").must_pass();
    // No coordinator has ever run; the third host has no agent and loses its sidecar, too.
    for from in [2, 0, 1] {
        let host = fleet.host(from);
        let said = host.json(&["pause-all", "--reason", "story", "--wait", "15"]);
        let denied =
            |agent: &mut rr_tests::agent::Agent| agent.write("b.txt", "1\n").must_be_denied(&["paused", "story"]).len();
        assert!(denied(&mut one) > 0 && denied(&mut two) > 0);
        assert_eq!(said["drained"], true, "{said}");
        let epoch = said["epoch"].to_string();
        assert!(fleet.host((from + 1) % 3).rrctl(&["resume", "--epoch", &epoch]).status.success());
        until("they go on", || one.read("a.txt").passed() && two.read("README.md").passed());
    }
    // And with one, whichever host it is on.
    let mut coordinator = Program::start(fleet.host(1), Kind::Coordinator);
    let epoch = fleet.host(1).json(&["pause-all", "--reason", "story"])["epoch"].to_string();
    until("everybody follows", || one.read("a.txt").denied() && two.read("README.md").denied());
    coordinator.kill9();
    assert!(fleet.host(1).rrctl(&["resume", "--epoch", &epoch]).status.success(), "its coordinator is dead by now");
    until("they go on", || one.read("a.txt").passed() && two.read("README.md").passed());
}

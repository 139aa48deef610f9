//! Sharing: one writer a file over all hosts, and who it is; nothing lost while etcd loses its leader, again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rr_tests::agent::Agent;
use rr_tests::daemon::until;
use rr_tests::hosts::Apart;

use super::stage::{Fleet, quick};

pub(crate) fn what_one_host_holds_no_other_host_can_write_and_the_denial_says_who(apart: Apart) {
    let fleet = Fleet::new(apart, 3, quick());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.prompt("rewrite the parser");
    one.write("src/a.ts", "1\n").must_pass();
    let who = format!("on {}", fleet.host(0).name());
    let pid = format!("pid {} ", one.pid());
    two.write("src/a.ts", "2\n").must_be_denied(&[
        "src/a.ts is being edited by session",
        &who,
        &pid,
        "at work on \"rewrite the parser\"",
        ", since ",
    ]);
    assert_eq!(fleet.host(1).text("src/a.ts"), "", "what is denied is not written");
    two.shell("echo 2 > src/a.ts").must_be_denied(&["src/a.ts"]);
    two.write("src/b.ts", "2\n").must_pass();

    // A third host, on which no agent works, sees the same.
    let third = fleet.host(2);
    assert_eq!(third.holder("src/a.ts").as_deref(), Some("one"));
    let row = third.sessions().into_iter().find(|s| s["agent_session"] == "one").expect("a row");
    assert_eq!(row["host"].as_str(), Some(fleet.host(0).name().as_str()));
    let ids: Vec<_> = third.sessions().iter().map(|s| s["host_id"].clone()).collect();
    assert_ne!(ids[0], ids[1], "two hosts by their ids, whatever their names are");

    one.stop();
    until("the lock has gone to the other host", || third.holder("src/a.ts").as_deref() == Some("two"));
    one.write("src/a.ts", "1 again\n").must_be_denied(&["src/a.ts"]);
    two.read("README.md").must_pass();
    two.write("src/a.ts", "2\n").must_pass();
    two.session_end();
    one.session_end();
    until("nothing is left", || third.locks().is_empty() && third.sessions().is_empty());
}

/// Raises of the number by each agent.
const RAISES: usize = 12;

/// All of them work in one folder, as over a network file system: a lock that two held at once shows as a lost update.
pub(crate) fn no_update_is_lost_while_leaders_of_etcd_are_killed(apart: Apart) {
    let mut fleet = Fleet::new(apart, 3, quick());
    let shared = fleet.host(0).repo.clone();
    std::fs::write(shared.join("count"), "0").expect("write");
    let agents: Vec<Agent> = (0..3).map(|n| Agent::start_in(fleet.host(n), &format!("agent-{n}"), &shared)).collect();
    let raised = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (shared, raised) = (&shared, &raised);
        for agent in agents {
            scope.spawn(move || raise(agent, shared, raised));
        }
        for part in 1..=3 {
            until_raised(raised, part * 3 * RAISES / 4);
            let leader = fleet.world.etcd.leader();
            fleet.world.etcd.kill(leader);
            assert_ne!(fleet.world.etcd.leader(), leader);
            fleet.world.etcd.restart(leader);
        }
    });
    let count: usize = std::fs::read_to_string(shared.join("count")).expect("read").parse().expect("a number");
    assert_eq!((count, raised.into_inner()), (3 * RAISES, 3 * RAISES));
}

/// Reads the number, writes one more, gives the lock back; again and again until it was done so many times.
fn raise(mut agent: Agent, shared: &std::path::Path, raised: &AtomicUsize) {
    let mut done = 0;
    super::stage::in_time("the agent has raised the number as often as it was to", || {
        agent.prompt("raise it");
        if agent.read("count").passed() {
            // While another writes it, it may be empty: what was read then is stale, and a write on it is refused.
            let text = std::fs::read_to_string(shared.join("count")).expect("read");
            let Ok(number) = text.parse::<usize>() else { return false };
            if agent.write("count", &(number + 1).to_string()).passed() {
                done += 1;
                raised.fetch_add(1, Ordering::Relaxed);
                agent.stop();
            }
        }
        done == RAISES
    });
    agent.session_end();
}

fn until_raised(raised: &AtomicUsize, times: usize) {
    super::stage::in_time("the number is raised", || raised.load(Ordering::Relaxed) >= times);
}

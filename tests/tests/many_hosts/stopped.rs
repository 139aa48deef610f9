//! A sidecar that was stopped for longer than its lease, as a suspended laptop is (H1): another host has its lock when it
//! goes on, and its first answers are given before it can know.

use std::thread;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::hosts::Apart;

use super::stage::{Fleet, in_time, quick};

/// Asked at once when it goes on.
const AGENTS: usize = 4;

pub(crate) fn a_sidecar_stopped_beyond_its_lease_lets_nothing_through_before_it_has_looked(apart: Apart) {
    let fleet = Fleet::new(apart, 2, quick());
    let name = |n: usize| format!("f{n}.txt");
    let mut stopped: Vec<Agent> = (0..AGENTS).map(|n| fleet.agent(0, &format!("one-{n}"))).collect();
    for (n, agent) in stopped.iter_mut().enumerate() {
        agent.write(&name(n), "1\n").must_pass();
    }
    let mut two = fleet.agent(1, "two");
    fleet.sidecars[0].stop();
    stopped[0].write(&name(0), "2\n").must_be_denied(&["did not answer in time"]);
    for n in 0..AGENTS {
        in_time("the other host has its lock", || {
            two.prompt("try again");
            two.write(&name(n), "2\n").passed()
        });
    }

    // Calls that wait in the socket are what it sees first.
    let answers = thread::scope(|scope| {
        let asking: Vec<_> = stopped
            .iter_mut()
            .enumerate()
            .map(|(n, agent)| scope.spawn(move || ask_for_a_while(agent, &name(n))))
            .collect();
        thread::sleep(Duration::from_millis(200));
        fleet.sidecars[0].cont();
        asking.into_iter().flat_map(|asked| asked.join().expect("asked")).collect::<Vec<_>>()
    });
    assert!(answers.len() >= 2 * AGENTS);
    let passed: Vec<_> = answers.iter().filter(|reason| reason.is_none()).collect();
    assert!(passed.is_empty(), "{} of {} calls passed on a lock that is another's", passed.len(), answers.len());
    for n in 0..AGENTS {
        assert_eq!(fleet.host(0).text(&name(n)), "1\n");
    }
    two.stop();
    for (n, agent) in stopped.iter_mut().enumerate() {
        in_time("it goes on", || {
            agent.prompt("go on");
            agent.read(&name(n)).passed() && agent.write(&name(n), "3\n").passed()
        });
    }
}

/// The reasons of all denials within a few seconds; `None` for what passed.
fn ask_for_a_while(agent: &mut Agent, file: &str) -> Vec<Option<String>> {
    let start = Instant::now();
    let mut reasons = Vec::new();
    while start.elapsed() < Duration::from_secs(4) {
        reasons.push(agent.write(file, "too late\n").reason);
        agent.prompt("try again");
    }
    reasons
}

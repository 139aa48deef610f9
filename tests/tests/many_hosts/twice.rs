//! The same twice: two sidecars for one workspace slot (H12), and a host that comes back under its name (H14).

use std::fs;
use std::thread;

use rr_tests::agent::Agent;
use rr_tests::daemon::until;
use rr_tests::hosts::{Apart, Kind, Program};

use super::stage::{Fleet, in_time, quick};

/// Two machines made from one image: the same host id, one work tree, and an agent under the same name on each.
pub(crate) fn one_workspace_is_registered_by_one_sidecar_only(apart: Apart) {
    let mut fleet = Fleet::new(apart, 3, quick());
    fleet.sidecars[1].terminate();
    fs::copy(fleet.host(0).state.join("host-id"), fleet.host(1).state.join("host-id")).expect("copy the host id");
    fleet.sidecars[1] = Program::start(fleet.host(1), Kind::Sidecar);
    let shared = fleet.host(0).repo.clone();
    let mut agents = [0, 1].map(|n| Agent::silent(fleet.host(n), "the-same", &shared, &[]));
    let passed = thread::scope(|scope| {
        let both = agents.each_mut().map(|agent| {
            scope.spawn(|| {
                agent.event("SessionStart", &serde_json::json!({"source": "startup"}));
                agent.write("a.txt", "1\n")
            })
        });
        both.map(|one| one.join().expect("asked"))
    });
    let reasons: Vec<_> = passed.iter().filter_map(|said| said.reason.as_deref()).collect();
    assert_eq!(reasons.len(), 1, "one is registered and one is not: {passed:?}");
    assert!(reasons[0].contains("This session id belongs to another running process"), "{}", reasons[0]);
    let sessions = fleet.host(2).sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");

    // When the first one is over, the other can have the place.
    let loser = usize::from(passed[0].passed());
    agents[1 - loser].session_end();
    in_time("the other is registered", || {
        agents[loser].prompt("go on");
        agents[loser].read("a.txt").passed() && agents[loser].write("a.txt", "2\n").passed()
    });
    assert_eq!(fleet.host(2).sessions().len(), 1);
}

/// Boots of one host, one after the other.
const BOOTS: usize = 3;

pub(crate) fn a_host_that_lost_power_is_another_session_under_the_same_name(apart: Apart) {
    let mut fleet = Fleet::new(apart, 2, quick());
    let mut seen = Vec::new();
    for boot in 0..BOOTS {
        let mut one = fleet.agent(0, "one");
        in_time("it can write at once or when its former life is over", || {
            one.prompt("go on");
            one.read("a.txt");
            one.write("a.txt", &format!("{boot}\n")).passed()
        });
        let live = |fleet: &Fleet| {
            let rows = fleet.host(1).sessions();
            rows.into_iter().filter(|s| s["agent_session"] == "one").collect::<Vec<_>>()
        };
        until("one session of that name", || live(&fleet).len() == 1);
        seen.push(live(&fleet)[0]["session"].as_str().expect("an id").to_owned());
        // All at once; where hosts cannot lose power, one after the other.
        fleet.host(0).lose_power();
        fleet.sidecars[0].kill9();
        one.kill9();
        fleet.sidecars[0] = Program::start(fleet.host(0), Kind::Sidecar);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), BOOTS, "each life is a session of its own");
    let mut two = fleet.agent(1, "two");
    in_time("what the last life held is free", || {
        two.prompt("go on");
        two.write("a.txt", "2\n").passed()
    });
    in_time("nothing of it is left", || fleet.host(1).sessions().len() == 1);
}

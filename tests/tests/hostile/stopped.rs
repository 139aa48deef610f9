//! A daemon that was stopped and goes on, as a suspended laptop does: no call passes on the strength of what it knew before,
//! until the store has proven the session alive (H1).

use std::io::{Read as _, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, signal, until};
use rustix::process::Signal;
use serde_json::json;

use super::support::{before, connect, question, said};

/// Longer than the gap that fences (5 s). Nothing can be awaited here: the time itself is the matter.
const STOPPED: Duration = Duration::from_secs(7);
/// As fast as the relations between the timings allow.
const QUICK: &str = "timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, permit_poll: 500ms, permit_fresh: 3s }\n";
/// What a call hears that comes before the proof.
const UNPROVEN: [&str; 3] = [
    "its session is being checked against the store after an interruption",
    "the run permit was last seen",
    "its session's lease is gone",
];

/// Or the proof took longer than a hook waits.
fn is_unproven(reason: &str) -> bool {
    let vouched_not = reason.contains("Railroad cannot vouch for this call");
    vouched_not && UNPROVEN.iter().any(|why| reason.contains(why)) || reason.contains("did not answer in time")
}

#[test]
fn no_call_passes_after_a_stop_before_the_session_is_proven_again() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK);
    let daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one").that_asks_once();
    one.write("held.txt", "1\n").must_pass();
    signal(daemon.pid(), Signal::STOP);
    let start = Instant::now();
    let denied = one.write("while.txt", "1\n");
    denied.must_be_denied(&["did not answer in time", "rrctl up"]);
    assert!(!sandbox.repo.join("while.txt").exists());
    sleep(STOPPED.saturating_sub(start.elapsed()));
    // Questions that wait in the socket are what the daemon sees first when it goes on.
    let call = before(&sandbox, "Write", &json!({"file_path": sandbox.repo.join("held.txt"), "content": "x"}));
    let bytes = question(&sandbox, call.to_string().as_bytes());
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&sandbox);
            stream.write_all(&bytes).expect("the socket's own buffer takes it");
            stream
        })
        .collect();
    signal(daemon.pid(), Signal::CONT);
    let woken = Instant::now();
    for mut stream in waiting {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        said(&answer, woken.elapsed()).must_deny(&[]);
    }
    until("the session is proven and the call passes", || {
        one.prompt("again");
        let done = one.edit("held.txt", "1", "2");
        if let Some(reason) = &done.reason {
            assert!(is_unproven(reason), "{reason}");
        }
        done.passed()
    });
    assert_eq!(sandbox.text("held.txt"), "2\n");
    assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"), "the lock is the same");
    let mut two = Agent::start(&sandbox, "two");
    two.write("held.txt", "3\n").must_be_denied(&["held.txt is being edited by session"]);
}

/// The very first answer to the session itself, many times: it is denied, or its lease is younger than the stop.
#[test]
fn the_first_call_after_a_stop_is_denied_or_proven() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK);
    let daemon = Daemon::start(&sandbox);
    let mut agents: Vec<Agent> = (0..6).map(|n| Agent::start(&sandbox, &format!("a{n}")).that_asks_once()).collect();
    for (n, agent) in agents.iter_mut().enumerate() {
        agent.write(&format!("f{n}.txt"), "1\n").must_pass();
    }
    signal(daemon.pid(), Signal::STOP);
    sleep(STOPPED);
    let firsts: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = agents
            .iter_mut()
            .enumerate()
            .map(|(n, agent)| scope.spawn(move || agent.write(&format!("f{n}.txt"), "2\n")))
            .collect();
        signal(daemon.pid(), Signal::CONT);
        asking.into_iter().map(|first| first.join().expect("asked")).collect()
    });
    for (n, first) in firsts.iter().enumerate() {
        let (file, name) = (format!("f{n}.txt"), format!("a{n}"));
        match &first.reason {
            Some(reason) => {
                assert!(is_unproven(reason), "{reason}");
                assert_eq!(sandbox.text(&file), "1\n");
            }
            None => assert_eq!(sandbox.holder(&file).as_deref(), Some(name.as_str()), "passed, so it is proven"),
        }
    }
    until("every session goes on", || {
        agents.iter_mut().enumerate().all(|(n, agent)| {
            agent.prompt("again");
            agent.write(&format!("f{n}.txt"), "3\n").passed()
        })
    });
    assert_eq!(sandbox.sessions().len(), 6);
}

//! The watcher dies in each state of an incident, and whoever comes after goes on from there.

use std::fs;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use super::stage::{
    Gate, LONG, QUICK_TIMES, commits, head, in_state, incidents, is_green, is_paused, is_searched, log_of, notes, over,
    reverts, until_long, words_project,
};

/// How it is known that a state has come.
#[derive(Clone, Copy)]
enum Seen {
    /// It lasts for a check or longer: asked for, while its check is held at the trees that are built in it.
    Asked { is: fn(&Sandbox) -> bool, held_at: &'static str },
    /// It is over in milliseconds: the word that is said just before it is stored.
    Said(&'static str),
}

impl Seen {
    fn held_at(self) -> &'static str {
        match self {
            Self::Asked { held_at, .. } => held_at,
            Self::Said(_) => "false",
        }
    }

    #[track_caller]
    fn wait(self, sandbox: &Sandbox) {
        let start = Instant::now();
        let holds = || match self {
            Self::Asked { is, .. } => is(sandbox),
            Self::Said(word) => fs::read_to_string(sandbox.log()).unwrap_or_default().contains(word),
        };
        while !holds() {
            assert!(start.elapsed() < LONG, "the state did not come\n{}", log_of(sandbox));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[track_caller]
fn killed_when(seen: Seen) {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK_TIMES);
    let gate = Gate::new(&sandbox, seen.held_at());
    words_project(&sandbox, &gate.check(), "");
    let mut daemon = Daemon::start(&sandbox);
    let mut agents: Vec<Agent> = ["ann", "ben", "cleo"].iter().map(|n| Agent::start(&sandbox, n)).collect();
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    agents[0].write("notes.txt", "half a thought\n").must_pass();
    gate.close();
    commits(&mut agents[0], "src/one.txt", "one and a half\n", "one");
    commits(&mut agents[1], "src/two.txt", "BROKEN\n", "two");
    let culprit = head(&sandbox);
    commits(&mut agents[2], "src/three.txt", "three\n", "three");
    gate.open();

    seen.wait(&sandbox);
    daemon.kill9();
    gate.release();
    daemon.restart();
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));

    let incident = over(&sandbox).expect("an incident");
    assert_eq!(incident["culprit_commits"], serde_json::json!([culprit]), "{incident:#}");
    assert_eq!(incidents(&sandbox).len(), 1, "the same incident, to its end: {:#?}", incidents(&sandbox));
    assert_eq!(reverts(&sandbox, "main"), 1, "{}", notes(&incident));
    assert_eq!(sandbox.text("src/two.txt"), "two\n");
    assert_eq!(
        (sandbox.text("src/one.txt"), sandbox.text("src/three.txt")),
        ("one and a half\n".into(), "three\n".into())
    );
    assert_eq!(sandbox.text("notes.txt"), "half a thought\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]).trim(), "?? notes.txt");
    until_long("the branch is known to be green again", &sandbox, || is_green(&sandbox));
    until_long("agents go on", &sandbox, || agents[0].write("src/four.txt", "four\n").passed());
}

#[test]
fn killed_when_it_has_seen_a_break_another_confirms_and_ends_it() {
    killed_when(Seen::Asked {
        is: |sandbox| in_state(sandbox, "seen").is_some(),
        held_at: "grep -q BROKEN src/two.txt",
    });
}

#[test]
fn killed_when_it_has_confirmed_a_break_another_pauses_once_and_ends_it() {
    killed_when(Seen::Said("state=Confirmed"));
}

#[test]
fn killed_when_it_has_paused_another_goes_on_under_the_same_pause() {
    killed_when(Seen::Said("state=Paused"));
}

#[test]
fn killed_while_it_searches_another_goes_on_with_the_builds_that_are_known() {
    killed_when(Seen::Asked { is: is_searched, held_at: "! grep -q BROKEN src/two.txt" });
}

#[test]
fn killed_while_it_reverts_another_makes_the_same_revert_once() {
    killed_when(Seen::Asked {
        is: |sandbox| in_state(sandbox, "reverting").is_some(),
        held_at: "[ -e src/three.txt ] && ! grep -q BROKEN src/two.txt",
    });
}

#[test]
fn killed_when_it_has_reverted_another_verifies_and_resumes() {
    killed_when(Seen::Said("state=Verifying"));
}

//! A person's word about a break: a proposal accepted, a pause that a person ends, and a pause whose time is over.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::Value;

use super::stage::{
    QUICK, commits, head, in_state, incidents, is_green, is_paused, notes, over, reverts, shown, until_long,
    words_project,
};

struct Proposed<'a> {
    _daemon: Daemon<'a>,
    ann: Agent,
    culprit: String,
    incident: Value,
}

impl<'a> Proposed<'a> {
    /// A break that is proven, and whose revert is only proposed.
    #[track_caller]
    fn in_sandbox(sandbox: &'a Sandbox, on_break: &str) -> Self {
        words_project(sandbox, QUICK, &format!("  on_break: {{ revert: propose{on_break} }}\n"));
        let daemon = Daemon::start(sandbox);
        let mut ann = Agent::start(sandbox, "ann");
        until_long("the branch is known to be green", sandbox, || is_green(sandbox));
        commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
        let culprit = head(sandbox);
        until_long("a person is asked", sandbox, || in_state(sandbox, "escalated").is_some());
        let incident = in_state(sandbox, "escalated").expect("one");
        assert_eq!(incident["culprit_commits"], serde_json::json!([culprit]), "{incident:#}");
        Self { _daemon: daemon, ann, culprit, incident }
    }

    fn id(&self) -> &str {
        self.incident["id"].as_str().expect("an id")
    }
}

/// As `rrctl status` shows it.
fn resume(sandbox: &Sandbox, words: &[&str]) {
    let status = sandbox.json(&["status"]);
    let epoch = status["epoch"].to_string();
    let said = sandbox.rrctl(&[&["resume", "--epoch", &epoch], words].concat());
    assert!(said.status.success(), "{} {status:#}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_proposed_revert_is_done_by_the_command_that_is_named() {
    let sandbox = Sandbox::new();
    let proposed = Proposed::in_sandbox(&sandbox, "");
    assert!(is_paused(&sandbox), "until a person has decided");
    assert_eq!((head(&sandbox), reverts(&sandbox, "main")), (proposed.culprit.clone(), 0));
    let why = proposed.incident["escalated"].as_str().expect("a reason");
    let command = why.split("rrctl ").nth(1).expect("a command");
    assert!(command.starts_with("incident resolve ") && command.ends_with(" --revert"), "{why}");
    let words: Vec<&str> = command.split(' ').collect();
    assert!(sandbox.rrctl(&words).status.success());
    until_long("it is done", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    assert_eq!((sandbox.text("src/two.txt"), reverts(&sandbox, "main")), ("two\n".to_owned(), 1));
    until_long("the branch is known to be green again", &sandbox, || is_green(&sandbox));
}

#[test]
fn a_person_who_resumes_overrules_the_watcher_and_no_second_pause_comes() {
    let sandbox = Sandbox::new();
    let mut proposed = Proposed::in_sandbox(&sandbox, "");
    let hold = proposed.incident["pause"]["hold"].as_str().expect("a hold").to_owned();
    resume(&sandbox, &["--hold", &hold]);
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    let overruled =
        || shown(&sandbox, &proposed.incident).is_some_and(|i| notes(&i).contains("a person resumed the fleet"));
    until_long("it is known", &sandbox, overruled);
    // Red once more, with the same incident open.
    commits(&mut proposed.ann, "src/one.txt", "BROKEN too\n", "one");
    let tip = head(&sandbox);
    until_long("the new tip was looked at", &sandbox, || {
        super::stage::lines(&sandbox).iter().any(|line| line["tip"] == tip.as_str())
    });
    assert!(!is_paused(&sandbox));
    assert_eq!((incidents(&sandbox).len(), reverts(&sandbox, "main")), (1, 0));
    assert!(in_state(&sandbox, "escalated").is_some(), "it stays open");

    // Whoever mends it ends it.
    proposed.ann.write("src/one.txt", "one\n").must_pass();
    commits(&mut proposed.ann, "src/two.txt", "two again\n", "mend");
    proposed.ann.shell("git add -A && git commit -q -m 'mend one'").must_pass();
    until_long("the repair is seen", &sandbox, || over(&sandbox).is_some());
    assert!(notes(&over(&sandbox).expect("one")).contains("repaired"));
}

#[test]
fn agents_go_on_when_the_time_for_a_pause_is_over_and_the_incident_stays_open() {
    let sandbox = Sandbox::new();
    let mut proposed = Proposed::in_sandbox(&sandbox, ", deadline: 10s");
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    proposed.ann.write("src/three.txt", "three\n").must_pass();
    let told = || in_state(&sandbox, "escalated").is_some_and(|i| notes(&i).contains("the time for a pause is over"));
    until_long("it is told", &sandbox, told);
    let text = String::from_utf8(sandbox.rrctl(&["incident", "show", proposed.id()]).stdout).expect("text");
    assert!(text.contains("--revert"), "{text}");
    assert!(sandbox.rrctl(&["incident", "resolve", proposed.id(), "--revert"]).status.success());
    until_long("it is done", &sandbox, || over(&sandbox).is_some());
    assert_eq!(sandbox.text("src/two.txt"), "two\n");
}

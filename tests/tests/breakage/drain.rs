//! A revert and the calls that were let through before the pause: it waits for them, and not for ever (H19).

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::{Value, json};

use super::stage::{
    Gate, QUICK_TIMES, TEST, commits, head, in_state, is_green, is_paused, notes, over, reverts, until_long,
    words_project,
};

/// The revert is made and checked: only its landing is left.
fn ready(sandbox: &Sandbox) -> Option<Value> {
    in_state(sandbox, "reverting").filter(|incident| incident["revert"]["green"] == true)
}

#[test]
fn a_call_under_way_at_the_pause_ends_before_the_revert_is_landed() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK_TIMES);
    let gate = Gate::new(&sandbox, "grep -q BROKEN src/two.txt");
    words_project(&sandbox, &gate.check(), "");
    let _daemon = Daemon::start(&sandbox);
    let mut ann = Agent::start(&sandbox, "ann");
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
    let culprit = head(&sandbox);
    // Let through while the check still runs, and made only when the revert is ready.
    let mend = json!({"file_path": "src/two.txt", "content": "mended by hand\n"});
    let call = ann.pre("Write", &mend).must_pass().id;
    gate.release();
    until_long("the revert is ready", &sandbox, || ready(&sandbox).is_some());
    assert_eq!((head(&sandbox), is_paused(&sandbox)), (culprit.clone(), true), "it waits for the call");
    assert_eq!(ann.act(&call).ok, Some(true));
    ann.post(&call);

    until_long("a person is asked", &sandbox, || in_state(&sandbox, "escalated").is_some());
    let incident = in_state(&sandbox, "escalated").expect("one");
    let why = incident["escalated"].as_str().expect("a reason");
    assert!(why.contains("src/two.txt"), "the call's work was there before the landing looked: {why}");
    assert!(!notes(&incident).contains("may still be under way"), "{}", notes(&incident));
    assert_eq!((head(&sandbox), reverts(&sandbox, "main")), (culprit, 0));
    assert_eq!(sandbox.text("src/two.txt"), "mended by hand\n");
}

#[test]
fn a_call_that_does_not_end_is_not_waited_for_for_ever_and_the_incident_says_so() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK_TIMES);
    words_project(&sandbox, TEST, "");
    let _daemon = Daemon::start(&sandbox);
    let mut ann = Agent::start(&sandbox, "ann");
    let mut ben = Agent::start(&sandbox, "ben");
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    let call = ben.pre("Write", &json!({"file_path": "src/notes.txt", "content": "late\n"})).must_pass().id;
    commits(&mut ann, "src/two.txt", "BROKEN\n", "two");
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    let told = notes(&over(&sandbox).expect("an incident"));
    let sid = sandbox.sessions().iter().find(|s| s["agent_session"] == "ben").expect("ben")["session"].clone();
    let short = &sid.as_str().expect("an id")[..8];
    assert!(told.contains("not waited for any longer") && told.contains(&format!("session {short}")), "{told}");
    assert_eq!((sandbox.text("src/two.txt"), reverts(&sandbox, "main")), ("two\n".to_owned(), 1));
    // It was let through: it may still do its work, and nothing of that is lost.
    assert_eq!(ben.act(&call).ok, Some(true));
    ben.post(&call);
    assert_eq!(sandbox.text("src/notes.txt"), "late\n");
}

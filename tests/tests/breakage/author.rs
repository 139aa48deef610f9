//! Whose work was taken out is told: which commit, what failed, and where the work is kept. Nobody else in the same folder is.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use super::stage::{QUICK, commits, head, is_green, is_paused, over, until_long, words_project};

/// All that an agent is told by its calls until `word` is among it.
#[track_caller]
fn told(agent: &mut Agent, sandbox: &Sandbox, word: &str) -> String {
    let mut all = String::new();
    until_long(&format!("{} is told: {word}", agent.name()), sandbox, || {
        all.push_str(&agent.read("README.md").must_pass().context);
        all.contains(word)
    });
    all
}

#[test]
fn who_landed_a_reverted_commit_is_told_what_failed_and_where_its_work_is() {
    let sandbox = Sandbox::new();
    words_project(&sandbox, QUICK, "");
    let _daemon = Daemon::start(&sandbox);
    let mut ann = Agent::start(&sandbox, "ann");
    let mut ben = Agent::start(&sandbox, "ben");
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "src/one.txt", "one and a half\n", "one");
    commits(&mut ben, "src/two.txt", "BROKEN\n", "two");
    let culprit = head(&sandbox);
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    let incident = over(&sandbox).expect("an incident");
    let kept = incident["kept"].as_str().expect("a branch");
    let by = incident["suspects"].as_array().expect("suspects").iter().find(|s| s["commit"] == culprit.as_str());
    let sid = sandbox.sessions().iter().find(|s| s["agent_session"] == "ben").expect("ben")["session"].clone();
    assert_eq!(by.expect("the culprit")["session"], sid, "{incident:#}");

    let said = told(&mut ben, &sandbox, "was taken out of the branch again");
    for part in [&culprit[..8], "grep -rl BROKEN src", "src/two.txt(1,1): error TS1000: it is broken", kept] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    // It was told of the same finding of the same folder: the other one was not.
    assert!(!ann.read("README.md").must_pass().context.contains("taken out"));
    assert!(!ben.read("README.md").must_pass().context.contains("taken out"), "once");
    ben.shell(&format!("git show {kept}:src/two.txt")).must_pass();
}

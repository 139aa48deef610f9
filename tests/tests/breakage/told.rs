//! What agents are told before anything breaks: that another edits the same lines, and that what they have committed does not pass.

use std::path::PathBuf;

use rr_tests::agent::{Agent, Decision};
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::Value;

use super::stage::{QUICK, ask, incidents, is_green, is_paused, until_long, words_project};

const TEXT: &str = "alpha\nbeta\ngamma\ndelta\n";

pub(super) fn worktree(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path().join(name);
    sandbox.git(&["worktree", "add", "-q", "-b", name, &path.display().to_string()]);
    path
}

pub(super) fn findings(sandbox: &Sandbox) -> Vec<Value> {
    ask(sandbox, &["overlap"]).and_then(|said| said["findings"].as_array().cloned()).unwrap_or_default()
}

/// What an agent reads at its next call.
#[track_caller]
pub(super) fn next(agent: &mut Agent) -> String {
    let said: Decision = agent.read("README.md").must_pass();
    said.context
}

/// All it is told until `word` is among it.
#[track_caller]
pub(super) fn told(agent: &mut Agent, sandbox: &Sandbox, word: &str) -> String {
    let mut all = String::new();
    until_long(&format!("{} is told: {word}", agent.name()), sandbox, || {
        all.push_str(&next(agent));
        all.contains(word)
    });
    all
}

#[test]
fn two_agents_who_edit_the_same_lines_are_both_told_once_and_again_when_it_is_over() {
    let sandbox = Sandbox::new();
    words_project(&sandbox, QUICK, "");
    sandbox.commit(&[("src/text.txt", TEXT)]);
    let trees = ["left", "right"].map(|name| worktree(&sandbox, name));
    let _daemon = Daemon::start(&sandbox);
    let mut left = Agent::start_in(&sandbox, "left", &trees[0]);
    let mut right = Agent::start_in(&sandbox, "right", &trees[1]);
    left.write("src/text.txt", &TEXT.replace("beta", "beta of the left")).must_pass();
    // Its turn is over: the file is free for others, its edit stays uncommitted.
    left.stop();
    right.write("src/text.txt", &TEXT.replace("beta\ngamma\ndelta", "beta of the right\n2\n3\n4\n5")).must_pass();

    let said = [told(&mut left, &sandbox, "cannot be merged"), told(&mut right, &sandbox, "cannot be merged")];
    for (said, mine, theirs) in [(&said[0], "left", "right"), (&said[1], "right", "left")] {
        assert!(said.contains("src/text.txt"), "{said}");
        assert!(
            said.contains(&format!("beta of the {mine}")) && said.contains(&format!("beta of the {theirs}")),
            "{said}"
        );
    }
    let yields: Vec<bool> = said.iter().map(|said| said.contains("take theirs in first")).collect();
    assert_eq!(yields, [true, false], "the smaller one gives way: {said:#?}");

    let found = findings(&sandbox);
    assert_eq!((found.len(), found[0]["level"].as_u64()), (1, Some(2)), "{found:#?}");
    let id = found[0]["id"].as_str().expect("an id").to_owned();
    assert!(said.iter().all(|said| said.contains(&id)), "{said:#?}");
    let explained = sandbox.json(&["conflicts", "explain", &id]);
    assert!(explained["excerpt"].as_str().is_some_and(|e| e.contains("beta of the left")), "{explained:#}");
    assert_eq!(explained["both"].as_array().map(Vec::len), Some(2), "{explained:#}");

    // Other edits of the same two do not bring it up again.
    left.write("src/left.txt", "left\n").must_pass();
    right.write("src/right.txt", "right\n").must_pass();
    let is_in = |agent: &str, path: &str| {
        let trees = ask(&sandbox, &["overlap"]).map(|said| said["trees"].to_string()).unwrap_or_default();
        trees.contains(agent) && trees.contains(path)
    };
    until_long("the new looks are compared", &sandbox, || is_in("left", "") && !findings(&sandbox).is_empty());
    assert!(!next(&mut left).contains("cannot be merged") && !next(&mut right).contains("cannot be merged"));

    right.write("src/text.txt", TEXT).must_pass();
    until_long("it is cleared", &sandbox, || findings(&sandbox).is_empty());
    let over = [told(&mut left, &sandbox, "No longer in the way"), told(&mut right, &sandbox, "No longer in the way")];
    assert!(over.iter().all(|said| said.contains(&id) && !said.contains("cannot be merged")), "{over:#?}");
}

#[test]
fn an_agent_whose_commit_on_its_own_branch_does_not_pass_is_told_and_nobody_is_paused() {
    let sandbox = Sandbox::new();
    words_project(&sandbox, QUICK, "");
    let tree = worktree(&sandbox, "own");
    let _daemon = Daemon::start(&sandbox);
    let mut other = Agent::start(&sandbox, "other");
    let mut own = Agent::start_in(&sandbox, "own", &tree);
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    own.write("src/two.txt", "BROKEN\n").must_pass();
    own.shell("git commit -q -am two").must_pass();
    let said = told(&mut own, &sandbox, "fails on what you committed");
    assert!(said.contains("`words`") && said.contains("src/two.txt(1,1): error TS1000"), "{said}");
    assert!(!next(&mut own).contains("fails on what you committed"), "once");
    assert!(!next(&mut other).contains("fails on what you committed"));
    assert!(incidents(&sandbox).is_empty() && !is_paused(&sandbox));
    assert!(is_green(&sandbox));

    own.write("src/two.txt", "two and more\n").must_pass();
    own.shell("git commit -q -am 'mend two'").must_pass();
    until_long("it is no longer held against it", &sandbox, || findings(&sandbox).is_empty());
}

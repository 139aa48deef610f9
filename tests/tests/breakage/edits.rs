//! What stands in a work tree and nobody has committed is checked when its agents come to rest: told with the command and its output to whoever
//! made it, and to the others of that tree that it is not theirs to mend. Nobody is paused for it, and nothing of it is taken out.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::Value;

use super::stage::{QUICK, ask, incidents, is_green, is_paused, until_long};
use super::told::{findings, next, told, worktree};

/// Fails where two words meet that are harmless alone.
pub(super) const MEETING: &str =
    "! { grep -rqs LEFT src && grep -rqs RIGHT src && echo \"src/left.txt(1,1): error TS2000: they meet\"; }";

/// A project whose check is run on what nobody has committed, too.
fn checked_at_edits(sandbox: &Sandbox, check: &str) {
    let check = check.replace('\'', "''");
    let config = format!("defaults: off\nhealth:\n  checks:\n    - {{ name: words, run: '{check}', when: edit }}\n");
    sandbox.commit(&[("src/one.txt", "one\n"), ("src/two.txt", "two\n"), ("railroad.yaml", config.as_str())]);
}

/// The fleet's name for a session.
#[track_caller]
fn session_of(sandbox: &Sandbox, agent: &Agent) -> Value {
    let said = sandbox.json(&["sessions"]);
    let all = said["sessions"].as_array().cloned().unwrap_or_default();
    let its = all.iter().find(|session| session["agent_session"] == agent.name());
    its.unwrap_or_else(|| panic!("no {} in {said:#}", agent.name()))["session"].clone()
}

#[test]
fn an_agent_whose_uncommitted_edit_does_not_pass_is_told_once_with_command_and_output_and_when_it_passes() {
    let sandbox = Sandbox::new();
    checked_at_edits(&sandbox, QUICK);
    let trees = ["own", "other"].map(|name| worktree(&sandbox, name));
    let _daemon = Daemon::start(&sandbox);
    let mut own = Agent::start_in(&sandbox, "own", &trees[0]);
    let mut other = Agent::start_in(&sandbox, "other", &trees[1]);
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    own.write("src/two.txt", "BROKEN\n").must_pass();
    let said = told(&mut own, &sandbox, "fails in this work tree");
    assert!(said.contains("it is yours") && said.contains("src/two.txt(1,1): error TS1000"), "{said}");
    assert!(said.contains("grep -rl BROKEN src"), "with the command: {said}");
    let found = findings(&sandbox);
    assert_eq!((found.len(), found[0]["kind"].as_str(), found[0]["level"].as_u64()), (1, Some("edits"), Some(3)));

    // It goes on, still red: not told again, and nobody else is.
    own.write("src/two.txt", "BROKEN and more\n").must_pass();
    other.write("src/other.txt", "other\n").must_pass();
    let is_seen = || {
        ask(&sandbox, &["overlap"]).is_some_and(|said| said["trees"].to_string().matches("\"files\":1").count() == 2)
    };
    until_long("both edits are seen", &sandbox, is_seen);
    assert!(!next(&mut own).contains("fails in this work tree"));
    assert!(!next(&mut other).contains("fails in this work tree"));

    own.write("src/two.txt", "two and more\n").must_pass();
    let over = told(&mut own, &sandbox, "no longer fails");
    assert!(!over.contains("it is yours"), "{over}");
    until_long("it is cleared", &sandbox, || findings(&sandbox).is_empty());
    assert!(incidents(&sandbox).is_empty() && !is_paused(&sandbox) && is_green(&sandbox));
}

#[test]
fn of_three_in_one_work_tree_who_broke_it_is_told_that_it_is_theirs_and_the_others_to_wait() {
    let sandbox = Sandbox::new();
    checked_at_edits(&sandbox, QUICK);
    let mut daemon = Daemon::start(&sandbox);
    let mut agents = ["first", "culprit", "third"].map(|name| Agent::start(&sandbox, name));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    for (agent, text) in agents.iter_mut().zip(["good\n", "BROKEN\n", "good too\n"]) {
        let path = format!("src/of-{}.txt", agent.name());
        agent.write(&path, text).must_pass();
    }
    let sessions = agents.each_ref().map(|agent| session_of(&sandbox, agent));
    let [first, culprit, third] = &mut agents;
    let said = told(culprit, &sandbox, "fails in this work tree");
    assert!(said.contains("it is yours") && said.contains("src/of-culprit.txt(1,1): error TS1000"), "{said}");
    assert!(!said.contains("of-first") && !said.contains("of-third"), "{said}");
    for innocent in [&mut *first, &mut *third] {
        let said = told(innocent, &sandbox, "fails in this work tree");
        let of_culprit = sessions[1].as_str().expect("a name").get(..8).expect("long");
        assert!(said.contains("it is not yours") && said.contains("Do not mend it"), "{said}");
        assert!(said.contains(of_culprit) && said.contains("src/of-culprit.txt"), "{said}");
    }
    let found = findings(&sandbox);
    assert_eq!((found.len(), &found[0]["sessions"]), (1, &serde_json::json!([sessions[1]])), "{found:#?}");
    assert_eq!(found[0]["paths"], serde_json::json!(["src/of-culprit.txt"]));
    let shown = String::from_utf8_lossy(&sandbox.rrctl(&["overlap"]).stdout).into_owned();
    assert!(shown.contains("words fails on edits of") && shown.contains("src/of-culprit.txt"), "{shown}");
    assert!(incidents(&sandbox).is_empty() && !is_paused(&sandbox));
    for path in ["src/of-first.txt", "src/of-culprit.txt", "src/of-third.txt"] {
        assert!(sandbox.repo.join(path).exists(), "nothing is taken out: {path}");
    }

    // Another life of the daemon still knows who made what, and tells nothing twice.
    daemon.kill9();
    daemon.restart();
    until_long("the third may write", &sandbox, || third.write("src/third-again.txt", "BROKEN as well\n").passed());
    let mut both = [&sessions[1], &sessions[2]].map(|session| session.as_str().expect("a name"));
    both.sort_unstable();
    let both = serde_json::json!(both);
    until_long("both are named", &sandbox, || findings(&sandbox).iter().any(|found| found["sessions"] == both));
    let said = told(first, &sandbox, "fails in this work tree");
    assert!(said.matches("fails in this work tree").count() == 1 && said.contains("src/third-again.txt"), "{said}");
}

#[test]
fn two_whose_edits_break_a_work_tree_only_together_are_both_told_of_each_other() {
    let sandbox = Sandbox::new();
    checked_at_edits(&sandbox, MEETING);
    let _daemon = Daemon::start(&sandbox);
    let mut agents = ["left", "right", "third"].map(|name| Agent::start(&sandbox, name));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    for (agent, text) in agents.iter_mut().zip(["LEFT\n", "RIGHT\n", "neither\n"]) {
        let path = format!("src/{}.txt", agent.name());
        agent.write(&path, text).must_pass();
    }
    let mut names = agents.each_ref().map(|agent| session_of(&sandbox, agent).as_str().expect("a name").to_owned());
    let [left, right, third] = &mut agents;
    for (agent, other) in [(left, 1), (right, 0)] {
        let said = told(agent, &sandbox, "fails in this work tree");
        assert!(said.contains("only together") && said.contains("they meet"), "{said}");
        assert!(said.contains(&names[other][..8]) && !said.contains("third.txt"), "{said}");
    }
    let said = told(third, &sandbox, "fails in this work tree");
    assert!(
        said.contains("it is not yours") && said.contains(&names[0][..8]) && said.contains(&names[1][..8]),
        "{said}"
    );
    let found = findings(&sandbox);
    names[..2].sort();
    assert_eq!((&found[0]["how"], &found[0]["sessions"]), (&"together".into(), &serde_json::json!(names[..2])));
}

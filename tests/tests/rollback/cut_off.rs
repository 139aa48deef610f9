//! The daemon is killed while it writes a rollback, at one step after the other: the next one finishes it or takes it back, before any
//! agent may write. Nothing lies about then, no line is lost, and the journal says how it came out. Each single step of the disk
//! is `rr_sidecar`'s own to prove.

use std::fs;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

use super::stage::{all_files, has_plan, roll_back, rolls_back};

const FILES: usize = 120;

fn file(n: usize) -> String {
    format!("many/{n:03}.txt")
}

fn staged(sandbox: &Sandbox) -> usize {
    let names = fs::read_dir(sandbox.repo.join("many")).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with(".railroad-")).count()
}

fn back(sandbox: &Sandbox) -> usize {
    (0..FILES).filter(|n| sandbox.text(&file(*n)) == format!("{n} before\n")).count()
}

fn of_kind(sandbox: &Sandbox, kind: &str) -> usize {
    let log = sandbox.json(&["log", "--limit", "10000", "--kind", kind]);
    log["entries"].as_array().expect("entries").len()
}

/// One rollback of many files, killed as soon as `reached`, or when it is over.
fn killed_when(what: &str, reached: impl Fn(&Sandbox) -> bool) {
    let sandbox = Sandbox::new();
    let names: Vec<(String, String)> = (0..FILES).map(|n| (file(n), format!("{n} before\n"))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    sandbox.commit(&files);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.shell("for f in many/*.txt; do echo after > $f; done").must_pass();
    one.stop();
    assert_eq!(back(&sandbox), 0, "{what}");
    // Its end is written down behind the agent's back; what a daemon that dies before leaves is another story (`journal/crash`).
    until("the call is on record", || of_kind(&sandbox, "done") == 1);
    let mut asked = rolls_back(&sandbox);
    while !reached(&sandbox) && asked.try_wait().expect("look").is_none() {}
    daemon.kill9();
    drop(asked.wait());
    daemon.restart();
    assert_eq!(staged(&sandbox), 0, "{what}: nothing lies about");
    assert!(!has_plan(&sandbox), "{what}: its plan is over");
    let done = back(&sandbox);
    assert!(done == 0 || done == FILES, "{what}: {done} of {FILES}");
    until("the journal says so", || of_kind(&sandbox, "rolled-back") == usize::from(done == FILES));
    if done == 0 {
        roll_back(&sandbox, &["--session", "first"]);
    } else {
        let told = sandbox.json(&["rollback", "--session", "first"]);
        assert_eq!(told["files"], json!([]), "{what}: not twice: {told}");
    }
    assert_eq!(back(&sandbox), FILES, "{what}");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{what}: {:?}", all_files(&sandbox).keys());
    one.prompt("go on");
    one.write("many/new.txt", "x\n").must_pass();
}

#[test]
fn a_rollback_that_the_daemon_dies_in_is_ended_by_the_next_one() {
    killed_when("before anything", |_| true);
    killed_when("with its plan", has_plan);
    killed_when("staging", |sandbox| staged(sandbox) > 0);
    killed_when("half staged", |sandbox| staged(sandbox) > FILES / 2);
    killed_when("writing", |sandbox| back(sandbox) > 0);
    killed_when("half written", |sandbox| back(sandbox) > FILES / 2);
    killed_when("all written", |sandbox| back(sandbox) == FILES);
}

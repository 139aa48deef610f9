//! What the checks of uncommitted work cost: each content is built once, however often it is looked at, over restarts too. Builds are counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use super::stage::{QUICK, is_green, until_long};
use super::told::{findings, told, worktree};

/// A check that writes down of which content it was asked.
fn recorded(record: &Path) -> String {
    format!("find . -type f | sort | xargs sha256sum | sha256sum >> {}; {QUICK}", record.display())
}

fn checked_at_edits(sandbox: &Sandbox, check: &str) {
    let check = check.replace('\'', "''");
    let config = format!("defaults: off\nhealth:\n  checks:\n    - {{ name: words, run: '{check}', when: edit }}\n");
    sandbox.commit(&[("src/one.txt", "one\n"), ("src/two.txt", "two\n"), ("railroad.yaml", config.as_str())]);
}

/// How often each content was built.
fn builds(record: &Path) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in fs::read_to_string(record).unwrap_or_default().lines() {
        *counted.entry(line.to_owned()).or_default() += 1;
    }
    counted
}

#[test]
fn no_content_is_built_twice_however_often_it_is_looked_at() {
    let sandbox = Sandbox::new();
    let record = sandbox.path().join("builds");
    checked_at_edits(&sandbox, &recorded(&record));
    let trees = ["own", "other"].map(|name| worktree(&sandbox, name));
    let mut daemon = Daemon::start(&sandbox);
    let mut own = Agent::start_in(&sandbox, "own", &trees[0]);
    let mut other = Agent::start_in(&sandbox, "other", &trees[1]);
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    // The check itself is tried on the last commit before it is believed.
    let tried = builds(&record);
    assert_eq!(tried.len(), 1, "{tried:?}");

    let fails = "fails in this work tree";
    own.write("src/two.txt", "BROKEN\n").must_pass();
    told(&mut own, &sandbox, fails);
    // The same content, touched; the last commit's content again; and what was red before, once more.
    own.shell("touch src/one.txt src/two.txt").must_pass();
    own.write("src/two.txt", "two\n").must_pass();
    told(&mut own, &sandbox, "no longer fails");
    own.write("src/two.txt", "BROKEN\n").must_pass();
    told(&mut own, &sandbox, fails);
    // Another's work changes nothing of it.
    other.write("src/more.txt", "BROKEN\nas well\n").must_pass();
    told(&mut other, &sandbox, fails);
    // Nor does a watcher that begins anew.
    daemon.kill9();
    daemon.restart();
    other.read("src/more.txt").must_pass();
    other.write("src/more.txt", "more\n").must_pass();
    told(&mut other, &sandbox, "no longer fails");
    assert_eq!(findings(&sandbox).len(), 1, "{:#?}", findings(&sandbox));

    let built = builds(&record);
    let again: Vec<_> =
        built.iter().filter(|(content, count)| **count > tried.get(*content).copied().unwrap_or(1)).collect();
    assert!(again.is_empty(), "built again: {again:?} of {built:?}, tried: {tried:?}");
    assert!(built.len() >= 4, "the last commit, what was red of either, and what another made: {built:?}");
}

//! The demo keeps its word: it is the first thing that a newcomer sees, and its exit code is its verdict.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rr_tests::daemon::{Sandbox, rrctl_program, signal, until};
use rr_tests::etcd::etcd_program;

#[test]
fn five_agents_lose_nothing_while_one_is_killed_and_all_are_paused() {
    let sandbox = Sandbox::new();
    let shown = sandbox.json(&["demo", "--seed", "7"]);
    let number = |name: &str| shown[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {shown}"));
    assert_eq!((number("agents"), number("seed")), (5, 7));
    assert_eq!(number("lost_updates"), 0, "{shown}");
    assert_eq!(number("writes_while_paused"), 0, "{shown}");
    assert_eq!(number("writes"), 40, "every agent has done all of its work: {shown}");
    assert!(number("held_back") > 0, "all of them need one file: {shown}");
    assert_eq!(number("killed"), 1);
    let held = shown["killed_holding"].as_array().expect("a list");
    assert!(held.iter().any(|lock| lock == "src/types/api.ts"), "{shown}");
    assert!(number("paused_ms") >= 500, "{shown}");
    assert_eq!((number("refused_by_policy"), number("refused_runs")), (1, 0), "{shown}");
    assert_eq!((number("approvals"), number("approved_runs"), number("asked_anew")), (1, 1, 1), "{shown}");
    assert_eq!((number("rolled_back_lines"), number("others_lines_lost")), (3, 0), "{shown}");
    assert!(number("replayed_calls") >= 7, "an agent makes as many changes: {shown}");
    assert!(
        number("parallel_ms") > 0 && number("sequential_ms") > 0,
        "both are measured, whatever else this machine does: {shown}"
    );
    assert_eq!(shown["kept"].as_array().map(Vec::len), Some(0));
}

#[test]
fn the_show_tells_the_refusal_with_the_safe_way_the_approval_the_replay_and_the_rollback() {
    let sandbox = Sandbox::new();
    // As an agent would start it: the viewer's yes is not taken for an agent's.
    let shown = sandbox
        .command(rrctl_program())
        .args(["demo", "--agents", "2", "--seed", "3"])
        .env("CLAUDE_CODE_SESSION_ID", "x")
        .output();
    let shown = shown.expect("it runs");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{shown:?}");
    for part in [
        "REFUSED: terraform destroy -auto-approve: rule `",
        "Instead: show the plan",
        "ASKS: npm publish",
        "rrctl approve ",
        "npm publish: passes",
        "npm publish again: has to ask again",
        "rrctl replay --session ",
        "rrctl rollback --session ",
        "Lines rolled back       3 (lost of the others: 0)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn five_agents_on_three_hosts_lose_nothing_while_etcd_loses_its_leader_and_a_host_is_cut_off() {
    let sandbox = Sandbox::new();
    let etcd = etcd_program().display().to_string();
    let shown = sandbox.json(&["demo", "--seed", "7", "--hosts", "3", "--store", "etcd", "--etcd", &etcd]);
    let number = |name: &str| shown[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {shown}"));
    assert_eq!((number("agents"), number("hosts"), &shown["store"]), (5, 3, &serde_json::json!("etcd")));
    assert_eq!(number("lost_updates"), 0, "{shown}");
    assert_eq!((number("writes_while_paused"), number("writes_while_cut")), (0, 0), "{shown}");
    assert_eq!(number("writes"), 40, "every agent has done all of its work: {shown}");
    assert_eq!((number("killed"), number("leader_killed")), (1, 1), "{shown}");
    assert!(number("cut_seconds") >= 10, "the lease of 13 s has run out on the host that was cut off: {shown}");
    assert!(shown["rolled_back_lines"].is_null(), "shown on one host only: {shown}");
    assert!(number("denied_while_cut") > 0 && number("held_back") > 0, "{shown}");
}

#[test]
fn a_broken_build_is_paused_its_commit_found_and_taken_out_and_nothing_else_is_lost() {
    let sandbox = Sandbox::new();
    let shown = sandbox.json(&["demo", "--break", "--seed", "7"]);
    let number = |name: &str| shown[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {shown}"));
    assert_eq!((number("agents"), number("seed"), number("commits")), (4, 7, 8), "{shown}");
    let expected = shown["culprit_expected"].as_str().expect("a commit");
    assert_eq!(expected.len(), 40, "{shown}");
    assert_eq!(shown["culprits_found"], serde_json::json!([expected]), "{shown}");
    // How many had landed when the watcher looked is a matter of time; the proof is red with it and green without it.
    assert!((1..=8).contains(&number("suspects")) && number("builds") >= 2, "{shown}");
    assert!(number("time_to_pause_ms") < number("time_to_proof_ms"), "{shown}");
    assert!(number("paused_ms") >= 2_000, "two checks of a second each at least: {shown}");
    assert_eq!((&shown["reverted"], &shown["resumed"]), (&true.into(), &true.into()), "{shown}");
    let kept = shown["kept_branch"].as_str().expect("a branch");
    assert!(kept.contains(&expected[..10]) && shown["revert_commit"].as_str() != Some(expected), "{shown}");
    assert_eq!((number("others_commits_lost"), number("uncommitted_bytes_lost")), (0, 0), "{shown}");
    assert_eq!((number("writes_while_paused"), &shown["escalated"]), (0, &serde_json::Value::Null), "{shown}");
    assert_eq!(shown["lost"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    interrupted(&["--seed", "1"]);
}

#[test]
fn nor_does_one_with_hosts_and_an_etcd_of_its_own() {
    let etcd = etcd_program().display().to_string();
    interrupted(&["--seed", "1", "--hosts", "3", "--store", "etcd", "--etcd", &etcd]);
}

#[test]
fn nor_does_one_of_a_broken_build_with_its_checks() {
    interrupted(&["--seed", "1", "--break"]);
}

fn interrupted(words: &[&str]) {
    let sandbox = Sandbox::new();
    let temporary = sandbox.path().join("tmp");
    std::fs::create_dir(&temporary).expect("make a folder");
    let mut command = sandbox.command(rrctl_program());
    command.arg("demo").args(words).env("TMPDIR", &temporary).stdout(Stdio::piped());
    let mut demo = command.spawn().expect("the demo starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    let writes = |line: &str| line.contains("  writes ");
    assert!(lines.any(|line| writes(&line.expect("a line"))), "agents are at work");
    let left = || std::fs::read_dir(&temporary).expect("look").count();
    let ours = temporary.canonicalize().expect("a path").display().to_string();
    assert_eq!(left(), 1);
    assert!(!running_with(&ours).is_empty());
    signal(demo.id(), rustix::process::Signal::INT);
    drop(lines);
    assert!(!demo.wait().expect("it ends").success());
    until("its processes have ended", || running_with(&ours).is_empty());
    assert_eq!(left(), 0, "the folder is gone");
}

/// Processes in whose environment or arguments a folder is named.
fn running_with(folder: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("look at the processes").flatten();
    let names = |entry: std::fs::DirEntry| {
        let of = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let text = [of("environ"), of("cmdline")].concat();
        // The demo itself knows the folder above only as TMPDIR; what it has started knows a folder in it.
        let found = String::from_utf8_lossy(&text).contains(&format!("{folder}/rr-"));
        found.then(|| entry.file_name().to_string_lossy().into_owned())
    };
    processes
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(names)
        .collect()
}

//! A store's log that is corrupt, cut or of a newer program: the daemon says so and does not start, keeps every byte, and never
//! begins empty by itself: all locks and a pause would be forgotten.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

/// Header, then the snapshot's frames; see `store/src/embedded/snapshot.rs`.
const VERSION_AT: usize = 8;
const HEADER: usize = 512;

/// A machine whose fleet is paused and holds a lock, with no daemon running.
fn machine_with_a_past() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    assert!(sandbox.rrctl(&["pause-all"]).status.success());
    drop(one);
    daemon.kill9();
    drop(daemon);
    sandbox
}

fn log_file(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.state.join("store");
    let files = fs::read_dir(&folder).expect("a store").flatten().map(|entry| entry.path());
    let is_log = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"RRSTORE\n"));
    files.into_iter().find(is_log).expect("the store's log")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `rrctl up` in every form, and what needs a store, refuse with these words; returns what was said first.
#[track_caller]
fn must_not_start(sandbox: &Sandbox, words: &[&str]) -> String {
    let mut first = String::new();
    for order in [&["up"][..], &["up", "--detach"], &["up"], &["pause-all"]] {
        let output = sandbox.rrctl(order);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "rrctl {order:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in what rrctl {order:?} said: {said}");
        }
        if first.is_empty() {
            first = said;
        }
    }
    assert_eq!(sandbox.daemon_pid(), None);
    first
}

fn kept(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.state.join("store")).expect("a store").flatten().map(|e| e.path());
    entries.filter(|path| path.display().to_string().contains(".damaged-")).collect()
}

#[test]
fn a_damaged_store_is_kept_aside_and_never_replaced_by_an_empty_one() {
    for (what, damage) in damages() {
        let sandbox = machine_with_a_past();
        let log = log_file(&sandbox);
        let mut bytes = fs::read(&log).expect("read");
        damage(&mut bytes);
        fs::write(&log, &bytes).expect("damage it");
        let said = must_not_start(&sandbox, &["the store of this machine", "damaged", "hint:"]);
        let kept = kept(&sandbox);
        assert_eq!(kept.len(), 1, "{what}: {kept:?}");
        assert_eq!(fs::read(&kept[0]).expect("kept"), bytes, "{what}: every byte is kept");
        assert!(said.contains(&kept[0].display().to_string()), "{what}: where it is kept is told: {said}");
        assert!(said.contains("rrctl up"), "{what}: what to type to go on is told: {said}");
        assert!(!log.exists(), "{what}: no new store was begun");
    }
}

/// What was done to the log, and how.
type Damage = (&'static str, fn(&mut Vec<u8>));

fn damages() -> [Damage; 7] {
    [
        ("no byte left", |bytes| bytes.clear()),
        ("cut within the header", |bytes| bytes.truncate(HEADER / 2)),
        ("cut behind the header", |bytes| bytes.truncate(HEADER)),
        ("cut within the records", |bytes| bytes.truncate(HEADER + 700)),
        ("another file", |bytes| *bytes = b"#!/bin/sh\nexit 0\n".repeat(500)),
        ("a flipped bit in the header", |bytes| bytes[20] ^= 1),
        ("a flipped bit in a record", |bytes| bytes[HEADER + 40] ^= 1),
    ]
}

#[test]
fn a_person_who_moves_the_damaged_store_away_can_start_again() {
    let sandbox = machine_with_a_past();
    fs::write(log_file(&sandbox), "rubbish").expect("damage it");
    must_not_start(&sandbox, &["damaged"]);
    for path in kept(&sandbox) {
        fs::rename(&path, sandbox.path().join("kept-by-hand")).expect("move");
    }
    let _daemon = Daemon::start(&sandbox);
    let mut two = Agent::start(&sandbox, "two");
    two.write("a.txt", "2\n").must_pass();
    assert_eq!(fs::read_to_string(sandbox.path().join("kept-by-hand")).expect("kept"), "rubbish");
}

#[test]
fn a_newer_store_is_not_touched() {
    let sandbox = machine_with_a_past();
    let log = log_file(&sandbox);
    let mut bytes = fs::read(&log).expect("read");
    bytes[VERSION_AT] = 200;
    fs::write(&log, &bytes).expect("write");
    must_not_start(&sandbox, &["format 200", "knows up to 1", "newer", "hint:"]);
    assert_eq!(fs::read(&log).expect("there"), bytes, "not one byte changed");
    assert!(kept(&sandbox).is_empty());
    // The older program again, as it were: nothing was lost.
    bytes[VERSION_AT] = 1;
    fs::write(&log, &bytes).expect("write");
    let _daemon = Daemon::start(&sandbox);
    assert_eq!(sandbox.json(&["status"])["paused"], true);
}

/// An agent that finds no daemon starts one: it must not begin an empty store either.
#[test]
fn a_hook_that_starts_the_daemon_on_a_damaged_store_denies() {
    let sandbox = machine_with_a_past();
    fs::write(log_file(&sandbox), "rubbish").expect("damage it");
    let mut two = Agent::start_with_own_daemon(&sandbox, "two");
    for _ in 0..2 {
        two.write("a.txt", "2\n").must_be_denied(&["nothing coordinates it right now", "rrctl up", "rrctl doctor"]);
    }
    assert_eq!((sandbox.text("a.txt").as_str(), kept(&sandbox).len()), ("1\n", 1));
    let log = fs::read_to_string(sandbox.state.join("daemon.log")).expect("its log");
    assert!(log.contains("damaged"), "{log}");
    let doctor = sandbox.rrctl(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.status.code() == Some(6) && said.contains("damaged"), "the doctor finds it: {said}");
}

#[test]
fn a_store_that_cannot_be_read_is_left_as_it_is() {
    let sandbox = machine_with_a_past();
    let log = log_file(&sandbox);
    let bytes = fs::read(&log).expect("read");
    let away = sandbox.path().join("away");
    fs::rename(&log, &away).expect("move");
    fs::create_dir(&log).expect("a folder in its place");
    must_not_start(&sandbox, &["error:", "hint:"]);
    fs::remove_dir(&log).expect("remove");
    fs::rename(&away, &log).expect("move back");
    assert_eq!(fs::read(&log).expect("there"), bytes);
    let _daemon = Daemon::start(&sandbox);
    assert_eq!(sandbox.json(&["status"])["paused"], true, "the pause has survived");
}

//! A disk that is full: what changes anything is denied, the kill switch works, and nothing is lost when there is room again.
//! The state folder is a small disk of its own, in a mount namespace that ends with the test.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use rr_tests::isolation::{alone, walled};

use super::support::hook_program;

/// Room for the hook's program and the store, and little besides.
const DISK: &str = "size=16m";

/// The state folder on a small disk; `false` where that is not permitted.
fn on_a_small_disk(sandbox: &Sandbox, test: &str) -> bool {
    fs::create_dir_all(&sandbox.state).expect("folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("{DISK},mode=0700"), "rr-test"]).arg(&sandbox.state);
    let mounted = walled() && mount.status().is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("SKIPPED: mounting a small disk is not permitted here: {test}");
    }
    mounted
}

/// Takes all the room there is, to the last byte.
fn fill(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.state.join("filler");
    let mut file = File::create(&path).expect("create");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![1; size];
        while file.write_all(&piece).is_ok() {}
    }
    path
}

/// Writes until the store has no room left for another lock, whatever it had set aside; the files that passed.
fn write_until_denied(agent: &mut Agent, prefix: &str) -> Vec<String> {
    let mut passed = Vec::new();
    for n in 0..2_000 {
        let file = format!("{prefix}{n}.txt");
        let done = agent.write(&file, "1\n");
        if done.denied() {
            done.must_be_denied(&["Railroad"]);
            return passed;
        }
        passed.push(file);
        if n % 50 == 49 {
            agent.stop();
            passed.clear();
        }
    }
    panic!("2,000 locks were taken on a full disk");
}

fn unmount(folder: &Path) {
    // Lazily: a daemon that is just ending may still have a file open.
    drop(Command::new("umount").arg("--lazy").arg(folder).status());
}

#[test]
fn on_a_full_disk_changes_are_denied_the_pause_works_and_nothing_is_lost() {
    alone(async || -> Result<()> {
        tokio::task::block_in_place(story_of_a_full_disk);
        Ok(())
    });
}

fn story_of_a_full_disk() {
    let sandbox = Sandbox::new();
    if !on_a_small_disk(&sandbox, "on_a_full_disk_changes_are_denied_the_pause_works_and_nothing_is_lost") {
        return;
    }
    hook_program(&sandbox);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");
    two.write("held.txt", "2\n").must_pass();
    let filler = fill(&sandbox);
    // Long names fill the log sooner.
    let held = write_until_denied(&mut one, &"f".repeat(200));

    one.prompt("the next");
    let denied = one.write("late.txt", "1\n");
    denied.must_be_denied(&["Railroad"]);
    // Its lock may have found room where what is written down of it did not: then it is its own all the same.
    assert!(!sandbox.repo.join("late.txt").exists());
    assert!(sandbox.holder("late.txt").is_none_or(|holder| holder == "one"));
    one.shell("echo 1 > late.txt").must_be_denied(&["Railroad"]);
    assert!(!sandbox.repo.join("late.txt").exists());
    one.read("README.md").must_pass();
    one.prompt("another's");
    // For its lock or for want of room, whichever is met first.
    one.write("held.txt", "1\n").must_be_denied(&[]);
    assert_eq!(sandbox.text("held.txt"), "2\n");
    // What nobody could say later, or take back, is not let through, whoever holds the file (H30).
    two.edit("held.txt", "2", "3").must_be_denied(&["no change is let through"]);
    assert_eq!(sandbox.text("held.txt"), "2\n");

    let paused = sandbox.rrctl(&["pause-all", "--reason", "the disk is full"]);
    assert!(paused.status.success(), "{paused:?}");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["paused"], true);
    for agent in [&mut one, &mut two] {
        agent.prompt("paused?");
        agent.write("held.txt", "4\n").must_be_denied(&["paused"]);
    }
    daemon.kill9();
    daemon.restart();
    assert_eq!(sandbox.json(&["status"])["paused"], true, "the pause is in the store");
    two.write("held.txt", "4\n").must_be_denied(&[]);
    assert_eq!(sandbox.text("held.txt"), "2\n");

    fs::remove_file(filler).expect("make room");
    let epoch = sandbox.json(&["status"])["epoch"].to_string();
    until("it can be resumed", || sandbox.rrctl(&["resume", "--epoch", &epoch]).status.success());
    for file in held.iter().map(String::as_str).chain(["held.txt"]) {
        assert!(sandbox.holder(file).is_some(), "{file} is still held");
    }
    until("work goes on", || {
        one.prompt("go on");
        one.write("late.txt", "1\n").passed()
    });
    assert_eq!(sandbox.holder("late.txt").as_deref(), Some("one"));
    until("the other one too", || {
        two.prompt("go on");
        two.read("held.txt");
        two.write("held.txt", "5\n").passed()
    });
    drop((one, two, daemon));
    unmount(&sandbox.state);
}

/// No room from the first moment: the start says so, and the hook denies.
#[test]
fn a_disk_that_is_full_at_the_start_is_said_and_nothing_passes() {
    alone(async || -> Result<()> {
        tokio::task::block_in_place(story_of_no_room_at_the_start);
        Ok(())
    });
}

fn story_of_no_room_at_the_start() {
    let sandbox = Sandbox::new();
    if !on_a_small_disk(&sandbox, "a_disk_that_is_full_at_the_start_is_said_and_nothing_passes") {
        return;
    }
    hook_program(&sandbox);
    let filler = fill(&sandbox);
    let up = sandbox.rrctl(&["up"]);
    let said = String::from_utf8_lossy(&up.stderr).into_owned();
    assert_eq!(up.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device") && said.contains("hint:"), "{said}");
    let mut one = Agent::start_with_own_daemon(&sandbox, "one");
    one.write("a.txt", "1\n").must_be_denied(&["nothing coordinates it right now", "rrctl up"]);
    assert!(!sandbox.repo.join("a.txt").exists());
    fs::remove_file(filler).expect("make room");
    until("with room it starts", || {
        one.prompt("again");
        one.write("a.txt", "1\n").passed()
    });
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
    drop(one);
    drop(sandbox.rrctl(&["down", "--wait"]));
    unmount(&sandbox.state);
}

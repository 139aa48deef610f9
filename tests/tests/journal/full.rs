//! A journal that cannot be written (H30): what changes anything is refused and says why, reading goes on, the kill switch works,
//! and with room again so does everything, with nothing missing. The journal has a small disk of its own, so that the store is
//! not what refuses.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use rr_tests::isolation::{alone, walled};
use serde_json::json;

use super::log;

const DISK: &str = "size=4m,mode=0700";

fn mounted(folder: &Path) -> bool {
    fs::create_dir_all(folder).expect("folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", DISK, "rr-test"]).arg(folder);
    walled() && mount.status().is_ok_and(|status| status.success())
}

fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("create");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![1; size];
        while file.write_all(&piece).is_ok() {}
    }
    path
}

#[test]
fn with_no_room_for_the_journal_changes_are_refused_reads_pass_the_pause_works_and_it_recovers() {
    alone(async || -> Result<()> {
        tokio::task::block_in_place(story);
        Ok(())
    });
}

/// A full disk under the snapshots alone: the journal could still say what is done, and nobody could take it back.
#[test]
fn with_no_room_for_snapshots_changes_are_refused_what_reads_passes_and_it_recovers() {
    alone(async || -> Result<()> {
        tokio::task::block_in_place(without_snapshots);
        Ok(())
    });
}

/// A machine that keeps this on a disk of its own, and the folder; none where mounting is not permitted.
fn on_a_small_disk(what: &str) -> Option<(Sandbox, PathBuf)> {
    let sandbox = Sandbox::new();
    let folder = sandbox.state.join(what);
    if !mounted(&folder) {
        eprintln!("SKIPPED: mounting a small disk is not permitted here");
        return None;
    }
    sandbox.commit(&[("a.txt", "0\n"), ("read.txt", "1\n")]);
    Some((sandbox, folder))
}

fn without_snapshots() {
    let Some((sandbox, folder)) = on_a_small_disk("snapshots.git") else { return };
    let daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.shell("echo 1 > a.txt").must_pass();
    one.stop();
    // What stands there now is in no commit and not kept yet.
    sandbox.put("a.txt", &"by hand\n".repeat(2_000));
    one.read("a.txt").must_pass();
    let filler = fill(&folder);
    one.shell("echo 2 > a.txt").must_be_denied(&["could not keep what stands there now", "rrctl doctor"]);
    assert!(sandbox.text("a.txt").starts_with("by hand\n"), "what was refused did not run");
    assert!(sandbox.locks().is_empty(), "and holds nothing: {:?}", sandbox.locks());
    one.read("read.txt").must_pass();
    one.shell("cat a.txt | wc -l").must_pass();
    fs::remove_file(filler).expect("make room");
    until("changes pass again", || {
        one.prompt("go on");
        one.shell("echo 3 > a.txt").passed()
    });
    one.stop();
    until("it is taken back to what stood there", || {
        sandbox.rrctl(&["rollback", "--session", "first", "--steps", "1"]).status.success()
    });
    assert_eq!(sandbox.text("a.txt"), "by hand\n".repeat(2_000));
    drop((one, daemon));
    drop(sandbox.rrctl(&["down", "--wait"]));
    drop(Command::new("umount").arg(&folder).status());
}

fn story() {
    let Some((sandbox, folder)) = on_a_small_disk("journal") else { return };
    let daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let filler = fill(&folder);
    // What was set aside is used up first.
    let mut passed = Vec::new();
    let refused = (1..10_000).find_map(|n| {
        let command = format!("echo {n} > a.txt # {}", "x".repeat(4_000));
        let said = one.shell(&command);
        if said.passed() {
            passed.push(said.id.clone());
        }
        said.denied().then_some((n, said))
    });
    let (n, said) = refused.expect("a full disk refuses at last");
    said.must_be_denied(&["Railroad's journal cannot be written", "no change is let through", "rrctl doctor"]);
    assert_eq!(sandbox.text("a.txt"), format!("{}\n", n - 1), "what was refused did not run");
    one.tool("Write", &json!({"file_path": "b.txt", "content": "x"})).must_be_denied(&["cannot be written"]);
    assert!(!sandbox.repo.join("b.txt").exists());
    one.read("read.txt").must_pass();
    let read = one.shell("cat read.txt | wc -l").must_pass();
    assert!(read.context.contains("only reads"), "{:?}", read.context);
    one.shell("cat read.txt > c.txt").must_be_denied(&["cannot be written"]);
    // What it asked for in vain stands in nobody's way; what it had before stays its own.
    let held = sandbox.locks().into_iter().filter_map(|row| row["lock"].as_str().map(str::to_owned));
    let held: Vec<String> = held.filter(|lock| !lock.starts_with('!')).collect();
    assert_eq!(held, ["a.txt"]);
    let rolled = sandbox.rrctl(&["rollback", "--session", "first", "--steps", "1"]);
    let said = String::from_utf8_lossy(&rolled.stderr).into_owned();
    assert!(!rolled.status.success() && said.contains("cannot be written"), "{said}");
    assert_eq!(sandbox.text("a.txt"), format!("{}\n", n - 1));
    let paused = sandbox.rrctl(&["pause-all", "--reason", "the disk is full"]);
    assert!(paused.status.success(), "{paused:?}");
    one.prompt("paused?");
    one.read("read.txt").must_be_denied(&["paused"]);
    let epoch = sandbox.json(&["status"])["epoch"].to_string();
    until("it goes on", || sandbox.rrctl(&["resume", "--epoch", &epoch]).status.success());

    fs::remove_file(filler).expect("make room");
    until("changes pass again", || {
        one.prompt("go on");
        one.shell("echo again > a.txt").passed()
    });
    let all = log(&sandbox, &[]);
    for call in &passed {
        let kinds: Vec<_> = all.iter().filter(|e| e["call"] == **call).map(|e| e["kind"].clone()).collect();
        assert!(kinds.contains(&json!("started")) && kinds.contains(&json!("done")), "{call}: {kinds:?}");
    }
    assert!(passed.len() > 1, "{}", passed.len());
    drop((one, daemon));
    drop(sandbox.rrctl(&["down", "--wait"]));
    drop(Command::new("umount").arg(&folder).status());
}

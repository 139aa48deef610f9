//! Story: a rollback. Several agents work in one clone, one of them is taken back, and the others keep every byte; or a conflict
//! is shown and nothing is written. Real agents as processes, the real hook, the real daemon, `rrctl rollback` as typed.
//! Plans in all orders and against a model are `rr_core::rollback`'s tests and `rr_git`'s.

#[path = "rollback/bytes.rs"]
mod bytes;
#[path = "rollback/cut_off.rs"]
mod cut_off;
#[path = "rollback/names.rs"]
mod names;
#[path = "rollback/refused.rs"]
mod refused;
#[path = "rollback/stage.rs"]
mod stage;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

use stage::{all_files, change, lines, roll_back, rolled_back, with_lines};

#[test]
fn one_of_seven_is_taken_back_by_three_steps_and_the_six_keep_every_byte() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(80)), ("five.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let names = ["one", "two", "three", "four", "five", "six", "seven"];
    let mut agents: Vec<Agent> = names.iter().map(|name| Agent::start(&sandbox, name)).collect();
    // Before the steps that are taken back: stays.
    change(&mut agents[6], "shared.txt", 70, "seven, first");
    for (n, agent) in agents.iter_mut().take(6).enumerate() {
        change(agent, "shared.txt", 10 * (n + 1), "early");
        agent.write(&format!("own/{n}.txt"), &format!("of {n}\n")).must_pass();
        agent.stop();
    }
    // The three steps, on files that others have edited and will edit again.
    change(&mut agents[6], "shared.txt", 5, "seven");
    change(&mut agents[6], "five.txt", 3, "seven");
    agents[6].write("made/by/seven.txt", "seven\n").must_pass();
    agents[6].stop();
    for (n, agent) in agents.iter_mut().take(6).enumerate() {
        change(agent, "shared.txt", 10 * (n + 1) + 4, "late");
    }
    change(&mut agents[4], "five.txt", 15, "late");
    let told = roll_back(&sandbox, &["--session", "seven", "--steps", "3"]);

    let early = (1..=6).map(|n| (10 * n, "early"));
    let late = (1..=6).map(|n| (10 * n + 4, "late"));
    let expected: Vec<_> = early.chain(late).chain([(70, "seven, first")]).collect();
    assert_eq!(sandbox.text("shared.txt"), with_lines(80, &expected));
    assert_eq!(sandbox.text("five.txt"), with_lines(20, &[(15, "late")]));
    assert!(!sandbox.repo.join("made").exists(), "its folders go with the file");
    for n in 0..6 {
        assert_eq!(sandbox.text(&format!("own/{n}.txt")), format!("of {n}\n"));
    }
    assert_eq!(told["calls"], 3, "{told}");
    assert_eq!(told["conflicts"], json!([]), "{told}");
    let shared = told["files"].as_array().expect("rows").iter().find(|row| row["path"] == "shared.txt");
    assert_eq!(shared.expect("it is named")["what"], "changed", "{told}");
}

#[test]
fn what_sed_and_a_python_one_liner_changed_is_taken_back_and_later_edits_of_others_stay() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", &lines(40)), ("quiet.txt", &lines(20)), ("dirty.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut seven, mut other) = (Agent::start(&sandbox, "seven"), Agent::start(&sandbox, "other"));
    change(&mut other, "dirty.txt", 2, "early");
    seven.shell("sed -i 's/^line 5$/line 5 sed/' shared.txt").must_pass();
    let python = "import glob\nfor name in ['shared.txt', 'quiet.txt', 'dirty.txt']:\n    text = open(name).read()\n    \
        open(name, 'w').write(text.replace('line 9\\n', 'line 9 python\\n'))\nopen('left.txt', 'w').write('x')\n";
    seven.shell(&format!("python3 -c \"{python}\"")).must_pass();
    seven.stop();
    for (file, n) in [("shared.txt", 5), ("shared.txt", 9), ("quiet.txt", 9), ("dirty.txt", 9)] {
        let by = if n == 5 { "sed" } else { "python" };
        assert!(sandbox.text(file).contains(&format!("line {n} {by}\n")), "{file}: the command has worked");
    }
    change(&mut other, "shared.txt", 30, "late");
    change(&mut other, "quiet.txt", 18, "late");
    let told = roll_back(&sandbox, &["--session", "seven", "--steps", "2"]);
    assert_eq!(told["calls"], 2, "{told}");
    assert_eq!(sandbox.text("shared.txt"), with_lines(40, &[(30, "late")]));
    assert_eq!(sandbox.text("quiet.txt"), with_lines(20, &[(18, "late")]));
    assert_eq!(sandbox.text("dirty.txt"), with_lines(20, &[(2, "early")]));
    assert!(!sandbox.repo.join("left.txt").exists());
}

#[test]
fn a_dry_run_says_what_it_would_come_to_and_writes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    change(&mut one, "a.txt", 5, "one");
    one.write("new.txt", "x\n").must_pass();
    one.stop();
    let before = all_files(&sandbox);
    let told = roll_back(&sandbox, &["--session", "first", "--dry-run"]);
    assert_eq!(all_files(&sandbox), before);
    assert_eq!((&told["dry_run"], &told["session"], &told["calls"]), (&json!(true), &json!(null), &json!(2)));
    let text = sandbox.rrctl(&["rollback", "--session", "first", "--dry-run"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("Would take 2 calls") && text.contains("Nothing was written"), "{text}");
    assert_eq!(all_files(&sandbox), before);
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), lines(20), "what was said is what it comes to");
    assert!(!sandbox.repo.join("new.txt").exists());
}

#[test]
fn a_conflict_shows_both_sides_and_nothing_at_all_is_written() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20)), ("free.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "free.txt", 5, "one");
    change(&mut one, "a.txt", 5, "one");
    two.read("a.txt").must_pass();
    two.edit("a.txt", "line 5 one", "line 5 two").must_pass();
    two.stop();
    let before = all_files(&sandbox);
    let failed = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
    assert_eq!(failed.status.code(), Some(4), "{failed:?}");
    assert_eq!(all_files(&sandbox), before, "also what has no conflict is left");
    let told: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    let conflict = &told["conflicts"][0];
    assert_eq!(conflict["path"], "a.txt", "{told}");
    assert!(conflict["now"].as_str().is_some_and(|now| now.contains("line 5 two\n")), "{told}");
    assert!(conflict["without"].as_str().is_some_and(|text| text.contains("line 5\n")), "{told}");
    assert!(conflict["by"].is_string() && told["session"].is_null(), "{told}");
    let text = sandbox.rrctl(&["rollback", "--session", "first"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("Nothing was written") && text.contains("line 5 two"), "{text}");
    roll_back(&sandbox, &["--session", "first", "--path", "free.txt"]);
    assert_eq!(sandbox.text("free.txt"), lines(20), "one file at a time, as the text says");
    assert!(sandbox.text("a.txt").contains("line 5 two"));
}

#[test]
fn a_rollback_is_undone_by_rolling_its_own_session_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20)), ("gone.txt", "gone\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    one.write("new/file.txt", "x\n").must_pass();
    one.shell("rm gone.txt").must_pass();
    one.stop();
    let told = roll_back(&sandbox, &["--session", "first"]);
    assert_eq!((sandbox.text("a.txt"), sandbox.text("gone.txt")), (lines(20), "gone\n".into()));
    change(&mut two, "a.txt", 15, "two");
    let own = told["session"].as_str().expect("the rollback has a session");
    roll_back(&sandbox, &["--session", own]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(5, "one"), (15, "two")]));
    assert_eq!(sandbox.text("new/file.txt"), "x\n");
    assert!(!sandbox.repo.join("gone.txt").exists());
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(15, "two")]), "and taken back once more");
    // In the middle of its turn: what it holds is in nobody's way.
    one.read("a.txt").must_pass();
    one.edit("a.txt", "line 9\n", "line 9 one\n").must_pass();
    let told = roll_back(&sandbox, &["--session", "first"]);
    roll_back(&sandbox, &["--session", told["session"].as_str().expect("its own session")]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(9, "one"), (15, "two")]));
}

#[test]
fn modes_links_binaries_folders_and_renames_come_back_as_they_were() {
    let sandbox = Sandbox::new();
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    sandbox.put("tool.sh", "#!/bin/sh\n");
    fs::set_permissions(sandbox.repo.join("tool.sh"), fs::Permissions::from_mode(0o755)).expect("mode");
    symlink("README.md", sandbox.repo.join("link")).expect("link");
    fs::write(sandbox.repo.join("image.bin"), &binary).expect("write");
    sandbox.commit(&[("plain.txt", "plain\n"), ("old name.txt", &lines(30)), (".gitignore", "*.local\n")]);
    sandbox.put("notes.local", "kept by nobody else\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    for command in [
        "rm tool.sh link",
        "head -c 100 /dev/zero > image.bin",
        "chmod 755 plain.txt",
        "mv 'old name.txt' 'new name.txt'",
        "mkdir -p deep/er && echo 1 > deep/er/file.txt && ln -s file.txt deep/er/link",
        "rm notes.local",
    ] {
        one.shell(command).must_pass();
    }
    one.stop();
    assert!(!sandbox.repo.join("tool.sh").exists() && sandbox.repo.join("new name.txt").exists());
    roll_back(&sandbox, &["--session", "first"]);
    let mode = |file: &str| sandbox.repo.join(file).metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((sandbox.text("tool.sh").as_str(), mode("tool.sh")), ("#!/bin/sh\n", 0o755));
    assert_eq!(mode("plain.txt") & 0o111, 0);
    assert_eq!(fs::read_link(sandbox.repo.join("link")).expect("a link"), std::path::Path::new("README.md"));
    assert!(fs::read(sandbox.repo.join("image.bin")).expect("read") == binary, "byte for byte");
    assert_eq!(sandbox.text("old name.txt"), lines(30));
    assert!(!sandbox.repo.join("new name.txt").exists() && !sandbox.repo.join("deep").exists());
    assert_eq!(sandbox.text("notes.local"), "kept by nobody else\n", "what git ignores too");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "as it was committed");
}

#[test]
fn folders_that_a_command_made_unnamed_go_with_their_files_and_others_stay() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("src/a.txt", "a\n")]);
    fs::create_dir_all(sandbox.repo.join("was/empty")).expect("made");
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    let makes = "import os\nfor f in ['new/deep/er', 'shared', 'src/in', 'was/empty']:\n    \
        os.makedirs(f, exist_ok=True)\n    open(f + '/x', 'w').write('x')";
    one.shell(&format!("python3 -c \"{makes}\"")).must_pass();
    one.stop();
    two.write("shared/theirs.txt", "theirs\n").must_pass();
    two.stop();
    let told = roll_back(&sandbox, &["--session", "first"]);
    let own = told["session"].as_str().expect("its session").to_owned();
    let there = |path: &str| sandbox.repo.join(path).exists();
    assert!(!there("new") && !there("src/in"), "{told}");
    assert!(there("was/empty") && !there("was/empty/x") && there("src/a.txt"), "they were there before: {told}");
    assert_eq!((sandbox.text("shared/theirs.txt").as_str(), there("shared/x")), ("theirs\n", false));
    roll_back(&sandbox, &["--session", &own]);
    assert!(there("new/deep/er/x") && there("src/in/x") && there("shared/x") && there("was/empty/x"));
    roll_back(&sandbox, &["--session", "first"]);
    assert!(!there("new") && !there("shared/x") && there("shared/theirs.txt"));
}

#[test]
fn the_session_and_all_who_read_the_file_are_told_and_must_read_again() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    two.read("a.txt").must_pass();
    roll_back(&sandbox, &["--session", "first"]);
    let said = two.edit("a.txt", "line 9\n", "line 9 two\n");
    said.must_be_denied(&["a.txt", "read the file again"]);
    assert!(said.context.contains("taken back") && said.context.contains("Read those files again"), "{said:?}");
    let said = one.prompt("go on");
    assert!(said.context.contains("Your changes to") && said.context.contains("a.txt"), "{said:?}");
    two.read("a.txt").must_pass();
    two.edit("a.txt", "line 9\n", "line 9 two\n").must_pass();
    two.stop();
    one.edit("a.txt", "line 12\n", "line 12 one\n").must_be_denied(&["read the file again"]);
    one.read("a.txt").must_pass();
    one.edit("a.txt", "line 12\n", "line 12 one\n").must_pass();
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(9, "two"), (12, "one")]));
}

#[test]
fn what_came_after_the_checkpoint_is_taken_back_and_what_came_before_stays() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(30))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "before");
    let kept = sandbox.json(&["checkpoint", "--why", "it works"]);
    let commit = kept["commit"].as_str().expect("a commit").to_owned();
    change(&mut one, "a.txt", 15, "after");
    change(&mut two, "a.txt", 25, "two");
    until("the list has it", || sandbox.json(&["checkpoint", "--list"])["checkpoints"][0]["commit"] == commit.as_str());
    roll_back(&sandbox, &["--session", "first", "--to-checkpoint"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(30, &[(5, "before"), (25, "two")]));
    assert!(rolled_back(&sandbox, &["--session", "first", "--to-checkpoint"])["files"] == json!([]), "nothing is left");
    assert_eq!(sandbox.git(&["for-each-ref", "--format=%(refname)"]).trim(), "refs/heads/main", "no ref to be pushed");
}

#[test]
fn what_came_after_a_time_is_taken_back_and_what_came_before_stays() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(30))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "before");
    change(&mut two, "a.txt", 25, "two");
    change(&mut one, "a.txt", 15, "after");
    let ends = || {
        let log = sandbox.json(&["log", "--limit", "1000", "--session", "first", "--kind", "done"]);
        let times = log["entries"].as_array().expect("entries").iter().filter_map(|e| e["at_unix_ms"].as_u64());
        times.collect::<Vec<_>>()
    };
    until("its calls are written down", || ends().len() == 2);
    let last = *ends().iter().max().expect("two");
    let time = typed_time(&sandbox, last);
    roll_back(&sandbox, &["--session", "first", "--to", &time]);
    assert_eq!(sandbox.text("a.txt"), with_lines(30, &[(5, "before"), (25, "two")]));
    roll_back(&sandbox, &["--session", "first", "--to", "1h"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(30, &[(25, "two")]));
}

/// A moment as a person may type it.
fn typed_time(sandbox: &Sandbox, unix_ms: u64) -> String {
    let moment = format!("@{}.{:03}", unix_ms / 1_000, unix_ms % 1_000);
    let said = sandbox.command("date").args(["-u", "-d", &moment, "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().expect("date");
    String::from_utf8(said.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_file_that_somebody_has_renamed_since_is_a_conflict_that_says_where_it_is_now() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    two.shell("mv a.txt b.txt").must_pass();
    two.stop();
    let before = all_files(&sandbox);
    let failed = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
    assert_eq!(failed.status.code(), Some(4), "{failed:?}");
    assert_eq!(all_files(&sandbox), before);
    let told: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    let why = told["conflicts"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("moved to b.txt"), "{told}");
}

#[test]
fn a_conflict_in_a_long_file_shows_its_place_and_not_the_begin_of_the_file() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("long.txt", &lines(4_000))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "long.txt", 3_000, "one");
    two.read("long.txt").must_pass();
    two.edit("long.txt", "line 3000 one\n", "line 3000 two\n").must_pass();
    two.stop();
    let failed = sandbox.rrctl(&["--json", "rollback", "--session", "first"]);
    let told: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    let side = |name: &str| told["conflicts"][0][name].as_str().expect("a text").to_owned();
    assert!(side("now").contains("line 3000 two\n") && side("without").contains("line 3000\n"), "{told}");
    assert!(side("now").starts_with("(from line 2997)\n") && !side("now").contains("line 10\n"), "{told}");
    assert!(side("now").len() < 200 && side("without").len() < 200, "{told}");
}

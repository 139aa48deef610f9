//! A rollback that cannot be, or not now: said clearly, and nothing is lost.

use std::fs;
use std::os::unix::fs::symlink;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

use super::stage::{all_files, change, has_plan, lines, roll_back, rolled_back, rolls_back, with_lines};

/// What a rollback that fails says on the error stream, with its exit code; nothing was written.
#[track_caller]
fn refused(sandbox: &Sandbox, words: &[&str]) -> (Option<i32>, String) {
    let before = all_files(sandbox);
    let output = sandbox.rrctl(&[&["rollback"], words].concat());
    assert!(!output.status.success(), "{words:?}: {output:?}");
    assert_eq!(all_files(sandbox), before, "{words:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_session_with_a_call_under_way_an_unknown_one_and_two_bounds_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    change(&mut one, "a.txt", 5, "one");
    let call = one.pre("Bash", &json!({"command": "echo more > more.txt"}));
    assert!(call.passed(), "{call:?}");
    let (_, said) = refused(&sandbox, &["--session", "first"]);
    assert!(said.contains("has a call under way") && said.contains("Nothing was changed"), "{said}");
    one.act(&call.id);
    one.post(&call.id);
    let (code, said) = refused(&sandbox, &["--session", "nobody-at-all"]);
    assert!(code == Some(5) && said.contains("no host knows a session nobody-at-all"), "{code:?} {said}");
    let (_, said) = refused(&sandbox, &["--session", "fir"]);
    assert!(said.contains("`fir` is too short") && said.contains("4 digits of its id"), "{said}");
    let (code, _) = refused(&sandbox, &["--session", "first", "--steps", "1", "--to", "10m"]);
    assert_eq!(code, Some(2));
    let (_, said) = refused(&sandbox, &["--session", "first", "--to-checkpoint"]);
    assert!(said.contains("no checkpoint of this session"), "{said}");
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), lines(20));
    assert!(!sandbox.repo.join("more.txt").exists());
}

#[test]
fn a_session_writes_nothing_while_it_is_rolled_back_and_goes_on_afterwards() {
    /// A rollback of so many files takes a moment; one that was over too soon is made again.
    const FILES: usize = 200;
    const ROUNDS: usize = 20;
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..FILES).map(|n| format!("many/{n:03}.txt")).collect();
    sandbox.commit(&names.iter().map(|name| (name.as_str(), "before\n")).collect::<Vec<_>>());
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let told = (0..ROUNDS).find_map(|_| {
        one.shell("for f in many/*.txt; do echo after > $f; done").must_pass();
        let mut asked = rolls_back(&sandbox);
        let mut ended = || asked.try_wait().expect("look").is_some();
        until("it writes, or has written", || has_plan(&sandbox) || ended());
        let said = one.write("more.txt", "1\n");
        assert!(asked.wait().expect("look").success());
        assert!(names.iter().all(|name| sandbox.text(name) == "before\n"));
        assert_eq!(sandbox.repo.join("more.txt").exists(), said.passed());
        said.reason
    });
    assert!(told.as_ref().is_some_and(|told| told.contains("is being rolled back by a person")), "{told:?}");
    one.write("more.txt", "1\n").must_pass();
}

#[test]
fn a_file_that_another_session_is_editing_is_waited_for_and_its_editor_named() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    two.read("a.txt").must_pass();
    two.edit("a.txt", "line 15\n", "line 15 two\n").must_pass();
    let holder = sandbox.locks().into_iter().find(|lock| lock["lock"] == "a.txt").expect("it is held");
    let holder = holder["session"].as_str().expect("a session")[..8].to_owned();
    let (_, said) = refused(&sandbox, &["--session", "first"]);
    assert!(said.contains(&holder) && said.contains("Nothing was changed"), "{said}");
    two.stop();
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(15, "two")]));
}

#[test]
fn what_a_rollback_wrote_while_anothers_command_ran_is_none_of_that_commands_work() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    change(&mut one, "a.txt", 5, "one");
    let call = two.pre("Bash", &json!({"command": "python3 -c \"open('two.txt', 'w').write('two')\""}));
    assert!(call.passed(), "{call:?}");
    roll_back(&sandbox, &["--session", "first"]);
    two.act(&call.id);
    let said = two.post(&call.id);
    assert!(!said.context.contains("a.txt"), "it has changed nothing there: {said:?}");
    two.stop();
    let told = roll_back(&sandbox, &["--session", "second"]);
    assert_eq!((sandbox.text("a.txt"), sandbox.repo.join("two.txt").exists()), (lines(20), false), "{told}");
}

#[test]
fn what_was_undone_before_is_counted_and_not_undone_again() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    for line in [3, 9, 15] {
        change(&mut one, "a.txt", line, "one");
    }
    roll_back(&sandbox, &["--session", "first", "--steps", "1"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(3, "one"), (9, "one")]));
    roll_back(&sandbox, &["--session", "first", "--steps", "1"]);
    assert_eq!(sandbox.text("a.txt"), with_lines(20, &[(3, "one")]), "the next one, not the same again");
    let told = roll_back(&sandbox, &["--session", "first"]);
    assert_eq!((&told["calls"], &told["already_undone"]), (&json!(1), &json!(2)), "{told}");
    let told = rolled_back(&sandbox, &["--session", "first"]);
    assert_eq!((&told["files"], &told["already_undone"]), (&json!([]), &json!(3)), "{told}");
    assert_eq!(sandbox.text("a.txt"), lines(20));
}

#[test]
fn a_file_that_was_deleted_or_became_a_folder_or_a_link_since_is_no_loss() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("deleted.txt", &lines(20)), ("folder.txt", &lines(20)), ("link.txt", &lines(20))]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    for file in ["deleted.txt", "folder.txt", "link.txt"] {
        change(&mut one, file, 5, "one");
    }
    two.shell("rm deleted.txt").must_pass();
    two.stop();
    // Not by any session: nobody has it on record.
    for file in ["folder.txt", "link.txt"] {
        fs::remove_file(sandbox.repo.join(file)).expect("remove");
    }
    sandbox.put("folder.txt/inner.txt", "inner\n");
    let outside = sandbox.path().join("outside.txt");
    fs::write(&outside, "outside\n").expect("write");
    symlink(&outside, sandbox.repo.join("link.txt")).expect("link");
    for file in ["folder.txt", "link.txt"] {
        let before = all_files(&sandbox);
        let output = sandbox.rrctl(&["--json", "rollback", "--session", "first", "--path", file]);
        assert_eq!(output.status.code(), Some(4), "{file}: {output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(told["conflicts"][0]["path"], file, "{told}");
        assert!(told["conflicts"][0]["why"].as_str().is_some_and(|why| why.contains("link, a folder")), "{told}");
        assert_eq!(all_files(&sandbox), before);
    }
    assert_eq!(fs::read_to_string(&outside).expect("read"), "outside\n", "nothing is written through the link");
    let output = sandbox.rrctl(&["--json", "rollback", "--session", "first", "--path", "deleted.txt"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(!sandbox.repo.join("deleted.txt").exists(), "the other's deletion stands: {told}");
    let told = rolled_back(&sandbox, &["--session", "first", "--path", "deleted.txt"]);
    assert_eq!((&told["files"], &told["already_undone"]), (&json!([]), &json!(1)), "it is not found again: {told}");
}

#[test]
fn a_path_that_was_changed_in_two_repositories_is_taken_back_in_the_one_it_is_typed_in() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("folder/b.txt", "1\n")]);
    let second = sandbox.path().join("second");
    let made = sandbox.command("git").args(["init", "-q", "-b", "main"]).arg(&second).status().expect("git runs");
    assert!(made.success());
    fs::write(second.join("a.txt"), "1\n").expect("written");
    let commit = "git add . && git commit -qm second && git worktree add -q ../third";
    assert!(sandbox.command_in(&second, "sh").args(["-c", commit]).status().expect("sh runs").success());
    let third = sandbox.path().join("third");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.shell("echo 2 > a.txt; echo 2 > folder/b.txt").must_pass();
    let twin = second.join("a.txt").display().to_string();
    one.read(&twin).must_pass();
    one.write(&twin, "2\n").must_pass();
    // And in another work tree of the first.
    let fourth = sandbox.path().join("fourth");
    sandbox.git(&["worktree", "add", "-q", &fourth.display().to_string(), "HEAD"]);
    one.shell(&format!("echo 2 > {}", fourth.join("a.txt").display())).must_pass();
    one.session_end();
    let typed = |folder: &std::path::Path, path: &str| {
        let mut command = sandbox.command_in(folder, rr_tests::daemon::rrctl_program());
        let output = command.args(["rollback", "--session", "first", "--path", path]).output().expect("rrctl runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let stand = || [sandbox.text("a.txt"), fs::read_to_string(second.join("a.txt")).expect("there")];
    let (code, said) = typed(sandbox.path(), "a.txt");
    let (here, there) = (sandbox.repo.display().to_string(), second.display().to_string());
    assert!(code == Some(4) && said.contains(&here) && said.contains(&there), "in none: {code:?} {said}");
    let (code, said) = typed(&second, "folder/b.txt");
    assert!(code == Some(4) && said.contains(&here) && said.contains("Nothing was changed"), "{code:?} {said}");
    assert_eq!((stand(), sandbox.text("folder/b.txt").as_str()), (["2\n".into(), "2\n".into()], "2\n"));
    assert_eq!(typed(&third, "a.txt").0, Some(0), "a work tree of the same repository");
    assert_eq!(stand(), ["2\n", "1\n"]);
    assert_eq!(typed(&sandbox.repo, "a.txt").0, Some(0));
    assert_eq!((stand(), sandbox.text("folder/b.txt").as_str()), (["1\n".into(), "1\n".into()], "2\n"));
    assert_eq!(fs::read_to_string(fourth.join("a.txt")).expect("there"), "2\n", "each work tree for itself");
}

#[test]
fn a_damaged_snapshot_is_found_and_refuses_only_what_needs_it() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let (hurt, cut, whole) = (lines(20), lines(30), lines(40));
    for (file, text) in [("hurt.txt", &hurt), ("cut.txt", &cut), ("whole.txt", &whole)] {
        sandbox.put(file, text);
    }
    for file in ["hurt.txt", "cut.txt", "whole.txt"] {
        change(&mut one, file, 5, "one");
    }
    one.session_end();
    daemon.stop();
    let log = sandbox.json(&["log", "--limit", "100", "--kind", "done"]);
    let entries = log["entries"].as_array().expect("entries");
    let before = |file: &str| {
        let changes = entries.iter().filter_map(|entry| entry["changes"].as_array()).flatten();
        let mut ids = changes.filter(|change| change["path"] == file).filter_map(|change| change["before"].as_str());
        let id = ids.find(|id| *id != "absent").expect("on record").rsplit(':').next().expect("an id").to_owned();
        sandbox.state.join("snapshots.git/objects").join(&id[..2]).join(&id[2..])
    };
    for (file, is_cut) in [("hurt.txt", false), ("cut.txt", true)] {
        let object = before(file);
        let mut bytes = fs::read(&object).expect("kept");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes.truncate(if is_cut { middle } else { bytes.len() });
        fs::remove_file(&object).expect("removed");
        fs::write(&object, bytes).expect("written");
    }
    let output = sandbox.rrctl(&["--json", "doctor"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = found["checks"].as_array().expect("rows").iter().find(|row| row["check"] == "snapshots");
    let row = row.expect("it is looked at");
    assert!(output.status.code() == Some(6) && row["state"] == "fail", "{found}");
    daemon.restart();
    let before = all_files(&sandbox);
    for words in [&["--session", "first", "--dry-run"][..], &["--session", "first"]] {
        let output = sandbox.rrctl(&[&["--json", "rollback"], words].concat());
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let conflicts = told["conflicts"].as_array().expect("conflicts");
        let why = |c: &Value| c["why"].as_str().is_some_and(|why| why.contains("was not kept or cannot be read"));
        assert!(output.status.code() == Some(4) && conflicts.len() == 2 && conflicts.iter().all(why), "{told}");
        assert_eq!(all_files(&sandbox), before, "nothing is written");
    }
    roll_back(&sandbox, &["--session", "first", "--path", "whole.txt"]);
    assert_eq!(sandbox.text("whole.txt"), whole);
    one.prompt("go on");
    change(&mut one, "whole.txt", 7, "again");
}

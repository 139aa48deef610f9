//! A rollback that cannot be, or not now: said clearly, and nothing is lost.

use std::fs;
use std::os::unix::fs::symlink;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::{Value, json};

use super::stage::{all_files, change, lines, roll_back, rolled_back, with_lines};

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
    let (code, _) = refused(&sandbox, &["--session", "first", "--steps", "1", "--to", "10m"]);
    assert_eq!(code, Some(2));
    let (_, said) = refused(&sandbox, &["--session", "first", "--to-checkpoint"]);
    assert!(said.contains("no checkpoint of this session"), "{said}");
    roll_back(&sandbox, &["--session", "first"]);
    assert_eq!(sandbox.text("a.txt"), lines(20));
    assert!(!sandbox.repo.join("more.txt").exists());
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
}

//! Story: a tool call. Real agents as processes, the real hook, the real daemon. Each test is a promise of `tests/promises.md`:
//! what an agent may do, what it is told, and that nothing is lost.

use std::fs;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

fn config(sandbox: &Sandbox, yaml: &str) {
    sandbox.commit(&[("railroad.yaml", yaml)]);
}

#[test]
fn every_tool_is_asked_for_and_what_changes_a_held_file_is_denied_whatever_it_is_called() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("held.txt", "1\n"), ("book.ipynb", "{}\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    for file in ["held.txt", "book.ipynb"] {
        one.edit(file, if file == "held.txt" { "1" } else { "{}" }, "2").must_pass();
    }
    let held = sandbox.repo.join("held.txt").display().to_string();
    let calls = [
        ("Write", json!({"file_path": held, "content": "x"})),
        ("Edit", json!({"file_path": held, "old_string": "2", "new_string": "x"})),
        ("MultiEdit", json!({"file_path": held, "edits": []})),
        ("NotebookEdit", json!({"notebook_path": sandbox.repo.join("book.ipynb"), "new_source": "x"})),
        ("mcp__files__put", json!({"path": held, "text": "x"})),
        ("mcp__files__copy", json!({"options": {"destination_file": "held.txt"}})),
        ("ToolOfNextYear", json!({"target_file": held})),
        ("Bash", json!({"command": "echo x > held.txt"})),
        ("Bash", json!({"command": "bash -c 'cd . && tee held.txt <<< x'"})),
        ("Bash", json!({"command": "for f in held.txt; do rm -f \"$f\"; done"})),
        ("Bash", json!({"command": "git checkout -- held.txt"})),
        ("Bash", json!({"command": "rm -rf ./*"})),
    ];
    for (tool, input) in &calls {
        let said = two.pre(tool, input);
        assert!(said.denied(), "{tool} {input}: {said:?}");
        two.event("UserPromptSubmit", &json!({"prompt": "go on"}));
    }
    assert_eq!(sandbox.text("held.txt"), "2\n");
}

#[test]
fn the_first_write_locks_by_itself_and_the_second_writer_is_told_who_and_what_next() {
    let sandbox = Sandbox::new();
    let mut one = Agent::start_with_own_daemon(&sandbox, "one");
    let mut two = Agent::start_with_own_daemon(&sandbox, "two");
    one.prompt("rework the types").must_pass();
    one.write("src/types/api.ts", "export type A = 1\n").must_pass();
    assert_eq!(sandbox.holder("src/types/api.ts").as_deref(), Some("one"));
    let said = two.write("src/types/api.ts", "mine\n");
    let pid = format!("pid {}", one.pid());
    let reason =
        said.must_be_denied(&["src/types/api.ts is being edited by session", &pid, "rework the types", "since"]);
    assert!(reason.contains("next in line") && reason.contains("Other files are free"), "{reason}");
    assert_eq!(sandbox.text("src/types/api.ts"), "export type A = 1\n");
}

#[test]
fn a_change_on_a_stale_version_is_refused_until_it_is_read_again() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.ts", "let a = 1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.read("a.ts").must_pass();
    two.read("a.ts").must_pass();
    one.edit("a.ts", "1", "2").must_pass();
    one.stop();
    let said = two.edit("a.ts", "let a", "let b");
    said.must_be_denied(&["a.ts was changed by session", "read the file again"]);
    assert!(said.context.contains("a.ts, which you have read, has been changed by"), "{}", said.context);
    assert_eq!(sandbox.holder("a.ts").as_deref(), Some("two"), "nobody comes in between");
    two.write("a.ts", "let b = 1\n").must_be_denied(&["read the file again"]);
    two.read("a.ts").must_pass();
    two.edit("a.ts", "let a", "let b").must_pass();
    assert_eq!(sandbox.text("a.ts"), "let b = 2\n", "both changes are there");
}

#[test]
fn a_change_from_outside_all_sessions_is_seen_before_it_is_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.ts", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.read("a.ts").must_pass();
    sandbox.put("a.ts", "by hand\n");
    one.write("a.ts", "2\n").must_be_denied(&["outside of all sessions", "read the file again"]);
    assert_eq!(sandbox.text("a.ts"), "by hand\n");
}

#[test]
fn package_json_survives_an_editor_and_a_shell_at_once() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("package.json", "{\"dependencies\": {}}\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.read("package.json").must_pass();
    one.edit("package.json", "{}", "{\"a\": \"1\"}").must_pass();
    two.shell("sed -i 's/{}/{\"b\": \"1\"}/' package.json").must_be_denied(&["package.json"]);
    two.pre("Bash", &json!({"command": "npm install b"})).must_be_denied(&["package.json"]);
    one.stop();
    two.read("package.json").must_pass();
    two.shell("sed -i 's/\"a\": \"1\"/\"a\": \"1\", \"b\": \"1\"/' package.json").must_pass();
    assert_eq!(sandbox.text("package.json"), "{\"dependencies\": {\"a\": \"1\", \"b\": \"1\"}}\n");
}

#[test]
fn two_agents_cannot_delete_and_create_one_file_in_turns() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("util.ts", "x\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.shell("rm util.ts").must_pass();
    two.write("util.ts", "x\n").must_be_denied(&["util.ts is being edited by session"]);
    two.shell("git checkout -- util.ts").must_be_denied(&["util.ts"]);
    assert!(!sandbox.repo.join("util.ts").exists());
}

#[test]
fn each_session_knows_who_is_here_on_what_and_holds_which_files() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    assert_eq!(sandbox.sessions().len(), 1, "registered the moment it starts");
    one.prompt("paint the shed").must_pass();
    one.write("shed.txt", "red\n").must_pass();
    until("the view has caught up", || sandbox.holder("shed.txt").is_some());
    let mut two = Agent::silent(&sandbox, "two", &sandbox.repo, &[]);
    until("told at the start", || {
        let said = two.event("SessionStart", &json!({"source": "startup"}));
        said.context.contains("paint the shed") && said.context.contains("holds shed.txt")
    });
    one.write("roof.txt", "blue\n").must_pass();
    until("told of the change", || two.prompt("and now?").context.contains("roof.txt"));
    assert!(two.prompt("and now?").context.is_empty(), "not told twice");
}

#[test]
fn readers_are_never_blocked_and_are_told() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("api.ts", "v1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.edit("api.ts", "v1", "v2").must_pass();
    until("told that it is under edit", || {
        two.read("api.ts").must_pass().context.contains("api.ts is being edited by")
    });
    let seen = two.read("api.ts").must_pass();
    assert_eq!(seen.output.trim(), "v2", "right after a write is over the new text is read");
    one.edit("api.ts", "v2", "v3").must_pass();
    let told = two.read("other.ts").context + &two.shell("cat api.ts").must_pass().context;
    assert!(told.contains("api.ts, which you have read, has been changed by"), "{told}");
}

#[test]
fn a_reader_waits_a_moment_for_a_write_that_is_under_way() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("api.ts", "v1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let file = sandbox.repo.join("api.ts");
    one.read("api.ts").must_pass();
    let write = one.pre("Write", &json!({"file_path": file, "content": "v2\n"})).must_pass();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| two.read("api.ts").must_pass().output);
        one.act(&write.id);
        one.post(&write.id).must_pass();
        assert_eq!(reader.join().expect("reads").trim(), "v2");
    });
}

#[test]
fn a_command_for_the_whole_work_tree_does_not_move_or_sweep_the_work_of_others() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("b.txt", "1\n")]);
    sandbox.git(&["branch", "topic"]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.edit("a.txt", "1", "2").must_pass();
    let sweeping = [
        "git checkout topic",
        "git switch topic",
        "git stash",
        "git stash -u",
        "git add -A",
        "git add .",
        "git commit -am x",
        "git merge topic",
        "git rebase topic",
        "git pull",
    ];
    for command in sweeping {
        let said = two.shell(command);
        said.must_be_denied(&["work tree"]);
        two.prompt("something else");
    }
    // What throws work away is nobody's to do, whoever works here.
    for command in ["git reset --hard", "git clean -fd", "git restore .", "git checkout -- ."] {
        two.shell(command).must_be_denied(&["Refused in every session", "Instead"]);
        two.prompt("something else");
    }
    two.edit("b.txt", "1", "2").must_pass();
    two.shell("git add b.txt && git commit -qm b").must_pass();
    assert_eq!(sandbox.git(&["show", "--name-only", "--format=", "HEAD"]).trim(), "b.txt");
    assert_eq!((sandbox.text("a.txt").as_str(), sandbox.git(&["branch", "--show-current"]).trim()), ("2\n", "main"));
    // Its turn over, nothing is held any more; but what it has not committed is still its own.
    one.stop();
    two.shell("git add -A").must_be_denied(&["uncommitted work of other sessions: a.txt"]);
    one.shell("git commit -qam a").must_pass();
    two.shell("git switch -q topic").must_pass();
}

#[test]
fn what_one_has_staged_is_not_committed_by_another() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("b.txt", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.edit("a.txt", "1", "2").must_pass();
    one.shell("git add a.txt").must_pass();
    two.edit("b.txt", "1", "2").must_pass();
    two.shell("git add b.txt && git commit -qm b").must_be_denied(&["git's index"]);
    one.shell("git commit -qm a").must_pass();
    until("the index is free", || two.shell("git add b.txt && git commit -qm b").passed());
    assert_eq!(sandbox.git(&["show", "--name-only", "--format=", "HEAD"]).trim(), "b.txt");
}

#[test]
fn what_a_command_did_not_name_is_found_counted_as_its_own_and_told() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("gen.sh", "echo made > out.txt; echo hit >> held.txt\n"), ("held.txt", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.edit("held.txt", "1", "2").must_pass();
    let said = two.shell("sh gen.sh").must_pass();
    assert!(said.context.contains("also changed out.txt"), "{}", said.context);
    assert!(said.context.contains("changed held.txt while it was held by session"), "{}", said.context);
    assert_eq!(sandbox.holder("out.txt").as_deref(), Some("two"));
    let told = one.read("README.md");
    assert!(told.context.contains("held.txt, which you hold, was changed by a command of session"), "{}", told.context);
    one.edit("held.txt", "2", "3").must_be_denied(&["held.txt was changed by session", "read the file again"]);
}

#[test]
fn one_that_keeps_asking_for_the_same_thing_is_told_to_do_other_work_and_then_stopped() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    let said: Vec<_> = (0..8).map(|_| two.write("a.txt", "2\n")).collect();
    assert!(said.iter().all(rr_tests::agent::Decision::denied));
    said[2].must_be_denied(&["refused 3 times in a row", "other work can go on"]);
    assert!(said[..7].iter().all(|s| !s.stop) && said[7].stop, "stopped at the eighth");
    two.prompt("do something else").must_pass();
    two.write("b.txt", "2\n").must_pass();
}

#[test]
fn the_guards_own_files_are_out_of_reach_for_every_tool() {
    let sandbox = Sandbox::new();
    sandbox.put(".claude/settings.local.json", "{}\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write(".claude/settings.local.json", "{\"disableAllHooks\":true}").must_be_denied(&["guard"]);
    one.shell("echo '{\"disableAllHooks\":true}' > .claude/settings.local.json").must_be_denied(&["guard"]);
    one.shell("rm -r .claude").must_be_denied(&["guard"]);
    let user = sandbox.home.join(".claude/settings.json").display().to_string();
    one.write(&user, "{\"disableAllHooks\":true}").must_be_denied(&["guard"]);
    one.prompt("something else").must_pass();
    one.shell(&format!("mkdir -p {0} && echo x > {user}", sandbox.home.join(".claude").display()))
        .must_be_denied(&["guard"]);
    one.shell(&format!("rm -rf {}", sandbox.state.display())).must_be_denied(&["guard"]);
    one.shell("rrctl uninstall").must_be_denied(&["guard"]);
    one.shell("rm -rf .c*").must_be_denied(&["guard"]);
    assert_eq!(sandbox.text(".claude/settings.local.json"), "{}\n");
}

#[test]
fn a_pattern_that_matches_a_folder_reaches_the_held_file_in_it() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("src/a.txt", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.edit("src/a.txt", "1", "2").must_pass();
    two.shell("rm -rf s*").must_be_denied(&["is being edited by session"]);
    two.shell("rm -rf src").must_be_denied(&["still not free"]);
    assert_eq!(sandbox.text("src/a.txt"), "2\n");
}

#[test]
fn optimistic_mode_holds_nothing_between_calls_and_still_refuses_stale_writes() {
    let sandbox = Sandbox::new();
    config(&sandbox, "locks: { mode: optimistic, exclusive: [\"**/package.json\"] }\n");
    sandbox.commit(&[("a.ts", "1\n"), ("package.json", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    two.read("a.ts").must_pass();
    one.edit("a.ts", "1", "2").must_pass();
    until("the lock went with its call", || sandbox.locks().is_empty());
    two.write("a.ts", "3\n").must_be_denied(&["read the file again"]);
    two.read("a.ts").must_pass();
    two.edit("a.ts", "2", "3").must_pass();
    one.edit("package.json", "1", "2").must_pass();
    two.write("package.json", "3\n").must_be_denied(&["package.json is being edited by"]);
}

#[test]
fn pessimistic_read_mode_locks_what_is_read_and_blocks_no_reader() {
    let sandbox = Sandbox::new();
    config(&sandbox, "locks: { mode: pessimistic_read }\n");
    sandbox.commit(&[("a.ts", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.read("a.ts").must_pass();
    assert_eq!(sandbox.holder("a.ts").as_deref(), Some("one"));
    two.read("a.ts").must_pass();
    two.write("a.ts", "2\n").must_be_denied(&["a.ts is being edited by session"]);
    one.edit("a.ts", "1", "3").must_pass();
}

#[test]
fn a_broken_railroad_yaml_is_told_with_its_place_and_stops_nobody() {
    let sandbox = Sandbox::new();
    config(&sandbox, "locks:\n  mod: optimistic\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::silent(&sandbox, "one", &sandbox.repo, &[]);
    let said = one.event("SessionStart", &json!({"source": "startup"}));
    assert!(said.context.contains("railroad.yaml") && said.context.contains("2:"), "{}", said.context);
    one.write("a.txt", "1\n").must_pass();
    fs::remove_file(sandbox.repo.join("railroad.yaml")).expect("remove");
}

#[test]
fn who_finds_the_build_broken_is_told_whose_edits_are_fresh_there() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    let alone = two.shell("test -f whole.txt");
    assert!(!alone.context.contains("Others changed files here"), "{alone:?}");
    one.write("api.txt", "half of it\n").must_pass();
    let told = two.shell("test -f whole.txt");
    assert!(told.context.contains("Others changed files here in the last minute: api.txt by session"), "{told:?}");
    assert!(told.context.contains("settled") && told.context.contains("leave it"), "{told:?}");
    let own = one.shell("test -f whole.txt");
    assert!(!own.context.contains("Others changed files here"), "its own edits are no news to it: {own:?}");
}

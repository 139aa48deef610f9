//! A call whose end nobody heard, because the daemon died under it: it is told as unknown, and can be taken back.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

use super::log;

fn scene(sandbox: &Sandbox, session: &str, title: &str) -> Value {
    let told = sandbox.json(&["replay", "--session", session]);
    let scenes = told["scenes"].as_array().cloned().expect("scenes");
    let found = scenes.into_iter().find(|s| s["title"].as_str().is_some_and(|t| t.contains(title)));
    found.unwrap_or_else(|| panic!("{title}: {told}"))
}

fn id_of(sandbox: &Sandbox, name: &str) -> String {
    let all = log(sandbox, &["--kind", "session-started"]);
    let row = all.iter().find(|entry| entry["agent_session"] == name).expect("it has begun");
    row["session"].as_str().expect("an id").to_owned()
}

#[test]
fn a_call_without_an_end_is_told_as_unknown_and_what_it_did_can_be_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("lives.txt", "1\n"), ("dies.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let (mut lives, mut dies) = (Agent::start(&sandbox, "lives"), Agent::start(&sandbox, "dies"));
    for agent in [&mut lives, &mut dies] {
        let file = format!("{}.txt", agent.name());
        agent.read(&file).must_pass();
        let call = agent.pre("Edit", &json!({"file_path": file, "old_string": "1", "new_string": "2"}));
        assert!(call.passed(), "{call:?}");
        agent.act(&call.id);
    }
    daemon.kill9();
    dies.kill9();
    let (first, second) = (id_of(&sandbox, "lives"), id_of(&sandbox, "dies"));
    for (session, file) in [(&first, "lives.txt"), (&second, "dies.txt")] {
        assert_eq!(scene(&sandbox, session, &format!("Edit {file}"))["end"], "unknown");
    }
    daemon.restart();
    lives.prompt("go on");
    lives.write("next.txt", "x\n").must_pass();
    lives.stop();
    for (session, file) in [(&first, "lives.txt"), (&second, "dies.txt")] {
        until("what it did is looked at", || scene(&sandbox, session, &format!("Edit {file}"))["changes"] != json!([]));
        let told = scene(&sandbox, session, &format!("Edit {file}"));
        assert!(told["facts"].to_string().contains("not known"), "{told}");
        assert_eq!(told["changes"][0]["path"], file, "{told}");
    }
    let free = || sandbox.holder("lives.txt").is_none() && sandbox.holder("dies.txt").is_none();
    until("what the dead one held is free", free);
    for (session, file) in [(&first, "lives.txt"), (&second, "dies.txt")] {
        assert_eq!(sandbox.text(file), "2\n");
        assert_eq!(sandbox.json(&["rollback", "--session", session, "--path", file])["calls"], 1);
        assert_eq!(sandbox.text(file), "1\n");
    }
}

#[test]
fn what_a_command_changed_unforeseen_while_the_daemon_died_can_be_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("quiet.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let call = one.pre("Bash", &json!({"command": "python3 -c \"open('quiet' + '.txt', 'w').write('2\\n')\""}));
    assert!(call.passed(), "{call:?}");
    one.act(&call.id);
    assert_eq!(sandbox.text("quiet.txt"), "2\n");
    daemon.kill9();
    daemon.restart();
    one.post(&call.id);
    one.stop();
    let session = id_of(&sandbox, "first");
    until("its end is written", || {
        let all = log(&sandbox, &["--session", &session, "--kind", "done"]);
        all.iter().any(|entry| entry["call"] == call.id)
    });
    let told = sandbox.json(&["rollback", "--session", &session]);
    assert_eq!((&told["calls"], sandbox.text("quiet.txt").as_str()), (&json!(1), "1\n"), "{told}");
}

#[test]
fn of_two_calls_under_a_crash_each_is_told_its_own_changes_and_unsaved_work_of_others_is_nobodys() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("quiet.txt", "1\n"), ("named.txt", "1\n"), ("by-hand.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    sandbox.put("by-hand.txt", "2\n");
    two.read("named.txt").must_pass();
    let command = "python3 -c \"open('quiet' + '.txt', 'w').write('2\\n')\"";
    let shell = one.pre("Bash", &json!({ "command": command })).must_pass().id;
    let write = two.pre("Write", &json!({"file_path": "named.txt", "content": "2\n"})).must_pass().id;
    one.act(&shell);
    two.act(&write);
    daemon.kill9();
    daemon.restart();
    one.post(&shell);
    two.post(&write);
    let done = |call: &str| {
        let all = log(&sandbox, &["--kind", "done"]);
        all.into_iter().find(|entry| entry["call"] == call)
    };
    until("both ends are written", || done(&shell).is_some() && done(&write).is_some());
    let paths = |call: &str| {
        let changes = done(call).expect("its end")["changes"].as_array().cloned().expect("changes");
        changes.iter().map(|change| change["path"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((paths(&shell), paths(&write)), (vec![json!("quiet.txt")], vec![json!("named.txt")]));
}

/// What one session's call did: kept open by the death of its daemon, and by an agent that says nothing more.
fn left_open(sandbox: &Sandbox, daemon: &mut Daemon<'_>, agent: &mut Agent, tool: &str, input: &Value) -> String {
    let call = agent.pre(tool, input).must_pass().id;
    agent.act(&call);
    daemon.kill9();
    daemon.restart();
    let all = log(sandbox, &["--kind", "done"]);
    let end = all.iter().find(|entry| entry["call"] == call.as_str());
    assert_eq!(
        end.map(|entry| &entry["ok"]),
        Some(&json!(false)),
        "it is on record before anybody says a word: {all:?}"
    );
    call
}

#[test]
fn what_a_call_did_whose_daemon_died_is_taken_back_though_its_agent_never_comes_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("quiet.txt", "1\n"), ("other.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    two.read("other.txt").must_pass();
    two.edit("other.txt", "1", "2").must_pass();
    one.read("a.txt").must_pass();
    left_open(
        &sandbox,
        &mut daemon,
        &mut one,
        "Edit",
        &json!({"file_path": "a.txt", "old_string": "1", "new_string": "2"}),
    );
    let quiet = "python3 -c \"open('quiet' + '.txt', 'w').write('2\\n'); open('made.txt', 'w')\"";
    left_open(&sandbox, &mut daemon, &mut one, "Bash", &json!({ "command": quiet }));
    assert_eq!((sandbox.text("a.txt").as_str(), sandbox.text("quiet.txt").as_str()), ("2\n", "2\n"));
    let session = id_of(&sandbox, "first");
    assert_eq!(scene(&sandbox, &session, "Edit a.txt")["facts"].to_string().matches("not known").count(), 1);
    let planned = sandbox.json(&["rollback", "--session", "first", "--dry-run"]);
    let paths: Vec<&str> =
        planned["files"].as_array().expect("rows").iter().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!((paths, &planned["calls"]), (vec!["a.txt", "made.txt", "quiet.txt"], &json!(2)), "{planned}");
    assert_eq!(sandbox.json(&["rollback", "--session", "first"])["calls"], 2);
    assert_eq!((sandbox.text("a.txt").as_str(), sandbox.text("quiet.txt").as_str()), ("1\n", "1\n"));
    assert!(!sandbox.repo.join("made.txt").exists());
    assert_eq!(sandbox.text("other.txt"), "2\n", "nobody else's");
}

#[test]
fn an_end_that_is_reported_after_all_adds_only_what_was_not_found_before() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("b.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let ends = |call: &str| {
        let all = log(&sandbox, &["--kind", "done"]);
        let ends = all.into_iter().filter(|entry| entry["call"] == call);
        ends.map(|entry| entry["changes"].as_array().map_or(0, Vec::len)).collect::<Vec<_>>()
    };
    one.read("a.txt").must_pass();
    let edit = json!({"file_path": "a.txt", "old_string": "1", "new_string": "2"});
    let call = left_open(&sandbox, &mut daemon, &mut one, "Edit", &edit);
    one.post(&call);
    until("its end is on record", || ends(&call) == [1, 0]);
    one.read("b.txt").must_pass();
    let edit = json!({"file_path": "b.txt", "old_string": "1", "new_string": "2"});
    let call = left_open(&sandbox, &mut daemon, &mut one, "Edit", &edit);
    assert_eq!(sandbox.json(&["rollback", "--session", "first"])["calls"], 2);
    one.post(&call);
    until("its end is on record", || ends(&call) == [1, 0]);
    assert_eq!((sandbox.text("a.txt").as_str(), sandbox.text("b.txt").as_str()), ("1\n", "1\n"));
    assert_eq!(sandbox.json(&["rollback", "--session", "first"])["files"], json!([]), "the rollback is not its work");
}

#[test]
fn what_another_session_wrote_over_since_is_told_and_nobodys_to_take_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("own.txt", "1\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    let both = one.pre("Bash", &json!({"command": "echo 2 > a.txt; echo 2 > own.txt"})).must_pass().id;
    one.act(&both);
    let id = id_of(&sandbox, "first");
    let freed = sandbox.rrctl(&["release", "--force", "--reason", "it hangs", "a.txt"]);
    assert!(freed.status.success(), "{freed:?}");
    two.read("a.txt").must_pass();
    until("it is free", || two.edit("a.txt", "2", "2\nsecond").passed());
    two.stop();
    daemon.kill9();
    daemon.restart();
    let told = scene(&sandbox, &id, "echo 2 > a.txt");
    assert!(told["facts"].to_string().contains("has changed a.txt since that call"), "{told}");
    assert_eq!(sandbox.json(&["rollback", "--session", "first"])["calls"], 1);
    assert_eq!((sandbox.text("a.txt").as_str(), sandbox.text("own.txt").as_str()), ("2\nsecond\n", "1\n"));
}

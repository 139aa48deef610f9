//! Story: a person in an editor beside the agents. A save is seen, attributed to its user, kept and locked; agents are told who it was;
//! and what is not provably a person's is nobody's. Real files, real agents, the real hook and daemon; an editor is what
//! editors do to files.

use std::fs;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

#[allow(dead_code, reason = "the stage of breaks has more than one story of people asks for")]
#[path = "breakage/stage.rs"]
mod breaks;

/// Who runs the tests, as the system's list of users has it: the owner of every file that they write.
fn user(sandbox: &Sandbox) -> String {
    let output = sandbox.command("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Lets an agent make a command, after which nothing it has started runs: from here on a save is a person's. Its end is looked at behind
/// the agent's back where the machine is busy: what is saved before that may be the command's.
fn quiet(sandbox: &Sandbox, agent: &mut Agent) {
    let call = agent.shell("echo seen > agent.txt").must_pass().id;
    until("its end is on record", || {
        let done = sandbox.json(&["log", "--kind", "done"])["entries"].as_array().cloned().expect("entries");
        done.iter().any(|entry| entry["call"] == call.as_str())
    });
}

fn people(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.sessions().into_iter().filter(|session| session["kind"] == "person").collect()
}

/// The person's session, once there is one.
fn person(sandbox: &Sandbox) -> Value {
    until("a person is seen", || !people(sandbox).is_empty());
    people(sandbox).remove(0)
}

/// The changes that the journal has of people's sessions, oldest first: path, what stood before, what stands after.
fn saves(sandbox: &Sandbox) -> Vec<(String, String, String)> {
    let entries = |words: &[&str]| sandbox.json(words)["entries"].as_array().cloned().expect("entries");
    let began = entries(&["log", "--kind", "session-started"]);
    let of_people: Vec<Value> =
        began.into_iter().filter(|entry| entry["agent"] == "person").map(|entry| entry["session"].clone()).collect();
    let done = entries(&["log", "--kind", "done"]).into_iter().filter(|entry| of_people.contains(&entry["session"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    done.flat_map(|entry| entry["changes"].as_array().cloned().expect("changes"))
        .map(|change| (text(&change["path"]), text(&change["before"]), text(&change["after"])))
        .collect()
}

fn saved(sandbox: &Sandbox, path: &str) -> usize {
    saves(sandbox).iter().filter(|(saved, ..)| saved == path).count()
}

#[test]
fn a_save_is_attributed_kept_and_locked_and_can_be_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\ntwo\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    sandbox.put("a.txt", "one\ntwo, by hand\n");
    let user = user(&sandbox);
    until("the saved file is locked", || sandbox.holder("a.txt").is_some_and(|holder| holder.starts_with(&user)));
    let session = person(&sandbox);
    let sid = session["session"].as_str().expect("an id");
    for words in [&["status"][..], &["sessions"], &["locks"]] {
        let text = String::from_utf8_lossy(&sandbox.rrctl(words).stdout).into_owned();
        assert!(text.contains(&user) && text.contains("person"), "{words:?}: {text}");
    }
    agent.edit("a.txt", "one", "1").must_be_denied(&["a.txt", &format!("edited by {user} in an editor"), "since"]);
    assert_eq!(sandbox.text("a.txt"), "one\ntwo, by hand\n");

    let before = sandbox.git(&["rev-parse", "HEAD:a.txt"]);
    until("it is on record", || !saves(&sandbox).is_empty());
    let (path, was, is) = saves(&sandbox).remove(0);
    assert!(path == "a.txt" && was.contains(before.trim()) && was != is, "{path} {was} {is}");
    let blame = String::from_utf8_lossy(&sandbox.rrctl(&["blame", "a.txt"]).stdout).into_owned();
    let line = blame.lines().find(|line| line.contains("by hand")).expect("the line");
    assert!(line.contains(&sid[..8]), "{blame}");
    let told = sandbox.json(&["rollback", "--session", sid]);
    assert_eq!(told["calls"], 1, "{told}");
    assert_eq!(sandbox.text("a.txt"), "one\ntwo\n");
}

#[test]
fn what_editors_do_beside_the_file_is_no_save_and_every_way_of_saving_is_one() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[
        ("in-place.txt", "1\n"),
        ("renamed.txt", "1\n"),
        ("backed-up.txt", "1\n"),
        ("touched.txt", "1\n"),
    ]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    let at = |path: &str| sandbox.repo.join(path);
    sandbox.put(".in-place.txt.swp", "vim");
    sandbox.put("4913", "");
    fs::remove_file(at("4913")).expect("remove");
    fs::File::options()
        .write(true)
        .open(at("touched.txt"))
        .expect("open")
        .set_modified(std::time::SystemTime::now())
        .expect("touch");
    sandbox.put("in-place.txt", "2\n");
    sandbox.put("renamed.txt.vsctmp", "2\n");
    fs::rename(at("renamed.txt.vsctmp"), at("renamed.txt")).expect("rename");
    fs::rename(at("backed-up.txt"), at("backed-up.txt~")).expect("rename");
    sandbox.put("backed-up.txt", "2\n");
    for path in ["in-place.txt", "renamed.txt", "backed-up.txt"] {
        until(path, || saved(&sandbox, path) > 0);
    }
    sandbox.put("last.txt", "x\n");
    until("the last save is seen", || saved(&sandbox, "last.txt") == 1);
    let mut names: Vec<String> = saves(&sandbox).into_iter().map(|(path, ..)| path).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["backed-up.txt", "in-place.txt", "last.txt", "renamed.txt"]);
}

#[test]
fn who_holds_the_file_is_told_who_has_edited_it_before_it_writes_again() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    agent.edit("a.txt", "one", "two").must_pass();
    // At once, so that nobody has looked since the agent's call: both are in one window. And in one step, so that nobody sees half of it.
    sandbox.put("../by-hand", "two\nby hand\n");
    fs::rename(sandbox.path().join("by-hand"), sandbox.repo.join("a.txt")).expect("save it");
    let denied = agent.edit("a.txt", "two", "three");
    denied.must_be_denied(&["a.txt was changed by", &user(&sandbox), "in an editor", "read the file again"]);
    assert_eq!(sandbox.text("a.txt"), "two\nby hand\n", "what the person wrote stands");
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("agent"), "and the lock is the agent's still");
    agent.read("a.txt").must_pass();
    agent.edit("a.txt", "two", "three").must_pass();
    until("it is on record", || !saves(&sandbox).is_empty());
    let (_, was, is) = saves(&sandbox).remove(0);
    let name = |text: &str| {
        fs::write(sandbox.path().join("bytes"), text).expect("write");
        sandbox.git(&["hash-object", "../bytes"]).trim().to_owned()
    };
    assert!(
        was.contains(&name("two\n")) && is.contains(&name("two\nby hand\n")),
        "only what the person did: {was} {is}"
    );
    let of_people = saves(&sandbox);
    assert_eq!(saved(&sandbox, "a.txt"), 1, "the agent's own edits are none of it: {of_people:?}");
}

#[test]
fn what_may_be_an_agents_is_no_persons() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "defaults: off\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    let call = agent.pre("Bash", &json!({"command": "echo 1 > by-shell.txt"})).must_pass();
    sandbox.put("meanwhile.txt", "by nobody knows whom\n");
    agent.act(&call.id);
    agent.post(&call.id).must_pass();
    // Something that the agent leaves running may write at any time, until it has ended.
    let waits =
        "sh -c 'echo $$ > pid.txt; until [ -e go.txt ]; do sleep 0.01; done; echo 1 > left.txt' > /dev/null 2>&1 &";
    agent.shell(waits).must_pass();
    until("it runs", || sandbox.text("pid.txt").ends_with('\n'));
    let process = format!("/proc/{}/stat", sandbox.text("pid.txt").trim());
    quiet(&sandbox, &mut agent);
    sandbox.put("beside.txt", "by nobody knows whom\n");
    sandbox.put("go.txt", "");
    let has_ended = |stat: &str| stat.is_empty() || stat.contains(") Z ");
    until("what it left has ended", || has_ended(&fs::read_to_string(&process).unwrap_or_default()));
    assert_eq!(sandbox.text("left.txt"), "1\n");
    quiet(&sandbox, &mut agent);
    sandbox.put("known.txt", "a person's\n");
    until("a save is a person's again", || saved(&sandbox, "known.txt") == 1);
    assert_eq!(saves(&sandbox).len(), 1, "{:?}", saves(&sandbox));
}

#[test]
fn many_files_at_once_are_one_entry_without_locks_and_so_is_a_checkout() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n")]);
    sandbox.git(&["checkout", "-q", "-b", "other"]);
    sandbox.commit(&[("a.txt", "2\n"), ("b.txt", "2\n")]);
    sandbox.git(&["checkout", "-q", "main"]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    sandbox.git(&["checkout", "-q", "other"]);
    until("the checkout is seen", || saved(&sandbox, "b.txt") == 1);
    // Made beside and moved in whole: what generators do comes in one moment.
    let folder = sandbox.path().join("made");
    fs::create_dir_all(&folder).expect("make a folder");
    for n in 0..30 {
        fs::write(folder.join(format!("{n}.txt")), "x\n").expect("write");
    }
    fs::rename(&folder, sandbox.repo.join("made")).expect("move it in");
    until("so are the files", || saves(&sandbox).len() == 32);
    let intents = sandbox.json(&["log", "--kind", "intent"]);
    let tools: Vec<&str> =
        intents["entries"].as_array().expect("entries").iter().filter_map(|e| e["tool"].as_str()).collect();
    assert!(tools.contains(&"a person changed 2 files:") && tools.contains(&"a person changed 30 files:"), "{tools:?}");
    let locks = sandbox.locks();
    assert!(locks.iter().all(|lock| lock["person"].is_null()), "{locks:?}");
}

#[test]
fn a_rollback_is_no_persons_save() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    agent.edit("a.txt", "one", "two").must_pass();
    agent.write("new.txt", "x\n").must_pass();
    agent.stop();
    drop(sandbox.json(&["rollback", "--session", "agent", "--path", "a.txt"]));
    drop(sandbox.json(&["rollback", "--session", "agent", "--path", "new.txt"]));
    assert_eq!(sandbox.text("a.txt"), "one\n");
    sandbox.put("last.txt", "x\n");
    until("a save after it is seen", || saved(&sandbox, "last.txt") == 1);
    assert_eq!(saves(&sandbox).len(), 1, "{:?}", saves(&sandbox));
}

#[test]
fn a_revert_by_the_watcher_is_no_persons_save() {
    let sandbox = Sandbox::new();
    breaks::words_project(&sandbox, breaks::QUICK, "  on_break: { revert: proven }\n");
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    breaks::until_long("it is whole", &sandbox, || breaks::is_green(&sandbox));
    breaks::commits(&mut agent, "src/one.txt", "BROKEN\n", "break it");
    breaks::until_long("it is reverted and goes on", &sandbox, || breaks::over(&sandbox).is_some());
    assert_eq!(sandbox.text("src/one.txt"), "one\n");
    sandbox.put("last.txt", "x\n");
    until("a save after it is seen", || saved(&sandbox, "last.txt") == 1);
    assert_eq!(saves(&sandbox).len(), 1, "{:?}", saves(&sandbox));
}

#[test]
fn a_commit_gives_the_file_back_and_a_pause_says_that_people_are_not_stopped() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    sandbox.put("a.txt", "two\n");
    until("it is locked", || sandbox.holder("a.txt").is_some());
    let paused = sandbox.rrctl(&["pause-all", "--reason", "a look", "--wait", "20"]);
    let text = String::from_utf8_lossy(&paused.stdout).into_owned();
    assert!(paused.status.success() && text.contains("A pause stops agents, not people"), "{text}");
    agent.read("a.txt").must_be_denied(&["paused"]);
    sandbox.put("b.txt", "in a pause\n");
    until("it is seen in a pause too", || saved(&sandbox, "b.txt") == 1);
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "-q", "-m", "by hand"]);
    until("what is committed is free", || sandbox.holder("a.txt").is_none() && sandbox.holder("b.txt").is_none());
    assert_eq!(people(&sandbox).len(), 1, "the person is here still");
}

#[test]
fn a_person_who_saves_nothing_for_long_is_gone_and_the_file_is_free() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n"), ("railroad.yaml", "people: { idle: 1s }\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    sandbox.put("a.txt", "two\n");
    until("it is seen", || saved(&sandbox, "a.txt") == 1);
    until("the session has ended", || people(&sandbox).is_empty());
    agent.edit("a.txt", "two", "three").must_pass();
}

#[test]
fn without_locks_a_save_is_still_seen_and_told() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n"), ("railroad.yaml", "people: { locks: false }\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    agent.read("a.txt").must_pass();
    quiet(&sandbox, &mut agent);
    sandbox.put("a.txt", "two\n");
    until("it is seen", || saved(&sandbox, "a.txt") == 1);
    assert_eq!(sandbox.holder("a.txt"), None);
    agent.tool("Edit", &json!({"file_path": "a.txt", "old_string": "one", "new_string": "1"})).must_be_denied(&[
        "was changed by",
        &user(&sandbox),
        "in an editor",
    ]);
}

#[test]
fn a_persons_session_outlives_the_daemon() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "one\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut agent = Agent::start(&sandbox, "agent");
    quiet(&sandbox, &mut agent);
    sandbox.put("a.txt", "two\n");
    until("it is locked", || sandbox.holder("a.txt").is_some());
    let first = person(&sandbox)["session"].clone();
    daemon.kill9();
    daemon.restart();
    assert_eq!(person(&sandbox)["session"], first);
    agent.edit("a.txt", "two", "three").must_be_denied(&["in an editor"]);
}

//! Story: the journal. What the agents of a machine did stands in it, in order, with what was there before and after; it tells a
//! session again, says who wrote a line, keeps no secret, and is whole after a crash at any moment. Real agents, the real hook,
//! the real daemon, `rrctl log`, `replay` and `blame` as typed. Each byte at which a disk can fail is `rr_journal`'s to prove.

#[path = "journal/crash.rs"]
mod crash;
#[path = "journal/full.rs"]
mod full;
#[path = "journal/swapped.rs"]
mod swapped;
#[path = "journal/unknown.rs"]
mod unknown;

use std::fs;
use std::path::Path;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

/// What the journal's bytes are masked with on the disk.
const MASK: u8 = 0xa5;

/// The newest entries, oldest first.
#[track_caller]
pub(crate) fn log(sandbox: &Sandbox, words: &[&str]) -> Vec<Value> {
    let found = sandbox.json(&[&["log", "--limit", "100000"], words].concat());
    assert_eq!(found["damage"], json!([]), "{found}");
    found["entries"].as_array().cloned().expect("entries")
}

fn of_call<'a>(log: &'a [Value], call: &str) -> Vec<&'a Value> {
    log.iter().filter(|entry| entry["call"] == call).collect()
}

fn kinds(entries: &[&Value]) -> Vec<String> {
    entries.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[test]
fn each_call_stands_in_the_log_with_its_session_its_id_and_what_was_there_before_and_after() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("railroad.yaml", "blocklist:\n  - terraform destroy\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    let read = one.read("a.txt").must_pass().id;
    let edit = one.edit("a.txt", "1", "2").must_pass().id;
    let shell = one.shell("echo 3 > b.txt").must_pass().id;
    let blocked = one.pre("Bash", &json!({"command": "terraform destroy"})).id;
    two.read("a.txt").must_pass();
    let held = two.pre("Write", &json!({"file_path": "a.txt", "content": "x"})).id;
    one.stop();
    let session = |name: &str| {
        let rows = sandbox.sessions();
        rows.iter().find(|row| row["agent_session"] == name).expect("a row")["session"].clone()
    };
    let (first, second) = (session("first"), session("second"));
    assert!(sandbox.rrctl(&["pause-all", "--reason", "lunch"]).status.success());
    let epoch = sandbox.json(&["status"])["epoch"].to_string();
    let paused = one.pre("Write", &json!({"file_path": "c.txt", "content": "x"})).id;
    until("it goes on", || sandbox.rrctl(&["resume", "--epoch", &epoch]).status.success());
    until("the last of it is written", || log(&sandbox, &["--kind", "resumed"]).len() == 1);

    let all = log(&sandbox, &[]);
    let sequence: Vec<u64> = all.iter().map(|entry| entry["sequence"].as_u64().expect("a number")).collect();
    assert!(sequence.windows(2).all(|pair| pair[0] < pair[1]), "one order: {sequence:?}");
    let entries = of_call(&all, &read);
    assert_eq!((kinds(&entries), &entries[0]["does"]), (vec!["intent".to_owned()], &json!("read")), "{entries:?}");
    let whole = ["intent", "snapped", "started", "done"];
    for (call, path, before) in [(&edit, "a.txt", "1\n"), (&shell, "b.txt", "")] {
        let mut entries = of_call(&all, call);
        let locks = entries.iter().take_while(|entry| entry["kind"] == "lock").count();
        assert!(entries.drain(..locks).any(|entry| entry["lock"] == path), "its locks come first: {all:?}");
        assert_eq!(kinds(&entries), whole, "{entries:?}");
        assert!(entries.iter().all(|entry| entry["session"] == first), "{entries:?}");
        let change = &entries[3]["changes"][0];
        assert_eq!((&change["path"], &entries[3]["ok"]), (&json!(path), &json!(true)), "{entries:?}");
        let name = if before.is_empty() { "absent".to_owned() } else { format!("644:{}", blob(&sandbox, before)) };
        assert_eq!((&change["before"], &entries[1]["files"][0]["content"]), (&json!(name), &json!(name)));
        let after = format!("644:{}", blob(&sandbox, &sandbox.text(path)));
        assert_eq!(change["after"], after, "{entries:?}");
    }
    assert_eq!(of_call(&all, &shell)[1]["command"], "echo 3 > b.txt");
    let refused = |call: &str| of_call(&all, call).into_iter().find(|entry| entry["kind"] == "verdict").cloned();
    let entry = refused(&blocked).expect("a verdict");
    assert_eq!((&entry["verdict"], &entry["rule"]), (&json!("denied"), &json!("terraform destroy")), "{entry}");
    let entry = refused(&held).expect("a verdict");
    assert_eq!((&entry["verdict"], &entry["session"]), (&json!("denied"), &second), "{entry}");
    assert!(entry["reason"].as_str().is_some_and(|why| why.contains("is being edited by session")), "{entry}");
    assert!(refused(&paused).is_some_and(|entry| entry["reason"].as_str().is_some_and(|why| why.contains("lunch"))));
    let has = |kind: &str, what: &dyn Fn(&Value) -> bool| all.iter().any(|entry| entry["kind"] == kind && what(entry));
    let lock =
        |e: &Value| e["lock"] == "a.txt" && e["session"] == first && e["token"].is_u64() && e["call"] == json!(edit);
    assert!(has("lock", &lock), "a lock is its call's: {all:?}");
    assert!(has("paused", &|e| e["reason"] == "lunch") && has("resumed", &|_| true), "{all:?}");
    assert!(has("session-started", &|e| e["session"] == second && e["agent_session"] == "second"), "{all:?}");
    assert_eq!(log(&sandbox, &["--path", "b.txt", "--kind", "done"]).len(), 1, "and is found by its path");
}

/// Git's name for a text.
fn blob(sandbox: &Sandbox, text: &str) -> String {
    let file = sandbox.path().join("to-be-named");
    fs::write(&file, text).expect("write");
    sandbox.git(&["hash-object", &file.display().to_string()]).trim().to_owned()
}

#[test]
fn a_session_is_told_again_in_its_order_with_what_each_call_changed() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "old\n"), ("railroad.yaml", "blocklist:\n  - terraform destroy\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    one.edit("a.txt", "old", "new").must_pass();
    one.shell("terraform destroy").must_be_denied(&[]);
    one.shell("echo last > b.txt").must_pass();
    one.session_end();
    let session = log(&sandbox, &["--kind", "session-started"])[0]["session"].as_str().expect("an id").to_owned();
    until("its end is written", || !log(&sandbox, &["--session", &session, "--kind", "session-ended"]).is_empty());
    let told = sandbox.json(&["replay", "--session", &session]);
    let scenes = told["scenes"].as_array().expect("scenes");
    let at = |title: &str| scenes.iter().position(|s| s["title"].as_str().is_some_and(|t| t.contains(title)));
    let order = [at("Edit a.txt"), at("terraform destroy"), at("echo last > b.txt")];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{told}");
    let edit = &scenes[order[0].expect("found")];
    assert_eq!(edit["end"], "done");
    let diff = edit["changes"][0]["diff"].to_string();
    assert!(diff.contains("-old") && diff.contains("+new"), "{diff}");
    assert_eq!(scenes[order[1].expect("found")]["verdict"], "denied");
    assert_eq!((&edit["verdict"], at("lock: a.txt, ")), (&json!("passed"), None), "{told}");
    assert!(edit["facts"][1].as_str().is_some_and(|fact| fact.starts_with("lock: a.txt, ")), "{edit}");
    let plain = sandbox.rrctl(&["replay", "--session", &session[..8], "--plain"]);
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    let places = ["-old", "+new", "terraform destroy", "echo last > b.txt", "+last"].map(|word| plain.find(word));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{plain}");
    assert!(sandbox.rrctl(&["rollback", "--session", &session, "--steps", "1"]).status.success());
    let told = sandbox.json(&["replay", "--session", &session]);
    let scenes = told["scenes"].as_array().expect("scenes");
    let last = scenes.last().expect("a scene");
    assert!(last["title"].as_str().is_some_and(|t| t.starts_with("rolled-back: 1 call of session")), "{last}");
    assert!(last["changes"][0]["diff"].to_string().contains("-last"), "{last}");
    let taken = format!("taken back by the rollback #{}", last["sequence"]);
    let with: Vec<_> = scenes.iter().filter(|s| s["facts"].to_string().contains(&taken)).collect();
    assert!(matches!(with[..], [one] if one["title"] == "Bash: echo last > b.txt"), "{told}");
}

#[test]
fn each_line_is_ascribed_to_the_session_that_wrote_it() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "nobody\n\nmiddle\n\nend\n")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "first"), Agent::start(&sandbox, "second"));
    one.edit("a.txt", "middle", "of the first").must_pass();
    one.stop();
    two.read("a.txt").must_pass();
    two.shell("sed -i 's/^end$/of the second/' a.txt").must_pass();
    two.stop();
    let id = |name: &str| {
        let rows = sandbox.sessions();
        rows.iter().find(|row| row["agent_session"] == name).expect("a row")["session"].clone()
    };
    let by = |text: &str| {
        let told = sandbox.json(&["blame", "a.txt"]);
        let lines = told["lines"].as_array().cloned().expect("lines");
        lines.into_iter().find(|line| line["text"] == text).unwrap_or_else(|| panic!("{text}: {told}"))["session"]
            .clone()
    };
    until("the last call is written", || by("of the second") == id("second"));
    assert_eq!((by("of the first"), by("nobody")), (id("first"), Value::Null));
    let text = sandbox.rrctl(&["blame", "a.txt"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("of the second"), "{text:?}");
}

#[test]
fn a_secret_in_a_command_does_not_reach_the_disk() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let secrets = ["ghp_0123456789abcdefghijABCDEFGHIJ456789", "hunter2hunter2", "Zx9vQ7LmT2pRw8Kd"];
    one.prompt(&format!("use {}", secrets[0]));
    one.shell(&format!("echo {} > /dev/null; echo made > a.txt", secrets[0])).must_pass();
    one.shell(&format!("PGPASSWORD={} true && echo more >> a.txt", secrets[1])).must_pass();
    one.pre(
        "Bash",
        &json!({"command": format!("curl -H 'Authorization: Bearer {}' https://example.invalid", secrets[2])}),
    );
    one.session_end();
    daemon.stop();
    let commands = log(&sandbox, &["--kind", "intent"]);
    assert!(commands.iter().any(|e| e["command"].as_str().is_some_and(|c| c.contains("[redacted]"))), "{commands:?}");
    let folder = sandbox.state.join("journal");
    let told = sandbox.json(&["log", "--limit", "100000"]).to_string();
    assert!(told.contains("echo made") && told.contains("Authorization: Bearer [redacted]"), "{told}");
    for secret in secrets {
        assert!(!is_in(&sandbox.state, secret.as_bytes()), "{secret} is in {}", folder.display());
        assert!(!told.contains(secret), "{told}");
    }
    assert!(is_in(&folder, b"echo made"), "the looking finds what is there");
}

fn is_in(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).expect("look").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_in(&path, bytes);
        }
        let found = fs::read(&path).expect("read");
        let has = |part: &[u8]| found.windows(part.len()).any(|some| some == part);
        has(bytes) || has(&bytes.iter().map(|byte| byte ^ MASK).collect::<Vec<_>>())
    })
}

//! A `railroad.yaml` that is broken: where, what was probably meant, and what holds meanwhile: the last good version, or the
//! defaults where there was none.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

const GOOD: &str = "locks:\n  mode: optimistic\n";

/// What a file has, and what is said of it: its place and its cause.
const BROKEN: [(&str, &str, &[&str]); 8] = [
    ("fleet: a\nlokcs: {}\n", ":2:1", &["unknown key `lokcs`", "did you mean `locks`?"]),
    ("locks:\n  mode: pesimistic\n", ":2:9", &["unknown value `pesimistic`", "did you mean `pessimistic`?"]),
    ("locks:\n  idle_release: 10\n", ":2:17", &["a duration is a whole number and one of ms, s, m, h"]),
    ("locks:\n  exclusive: [\"a/[b\"]\n", ":2:", &[]),
    ("fleet: [\n", ":", &[]),
    ("fleet: a\nfleet: b\n", ":2:1", &["duplicate"]),
    ("\u{0}\u{1}\u{2}", ":1:", &[]),
    ("a: &a [x]\nb: *a\n", ":1:1", &["unknown key `a`"]),
];

fn start_text(sandbox: &Sandbox, name: &str) -> String {
    let mut agent = Agent::silent(sandbox, name, &sandbox.repo, &[]);
    let text = agent.event("SessionStart", &json!({"source": "startup"})).context;
    agent.session_end();
    text
}

#[test]
fn the_doctor_and_the_start_of_a_session_say_where_and_what_was_meant() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut untold = Vec::new();
    for (n, (text, place, words)) in BROKEN.into_iter().enumerate() {
        sandbox.put("railroad.yaml", text);
        let doctor = sandbox.rrctl(&["--json", "doctor"]);
        let found: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
        assert_eq!(doctor.status.code(), Some(6), "{text:?}: {found}");
        let rows = found["checks"].as_array().expect("checks");
        let row = rows.iter().find(|row| row["check"] == "railroad.yaml").expect("its check");
        let said = row["found"].as_str().unwrap_or_default();
        let at_start = start_text(&sandbox, &format!("s{n}"));
        assert_eq!(row["state"], "fail", "{text:?}");
        for word in [&[place][..], words].concat() {
            assert!(said.contains(word), "{word:?} is not in what the doctor said of {text:?}: {said}");
            if !at_start.contains(word) {
                untold.push(format!("{word:?} of {text:?} is not in: {at_start}"));
            }
        }
    }
    assert!(untold.is_empty(), "at the start of a session:\n{}", untold.join("\n"));
}

#[test]
fn the_last_good_version_stays_in_force() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    sandbox.put("railroad.yaml", GOOD);
    let mut one = Agent::start(&sandbox, "one");
    // Optimistic: a lock lasts for its call alone.
    one.write("a.txt", "1\n").must_pass();
    until("it is given back", || sandbox.holder("a.txt").is_none());
    for (text, _, _) in BROKEN {
        sandbox.put("railroad.yaml", text);
        one.prompt("next");
        one.read("a.txt");
        one.write("a.txt", "2\n").must_pass();
        until("still optimistic", || sandbox.holder("a.txt").is_none());
    }
    let text = start_text(&sandbox, "late");
    assert!(text.contains("railroad.yaml has an error; the last good version is in force"), "{text}");
    sandbox.put("railroad.yaml", "locks:\n  mode: pessimistic\n");
    one.prompt("repaired");
    one.read("a.txt");
    one.write("a.txt", "3\n").must_pass();
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"), "the repaired file is in force at once");
    // That a person has the file in an editor may be told.
    let text = start_text(&sandbox, "later");
    assert!(!text.contains("railroad.yaml has an error"), "{text}");
}

#[test]
fn a_file_broken_at_first_sight_means_the_defaults_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.put("railroad.yaml", "locks:\n  mode: optimistic\n  across_worktree: warn\n");
    let _daemon = Daemon::start(&sandbox);
    let text = start_text(&sandbox, "early");
    assert!(text.contains("railroad.yaml has an error"), "{text}");
    assert!(
        text.contains("defaults") && !text.contains("last good version is in force"),
        "no version was good yet: {text}"
    );
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"), "pessimistic is the default");
}

#[test]
fn a_file_that_is_none_or_too_large_is_survived() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let bomb = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let list = vec![format!("*a{}", n - 1); 9].join(",");
        format!("{text}a{n}: &a{n} [{list}]\n")
    });
    let deep = "[".repeat(100_000);
    let large = "#".repeat((1 << 20) + 1);
    let mut one = Agent::start(&sandbox, "one");
    for (n, text) in [bomb, deep, large, "\u{feff}---\n---\n".to_owned(), "- a\n- b\n".to_owned()].iter().enumerate() {
        sandbox.put("railroad.yaml", text);
        one.prompt("next");
        one.write(&format!("f{n}.txt"), "1\n").must_pass();
        assert_eq!(sandbox.holder(&format!("f{n}.txt")).as_deref(), Some("one"));
        assert_eq!(sandbox.rrctl(&["doctor"]).status.code(), Some(6), "{text:.20}");
    }
    std::fs::remove_file(sandbox.repo.join("railroad.yaml")).expect("remove");
    std::fs::create_dir(sandbox.repo.join("railroad.yaml")).expect("a folder in its place");
    one.write("g.txt", "1\n").must_pass();
    let text = start_text(&sandbox, "late");
    assert!(text.contains("railroad.yaml has an error"), "{text}");
}

#[test]
fn a_broken_machine_configuration_stops_the_start_and_says_where() {
    let sandbox = Sandbox::new();
    for (text, words) in [
        ("timing:\n  leese: 60s\n", &["config.yaml:2:3", "did you mean `lease`?"][..]),
        ("timing: { lease: 20s }\n", &["config.yaml", "cut-off must be at least 10 s below"]),
        ("store: { kind: ectd }\n", &["config.yaml:1:", "unknown value `ectd`", "did you mean `etcd`?"]),
        ("store: { kind: etcd }\n", &["config.yaml:1:", "needs the addresses of its members"]),
        ("timing: [", &["config.yaml:1:"]),
    ] {
        sandbox.machine_config(text);
        let up = sandbox.rrctl(&["up"]);
        let said = String::from_utf8_lossy(&up.stderr).into_owned();
        assert_eq!(up.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?}: {said}");
        }
    }
    sandbox.machine_config("");
    let _daemon = Daemon::start(&sandbox);
}

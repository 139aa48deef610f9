//! Story: one policy for all. What no session may do is refused in each of them alike, with the reason and the safe way; what is
//! out of scope names its owner; what needs a person waits for one. Real agents, the real hook, the real daemon. What each
//! rule matches is `rr_policy`'s corpus.

#[path = "policy/asked.rs"]
mod asked;
#[path = "policy/scoped.rs"]
mod scoped;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, until};
use serde_json::json;

/// What each session is refused, and a word of the reason.
const REFUSED: [(&str, &str); 9] = [
    ("terraform destroy -auto-approve", "terraform"),
    ("sudo -E terraform -chdir=infra destroy", "terraform"),
    ("sh -c 'cd infra && terraform destroy'", "terraform"),
    ("rm -rf /", "rm"),
    ("sudo rm --recursive --force / --no-preserve-root", "rm"),
    ("psql -c 'DROP TABLE users'", "DROP TABLE"),
    ("psql app <<'SQL'\ndrop table users;\nSQL", "DROP TABLE"),
    ("git push --force origin main", "push"),
    ("bash -c \"git push origin +main\"", "push"),
];

/// The same words where they do nothing.
const PROSE: [&str; 4] = [
    "echo 'never run terraform destroy or rm -rf /'",
    "git commit --allow-empty --quiet -m 'docs: no DROP TABLE, no git push --force, no terraform destroy'",
    "grep -n 'DROP TABLE' README.md || true",
    "echo 'rm -rf / is refused' > notes.md",
];

#[test]
fn what_is_blocked_is_refused_in_every_session_alike_and_prose_about_it_passes() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "blocklist:\n  - terraform destroy\n  - DROP TABLE\n")]);
    let _daemon = Daemon::start(&sandbox);
    for name in ["one", "two", "three"] {
        let mut agent = Agent::start(&sandbox, name);
        for (command, _) in REFUSED {
            let said = agent.pre("Bash", &json!({ "command": command }));
            let reason = said.must_be_denied(&["Refused in every session by the rule"]);
            assert!(reason.contains("Instead: ") || reason.contains("railroad.yaml, line"), "{command}: {reason}");
        }
        for command in PROSE {
            agent.shell(command).must_pass();
        }
        agent.stop();
    }
    assert_eq!(sandbox.text("notes.md"), "rm -rf / is refused\n");
    let log = sandbox.json(&["log", "--kind", "verdict"]);
    let denied = log["entries"].as_array().expect("entries").iter().filter(|entry| entry["verdict"] == "denied");
    let denied: Vec<_> = denied.collect();
    assert_eq!(denied.len(), 3 * REFUSED.len(), "each is on record: {log}");
    assert!(denied.iter().all(|entry| entry["rule"].is_string() && entry["reason"] != ""), "{log}");
}

#[test]
fn a_team_that_tries_its_rules_out_has_them_logged_and_nothing_refused() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "shadow: true\nblocklist:\n  - touch forbidden.txt\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.shell("touch forbidden.txt").must_pass();
    assert!(sandbox.repo.join("forbidden.txt").exists());
    let log = sandbox.json(&["log", "--kind", "verdict"]);
    let entry = &log["entries"][0];
    assert_eq!((&entry["verdict"], &entry["rule"]), (&json!("shadowed"), &json!("touch forbidden.txt")), "{log}");
}

#[test]
fn a_broken_edit_of_the_rules_keeps_the_last_good_ones_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "blocklist:\n  - touch forbidden.txt\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.shell("touch forbidden.txt").must_be_denied(&["railroad.yaml, line 2"]);
    sandbox.put("railroad.yaml", "blocklits:\n  - touch other.txt\n");
    let mut told = String::new();
    until("the agent is told", || {
        told += &one.prompt("go on").context;
        told.contains("railroad.yaml has an error; the last good version is in force")
    });
    assert!(told.contains("blocklits"), "{told}");
    one.shell("touch forbidden.txt").must_be_denied(&["touch forbidden.txt"]);
    sandbox.put("railroad.yaml", "blocklist:\n  - touch other.txt\n");
    until("the corrected rules hold", || one.pre("Bash", &json!({"command": "touch other.txt"})).denied());
    one.prompt("go on");
    one.shell("touch forbidden.txt").must_pass();
}

#[test]
fn secrets_are_not_read_by_any_tool() {
    let sandbox = Sandbox::new();
    sandbox.put(".env", "TOKEN=hush\n");
    sandbox.put("deploy/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let calls = [
        ("Read", json!({"file_path": ".env"})),
        ("Read", json!({"file_path": "deploy/id_ed25519"})),
        ("Bash", json!({"command": "cat .env"})),
        ("Bash", json!({"command": "sh -c 'head -1 deploy/id_ed25519 | base64'"})),
        ("Bash", json!({"command": "cp .env plain.txt"})),
    ];
    for (tool, input) in calls {
        let said = one.tool(tool, &input);
        said.must_be_denied(&["Refused in every session"]);
        assert!(!said.output.contains("hush"), "{said:?}");
        one.prompt("go on");
    }
    assert!(!sandbox.repo.join("plain.txt").exists());
    sandbox.put(".env.example", "TOKEN=\n");
    one.read(".env.example").must_pass();
}

#[test]
fn what_is_outside_of_the_repository_is_not_written_but_a_temporary_file_is() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let outside = "/var/lib/not-of-this-repository.txt";
    for (tool, input) in [
        ("Write", json!({"file_path": outside, "content": "x"})),
        ("Bash", json!({"command": format!("echo x > {outside}")})),
        ("Bash", json!({"command": format!("cd / && tee {outside} </dev/null")})),
        ("Bash", json!({"command": format!("cp README.md {outside}")})),
    ] {
        one.pre(tool, &input).must_be_denied(&["outside"]);
        one.prompt("go on");
    }
    let temporary = tempfile::tempdir().expect("a folder");
    let file = temporary.path().join("scratch.txt");
    one.shell(&format!("echo scratch > {}", file.display())).must_pass();
    assert_eq!(std::fs::read_to_string(file).expect("written"), "scratch\n");
}

#[test]
fn an_agent_does_not_change_the_rules_that_hold_for_it() {
    let sandbox = Sandbox::new();
    let rules = "blocklist:\n  - touch forbidden.txt\n";
    sandbox.commit(&[("railroad.yaml", rules)]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let rrctl = rrctl_program();
    let journal = sandbox.state.join("journal");
    for (tool, input) in [
        ("Write", json!({"file_path": "railroad.yaml", "content": ""})),
        ("Bash", json!({"command": "sed -i d railroad.yaml"})),
        ("Bash", json!({"command": "git rm -f railroad.yaml"})),
        ("Bash", json!({"command": format!("rm -r {}", journal.display())})),
        ("Bash", json!({"command": format!("{} down", rrctl.display())})),
    ] {
        let said = one.pre(tool, &input);
        assert!(said.denied(), "{tool} {input}: {said:?}");
        one.prompt("go on");
    }
    assert_eq!(sandbox.text("railroad.yaml"), rules);
    assert!(journal.exists());
}

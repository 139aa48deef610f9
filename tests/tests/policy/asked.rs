//! Approvals: a call that a person has to say yes to. It waits, the agent goes on with other work and is told; a yes is good for
//! one such call, a no stays. The clock of it all, expiry too, is `rr_fleet`'s to prove.

use rr_tests::agent::{Agent, Decision};
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, until};
use serde_json::{Value, json};

const ASKS: &str = "approve:\n  - { match: touch released.txt, because: a release goes to customers }\n";
const CALL: &str = "touch released.txt";

fn waiting(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["approvals"])["approvals"].as_array().cloned().expect("a list")
}

/// Makes the call that has to be asked for, and answers the request's id.
#[track_caller]
fn asks(sandbox: &Sandbox, agent: &mut Agent, command: &str) -> String {
    let said = agent.shell(command);
    said.must_be_denied(&["A person has to approve this first", "Go on with other work"]);
    let row = waiting(sandbox).into_iter().find(|row| row["command"] == command).expect("it waits");
    row["id"].as_str().expect("an id").to_owned()
}

/// What the agent is told until it is this.
#[track_caller]
fn hears(agent: &mut Agent, words: &[&str]) {
    let mut heard = String::new();
    until("the agent is told", || {
        let said: Decision = agent.read("README.md");
        heard += &said.context;
        words.iter().all(|word| heard.contains(word))
    });
}

#[test]
fn an_approved_call_passes_once_and_only_once_and_other_work_goes_on_meanwhile() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", ASKS)]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let id = asks(&sandbox, &mut one, CALL);
    let row = waiting(&sandbox)[0].clone();
    assert_eq!((&row["agent"], &row["tool"], &row["state"]), (&json!("claude"), &json!("Bash"), &json!("waiting")));
    assert_eq!(row["folder"], json!(sandbox.repo), "{row}");
    assert_eq!(row["because"], "a release goes to customers");
    one.write("other.txt", "work\n").must_pass();
    assert_eq!(asks(&sandbox, &mut one, CALL), id, "asked again it is the same request");
    assert_eq!(waiting(&sandbox).len(), 1);
    assert_eq!(sandbox.json(&["approve", &id])["decided"], "approved");
    hears(&mut one, &["was approved by", "make the same call again"]);
    // Neither another session's call nor another call of this one.
    two.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    one.shell("touch released.txt and.more.txt").must_be_denied(&["A person has to approve this first"]);
    assert!(!sandbox.repo.join("released.txt").exists());
    one.shell(CALL).must_pass();
    assert!(sandbox.repo.join("released.txt").exists());
    one.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    let log = sandbox.json(&["log", "--kind", "approval"]);
    let steps: Vec<_> = log["entries"].as_array().expect("entries").iter().map(|e| e["outcome"].clone()).collect();
    for step in ["asked", "approved", "used"] {
        assert!(steps.contains(&json!(step)), "{step}: {log}");
    }
}

#[test]
fn a_call_that_is_refused_for_another_reason_does_not_use_its_approval_up() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", ASKS)]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let id = asks(&sandbox, &mut one, CALL);
    two.write("released.txt", "held\n").must_pass();
    assert_eq!(sandbox.json(&["approve", &id])["decided"], "approved");
    one.shell(CALL).must_be_denied(&["released.txt"]);
    two.stop();
    one.read("released.txt");
    one.shell(CALL).must_pass();
}

#[test]
fn a_rejected_call_is_told_with_the_reason_and_stays_rejected() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", ASKS)]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let id = asks(&sandbox, &mut one, CALL);
    assert_eq!(sandbox.json(&["reject", &id, "--reason", "not before the audit"])["decided"], "rejected");
    hears(&mut one, &["was rejected by", "not before the audit"]);
    one.shell(CALL).must_be_denied(&["was rejected by", "not before the audit"]);
    let late = sandbox.rrctl(&["approve", &id]);
    assert!(!late.status.success(), "{late:?}");
    one.shell(CALL).must_be_denied(&["not before the audit"]);
    assert!(!sandbox.repo.join("released.txt").exists());
}

#[test]
fn what_nobody_answers_is_over_on_record_and_its_agent_is_told_at_its_next_call() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", &format!("approvals: {{ expire: 5s }}\n{ASKS}"))]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let steps = || {
        let log = sandbox.json(&["log", "--kind", "approval"]);
        let entries = log["entries"].as_array().cloned().expect("entries");
        let word = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
        entries.iter().map(|e| (word(e, "outcome"), word(e, "id"), word(e, "reason"))).collect::<Vec<_>>()
    };
    one.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    until("it is over", || steps().iter().any(|(step, ..)| step == "expired"));
    let id = steps()[0].1.clone();
    assert_eq!(steps()[1], ("expired".to_owned(), id.clone(), "nobody answered in time".to_owned()));
    assert!(waiting(&sandbox).is_empty());
    let all = sandbox.json(&["approvals", "--all"]);
    assert_eq!((&all["approvals"][0]["id"], &all["approvals"][0]["state"]), (&json!(id), &json!("expired")), "{all}");
    let late = sandbox.rrctl(&["approve", &id]);
    assert_eq!(late.status.code(), Some(4), "{late:?}");
    hears(&mut one, &[&id[..8], "run out without an answer", "means no"]);
    one.shell(CALL).must_be_denied(&["Nobody answered in time"]);
    one.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    until("a person is asked anew", || steps().iter().any(|(step, other, _)| step == "asked" && *other != id));
    let over = steps().iter().filter(|(step, other, _)| step == "expired" && *other == id).count();
    assert_eq!(over, 1, "once: {:?}", steps());
}

#[test]
fn what_is_approved_for_always_stands_in_the_rules_and_is_not_asked_again() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", ASKS)]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let id = asks(&sandbox, &mut one, CALL);
    assert_eq!(sandbox.json(&["approve", &id, "--always"])["decided"], "approved");
    let rules = sandbox.text("railroad.yaml");
    assert!(rules.contains("allow:") && rules.contains(CALL), "{rules}");
    one.shell(CALL).must_pass();
    until("no person is asked any more", || one.shell(CALL).passed());
    let mut two = Agent::start(&sandbox, "two");
    one.stop();
    two.read("released.txt");
    two.shell(CALL).must_pass();
    assert!(waiting(&sandbox).is_empty());
}

#[test]
fn what_a_call_would_change_is_shown_without_secrets_and_a_yes_is_good_for_exactly_that() {
    let sandbox = Sandbox::new();
    let rules = "approvals: { expire: 2m }\napprove:\n  - { paths: [\"deploy/**\"], tools: [Write, Bash], because: it runs in production }\n";
    sandbox.commit(&[("railroad.yaml", rules), ("deploy/app.yaml", "replicas: 2\nimage: shop\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.read("deploy/app.yaml");
    let write = |replicas: u32| {
        let content = format!("replicas: {replicas}\nimage: shop\nDB_PASSWORD=hunter2\n");
        json!({"file_path": "deploy/app.yaml", "content": content})
    };
    one.pre("Write", &write(3)).must_be_denied(&["A person has to approve this first"]);
    let row = waiting(&sandbox).remove(0);
    let diff = row["diff"].as_str().expect("a diff");
    for line in ["--- deploy/app.yaml", "-replicas: 2", "+replicas: 3", " image: shop", "+DB_PASSWORD=[redacted]"] {
        assert!(diff.lines().any(|found| found == line), "{line}: {diff}");
    }
    assert!(!diff.contains("hunter2") && row["expires_in_ms"].as_u64().is_some_and(|ms| ms <= 120_000), "{row}");
    let shown = String::from_utf8(sandbox.rrctl(&["approvals", "--diff"]).stdout).expect("text");
    assert!(shown.contains("CHANGES") && shown.contains("+2 -1") && shown.contains("    +replicas: 3"), "{shown}");

    let command = "cat > deploy/new.yaml <<'E'\nreplicas: 9\nE\n";
    one.shell(command).must_be_denied(&["A person has to approve this first"]);
    let rows = waiting(&sandbox);
    let here = rows.iter().find(|row| row["tool"] == "Bash").expect("it waits");
    assert!(here["diff"].as_str().is_some_and(|diff| diff.contains("+replicas: 9\n")), "{here}");

    let said = sandbox.rrctl(&["approve", row["id"].as_str().expect("an id")]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("    +replicas: 3"), "{said:?}");
    one.pre("Write", &write(4)).must_be_denied(&["A person has to approve this first"]);
    one.tool("Write", &write(3)).must_pass();
    assert!(sandbox.text("deploy/app.yaml").starts_with("replicas: 3\n"));
}

#[test]
fn an_agent_cannot_approve_itself() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", ASKS)]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let id = asks(&sandbox, &mut one, CALL);
    let rrctl = rrctl_program().display().to_string();
    for command in [
        format!("{rrctl} approve {id}"),
        format!("env -u RAILROAD_SESSION -u CLAUDE_CODE_SESSION_ID {rrctl} approve {id}"),
        format!("sh -c 'unset RAILROAD_SESSION CLAUDE_CODE_SESSION_ID; {rrctl} approve {id}'"),
    ] {
        let said = one.shell(&command);
        assert!(said.denied() || said.ok == Some(false), "{command}: {said:?}");
        assert_eq!(waiting(&sandbox)[0]["state"], "waiting", "{command}");
        one.prompt("go on");
    }
    one.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    assert!(!sandbox.repo.join("released.txt").exists());
}

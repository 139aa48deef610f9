//! Tools and events that nobody has heard of: what they name is guarded like a write, what they change without a word is found
//! afterwards, and nothing is ever allowed on the user's behalf.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::{Value, json};

use super::support::{ask, before, must_be_well};

fn two_agents(sandbox: &Sandbox) -> (Agent, Agent) {
    sandbox.commit(&[("held.txt", "1\n"), ("free.txt", "1\n")]);
    let mut one = Agent::start(sandbox, "one");
    one.edit("held.txt", "1", "2").must_pass();
    (one, Agent::start(sandbox, "two"))
}

#[test]
fn an_unknown_tool_that_names_a_held_file_is_denied() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (_one, mut two) = two_agents(&sandbox);
    let absolute = sandbox.repo.join("held.txt");
    let uri = format!("file://{}", absolute.display());
    let names: [Value; 9] = [
        json!({"file_path": "held.txt"}),
        json!({"path": "held.txt"}),
        json!({"path": absolute}),
        json!({"uri": uri}),
        json!({"FilePath": "HELD.TXT"}),
        json!({"paths": ["free.txt", "held.txt"]}),
        json!({"edits": [{"target": "held.txt", "text": "x"}]}),
        json!({"a": {"b": {"destination": "./x/../held.txt"}}}),
        json!({"source": "held.txt", "note": 7}),
    ];
    for (n, input) in names.iter().enumerate() {
        for tool in ["BrandNewTool", "mcp__files__put", "write", "Edit2"] {
            // A prompt between them: who is refused too often is stopped, which is another story.
            two.prompt(&format!("task {n} {tool}"));
            two.pre(tool, input).must_be_denied(&["by session", "Other files are free to work on meanwhile"]);
        }
    }
    assert_eq!(sandbox.text("held.txt"), "2\n");
    assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"));
}

#[test]
fn an_unknown_tool_that_names_a_free_file_holds_it() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (_one, mut two) = two_agents(&sandbox);
    two.pre("BrandNewTool", &json!({"path": "free.txt"})).must_pass();
    assert_eq!(sandbox.holder("free.txt").as_deref(), Some("two"));
}

#[test]
fn what_an_unknown_tool_changes_without_naming_it_is_found_afterwards() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = two_agents(&sandbox);
    let call = two.pre("BrandNewTool", &json!({"do": "something"})).must_pass();
    sandbox.put("held.txt", "3\n");
    sandbox.put("fresh.txt", "3\n");
    two.act(&call.id);
    let told = two.post(&call.id).context;
    assert!(told.contains("held.txt while it was held by session"), "{told}");
    assert!(told.contains("also changed fresh.txt"), "{told}");
    assert_eq!(sandbox.holder("fresh.txt").as_deref(), Some("two"), "counted as its own");
    let told = one.read("free.txt").context;
    assert!(told.contains("held.txt, which you hold, was changed by a command of session"), "{told}");
    one.edit("held.txt", "3", "4").must_be_denied(&["held.txt"]);
}

#[test]
fn the_guards_own_files_are_closed_to_unknown_tools_too() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    for path in [".claude/settings.json", ".claude/settings.local.json", ".railroad/STOP", ".Claude/Settings.JSON"] {
        one.prompt(path);
        one.pre("BrandNewTool", &json!({"path": path})).must_be_denied(&["belongs to the guard"]);
        one.write(path, "{}").must_be_denied(&["belongs to the guard"]);
        assert!(!sandbox.repo.join(path).exists(), "{path}");
    }
}

#[test]
fn an_event_that_nobody_knows_is_silent_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, _two) = two_agents(&sandbox);
    for name in ["PermissionRequest", "TheYearAfterNext", "pretooluse", ""] {
        let mut event = before(&sandbox, "Write", &json!({"file_path": sandbox.repo.join("held.txt")}));
        event["hook_event_name"] = json!(name);
        let said = ask(&sandbox, event.to_string().as_bytes());
        assert!(said.exit == Some(0) && said.stdout.is_empty(), "{name}: {}", said.shown());
    }
    assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"));
    one.edit("held.txt", "2", "3").must_pass();
    must_be_well(&sandbox);
}

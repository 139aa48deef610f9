//! Scopes: where a session may write, who is asked for the rest, and that a session without one is told so.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

const SCOPES: &str = "\
scopes:
  one:
    may: [src/one/**, src/types.ts]
    create_only: [migrations/**]
    read_only: [src/one/generated/**]
    owner: two
  two: { may: [src/two/**, src/types.ts] }
";

#[test]
fn a_change_out_of_scope_is_refused_by_every_route_and_its_owner_is_named_and_told() {
    let sandbox = Sandbox::new();
    let files = [("src/two/b.ts", "b\n"), ("src/one/generated/g.ts", "g\n"), ("migrations/1.sql", "1\n")];
    sandbox.commit(&[&files[..], &[("railroad.yaml", SCOPES)]].concat());
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.read("src/two/b.ts").must_pass();
    for (tool, input) in [
        ("Write", json!({"file_path": "src/two/b.ts", "content": "mine\n"})),
        ("Bash", json!({"command": "sed -i s/b/mine/ src/two/b.ts"})),
        ("Bash", json!({"command": "bash -c 'cd src/two && echo mine > b.ts'"})),
        ("Bash", json!({"command": "rm -r src/two"})),
    ] {
        let said = one.pre(tool, &input);
        said.must_be_denied(&["outside of this session's scope `one`", "Its owner is two", "Nothing was changed"]);
        one.prompt("go on");
    }
    let heard = two.prompt("what is new?").context;
    assert!(heard.contains("wanted to change src/two/b.ts") && heard.contains("in your scope"), "{heard}");
    assert_eq!(sandbox.text("src/two/b.ts"), "b\n");
    one.write("src/one/a.ts", "a\n").must_pass();
    one.write("src/types.ts", "t\n").must_pass();
    one.write("migrations/2.sql", "2\n").must_pass();
    one.write("migrations/1.sql", "2\n").must_be_denied(&["only creates new files"]);
    one.write("src/one/generated/g.ts", "h\n").must_be_denied(&["only reads it"]);
    two.write("src/two/b.ts", "two\n").must_pass();
}

#[test]
fn a_link_does_not_lead_out_of_a_scope() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("src/two/b.ts", "b\n"), ("src/one/a.ts", "a\n"), ("railroad.yaml", SCOPES)]);
    std::os::unix::fs::symlink("../two/b.ts", sandbox.repo.join("src/one/link.ts")).expect("link");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.read("src/one/link.ts").must_pass();
    let said = one.write("src/one/link.ts", "mine\n");
    assert!(said.denied(), "{said:?}");
    one.prompt("go on");
    let said = one.shell("echo mine > src/one/link.ts");
    assert!(said.denied(), "{said:?}");
    assert_eq!(sandbox.text("src/two/b.ts"), "b\n");
}

#[test]
fn each_session_is_told_its_scope_and_one_without_a_scope_is_told_that() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", SCOPES)]);
    let _daemon = Daemon::start(&sandbox);
    let told = |name: &str| {
        let mut agent = Agent::silent(&sandbox, name, &sandbox.repo, &[]);
        let said = agent.event("SessionStart", &json!({"source": "startup"})).context;
        (agent, said)
    };
    let (_one, said) = told("one");
    assert!(said.contains("You may write within the scope one only"), "{said}");
    let (mut three, said) = told("three");
    assert!(said.contains("This repository has scopes, and none is for this session"), "{said}");
    three.write("anywhere.txt", "x\n").must_pass();
}

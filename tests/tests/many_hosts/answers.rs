//! What a person does on one host about an agent on another: approving its call, taking its changes back; and that a host which
//! cannot be asked is named.

use rr_tests::daemon::until;
use rr_tests::hosts::{Apart, Direction};

use super::stage::{Fleet, quick};

const CALL: &str = "touch released.txt";

pub(crate) fn a_call_is_approved_and_a_session_rolled_back_from_other_hosts_and_a_silent_host_is_named(apart: Apart) {
    let fleet = Fleet::new(apart, 3, quick());
    let (first, second, third) = (fleet.host(0), fleet.host(1), fleet.host(2));
    first.put("railroad.yaml", "approve:\n  - touch released.txt\n");
    let mut agent = fleet.agent(0, "worker");
    agent.shell(CALL).must_be_denied(&["A person has to approve this first"]);
    let asked = second.json(&["approvals"])["approvals"][0].clone();
    assert_eq!((asked["command"].as_str(), asked["host"].as_str()), (Some(CALL), Some(first.name().as_str())));
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(second.json(&["approve", id])["decided"], "approved");
    let mut heard = String::new();
    until("the agent on the other host is told", || {
        heard += &agent.read("README.md").context;
        heard.contains("was approved by")
    });
    agent.shell(CALL).must_pass();
    agent.shell(CALL).must_be_denied(&["A person has to approve this first"]);

    agent.write("src/a.ts", "worker\n").must_pass();
    agent.stop();
    third.put("src/a.ts", "of the third host's own clone\n");
    let told = third.json(&["rollback", "--session", "worker"]);
    assert_eq!(told["calls"], 2, "{told}");
    assert!(!first.repo.join("src/a.ts").exists() && !first.repo.join("released.txt").exists(), "{told}");
    assert_eq!(third.text("src/a.ts"), "of the third host's own clone\n");
    let undo = told["session"].as_str().expect("the rollback's own session").to_owned();
    assert!(second.json(&["rollback", "--session", &undo])["files"].is_array());
    assert_eq!(first.text("src/a.ts"), "worker\n", "undone from a third place");

    first.cut(Direction::Both);
    for session in ["worker", undo.as_str()] {
        let failed = second.rrctl(&["rollback", "--session", session]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && said.contains(&first.name()), "{said}");
    }
    assert_eq!(first.text("src/a.ts"), "worker\n");
}

//! The tools of the stories themselves: a machine in a folder, a daemon that can be killed and started again, agents that
//! do what they are told and nothing that was denied. The stories build on them.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};

#[test]
fn a_second_writer_is_held_back_until_the_first_has_ended_its_turn() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");

    one.write("src/a.ts", "1\n").must_pass();
    assert_eq!(sandbox.holder("src/a.ts").as_deref(), Some("one"));
    two.write("src/a.ts", "2\n").must_be_denied(&["src/a.ts", "is being edited by session"]);
    assert_eq!(sandbox.text("src/a.ts"), "1\n", "what is denied is not written");
    two.write("src/b.ts", "2\n").must_pass();

    one.stop();
    until("the lock has gone to the one who waited", || sandbox.holder("src/a.ts").as_deref() == Some("two"));
    two.read("src/a.ts").must_pass();
    two.write("src/a.ts", "2\n").must_pass();
    assert_eq!(sandbox.text("src/a.ts"), "2\n");
    one.session_end();
    two.session_end();
    until("nothing is left", || sandbox.locks().is_empty() && sandbox.sessions().is_empty());
}

#[test]
fn an_agent_that_is_killed_leaves_no_lock() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");
    one.shell("echo 1 > a.txt").must_pass();
    two.edit("a.txt", "1", "2").must_be_denied(&["a.txt"]);
    one.kill9();
    until("its lock has gone to the one who waited", || sandbox.holder("a.txt").as_deref() == Some("two"));
    two.read("a.txt").must_pass();
    two.edit("a.txt", "1", "2").must_pass();
    assert_eq!(sandbox.text("a.txt"), "2\n");
}

#[test]
fn a_daemon_that_is_killed_is_back_with_its_locks() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    daemon.kill9();
    one.write("b.txt", "1\n").must_be_denied(&["rrctl up"]);
    daemon.restart();
    until("the session is taken over", || sandbox.holder("a.txt").as_deref() == Some("one"));
    let mut two = Agent::start(&sandbox, "two");
    two.write("a.txt", "2\n").must_be_denied(&["a.txt"]);
    one.write("b.txt", "1\n").must_pass();
    daemon.stop();
    assert_eq!(sandbox.daemon_pid(), None);
}

#[test]
fn a_hook_starts_the_daemon_where_none_runs() {
    let sandbox = Sandbox::new();
    let mut one = Agent::start_with_own_daemon(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    assert!(sandbox.daemon_pid().is_some());
    assert_eq!(sandbox.sessions().len(), 1);
}

#[test]
fn a_call_can_be_stopped_between_its_steps() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.prompt("write it").must_pass();
    let call = one.pre("Write", &serde_json::json!({"file_path": "a.txt", "content": "1"})).must_pass();
    assert_eq!(sandbox.text("a.txt"), "");
    assert_eq!(one.act(&call.id).ok, Some(true));
    assert_eq!(sandbox.text("a.txt"), "1");
    one.post(&call.id).must_pass();
}

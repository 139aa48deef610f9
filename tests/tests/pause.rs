//! Story: a pause. One command stops every session at its next call, shows how far each has followed, survives restarts, and is
//! lifted only by name.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

fn pause_of(sandbox: &Sandbox, name: &str) -> String {
    let rows = sandbox.sessions();
    let row = rows.iter().find(|s| s["agent_session"] == name).cloned().unwrap_or(Value::Null);
    row["pause"].as_str().unwrap_or_default().to_owned()
}

fn paused(sandbox: &Sandbox, words: &[&str]) -> u64 {
    let said = sandbox.json(&[&["pause-all", "--reason", "story"], words].concat());
    said["epoch"].as_u64().expect("an epoch")
}

#[test]
fn every_session_is_denied_every_tool_until_resumed_by_name() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    let epoch = paused(&sandbox, &[]);
    let named = format!("epoch {epoch}");
    one.write("a.txt", "2\n").must_be_denied(&["paused", &named, "story", "rrctl resume"]);
    two.shell("echo x > b.txt").must_be_denied(&["paused"]);
    two.read("README.md").must_be_denied(&["paused"]);
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"), "locks stay");
    let wrong = (epoch - 1).to_string();
    assert_eq!(sandbox.rrctl(&["resume", "--epoch", &wrong]).status.code(), Some(4));
    one.write("a.txt", "2\n").must_be_denied(&["paused"]);
    assert!(sandbox.rrctl(&["resume", "--epoch", &epoch.to_string()]).status.success());
    until("it goes on", || one.write("a.txt", "2\n").passed());
    assert_eq!(sandbox.text("a.txt"), "2\n");
}

#[test]
fn a_call_under_way_is_seen_and_then_drained() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, _two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let file = sandbox.repo.join("a.txt");
    let call = one.pre("Write", &json!({"file_path": file, "content": "1"})).must_pass();
    paused(&sandbox, &[]);
    until("the idle one has drained", || pause_of(&sandbox, "two") == "drained");
    assert_eq!(pause_of(&sandbox, "one"), "seen");
    one.act(&call.id);
    one.post(&call.id).must_pass();
    until("drained", || pause_of(&sandbox, "one") == "drained");
}

#[test]
fn a_hard_pause_also_stops_what_runs_and_a_resume_lets_it_go_on() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let run =
        one.pre("Bash", &json!({"command": "while [ ! -e stop ]; do echo x >> ticks; sleep 0.02; done"})).must_pass();
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| one.act(&run.id));
        let ticks = || sandbox.text("ticks").len();
        until("it ticks", || ticks() > 4);
        let epoch = paused(&sandbox, &["--hard"]);
        let mut last = ticks();
        // Frozen: a whole second without a tick, where fifty would have come.
        until("it stands still", || {
            std::thread::sleep(std::time::Duration::from_secs(1));
            std::mem::replace(&mut last, ticks()) == ticks()
        });
        let still = ticks();
        assert!(sandbox.rrctl(&["resume", "--epoch", &epoch.to_string()]).status.success());
        until("it ticks again", || ticks() > still + 4);
        sandbox.put("stop", "");
        assert_eq!(runner.join().expect("ends").ok, Some(true));
    });
}

#[test]
fn a_pause_survives_the_death_of_the_daemon_and_works_without_one() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let epoch = paused(&sandbox, &[]);
    daemon.kill9();
    daemon.restart();
    one.write("a.txt", "1\n").must_be_denied(&["paused"]);
    assert!(sandbox.rrctl(&["resume", "--epoch", &epoch.to_string()]).status.success());
    until("it goes on", || one.write("a.txt", "1\n").passed());
    daemon.stop();
    let epoch = paused(&sandbox, &[]);
    daemon.restart();
    one.write("a.txt", "2\n").must_be_denied(&["paused"]);
    assert!(sandbox.rrctl(&["resume", "--epoch", &epoch.to_string()]).status.success());
    until("it goes on", || one.read("a.txt").passed() && one.write("a.txt", "2\n").passed());
}

#[test]
fn a_stop_file_stops_the_agents_of_its_repository_before_each_action() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    sandbox.put(".railroad/STOP", "");
    one.write("a.txt", "2\n").must_be_denied(&[".railroad/STOP"]);
    one.read("a.txt").must_be_denied(&[".railroad/STOP"]);
    std::fs::remove_file(sandbox.repo.join(".railroad/STOP")).expect("remove");
    one.write("a.txt", "2\n").must_pass();
}

#[test]
fn two_reasons_to_pause_are_both_kept_and_shown() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let first = paused(&sandbox, &[]);
    let second = sandbox.json(&["pause-all", "--reason", "another"]);
    assert_eq!((second["epoch"].as_u64(), &second["already"]), (Some(first), &json!(true)));
    until("both are told", || {
        let said = one.read("README.md");
        said.reason.is_some_and(|r| r.contains("story") && r.contains("another"))
    });
}

#[test]
fn the_daemon_listens_on_no_network_address() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let _one = Agent::start(&sandbox, "one");
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .expect("its descriptors")
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|l| Some(l.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{}/net/{table}", daemon.pid())).unwrap_or_default();
        let open = text
            .lines()
            .skip(1)
            .filter_map(|l| l.split_whitespace().nth(9))
            .find(|inode| sockets.iter().any(|s| s == inode));
        assert_eq!(open, None, "an open {table} socket");
    }
}

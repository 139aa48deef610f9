//! Story: a lock. Who gets it, how long it lasts, how it is lost, and what the next one learns. Real processes throughout.

use std::process::Command;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, signal, until};
use rustix::process::Signal;
use serde_json::json;

fn passes_once_read(agent: &mut Agent, file: &str, text: &str) {
    agent.read(file).must_pass();
    agent.write(file, text).must_pass();
}

#[test]
fn acquired_held_back_released_acquired() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("a.txt", "2\n").must_be_denied(&["is being edited by session"]);
    one.stop();
    until("it is kept for the one who waited", || sandbox.holder("a.txt").as_deref() == Some("two"));
    let told = two.read("a.txt");
    assert!(told.context.contains("a.txt is free and kept for you"), "{}", told.context);
    two.write("a.txt", "2\n").must_pass();
    assert_eq!(sandbox.text("a.txt"), "2\n");
}

#[test]
fn those_who_wait_are_served_in_their_order_and_the_holder_is_told_of_them() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut holder = Agent::start(&sandbox, "holder");
    holder.write("a.txt", "0\n").must_pass();
    let mut waiters: Vec<Agent> = ["w1", "w2", "w3"].iter().map(|n| Agent::start(&sandbox, n)).collect();
    for (place, waiter) in waiters.iter_mut().enumerate() {
        let said = waiter.write("a.txt", "x\n");
        let words =
            if place == 0 { "You are next in line".to_owned() } else { format!("{place} other session(s) are ahead") };
        said.must_be_denied(&[&words]);
    }
    until("the holder is told", || holder.shell("true").context.contains("is waiting for a.txt"));
    holder.stop();
    for waiter in &mut waiters {
        let name = waiter.name().to_owned();
        until("next in line", || sandbox.holder("a.txt").as_deref() == Some(name.as_str()));
        passes_once_read(waiter, "a.txt", &name);
        waiter.stop();
    }
    until("nothing is left", || sandbox.locks().is_empty());
}

#[test]
fn a_commit_of_the_file_gives_it_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n"), ("b.txt", "1\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.edit("a.txt", "1", "2").must_pass();
    one.edit("b.txt", "1", "2").must_pass();
    one.shell("git commit -qm a a.txt").must_pass();
    assert_eq!(sandbox.holder("a.txt"), None);
    assert_eq!(sandbox.holder("b.txt").as_deref(), Some("one"), "not committed, not given back");
}

#[test]
fn a_lock_not_touched_for_long_is_given_back() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "locks: { idle_release: 1s }\n")]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    until("idle long enough", || sandbox.holder("a.txt").is_none());
    one.write("a.txt", "2\n").must_pass();
}

#[test]
fn a_killed_agent_leaves_no_lock_and_the_next_holder_is_told_to_look() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "half").must_pass();
    one.kill9();
    until("freed by itself", || sandbox.holder("a.txt").is_none());
    assert_eq!(sandbox.sessions().len(), 1);
    let said = two.write("a.txt", "whole\n").must_pass();
    assert!(said.context.contains("ended without giving it back"), "{}", said.context);
}

#[test]
fn locks_of_a_dead_agent_stay_until_what_it_started_is_gone() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let run = one.pre("Bash", &json!({"command": "echo x > a.txt; sleep 300"})).must_pass();
    // The agent's shell tool runs on while the agent is killed: its order is written, the answer never read.
    let pid = one.pid();
    let runner = std::thread::spawn(move || {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one.act(&run.id)));
        one
    });
    until("the command runs", || sandbox.text("a.txt") == "x\n");
    signal(pid, Signal::KILL);
    let _one = runner.join().expect("the steering thread");
    let warning = |w: &str| sandbox.sessions().iter().any(|s| s["warning"].as_str().is_some_and(|t| t.contains(w)));
    until("the survivor is named", || warning("still running"));
    two.write("a.txt", "y\n").must_be_denied(&["a.txt is being edited by session"]);
    let found = Command::new("pgrep").args(["-f", "^sleep 300$"]).output().expect("pgrep");
    for survivor in String::from_utf8_lossy(&found.stdout)
        .lines()
        .filter_map(|l| l.parse().ok())
        .filter(|p| started_here(*p, &sandbox))
    {
        signal(survivor, Signal::KILL);
    }
    until("freed", || sandbox.holder("a.txt").as_deref() != Some("one") && !warning("still running"));
}

fn started_here(pid: u32, sandbox: &Sandbox) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == sandbox.repo)
}

#[test]
fn locks_outlast_a_turn_while_a_command_of_it_still_writes() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    let command = "(while [ ! -e ../end ]; do echo x >> a.txt; sleep 0.02; done) > /dev/null 2>&1 & echo started";
    one.shell(command).must_pass();
    one.stop();
    two.write("a.txt", "y\n").must_be_denied(&["a.txt is being edited by session"]);
    one.session_end();
    two.write("a.txt", "y\n").must_be_denied(&["a.txt"]);
    std::fs::write(sandbox.path().join("end"), "").expect("end it");
    until("given on once the command is gone", || sandbox.holder("a.txt").as_deref() == Some("two"));
    passes_once_read(&mut two, "a.txt", "y\n");
    assert_eq!(sandbox.text("a.txt"), "y\n", "nobody wrote behind its back");
}

#[test]
fn a_lock_taken_away_is_told_to_its_holder_before_it_writes_again() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    assert!(!sandbox.rrctl(&["release", "a.txt", "--force"]).status.success(), "a reason is required");
    assert!(sandbox.rrctl(&["release", "a.txt", "--force", "--reason", "urgent"]).status.success());
    let said = two.write("a.txt", "2\n");
    // Its last holder may still be writing: it rests first.
    said.must_be_denied(&["ended without giving it back", "can be used in"]);
    one.write("a.txt", "3\n").must_be_denied(&["Your lock on a.txt was lost", "read it again"]);
    one.write("a.txt", "3\n").must_be_denied(&["a.txt is being edited by session"]);
    assert_eq!(sandbox.text("a.txt"), "1\n");
    until("rested", || two.write("a.txt", "2\n").passed());
}

#[test]
fn a_killed_daemon_comes_back_with_every_lock_and_forgets_no_waiter_for_long() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    for _ in 0..5 {
        daemon.kill9();
        daemon.restart();
        assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
        two.write("a.txt", "2\n").must_be_denied(&["a.txt"]);
        passes_once_read(&mut one, "a.txt", "1\n");
    }
    one.stop();
    until("given on", || two.read("a.txt").passed() && two.write("a.txt", "2\n").passed());
}

#[test]
fn what_was_read_before_a_daemon_was_killed_is_not_written_back_over_newer_work() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "0\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");
    let old = one.read("a.txt").must_pass().output;
    daemon.kill9();
    daemon.restart();
    two.read("a.txt").must_pass();
    two.write("a.txt", "0\ntwo\n").must_pass();
    two.stop();
    one.write("a.txt", &format!("{old}one\n")).must_be_denied(&["a.txt", "read"]);
    one.read("a.txt").must_pass();
    one.write("a.txt", "0\ntwo\none\n").must_pass();
    // Nor by a command.
    sandbox.commit(&[("b.txt", "0\n")]);
    one.read("b.txt").must_pass();
    daemon.kill9();
    daemon.restart();
    two.shell("echo two >> b.txt").must_be_denied(&["b.txt", "Read the file again"]);
    two.shell("echo two >> b.txt").must_pass();
    two.stop();
    one.shell("printf '0\\none\\n' > b.txt").must_be_denied(&["b.txt", "ead the file again"]);
    assert_eq!(sandbox.text("b.txt"), "0\ntwo\n");
}

#[test]
fn one_file_has_one_writer_over_all_work_trees_and_the_next_learns_what_changed() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("a.txt", "1\n")]);
    let tree = sandbox.path().join("tree");
    sandbox.git(&["worktree", "add", "-q", "-b", "topic", tree.to_str().expect("text")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start_in(&sandbox, "two", &tree));
    one.edit("a.txt", "1", "2\nand more").must_pass();
    two.edit("a.txt", "1", "3").must_be_denied(&["a.txt is being edited by session"]);
    one.stop();
    until("granted", || sandbox.holder("a.txt").as_deref() == Some("two"));
    let said = two.edit("a.txt", "1", "3").must_pass();
    assert!(said.context.contains("was last changed by session"), "{}", said.context);
    assert!(
        said.context.contains("on branch main in another work tree") && said.context.contains("+2 -1"),
        "{}",
        said.context
    );
    // HEAD and index are each work tree's own.
    two.shell("git commit -qam three").must_pass();
    one.shell("git commit -qam two").must_pass();
}

#[test]
fn a_team_that_only_wants_to_be_told_is_only_told() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("railroad.yaml", "locks: { across_worktrees: warn }\n"), ("a.txt", "1\n")]);
    let tree = sandbox.path().join("tree");
    sandbox.git(&["worktree", "add", "-q", "-b", "topic", tree.to_str().expect("text")]);
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start_in(&sandbox, "two", &tree));
    one.edit("a.txt", "1", "2").must_pass();
    let said = two.edit("a.txt", "1", "3").must_pass();
    assert!(said.context.contains("also being edited by session"), "{}", said.context);
    let mut beside = Agent::start(&sandbox, "beside");
    beside.edit("a.txt", "2", "4").must_be_denied(&["a.txt is being edited by session"]);
}

#[test]
fn the_table_of_locks_has_lock_session_pid_age_and_host() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("src/a.ts", "1\n").must_pass();
    let table = String::from_utf8(sandbox.rrctl(&["locks"]).stdout).expect("text");
    for word in ["LOCK", "SESSION", "PID", "AGE", "HOST", "src/a.ts", &one.pid().to_string()] {
        assert!(table.contains(word), "{word} in {table}");
    }
}

#[test]
fn a_session_that_ends_leaves_nothing() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("a.txt", "2\n").must_be_denied(&["a.txt"]);
    two.session_end();
    one.session_end();
    until("all is gone", || sandbox.sessions().is_empty() && sandbox.locks().is_empty());
    assert_eq!(sandbox.json(&["locks"])["waiters"], json!([]));
}

/// Each step of each task is let through while the same step of all others is under way: nobody waits for anybody, so that ten take
/// the time of one. How near they come to it, the bench `gate tasks` measures.
#[test]
fn ten_agents_work_on_ten_tasks_at_once_and_none_waits_for_another() {
    const AGENTS: usize = 10;
    const STEPS: usize = 3;
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut agents: Vec<Agent> = (0..AGENTS).map(|n| Agent::start(&sandbox, &format!("t{n}"))).collect();
    for step in 0..STEPS {
        let under_way: Vec<String> = agents
            .iter_mut()
            .map(|agent| {
                let file = format!("{}/{step}.txt", agent.name());
                agent.pre("Write", &json!({"file_path": file, "content": "x"})).must_pass().id
            })
            .collect();
        for agent in &agents {
            let file = format!("{}/{step}.txt", agent.name());
            assert_eq!(sandbox.holder(&file).as_deref(), Some(agent.name()), "all hold what they write, at once");
        }
        assert_eq!(sandbox.json(&["locks"])["waiters"], json!([]), "and nobody waits");
        // The first to ask is the last to be done.
        for (agent, call) in agents.iter_mut().zip(&under_way).rev() {
            agent.act(call).must_pass();
            agent.post(call);
        }
    }
    for agent in &mut agents {
        agent.stop();
    }
    let written = (0..AGENTS).flat_map(|n| (0..STEPS).map(move |step| format!("t{n}/{step}.txt")));
    assert!(written.into_iter().all(|file| sandbox.text(&file) == "x"), "every task is done");
}

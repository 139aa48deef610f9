//! The hook program itself in trouble: killed, missing, not executable, stuck, asked wrongly. What it prints and how it ends is
//! all that an agent sees of it. An agent goes on by itself where a hook dies; so the installed settings tell it to block.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Instant;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, signal, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{HOOK_MAX, before, hook_command, hook_program, must_be_well, run_hook, told, write_of};

const ALONE: [&str; 3] = ["nothing coordinates it right now", "Nothing was changed", "rrctl up"];

#[test]
fn a_daemon_that_does_not_answer_makes_the_hook_deny_within_its_budget() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let command = || hook_command(&sandbox);
    let write = write_of(&sandbox, "a.txt").to_string();
    run_hook(command(), write.as_bytes()).must_pass();
    signal(daemon.pid(), Signal::STOP);
    // The second one finds the first one's mark, and guards itself by another way.
    for _ in 0..2 {
        let said = run_hook(command(), write.as_bytes());
        said.must_deny(&ALONE);
        said.must_deny(&["did not answer in time"]);
        assert!(said.took < HOOK_MAX && said.stderr.is_empty(), "{}", said.shown());
    }
    let read = before(&sandbox, "Read", &json!({"file_path": sandbox.repo.join("README.md")}));
    let said = run_hook(command(), read.to_string().as_bytes());
    said.must_pass();
    assert!(said.context().contains("could not be asked") && said.took < HOOK_MAX, "{}", said.shown());
    let mut start = read.clone();
    start["hook_event_name"] = json!("SessionStart");
    let said = run_hook(command(), start.to_string().as_bytes());
    assert!(said.context().contains("unreachable"), "{}", said.shown());
    signal(daemon.pid(), Signal::CONT);
    until("it answers again", || run_hook(command(), write.as_bytes()).reason().is_none());
}

#[test]
fn a_full_queue_of_a_stopped_daemon_does_not_keep_the_hook_waiting() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let (first, second) = (hook_command(&sandbox), hook_command(&sandbox));
    let write = write_of(&sandbox, "a.txt").to_string();
    signal(daemon.pid(), Signal::STOP);
    // The first one that waits in vain leaves a mark, by which all others know that even connecting may not return.
    run_hook(first, write.as_bytes()).must_deny(&ALONE);
    let queue = fill_the_queue(&sandbox);
    let said = run_hook(second, write.as_bytes());
    said.must_deny(&ALONE);
    assert!(said.took < HOOK_MAX, "{}", said.shown());
    signal(daemon.pid(), Signal::CONT);
    drop(queue);
    until("it answers again", || run_hook(hook_command(&sandbox), write.as_bytes()).reason().is_none());
}

/// Connections until no more fit. A blocking one would wait for ever: so each is tried by a thread of its own.
fn fill_the_queue(sandbox: &Sandbox) -> Vec<std::os::unix::net::UnixStream> {
    let (send, connected) = std::sync::mpsc::channel();
    let socket = sandbox.runtime.join("hook.sock");
    std::thread::spawn(move || {
        while let Ok(stream) = std::os::unix::net::UnixStream::connect(&socket) {
            if send.send(stream).is_err() {
                break;
            }
        }
    });
    let pause = std::time::Duration::from_millis(300);
    std::iter::from_fn(|| connected.recv_timeout(pause).ok()).take(10_000).collect()
}

#[test]
fn a_hook_that_is_killed_says_nothing_and_the_settings_block_for_it() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let mut command = hook_command(&sandbox);
    signal(daemon.pid(), Signal::STOP);
    let start = Instant::now();
    let mut child = command.spawn().expect("the hook starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(write_of(&sandbox, "a.txt").to_string().as_bytes()).expect("written");
    drop(stdin);
    child.kill().expect("kill");
    let said = told(child.wait_with_output().expect("ended"), start.elapsed());
    assert!(said.exit.is_none() && said.stdout.is_empty(), "no half answer: {}", said.shown());
    signal(daemon.pid(), Signal::CONT);
    must_be_well(&sandbox);
    // Whether or not the daemon has taken the question: what was asked for is held by nobody else.
    let mut two = Agent::start(&sandbox, "two");
    let done = two.write("a.txt", "2\n");
    assert!(done.denied() || sandbox.holder("a.txt").as_deref() == Some("two"), "{done:?}");
}

/// The handlers that gate something in the settings that `rrctl install` wrote.
fn gates(sandbox: &Sandbox) -> Vec<Value> {
    assert!(sandbox.rrctl(&["install"]).status.success());
    let text = sandbox.text(".claude/settings.local.json");
    let settings: Value = serde_json::from_str(&text).expect("JSON");
    let groups = settings["hooks"]["PreToolUse"].as_array().cloned().expect("gates");
    groups.iter().flat_map(|g| g["hooks"].as_array().cloned().unwrap_or_default()).collect()
}

/// What an agent's shell makes of the installed command line when the program is not there, or may not be run.
#[test]
fn a_hook_that_is_missing_or_may_not_be_run_blocks_by_the_installed_settings() {
    let sandbox = Sandbox::new();
    let program = hook_program(&sandbox);
    let gates = gates(&sandbox);
    assert!(!gates.is_empty());
    for gate in &gates {
        assert_eq!(gate["onFailure"], "block", "an agent that knows the key blocks whatever becomes of the hook");
        assert!(gate["timeout"].as_u64().is_some_and(|secs| secs >= 5), "never before the hook's own refusal: {gate}");
        let line = gate["command"].as_str().expect("a command line");
        let run = || {
            let mut shell = sandbox.command("sh");
            shell.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            run_hook(shell, write_of(&sandbox, "a.txt").to_string().as_bytes())
        };
        fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).expect("chmod");
        let forbidden = run();
        assert!(forbidden.exit == Some(126) || forbidden.exit == Some(2), "{}", forbidden.shown());
        fs::remove_file(&program).expect("remove");
        let missing = run();
        assert!(missing.exit == Some(127) || missing.exit == Some(2), "{}", missing.shown());
        for said in [forbidden, missing] {
            assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{}", said.shown());
        }
        let doctor = sandbox.rrctl(&["doctor"]);
        let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.status.code() == Some(6) && found.contains("rrctl install"), "{found}");
        assert!(sandbox.rrctl(&["install"]).status.success());
    }
    assert!(program.exists(), "the repair that the doctor names works");
}

#[test]
fn a_hook_that_is_asked_wrongly_denies() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let program = hook_program(&sandbox);
    let write = write_of(&sandbox, "a.txt").to_string();
    for words in [
        &[][..],
        &["--agent"],
        &["--agent", "claude", "--on-unavailable", "alow"],
        &["--help"],
        &["--agent", "claude", "x"],
    ] {
        let mut command = sandbox.command(&program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run_hook(command, write.as_bytes()).must_deny(&["the hook's command line is wrong"]);
    }
    assert!(sandbox.locks().is_empty());
}

#[test]
fn a_hook_whose_answer_nobody_reads_blocks_by_its_exit_code() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let mut command = hook_command(&sandbox);
    command.stdout(fs::File::options().write(true).open("/dev/full").expect("a full device"));
    let said = run_hook(command, b"{");
    assert_eq!(said.exit, Some(2), "{}", said.shown());
    assert!(String::from_utf8_lossy(&said.stderr).contains("the call is blocked"), "{}", said.shown());
}

/// Nothing but the settings' command line starts it: no variable of the agent's may open the gate.
#[test]
fn no_variable_of_the_agents_environment_opens_the_gate() {
    let sandbox = Sandbox::new();
    let write = write_of(&sandbox, "a.txt").to_string();
    let long = "x".repeat(100_000);
    for (name, value) in [
        ("RAILROAD_RUNTIME_DIR", "relative"),
        ("RAILROAD_RUNTIME_DIR", "/nowhere"),
        ("RAILROAD_RUNTIME_DIR", "/tmp"),
        ("RAILROAD_ON_UNAVAILABLE", "allow"),
        ("CLAUDE_PID", "-1"),
        ("CLAUDE_PROJECT_DIR", long.as_str()),
        ("CLAUDE_CODE_SESSION_ID", "a\nagent=x"),
    ] {
        let mut command = hook_command(&sandbox);
        command.env("XDG_RUNTIME_DIR", sandbox.path().join("no")).env(name, value);
        run_hook(command, write.as_bytes()).must_deny(&ALONE[..1]);
    }
}

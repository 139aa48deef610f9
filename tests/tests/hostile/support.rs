//! Two ways to the daemon below the steered agent: the bytes on its socket, and the hook program with any input at all.
//! It owns the wire's spelling as `hook/src/wire.rs` documents it, and what an answer means to an agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Sandbox, until};
use serde_json::{Value, json};

/// The hook's own budget is 2 s, which the bench `courier` measures. This only tells a hook that ends from one that waits for ever.
pub(crate) const HOOK_MAX: Duration = Duration::from_secs(30);
const FRAME_MAX: usize = 64 << 10;

/// What came back, from the socket or from the hook program.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// `None`: no complete answer came, or a signal ended the hook.
    pub(crate) exit: Option<i32>,
    pub(crate) took: Duration,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_default()
    }

    /// Why the call is denied, in the agent's own form.
    pub(crate) fn reason(&self) -> Option<String> {
        let inner = &self.json()["hookSpecificOutput"];
        let denies = inner["permissionDecision"] == "deny" && self.exit == Some(0);
        denies.then(|| inner["permissionDecisionReason"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn context(&self) -> String {
        self.json()["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default().to_owned()
    }

    /// One line of the agent's JSON with exit 0 that denies with a reason that contains all of `words`.
    #[track_caller]
    pub(crate) fn must_deny(&self, words: &[&str]) -> String {
        let Some(reason) = self.reason() else { panic!("should have been denied: {}", self.shown()) };
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in: {reason}");
        }
        assert_eq!(self.stdout.iter().filter(|b| **b == b'\n').count(), 1, "one line: {}", self.shown());
        reason
    }

    #[track_caller]
    pub(crate) fn must_pass(&self) {
        assert!(self.exit == Some(0) && self.reason().is_none(), "should have passed: {}", self.shown());
    }

    pub(crate) fn shown(&self) -> String {
        let (out, err) = (String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr));
        format!("exit {:?} after {:.1?}, stdout {out:?}, stderr {err:?}", self.exit, self.took)
    }
}

/// A call before it is made, as Claude Code describes it.
pub(crate) fn before(sandbox: &Sandbox, tool: &str, input: &Value) -> Value {
    json!({
        "session_id": "raw", "cwd": sandbox.repo, "hook_event_name": "PreToolUse", "permission_mode": "default",
        "transcript_path": sandbox.path().join("t.jsonl"), "tool_name": tool, "tool_input": input, "tool_use_id": "toolu_1",
    })
}

pub(crate) fn write_of(sandbox: &Sandbox, file: &str) -> Value {
    before(sandbox, "Write", &json!({"file_path": sandbox.repo.join(file), "content": "x"}))
}

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short");
    [&[kind][..], &len.to_le_bytes(), payload].concat()
}

/// A whole question as the hook frames it.
pub(crate) fn question(sandbox: &Sandbox, input: &[u8]) -> Vec<u8> {
    question_of(sandbox, input, &[])
}

pub(crate) fn question_of(sandbox: &Sandbox, input: &[u8], env: &[(&str, &str)]) -> Vec<u8> {
    let mut hello = format!("version=1\nagent=claude\ncwd={0}\nenv.CLAUDE_PROJECT_DIR={0}\n", sandbox.repo.display());
    env.iter().for_each(|(name, value)| hello.push_str(&format!("env.{name}={value}\n")));
    let mut all = frame(b'H', hello.as_bytes());
    input.chunks(FRAME_MAX).for_each(|piece| all.extend(frame(b'D', piece)));
    all.extend(frame(b'E', b""));
    all
}

pub(crate) fn connect(sandbox: &Sandbox) -> UnixStream {
    let stream = UnixStream::connect(sandbox.runtime.join("hook.sock")).expect("the daemon listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set a time limit");
    stream
}

/// Sends bytes, closes that direction, and takes what comes back.
pub(crate) fn converse(sandbox: &Sandbox, bytes: &[u8]) -> Said {
    let start = Instant::now();
    let mut stream = connect(sandbox);
    // It may answer and close before it has read everything.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    said(&answer, start.elapsed())
}

pub(crate) fn said(mut answer: &[u8], took: Duration) -> Said {
    let mut said = Said { stdout: vec![], stderr: vec![], exit: None, took };
    while let [kind, a, b, c, d, rest @ ..] = answer {
        let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let (payload, rest) = rest.split_at(len.min(rest.len()));
        match kind {
            b'O' => said.stdout.extend(payload),
            b'R' => said.stderr.extend(payload),
            b'Q' => said.exit = payload.first().map(|code| i32::from(*code)),
            other => panic!("the daemon sent a frame of kind {other}"),
        }
        answer = rest;
    }
    said
}

/// Asks the daemon on its socket.
pub(crate) fn ask(sandbox: &Sandbox, input: &[u8]) -> Said {
    converse(sandbox, &question(sandbox, input))
}

/// The hook program, placed as the first agent of this machine places it.
pub(crate) fn hook_program(sandbox: &Sandbox) -> PathBuf {
    let program = sandbox.state.join("bin/rr-hook");
    if !program.exists() {
        let _placer = Agent::silent(sandbox, "placer", &sandbox.repo, &[]);
        until("the hook program is placed", || program.exists());
    }
    program
}

/// The hook as an agent runs it; its input is still to come.
pub(crate) fn hook_command(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command(hook_program(sandbox));
    command.args(["--agent", "claude"]).env("CLAUDE_PROJECT_DIR", &sandbox.repo);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a hook on this input.
#[track_caller]
pub(crate) fn run_hook(mut command: Command, input: &[u8]) -> Said {
    let start = Instant::now();
    let mut child = command.spawn().expect("the hook starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the hook ends");
    writer.join().expect("its input was written");
    told(output, start.elapsed())
}

pub(crate) fn told(output: Output, took: Duration) -> Said {
    Said { exit: output.status.code(), stdout: output.stdout, stderr: output.stderr, took }
}

/// Resident memory of a process in MiB.
pub(crate) fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a running process");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// What the daemon has logged.
pub(crate) fn log_of(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path().join("daemon.log")).unwrap_or_default()
}

/// The daemon still answers, and nothing in it has panicked.
#[track_caller]
pub(crate) fn must_be_well(sandbox: &Sandbox) {
    assert!(!log_of(sandbox).contains("panicked"), "{}", log_of(sandbox));
    ask(sandbox, write_of(sandbox, "still-well.txt").to_string().as_bytes()).must_pass();
}

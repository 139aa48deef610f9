//! This program as an agent: it starts the installed hook for each event of its one session, as Claude Code does, and takes
//! the time from before the start until the end was seen. What the figures mean is `gate`'s.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rr_tests::daemon::Sandbox;
use serde_json::{Value, json};

pub(crate) struct Hooked<'a> {
    sandbox: &'a Sandbox,
    pub(crate) program: PathBuf,
    session: String,
    calls: u64,
}

/// A call that was asked for, to be reported afterwards.
pub(crate) struct Call {
    fields: Value,
}

impl<'a> Hooked<'a> {
    /// Installs the hook and lets a session begin.
    pub(crate) fn start(sandbox: &'a Sandbox, session: &str) -> Self {
        // For its side effect alone: the hook's program lies in the state folder then.
        assert!(sandbox.rrctl(&["install"]).status.success(), "rrctl install");
        let program = sandbox.state.join("bin/rr-hook");
        let hooked = Self { sandbox, program, session: session.to_owned(), calls: 0 };
        hooked.event("SessionStart", &json!({"source": "startup"}));
        hooked
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.sandbox.repo.join(file).display().to_string()
    }

    /// The hook as the agent's settings name it.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.starts(&self.program);
        command.args(["--agent", "claude"]);
        command
    }

    /// Any program with the folder and the variables that the agent gives its hooks: a start costs more with them.
    pub(crate) fn starts(&self, program: &Path) -> Command {
        let mut command = self.sandbox.command(program);
        command.env("CLAUDE_PID", std::process::id().to_string());
        command.env("CLAUDE_CODE_SESSION_ID", &self.session).env("CLAUDE_PROJECT_DIR", &self.sandbox.repo);
        command
    }

    pub(crate) fn event(&self, name: &str, fields: &Value) {
        timed(&mut self.command(), &self.input(name, fields));
    }

    /// What the hook is given before a call.
    pub(crate) fn before(&mut self, tool: &str, input: &Value) -> (Vec<u8>, Call) {
        self.calls += 1;
        let id = format!("toolu_{:08}", self.calls);
        let call = Call { fields: json!({"tool_name": tool, "tool_input": input, "tool_use_id": id}) };
        (self.input("PreToolUse", &call.fields), call)
    }

    pub(crate) fn after(&self, call: &Call) {
        self.event("PostToolUse", &call.fields);
    }

    pub(crate) fn read(&mut self, file: &str) -> Duration {
        let input = json!({"file_path": self.path(file)});
        self.passed("Read", &input)
    }

    pub(crate) fn edit(&mut self, file: &str) -> Duration {
        let input =
            json!({"file_path": self.path(file), "old_string": "one", "new_string": "two", "replace_all": false});
        self.passed("Edit", &input)
    }

    pub(crate) fn write(&mut self, file: &str) -> Duration {
        let input = json!({"file_path": self.path(file), "content": "fn main() {}\n"});
        self.passed("Write", &input)
    }

    /// The time of the hook before a call, which passes in silence; the call is reported, too.
    fn passed(&mut self, tool: &str, input: &Value) -> Duration {
        let (asked, call) = self.before(tool, input);
        let (took, said) = timed(&mut self.command(), &asked);
        assert!(!said.contains("\"deny\""), "{tool} {input} should have passed: {said}");
        self.after(&call);
        took
    }

    fn input(&self, name: &str, fields: &Value) -> Vec<u8> {
        let repo = &self.sandbox.repo;
        let mut event = json!({
            "session_id": self.session, "cwd": repo, "hook_event_name": name, "permission_mode": "default",
            "transcript_path": "/home/u/.claude/projects/p/4fc1.jsonl",
        });
        if let (Some(event), Some(fields)) = (event.as_object_mut(), fields.as_object()) {
            event.extend(fields.clone());
        }
        event.to_string().into_bytes()
    }
}

/// Runs a program to its end with this input: the time it took as a whole, and what it printed.
pub(crate) fn timed(command: &mut Command, input: &[u8]) -> (Duration, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().expect("start a program");
    // Some of the programs do not read it.
    drop(child.stdin.take().expect("its stdin is a pipe").write_all(input));
    let output = child.wait_with_output().expect("wait for a program");
    let took = start.elapsed();
    assert!(output.status.success(), "{command:?} failed");
    (took, String::from_utf8_lossy(&output.stdout).into_owned())
}

//! An agent that a test steers call by call: a real process (`rrctl demo-agent`), the real hook, the real daemon.
//!
//! Owns the conversation with that process and what an answer means to a story. It never writes what was denied: that
//! process has the rules of Claude Code. The machine it works on is [`crate::daemon::Sandbox`].

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::daemon::{SOON, Sandbox, rrctl_program};

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Why it was denied.
    pub reason: Option<String>,
    /// What the model was told besides, before and after the call.
    pub context: String,
    /// The agent was told to stop altogether.
    pub stop: bool,
    /// The call's own id, for [`Agent::act`] and [`Agent::post`].
    pub id: String,
    /// Whether the tool did its work; `None` if it was not made.
    pub ok: Option<bool>,
    /// What the model read of the tool.
    pub output: String,
}

impl Decision {
    fn of(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Self {
            reason: (answer["decision"] == "deny").then(|| text("reason").unwrap_or_default()),
            context: text("context").unwrap_or_default(),
            stop: answer["stop"] == true,
            id: text("id").unwrap_or_default(),
            ok: answer["ok"].as_bool(),
            output: text("output").unwrap_or_default(),
        }
    }

    #[must_use]
    pub fn passed(&self) -> bool {
        self.reason.is_none()
    }

    #[must_use]
    pub fn denied(&self) -> bool {
        !self.passed()
    }

    /// The call went through and, if it was made, did its work.
    ///
    /// # Panics
    /// If not, with what was said.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn must_pass(self) -> Self {
        assert!(self.passed() && self.ok != Some(false), "should have passed: {self:?}");
        self
    }

    /// The call was denied with a reason that contains all of `words`.
    ///
    /// # Panics
    /// If not, with what was said.
    #[track_caller]
    pub fn must_be_denied(&self, words: &[&str]) -> &str {
        let Some(reason) = &self.reason else { panic!("should have been denied: {self:?}") };
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in: {reason}");
        }
        reason
    }
}

/// Why a call is denied whose answer did not come in a hook's time.
const TOO_LATE: &str = "the sidecar did not answer in time";
/// A sidecar that is late so often is stuck.
const ASKS_AGAIN_MAX: u32 = 3;

/// One agent; killed when dropped.
pub struct Agent {
    name: String,
    folder: PathBuf,
    /// Files it has seen: the real program's tools refuse to change a file that was not read.
    known: BTreeSet<PathBuf>,
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    asks_again_max: u32,
}

impl Agent {
    /// Starts one in the sandbox's repository and lets it begin its session.
    ///
    /// # Panics
    /// If it does not start; so below, if it does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(sandbox: &Sandbox, name: &str) -> Self {
        Self::start_in(sandbox, name, &sandbox.repo)
    }

    /// The same in another folder, as a work tree.
    #[track_caller]
    #[must_use]
    pub fn start_in(sandbox: &Sandbox, name: &str, folder: &Path) -> Self {
        let mut agent = Self::silent(sandbox, name, folder, &[]);
        agent.event("SessionStart", &json!({"source": "startup"}));
        agent
    }

    /// One whose hook starts the daemon if none runs, as an installed hook does.
    #[track_caller]
    #[must_use]
    pub fn start_with_own_daemon(sandbox: &Sandbox, name: &str) -> Self {
        let mut agent = Self::silent(sandbox, name, &sandbox.repo, &["--starts-daemon"]);
        agent.event("SessionStart", &json!({"source": "startup"}));
        agent
    }

    /// One whose session has not been told to anybody yet.
    #[track_caller]
    #[must_use]
    pub fn silent(sandbox: &Sandbox, name: &str, folder: &Path, options: &[&str]) -> Self {
        let mut command = sandbox.command_in(folder, rrctl_program());
        command.args(["demo-agent", "--interactive", "--session", name]).args(options);
        Self::of_command(&mut command, name, folder)
    }

    /// The same, started by a command of the test's own that ends as `rrctl demo-agent --interactive`.
    #[track_caller]
    #[must_use]
    pub fn of_command(command: &mut Command, name: &str, folder: &Path) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("rrctl demo-agent starts");
        let orders = child.stdin.take().expect("its input is a pipe");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let answer =
                    serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON from an agent: {e}: {line}"));
                if send.send(answer).is_err() {
                    break;
                }
            }
        });
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            known: BTreeSet::new(),
            child,
            orders,
            answers,
            asks_again_max: ASKS_AGAIN_MAX,
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Any order in the agent's own words (see `rrctl/src/demo/steer.rs`).
    #[track_caller]
    pub fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").unwrap_or_else(|e| panic!("{} takes no orders: {e}", self.name));
        let answer = self.answers.recv_timeout(SOON);
        let answer = answer.unwrap_or_else(|e| panic!("{} did not answer {order}: {e}", self.name));
        assert!(answer["error"].is_null(), "{}: {order}: {answer}", self.name);
        answer
    }

    /// Any event of an agent's life.
    #[track_caller]
    pub fn event(&mut self, name: &str, fields: &Value) -> Decision {
        Decision::of(&self.order(&json!({"event": name, "fields": fields})))
    }

    /// One that takes the first answer, for a story of a sidecar that is silent or too late.
    #[must_use]
    pub fn that_asks_once(mut self) -> Self {
        self.asks_again_max = 0;
        self
    }

    /// A denial because the sidecar was too late for the hook says to repeat the call: nothing was done. How late it may be is the
    /// benches' matter, and not that of a story on a machine that does other things too.
    #[track_caller]
    fn ask(&mut self, order: &Value) -> Decision {
        let mut said = Decision::of(&self.order(order));
        for _ in 0..self.asks_again_max {
            if !said.reason.as_ref().is_some_and(|reason| reason.contains(TOO_LATE)) {
                break;
            }
            eprintln!("{}: {TOO_LATE}, asked again: {order}", self.name);
            said = Decision::of(&self.order(order));
        }
        said
    }

    /// A whole call: asked for, made if nothing objects, reported.
    #[track_caller]
    pub fn tool(&mut self, tool: &str, input: &Value) -> Decision {
        self.ask(&json!({"tool": {"tool": tool, "input": input}}))
    }

    /// Asks for a call and stops there; paths may be relative to the agent's folder.
    #[track_caller]
    pub fn pre(&mut self, tool: &str, input: &Value) -> Decision {
        self.ask(&json!({"pre": {"tool": tool, "input": input}}))
    }

    /// Makes the call with this id, which was let through.
    #[track_caller]
    pub fn act(&mut self, id: &str) -> Decision {
        Decision::of(&self.order(&json!({ "act": id })))
    }

    /// Reports the call with this id, which was made.
    #[track_caller]
    pub fn post(&mut self, id: &str) -> Decision {
        Decision::of(&self.order(&json!({ "post": id })))
    }

    #[track_caller]
    pub fn read(&mut self, path: &str) -> Decision {
        self.known.insert(self.folder.join(path));
        self.tool("Read", &json!({"file_path": path}))
    }

    /// Reads a file that is there and was never read, as the real program makes its model do.
    #[track_caller]
    fn get_to_know(&mut self, path: &str) {
        let file = self.folder.join(path);
        if !self.known.contains(&file) && file.exists() {
            self.read(path);
        }
        self.known.insert(file);
    }

    #[track_caller]
    pub fn write(&mut self, path: &str, content: &str) -> Decision {
        self.get_to_know(path);
        self.tool("Write", &json!({"file_path": path, "content": content}))
    }

    #[track_caller]
    pub fn edit(&mut self, path: &str, old: &str, new: &str) -> Decision {
        self.get_to_know(path);
        let input = json!({"file_path": path, "old_string": old, "new_string": new});
        self.tool("Edit", &input)
    }

    #[track_caller]
    pub fn shell(&mut self, command: &str) -> Decision {
        self.tool("Bash", &json!({ "command": command }))
    }

    #[track_caller]
    pub fn prompt(&mut self, text: &str) -> Decision {
        self.event("UserPromptSubmit", &json!({ "prompt": text }))
    }

    /// The end of a turn.
    #[track_caller]
    pub fn stop(&mut self) -> Decision {
        let fields = json!({"stop_hook_active": false, "background_tasks": []});
        self.event("Stop", &fields)
    }

    #[track_caller]
    pub fn session_end(&mut self) -> Decision {
        self.event("SessionEnd", &json!({"reason": "other"}))
    }

    /// Ends the process without a warning, as a crash or a closed terminal may.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill an agent");
        self.child.wait().expect("wait for an agent");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

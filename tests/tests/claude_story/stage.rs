//! What a story stands on: a repository with the product's hooks in it, a scripted model, and `rrctl` in a person's hand.
//!
//! Owns where `rrctl` is found and how its answers are read. It starts no daemon: that is the hooks' business.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rr_tests::claude::{Claude, Run, RunOptions, Running, Workbench};
use rr_tests::scripted_model::{Script, ScriptedModel, ToolResult};
use rr_tests::wait::wait_until;
use serde_json::{Value, json};

/// The file that everybody wants, as it is committed.
pub(crate) const SHARED: &str = "src/shared.ts";
pub(crate) const SHARED_TEXT: &str = "export const one = 1;\n";

/// An agent starts and makes its first call within a second or two on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What each agent is asked to do. Longer than the part that others are shown: the name of one agent's script must not
/// reach another agent's model.
const TASK: &str = "Bring the shared types of this repository in line with what the services of this repository send, one \
                    file at a time, and leave every file that somebody else is at work on alone until it is free again.";

/// A repository whose agents are coordinated, with nothing running yet.
pub(crate) struct Stage {
    pub(crate) bench: Workbench,
    pub(crate) model: ScriptedModel,
    program: PathBuf,
    rrctl: PathBuf,
}

impl Stage {
    pub(crate) async fn new(program: PathBuf) -> Result<Self> {
        let stage = Self {
            bench: Workbench::new().await?,
            model: ScriptedModel::start().await?,
            program,
            rrctl: find_rrctl()?,
        };
        std::fs::create_dir(stage.file("src")).context("make src")?;
        std::fs::write(stage.file(SHARED), SHARED_TEXT).context("write the shared file")?;
        stage.bench.git(&["add", "."]).await?;
        stage.bench.git(&["commit", "--quiet", "--message=types"]).await?;
        stage.rrctl(&["install"])?;
        ensure!(!stage.runtime_dir().join("hook.sock").exists(), "a daemon runs before the first hook");
        Ok(stage)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.bench.repo().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.file(name)).with_context(|| format!("read {name}"))
    }

    /// Where hooks and `rrctl` find the daemon of this story, and no other.
    fn runtime_dir(&self) -> PathBuf {
        self.bench.path().join("run")
    }

    /// Starts an agent that plays a script.
    pub(crate) fn start(&self, script: Script) -> Result<Running> {
        let mut options = RunOptions::new(&self.program, &self.bench, self.model.url(), &script.name);
        options.prompt = format!("{TASK} script={}", script.name);
        let runtime = self.runtime_dir().display().to_string();
        options.extra_env.push(("RAILROAD_RUNTIME_DIR".to_owned(), runtime));
        self.model.play(script);
        Claude::spawn(&options)
    }

    /// Waits for the end of an agent that is expected to come through.
    pub(crate) async fn ended(&self, agent: Running) -> Result<Run> {
        let run = agent.finished().await?;
        ensure!(run.exit.success(), "{}\n{}\n{}\n{}", run.exit, run.stdout, run.stderr, self.daemon_log());
        ensure!(self.model.complaints().is_empty(), "{:?}", self.model.complaints());
        Ok(run)
    }

    pub(crate) async fn play(&self, script: Script) -> Result<Run> {
        let agent = self.start(script)?;
        self.ended(agent).await
    }

    /// Returns once a script was asked for its answer number `step`: all calls before it are over.
    pub(crate) async fn reached(&self, script: &str, step: usize) -> Result<()> {
        let log = self.model.log();
        self.until(&format!("{script} is at step {step}"), || log.reached(script, step)).await
    }

    /// Waits for a condition; if it never holds, the daemon's log is shown.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut() -> bool) -> Result<()> {
        let waited = wait_until(what, SOON, holds).await;
        waited.with_context(|| {
            format!("complaints: {:?}\n{}\n{:#?}", self.model.complaints(), self.daemon_log(), self.told())
        })
    }

    /// What the model was told about the call of one step.
    pub(crate) fn result(&self, script: &str, step: usize) -> Result<ToolResult> {
        let id = format!("toolu_{script}_{step}_0");
        let results = self.model.tool_results(script);
        let found = results.iter().find(|r| r.tool_use_id == id).cloned();
        found.with_context(|| format!("no result of {id} in {results:#?}\n{}", self.daemon_log()))
    }

    /// The reason a call was denied with; an error if it was not.
    pub(crate) fn denied(&self, script: &str, step: usize) -> Result<String> {
        let result = self.result(script, step)?;
        ensure!(result.is_error, "{script} at step {step} was let through: {result:?}\n{}", self.daemon_log());
        Ok(result.text)
    }

    pub(crate) fn passed(&self, script: &str, step: usize) -> Result<()> {
        let result = self.result(script, step)?;
        ensure!(!result.is_error, "{script} at step {step} failed: {result:?}\n{}", self.daemon_log());
        Ok(())
    }

    /// Whether hooks told an agent this, outside of the results of its calls or in them.
    pub(crate) fn was_told(&self, script: &str, words: &str) -> bool {
        let results = self.model.tool_results(script).into_iter().map(|r| r.text);
        self.model.user_texts(script).into_iter().chain(results).any(|text| text.contains(words))
    }

    fn told(&self) -> Vec<String> {
        self.model.log().exchanges().into_iter().flat_map(|e| e.tool_results).map(|r| r.text).collect()
    }

    /// What a person types; an error unless it succeeds.
    pub(crate) fn rrctl(&self, words: &[&str]) -> Result<String> {
        let out = self.rrctl_output(words)?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        ensure!(
            out.status.success(),
            "rrctl {words:?}: {}\n{said}{}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(said)
    }

    /// Short, and the model answers from other threads: it may block this one.
    fn rrctl_output(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.rrctl);
        command.args(words).current_dir(self.bench.repo()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.bench.home());
        command.env("RAILROAD_RUNTIME_DIR", self.runtime_dir());
        command.output().with_context(|| format!("start {}", self.rrctl.display()))
    }

    /// An answer of `rrctl --json`; nothing if no daemon gives one.
    fn asked(&self, command: &str, list: &str) -> Vec<Value> {
        let said = self.rrctl(&[command, "--json"]).unwrap_or_default();
        let answer: Value = serde_json::from_str(&said).unwrap_or_default();
        answer[list].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn sessions(&self) -> Vec<Value> {
        self.asked("sessions", "sessions")
    }

    /// The session of an agent that runs, or ran until a moment ago.
    pub(crate) fn session_of(&self, agent: &Running) -> Option<Value> {
        self.sessions().into_iter().find(|s| s["pid"] == pid(agent))
    }

    /// As it stands in texts for agents and people.
    pub(crate) fn name_of(&self, agent: &Running) -> Result<String> {
        let session = self.session_of(agent).context("the agent has no session")?;
        let id = session["session"].as_str().context("a session without an id")?;
        Ok(format!("session {}", &id[..8]))
    }

    pub(crate) fn locks(&self) -> Vec<Value> {
        self.asked("locks", "locks")
    }

    /// The lock on one file.
    pub(crate) fn lock_on(&self, path: &str) -> Option<Value> {
        self.locks().into_iter().find(|l| l["lock"] == path)
    }

    pub(crate) fn is_held_by(&self, path: &str, agent: &Running) -> bool {
        self.lock_on(path).is_some_and(|l| l["pid"] == pid(agent))
    }

    /// The pid of the daemon as its pid file says.
    pub(crate) fn daemon(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.runtime_dir().join("daemon.pid")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    pub(crate) fn daemon_log(&self) -> String {
        let log = self.bench.home().join(".local/state/railroad/daemon.log");
        std::fs::read_to_string(log).unwrap_or_else(|_| "no daemon.log".to_owned())
    }

    pub(crate) fn hook_settings(&self) -> PathBuf {
        self.file(".claude/settings.local.json")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // In a process namespace it would die anyway; where those are refused, nothing else ends it.
        let _ = self.rrctl_output(&["down", "--wait"]);
    }
}

/// `target/<profile>/rrctl`, seen from `target/<profile>/deps/<this test>`.
fn find_rrctl() -> Result<PathBuf> {
    let this = std::env::current_exe().context("find the test program")?;
    let profile = this.ancestors().nth(2).context("find the folder of the build")?;
    let rrctl = profile.join("rrctl");
    ensure!(rrctl.is_file(), "no rrctl at {}: run `cargo build -p rrctl` first", rrctl.display());
    Ok(rrctl)
}

fn pid(agent: &Running) -> Value {
    json!(agent.pid().as_raw_nonzero().get())
}

pub(crate) fn read(path: &Path) -> Value {
    json!({ "file_path": path })
}

pub(crate) fn write(path: &Path, text: &str) -> Value {
    json!({ "file_path": path, "content": text })
}

pub(crate) fn edit(path: &Path, old: &str, new: &str) -> Value {
    json!({ "file_path": path, "old_string": old, "new_string": new })
}

pub(crate) fn shell(command: &str) -> Value {
    json!({ "command": command })
}

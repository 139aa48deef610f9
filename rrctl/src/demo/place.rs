//! One host of the show: folders of its own for everything that a host keeps, as far from this user's own as folders can be.
//! Owns how programs are started there. All hosts of a show see one work tree. Next: `stage` makes them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use super::script::Script;
use crate::exit::{Failure, Kind};

/// Variables that would lead out of the throw-away folders; so do all of our own. With a session's name `rrctl` would take the
/// viewer for an agent, who may approve nothing.
const FOREIGN: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_SESSION_ID"];
const OWN_PREFIX: &str = "RAILROAD_";

#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Home, state and sockets.
    folder: PathBuf,
    repo: PathBuf,
    hook: PathBuf,
    own: PathBuf,
    /// Folders in which everybody here looks for programs first.
    programs: Vec<PathBuf>,
}

impl Place {
    pub(crate) fn new(folder: &Path, repo: &Path, hook: &Path, own: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            repo: repo.to_owned(),
            hook: hook.to_owned(),
            own: own.to_owned(),
            programs: vec![],
        }
    }

    pub(crate) fn looking_first_in(mut self, programs: &[PathBuf]) -> Self {
        self.programs = programs.to_vec();
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn repo(&self) -> &Path {
        &self.repo
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Programs that agents find before all others.
    pub(crate) fn tools(&self) -> PathBuf {
        self.folder.join("tools")
    }

    /// What answers once the daemon runs.
    pub(crate) fn sockets(&self) -> [PathBuf; 2] {
        ["hook.sock", "api.sock"].map(|name| self.folder.join("run").join(name))
    }

    /// PATH as it is here, with these folders before all others.
    fn path_after(&self, first: &[PathBuf]) -> Result<OsString, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = first.iter().chain(&self.programs).cloned();
        let path = std::env::join_paths(own.chain(std::env::split_paths(&path)));
        path.map_err(|e| Failure::at("put programs on PATH", &e))
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(name, _)| name).filter(|n| n.to_string_lossy().starts_with(OWN_PREFIX));
        ours.chain(FOREIGN.map(Into::into)).for_each(|name| {
            command.env_remove(name);
        });
        let home = self.home();
        command.env("XDG_CONFIG_HOME", home.join(".config")).env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("RAILROAD_STATE_DIR", self.folder.join("state"));
        command.env("RAILROAD_RUNTIME_DIR", self.folder.join("run"));
        // A group of its own: a Ctrl-C in the terminal is for us, who end the others in order.
        command.current_dir(&self.repo).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }

    /// `rrctl up` in the foreground.
    pub(crate) fn daemon(&self) -> Result<Command, Failure> {
        let mut command = self.command(&self.own);
        command.arg("up").env("PATH", self.path_after(&[])?);
        Ok(command)
    }

    /// Starts an agent; what it tells is on its standard output, and it ends when its standard input is closed.
    pub(crate) fn agent(&self, session: &str, script: &Script) -> Result<Child, Failure> {
        let script = serde_json::to_string(script).map_err(|e| Failure::at("encode a script", &e))?;
        self.start_agent(session, &["--tied", "--script", &script])
    }

    /// Starts an agent that does what it is told on its standard input, and ends when that is closed.
    pub(crate) fn steered_agent(&self, session: &str) -> Result<Child, Failure> {
        self.start_agent(session, &["--interactive"])
    }

    fn start_agent(&self, session: &str, words: &[&str]) -> Result<Child, Failure> {
        let mut command = self.command(&self.own);
        command.args(["demo-agent", "--session", session]).args(words).arg("--hook").arg(&self.hook);
        command.env("PATH", self.path_after(&[self.tools()])?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.spawn().map_err(|e| Failure::at("start an agent", &e))
    }

    /// The JSON that `rrctl <words>` answers.
    pub(crate) async fn rrctl(&self, words: &[&str]) -> Result<Value, Failure> {
        let output = self.command(&self.own).arg("--json").args(words).output().await;
        let output = output.map_err(|e| Failure::at(format!("run rrctl {}", words.join(" ")), &e))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::new(Kind::Failed, format!("rrctl {} failed", words.join(" "))).because(why));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| Failure::at("read rrctl's answer", &e))
    }

    /// What git printed.
    pub(crate) async fn git(&self, words: &[&str]) -> Result<String, Failure> {
        let output = self.command("git").args(words).output().await;
        let output = output.map_err(|e| Failure::at("run git", &e).hint("git must be installed"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(Kind::Failed, format!("git {} failed", words.join(" "))).because(why))
    }
}

//! Runs the real Claude Code, headless, against a model given by its address.
//!
//! Owns where the program is found, the environment it starts with and what it printed.
//! Knows nothing of the product: hooks reach the agent only through a settings file of the test.
//! `tests/agents/install.sh` puts the program in its place; [`story`] is the way into a test.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::isolation;

/// A run of six calls takes seconds; a wrong answer of the model makes the agent retry with long delays.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// An address on which nothing listens: the way out for whatever heeds a proxy.
const DEAD_PROXY: &str = "http://127.0.0.1:9";

/// Names a program to be used instead of the installed one.
const PROGRAM_VARIABLE: &str = "RAILROAD_TEST_CLAUDE";

#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The installation said that it is impossible here: the one excuse for leaving tests out.
    #[error("it cannot be installed here: {reason}")]
    LeftOut { reason: String },
    #[error("no Claude Code at {}: run tests/agents/install.sh", looked_at.display())]
    NotInstalled { looked_at: PathBuf },
}

/// The native program: the one in the environment, else the one that was installed.
pub fn locate() -> Result<PathBuf, Missing> {
    let given = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    locate_in(&target.join("agents"), given)
}

fn locate_in(agents: &Path, given: Option<PathBuf>) -> Result<PathBuf, Missing> {
    let asked_for = given.is_some();
    let program = given.unwrap_or_else(|| agents.join("node_modules/@anthropic-ai/claude-code-linux-x64/claude"));
    if program.is_file() {
        return Ok(program);
    }
    match std::fs::read_to_string(agents.join("LEFT_OUT")) {
        Ok(reason) if !asked_for => Err(Missing::LeftOut { reason: reason.trim().to_owned() }),
        _ => Err(Missing::NotInstalled { looked_at: program }),
    }
}

/// Runs `tale`, a closure in the body of a `#[test]`, without a network and with the path of Claude Code.
///
/// # Panics
/// When the tale fails, and when the program is missing without the installation having said why.
pub fn story<Tale, Done>(tale: Tale)
where
    Tale: FnOnce(PathBuf) -> Done,
    Done: Future<Output = Result<()>>,
{
    let test = isolation::test_of::<Tale>();
    match locate() {
        Ok(program) => isolation::alone_as(test, || tale(program)),
        Err(Missing::LeftOut { reason }) => {
            eprintln!("LEFT OUT: {test}: no real Claude Code: {reason}");
        }
        Err(missing) => panic!("{test}: {missing}"),
    }
}

/// An empty home and a repository with one commit, gone when dropped.
pub struct Workbench {
    root: tempfile::TempDir,
}

impl Workbench {
    pub async fn new() -> Result<Self> {
        let bench = Self { root: tempfile::tempdir().context("make a workbench")? };
        std::fs::create_dir_all(bench.home().join("tmp")).context("make the home")?;
        std::fs::create_dir_all(bench.repo()).context("make the repository")?;
        std::fs::write(bench.home().join(".gitconfig"), "[user]\n\tname = Agent\n\temail = agent@example.invalid\n")
            .context("write .gitconfig")?;
        bench.git(&["init", "--quiet", "--initial-branch=main"]).await?;
        bench.git(&["commit", "--quiet", "--allow-empty", "--message=start"]).await?;
        Ok(bench)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    #[must_use]
    pub fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    /// Runs git in the repository, with the home and nothing else of the caller's settings.
    pub async fn git(&self, arguments: &[&str]) -> Result<()> {
        let status = clean(Command::new("git"), &self.home())
            .args(arguments)
            .current_dir(self.repo())
            .status()
            .await
            .context("start git")?;
        ensure!(status.success(), "git {arguments:?}: {status}");
        Ok(())
    }
}

/// One run: nothing is shared with another unless the caller gives both the same folders.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub program: PathBuf,
    pub home: PathBuf,
    pub repo: PathBuf,
    pub prompt: String,
    pub model_url: String,
    /// Hooks come from here, or from the settings of home and repository.
    pub settings: Option<PathBuf>,
    pub extra_arguments: Vec<String>,
    pub extra_env: Vec<(String, String)>,
    pub limit: Duration,
}

impl RunOptions {
    /// Plays `script` on the workbench.
    #[must_use]
    pub fn new(program: &Path, bench: &Workbench, model_url: &str, script: &str) -> Self {
        Self {
            program: program.to_owned(),
            home: bench.home(),
            repo: bench.repo(),
            prompt: format!("Play script={script}"),
            model_url: model_url.to_owned(),
            settings: None,
            extra_arguments: Vec::new(),
            extra_env: Vec::new(),
            limit: RUN_LIMIT,
        }
    }

    fn command(&self) -> Command {
        let mut command = clean(Command::new(&self.program), &self.home);
        command.current_dir(&self.repo).arg("-p").arg(&self.prompt);
        command.args(["--dangerously-skip-permissions", "--output-format", "stream-json", "--verbose"]);
        command.arg("--include-hook-events");
        if let Some(settings) = &self.settings {
            command.arg("--settings").arg(settings);
        }
        command.args(&self.extra_arguments);
        command.envs([
            ("ANTHROPIC_BASE_URL", self.model_url.as_str()),
            ("ANTHROPIC_API_KEY", "test-key"),
            ("ANTHROPIC_MODEL", "claude-sonnet-4-5"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
            ("DISABLE_TELEMETRY", "1"),
            ("DISABLE_ERROR_REPORTING", "1"),
        ]);
        if geteuid().is_root() {
            // Root is refused this permission mode outside a sandbox; the test's namespace is one.
            command.env("IS_SANDBOX", "1");
        }
        command.envs(self.extra_env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Nothing of the caller's environment but the search path.
fn clean(mut command: Command, home: &Path) -> Command {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("TMPDIR", home.join("tmp"));
    command.envs([("LANG", "C.UTF-8"), ("TERM", "dumb"), ("SHELL", "/bin/sh")]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, DEAD_PROXY);
    }
    command.envs([("NO_PROXY", "127.0.0.1,localhost"), ("no_proxy", "127.0.0.1,localhost")]);
    command
}

pub struct Claude;

impl Claude {
    /// Runs to the end, or to the time limit, which is an error.
    pub async fn run(options: &RunOptions) -> Result<Run> {
        Self::spawn(options)?.finished().await
    }

    pub fn spawn(options: &RunOptions) -> Result<Running> {
        // Files, not pipes: what an orphan of the agent keeps open cannot hold up the test.
        let stdout = tempfile::tempfile().context("make a file for stdout")?;
        let stderr = tempfile::tempfile().context("make a file for stderr")?;
        let started = Instant::now();
        let child = options
            .command()
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().context("share stdout")?)
            .stderr(stderr.try_clone().context("share stderr")?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", options.program.display()))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("read the process id")?;
        Ok(Running { child: Some(child), pid, stdout, stderr, started, limit: options.limit })
    }
}

/// An agent at work; dropped, it is killed with its process group.
pub struct Running {
    /// Nothing once it has ended.
    child: Option<Child>,
    pid: Pid,
    stdout: File,
    stderr: File,
    started: Instant,
    limit: Duration,
}

impl Running {
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sent to the agent alone, not to what it started.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).context("signal the agent")
    }

    /// What it has printed until now.
    pub fn lines(&self) -> Result<Vec<Value>> {
        Ok(json_lines(&whole(&self.stdout)?))
    }

    pub async fn finished(mut self) -> Result<Run> {
        let left = self.limit.saturating_sub(self.started.elapsed());
        let child = self.child.as_mut().context("wait for an agent once only")?;
        let Ok(ended) = tokio::time::timeout(left, child.wait()).await else {
            bail!(
                "Claude Code was still running after {:?}; it printed\n{}{}",
                self.limit,
                whole(&self.stdout)?,
                whole(&self.stderr)?
            );
        };
        let exit = ended.context("wait for the agent")?;
        self.child = None;
        let stdout = whole(&self.stdout)?;
        Ok(Run { exit, lines: json_lines(&stdout), stdout, stderr: whole(&self.stderr)?, took: self.started.elapsed() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not reaped yet, so that the number is still its own.
        if self.child.is_some() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// From the start of the file, whatever the agent's own position in it.
fn whole(file: &File) -> Result<String> {
    let length = usize::try_from(file.metadata().context("measure the output")?.len()).context("measure the output")?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).context("read the output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line that is cut off or no JSON is left to `stdout`.
fn json_lines(stdout: &str) -> Vec<Value> {
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    pub exit: ExitStatus,
    /// The stream-json lines.
    pub lines: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// What each hook answered, in order: `hook_event`, `exit_code`, `outcome`, `stdout`, `stderr`.
    #[must_use]
    pub fn hook_responses(&self, event: &str) -> Vec<&Value> {
        self.system("hook_response").filter(|line| line["hook_event"] == event).collect()
    }

    /// The last line; absent after a kill.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        self.lines.iter().rev().find(|line| line["type"] == "result")
    }

    /// Calls that a hook denied: `tool_name`, `tool_use_id`, `tool_input`.
    #[must_use]
    pub fn permission_denials(&self) -> Vec<Value> {
        self.result().and_then(|result| result["permission_denials"].as_array()).cloned().unwrap_or_default()
    }

    /// As the running program says it, not as a file beside it does.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.system("init").find_map(|line| line["claude_code_version"].as_str())
    }

    fn system<'a>(&'a self, subtype: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["type"] == "system" && line["subtype"] == subtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_installers_word_excuses_a_missing_program() -> Result<()> {
        let agents = tempfile::tempdir()?;
        assert!(matches!(locate_in(agents.path(), None), Err(Missing::NotInstalled { .. })));
        std::fs::write(agents.path().join("LEFT_OUT"), "no npm\n")?;
        assert!(matches!(locate_in(agents.path(), None), Err(Missing::LeftOut { reason }) if reason == "no npm"));
        let given = Some(agents.path().join("absent"));
        assert!(matches!(locate_in(agents.path(), given), Err(Missing::NotInstalled { .. })));
        Ok(())
    }
}

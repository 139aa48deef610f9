//! A throw-away repository with a daemon of its own, as far from this user's own as folders can be. Owns what is started
//! there and that nothing of it stays: no process, no folder. Next: `play` puts agents on it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::script::Script;
use crate::exit::{Failure, Kind};
use crate::hookbin;

/// The daemon answers within this, or something is wrong.
const READY_MAX: Duration = Duration::from_secs(10);
const READY_TRY_EVERY: Duration = Duration::from_millis(10);
/// An asked daemon ends within this, or is killed.
const END_MAX: Duration = Duration::from_secs(6);
/// A killed process may write its last file while its folder is removed.
const REMOVE_TRIES: u32 = 20;

/// Variables that would lead out of the throw-away folders; so do all of our own.
const FOREIGN: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "CLAUDE_CONFIG_DIR"];
const OWN_PREFIX: &str = "RAILROAD_";

/// Where things are, and how programs are started there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
    hook: PathBuf,
    own: PathBuf,
}

impl Place {
    pub(crate) fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(name, _)| name).filter(|n| n.to_string_lossy().starts_with(OWN_PREFIX));
        ours.chain(FOREIGN.map(Into::into)).for_each(|name| {
            command.env_remove(name);
        });
        let home = self.root.join("home");
        command.env("XDG_CONFIG_HOME", home.join(".config")).env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("RAILROAD_STATE_DIR", self.root.join("state")).env("RAILROAD_RUNTIME_DIR", self.run());
        // A group of its own: a Ctrl-C in the terminal is for us, who end the others in order.
        command.current_dir(self.repo()).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }

    /// Starts an agent; what it tells is on its standard output, and it ends when its standard input is closed.
    pub(crate) fn agent(&self, session: &str, script: &Script) -> Result<Child, Failure> {
        let script = serde_json::to_string(script).map_err(|e| Failure::at("encode a script", &e))?;
        let mut command = self.command(&self.own);
        command.args(["demo-agent", "--tied", "--session", session, "--script", &script]).arg("--hook").arg(&self.hook);
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

    async fn git(&self, words: &[&str]) -> Result<(), Failure> {
        let output = self.command("git").args(words).output().await;
        let output = output.map_err(|e| Failure::at("run git", &e).hint("git must be installed"))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(Kind::Failed, format!("git {} failed", words.join(" "))).because(why))
    }
}

/// A place with its daemon running.
pub(crate) struct Stage {
    pub(crate) place: Place,
    daemon: Option<Child>,
    keep: bool,
}

impl Stage {
    /// Makes the folders and the repository, and starts the daemon. `title` is part of the first commit: the repository's
    /// name comes from it, and two stages are two repositories.
    pub(crate) async fn set(title: &str, files: &[(&str, &str)], keep: bool) -> Result<Self, Failure> {
        let root = make_folder(title).map_err(|e| Failure::at("make a throw-away folder", &e))?;
        let own = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
        let place = Place { hook: PathBuf::new(), own, root };
        // From here on the folder goes when this goes.
        let mut stage = Self { place, daemon: None, keep };
        stage.place.hook =
            hookbin::place(&stage.place.root.join("bin")).map_err(|e| Failure::at("place the hook", &e))?;
        stage.fill(title, files).await?;
        stage.start_daemon().await?;
        Ok(stage)
    }

    async fn fill(&self, title: &str, files: &[(&str, &str)]) -> Result<(), Failure> {
        let (root, repo) = (&self.place.root, self.place.repo());
        let put = |path: PathBuf, text: &str| {
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text))
        };
        let identity = "[user]\n\tname = Demo\n\temail = demo@example.invalid\n";
        put(root.join("home/.gitconfig"), identity).map_err(|e| Failure::at("write .gitconfig", &e))?;
        for (path, text) in files {
            put(repo.join(path), text).map_err(|e| Failure::at(format!("write {path}"), &e))?;
        }
        let title = format!("{title} {}", root.display());
        self.place.git(&["init", "-q", "-b", "main"]).await?;
        self.place.git(&["add", "."]).await?;
        self.place.git(&["commit", "-q", "-m", &title]).await
    }

    async fn start_daemon(&mut self) -> Result<(), Failure> {
        let failed = |e| Failure::at("start the demo's daemon", &e);
        let log = fs::File::create(self.place.root.join("daemon.log")).map_err(failed)?;
        let mut command = self.place.command(&self.place.own);
        command.arg("up").stdout(log.try_clone().map_err(failed)?).stderr(log);
        let daemon = self.daemon.insert(command.spawn().map_err(failed)?);
        let sockets = ["hook.sock", "api.sock"].map(|name| self.place.run().join(name));
        let ready = async {
            for socket in &sockets {
                while UnixStream::connect(socket).await.is_err() {
                    sleep(READY_TRY_EVERY).await;
                }
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            () = sleep(READY_MAX) => Err(self.mute("does not answer")),
            _ = daemon.wait() => Err(self.mute("ended at once")),
        }
    }

    fn mute(&self, how: &str) -> Failure {
        let log = fs::read_to_string(self.place.root.join("daemon.log")).unwrap_or_default();
        Failure::new(Kind::Failed, format!("the demo's daemon {how}")).because(log.trim())
    }

    /// Where it can be looked at afterwards, if it stays.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.keep.then_some(self.place.root.as_path())
    }

    /// Ends the daemon as a person would; what is left of the end is in `drop`.
    pub(crate) async fn strike(mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = daemon.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the pid is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(END_MAX, daemon.wait()).await.is_err() {
            let _ = daemon.kill().await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.start_kill();
        }
        if self.keep {
            return;
        }
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir_all(&self.place.root) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => std::thread::sleep(READY_TRY_EVERY),
                _ => return,
            }
        }
    }
}

/// A new folder for this user alone; a name that exists is not taken.
fn make_folder(title: &str) -> std::io::Result<PathBuf> {
    // Short, since a socket's path may have 103 bytes; resolved, so that its files have one name.
    let base = [std::env::temp_dir(), PathBuf::from("/tmp")].into_iter().find(|dir| dir.as_os_str().len() < 60);
    let base = base.unwrap_or_else(std::env::temp_dir).canonicalize()?;
    let root = base.join(format!("rr-{title}-{}-{:x}", std::process::id(), rr_runtime::clock::unix_ms() & 0xff_ffff));
    DirBuilder::new().mode(0o700).create(&root)?;
    for folder in ["repo", "home"] {
        fs::create_dir(root.join(folder))?;
    }
    Ok(root)
}

//! Runs the `git` program, without optional locks, without prompts, without a pager, and with its own words in English.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{ChildStdout, Command, Output, Stdio};

#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("start git: is it installed and on PATH?")]
    NotStarted(#[source] std::io::Error),
    #[error("git {command} in {folder}: {said}")]
    Failed { command: String, folder: String, said: String },
    #[error("read repository at {folder}")]
    Library {
        folder: String,
        #[source]
        source: git2::Error,
    },
}

/// What a git command is given besides its words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Input<'a> {
    pub(crate) stdin: Option<&'a [u8]>,
    /// Inside a receiving repository's hook: it is asked as git has set it up, with the objects that are being received.
    pub(crate) keeps_quarantine: bool,
    /// Set for this command alone.
    pub(crate) env: &'a [(&'a str, &'a OsStr)],
}

/// Runs git in a folder and returns what it printed.
pub(crate) fn git<I, S>(folder: &Path, args: I) -> Result<Vec<u8>, GitError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    git_with(folder, args, &Input::default())
}

pub(crate) fn git_with<I, S>(folder: &Path, args: I, input: &Input<'_>) -> Result<Vec<u8>, GitError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = prepared(folder, args, input);
    let output = run(&mut command, input.stdin).map_err(GitError::NotStarted)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(&command, folder, &output.stderr))
}

/// Runs git in a folder and lets `read` have what it prints, while it prints it.
pub(crate) fn git_to<I, S>(
    folder: &Path,
    args: I,
    read: &mut dyn FnMut(&mut ChildStdout) -> std::io::Result<()>,
) -> Result<(), GitError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = prepared(folder, args, &Input::default());
    let mut child = command.stderr(Stdio::null()).spawn().map_err(GitError::NotStarted)?;
    let read = child.stdout.take().map_or(Ok(()), |mut out| read(&mut out));
    let status = child.wait().map_err(GitError::NotStarted)?;
    match read {
        Ok(()) if status.success() => Ok(()),
        Ok(()) => Err(failed(&command, folder, b"it ended with an error")),
        Err(e) => Err(failed(&command, folder, e.to_string().as_bytes())),
    }
}

pub(crate) fn failed(command: &Command, folder: &Path, said: &[u8]) -> GitError {
    let shown: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    GitError::Failed {
        command: shown.join(" "),
        folder: folder.display().to_string(),
        said: String::from_utf8_lossy(said).trim().to_owned(),
    }
}

pub(crate) fn prepared<I, S>(folder: &Path, args: I, input: &Input<'_>) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new("git");
    command.current_dir(folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("GIT_PAGER", "cat").env("LC_ALL", "C");
    // An agent's own git environment (a hook's, say) must not point us at another repository.
    for name in ["GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    if !input.keeps_quarantine {
        for name in ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"] {
            command.env_remove(name);
        }
    }
    command.envs(input.env.iter().copied());
    command
}

fn run(command: &mut Command, stdin: Option<&[u8]>) -> std::io::Result<Output> {
    let mut child = command.spawn()?;
    let to_child = child.stdin.take();
    std::thread::scope(|scope| {
        if let (Some(mut pipe), Some(bytes)) = (to_child, stdin) {
            // Beside the reading: both pipes are small. A child that stops reading says why itself.
            scope.spawn(move || drop(pipe.write_all(bytes)));
        }
        child.wait_with_output()
    })
}

/// The installed git's version, as (major, minor).
///
/// # Errors
/// If git cannot be started or says nothing that looks like a version.
pub fn version() -> Result<(u32, u32), GitError> {
    let said = git(Path::new("/"), ["version"])?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(GitError::Failed { command: "version".into(), folder: "/".into(), said: text }),
    }
}

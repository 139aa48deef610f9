//! Puts Railroad's hooks into Claude Code's settings (and git's own into `githooks`) and takes them out again. Owns which files change and that each
//! changes whole or not at all; a plan is made first, so that nothing is written when any file is not understood.
//! Refuses to know the command line. Next: `install/settings.rs` (the JSON), `install/exclude.rs`, `install/inspect.rs`.

mod exclude;
pub(crate) mod githooks;
mod inspect;
mod settings;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) use inspect::{Finding, FindingKind, inspect};

/// Added to a settings file's name for the copy of what stood there before the first installation.
const BACKUP_SUFFIX: &str = ".before-railroad";

/// Mode of a new file; an existing one keeps its own.
const NEW_FILE_MODE: u32 = 0o644;

/// Where hooks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `<repo>/.claude/settings.local.json`: this repository, this machine; only for sessions started at its root.
    ProjectLocal,
    /// The user's own settings: every session of this user.
    User,
}

/// The folders that matter.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) repo_root: PathBuf,
    /// The folder of the user's own settings.
    pub(crate) user_dir: PathBuf,
    /// Where `info/exclude` is; `None` outside a git repository.
    pub(crate) git_common_dir: Option<PathBuf>,
}

impl Site {
    /// `user_dir` from `CLAUDE_CONFIG_DIR`, else `~/.claude`.
    pub(crate) fn of(repo_root: &Path, git_common_dir: Option<&Path>) -> Result<Site, InstallError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user_dir = set("CLAUDE_CONFIG_DIR").or_else(|| Some(set("HOME")?.join(".claude")));
        Ok(Site {
            repo_root: repo_root.to_owned(),
            user_dir: user_dir.ok_or(InstallError::NoHome)?,
            git_common_dir: git_common_dir.map(Path::to_owned),
        })
    }

    fn settings(&self, scope: Scope) -> PathBuf {
        match scope {
            Scope::ProjectLocal => self.repo_root.join(".claude/settings.local.json"),
            Scope::User => self.user_dir.join("settings.json"),
        }
    }
}

/// What the hooks are to be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) hook_path: PathBuf,
    pub(crate) daemon_path: PathBuf,
    /// Let changing calls through when no sidecar answers.
    pub(crate) allow_when_unavailable: bool,
    pub(crate) scope: Scope,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("neither CLAUDE_CONFIG_DIR nor HOME is set, so the user's settings cannot be found")]
    NoHome,
    #[error("{path} is not valid JSON (line {line}, column {column}): repair it first; nothing was written")]
    Json { path: PathBuf, line: usize, column: usize, source: serde_json::Error },
    #[error("{path}: {what}; nothing was written")]
    Shape { path: PathBuf, what: String },
    #[error(
        "{path} is a symbolic link: edit the file it points to, or replace the link by a file; nothing was written"
    )]
    Link { path: PathBuf },
    #[error("the path {path} must be absolute and valid UTF-8 to stand in the settings")]
    Path { path: PathBuf },
    #[error("cannot {step} {path}")]
    Io { step: &'static str, path: PathBuf, source: io::Error },
}

fn io_error<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> InstallError + 'a {
    move |source| InstallError::Io { step, path: path.to_owned(), source }
}

/// One file before and after; `None` = it does not exist.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) path: PathBuf,
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match (&self.before, &self.after) {
            (None, _) => "created",
            (_, None) => "removed",
            _ => "changed",
        };
        write!(f, "{verb} {}", self.path.display())
    }
}

/// All files that change, in the order in which they do. Empty = nothing is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) edits: Vec<Edit>,
}

/// The edits that were made.
pub(crate) type Report = Vec<Edit>;

impl Plan {
    fn change(&mut self, path: PathBuf, before: Option<Vec<u8>>, after: Option<Vec<u8>>) {
        if before != after {
            self.edits.push(Edit { path, before, after });
        }
    }

    pub(crate) fn apply(self) -> Result<Report, InstallError> {
        for edit in &self.edits {
            match &edit.after {
                Some(bytes) => replace(&edit.path, bytes)?,
                None => remove(&edit.path)?,
            }
        }
        Ok(self.edits)
    }
}

/// Adds the hooks of `options`, or brings those of an earlier installation up to date.
pub(crate) fn install(site: &Site, options: &Options) -> Result<Report, InstallError> {
    plan_install(site, options)?.apply()
}

/// Takes out what [`install`] put in. A file that is otherwise unchanged gets its first bytes back.
pub(crate) fn uninstall(site: &Site, scope: Scope) -> Result<Report, InstallError> {
    plan_uninstall(site, scope)?.apply()
}

pub(crate) fn plan_install(site: &Site, options: &Options) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    let path = site.settings(options.scope);
    let wanted = settings::Wanted::new(options)?;
    let before = read_settings(site, &path, options.scope)?;
    let after = settings::merge(&path, before.as_deref(), &wanted)?;
    let backup = backup_of(&path);
    // The first state is the one worth keeping: an older copy stays, and our own work is never copied.
    let is_first = before.as_deref().is_some_and(|text| !settings::mentions_us(text));
    if is_first && before.as_ref() != Some(&after) && read(&backup)?.is_none() {
        plan.change(backup, None, before.clone());
    }
    plan.change(path, before, Some(after));
    plan_exclude(site, &mut plan, |text| exclude::add(text, options.scope, &ignored_already(site)))?;
    Ok(plan)
}

pub(crate) fn plan_uninstall(site: &Site, scope: Scope) -> Result<Plan, InstallError> {
    let mut plan = Plan::default();
    let path = site.settings(scope);
    let before = read_settings(site, &path, scope)?;
    if let Some(text) = before.as_deref().filter(|text| settings::mentions_us(text)) {
        let backup = backup_of(&path);
        let first = read(&backup)?;
        let after = settings::take_out(&path, text, first.as_deref())?;
        let is_restored = after == first;
        plan.change(path, before, after);
        if is_restored {
            plan.change(backup, first, None);
        }
    }
    let other = if scope == Scope::User { Scope::ProjectLocal } else { Scope::User };
    if !mentions_us(site, other)? {
        plan_exclude(site, &mut plan, exclude::take_out)?;
    }
    Ok(plan)
}

/// Whether any settings that reach this repository have hooks of ours.
pub(crate) fn is_used(site: &Site) -> bool {
    // What cannot be read may well have them.
    [Scope::ProjectLocal, Scope::User].iter().any(|scope| mentions_us(site, *scope).unwrap_or(true))
}

fn mentions_us(site: &Site, scope: Scope) -> Result<bool, InstallError> {
    Ok(read(&site.settings(scope))?.is_some_and(|text| settings::mentions_us(&text)))
}

fn plan_exclude(
    site: &Site,
    plan: &mut Plan,
    edit: impl FnOnce(Option<&str>) -> Option<String>,
) -> Result<(), InstallError> {
    let Some(common) = &site.git_common_dir else {
        return Ok(());
    };
    let path = common.join("info/exclude");
    refuse_link(&path)?;
    let before = read(&path)?;
    let shape = |_| InstallError::Shape { path: path.clone(), what: "is not UTF-8".to_owned() };
    let text = before.clone().map(String::from_utf8).transpose().map_err(shape)?;
    let after = edit(text.as_deref()).map(String::into_bytes);
    plan.change(path, before, after);
    Ok(())
}

/// The repository's own rules; one that cannot be read counts as empty, which at worst repeats a line.
fn ignored_already(site: &Site) -> String {
    fs::read_to_string(site.repo_root.join(".gitignore")).unwrap_or_default()
}

/// A repository's `.claude` may be anything its authors liked; a link there would lead the edit elsewhere.
fn read_settings(site: &Site, path: &Path, scope: Scope) -> Result<Option<Vec<u8>>, InstallError> {
    if scope == Scope::ProjectLocal {
        refuse_link(&site.repo_root.join(".claude"))?;
    }
    refuse_link(path)?;
    read(path)
}

fn refuse_link(path: &Path) -> Result<(), InstallError> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if is_link { Err(InstallError::Link { path: path.to_owned() }) } else { Ok(()) }
}

fn backup_of(path: &Path) -> PathBuf {
    with_suffix(path, BACKUP_SUFFIX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Whole or not at all: agents watch these files and read them at any moment.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    replace_with_mode(path, bytes, None)
}

/// With the mode the file has, if none is given.
pub(crate) fn replace_with_mode(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(io_error("make the folder", folder))?;
    let present = || fs::metadata(path).map_or(NEW_FILE_MODE, |found| found.permissions().mode() & 0o7777);
    let mode = mode.unwrap_or_else(present);
    let draft = with_suffix(path, &format!(".{}.draft", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    let written = write();
    if written.is_err() {
        // Best effort: the error that is returned says more than one about the draft.
        drop(fs::remove_file(&draft));
    }
    written.map_err(io_error("write", path))?;
    sync(folder)
}

fn remove(path: &Path) -> Result<(), InstallError> {
    fs::remove_file(path).map_err(io_error("remove", path))?;
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    sync(folder)?;
    if folder.file_name().is_some_and(|name| name == ".claude") {
        // Succeeds only on an empty folder, which git does not know and which we made.
        drop(fs::remove_dir(folder));
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<(), InstallError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("flush", folder))
}

#[cfg(test)]
mod tests;

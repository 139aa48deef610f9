//! `rrctl install`: the hook program to its place, the hooks into the agents' settings, git's own hooks into the repository. How
//! is in `crate::install`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::GitHooks;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::install::{Edit, Options, Scope, githooks};
use crate::{hookbin, install};

/// Put the hooks into the settings of Claude Code, for this repository
///
/// In a git repository its hooks for commits and pushes are put in place too; one of yours that stands there is kept and
/// runs first. `rrctl uninstall` takes all of them out again, exactly. The daemon is started by the first call of a hook.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For every session of this user instead of this repository's
    #[arg(long)]
    user: bool,
    /// What becomes of a changing call when no daemon can be started
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnUnavailable::Deny)]
    on_unavailable: OnUnavailable,
    /// Only the check of what is pushed into this bare repository
    #[arg(long, value_name = "PATH", conflicts_with_all = ["user", "on_unavailable"])]
    bare: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnUnavailable {
    Deny,
    Allow,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    if let Some(path) = &args.bare {
        return run_bare(path, hand);
    }
    let site = super::site()?;
    rr_runtime::program::prepare(&hand.dirs)?;
    let hook_path = hookbin::place(&hand.dirs.bin_dir()).map_err(|e| Failure::at("place the hook program", &e))?;
    let daemon_path = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
    let options = Options {
        hook_path,
        daemon_path,
        allow_when_unavailable: args.on_unavailable == OnUnavailable::Allow,
        scope: super::scope(args.user),
    };
    let mut report = install::install(&site, &options).map_err(|e| Failure::at("install the hooks", &e))?;
    let foreign = match super::git_hooks(&site)? {
        GitHooks::None => None,
        GitHooks::In(folder) => {
            report.extend(into(&folder, &githooks::IN_CLONE, &options.daemon_path)?);
            None
        }
        GitHooks::Foreign(folder) => Some(folder),
    };
    let json = json!({
        "scope": word(options.scope), "hook": options.hook_path, "changed": paths(&report), "git_hooks_not_ours": foreign,
    });
    hand.answer(&json, || {
        let next =
            "Running sessions take them up at once; /hooks shows them there. Take them out with: rrctl uninstall\n";
        let note = foreign.as_deref().map(|folder| not_ours(folder, &options.daemon_path)).unwrap_or_default();
        match report.as_slice() {
            [] => format!("The hooks are in place already.\n{note}"),
            edits => format!("{}{next}{note}", lines(edits)),
        }
    })
}

/// A repository that a team pushes to checks what it receives, whatever hooks the sender left out.
fn run_bare(path: &Path, hand: &Hand) -> Result<(), Failure> {
    let folder = bare_hooks(path)?;
    let rrctl = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
    let report = into(&folder, &githooks::IN_BARE, &rrctl)?;
    let json = json!({ "scope": "bare", "changed": paths(&report) });
    hand.answer(&json, || match report.as_slice() {
        [] => "The check is in place already.\n".to_owned(),
        edits => format!("{}Take it out with: rrctl uninstall --bare {}\n", lines(edits), path.display()),
    })
}

/// Where the hooks of a bare repository are. Anything else, and one whose hooks lie elsewhere or are another user's, is refused.
pub(super) fn bare_hooks(path: &Path) -> Result<PathBuf, Failure> {
    let refused = |why: String| Failure::new(Kind::Refused, format!("{}: {why}", path.display()));
    let Some(bare) = rr_git::bare_repository(path) else {
        return Err(refused("is no bare repository".to_owned()).hint("in a clone: rrctl install"));
    };
    let folder = rr_git::hooks_folder(&bare).map_err(|e| Failure::at("find the git hooks", &e))?;
    let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    if !real.starts_with(&bare) {
        return Err(refused(format!("its hooks are in {}, outside of it", real.display())));
    }
    let owner = std::fs::metadata(&bare).map_err(|e| Failure::at("look at the repository", &e))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(refused(format!("belongs to another user (uid {owner})")));
    }
    Ok(real)
}

fn into(folder: &Path, hooks: &[&str], rrctl: &Path) -> Result<Vec<Edit>, Failure> {
    githooks::install(folder, hooks, rrctl).map_err(|e| Failure::at("install the git hooks", &e))
}

fn not_ours(folder: &Path, rrctl: &Path) -> String {
    let (folder, rrctl) = (folder.display(), rrctl.display());
    format!(
        "NOTE  Git takes this repository's hooks from {folder}, which is shared or committed, so nothing was put there. To check\n      \
         what is published, let its pre-push, prepare-commit-msg and commit-msg run: '{rrctl}' git-hook <its name> \"$@\"\n"
    )
}

pub(super) fn paths(edits: &[Edit]) -> Vec<String> {
    edits.iter().map(|e| e.path.display().to_string()).collect()
}

pub(super) fn lines(edits: &[Edit]) -> String {
    edits.iter().map(|edit| format!("{edit}\n")).collect()
}

pub(super) const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::ProjectLocal => "project",
        Scope::User => "user",
    }
}

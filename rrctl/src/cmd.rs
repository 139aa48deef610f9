//! One file a command: its options with their help, and what it does. None knows another.

pub(crate) mod allow;
pub(crate) mod approvals;
pub(crate) mod approve;
pub(crate) mod bisect;
pub(crate) mod blame;
pub(crate) mod ca;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod conflicts;
pub(crate) mod demo;
pub(crate) mod demo_agent;
pub(crate) mod demo_link;
pub(crate) mod deny;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod etcd;
pub(crate) mod git_hook;
pub(crate) mod health;
pub(crate) mod hosts;
pub(crate) mod incident;
pub(crate) mod install;
pub(crate) mod join;
pub(crate) mod join_token;
pub(crate) mod locks;
pub(crate) mod log;
pub(crate) mod log_all;
pub(crate) mod man;
pub(crate) mod overlap;
pub(crate) mod pause_all;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod post_restore;
pub(crate) mod publish;
pub(crate) mod recover;
pub(crate) mod reject;
pub(crate) mod release;
pub(crate) mod replay;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod slot_keeper;
pub(crate) mod slots;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod up;

use std::path::PathBuf;

use crate::exit::Failure;
use crate::install::{Scope, Site};

/// Where hooks belong, as seen from the present folder.
fn site() -> Result<Site, Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let worktree = rr_git::Worktree::discover(&here).map_err(|e| Failure::at("look for a repository", &e))?;
    let (root, common) = worktree.map_or((here, None), |w| (w.root, Some(w.common_dir)));
    Site::of(&root, common.as_deref()).map_err(|e| Failure::at("find the settings", &e))
}

/// The folder of the present repository's git hooks, if it is one that we may write to.
enum GitHooks {
    /// No repository here.
    None,
    In(PathBuf),
    /// Shared with other repositories, or part of what is committed: not ours to change.
    Foreign(PathBuf),
}

fn git_hooks(site: &Site) -> Result<GitHooks, Failure> {
    let Some(common) = &site.git_common_dir else { return Ok(GitHooks::None) };
    let folder = rr_git::hooks_folder(&site.repo_root).map_err(|e| Failure::at("find the git hooks", &e))?;
    let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let unseen = real.starts_with(common)
        || (real.starts_with(&site.repo_root) && rr_git::is_ignored(&site.repo_root, &real.join("pre-push")));
    Ok(if unseen { GitHooks::In(real) } else { GitHooks::Foreign(folder) })
}

const fn scope(user: bool) -> Scope {
    if user { Scope::User } else { Scope::ProjectLocal }
}

/// What is said of a machine that may not have its certificate yet.
fn beginning() -> Result<rr_runtime::config::Beginning, Failure> {
    use crate::exit::Kind;
    rr_runtime::config::Beginning::load()
        .map_err(|e| Failure::at("read this machine's config.yaml", &e).of_kind(Kind::Usage))
}

/// A host in words.
fn host(host: &rr_proto::v1::Host) -> String {
    let id = crate::view::short(&host.id);
    crate::table::plain(&if host.name.is_empty() { format!("host {id}") } else { format!("{} ({id})", host.name) })
}

//! `rrctl uninstall`: takes out what `install` put in. How is in `crate::install`.

use serde_json::json;

use std::path::{Path, PathBuf};

use super::GitHooks;
use super::install::{bare_hooks, lines, paths, word};
use crate::exit::Failure;
use crate::hand::Hand;
use crate::install::{self, Edit, githooks};

/// Take the hooks out of the settings of Claude Code and of the git repository again
///
/// State and store stay: delete the state folder to remove them too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those of this user instead of this repository's
    #[arg(long)]
    user: bool,
    /// Only the check of what is pushed into this bare repository
    #[arg(long, value_name = "PATH", conflicts_with = "user")]
    bare: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    if let Some(path) = &args.bare {
        let report = out_of(&bare_hooks(path)?, &githooks::IN_BARE)?;
        return tell("bare", &report, hand);
    }
    let site = super::site()?;
    let scope = super::scope(args.user);
    let mut report = install::uninstall(&site, scope).map_err(|e| Failure::at("take the hooks out", &e))?;
    if !install::is_used(&site)
        && let GitHooks::In(folder) = super::git_hooks(&site)?
    {
        report.extend(out_of(&folder, &githooks::IN_CLONE)?);
    }
    tell(word(scope), &report, hand)
}

fn out_of(folder: &Path, hooks: &[&str]) -> Result<Vec<Edit>, Failure> {
    githooks::uninstall(folder, hooks).map_err(|e| Failure::at("take the git hooks out", &e))
}

fn tell(scope: &str, report: &[Edit], hand: &Hand) -> Result<(), Failure> {
    let json = json!({ "scope": scope, "changed": paths(report) });
    hand.answer(&json, || match report {
        [] => "There are no hooks of ours to take out.\n".to_owned(),
        edits => lines(edits),
    })
}

//! What belongs to this repository: the hooks of its agents, and `railroad.yaml`.

use std::path::Path;

use rr_git::Worktree;
use rr_runtime::config::{REPO_FILE, RepoConfig};

use super::Row;
use crate::cmd::GitHooks;
use crate::exit::chain;
use crate::install::{Finding, FindingKind, githooks, inspect};

const HOOKS: &str = "hooks";
const GIT_HOOKS: &str = "git hooks";
const CONFIG: &str = "railroad.yaml";

pub(super) fn hooks() -> Vec<Row> {
    let site = match crate::cmd::site() {
        Ok(site) => site,
        Err(failure) => return vec![Row::fail(HOOKS, failure.text().trim_end().to_owned(), "repair that first")],
    };
    let findings = inspect(&site);
    if findings.is_empty() {
        return vec![Row::ok(HOOKS, "in place for Claude Code")];
    }
    findings.iter().map(row).collect()
}

/// The hooks by which commits are named and what is published is checked.
pub(super) fn git_hooks() -> Option<Row> {
    let found = crate::cmd::site().and_then(|site| crate::cmd::git_hooks(&site));
    match found {
        Err(failure) => Some(Row::fail(GIT_HOOKS, failure.text().trim_end().to_owned(), "repair that first")),
        Ok(GitHooks::None) => None,
        Ok(GitHooks::Foreign(folder)) => Some(Row::warn(
            GIT_HOOKS,
            format!("git takes them from {}, which is shared or committed", folder.display()),
            "let them call rrctl: `rrctl install` says how",
        )),
        Ok(GitHooks::In(folder)) => match githooks::missing(&folder, &githooks::IN_CLONE).as_slice() {
            [] => Some(Row::ok(GIT_HOOKS, "in place: commits are named, pushes are checked")),
            missing => Some(Row::warn(
                GIT_HOOKS,
                format!("not ours, or not able to run: {}", missing.join(", ")),
                "rrctl install",
            )),
        },
    }
}

fn row(finding: &Finding) -> Row {
    match finding.kind {
        FindingKind::ProjectOnly => Row::warn(HOOKS, finding.to_string(), "rrctl install --user"),
        // Their text ends in what to do.
        FindingKind::NotInstalled
        | FindingKind::Incomplete
        | FindingKind::HookNotRunnable
        | FindingKind::HookNotCurrent
        | FindingKind::HooksDisabled
        | FindingKind::Unreadable => Row::fail(HOOKS, finding.to_string(), ""),
    }
}

pub(super) fn config() -> Row {
    let here = std::env::current_dir().unwrap_or_default();
    match Worktree::discover(&here) {
        Err(error) => Row::fail(CONFIG, chain(&error), "repair the repository"),
        Ok(None) => Row::ok(CONFIG, "no repository here: nothing to read"),
        Ok(Some(worktree)) => parse(&worktree.root.join(REPO_FILE)),
    }
}

fn parse(file: &Path) -> Row {
    match std::fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Row::ok(CONFIG, "none: the defaults hold"),
        Err(e) => Row::fail(CONFIG, format!("{}: {e}", file.display()), "make it readable"),
        Ok(text) => match RepoConfig::parse(&text, file) {
            Ok(_) => Row::ok(CONFIG, format!("{} is understood", file.display())),
            Err(error) => Row::fail(CONFIG, chain(&error), "correct it; until then its last good version holds"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_railroad_yaml_with_a_typing_error_is_a_finding() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join(REPO_FILE);
        assert_eq!(parse(&file).state, State::Ok);
        std::fs::write(&file, "fleett: x\n").expect("written");
        let row = parse(&file);
        assert_eq!(row.state, State::Fail);
        assert!(row.found.contains(":1:1"), "{}", row.found);
    }
}

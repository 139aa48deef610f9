//! What is wrong with the installed hooks, for `doctor`. Owns the findings and their repair text; it only reads. Refuses
//! to know whether a sidecar runs. Next: `../install.rs` to repair what is found here.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::settings::{self, EVENTS};
use super::{Scope, Site};
use crate::hookbin;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// No settings file has our hooks: agents are unguarded.
    NotInstalled,
    /// Some events lack their handler, or the one before a call does not block on failure.
    Incomplete,
    /// The named program is missing or cannot be run.
    HookNotRunnable,
    /// The named program is not the one this `rrctl` carries.
    HookNotCurrent,
    /// `disableAllHooks` is on: agents are unguarded.
    HooksDisabled,
    /// A settings file that the agent cannot read either.
    Unreadable,
    /// Sessions started below the repository's root do not read the project's settings.
    ProjectOnly,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    pub(crate) path: PathBuf,
    pub(crate) detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let detail = &self.detail;
        match self.kind {
            FindingKind::NotInstalled => {
                write!(f, "no Railroad hooks for {path}: run `rrctl install`")
            }
            FindingKind::Incomplete => write!(f, "{path}: hooks incomplete ({detail}): run `rrctl install`"),
            FindingKind::HookNotRunnable => write!(f, "{path}: {detail}: run `rrctl install`"),
            FindingKind::HookNotCurrent => {
                write!(f, "{path} is of another version: run `rrctl install`")
            }
            FindingKind::HooksDisabled => write!(f, "{path} has \"disableAllHooks\": true, so no hook runs: remove it"),
            FindingKind::Unreadable => write!(f, "{detail}"),
            FindingKind::ProjectOnly => write!(
                f,
                "only {path} has the hooks, and sessions started in a subdirectory do not read it: install for the user too"
            ),
        }
    }
}

/// Everything wrong with the hooks of sessions in `site`; empty = all is well.
pub(crate) fn inspect(site: &Site) -> Vec<Finding> {
    let mut findings = Vec::new();
    let local = site.settings(Scope::ProjectLocal);
    let user = site.settings(Scope::User);
    let mut guarded: BTreeSet<&str> = BTreeSet::new();
    let mut hooks: BTreeSet<String> = BTreeSet::new();
    let mut holders: Vec<PathBuf> = Vec::new();
    for path in [site.repo_root.join(".claude/settings.json"), local.clone(), user.clone()] {
        let Some(root) = readable(&path, &mut findings) else {
            continue;
        };
        if root.get("disableAllHooks") == Some(&Value::Bool(true)) {
            findings.push(finding(FindingKind::HooksDisabled, &path, ""));
        }
        let found: Vec<(&str, String)> = EVENTS.iter().flat_map(|event| in_force(&root, event.name)).collect();
        if !found.is_empty() {
            holders.push(path);
        }
        for (event, hook) in found {
            guarded.insert(event);
            hooks.insert(hook);
        }
    }
    let Some(first) = holders.first() else {
        findings.push(finding(FindingKind::NotInstalled, &site.repo_root, ""));
        return findings;
    };
    let missing: Vec<&str> = EVENTS.iter().map(|event| event.name).filter(|name| !guarded.contains(name)).collect();
    if !missing.is_empty() {
        findings.push(finding(FindingKind::Incomplete, first, &missing.join(", ")));
    }
    if !holders.contains(&user) {
        findings.push(finding(FindingKind::ProjectOnly, first, ""));
    }
    findings.extend(hooks.iter().filter_map(|hook| program(Path::new(hook))));
    findings
}

fn finding(kind: FindingKind, path: &Path, detail: &str) -> Finding {
    Finding { kind, path: path.to_owned(), detail: detail.to_owned() }
}

/// `None` also for a file that is not there, which is no finding.
fn readable(path: &Path, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    let read = super::read(path).and_then(|text| text.map(|text| settings::parse(path, &text)).transpose());
    read.unwrap_or_else(|error| {
        findings.push(finding(FindingKind::Unreadable, path, &error.to_string()));
        None
    })
}

/// Our handlers of one event that do their work: every tool is matched, and a failure before a call blocks it.
fn in_force<'a>(root: &Map<String, Value>, event: &'a str) -> Vec<(&'a str, String)> {
    let groups = root.get("hooks").and_then(|hooks| hooks.get(event)).and_then(Value::as_array);
    let matches_all =
        |group: &&Value| group.get("matcher").is_none_or(|matcher| matches!(matcher.as_str(), Some("" | "*")));
    let blocks =
        |handler: &&Value| event != "PreToolUse" || handler.get("onFailure").and_then(Value::as_str) == Some("block");
    let ours = |handler: &Value| settings::hook_of(handler.get("command")?.as_str()?);
    let groups = groups.into_iter().flatten().filter(matches_all);
    groups.flat_map(settings::handlers).filter(blocks).filter_map(ours).map(|hook| (event, hook)).collect()
}

fn program(path: &Path) -> Option<Finding> {
    let problem = match std::fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_file() => Some("is not a file".to_owned()),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
    };
    match problem {
        Some(problem) => Some(finding(FindingKind::HookNotRunnable, path, &problem)),
        None if hookbin::is_current(path) => None,
        None => Some(finding(FindingKind::HookNotCurrent, path, "")),
    }
}

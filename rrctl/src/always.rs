//! `rrctl approve --always`: an allow rule for exactly the command that was approved, in the repository's railroad.yaml if it is on
//! this machine; else the line to add is told. How the file is changed is `repo_file`'s, how the text changes `entry`'s; what a rule
//! means, the policy's.

mod entry;

use std::fs;
use std::path::{Path, PathBuf};

use rr_git::Worktree;
use rr_proto::v1;
use rr_runtime::config::{REPO_FILE, RepoConfig};
use serde_json::{Value, json};

use crate::repo_file::{self, Changed};
use crate::table::plain;

/// What became of the rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Written {
        file: PathBuf,
        entry: String,
    },
    /// It stood there before.
    Present {
        file: PathBuf,
        entry: String,
    },
    /// `entry` is none where no rule in plain words means this command and no other.
    NotWritten {
        why: String,
        entry: Option<String>,
    },
}

/// Writes the rule for an approved call.
pub(crate) fn allow(asked: &v1::Approval) -> Rule {
    let Some(entry) = entry::of_command(&asked.tool, &asked.command) else {
        let why = "the command is more than a program and its words, so one rule in plain words would allow too much";
        return Rule::NotWritten { why: why.to_owned(), entry: None };
    };
    let here = std::env::current_dir().ok();
    let Some(root) = work_tree(asked, here.as_deref()) else {
        let why = "the repository is not on this machine, or not in this folder".to_owned();
        return Rule::NotWritten { why, entry: Some(entry) };
    };
    match write(&root, &entry) {
        Ok(rule) => rule,
        Err(why) => Rule::NotWritten { why, entry: Some(entry) },
    }
}

/// A work tree of the repository that was asked in: the agent's own if it is here, else the present one.
fn work_tree(asked: &v1::Approval, here: Option<&Path>) -> Option<PathBuf> {
    let places = [Some(Path::new(&asked.folder)), here];
    places.into_iter().flatten().filter(|place| place.is_absolute()).find_map(|place| {
        let found = Worktree::discover(place).ok().flatten()?;
        let named = fs::read_to_string(found.root.join(REPO_FILE)).ok();
        let configured = named.and_then(|text| RepoConfig::parse(&text, Path::new(REPO_FILE)).ok()?.repo);
        let id = found.repo_id(configured.as_deref());
        (!asked.repo.is_empty() && id.as_str() == asked.repo).then_some(found.root)
    })
}

fn write(root: &Path, entry: &str) -> Result<Rule, String> {
    let entry = entry.to_owned();
    Ok(match repo_file::change(root, |text| entry::with_entry(text, &entry))? {
        Changed::Written(file) => Rule::Written { file, entry },
        Changed::Not(file) => Rule::Present { file, entry },
    })
}

impl Rule {
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Written { file, entry } => json!({ "written": true, "file": file, "entry": entry, "why": null }),
            Self::Present { file, entry } => {
                json!({ "written": false, "file": file, "entry": entry, "why": "it stood there before" })
            }
            Self::NotWritten { why, entry } => json!({ "written": false, "file": null, "entry": entry, "why": why }),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Written { file, entry } => {
                format!("Allowed from now on by {}: {entry}\nCommit it to allow it for everybody.\n", file.display())
            }
            Self::Present { file, entry } => format!("{} allowed it before: {entry}\n", file.display()),
            Self::NotWritten { why, entry } => {
                let line = entry.as_ref().map(|entry| format!("Add to {REPO_FILE}:\n{}", entry::alone(entry)));
                format!("No rule was written: {}\n{}", plain(why), line.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_with_the_line_to_add() {
        let asked = v1::Approval {
            tool: "Bash".into(),
            command: "npm publish".into(),
            folder: "/nowhere/at/all".into(),
            repo: "0123456789abcdef".into(),
            ..Default::default()
        };
        let rule = Rule::NotWritten { why: "it is elsewhere".into(), entry: Some("npm publish".into()) };
        assert!(work_tree(&asked, None).is_none());
        assert!(rule.text().ends_with("Add to railroad.yaml:\nallow:\n  - npm publish\n"), "{}", rule.text());
        let wild = allow(&v1::Approval { command: "npm publish; rm x".into(), ..asked });
        assert!(matches!(&wild, Rule::NotWritten { entry: None, .. }), "{wild:?}");
    }
}

//! `rrctl approve --always`: an allow rule for exactly the command that was approved, in the repository's railroad.yaml if it is on
//! this machine. The file is changed whole or not at all, and only if it is understood before and after; else the line to
//! add is told. How the text changes is `entry`'s; what a rule means, the policy's.

mod entry;

use std::path::{Path, PathBuf};
use std::{fs, io};

use rr_git::Worktree;
use rr_proto::v1;
use rr_runtime::config::{REPO_FILE, RepoConfig};
use serde_json::{Value, json};

use crate::install::replace_with_mode;
use crate::table::plain;

/// A new file of a repository is everybody's to read, as its others are.
const NEW_FILE_MODE: u32 = 0o644;

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
    let file = root.join(REPO_FILE);
    // An agent may write here: a link of its could make this change any file of ours.
    if fs::symlink_metadata(&file).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{} is no plain file", file.display()));
    }
    let (before, mode) = match fs::read_to_string(&file) {
        Ok(text) => (text, None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (String::new(), Some(NEW_FILE_MODE)),
        Err(e) => return Err(format!("{} cannot be read: {e}", file.display())),
    };
    let parse = |text: &str, when: &str| match RepoConfig::parse(text, &file) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} would not be understood {when} the change: {error}", file.display())),
    };
    parse(&before, "before")?;
    let after = match entry::with_entry(&before, entry) {
        Ok(entry::Edit::Present) => return Ok(Rule::Present { file, entry: entry.to_owned() }),
        Ok(entry::Edit::Text(after)) => after,
        Err(why) => return Err(format!("{}: {why}", file.display())),
    };
    parse(&after, "after")?;
    let unchanged = fs::read_to_string(&file).unwrap_or_default() == before;
    if !unchanged {
        return Err(format!("{} is being changed by somebody else", file.display()));
    }
    replace_with_mode(&file, after.as_bytes(), mode).map_err(|e| rr_runtime::errors::chain(&e))?;
    Ok(Rule::Written { file, entry: entry.to_owned() })
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

    #[test]
    fn a_file_that_is_not_understood_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join(REPO_FILE);
        fs::write(&file, "flet: x\n").expect("written");
        let why = write(dir.path(), "npm publish").expect_err("refused");
        assert!(why.contains("before the change"), "{why}");
        assert_eq!(fs::read_to_string(&file).expect("there"), "flet: x\n");
        let other = dir.path().join("other");
        fs::rename(&file, &other).expect("moved");
        std::os::unix::fs::symlink(&other, &file).expect("linked");
        assert!(write(dir.path(), "npm publish").expect_err("refused").contains("no plain file"));
    }
}

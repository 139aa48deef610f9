//! A change that a command makes to a repository's railroad.yaml: whole or not at all, and only if the file is understood before and after.
//! What is changed is the caller's; how its text is taken apart, `text`'s.

pub(crate) mod text;

use std::path::{Path, PathBuf};
use std::{fs, io};

use rr_runtime::config::{REPO_FILE, RepoConfig};

use crate::install::replace_with_mode;
use text::{Cannot, Edit};

/// A new file of a repository is everybody's to read, as its others are.
const NEW_FILE_MODE: u32 = 0o644;

/// What became of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Written(PathBuf),
    /// It all stood there before.
    Not(PathBuf),
}

/// A change that would be made.
struct Plan {
    file: PathBuf,
    before: String,
    /// `None`: it all stands there.
    after: Option<String>,
    /// Of a new file.
    mode: Option<u32>,
}

/// Changes the file of the work tree at `root`.
///
/// # Errors
/// Why it is left as it is.
pub(crate) fn change(root: &Path, edit: impl FnOnce(&str) -> Result<Edit, Cannot>) -> Result<Changed, String> {
    let Plan { file, before, after, mode } = plan(root, edit)?;
    let Some(after) = after else { return Ok(Changed::Not(file)) };
    let unchanged = fs::read_to_string(&file).unwrap_or_default() == before;
    if !unchanged {
        return Err(format!("{} is being changed by somebody else", file.display()));
    }
    replace_with_mode(&file, after.as_bytes(), mode).map_err(|e| rr_runtime::errors::chain(&e))?;
    Ok(Changed::Written(file))
}

/// Whether that could be done, as the file stands.
///
/// # Errors
/// Why not.
pub(crate) fn check(root: &Path, edit: impl FnOnce(&str) -> Result<Edit, Cannot>) -> Result<(), String> {
    plan(root, edit).map(drop)
}

fn plan(root: &Path, edit: impl FnOnce(&str) -> Result<Edit, Cannot>) -> Result<Plan, String> {
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
    let after = match edit(&before) {
        Ok(Edit::Present) => None,
        Ok(Edit::Text(after)) => Some(after),
        Err(why) => return Err(format!("{}: {why}", file.display())),
    };
    after.as_ref().map_or(Ok(()), |after| parse(after, "after"))?;
    Ok(Plan { file, before, after, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_more(text: &str) -> Result<Edit, Cannot> {
        Ok(Edit::Text(format!("{text}allow: [npm publish]\n")))
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join(REPO_FILE);
        fs::write(&file, "flet: x\n").expect("written");
        let why = change(dir.path(), with_more).expect_err("refused");
        assert!(why.contains("before the change"), "{why}");
        assert_eq!(fs::read_to_string(&file).expect("there"), "flet: x\n");
        fs::write(&file, "fleet: x\n").expect("written");
        let why = change(dir.path(), |text| Ok(Edit::Text(format!("{text}flet: y\n")))).expect_err("refused");
        assert!(why.contains("after the change"), "{why}");
        assert_eq!(fs::read_to_string(&file).expect("there"), "fleet: x\n");
        let other = dir.path().join("other");
        fs::rename(&file, &other).expect("moved");
        std::os::unix::fs::symlink(&other, &file).expect("linked");
        assert!(change(dir.path(), with_more).expect_err("refused").contains("no plain file"));
    }

    #[test]
    fn a_check_writes_nothing_and_a_file_that_was_not_there_is_made() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join(REPO_FILE);
        check(dir.path(), with_more).expect("it could be");
        assert!(!file.exists());
        assert_eq!(change(dir.path(), with_more), Ok(Changed::Written(file.clone())));
        assert_eq!(fs::read_to_string(&file).expect("there"), "allow: [npm publish]\n");
        assert_eq!(change(dir.path(), |_| Ok(Edit::Present)), Ok(Changed::Not(file)));
    }

    #[test]
    fn what_somebody_writes_meanwhile_is_not_written_over() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join(REPO_FILE);
        let meanwhile = |text: &str| {
            fs::write(dir.path().join(REPO_FILE), "fleet: theirs\n").expect("written");
            with_more(text)
        };
        assert!(change(dir.path(), meanwhile).expect_err("refused").contains("somebody else"));
        assert_eq!(fs::read_to_string(&file).expect("there"), "fleet: theirs\n");
    }
}

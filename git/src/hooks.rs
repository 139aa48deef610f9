//! Git's own hooks: in which folder git looks for them, whether git would see a file there, and the commit message that a hook is
//! handed. It decides nothing about what hooks do.

use std::io;
use std::path::{Path, PathBuf};

use crate::command::{GitError, Input, git, git_with};
use crate::history::SESSION_TRAILER;

/// Below this line a message holds what only the editor shows (`git commit --verbose`).
const SCISSORS: &str = "------------------------ >8 ------------------------";

/// The folder that git takes a repository's hooks from, `core.hooksPath` respected. `folder` lies in a work tree or is bare.
///
/// # Errors
/// If git finds no repository there.
pub fn hooks_folder(folder: &Path) -> Result<PathBuf, GitError> {
    let said = git(folder, ["rev-parse", "--path-format=absolute", "--git-path", "hooks"])?;
    Ok(PathBuf::from(one_line(&said)))
}

/// The folder of a bare repository, if `folder` is one.
#[must_use]
pub fn bare_repository(folder: &Path) -> Option<PathBuf> {
    let said = git(folder, ["rev-parse", "--is-bare-repository", "--path-format=absolute", "--git-dir"]).ok()?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let (is_bare, dir) = text.split_once('\n')?;
    let dir = PathBuf::from(dir.trim_end_matches('\n')).canonicalize().ok()?;
    (is_bare == "true" && folder.canonicalize().ok()? == dir).then_some(dir)
}

/// Whether a file at `path` would be left alone by `git add` in the work tree at `root`.
#[must_use]
pub fn is_ignored(root: &Path, path: &Path) -> bool {
    let args = ["check-ignore".as_ref(), "--quiet".as_ref(), "--".as_ref(), path.as_os_str()];
    git(root, args).is_ok()
}

/// What a hook does to a commit's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It names the session now, or did before.
    Yes,
    /// There is no message: git will not commit, and must not be given something that looks like one.
    Empty,
}

/// Names a session (or [`PERSON`](crate::PERSON)) in the message that git has put into `file`, as its last trailer.
///
/// # Errors
/// If the file cannot be read or written, or git fails.
pub fn name_session(folder: &Path, file: &Path, session: &str) -> Result<Named, MessageError> {
    let failed = |source| MessageError::File { file: file.display().to_string(), source };
    let message = std::fs::read(file).map_err(failed)?;
    let line = format!("{SESSION_TRAILER}: {session}");
    if words_of(folder, &message, &line)?.is_empty() {
        let without = without_line(&message, &line);
        if without != message {
            std::fs::write(file, without).map_err(failed)?;
        }
        return Ok(Named::Empty);
    }
    let fixed = ["interpret-trailers", "--in-place", "--no-divider", "--where", "end"];
    let rules = ["--if-exists", "addIfDifferentNeighbor", "--if-missing", "add", "--trailer", &line];
    let mut args: Vec<&std::ffi::OsStr> = fixed.iter().chain(&rules).map(std::ffi::OsStr::new).collect();
    args.push(file.as_os_str());
    git(folder, args)?;
    Ok(Named::Yes)
}

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("edit the commit message in {file}")]
    File {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What git would commit as the message, less a line of ours.
fn words_of(folder: &Path, message: &[u8], ours: &str) -> Result<Vec<u8>, GitError> {
    let text: Vec<&[u8]> = message.split(|b| *b == b'\n').collect();
    let cut = text.iter().position(|l| String::from_utf8_lossy(l).contains(SCISSORS)).unwrap_or(text.len());
    let shown = text[..cut].join(&b'\n');
    let input = Input { stdin: Some(&without_line(&shown, ours)), ..Input::default() };
    git_with(folder, ["stripspace", "--strip-comments"], &input)
}

fn without_line(message: &[u8], line: &str) -> Vec<u8> {
    let kept = message.split_inclusive(|b| *b == b'\n').filter(|l| l.trim_ascii_end() != line.as_bytes());
    kept.flatten().copied().collect()
}

fn one_line(said: &[u8]) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let line = said.split(|b| *b == b'\n').next().unwrap_or_default();
    std::ffi::OsString::from_vec(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(message: &str) -> (Named, String) {
        let dir = tempfile::tempdir().expect("temp dir");
        git(dir.path(), ["init", "-q"]).expect("git");
        let file = dir.path().join("msg");
        std::fs::write(&file, message).expect("write");
        let done = name_session(dir.path(), &file, "abc").expect("named");
        (done, std::fs::read_to_string(&file).expect("read"))
    }

    #[test]
    fn a_message_names_its_session_once_and_last() {
        assert_eq!(named("subject\n").1, "subject\n\nRailroad-Session: abc\n");
        assert_eq!(named("subject\n\nRailroad-Session: abc\n").1, "subject\n\nRailroad-Session: abc\n");
        let other = named("subject\n\nSigned-off-by: x <x@y>\nRailroad-Session: other\n").1;
        assert_eq!(other, "subject\n\nSigned-off-by: x <x@y>\nRailroad-Session: other\nRailroad-Session: abc\n");
        let again = named("s\n\nRailroad-Session: abc\nRailroad-Session: other\n").1;
        assert!(again.ends_with("other\nRailroad-Session: abc\n"), "{again}");
        let with_dashes = named("subject\n\ntext\n---\nmore text\n").1;
        assert!(with_dashes.ends_with("more text\n\nRailroad-Session: abc\n"), "{with_dashes}");
    }

    #[test]
    fn what_the_editor_shows_stays_below_the_name() {
        let said = named(
            "subject\n\n# Please enter the message\n# ------------------------ >8 ------------------------\ndiff\n",
        )
        .1;
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text} in {said}"));
        assert!(at("Railroad-Session: abc") < at("# Please enter"), "{said}");
    }

    #[test]
    fn an_empty_message_stays_empty_so_that_git_gives_up() {
        for message in
            ["", "\n\n", "# Please enter\n#\n", "# x\n# ------------------------ >8 ------------------------\ndiff\n"]
        {
            assert_eq!(named(message), (Named::Empty, message.to_owned()));
        }
        let left = named("\nRailroad-Session: abc\n# Please enter\n");
        assert_eq!(
            left,
            (Named::Empty, "\n# Please enter\n".to_owned()),
            "all but our own line was deleted in the editor"
        );
    }

    #[test]
    fn hooks_are_where_git_looks_for_them() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().canonicalize().expect("canonical");
        let run = |args: &[&str]| git(&root, args).expect("git");
        run(&["init", "-q", "r"]);
        let repo = root.join("r");
        assert_eq!(hooks_folder(&repo).expect("found"), repo.join(".git/hooks"));
        let commit =
            ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "x"];
        git(&repo, commit).expect("git");
        git(&repo, ["worktree", "add", "-q", "../wt"]).expect("git");
        assert_eq!(hooks_folder(&root.join("wt")).expect("found"), repo.join(".git/hooks"));
        git(&repo, ["config", "core.hooksPath", ".husky/_"]).expect("git");
        assert_eq!(hooks_folder(&repo).expect("found"), repo.join(".husky/_"));
        assert!(!is_ignored(&repo, &repo.join(".husky/_/pre-push")));
        std::fs::create_dir_all(repo.join(".husky/_")).expect("mkdir");
        std::fs::write(repo.join(".husky/_/.gitignore"), "*\n").expect("write");
        assert!(is_ignored(&repo, &repo.join(".husky/_/pre-push")));
        run(&["init", "-q", "--bare", "b.git"]);
        let bare = root.join("b.git");
        assert_eq!(bare_repository(&bare), Some(bare.clone()));
        assert_eq!(hooks_folder(&bare).expect("found"), bare.join("hooks"));
        for none in [repo.clone(), repo.join(".git"), bare.join("hooks"), root.clone()] {
            assert_eq!(bare_repository(&none), None, "{}", none.display());
        }
    }
}

//! What stood at a path that was clean before somebody changed it. The git program puts it, because filters, line ends and encodings
//! are its own to know. They need not have been applied: a file that an editor has saved with other line ends is clean to git. How
//! long it was the index still knows, and that says which bytes stood there. Nothing of the work tree is touched.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::command::{GitError, Input, git_with};
use crate::worktree::Worktree;

/// What a commit had at some paths.
pub struct PutEarlier {
    /// They stand below this folder.
    pub files: PathBuf,
    /// Those that the commit has. Of one that does not stand there all the same it is not known what its bytes were.
    pub had: HashSet<PathBuf>,
}

impl Worktree {
    /// Puts those of `paths` (relative to the work tree) that `commit` has below `into`, as a checkout would. Others are left out.
    /// `into` must be an empty folder of the caller's own; an index is made in it, too.
    ///
    /// # Errors
    /// If git fails.
    pub fn put_earlier(&self, commit: &str, paths: &[PathBuf], into: &Path) -> Result<PutEarlier, GitError> {
        let index = into.join("index");
        let files = into.join("files");
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        let own = Input { env: &env, ..Input::default() };
        git_with(&self.root, ["read-tree", commit], &own)?;
        let mut prefix = OsString::from("--prefix=");
        prefix.push(&files);
        prefix.push("/");
        let listed = git_with(&self.root, ["ls-files", "-s", "-z"], &own)?;
        let all: HashMap<&[u8], &[u8]> = listed.split(|b| *b == 0).filter_map(blob_and_path).collect();
        let had: HashSet<PathBuf> =
            paths.iter().filter(|p| all.contains_key(p.as_os_str().as_bytes())).cloned().collect();
        let names: Vec<u8> = had.iter().flat_map(|p| [p.as_os_str().as_bytes(), b"\0"].concat()).collect();
        let args = ["checkout-index", "--quiet", "--force", "-z", "--stdin"].map(OsString::from);
        git_with(&self.root, args.into_iter().chain([prefix]), &Input { stdin: Some(&names), ..own }).or_else(
            |error| {
                // A filter that fails ends it: what it had put by then is whole.
                if matches!(error, GitError::Failed { .. }) { Ok(Vec::new()) } else { Err(error) }
            },
        )?;
        self.put_right(&files, &had, &all)?;
        Ok(PutEarlier { files, had })
    }

    /// Compares what was put with what the index knows of the file that stood there: it may have been the blob as it is. Where neither
    /// can have been, nothing is left.
    fn put_right(&self, files: &Path, had: &HashSet<PathBuf>, blobs: &HashMap<&[u8], &[u8]>) -> Result<(), GitError> {
        let known = git_with(&self.root, ["ls-files", "-s", "-z", "--debug"], &Input::default())?;
        let lengths = lengths(&known);
        let mut unsure = Vec::new();
        for path in had {
            let (name, put) = (path.as_os_str().as_bytes(), files.join(path));
            let len = put.symlink_metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
            let (Some(len), Some(blob)) = (len, blobs.get(name)) else { continue };
            // Zero says that git does not know any more.
            let stood = lengths.get(name).filter(|(of, stood)| of == blob && *stood > 0).map(|(_, stood)| *stood);
            if stood != Some(len) {
                unsure.push((path, put, *blob, stood));
            }
        }
        let raws = self.blobs(unsure.iter().map(|(_, _, blob, _)| *blob))?;
        for ((path, put, blob, stood), raw) in unsure.into_iter().zip(raws) {
            let right = match stood {
                None => std::fs::read(&put).is_ok_and(|bytes| bytes == raw),
                Some(stood) => {
                    let may_be = [with_crlf(&raw), raw].into_iter().find(|bytes| bytes.len() as u64 == stood);
                    match may_be {
                        Some(bytes) => self.is_clean(path, &bytes, blob)? && std::fs::write(&put, bytes).is_ok(),
                        None => false,
                    }
                }
            };
            if !right && let Err(error) = std::fs::remove_file(&put) {
                tracing::warn!(file = %put.display(), %error, "take away what did not stand there");
            }
        }
        Ok(())
    }

    /// The bytes of blobs, by one process.
    fn blobs<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, GitError> {
        let asked: Vec<u8> = names.flat_map(|name| [name, b"\n"].concat()).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let said = git_with(&self.root, ["cat-file", "--batch"], &Input { stdin: Some(&asked), ..Input::default() })?;
        let (mut rest, mut all) = (&said[..], Vec::new());
        // Each: name, kind, length; then so many bytes and a line's end. One that is missing has no length, and no bytes.
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let len =
                rest[..at].rsplit(|b| *b == b' ').next().and_then(|len| std::str::from_utf8(len).ok()?.parse().ok());
            let (bytes, behind) = match len {
                Some(len) => rest[at + 1..].split_at_checked(len).unwrap_or_default(),
                None => (&[][..], &rest[at..]),
            };
            all.push(bytes.to_vec());
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(all)
    }

    /// Whether a file of these bytes is that blob to git.
    fn is_clean(&self, path: &Path, bytes: &[u8], blob: &[u8]) -> Result<bool, GitError> {
        let mut at = OsString::from("--path=");
        at.push(path);
        let args = ["hash-object".into(), at, "--stdin".into()];
        let name = git_with(&self.root, args, &Input { stdin: Some(bytes), ..Input::default() })?;
        Ok(name.trim_ascii() == blob)
    }
}

/// The same lines, each ended as git's `text` attribute takes the end away: the only other text of that length that git calls the same.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' {
            all.push(b'\r');
        }
        all.push(*byte);
    }
    all
}

/// Of `mode blob stage<TAB>path`.
fn blob_and_path(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = entry.iter().position(|b| *b == b'\t')?;
    let blob = entry[..at].split(|b| *b == b' ').nth(1)?;
    Some((&entry[at + 1..], blob))
}

/// Of each path in the index its blob, and how long its file was when git last saw it clean. `--debug` puts five lines behind each entry.
fn lengths(listed: &[u8]) -> HashMap<&[u8], (&[u8], u64)> {
    let mut found = HashMap::new();
    let mut parts = listed.split(|b| *b == 0);
    let mut entry = parts.next().and_then(blob_and_path);
    for part in parts {
        let mut lines = part.splitn(6, |b| *b == b'\n');
        let size = lines.by_ref().take(5).last().and_then(|line| {
            let line = std::str::from_utf8(line).ok()?.trim_start().strip_prefix("size: ")?;
            line.split('\t').next()?.parse().ok()
        });
        if let Some(((path, blob), size)) = entry.zip(size) {
            found.insert(path, (blob, size));
        }
        entry = lines.next().and_then(blob_and_path);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::command::git;

    #[test]
    fn a_clean_file_of_before_is_put_as_a_checkout_would_and_the_rest_is_left_out() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let run = |args: &[&str]| git(root, args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(root.join(".gitattributes"), "*.txt text eol=crlf\n").expect("write");
        std::fs::write(root.join("a b.txt"), "one\r\n").expect("write");
        std::fs::write(root.join("run.sh"), "#!/bin/sh\n").expect("write");
        std::fs::set_permissions(root.join("run.sh"), std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::os::unix::fs::symlink("run.sh", root.join("link")).expect("link");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        let tree = Worktree::discover(root).expect("readable").expect("a work tree");
        let commit = tree.dirty().expect("status").commit().expect("a commit").to_owned();
        std::fs::write(root.join("a b.txt"), "two\r\n").expect("write");
        let paths = ["a b.txt", "run.sh", "link", "never.txt"].map(PathBuf::from);
        let place = tempfile::tempdir().expect("temp dir");
        let put = tree.put_earlier(&commit, &paths, place.path()).expect("put");
        let files = put.files;
        assert!(put.had.len() == 3 && !put.had.contains(Path::new("never.txt")));
        assert_eq!(std::fs::read(files.join("a b.txt")).expect("there"), b"one\r\n");
        assert_eq!(std::fs::read_link(files.join("link")).expect("there"), PathBuf::from("run.sh"));
        let mode = std::fs::metadata(files.join("run.sh")).expect("there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
        assert!(!files.join("never.txt").exists());
        assert_eq!(std::fs::read(root.join("a b.txt")).expect("there"), b"two\r\n", "the work tree is as it was");
        let dirty = tree.dirty().expect("status");
        assert_eq!(dirty.paths().count(), 1);
    }

    #[test]
    fn a_file_whose_filter_fails_is_not_taken_for_one_that_was_not_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let run = |args: &[&str]| git(root, args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(root.join(".gitattributes"), "*.big filter=big\n").expect("write");
        std::fs::write(root.join("a.big"), "pointer\n").expect("write");
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        run(&["config", "filter.big.smudge", "false"]);
        run(&["config", "filter.big.required", "true"]);
        let tree = Worktree::discover(root).expect("readable").expect("a work tree");
        let place = tempfile::tempdir().expect("temp dir");
        let put = tree.put_earlier("HEAD", &[PathBuf::from("a.big")], place.path()).expect("put");
        assert!(put.had.contains(Path::new("a.big")) && !put.files.join("a.big").exists());
    }

    #[test]
    fn line_ends_that_git_would_not_give_are_put_as_they_stood_or_not_at_all() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path();
        let run = |args: &[&str]| git(root, args.iter()).expect("git");
        run(&["init", "-q", "-b", "main"]);
        run(&["config", "user.email", "t@example.org"]);
        run(&["config", "user.name", "t"]);
        std::fs::write(root.join(".gitattributes"), "*.txt text\n*.dos text eol=crlf\n").expect("write");
        let files = [
            ("a.txt", "1\r\n2\r\n"),
            ("b.txt", "1\r\n2\n"),
            ("c.txt", "1\n2\n"),
            ("d.dos", "1\n2\n"),
            ("e.dos", "1\r\n"),
        ];
        for (name, text) in files {
            std::fs::write(root.join(name), text).expect("write");
            let file = std::fs::File::options().write(true).open(root.join(name)).expect("open");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("dated");
        }
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "first"]);
        let tree = Worktree::discover(root).expect("readable").expect("a work tree");
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| PathBuf::from(name)).collect();
        let place = tempfile::tempdir().expect("temp dir");
        let put = tree.put_earlier("HEAD", &paths, place.path()).expect("put");
        for (name, text) in files {
            let found = std::fs::read_to_string(put.files.join(name)).ok();
            assert_eq!(found.as_deref(), (name != "b.txt").then_some(text), "{name}");
        }
        assert_eq!(put.had.len(), files.len(), "what cannot be said is not taken for nothing");
    }
}

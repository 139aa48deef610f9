//! What the agents say they wrote, compared with what is in the files. Owns the verdict on lost updates; it believes the
//! disk and nobody else. Next: `play` asks it at the end.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

/// A write that was let through, made and reported.
#[derive(Clone, Debug)]
pub(crate) struct Wrote {
    pub(crate) agent: String,
    pub(crate) path: String,
    /// It must be in the file exactly once.
    pub(crate) line: String,
    /// The number that was raised by one, if any.
    pub(crate) count: String,
    pub(crate) at_unix_ms: u64,
}

/// One sentence for each write whose result is not there as it should be.
pub(crate) fn lost(repo: &Path, writes: &[Wrote]) -> Vec<String> {
    let text = |path: &str| fs::read_to_string(repo.join(path)).unwrap_or_default();
    let mut lost = Vec::new();
    let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for write in writes {
        let times = text(&write.path).lines().filter(|l| *l == write.line).count();
        if !write.line.is_empty() && times != 1 {
            lost.push(format!("{}: \"{}\" of {} is there {times} times", write.path, write.line, write.agent));
        }
        if !write.count.is_empty() {
            *counted.entry((&write.path, &write.count)).or_default() += 1;
        }
    }
    for ((path, name), times) in counted {
        let found = number(&text(path), name);
        if found != Some(times) {
            let found = found.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
            lost.push(format!("{path}: {name} was raised {times} times and is {found}"));
        }
    }
    lost
}

/// The number behind a name.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.split_once(name))?.1;
    let digits = rest.trim_start_matches([' ', '=', ':']);
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

/// The text of every file of a work tree.
pub(crate) fn texts(repo: &Path) -> std::io::Result<BTreeMap<PathBuf, String>> {
    let read = |path: PathBuf| fs::read(&path).map(|bytes| (path, String::from_utf8_lossy(&bytes).into_owned()));
    files(repo)?.into_iter().map(read).collect()
}

/// Git's own files may be tidied up at any time; they are no work of an agent.
fn files(repo: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![repo.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                files.push(entry.path());
            } else if entry.file_name() != ".git" {
                folders.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// Every file of a work tree as it is at this moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture(BTreeMap<PathBuf, u64>);

impl Picture {
    pub(crate) fn of(repo: &Path) -> std::io::Result<Self> {
        let hashed = |path: PathBuf| {
            let mut hash = DefaultHasher::new();
            hash.write(&fs::read(&path)?);
            Ok((path, hash.finish()))
        };
        files(repo)?.into_iter().map(hashed).collect::<std::io::Result<_>>().map(Self)
    }

    /// How many files are not as they were.
    pub(crate) fn changed_since(&self, before: &Self) -> usize {
        let other = |(path, hash): &(&PathBuf, &u64)| before.0.get(*path) != Some(*hash);
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path)).count();
        self.0.iter().filter(other).count() + gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_gone_or_doubled_and_a_number_that_is_too_low_are_lost_updates() {
        let dir = tempfile::tempdir().expect("folder");
        fs::write(dir.path().join("f"), "N = 1;\none\ntwo\ntwo\n").expect("write");
        let wrote = |line: &str, count: &str| Wrote {
            agent: "a".into(),
            path: "f".into(),
            line: line.into(),
            count: count.into(),
            at_unix_ms: 0,
        };
        assert_eq!(lost(dir.path(), &[wrote("one", "N")]), Vec::<String>::new());
        for (line, times) in [("two", "2 times"), ("three", "0 times")] {
            assert!(lost(dir.path(), &[wrote(line, "")])[0].contains(times));
        }
        assert!(lost(dir.path(), &[wrote("one", "N"), wrote("", "N")])[0].contains("raised 2 times and is 1"));
    }

    #[test]
    fn a_picture_tells_new_changed_and_removed_files() {
        let dir = tempfile::tempdir().expect("folder");
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("write");
        put("a", "1");
        put("b", "1");
        let before = Picture::of(dir.path()).expect("look");
        assert_eq!(Picture::of(dir.path()).expect("look").changed_since(&before), 0);
        put("a", "2");
        put("c", "1");
        fs::remove_file(dir.path().join("b")).expect("remove");
        assert_eq!(Picture::of(dir.path()).expect("look").changed_since(&before), 3);
    }
}

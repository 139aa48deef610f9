//! Where two sides meet without sharing a path: one puts a file where the other has a folder, or adds below a folder that the other
//! moves away (git then moves the added file along, and says so as a conflict). Only a merge of whole trees can judge either.

use super::side::is_added;
use crate::live::{FileChange, GitPath};

/// The folders above a path, the nearest first; not the root, which nobody moves.
pub(super) fn above(path: &GitPath) -> impl Iterator<Item = GitPath> + '_ {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(move |(at, _)| GitPath::new(&bytes[..at]))
}

/// The folders below which this change puts something that was not there.
pub(super) fn fills(file: &FileChange) -> Vec<GitPath> {
    if is_added(file) { above(&file.path).collect() } else { vec![] }
}

/// The folders that may be on their way elsewhere, if this change moved its file out of them: `a/b/f` to `c/b/f` moves `a/b` and
/// `a`, `a/f` to `a/g` moves none.
pub(super) fn empties(file: &FileChange) -> Vec<GitPath> {
    let Some(old) = &file.renamed_from else { return vec![] };
    let (mut found, mut new) = (vec![], above(&file.path));
    for folder in above(old) {
        let to = new.next();
        if to.as_ref() == Some(&folder) {
            break;
        }
        let same_name = to.as_ref().is_some_and(|to| last_part(to) == last_part(&folder));
        found.push(folder);
        if !same_name {
            break;
        }
    }
    found
}

fn last_part(path: &GitPath) -> &[u8] {
    path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(from: &str, to: &str) -> Vec<String> {
        let file = FileChange { renamed_from: Some(from.into()), ..FileChange::of(to.into(), None, None) };
        empties(&file).iter().map(GitPath::to_string).collect()
    }

    #[test]
    fn a_moved_file_empties_the_folders_whose_names_it_takes_along() {
        assert_eq!(moved("a/b/f", "c/b/f"), ["a/b", "a"]);
        assert_eq!(moved("a/f", "b/f"), ["a"]);
        assert_eq!(moved("a/f", "b/g"), ["a"]);
        assert_eq!(moved("a/f", "a/g"), [""; 0]);
        assert_eq!(moved("f", "src/f"), [""; 0]);
        assert_eq!(moved("a/b/f", "f"), ["a/b"]);
        assert_eq!(moved("x/a/f", "x/b/f"), ["x/a"]);
    }
}

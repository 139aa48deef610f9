//! Manifests and lock files. A manifest is compared by key, never by line: two packages beside each other are no conflict. A lock
//! file is made anew from its manifest and is never a reason to tell anybody anything.

use std::collections::BTreeMap;

use crate::live::{FileChange, GitPath, PackageChange};

/// What package managers write themselves.
const LOCK_FILES: [&[u8]; 12] = [
    b"Cargo.lock",
    b"package-lock.json",
    b"npm-shrinkwrap.json",
    b"pnpm-lock.yaml",
    b"yarn.lock",
    b"bun.lock",
    b"go.sum",
    b"poetry.lock",
    b"uv.lock",
    b"Pipfile.lock",
    b"Gemfile.lock",
    b"composer.lock",
];

pub(super) fn is_lock_file(path: &GitPath) -> bool {
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    LOCK_FILES.contains(&name)
}

/// One key that two sides gave different values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyClash {
    pub(super) key: String,
    pub(super) from: Option<String>,
    /// Of the two sides, in the order they were given.
    pub(super) to: [Option<String>; 2],
}

/// The keys on which the two disagree; none if this is no manifest that both changed by key.
pub(super) fn by_key(a: &FileChange, b: &FileChange) -> Option<Vec<KeyClash>> {
    let both_edit = [a, b].iter().all(|file| file.from.is_some() && file.to.is_some() && !file.packages.is_empty());
    both_edit.then(|| clashes(&a.packages, &b.packages))
}

fn clashes(a: &[PackageChange], b: &[PackageChange]) -> Vec<KeyClash> {
    let theirs: BTreeMap<&str, &PackageChange> = b.iter().map(|change| (change.key.as_str(), change)).collect();
    let clash = |ours: &PackageChange| {
        let other = theirs.get(ours.key.as_str()).filter(|other| other.to != ours.to)?;
        let (key, from) = (ours.key.clone(), ours.from.clone());
        Some(KeyClash { key, from, to: [ours.to.clone(), other.to.clone()] })
    };
    let mut found: Vec<KeyClash> = a.iter().filter_map(clash).collect();
    found.sort_by(|x, y| x.key.cmp(&y.key));
    found.dedup_by(|x, y| x.key == y.key);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_known_by_its_name_alone() {
        for (path, is) in [("Cargo.lock", true), ("web/yarn.lock", true), ("lock", false), ("src/Cargo.lock.rs", false)]
        {
            assert_eq!(is_lock_file(&path.into()), is, "{path}");
        }
    }

    #[test]
    fn only_one_key_with_two_values_is_a_clash() {
        let change = |key: &str, to: Option<&str>| PackageChange {
            key: key.to_owned(),
            from: Some("1".to_owned()),
            to: to.map(str::to_owned),
        };
        let a =
            [change("dependencies/a", Some("2")), change("dependencies/b", Some("2")), change("dependencies/c", None)];
        let b =
            [change("dependencies/c", Some("3")), change("dependencies/b", Some("2")), change("dependencies/d", None)];
        let found = clashes(&a, &b);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].key, "dependencies/c");
        assert_eq!(found[0].to, [None, Some("3".to_owned())]);
    }
}

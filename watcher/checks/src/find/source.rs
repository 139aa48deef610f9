//! A tree as discovery reads it: text files of a bounded size, and a record of everything that was looked at, so that a
//! plan knows what it was made of. It judges nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Configured, Found, Hash, Tree};

/// A manifest is written by hand; a larger file is not one.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Folders below the root that are looked at for manifests of their own.
const FOLDERS_MAX: usize = 64;
/// A repository of more projects than this says by itself how it is checked.
const PLACES_MAX: usize = 8;

pub(super) struct Source<'t> {
    tree: &'t dyn Tree,
    seen: RefCell<BTreeMap<String, [u8; 32]>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(tree: &'t dyn Tree) -> Self {
        Self { tree, seen: RefCell::default() }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.read(path).is_some()
    }

    /// A file's text. What is no text or too large is told, and as good as absent.
    pub(super) fn text(&self, path: &str, found: &mut Found) -> Option<String> {
        let bytes = self.read(path)?;
        if bytes.len() > FILE_BYTES_MAX {
            found.note(format!("{path} is larger than 1 MiB and was not read"));
            return None;
        }
        let text = String::from_utf8(bytes).ok();
        if text.is_none() {
            found.note(format!("{path} is not text and was not read"));
        }
        text
    }

    /// The names in a folder, in order.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let mut names = self.tree.list(folder);
        for name in &mut names {
            name.truncate(name.trim_end_matches('/').len());
        }
        names.sort();
        self.seen.borrow_mut().insert(format!("{folder}/"), Sha256::digest(names.join("\0")).into());
        names
    }

    /// Where one of these files is: the root, else the folders directly below it.
    pub(super) fn places(&self, manifests: &[&str], found: &mut Found) -> Vec<String> {
        if manifests.iter().any(|m| self.has(m)) {
            return vec![String::new()];
        }
        let folders = self.names("").into_iter().filter(|n| !n.starts_with('.') && n != "node_modules");
        let is_place = |folder: &String| manifests.iter().any(|m| self.has(&within(folder, m)));
        let mut places: Vec<String> = folders.take(FOLDERS_MAX).filter(is_place).collect();
        if places.len() > PLACES_MAX {
            found.note(format!("{} folders have a {}; the first {PLACES_MAX} are taken", places.len(), manifests[0]));
            places.truncate(PLACES_MAX);
        }
        places
    }

    pub(super) fn hash_with(&self, configured: &[Configured]) -> Hash {
        let mut all = Sha256::new();
        for c in configured {
            all.update(format!("{}\0{}\0{:?}\0", c.name, c.run, c.when));
        }
        for (path, digest) in &*self.seen.borrow() {
            all.update(path);
            all.update([0]);
            all.update(digest);
        }
        Hash(hex(&all.finalize()))
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let bytes = self.tree.read(path);
        let digest = bytes.as_ref().map_or([0; 32], |b| Sha256::digest(b).into());
        self.seen.borrow_mut().insert(path.to_owned(), digest);
        bytes
    }
}

/// A path within a place.
pub(super) fn within(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") }
}

pub(super) fn hash_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

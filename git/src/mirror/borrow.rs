//! Which clones' objects the mirror may read: a list that git itself understands (`objects/info/alternates`). A clone that is gone
//! lends nothing. Where a clone's history ends is taken along, unless another clone has what is before it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{Mirror, MirrorError, disk_error, nonce, object_format};
use crate::worktree::Worktree;

/// Marks the mirror as one that may miss what a remote has: git's checks then let a partial clone's gaps be.
const PARTIAL: [(&str, &str); 3] = [
    ("core.repositoryFormatVersion", "1"),
    ("remote.lenders.promisor", "true"),
    ("extensions.partialClone", "lenders"),
];

impl Mirror {
    /// Reads this work tree's clone as well from now on. A clone that is gone is dropped. Saying it twice is the same.
    ///
    /// # Errors
    /// If the clone names its objects otherwise than the mirror, or the disk refuses.
    pub fn borrow_from(&self, tree: &Worktree) -> Result<(), MirrorError> {
        let _alone = self.borrow_lock()?;
        let objects = tree.common_dir.join("objects");
        let known = self.lenders()?;
        let mut lenders: Vec<PathBuf> = known.iter().filter(|dir| dir.is_dir()).cloned().collect();
        if !lenders.contains(&objects) {
            let (ours, theirs) = (object_format(&self.dir)?, object_format(&tree.root)?);
            if ours != theirs {
                return Err(MirrorError::ObjectFormat { clone: tree.root.clone(), ours, theirs });
            }
            lenders.push(objects);
        }
        if lenders != known {
            let lines: Vec<u8> = lenders.iter().flat_map(|dir| [&quoted(dir), &b"\n"[..]].concat()).collect();
            self.put("objects/info/alternates", &lines)?;
            *super::locked(&self.shared.reader) = None;
        }
        if is_partial(&tree.common_dir) {
            self.allow_gaps()?;
        }
        self.take_ends_along(&lenders)
    }

    /// The folders of objects that are borrowed.
    pub(super) fn lenders(&self) -> Result<Vec<PathBuf>, MirrorError> {
        let file = self.dir.join("objects/info/alternates");
        match std::fs::read(&file) {
            Ok(text) => Ok(text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(unquoted).collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(disk_error("read", &file)(e)),
        }
    }

    /// Freed when it is dropped, and when the program dies.
    fn borrow_lock(&self) -> Result<std::fs::File, MirrorError> {
        let path = self.dir.join("borrow.lock");
        let lock = || {
            let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        lock().map_err(disk_error("lock", &path))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        let path = self.dir.join(name);
        let new = path.with_extension(nonce());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(disk_error("make the folder", folder))?;
        }
        std::fs::write(&new, bytes).map_err(disk_error("write", &new))?;
        std::fs::rename(&new, &path).map_err(disk_error("write", &path))
    }

    fn allow_gaps(&self) -> Result<(), MirrorError> {
        let config = std::fs::read_to_string(self.dir.join("config")).unwrap_or_default();
        if !config.to_lowercase().contains("partialclone") {
            for (key, value) in PARTIAL {
                self.git(&["config", key, value], &crate::command::Input::default())?;
            }
        }
        Ok(())
    }

    /// A shallow clone's history ends early, but not where another clone has what is before: an end that everybody believed in would
    /// hide that from merges.
    fn take_ends_along(&self, lenders: &[PathBuf]) -> Result<(), MirrorError> {
        let texts = lenders.iter().filter_map(|dir| std::fs::read_to_string(dir.parent()?.join("shallow")).ok());
        let ends: BTreeSet<String> = texts.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let mut kept = String::new();
        for end in ends {
            if !self.has_all_parents(&end)? {
                kept.push_str(&end);
                kept.push('\n');
            }
        }
        let file = self.dir.join("shallow");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        match (kept == before, kept.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => std::fs::remove_file(&file).map_err(disk_error("remove", &file)),
            (false, false) => self.put("shallow", kept.as_bytes()),
        }
    }

    fn has_all_parents(&self, commit: &str) -> Result<bool, MirrorError> {
        let Some(text) = self.read_object(commit, 64 << 10)? else { return Ok(false) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let head = text.lines().take_while(|line| !line.is_empty());
        for parent in head.filter_map(|line| line.strip_prefix("parent ")) {
            if !self.has(parent)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A clone whose remote keeps some of its objects. Its packs say so.
fn is_partial(common_dir: &Path) -> bool {
    let packs = std::fs::read_dir(common_dir.join("objects/pack")).into_iter().flatten().flatten();
    packs.into_iter().any(|file| file.path().extension() == Some(OsStr::new("promisor")))
}

/// As git reads paths in such lists: one that starts with a double quote is a C string.
pub(super) fn quoted(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'\n' | b'"' | b':' | b'\\') || !(0x20..0x7f).contains(b)) {
        return bytes.to_vec();
    }
    let mut out = vec![b'"'];
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            0x20..0x7f => out.push(*byte),
            _ => out.extend(format!("\\{byte:03o}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// The other way. Only what [`quoted`] writes is in our lists.
fn unquoted(line: &[u8]) -> PathBuf {
    let Some(inner) = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return PathBuf::from(OsStr::from_bytes(line));
    };
    let (mut out, mut at) = (Vec::with_capacity(inner.len()), 0);
    while at < inner.len() {
        let octal = inner.get(at + 1..at + 4).filter(|_| inner[at] == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(byte) = octal {
            out.push(byte);
            at += 4;
        } else {
            at += usize::from(inner[at] == b'\\');
            out.extend(inner.get(at));
            at += 1;
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_any_name_reads_back_from_the_list() {
        for name in
            [&b"/a/b"[..], b"/a b", b"/new\nline", b"/quo\"te", b"/back\\slash", b"/\xff\xfe", b"/a:b", b"/\\101"]
        {
            let path = Path::new(OsStr::from_bytes(name));
            let line = quoted(path);
            assert!(!line.contains(&b'\n'));
            assert_eq!(unquoted(&line), path);
        }
    }
}

//! The version of a file that a session has seen: enough to say whether it is still the same (D7). Contents are compared, because
//! two writes within one tick of a coarse clock leave one stamp; only for large files does the stamp have to do.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Larger files are compared by their stamp alone: reading them at each call would cost more than the rare needless re-read.
const HASHED_BYTES_MAX: u64 = 8 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Absent,
    Present { stamp: Stamp, hash: Option<[u8; 32]> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl Version {
    /// The version on disk now.
    pub(crate) fn of(path: &Path) -> Self {
        let Some(stamp) = Stamp::of(path) else { return Self::Absent };
        let hash = (stamp.size <= HASHED_BYTES_MAX).then(|| std::fs::read(path).ok()).flatten();
        Self::Present { stamp, hash: hash.map(|bytes| Sha256::digest(&bytes).into()) }
    }

    /// Whether the file on disk looks as it did then, without reading it.
    pub(crate) fn has_stamp_of(&self, path: &Path) -> bool {
        match self {
            Self::Absent => Stamp::of(path).is_none(),
            Self::Present { stamp, .. } => Stamp::of(path) == Some(*stamp),
        }
    }

    /// Whether the file on disk still has the contents of this version.
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        match (self, Stamp::of(path)) {
            (Self::Absent, None) => true,
            (Self::Absent, Some(_)) | (Self::Present { .. }, None) => false,
            (Self::Present { stamp, hash: None }, Some(now)) => *stamp == now,
            (Self::Present { hash, .. }, Some(_)) => match Self::of(path) {
                Self::Present { hash: now, .. } => *hash == now,
                Self::Absent => false,
            },
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_contents_are_the_same_version_and_others_are_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = dir.path().join("f");
        let absent = Version::of(&file);
        assert!(absent.is_current(&file));
        std::fs::write(&file, "one").expect("write");
        assert!(!absent.is_current(&file));
        let one = Version::of(&file);
        std::fs::write(&file, "two").expect("write");
        assert!(!one.is_current(&file));
        std::fs::write(&file, "one").expect("write");
        assert!(one.is_current(&file), "written again with the same contents");
        std::fs::remove_file(&file).expect("remove");
        assert!(!one.is_current(&file));
    }
}

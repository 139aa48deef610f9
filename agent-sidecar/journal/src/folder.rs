//! The journal's folder: which files are in it, in which order they continue each other, and who may write. It knows names
//! only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::JournalError;

const LOCK_FILE: &str = "journal.lock";
pub(crate) const HEAD_FILE: &str = "head";
pub(crate) const NEXT: &str = "next";
const LOG: &str = "log";
const SEALED: &str = "sealed";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// As it was written.
    Log,
    Sealed,
}

/// One file of entries. Of two with the same first entry the later try counts: the earlier was given up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) first: u64,
    pub(crate) again: u32,
    pub(crate) form: Form,
}

impl SegmentName {
    pub(crate) const fn log(first: u64, again: u32) -> Self {
        Self { first, again, form: Form::Log }
    }

    pub(crate) const fn sealed(&self) -> Self {
        Self { form: Form::Sealed, ..*self }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        let end = match self.form {
            Form::Log => LOG,
            Form::Sealed => SEALED,
        };
        dir.join(format!("{:020}-{:04}.{end}", self.first, self.again))
    }

    fn parse(name: &str) -> Option<Self> {
        let (stem, end) = name.split_once('.')?;
        let (first, again) = stem.split_once('-')?;
        let form = match end {
            LOG => Form::Log,
            SEALED => Form::Sealed,
            _ => return None,
        };
        (first.len() == 20).then_some(())?;
        Some(Self { first: first.parse().ok()?, again: again.parse().ok()?, form })
    }
}

/// All segments, in the order of their entries. Of a segment that is there in both forms the sealed one counts: it was
/// complete before it got its name.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    names.sort();
    let doubled = |name: &SegmentName| name.form == Form::Log && names.contains(&name.sealed());
    Ok(names.iter().filter(|name| !doubled(name)).cloned().collect())
}

/// Left-overs of a start that did not come to its end: logs whose sealed form is there, and files without their name yet.
pub(crate) fn left_over(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let sealed = SegmentName::parse(name).filter(|name| name.form == Form::Log).map(|name| name.sealed().path(dir));
        if name.ends_with(&format!(".{NEXT}")) || sealed.is_some_and(|sealed| sealed.exists()) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Makes the folder if it is not there, and holds it for one writer until the file is dropped.
pub(crate) fn own(dir: &Path) -> Result<File, JournalError> {
    let failed = |error: &io::Error| JournalError::Open { folder: dir.to_owned(), why: error.to_string() };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| failed(&e))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(LOCK_FILE));
    let lock = lock.map_err(|e| failed(&e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { folder: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

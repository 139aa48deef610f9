//! What the journal refuses, and why. One enum for writers; what a reader finds is [`crate::Damage`].

use std::io;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("open the journal in {folder}: {why}")]
    Open { folder: PathBuf, why: String },
    #[error("the journal in {folder} is written by another process")]
    InUse { folder: PathBuf },
    /// Nothing of the call was kept. It works again by itself when there is room.
    #[error("the journal cannot be written, the disk is full: {0}")]
    Full(String),
    /// Nothing of the call is promised. It works again by itself when the disk does.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
    #[error("the journal takes {max} bytes in one call, not {bytes}")]
    TooLong { bytes: usize, max: usize },
    #[error("too many entries wait to be written to the journal")]
    Busy,
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// Whether the same call may pass later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unwritable(_) | Self::Busy)
    }

    pub(crate) fn of_write(doing: &str, error: &io::Error) -> Self {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        let why = format!("{doing}: {error}");
        if full.contains(&error.kind()) { Self::Full(why) } else { Self::Unwritable(why) }
    }
}

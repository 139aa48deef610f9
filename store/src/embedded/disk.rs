//! The few calls by which the engine touches its files, behind a trait so that a test can have a full or a broken disk.
//! It knows bytes and files only; what they mean is `log`'s.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub trait Disk: Send + Sync + 'static {
    /// Writes inside the space a file already has.
    fn overwrite(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Writes at a file's end: this is what needs free space.
    fn extend(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns once the file's bytes, and what is needed to find them again, would survive the death of the machine.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Cuts a file's end off.
    fn shorten(&self, file: &File, len: u64) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn overwrite(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn extend(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn shorten(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
}

/// Whether an error means that space (of the disk, a quota, or the file's size limit) has run out.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

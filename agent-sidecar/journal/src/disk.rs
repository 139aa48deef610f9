//! The few calls by which the journal changes its folder, behind a trait so that a test can have a full disk, a broken one,
//! or a machine that dies at any call. Reading goes past it. It knows bytes and files only.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

const FILE_MODE: u32 = 0o600;

pub trait Disk: Send + Sync + 'static {
    /// Makes a file that is not there yet, for the owner alone, to be read and written.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes inside the space a file already has, or at its end.
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns once the file's bytes, and what is needed to find them again, would survive the death of the machine.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    /// The same for the names in a folder.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Cuts a file's end off.
    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
    }

    fn write(&self, file: &File, _: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File, _: &Path) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn shorten(&self, file: &File, _: &Path, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

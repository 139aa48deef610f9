//! The few calls by which contents reach a disk, behind a trait so that a test can have a full disk or one that forgets what was
//! not synced. A [`Folder`] is held open, so that nobody can put a link in its place meanwhile (H23). It knows names and bytes
//! only; what they mean is the vault's and the rollback's.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

/// A folder that stays the same one while it is held.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// What may be at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// Whatever is there goes.
    Over,
    /// Something there is an error.
    New,
    /// Both change places.
    Exchange,
}

pub trait Disk: Send + Sync + 'static {
    /// A file that was not there before, for its owner alone.
    ///
    /// # Errors
    /// If there is something already, or the disk refuses; so for all of these.
    fn create(&self, folder: &Folder, name: &OsStr) -> io::Result<File>;
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    /// Returns once the file's bytes would survive the death of the machine. Its name is the folder's.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Returns once the names in this folder would.
    fn sync_folder(&self, folder: &Folder) -> io::Result<()>;
    fn set_mode(&self, file: &File, mode: u16) -> io::Result<()>;
    fn link(&self, folder: &Folder, name: &OsStr, target: &OsStr) -> io::Result<()>;
    fn make_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()>;
    fn remove_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()>;
    fn remove(&self, folder: &Folder, name: &OsStr) -> io::Result<()>;
    fn rename(&self, from: (&Folder, &OsStr), to: (&Folder, &OsStr), how: Rename) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Folder {
    /// Links in the path are followed.
    ///
    /// # Errors
    /// If it is not there or no folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// A folder in this one: a link is none.
    ///
    /// # Errors
    /// If it is not there, or is a link or a file.
    pub fn sub(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// A folder below this one, no link on the way.
    ///
    /// # Errors
    /// As for [`Folder::sub`]; also if the path leads up or is absolute.
    pub fn below(&self, path: &Path) -> io::Result<Self> {
        let mut here = Self { fd: self.fd.try_clone()?, path: self.path.clone() };
        for part in path.components() {
            match part {
                Component::Normal(name) => here = here.sub(name)?,
                Component::CurDir => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of the work tree")),
            }
        }
        Ok(here)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn read_file(&self, name: &OsStr) -> io::Result<File> {
        // A pipe that was put in the file's place would make an open without NONBLOCK wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?))
    }

    pub(crate) fn has(&self, name: &OsStr) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

impl Disk for RealDisk {
    fn create(&self, folder: &Folder, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(folder.fd(), name, flags, Mode::from_raw_mode(0o600))?))
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_folder(&self, folder: &Folder) -> io::Result<()> {
        Ok(rustix::fs::fsync(folder.fd())?)
    }

    fn set_mode(&self, file: &File, mode: u16) -> io::Result<()> {
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into()))?)
    }

    fn link(&self, folder: &Folder, name: &OsStr, target: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, folder.fd(), name)?)
    }

    fn make_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(folder.fd(), name, Mode::from_raw_mode(0o777))?)
    }

    fn remove_folder(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(folder.fd(), name, AtFlags::REMOVEDIR)?)
    }

    fn remove(&self, folder: &Folder, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(folder.fd(), name, AtFlags::empty())?)
    }

    fn rename(&self, from: (&Folder, &OsStr), to: (&Folder, &OsStr), how: Rename) -> io::Result<()> {
        let flags = match how {
            Rename::Over => RenameFlags::empty(),
            Rename::New => RenameFlags::NOREPLACE,
            Rename::Exchange => RenameFlags::EXCHANGE,
        };
        Ok(rustix::fs::renameat_with(from.0.fd(), from.1, to.0.fd(), to.1, flags)?)
    }
}

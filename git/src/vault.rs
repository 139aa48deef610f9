//! What files held before and after each change: a private bare git repository of this machine (D9). Nothing refers to it, and no
//! command in a work repository sees or pushes any of it. It keeps bytes and names; which of them are still wanted, the journal
//! knows. Contents come in by `look`, reach the disk by `loose`, are found in work repositories by `borrow`, and go by `tidy`.

mod borrow;
mod check;
mod look;
mod loose;
mod peek;
mod tidy;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rr_core::content::{BlobId, Content};

use crate::command::{GitError, git};
use crate::disk::{Disk, Folder};

pub use borrow::Adopted;
pub use check::Damage;
pub use loose::name_of;
pub use peek::Peek;
pub use tidy::Tidied;

/// A file larger than this is not kept: one call must not fill the disk.
pub const KEEP_BYTES_MAX: u64 = 1 << 30;
/// Read whole, once; a larger one is read in pieces, twice if it is new.
const WHOLE_BYTES_MAX: u64 = 8 << 20;
/// A file that is written to without a pause cannot be kept as anything it ever was.
const TRIES: usize = 5;
/// Locks over the names of objects: two writers of one object wait for one another, others hardly ever.
const STRIPES: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{doing} {}", .path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} changed each time it was read", .path.display())]
    Restless { path: PathBuf },
    #[error("snapshot {blob} is not there")]
    Missing { blob: BlobId },
    #[error("snapshot {blob} is damaged: {why}")]
    Damaged { blob: BlobId, why: String },
    #[error("snapshot {blob} is too large to be held in memory")]
    TooLarge { blob: BlobId },
    #[error("the snapshot store")]
    Git(#[from] GitError),
    #[error("read the snapshot store")]
    Library(#[from] git2::Error),
}

impl VaultError {
    fn is_unreadable(&self) -> bool {
        matches!(self, Self::Disk { doing: "read", source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether there was no space for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Disk { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }
}

fn disk_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> VaultError + 'a {
    move |source| VaultError::Disk { doing, path: path.to_owned(), source }
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    objects: PathBuf,
    disk: Arc<dyn Disk>,
    keep_bytes_max: u64,
    /// Our own packs. Replaced after a tidying.
    packs: RwLock<git2::Odb<'static>>,
    borrowed: RwLock<Vec<borrow::Borrowed>>,
    stripes: [Mutex<()>; STRIPES],
    /// Named by work repositories only, until [`Vault::adopt`].
    pending: Mutex<BTreeSet<BlobId>>,
    /// Found to be there already: what somebody has just been told is kept may not go.
    told: Mutex<tidy::Told>,
    /// Held for reading while a content is found or written, for writing while some are removed.
    tidying: RwLock<()>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Vault").field(&self.0.dir).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes it ours alone: never cleaned by git itself, never fetched from, nowhere to push to. Large files are neither compared
/// with others nor held in memory.
const CONFIG: &str = "
[gc]
	auto = 0
[maintenance]
	auto = false
[core]
	logAllRefUpdates = false
	fsync = committed,loose-object,reference
	fsyncMethod = fsync
	bigFileThreshold = 16m
[pack]
	windowMemory = 64m
[push]
	default = nothing
[receive]
	denyDeletes = true
	denyNonFastForwards = true
[transfer]
	hideRefs = refs
[daemon]
	uploadpack = false
";

impl Vault {
    /// Opens the store of this folder, or makes it.
    ///
    /// # Errors
    /// If the folder cannot be made or is something else.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, VaultError> {
        Self::open_with(dir, disk, KEEP_BYTES_MAX)
    }

    /// As [`Vault::open`], with another size from which on files are not kept.
    ///
    /// # Errors
    /// As for it.
    pub fn open_with(dir: &Path, disk: Arc<dyn Disk>, keep_bytes_max: u64) -> Result<Self, VaultError> {
        let objects = dir.join("objects");
        if !objects.is_dir() || !dir.join("railroad").exists() {
            make(dir)?;
        }
        loose::settle(&objects, disk.as_ref())?;
        Self::opened(dir, disk, keep_bytes_max)
    }

    /// A store that another process may be writing, to be looked through: nothing of it is made or tidied.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn to_look(dir: &Path) -> Result<Self, VaultError> {
        Self::opened(dir, Arc::new(crate::disk::RealDisk), KEEP_BYTES_MAX)
    }

    fn opened(dir: &Path, disk: Arc<dyn Disk>, keep_bytes_max: u64) -> Result<Self, VaultError> {
        let objects = dir.join("objects");
        let packs = RwLock::new(borrow::odb_of(&objects)?);
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            objects,
            disk,
            keep_bytes_max,
            packs,
            borrowed: RwLock::default(),
            stripes: [const { Mutex::new(()) }; STRIPES],
            pending: Mutex::default(),
            told: Mutex::default(),
            tidying: RwLock::default(),
        })))
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.0.disk.as_ref()
    }

    /// Sees packs that git has written meanwhile.
    pub(crate) fn look_again(&self) -> Result<(), VaultError> {
        *self.0.packs.write().unwrap_or_else(PoisonError::into_inner) = borrow::odb_of(&self.0.objects)?;
        Ok(())
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What stands at a path now. When it returns, the bytes would survive the death of the machine. The folders of the path
    /// are followed wherever they lead, its last part is not.
    ///
    /// # Errors
    /// If the bytes cannot be kept, or the file did not hold still.
    pub fn keep(&self, path: &Path) -> Result<Content, VaultError> {
        self.at(path, |folder, name| self.keep_in(folder, name))
    }

    /// The same name, nothing kept.
    ///
    /// # Errors
    /// If it cannot be read, or did not hold still.
    pub fn look(&self, path: &Path) -> Result<Content, VaultError> {
        self.at(path, |folder, name| self.look_in(folder, name))
    }

    fn at(
        &self,
        path: &Path,
        look: impl FnOnce(&Folder, &OsStr) -> Result<Content, VaultError>,
    ) -> Result<Content, VaultError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Content::Folder) };
        match Folder::open(parent) {
            Ok(folder) => look(&folder, name),
            Err(e) if look::is_absent(&e) => Ok(Content::Absent),
            Err(e) => Err(disk_error("open", parent)(e)),
        }
    }

    /// The bytes of a content that was kept.
    ///
    /// # Errors
    /// If it is not there, damaged, or larger than what is read whole; see [`Vault::copy`].
    pub fn bytes(&self, blob: BlobId) -> Result<Vec<u8>, VaultError> {
        let (mut bytes, mut too_large) = (Vec::new(), false);
        let read = self.read(blob, &mut |part| {
            if (bytes.len() + part.len()) as u64 > loose::BYTES_MAX {
                too_large = true;
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            bytes.extend_from_slice(part);
            Ok(())
        });
        if too_large { Err(VaultError::TooLarge { blob }) } else { read.map(|()| bytes) }
    }

    /// Hands the bytes of a content on in pieces.
    ///
    /// # Errors
    /// If it is not there or damaged (then some pieces were handed on already), or with what `to` says.
    pub fn copy(&self, blob: BlobId, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), VaultError> {
        self.read(blob, to)
    }

    /// Whether the bytes can be had, here or from a work repository.
    #[must_use]
    pub fn has(&self, blob: BlobId) -> bool {
        self.owns(blob) || self.is_borrowed(blob)
    }

    /// Whether the bytes are in this store itself, whatever becomes of the work repositories.
    #[must_use]
    pub fn owns(&self, blob: BlobId) -> bool {
        self.has_loose(blob) || self.has_packed(blob)
    }

    /// Keeps bytes that stand nowhere yet.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobId, VaultError> {
        let blob = loose::name_of(bytes);
        let _held = self.0.tidying.read().unwrap_or_else(PoisonError::into_inner);
        if !self.is_known(blob) {
            self.store(blob, bytes)?;
        }
        Ok(blob)
    }
}

fn make(dir: &Path) -> Result<(), VaultError> {
    std::fs::create_dir_all(dir).map_err(disk_error("make", dir))?;
    git(dir, ["init", "-q", "--bare", "--template=", "--object-format=sha1", "."])?;
    let config = dir.join("config");
    let written = std::fs::read(&config).and_then(|base| std::fs::write(&config, [&base, CONFIG.as_bytes()].concat()));
    written.map_err(disk_error("write", &config))?;
    // Last: a store without it was not finished.
    std::fs::write(dir.join("railroad"), "Contents of files before and after changes. See `rrctl help rollback`.\n")
        .map_err(disk_error("write", dir))
}

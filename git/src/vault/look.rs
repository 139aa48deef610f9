//! What stands at a name: a file, a link, a folder, something whose bytes cannot be kept, or nothing. Never follows a link, and
//! knows when a file changed under its eyes. It hands new bytes to `loose` and does not know what they are for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::PoisonError;

use rr_core::content::{BlobId, Content};
use rustix::fs::{AtFlags, FileType, Stat};

use super::loose::{PIECE_BYTES, name_of, naming};
use super::{TRIES, Vault, VaultError, WHOLE_BYTES_MAX, disk_error};
use crate::disk::Folder;

/// Nothing is there, or a folder on the way is not.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// One try.
enum Seen {
    Content(Content),
    Changed,
}

/// What changes with every write.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // The fields differ between systems.
fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        inode: (stat.st_dev as u64, stat.st_ino as u64),
        size: stat.st_size as i64,
        modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    }
}

fn mode_of(stat: &Stat) -> u16 {
    u16::try_from(stat.st_mode & 0o777).unwrap_or(0)
}

impl Vault {
    pub(crate) fn keep_in(&self, folder: &Folder, name: &OsStr) -> Result<Content, VaultError> {
        let _held = self.0.tidying.read().unwrap_or_else(PoisonError::into_inner);
        self.see(folder, name, true)
    }

    pub(crate) fn look_in(&self, folder: &Folder, name: &OsStr) -> Result<Content, VaultError> {
        self.see(folder, name, false)
    }

    fn see(&self, folder: &Folder, name: &OsStr, keeps: bool) -> Result<Content, VaultError> {
        for _ in 0..TRIES {
            if let Seen::Content(content) = self.see_once(folder, name, keeps)? {
                return Ok(content);
            }
        }
        Err(VaultError::Restless { path: folder.path().join(name) })
    }

    fn see_once(&self, folder: &Folder, name: &OsStr, keeps: bool) -> Result<Seen, VaultError> {
        let path = folder.path().join(name);
        let stat = match rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(e) if is_absent(&e.into()) => return Ok(Seen::Content(Content::Absent)),
            Err(e) => return Err(disk_error("look at", &path)(e.into())),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Seen::Content(Content::Folder)),
            FileType::Symlink => self.see_link(folder, name, keeps),
            FileType::RegularFile if u64::try_from(stat.st_size).unwrap_or(0) > self.0.keep_bytes_max => {
                Ok(Seen::Content(Content::Unkept))
            }
            FileType::RegularFile => match folder.read_file(name) {
                Ok(mut file) => {
                    let seen = self.see_file(&mut file, &stat, keeps);
                    seen.or_else(|e| if e.is_unreadable() { Ok(Seen::Content(Content::Unkept)) } else { Err(e) })
                }
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(Seen::Content(Content::Unkept)),
                // Gone, or no file any more: look again.
                Err(e) if is_absent(&e) || e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                    Ok(Seen::Changed)
                }
                Err(e) => Err(disk_error("open", &path)(e)),
            },
            _ => Ok(Seen::Content(Content::Unkept)),
        }
    }

    fn see_link(&self, folder: &Folder, name: &OsStr, keeps: bool) -> Result<Seen, VaultError> {
        let Ok(target) = rustix::fs::readlinkat(folder.fd(), name, Vec::new()) else { return Ok(Seen::Changed) };
        let blob = name_of(target.as_bytes());
        if keeps && !self.is_known(blob) {
            self.store(blob, target.as_bytes())?;
        }
        Ok(Seen::Content(Content::Link { blob }))
    }

    fn see_file(&self, file: &mut File, expected: &Stat, keeps: bool) -> Result<Seen, VaultError> {
        let before = stat_of(file)?;
        if stamp(&before) != stamp(expected) {
            return Ok(Seen::Changed);
        }
        let size = u64::try_from(before.st_size).unwrap_or(0);
        let blob = if size <= WHOLE_BYTES_MAX {
            self.see_whole(file, &before, size, keeps)?
        } else {
            self.see_large(file, &before, size, keeps)?
        };
        Ok(blob.map_or(Seen::Changed, |blob| Seen::Content(Content::File { blob, mode: mode_of(&before) })))
    }

    fn see_whole(&self, file: &mut File, before: &Stat, size: u64, keeps: bool) -> Result<Option<BlobId>, VaultError> {
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        // One more than it should have shows that it grew.
        file.take(size + 1).read_to_end(&mut bytes).map_err(disk_error("read", "a file".as_ref()))?;
        if bytes.len() as u64 != size || stamp(&stat_of(file)?) != stamp(before) {
            return Ok(None);
        }
        let blob = name_of(&bytes);
        if keeps && !self.is_known(blob) {
            self.store(blob, &bytes)?;
        }
        Ok(Some(blob))
    }

    /// In pieces: named first, and written only if it is new. It must have the same name then.
    fn see_large(&self, file: &mut File, before: &Stat, size: u64, keeps: bool) -> Result<Option<BlobId>, VaultError> {
        let blob = name_of_file(file, size)?;
        if stamp(&stat_of(file)?) != stamp(before) {
            return Ok(None);
        }
        if !keeps || self.is_known(blob) {
            return Ok(Some(blob));
        }
        file.rewind().map_err(disk_error("read", "a file".as_ref()))?;
        let stored = self.store_stream(blob, size, file)?;
        Ok((stored && stamp(&stat_of(file)?) == stamp(before)).then_some(blob))
    }
}

fn stat_of(file: &File) -> Result<Stat, VaultError> {
    rustix::fs::fstat(file).map_err(|e| disk_error("look at", "a file".as_ref())(e.into()))
}

/// The name of what a file holds, up to the size it should have.
fn name_of_file(file: &File, size: u64) -> Result<BlobId, VaultError> {
    let mut naming = naming(size);
    let (mut piece, mut rest) = (vec![0; PIECE_BYTES], file.take(size));
    loop {
        match rest.read(&mut piece).map_err(disk_error("read", "a file".as_ref()))? {
            0 => return Ok(naming.done()),
            n => naming.take_in(&piece[..n]),
        }
    }
}

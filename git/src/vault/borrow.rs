//! Work repositories whose objects need not be stored a second time: a file that is committed can be had from there. It only
//! reads them, and knows their folders. What was found there alone is taken over soon after ([`Vault::adopt`]), for a work
//! repository may be cleaned up or deleted.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard};
use std::time::SystemTime;

use git2::OdbLookupFlags;
use rr_core::content::BlobId;

use super::loose::place_of;
use super::{Vault, VaultError, disk_error, locked};
use crate::command::git_to;
use crate::disk::Folder;
use crate::worktree::Worktree;

/// What waits to be taken over at most; beyond it new contents are written at once.
const PENDING_MAX: usize = 10_000;
/// From this size on a packed object is not read by the library, which holds it whole.
const PIPED_BYTES_MIN: usize = 16 << 20;

pub(super) struct Borrowed {
    objects: PathBuf,
    /// As they were when the folder of packs last changed: a cleaning puts others there.
    packs: Mutex<(Option<SystemTime>, Arc<git2::Odb<'static>>)>,
}

impl Borrowed {
    fn open(objects: PathBuf) -> Result<Self, git2::Error> {
        let packs = Mutex::new((changed(&objects), Arc::new(odb_of(&objects)?)));
        Ok(Self { objects, packs })
    }

    fn packs(&self) -> Arc<git2::Odb<'static>> {
        let mut packs = locked(&self.packs);
        let now = changed(&self.objects);
        if packs.0 != now {
            // What cannot be opened lends nothing; its old packs may be gone.
            let opened = odb_of(&self.objects).or_else(|_| git2::Odb::new());
            if let Ok(odb) = opened {
                *packs = (now, Arc::new(odb));
            }
        }
        Arc::clone(&packs.1)
    }
}

fn changed(objects: &Path) -> Option<SystemTime> {
    objects.join("pack").metadata().and_then(|meta| meta.modified()).ok()
}

/// What taking over came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    pub taken: usize,
    /// Not to be had any more: the work repository has let go of them before they were taken over.
    pub lost: usize,
    pub left: usize,
}

pub(super) fn odb_of(objects: &Path) -> Result<git2::Odb<'static>, git2::Error> {
    let odb = git2::Odb::new()?;
    odb.add_disk_alternate(&objects.to_string_lossy())?;
    Ok(odb)
}

pub(super) fn oid(blob: BlobId) -> git2::Oid {
    // Twenty bytes are an object name.
    git2::Oid::from_bytes(&blob.0).unwrap_or_else(|_| unreachable!("twenty bytes"))
}

impl Vault {
    /// Looks for contents in this work tree's repository as well from now on.
    ///
    /// # Errors
    /// If its objects cannot be opened.
    pub fn borrow_from(&self, tree: &Worktree) -> Result<(), VaultError> {
        let objects = tree.common_dir.join("objects");
        let named_otherwise = crate::command::git(&tree.root, ["rev-parse", "--show-object-format"])? != b"sha1\n";
        if named_otherwise || self.lenders().iter().any(|b| b.objects == objects) {
            return Ok(());
        }
        let lender = Borrowed::open(objects)?;
        let mut lenders = self.0.borrowed.write().unwrap_or_else(PoisonError::into_inner);
        lenders.retain(|b| b.objects.is_dir());
        lenders.push(lender);
        Ok(())
    }

    fn lenders(&self) -> RwLockReadGuard<'_, Vec<Borrowed>> {
        self.0.borrowed.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_packed(&self, blob: BlobId) -> bool {
        let packs = self.0.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.exists_ext(oid(blob), OdbLookupFlags::NO_REFRESH)
    }

    pub(super) fn is_borrowed(&self, blob: BlobId) -> bool {
        self.lenders().iter().any(|b| b.packs().exists_ext(oid(blob), OdbLookupFlags::NO_REFRESH))
    }

    /// Whether a content needs no writing: it would survive the death of the machine, here or where it was found.
    pub(super) fn is_known(&self, blob: BlobId) -> bool {
        if self.owns(blob) {
            let _written = locked(&self.0.stripes[usize::from(blob.0[0]) % super::STRIPES]);
            locked(&self.0.told).remember(blob);
            return true;
        }
        let lent = self.lenders().iter().any(|b| self.is_lent_durably(b, blob));
        let mut pending = locked(&self.0.pending);
        if !lent || pending.len() >= PENDING_MAX {
            return false;
        }
        pending.insert(blob);
        true
    }

    /// Git syncs its packs, not its loose objects.
    fn is_lent_durably(&self, lender: &Borrowed, blob: BlobId) -> bool {
        let (folder, name) = place_of(blob);
        let Ok(folder) = Folder::open(&lender.objects.join(folder)) else { return self.is_lent_packed(lender, blob) };
        match folder.read_file(name.as_ref()) {
            Ok(file) => self.0.disk.sync(&file).and_then(|()| self.0.disk.sync_folder(&folder)).is_ok(),
            Err(_) => self.is_lent_packed(lender, blob),
        }
    }

    fn is_lent_packed(&self, lender: &Borrowed, blob: BlobId) -> bool {
        lender.packs().exists_ext(oid(blob), OdbLookupFlags::NO_REFRESH)
    }

    /// Takes over what was found in work repositories only: all that is known to wait, at most `max` now.
    ///
    /// # Errors
    /// If the disk refuses; what is left waits on.
    pub fn adopt(&self, max: usize) -> Result<Adopted, VaultError> {
        let waiting: Vec<BlobId> = locked(&self.0.pending).iter().copied().take(max).collect();
        self.adopt_these(waiting)
    }

    /// The same for these: after a start, those that the last entries of the journal name.
    ///
    /// # Errors
    /// As for [`Vault::adopt`].
    pub fn adopt_these(&self, blobs: impl IntoIterator<Item = BlobId>) -> Result<Adopted, VaultError> {
        let mut adopted = Adopted::default();
        for blob in blobs {
            match self.take_over(blob) {
                Ok(()) => adopted.taken += 1,
                Err(VaultError::Missing { .. } | VaultError::Damaged { .. }) => adopted.lost += 1,
                Err(e) => return Err(e),
            }
            locked(&self.0.pending).remove(&blob);
        }
        adopted.left = locked(&self.0.pending).len();
        Ok(adopted)
    }

    fn take_over(&self, blob: BlobId) -> Result<(), VaultError> {
        let _held = self.0.tidying.read().unwrap_or_else(PoisonError::into_inner);
        if self.owns(blob) {
            return Ok(());
        }
        let (lender, size) = self.lender_of(blob)?;
        if size < PIPED_BYTES_MIN {
            let mut bytes = Vec::with_capacity(size);
            self.read(blob, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })?;
            return self.store(blob, &bytes);
        }
        let size = size as u64;
        let mut stored = Ok(false);
        let piped = git_to(&lender, ["cat-file", "blob", &blob.to_string()], &mut |out| {
            stored = self.store_stream(blob, size, out);
            Ok(())
        });
        match stored {
            // Git is not heard to its end where somebody else has stored it meanwhile.
            Ok(true) => Ok(()),
            Ok(false) => {
                piped?;
                Err(VaultError::Damaged { blob, why: "its bytes have another name".to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// The folder of the repository that has it, and its size.
    fn lender_of(&self, blob: BlobId) -> Result<(PathBuf, usize), VaultError> {
        for lender in self.lenders().iter() {
            if let Ok((size, git2::ObjectType::Blob)) = lender.packs().read_header(oid(blob)) {
                let folder = lender.objects.parent().unwrap_or(&lender.objects);
                return Ok((folder.to_owned(), size));
            }
        }
        Err(VaultError::Missing { blob })
    }

    /// Reads a content in pieces, from wherever it is.
    pub(super) fn read(&self, blob: BlobId, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), VaultError> {
        if let Some(read) = self.read_loose(blob, to) {
            return read;
        }
        let own = self.0.packs.read().unwrap_or_else(PoisonError::into_inner);
        if let Ok((size, _)) = own.read_header(oid(blob)) {
            return read_packed(&own, &self.0.dir, blob, size, to);
        }
        drop(own);
        let (folder, size) = self.lender_of(blob)?;
        let lenders = self.lenders();
        let lender = lenders.iter().find(|b| b.objects.starts_with(&folder)).ok_or(VaultError::Missing { blob })?;
        read_packed(&lender.packs(), &folder, blob, size, to)
    }
}

fn read_packed(
    packs: &git2::Odb<'_>,
    folder: &Path,
    blob: BlobId,
    size: usize,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), VaultError> {
    if size < PIPED_BYTES_MIN {
        let object = packs.read(oid(blob)).map_err(|e| VaultError::Damaged { blob, why: e.message().to_owned() })?;
        return to(object.data()).map_err(disk_error("copy", folder));
    }
    git_to(folder, ["cat-file", "blob", &blob.to_string()], &mut |out| {
        let mut piece = vec![0; super::loose::PIECE_BYTES];
        loop {
            match out.read(&mut piece)? {
                0 => return Ok(()),
                n => to(&piece[..n])?,
            }
        }
    })?;
    Ok(())
}

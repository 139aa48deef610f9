//! What a rollback is planned on: what stands in the work trees now, contents that were kept, and texts woven line by line. It
//! decides nothing; `rr_core::rollback` does.

use std::path::{Path, PathBuf};

use rr_core::content::{BlobId, Content};
use rr_core::rollback::{self, Change, Place, Plan, Request, Woven};

use crate::disk::Folder;
use crate::merge::{Weave, overwrites};
use crate::vault::{Vault, VaultError};

/// Where contents are: the [`Vault`] and the work trees, or a test's memory.
pub trait Contents {
    /// What stands at a place now, its bytes kept.
    ///
    /// # Errors
    /// If it cannot be said or kept; so for all of these.
    fn stands(&self, place: &Place) -> Result<Content, VaultError>;
    /// Whether its bytes can be read, whole.
    fn has(&self, blob: BlobId) -> bool;
    fn bytes(&self, blob: BlobId) -> Result<Vec<u8>, VaultError>;
    fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobId, VaultError>;
}

/// One planning. What stands is kept as it is looked at: it can be put back, and compared with.
pub struct Ground<'c, C: ?Sized = Vault> {
    contents: &'c C,
    trouble: Option<VaultError>,
}

impl<'c, C: Contents + ?Sized> Ground<'c, C> {
    #[must_use]
    pub fn new(contents: &'c C) -> Self {
        Self { contents, trouble: None }
    }

    /// The first thing that went wrong, apart from contents that are not there: a plan made with it is no plan.
    ///
    /// # Errors
    /// That.
    pub fn finish(self) -> Result<(), VaultError> {
        self.trouble.map_or(Ok(()), Err)
    }

    fn noted<T>(&mut self, result: Result<T, VaultError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(VaultError::Missing { .. } | VaultError::Damaged { .. } | VaultError::TooLarge { .. }) => None,
            Err(e) => {
                self.trouble.get_or_insert(e);
                None
            }
        }
    }

    fn text(&mut self, blob: BlobId) -> Result<Vec<u8>, Woven> {
        let read = self.contents.bytes(blob);
        if matches!(read, Err(VaultError::TooLarge { .. })) {
            return Err(Woven::NotText);
        }
        self.noted(read).ok_or(Woven::NotKept)
    }
}

/// What has to be written to take a session's changes out of what stands now. A dry run ends here.
///
/// # Errors
/// If what stands cannot be read or kept. What is only missing or damaged is a conflict in the plan.
pub fn plan_rollback(vault: &Vault, history: &[Change], request: &Request) -> Result<Plan, VaultError> {
    let mut ground = Ground::new(vault);
    let plan = rollback::plan(history, request, &mut ground);
    ground.finish().map(|()| plan)
}

/// The folders above a path, below its root, that are not there yet, outermost first. Whoever notes them as made by the call that
/// made the path has them removed with it; a rollback removes no other.
#[must_use]
pub fn absent_folders(place: &Place) -> Vec<PathBuf> {
    let above = place.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let absent = |folder: &&Path| place.root.join(folder).symlink_metadata().is_err();
    let mut found: Vec<PathBuf> = above.take_while(absent).map(Path::to_owned).collect();
    found.reverse();
    found
}

impl Contents for Vault {
    fn stands(&self, place: &Place) -> Result<Content, VaultError> {
        look_at(self, place, true)
    }

    fn has(&self, blob: BlobId) -> bool {
        self.copy(blob, &mut |_| Ok(())).is_ok()
    }

    fn bytes(&self, blob: BlobId) -> Result<Vec<u8>, VaultError> {
        Self::bytes(self, blob)
    }

    fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobId, VaultError> {
        Self::keep_bytes(self, bytes)
    }
}

/// What stands at a place, no link followed on the way to it.
pub(crate) fn look_at(vault: &Vault, place: &Place, keeps: bool) -> Result<Content, VaultError> {
    let (Some(name), parent) = (place.path.file_name(), place.path.parent()) else { return Ok(Content::Folder) };
    let opened = Folder::open(&place.root).and_then(|root| root.below(parent.unwrap_or("".as_ref())));
    match opened {
        Ok(folder) if keeps => vault.keep_in(&folder, name),
        Ok(folder) => vault.look_in(&folder, name),
        // A link on the way leads elsewhere: in this work tree there is nothing at that path.
        Err(e) if is_no_folder(&e) => Ok(Content::Absent),
        Err(source) => {
            Err(VaultError::Disk { doing: "open the folder of", path: place.root.join(&place.path), source })
        }
    }
}

pub(crate) fn is_no_folder(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotADirectory | NotFound)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

impl<C: Contents + ?Sized> rollback::Ground for Ground<'_, C> {
    type Weave = Weave;

    fn stands(&mut self, place: &Place) -> Content {
        let seen = self.contents.stands(place);
        self.noted(seen).unwrap_or(Content::Unkept)
    }

    fn has(&mut self, blob: BlobId) -> bool {
        self.contents.has(blob)
    }

    fn weave(&mut self, from: BlobId) -> Result<Weave, Woven> {
        Weave::new(&self.text(from)?).ok_or(Woven::NotText)
    }

    fn take_out(&mut self, weave: &mut Weave, to: BlobId) -> Result<(), Woven> {
        weave.take_out(&self.text(to)?)
    }

    fn leave_in(&mut self, weave: &mut Weave, to: BlobId) -> Woven {
        self.text(to).map_or_else(|none| none, |text| weave.leave_in(&text))
    }

    fn overwrites(&mut self, from: BlobId, to: BlobId) -> bool {
        let (Ok(from), Ok(to)) = (self.text(from), self.text(to)) else { return false };
        overwrites(&from, &to)
    }

    fn keep(&mut self, weave: &Weave) -> bool {
        let kept = self.contents.keep_bytes(&weave.without());
        self.noted(kept).is_some()
    }
}

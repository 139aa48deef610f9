//! Reading the snapshot store from another process, while its owner writes it or while nobody does. Nothing is changed or tidied.

use std::path::Path;

use rr_core::content::BlobId;

use super::borrow::{odb_of, oid};
use crate::worktree::Worktree;

/// The contents of a snapshot store, and those that only work repositories have yet.
pub struct Peek(Vec<git2::Odb<'static>>);

impl Peek {
    /// Of a folder that need not be there: then nothing is.
    #[must_use]
    pub fn open(dir: &Path, also: &[Worktree]) -> Self {
        let own = std::iter::once(dir.join("objects"));
        let lent = also.iter().map(|tree| tree.common_dir.join("objects"));
        Self(own.chain(lent).filter_map(|objects| odb_of(&objects).ok()).collect())
    }

    /// The bytes, if they are still kept.
    #[must_use]
    pub fn bytes(&self, blob: BlobId) -> Option<Vec<u8>> {
        self.0.iter().find_map(|odb| odb.read(oid(blob)).ok().map(|object| object.data().to_vec()))
    }
}

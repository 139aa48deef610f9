//! Where the bytes behind a content's name are: the journal keeps names only. Whoever keeps snapshots implements it.

use std::collections::HashMap;

use rr_core::content::BlobId;

pub trait Contents {
    /// The bytes, if they are still kept.
    fn bytes(&self, blob: BlobId) -> Option<Vec<u8>>;
}

impl<F: Fn(BlobId) -> Option<Vec<u8>>> Contents for F {
    fn bytes(&self, blob: BlobId) -> Option<Vec<u8>> {
        self(blob)
    }
}

impl Contents for HashMap<BlobId, Vec<u8>> {
    fn bytes(&self, blob: BlobId) -> Option<Vec<u8>> {
        self.get(&blob).cloned()
    }
}

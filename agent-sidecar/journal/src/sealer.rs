//! stub
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::committer::Shared;
use crate::disk::Disk;
use crate::folder::SegmentName;
use crate::journal::Options;

pub(crate) struct Sealer {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
}

impl Sealer {
    pub(crate) fn run(&self, words: &Receiver<SegmentName>) {
        while words.recv().is_ok() {}
    }
}

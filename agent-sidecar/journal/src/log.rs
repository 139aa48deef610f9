//! The segment that is written: it makes batches durable one after the other, keeps room for the next, and begins a new
//! segment when one is long enough or can no longer be trusted. A failed write leaves the chain where it was. It knows bytes
//! of entries only; who waits for them is `committer`'s.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::{self, FrameKind, HEADER_LEN, Hash};
use crate::disk::Disk;
use crate::error::JournalError;
use crate::folder::{NEXT, SegmentName};

/// Zeros written ahead at a time: some hundred calls, so that few batches wait for it.
const GROW_BYTES: u64 = 512 << 10;
/// On a nearly full disk only what is needed, in pages.
const GROW_BYTES_MIN: u64 = 4 << 10;
/// Less room than this is replenished after a batch was answered.
const LOW_WATER: u64 = 64 << 10;
const ZEROS: &[u8] = &[0; 64 << 10];

/// The last entry, and the hash over all that came before it and itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainHead {
    /// 0 before the first entry.
    pub sequence: u64,
    pub hash: Hash,
}

pub(crate) struct Active {
    pub(crate) file: File,
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    /// Where the next frame goes.
    pub(crate) at: u64,
    /// Up to here the file is written, and durably so.
    pub(crate) allocated: u64,
}

pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) head: ChainHead,
    /// None before the first batch, and after a failure: what the last one holds behind its last batch is not known.
    pub(crate) active: Option<Active>,
    /// The name that the next segment must not have.
    pub(crate) used: Option<SegmentName>,
}

impl Log {
    /// Writes one batch, without waiting for the disk. `begin` is what a new segment starts with.
    pub(crate) fn write(
        &mut self,
        count: u32,
        payload: &[u8],
        begin: &dyn Fn() -> Vec<u8>,
    ) -> Result<Hash, JournalError> {
        let first = self.head.sequence + 1;
        let frame = batch::seal(FrameKind::Batch, first, count, &self.head.hash, payload);
        let frame = frame.ok_or(JournalError::TooLong { bytes: payload.len(), max: batch::PAYLOAD_BYTES_MAX })?;
        if self.active.is_none() {
            self.active = Some(self.begin_segment(&begin())?);
        }
        let (disk, Some(active)) = (Arc::clone(&self.disk), self.active.as_mut()) else {
            return Err(JournalError::Closed);
        };
        make_room(&*disk, active, frame.len() as u64)?;
        if let Err(error) = disk.write(&active.file, &active.path, &frame, active.at) {
            self.give_up();
            return Err(JournalError::of_write("write a batch", &error));
        }
        active.at += frame.len() as u64;
        Ok(batch::hash(&self.head.hash, first, count, payload))
    }

    /// Makes what was written durable: from here on it may be answered.
    pub(crate) fn sync(&mut self, count: u32, hash: Hash) -> Result<(), JournalError> {
        let Some(active) = &self.active else { return Err(JournalError::Closed) };
        if let Err(error) = self.disk.sync(&active.file, &active.path) {
            self.give_up();
            return Err(JournalError::of_write("sync a batch", &error));
        }
        self.head = ChainHead { sequence: self.head.sequence + u64::from(count), hash };
        Ok(())
    }

    /// After a batch has been answered: room for the next.
    pub(crate) fn replenish(&mut self) {
        let disk = Arc::clone(&self.disk);
        if let Some(active) = self.active.as_mut().filter(|active| active.allocated - active.at < LOW_WATER) {
            // A batch that needs the room will say so.
            if let Err(error) = grow(&*disk, active, GROW_BYTES) {
                tracing::debug!(%error, "no room ahead in the journal");
            }
        }
    }

    /// Ends the segment: the next batch begins another.
    pub(crate) fn end_segment(&mut self) -> Option<SegmentName> {
        let ended = self.active.take()?;
        self.used = Some(ended.name.clone());
        Some(ended.name)
    }

    /// Whether a batch could be written now; tries to make it so.
    pub(crate) fn repair(&mut self, begin: &dyn Fn() -> Vec<u8>) -> Result<(), JournalError> {
        if self.active.is_none() {
            self.active = Some(self.begin_segment(&begin())?);
        }
        let (disk, Some(active)) = (Arc::clone(&self.disk), self.active.as_mut()) else {
            return Err(JournalError::Closed);
        };
        make_room(&*disk, active, LOW_WATER)?;
        let synced = disk.sync(&active.file, &active.path);
        synced.map_err(|error| {
            self.give_up();
            JournalError::of_write("sync the journal", &error)
        })
    }

    fn give_up(&mut self) {
        self.end_segment();
    }

    fn begin_segment(&mut self, payload: &[u8]) -> Result<Active, JournalError> {
        let first = self.head.sequence + 1;
        let again = self.used.as_ref().filter(|used| used.first == first).map_or(0, |used| used.again + 1);
        let name = SegmentName::log(first, again);
        let path = name.path(&self.dir);
        let frame = batch::seal(FrameKind::Head, first, 0, &self.head.hash, payload);
        let frame = frame.ok_or(JournalError::TooLong { bytes: payload.len(), max: batch::PAYLOAD_BYTES_MAX })?;
        let at = frame.len() as u64;
        // It gets its name when it is whole: a short one of that name has lost its end.
        let next = path.with_extension(format!("log.{NEXT}"));
        let made = self.disk.create(&next).and_then(|file| {
            let mut active = Active { file, name, path: next.clone(), at: 0, allocated: 0 };
            active.allocated = extend(&*self.disk, &active, at, at + LOW_WATER)?;
            self.disk.write(&active.file, &next, &frame, 0)?;
            active.at = at;
            self.disk.sync(&active.file, &next)?;
            self.disk.rename(&next, &path)?;
            active.path.clone_from(&path);
            self.disk.sync_folder(&self.dir)?;
            Ok(active)
        });
        made.map_err(|error| {
            // Nothing is in it yet. If it has its name already and keeps it, the next gets another.
            drop(self.disk.remove(&next));
            if path.exists() && self.disk.remove(&path).is_err() {
                self.used = Some(SegmentName::log(first, again));
            }
            JournalError::of_write("begin a segment", &error)
        })
    }
}

/// Room for a frame and, behind it, a blank header: a file cut there is known by its absence.
fn make_room(disk: &dyn Disk, active: &mut Active, len: u64) -> Result<(), JournalError> {
    let need = (active.at + len + HEADER_LEN as u64).saturating_sub(active.allocated);
    if need == 0 {
        return Ok(());
    }
    let least = need.next_multiple_of(GROW_BYTES_MIN);
    grow(disk, active, least.max(GROW_BYTES)).or_else(|_| grow(disk, active, least))
}

fn grow(disk: &dyn Disk, active: &mut Active, by: u64) -> Result<(), JournalError> {
    let grown = extend(disk, active, active.allocated, active.allocated + by)
        .and_then(|allocated| disk.sync(&active.file, &active.path).map(|()| allocated));
    match grown {
        Ok(allocated) => {
            active.allocated = allocated;
            Ok(())
        }
        Err(error) => {
            // The part that fitted would hold the last free bytes of a full disk. If it stays, it is zeros all the same.
            if let Err(undo) = disk.shorten(&active.file, &active.path, active.allocated) {
                tracing::debug!(error = %undo, "the journal's room could not be given back");
            }
            Err(JournalError::of_write("make room for a batch", &error))
        }
    }
}

fn extend(disk: &dyn Disk, active: &Active, from: u64, to: u64) -> std::io::Result<u64> {
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        disk.write(&active.file, &active.path, &ZEROS[..len], at)?;
        at += len as u64;
    }
    Ok(to)
}

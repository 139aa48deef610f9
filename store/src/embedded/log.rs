//! The file: a header, a snapshot, then one frame a batch, with zeros written ahead so that a commit changes no metadata.
//! It makes frames durable, keeps room for the next one, and replaces the file by a shorter one when it has grown.
//! It knows records only to write a snapshot of them; what they mean is `state`'s, how a log ends `recover`'s.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::time::BootTime;

use super::disk::{Disk, is_full};
use super::frame::{FrameBuilder, HEADER_LEN};
use super::reserve::{Reserve, create};
use super::snapshot;
use super::state::State;
use crate::contract::Revision;

pub(super) const LOG_FILE: &str = "store.log";
pub(super) const NEXT_FILE: &str = "store.log.next";

/// Zeros written ahead at a time: some thousand locks' worth, so that few commits wait for it.
const GROW_BYTES: u64 = 1 << 20;
/// On a nearly full disk only what is needed, in pages.
const GROW_BYTES_MIN: u64 = 4 << 10;
/// Less room than this is replenished after a batch was answered, so that the next need not wait.
const LOW_WATER: u64 = 64 << 10;
/// One write call of zeros.
const ZEROS: &[u8] = &[0; 64 << 10];

/// Why a batch did not become durable.
#[derive(Debug)]
pub(super) enum AppendError {
    /// Nothing was applied, and the log is as before.
    Full(String),
    /// What the disk holds now is unknown: nothing more may be written through this log.
    Broken(String),
}

/// Whether a batch may use the space set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Ordinary,
    /// The batch only frees: pausing must work on a full disk.
    Reserved,
}

pub(super) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) file: File,
    pub(super) identity: [u8; 16],
    /// Where the next frame goes.
    pub(super) at: u64,
    pub(super) sequence: u64,
    /// Up to here the file is written, and durably so: room for frames.
    pub(super) allocated: u64,
    pub(super) snapshot_end: u64,
    /// The log is replaced by a snapshot when it has grown by this.
    pub(super) growth_max: u64,
    pub(super) reserve: Reserve,
    /// Not before the log is this long again: the last try found no room.
    pub(super) compact_after: u64,
}

impl Log {
    /// Makes one frame durable. On success it will be there after any crash.
    pub(super) fn append(&mut self, frame: FrameBuilder, room: Room, now: BootTime) -> Result<(), AppendError> {
        let bytes = frame.seal(snapshot::salt(&self.identity), self.sequence).map_err(AppendError::Full)?;
        self.make_room(bytes.len() as u64, room, now)?;
        if let Err(error) = self.write_frame(&bytes, room, now) {
            self.erase(bytes.len())?;
            return Err(sort(&error, "write to the log"));
        }
        self.disk.sync(&self.file).map_err(|error| broken(&error, "sync the log"))?;
        self.at += bytes.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// After a batch has been answered: room for the next.
    pub(super) fn replenish(&mut self) -> Result<(), AppendError> {
        if self.allocated - self.at >= LOW_WATER {
            return Ok(());
        }
        match self.grow(GROW_BYTES) {
            // A write that needs the room will say so.
            Err(AppendError::Full(_)) => Ok(()),
            other => other,
        }
    }

    pub(super) fn wants_compaction(&self) -> bool {
        let grown = self.at - self.snapshot_end;
        grown > self.growth_max.max(2 * self.snapshot_end) && self.at >= self.compact_after
    }

    /// Replaces the log by a snapshot of `state`. Until the rename the old log counts, and stays as it is.
    pub(super) fn compact(&mut self, state: &State, known_from: Revision) -> Result<(), AppendError> {
        let next = self.dir.join(NEXT_FILE);
        let written = create(&next).and_then(|file| {
            let end = snapshot::write(&file, &*self.disk, &self.identity, state, known_from)?;
            let allocated = extend_zeros(&*self.disk, &file, end.at, end.at + LOW_WATER)?;
            self.disk.sync(&file)?;
            Ok((file, end, allocated))
        });
        let (file, end, allocated) = match written {
            Ok(written) => written,
            Err(error) => {
                tracing::warn!(%error, "the log could not be shortened; it goes on growing");
                // A left-over is removed at the next open, too.
                let _ = self.disk.remove(&next);
                self.compact_after = self.at + GROW_BYTES;
                return Ok(());
            }
        };
        self.disk.rename(&next, &self.dir.join(LOG_FILE)).map_err(|error| broken(&error, "replace the log"))?;
        sync_dir(&self.dir).map_err(|error| broken(&error, "sync the folder"))?;
        self.file = file;
        (self.at, self.sequence, self.allocated) = (end.at, end.sequence, allocated);
        (self.snapshot_end, self.compact_after) = (end.at, 0);
        Ok(())
    }

    fn write_frame(&mut self, bytes: &[u8], room: Room, now: BootTime) -> io::Result<()> {
        match self.disk.overwrite(&self.file, bytes, self.at) {
            // A file system that copies on write needs space even here.
            Err(error) if is_full(&error) && room == Room::Reserved && self.reserve.give_up(now)? => {
                self.disk.overwrite(&self.file, bytes, self.at)
            }
            other => other,
        }
    }

    /// Takes back what a failed write may have left, lest a later start take it for a frame.
    fn erase(&mut self, len: usize) -> Result<(), AppendError> {
        let zeros = vec![0; len];
        self.disk.overwrite(&self.file, &zeros, self.at).map_err(|error| broken(&error, "erase a failed write"))
    }

    fn make_room(&mut self, len: u64, room: Room, now: BootTime) -> Result<(), AppendError> {
        if room == Room::Ordinary {
            // What is left while the reserve is gone is for those who free.
            let restored = self.reserve.restore(now);
            let held = restored.map_err(|error| AppendError::Full(format!("set space aside: {error}")))?;
            if !held {
                return Err(AppendError::Full("the disk is full; only deleting works".into()));
            }
        }
        // A blank header stays behind the last frame: a file cut there is known by its absence.
        let need = (self.at + len + HEADER_LEN as u64).saturating_sub(self.allocated);
        if need == 0 {
            return Ok(());
        }
        let least = need.next_multiple_of(GROW_BYTES_MIN);
        let grown = self.grow(least.max(GROW_BYTES)).or_else(|error| self.grow_after_full(error, least));
        match grown {
            Err(AppendError::Full(why)) if room == Room::Reserved => {
                if !self.reserve.give_up(now).map_err(|error| sort(&error, "free the space set aside"))? {
                    return Err(AppendError::Full(why));
                }
                tracing::warn!("the disk is full; the space set aside is used for deletes");
                self.grow(least)
            }
            other => other,
        }
    }

    fn grow_after_full(&mut self, error: AppendError, by: u64) -> Result<(), AppendError> {
        match error {
            AppendError::Full(_) => self.grow(by),
            AppendError::Broken(_) => Err(error),
        }
    }

    fn grow(&mut self, by: u64) -> Result<(), AppendError> {
        match extend_zeros(&*self.disk, &self.file, self.allocated, self.allocated + by) {
            Ok(allocated) => {
                self.disk.sync(&self.file).map_err(|error| broken(&error, "sync the longer log"))?;
                self.allocated = allocated;
                Ok(())
            }
            Err(error) => {
                // The part that fitted would hold the last free bytes of a full disk.
                let undone = self.disk.shorten(&self.file, self.allocated);
                undone.map_err(|error| broken(&error, "undo lengthening the log"))?;
                Err(sort(&error, "lengthen the log"))
            }
        }
    }
}

pub(super) fn extend_zeros(disk: &dyn Disk, file: &File, from: u64, to: u64) -> io::Result<u64> {
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        disk.extend(file, &ZEROS[..len], at)?;
        at += len as u64;
    }
    Ok(to)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sort(error: &io::Error, doing: &str) -> AppendError {
    if is_full(error) { AppendError::Full(format!("{doing}: {error}")) } else { broken(error, doing) }
}

fn broken(error: &io::Error, doing: &str) -> AppendError {
    AppendError::Broken(format!("{doing}: {error}"))
}

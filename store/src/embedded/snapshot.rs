//! The beginning of every log file: its header, then the whole state as frames. A new store is the snapshot of nothing.
//! It only writes, to a file nobody reads yet; `log` puts that file in place, `open` reads it back.

use std::fs::File;
use std::io;

use super::disk::Disk;
use super::frame::FrameBuilder;
use super::record::{self, Record};
use super::state::State;
use crate::contract::Revision;

/// One sector, so that it is written whole or not at all.
pub(super) const FILE_HEADER_LEN: usize = 512;
pub(super) const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"RRSTORE\n";
/// A snapshot's frames are about this long: the whole state is never in memory twice.
const FRAME_BYTES: usize = 64 << 10;

/// Where the log goes on.
pub(super) struct SnapshotEnd {
    pub(super) at: u64,
    pub(super) sequence: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileHeader {
    Known { identity: [u8; 16] },
    Newer(u32),
    Broken(String),
}

pub(super) fn read_file_header(bytes: &[u8; FILE_HEADER_LEN]) -> FileHeader {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..8] != MAGIC {
        return FileHeader::Broken("the file does not begin as a store's log".into());
    }
    // A newer format may put its checksum elsewhere: only magic and version are for all time.
    if word(8) > FORMAT_VERSION {
        return FileHeader::Newer(word(8));
    }
    if crc32c::crc32c(&bytes[..FILE_HEADER_LEN - 4]) != word(FILE_HEADER_LEN - 4) {
        return FileHeader::Broken("the file's header does not match its checksum".into());
    }
    let mut identity = [0; 16];
    identity.copy_from_slice(&bytes[12..28]);
    FileHeader::Known { identity }
}

fn file_header(identity: &[u8; 16]) -> [u8; FILE_HEADER_LEN] {
    let mut bytes = [0; FILE_HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..28].copy_from_slice(identity);
    let sum = crc32c::crc32c(&bytes[..FILE_HEADER_LEN - 4]);
    bytes[FILE_HEADER_LEN - 4..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// What ties frames to their file.
pub(super) fn salt(identity: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *identity;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Writes header and state into the empty `file`; durable only after a sync.
pub(super) fn write(
    file: &File,
    disk: &dyn Disk,
    identity: &[u8; 16],
    state: &State,
    known_from: Revision,
) -> io::Result<SnapshotEnd> {
    disk.extend(file, &file_header(identity), 0)?;
    let end = SnapshotEnd { at: FILE_HEADER_LEN as u64, sequence: 1 };
    let mut writer = Writer { file, disk, salt: salt(identity), end, frame: FrameBuilder::new() };
    writer.add(&Record::Head { revision: state.revision, known_from })?;
    for (lease, held) in &state.leases {
        writer.add(&Record::Grant { lease: *lease, ttl: held.ttl })?;
    }
    for (key, stored) in &state.keys {
        writer.add(&Record::Key(key.clone(), stored.clone()))?;
    }
    writer.add(&Record::Tail { keys: state.keys.len() as u64, leases: state.leases.len() as u64 })?;
    writer.flush()?;
    Ok(writer.end)
}

struct Writer<'a> {
    file: &'a File,
    disk: &'a dyn Disk,
    salt: u64,
    end: SnapshotEnd,
    frame: FrameBuilder,
}

impl Writer<'_> {
    fn add(&mut self, record: &Record) -> io::Result<()> {
        record::encode(record, self.frame.payload());
        if self.frame.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::replace(&mut self.frame, FrameBuilder::new());
        let bytes = frame.seal(self.salt, self.end.sequence).map_err(io::Error::other)?;
        self.disk.extend(self.file, &bytes, self.end.at)?;
        self.end.at += bytes.len() as u64;
        self.end.sequence += 1;
        Ok(())
    }
}

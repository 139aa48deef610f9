//! What the log says, one record a fact, and its bytes: little-endian numbers, texts with their length before them.
//! It knows no frame, no checksum and no file: a frame (`frame`) holds the records of one batch, so that they
//! become durable together or not at all.

use std::sync::Arc;

use rr_core::time::Span;

use super::state::Stored;
use crate::contract::{LeaseId, Revision};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyChange {
    Put(Arc<str>, Stored),
    Delete(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// One transaction's writes.
    Commit {
        revision: Revision,
        changes: Vec<KeyChange>,
    },
    Grant {
        lease: LeaseId,
        ttl: Span,
    },
    /// The lease is over; its keys went in the commit before, in the same frame.
    End {
        lease: LeaseId,
    },
    /// History below `revision` is forgotten.
    Compact {
        revision: Revision,
    },
    /// A snapshot begins: the log goes on from `revision`, history from `known_from`.
    Head {
        revision: Revision,
        known_from: Revision,
    },
    /// One key of a snapshot.
    Key(Arc<str>, Stored),
    /// The snapshot ends, and had this many keys and leases.
    Tail {
        keys: u64,
        leases: u64,
    },
}

impl Record {
    /// Whether this record takes more out of the store than it puts in: such records are written even on a full disk.
    pub(super) fn only_frees(&self) -> bool {
        match self {
            Self::Commit { changes, .. } => changes.iter().all(|change| matches!(change, KeyChange::Delete(_))),
            Self::End { .. } | Self::Compact { .. } => true,
            Self::Grant { .. } | Self::Head { .. } | Self::Key(..) | Self::Tail { .. } => false,
        }
    }
}

/// After the last record a frame is filled up with zeros, so 0 is no tag.
const END: u8 = 0;
const COMMIT: u8 = 1;
const GRANT: u8 = 2;
const LEASE_END: u8 = 3;
const COMPACT: u8 = 4;
const HEAD: u8 = 5;
const KEY: u8 = 6;
const TAIL: u8 = 7;

const PUT: u8 = 1;
const DELETE: u8 = 2;

pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Commit { revision, changes } => {
            out.push(COMMIT);
            put_u64(out, *revision);
            put_u64(out, changes.len() as u64);
            for change in changes {
                encode_change(change, out);
            }
        }
        Record::Grant { lease, ttl } => {
            out.push(GRANT);
            out.extend(lease.0.to_le_bytes());
            put_u64(out, ttl.as_millis());
        }
        Record::End { lease } => {
            out.push(LEASE_END);
            out.extend(lease.0.to_le_bytes());
        }
        Record::Compact { revision } => {
            out.push(COMPACT);
            put_u64(out, *revision);
        }
        Record::Head { revision, known_from } => {
            out.push(HEAD);
            put_u64(out, *revision);
            put_u64(out, *known_from);
        }
        Record::Key(key, stored) => {
            out.push(KEY);
            encode_stored(key, stored, out);
        }
        Record::Tail { keys, leases } => {
            out.push(TAIL);
            put_u64(out, *keys);
            put_u64(out, *leases);
        }
    }
}

/// All records of one frame. The error says what does not fit; a frame whose checksum holds never has one.
pub(super) fn decode_all(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut reader = Reader { bytes };
    let mut records = Vec::new();
    while !reader.bytes.is_empty() {
        match reader.u8()? {
            END => break,
            tag => records.push(decode(tag, &mut reader)?),
        }
    }
    Ok(records)
}

fn decode(tag: u8, reader: &mut Reader<'_>) -> Result<Record, String> {
    Ok(match tag {
        COMMIT => {
            let revision = reader.u64()?;
            let count = reader.u64()?;
            let changes = (0..count).map(|_| decode_change(reader)).collect::<Result<_, _>>()?;
            Record::Commit { revision, changes }
        }
        GRANT => Record::Grant { lease: LeaseId(reader.i64()?), ttl: Span::from_millis(reader.u64()?) },
        LEASE_END => Record::End { lease: LeaseId(reader.i64()?) },
        COMPACT => Record::Compact { revision: reader.u64()? },
        HEAD => Record::Head { revision: reader.u64()?, known_from: reader.u64()? },
        KEY => {
            let (key, stored) = decode_stored(reader)?;
            Record::Key(key, stored)
        }
        TAIL => Record::Tail { keys: reader.u64()?, leases: reader.u64()? },
        unknown => return Err(format!("record of unknown kind {unknown}")),
    })
}

fn encode_change(change: &KeyChange, out: &mut Vec<u8>) {
    match change {
        KeyChange::Put(key, stored) => {
            out.push(PUT);
            encode_stored(key, stored, out);
        }
        KeyChange::Delete(key) => {
            out.push(DELETE);
            put_bytes(out, key.as_bytes());
        }
    }
}

fn decode_change(reader: &mut Reader<'_>) -> Result<KeyChange, String> {
    match reader.u8()? {
        PUT => {
            let (key, stored) = decode_stored(reader)?;
            Ok(KeyChange::Put(key, stored))
        }
        DELETE => Ok(KeyChange::Delete(reader.text()?)),
        unknown => Err(format!("change of unknown kind {unknown}")),
    }
}

fn encode_stored(key: &str, stored: &Stored, out: &mut Vec<u8>) {
    put_bytes(out, key.as_bytes());
    put_u64(out, stored.create_revision);
    put_u64(out, stored.mod_revision);
    put_u64(out, stored.version);
    // Lease names are never 0.
    out.extend(stored.lease.map_or(0, |lease| lease.0).to_le_bytes());
    put_bytes(out, &stored.value);
}

fn decode_stored(reader: &mut Reader<'_>) -> Result<(Arc<str>, Stored), String> {
    let key = reader.text()?;
    let create_revision = reader.u64()?;
    let mod_revision = reader.u64()?;
    let version = reader.u64()?;
    let lease = Some(reader.i64()?).filter(|id| *id != 0).map(LeaseId);
    let value = reader.bytes()?.into();
    Ok((key, Stored { value, create_revision, mod_revision, version, lease }))
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or("record ends early")?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or("record ends early")?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.u64()?).map_err(|_| "record ends early")?;
        self.take(len)
    }

    fn text(&mut self) -> Result<Arc<str>, String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(Arc::from).map_err(|_| "key is no text".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(lease: Option<LeaseId>) -> Stored {
        Stored { value: Arc::from(&b"value"[..]), create_revision: 2, mod_revision: 9, version: 4, lease }
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let lease = LeaseId(-7);
        let records = vec![
            Record::Head { revision: 8, known_from: 3 },
            Record::Key("a".into(), stored(None)),
            Record::Tail { keys: 1, leases: 0 },
            Record::Grant { lease, ttl: Span::from_secs(60) },
            Record::Commit {
                revision: 9,
                changes: vec![KeyChange::Put("b/ü".into(), stored(Some(lease))), KeyChange::Delete("a".into())],
            },
            Record::End { lease },
            Record::Compact { revision: 5 },
        ];
        let mut bytes = Vec::new();
        records.iter().for_each(|record| encode(record, &mut bytes));
        bytes.extend([0; 13]);
        assert_eq!(decode_all(&bytes), Ok(records));
    }

    #[test]
    fn cut_bytes_are_an_error_and_no_panic() {
        let mut bytes = Vec::new();
        encode(&Record::Commit { revision: 9, changes: vec![KeyChange::Put("b".into(), stored(None))] }, &mut bytes);
        for len in 1..bytes.len() {
            assert!(decode_all(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}

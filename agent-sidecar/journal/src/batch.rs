//! The frame around one batch of entries: 64 bytes of header, then the payload, each under CRC32C, both multiples of 64. Each
//! header carries the hash of the batch before: what was cut out, changed or put in another order is found. It knows neither
//! entries nor files; `scan` walks the frames.
//!
//! The file ahead of the last frame is zeros, and a write that a crash cut short leaves zeros where it did not come to. For
//! this every payload byte is stored xor [`MASK`], and a payload ends in at least one byte of padding: zeros at its end, or a
//! whole sector of them in it, were never written.

use sha2::{Digest as _, Sha256};

/// Frames start at multiples of this, which divides a sector: no header lies in two sectors.
pub(crate) const ALIGN: usize = 64;
pub(crate) const HEADER_LEN: usize = 64;
const SECTOR: usize = 512;
/// Above any batch: the longest entry, and the others that wait with it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
const MASK: u8 = 0xa5;

pub(crate) type Hash = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The first of each segment: when it was begun, and which calls were open then.
    Head,
    Batch,
}

const MAGIC_HEAD: [u8; 4] = *b"RRj1";
const MAGIC_BATCH: [u8; 4] = *b"RRjb";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameKind,
    pub(crate) payload_len: usize,
    /// Sequence number of the first entry.
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// Of the batch before.
    pub(crate) previous: Hash,
    payload_sum: u32,
}

/// What makes a batch known: its place, its entries and all that came before.
pub(crate) fn hash(previous: &Hash, first: u64, count: u32, payload: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous);
    sha.update(first.to_le_bytes());
    sha.update(count.to_le_bytes());
    sha.update(payload);
    sha.finalize().into()
}

/// The bytes to write. `None` if the payload is longer than a frame may be.
pub(crate) fn seal(kind: FrameKind, first: u64, count: u32, previous: &Hash, payload: &[u8]) -> Option<Vec<u8>> {
    // The payload's own length comes first, the padding last.
    let len = (4 + payload.len() + 1).next_multiple_of(ALIGN);
    if len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_LEN + len);
    bytes.resize(HEADER_LEN, 0);
    bytes.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(HEADER_LEN + len, 0);
    let (header, stored) = bytes.split_at_mut(HEADER_LEN);
    stored.iter_mut().for_each(|byte| *byte ^= MASK);
    header[0..4].copy_from_slice(match kind {
        FrameKind::Head => &MAGIC_HEAD,
        FrameKind::Batch => &MAGIC_BATCH,
    });
    header[4..8].copy_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
    header[8..16].copy_from_slice(&first.to_le_bytes());
    header[16..20].copy_from_slice(&count.to_le_bytes());
    header[20..24].copy_from_slice(&crc32c::crc32c(stored).to_le_bytes());
    header[24..56].copy_from_slice(previous);
    let sum = crc32c::crc32c(&header[..60]);
    header[60..64].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    /// Nothing was written here.
    Blank,
    Frame(Header),
    Broken,
}

pub(crate) fn read_header(bytes: &[u8; HEADER_LEN]) -> HeaderRead {
    if is_blank(bytes) {
        return HeaderRead::Blank;
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let kind = match [bytes[0], bytes[1], bytes[2], bytes[3]] {
        MAGIC_HEAD => FrameKind::Head,
        MAGIC_BATCH => FrameKind::Batch,
        _ => return HeaderRead::Broken,
    };
    let payload_len = word(4) as usize;
    let is_whole = crc32c::crc32c(&bytes[..60]) == word(60);
    if !is_whole || payload_len > PAYLOAD_BYTES_MAX || !payload_len.is_multiple_of(ALIGN) {
        return HeaderRead::Broken;
    }
    let mut previous = Hash::default();
    previous.copy_from_slice(&bytes[24..56]);
    let first = u64::from(word(8)) | u64::from(word(12)) << 32;
    HeaderRead::Frame(Header { kind, payload_len, first, count: word(16), previous, payload_sum: word(20) })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Whole(Vec<u8>),
    /// Its end, or a sector of it, was never written.
    CutShort,
    Rotten,
}

/// Checks the payload as stored at `at` in the file.
pub(crate) fn open_payload(header: &Header, stored: &[u8], at: usize) -> Payload {
    if crc32c::crc32c(stored) != header.payload_sum {
        return if is_cut_short(stored, at) { Payload::CutShort } else { Payload::Rotten };
    }
    let plain: Vec<u8> = stored.iter().map(|byte| byte ^ MASK).collect();
    let Some((len, rest)) = plain.split_first_chunk() else { return Payload::Rotten };
    match rest.get(..u32::from_le_bytes(*len) as usize) {
        Some(payload) => Payload::Whole(payload.to_owned()),
        None => Payload::Rotten,
    }
}

/// Whether bytes of a frame that lie from `at` on look as if their writing had not come to an end.
pub(crate) fn is_cut_short(stored: &[u8], at: usize) -> bool {
    let to_sector = at.next_multiple_of(SECTOR) - at;
    let sectors = stored.get(to_sector..).unwrap_or_default();
    stored.last().is_none_or(|last| *last == 0) || sectors.chunks(SECTOR).any(is_blank)
}

pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(frame: &[u8]) -> HeaderRead {
        read_header(frame.first_chunk().expect("a header"))
    }

    #[test]
    fn a_frame_reads_back_and_every_cut_of_it_is_known_as_one() {
        for len in [0, 1, 59, 60, 63, 64, 500, 2_000] {
            let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
            let frame = seal(FrameKind::Batch, 7, 3, &[9; 32], &payload).expect("short");
            let HeaderRead::Frame(header) = header_of(&frame) else { panic!("no frame") };
            assert_eq!((header.first, header.count, header.previous), (7, 3, [9; 32]));
            assert_eq!(frame.len(), HEADER_LEN + header.payload_len);
            assert_eq!(open_payload(&header, &frame[HEADER_LEN..], HEADER_LEN), Payload::Whole(payload));
            for cut in HEADER_LEN..frame.len() {
                let mut stored = frame.clone();
                stored[cut..].fill(0);
                assert_eq!(open_payload(&header, &stored[HEADER_LEN..], HEADER_LEN), Payload::CutShort, "at {cut}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found_and_is_no_cut() {
        let frame = seal(FrameKind::Batch, 7, 3, &[9; 32], &[5; 300]).expect("short");
        let HeaderRead::Frame(header) = header_of(&frame) else { panic!("no frame") };
        for at in 0..frame.len() {
            let mut stored = frame.clone();
            stored[at] ^= 0x10;
            if at < HEADER_LEN {
                assert_eq!(header_of(&stored), HeaderRead::Broken, "at {at}");
            } else {
                assert_eq!(open_payload(&header, &stored[HEADER_LEN..], HEADER_LEN), Payload::Rotten, "at {at}");
            }
        }
    }
}

//! The frame around one batch of records: 32 bytes of header, then the payload, both under CRC32C, both multiples of 32.
//! It tells a write that a crash cut short (its batch was never answered: it may go) from stored bytes that have
//! changed (an answered batch: it must not go silently). It knows no record and no file; `recover` walks the frames.
//!
//! The file ahead of the last frame is zeros, and a disk writes a 512-byte sector whole or not at all. So a frame that a
//! crash cut short has a sector that is still all zeros; one without such a sector was written whole and has rotted.
//! For this no written sector may be zeros: every payload byte is stored xor [`MASK`], and a header is never zeros.

/// Frames start at multiples of this, which divides a sector: no header lies in two sectors.
pub(super) const ALIGN: usize = 32;
pub(super) const HEADER_LEN: usize = 32;
pub(super) const SECTOR: usize = 512;
/// Above any batch there can be: all keys the store may hold (`Limits::data_bytes`) deleted at once.
pub(super) const PAYLOAD_BYTES_MAX: usize = 128 << 20;

const MAGIC: [u8; 4] = *b"RRfr";
const MASK: u8 = 0xa5;

/// A frame being filled: room for the header, then the payload as it comes.
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADER_LEN] }
    }

    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished bytes. `salt` ties the frame to its file, `sequence` to its place in it.
    pub(super) fn seal(mut self, salt: u64, sequence: u64) -> Result<Vec<u8>, String> {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let (header, payload) = self.bytes.split_at_mut(HEADER_LEN);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(format!("batch of {} bytes", payload.len()));
        }
        let len = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        payload.iter_mut().for_each(|byte| *byte ^= MASK);
        header[0..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..24].copy_from_slice(&salt.to_le_bytes());
        header[24..28].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let sum = crc32c::crc32c(&header[..28]);
        header[28..32].copy_from_slice(&sum.to_le_bytes());
        Ok(self.bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_len: usize,
    pub(super) sequence: u64,
    payload_sum: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderRead {
    /// Nothing was written here.
    Blank,
    Frame(Header),
    Broken,
}

pub(super) fn read_header(bytes: &[u8; HEADER_LEN], salt: u64) -> HeaderRead {
    if bytes.iter().all(|byte| *byte == 0) {
        return HeaderRead::Blank;
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let payload_len = word(4) as usize;
    let whole = bytes[0..4] == MAGIC && crc32c::crc32c(&bytes[..28]) == word(28) && long(16) == salt;
    if !whole || payload_len > PAYLOAD_BYTES_MAX || !payload_len.is_multiple_of(ALIGN) {
        return HeaderRead::Broken;
    }
    HeaderRead::Frame(Header { payload_len, sequence: long(8), payload_sum: word(24) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Whole,
    /// A sector of it was never written.
    CutShort,
    Rotten,
}

/// Checks the payload as stored at `at` in the file, and unmasks it if it is whole.
pub(super) fn open_payload(header: &Header, payload: &mut [u8], at: u64) -> Payload {
    if crc32c::crc32c(payload) == header.payload_sum {
        payload.iter_mut().for_each(|byte| *byte ^= MASK);
        return Payload::Whole;
    }
    if has_blank_sector(payload, at) { Payload::CutShort } else { Payload::Rotten }
}

/// Whether one of the sectors that begin inside the payload is blank. The first, partial one is shared with the header,
/// which was read: it has been written.
fn has_blank_sector(payload: &[u8], at: u64) -> bool {
    // The remainder of a division by 512 fits.
    #[allow(clippy::cast_possible_truncation)]
    let into_sector = (at % SECTOR as u64) as usize;
    let skip = if into_sector == 0 { 0 } else { SECTOR - into_sector };
    let own_sectors = payload.get(skip..).unwrap_or_default();
    own_sectors.chunks(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut frame = FrameBuilder::new();
        frame.payload().extend_from_slice(payload);
        frame.seal(7, 3).unwrap()
    }

    fn header_of(frame: &[u8]) -> HeaderRead {
        read_header(frame.first_chunk().unwrap(), 7)
    }

    #[test]
    fn every_flipped_bit_is_seen_and_none_looks_cut_short() {
        let frame = sealed(&[0; 1500]);
        for bit in 0..frame.len() * 8 {
            let mut bytes = frame.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match header_of(&bytes) {
                HeaderRead::Broken => assert!(bit < HEADER_LEN * 8),
                HeaderRead::Frame(header) => {
                    assert_eq!(open_payload(&header, &mut bytes[HEADER_LEN..], 544), Payload::Rotten, "bit {bit}");
                }
                HeaderRead::Blank => panic!("bit {bit} made the header blank"),
            }
        }
    }

    #[test]
    fn a_frame_with_an_unwritten_sector_is_cut_short() {
        let frame = sealed(&[9; 1500]);
        // At 512 + 32 the payload's own sectors begin 480 bytes in.
        for (from, to) in [(480, 992), (992, 1504), (480, 1504)] {
            let mut payload = frame[HEADER_LEN..].to_vec();
            payload[from..to].fill(0);
            let HeaderRead::Frame(header) = header_of(&frame) else { panic!("header") };
            assert_eq!(open_payload(&header, &mut payload, 544), Payload::CutShort);
        }
    }

    #[test]
    fn a_frame_of_another_file_is_broken() {
        let frame = sealed(b"x");
        assert_eq!(read_header(frame.first_chunk().unwrap(), 8), HeaderRead::Broken);
    }
}

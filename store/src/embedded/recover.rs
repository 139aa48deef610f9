//! Walks a log from its first frame to its last and says how it ends: well, cut short by a crash, or damaged.
//! It changes nothing. What the frames say goes to the caller; what to do about the end is `log`'s.
//!
//! What counts as a crash: a frame with an unwritten sector, and nothing valid after it. Such a frame was never
//! answered, because answering waits for all of it. Anything else that does not fit would take back an answer.
//! A crash cannot shorten the file either: it is extended, and that made durable, before anything is written there, and a
//! blank header always remains behind the last frame. A file that ends earlier has been cut by someone else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::frame::{ALIGN, HEADER_LEN, Header, HeaderRead, Payload, open_payload, read_header};

const SCAN_BYTES: usize = 64 << 10;

/// Why a log cannot be trusted.
#[derive(Debug)]
pub(super) enum WalkError {
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the next frame goes, and what lies there.
#[derive(Debug)]
pub(super) struct End {
    pub(super) at: u64,
    pub(super) sequence: u64,
    /// Start and length of the last frame.
    pub(super) last: Option<(u64, usize)>,
    /// A frame that a crash cut short begins at `at`.
    pub(super) cut_short: bool,
}

pub(super) struct Walk<'a> {
    pub(super) file: &'a File,
    pub(super) file_len: u64,
    pub(super) salt: u64,
}

impl Walk<'_> {
    /// Hands each frame's payload to `each`, with where the frame ends.
    pub(super) fn run(
        &self,
        start: u64,
        mut each: impl FnMut(&[u8], u64) -> Result<(), String>,
    ) -> Result<End, WalkError> {
        let mut end = End { at: start, sequence: 1, last: None, cut_short: false };
        let mut payload = Vec::new();
        loop {
            let header = match self.header(end.at)? {
                HeaderRead::Frame(header) => header,
                HeaderRead::Blank => {
                    end.cut_short = self.any_written(end.at)?;
                    return self.settle(end);
                }
                HeaderRead::Broken => {
                    return Err(damaged(end.at, "its header does not match its checksum"));
                }
            };
            if header.sequence != end.sequence {
                return Err(damaged(end.at, "it is not the next one"));
            }
            match self.payload(&header, end.at, &mut payload)? {
                Payload::Whole => {}
                Payload::CutShort => {
                    end.cut_short = true;
                    return self.settle(end);
                }
                Payload::Rotten => {
                    return Err(damaged(end.at, "its payload does not match its checksum"));
                }
            }
            let len = HEADER_LEN + payload.len();
            end.last = Some((end.at, len));
            each(&payload, end.at + len as u64).map_err(|why| damaged(end.at, &why))?;
            end.at += len as u64;
            end.sequence += 1;
        }
    }

    fn header(&self, at: u64) -> Result<HeaderRead, WalkError> {
        let mut bytes = [0; HEADER_LEN];
        if at + HEADER_LEN as u64 > self.file_len {
            return Err(damaged(at, "the file ends before it"));
        }
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(read_header(&bytes, self.salt))
    }

    fn payload(&self, header: &Header, at: u64, payload: &mut Vec<u8>) -> Result<Payload, WalkError> {
        let from = at + HEADER_LEN as u64;
        if from + header.payload_len as u64 > self.file_len {
            return Err(damaged(at, "the file ends within it"));
        }
        payload.resize(header.payload_len, 0);
        self.file.read_exact_at(payload, from)?;
        Ok(open_payload(header, payload, from))
    }

    /// A cut frame must be the last: a valid one behind it was only begun after this one had been answered.
    fn settle(&self, end: End) -> Result<End, WalkError> {
        if end.cut_short && self.any_frame_after(end.at)? {
            return Err(damaged(end.at, "it is not whole, but frames after it are"));
        }
        Ok(end)
    }

    fn any_written(&self, from: u64) -> Result<bool, WalkError> {
        self.any_chunk(from, |chunk| chunk.iter().any(|byte| *byte != 0))
    }

    fn any_frame_after(&self, from: u64) -> Result<bool, WalkError> {
        let salt = self.salt;
        self.any_chunk(from + ALIGN as u64, |chunk| {
            let headers = chunk.chunks(ALIGN).filter_map(|bytes| bytes.first_chunk());
            headers.into_iter().any(|bytes| matches!(read_header(bytes, salt), HeaderRead::Frame(_)))
        })
    }

    fn any_chunk(&self, from: u64, found: impl Fn(&[u8]) -> bool) -> Result<bool, WalkError> {
        let mut buffer = vec![0; SCAN_BYTES];
        let mut at = from;
        while at < self.file_len {
            let read = self.file.read_at(&mut buffer, at)?;
            if read == 0 {
                break;
            }
            if found(&buffer[..read]) {
                return Ok(true);
            }
            at += read as u64;
        }
        Ok(false)
    }
}

fn damaged(at: u64, why: &str) -> WalkError {
    WalkError::Damaged(format!("frame at byte {at}: {why}"))
}

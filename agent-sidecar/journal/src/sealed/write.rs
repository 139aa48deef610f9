//! Makes the last form of a segment: from the log as it was read, in memory, to the bytes of one file. It writes no file.

use crate::batch::Hash;
use crate::codec::{self, NotAnEntry, Paths, put_bytes, put_number};
use crate::entry::Entry;
use crate::scan::{Batch, Begin};
use crate::sealed::index::{Block, IndexWritten};
use crate::sealed::names::NamesWritten;
use crate::sealed::{BLOCK_BYTES, MAGIC, VERSION};

/// zstd's own default: a segment takes some 20 ms, on a thread that nobody waits for.
const LEVEL: i32 = 3;

/// One segment in its last form.
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: usize,
}

/// Why a segment stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    Entry(#[from] NotAnEntry),
    #[error("compress")]
    Compress(#[source] std::io::Error),
}

/// `batches` are whole and continue `begin` and each other.
pub(crate) fn seal(begin: &Begin, batches: &[Batch]) -> Result<Sealed, SealError> {
    let mut making = Making::default();
    let mut counts = Vec::new();
    for batch in batches {
        put_number(&mut counts, u64::from(batch.count));
        let mut rest = batch.payload.as_slice();
        for _ in 0..batch.count {
            let bytes = codec::get_bytes(&mut rest)?;
            let entry = codec::decode_with(bytes, &codec::Inline, &mut making.paths)?;
            making.take(&entry)?;
        }
    }
    making.end_block()?;
    let hash = batches.last().map_or(begin.previous, |last| last.hash);
    let entries = making.entries;
    Ok(Sealed { bytes: making.finish(begin, &counts, &hash)?, entries })
}

#[derive(Default)]
struct Making {
    file: Vec<u8>,
    block: Vec<u8>,
    /// Of the block in the making.
    count: usize,
    times: Option<(u64, u64)>,
    blocks: Vec<Block>,
    names: NamesWritten,
    index: IndexWritten,
    entries: usize,
    paths: Paths,
    one: Vec<u8>,
}

impl Making {
    fn take(&mut self, entry: &Entry) -> Result<(), SealError> {
        self.one.clear();
        codec::encode_with(entry, &mut self.names, &mut self.one);
        put_bytes(&mut self.block, &self.one);
        self.index.see(self.entries, entry);
        let (oldest, newest) = self.times.unwrap_or((u64::MAX, 0));
        self.times = Some((oldest.min(entry.at_unix_ms), newest.max(entry.at_unix_ms)));
        self.entries += 1;
        self.count += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), SealError> {
        let Some((oldest_ms, newest_ms)) = self.times.take() else { return Ok(()) };
        let packed = pack(&self.block)?;
        self.blocks.push(Block {
            at: self.file.len(),
            len: packed.len(),
            unpacked: self.block.len(),
            sum: crc32c::crc32c(&packed),
            first: self.entries - self.count,
            count: self.count,
            oldest_ms,
            newest_ms,
        });
        self.file.extend_from_slice(&packed);
        self.block.clear();
        self.count = 0;
        Ok(())
    }

    /// Index, names, batches and begin behind the blocks, and the footer that says where they are.
    fn finish(mut self, begin: &Begin, counts: &[u8], hash: &Hash) -> Result<Vec<u8>, SealError> {
        let mut footer = Vec::new();
        put_number(&mut footer, VERSION);
        put_number(&mut footer, begin.first);
        put_number(&mut footer, self.entries as u64);
        footer.extend_from_slice(&begin.previous);
        footer.extend_from_slice(hash);
        let [index, sessions] = self.index.encode(&self.blocks);
        for part in [&index, &sessions, self.names.table(), counts, &begin.payload] {
            let packed = pack(part)?;
            put_number(&mut footer, self.file.len() as u64);
            put_number(&mut footer, packed.len() as u64);
            put_number(&mut footer, part.len() as u64);
            put_number(&mut footer, u64::from(crc32c::crc32c(&packed)));
            self.file.extend_from_slice(&packed);
        }
        let len = u32::try_from(footer.len()).unwrap_or(u32::MAX);
        self.file.extend_from_slice(&footer);
        self.file.extend_from_slice(&len.to_le_bytes());
        self.file.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        self.file.extend_from_slice(MAGIC);
        Ok(self.file)
    }
}

fn pack(bytes: &[u8]) -> Result<Vec<u8>, SealError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(SealError::Compress)
}

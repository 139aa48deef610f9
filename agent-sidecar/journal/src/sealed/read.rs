//! Opens a sealed segment: its footer first, then only the parts that are asked for. Each part has a sum of its own, so that
//! a damaged block costs its own entries and no others.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::batch::{self, Hash};
use crate::codec::{self, Inline, NotAnEntry, Paths};
use crate::entry::Entry;
use crate::folder::SegmentName;
use crate::log::ChainHead;
use crate::reader::Damage;
use crate::scan::Wrong;
use crate::sealed::index::{Block, IndexRead};
use crate::sealed::names::NamesRead;
use crate::sealed::{MAGIC, PART_BYTES_MAX, TAIL_LEN, VERSION};

/// What a sealed segment says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) first: u64,
    pub(crate) entries: u64,
    /// Of the batch before the segment.
    pub(crate) previous: Hash,
    pub(crate) head: ChainHead,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    at: u64,
    len: usize,
    unpacked: usize,
    sum: u32,
}

pub(super) struct Segment {
    file: File,
    path: PathBuf,
    pub(super) summary: Summary,
    index: Part,
    sessions: Part,
    names: Part,
    counts: Part,
}

/// Why nothing, or not everything, of a segment can be read.
pub(super) enum Fault {
    /// It is not there.
    Gone,
    Damage(Damage),
}

type Opened<T> = Result<T, Fault>;

impl Segment {
    pub(super) fn open(dir: &Path, name: &SegmentName) -> Opened<Self> {
        let path = name.path(dir);
        let fault = |wrong: Wrong| {
            let (file, after) = (path.clone(), name.first.saturating_sub(1));
            Fault::Damage(Damage { file, wrong, at: 0, len: 0, after })
        };
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Gone,
            _ => fault(Wrong::Unreadable),
        })?;
        let footer = footer(&file).map_err(&fault)?;
        let (summary, [index, sessions, names, counts, _]) =
            parse_footer(&footer).map_err(|_| fault(Wrong::Changed))?;
        Ok(Self { file, path, summary, index, sessions, names, counts })
    }

    pub(super) fn index(&self) -> Opened<IndexRead> {
        let bytes = self.part(self.index)?;
        IndexRead::new(&bytes).map_err(|_| self.changed(self.index.at, self.index.len))
    }

    pub(super) fn sessions(&self) -> Opened<Vec<u8>> {
        self.part(self.sessions)
    }

    pub(super) fn names(&self) -> Opened<NamesRead> {
        let bytes = self.part(self.names)?;
        NamesRead::new(bytes).map_err(|_| self.changed(self.names.at, self.names.len))
    }

    pub(super) fn block(&self, block: &Block) -> Opened<Vec<u8>> {
        self.part(Part { at: block.at as u64, len: block.len, unpacked: block.unpacked, sum: block.sum })
    }

    fn part(&self, part: Part) -> Opened<Vec<u8>> {
        let changed = || self.changed(part.at, part.len);
        if part.len > PART_BYTES_MAX || part.unpacked > PART_BYTES_MAX {
            return Err(changed());
        }
        let mut packed = vec![0; part.len];
        self.file.read_exact_at(&mut packed, part.at).map_err(|_| changed())?;
        if crc32c::crc32c(&packed) != part.sum {
            return Err(changed());
        }
        let bytes = unpacked(&packed, part.unpacked).ok_or_else(changed)?;
        if bytes.len() == part.unpacked { Ok(bytes) } else { Err(changed()) }
    }

    pub(super) fn broken_index(&self) -> Fault {
        self.changed(self.index.at, self.index.len)
    }

    fn changed(&self, at: u64, len: usize) -> Fault {
        let (file, after) = (self.path.clone(), self.summary.first.saturating_sub(1));
        Fault::Damage(Damage { file, wrong: Wrong::Changed, at, len: len as u64, after })
    }

    pub(super) fn damaged_block(&self, block: &Block) -> Damage {
        let after = self.summary.first + block.first as u64 - 1;
        let (file, at, len) = (self.path.clone(), block.at as u64, block.len as u64);
        Damage { file, wrong: Wrong::Changed, at, len, after }
    }
}

/// What it takes to unpack is made once a thread: a query unpacks many small parts.
fn unpacked(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    thread_local!(static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) });
    UNPACKER.with_borrow_mut(|unpacker| {
        if unpacker.is_none() {
            *unpacker = zstd::bulk::Decompressor::new().ok();
        }
        unpacker.as_mut()?.decompress(packed, len).ok()
    })
}

fn footer(file: &File) -> Result<Vec<u8>, Wrong> {
    let len = file.metadata().map_err(|_| Wrong::Unreadable)?.len();
    let tail_at = len.checked_sub(TAIL_LEN as u64).ok_or(Wrong::Truncated)?;
    let mut tail = [0; TAIL_LEN];
    file.read_exact_at(&mut tail, tail_at).map_err(|_| Wrong::Unreadable)?;
    if &tail[8..] != MAGIC {
        return Err(Wrong::Truncated);
    }
    let word = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
    let at = tail_at.checked_sub(u64::from(word(0))).ok_or(Wrong::Changed)?;
    let mut footer = vec![0; word(0) as usize];
    file.read_exact_at(&mut footer, at).map_err(|_| Wrong::Unreadable)?;
    if crc32c::crc32c(&footer) == word(4) { Ok(footer) } else { Err(Wrong::Changed) }
}

fn parse_footer(mut footer: &[u8]) -> Result<(Summary, [Part; 5]), NotAnEntry> {
    let from = &mut footer;
    if codec::get_number(from)? != VERSION {
        return Err(NotAnEntry("a form that this version does not know"));
    }
    let (first, entries) = (codec::get_number(from)?, codec::get_number(from)?);
    let (previous, hash) = (get_hash(from)?, get_hash(from)?);
    let sequence = first.checked_add(entries).and_then(|end| end.checked_sub(1));
    let sequence = sequence.ok_or(NotAnEntry("a number that is too large"))?;
    let mut parts = [Part::default(); 5];
    for part in &mut parts {
        let mut size = || usize::try_from(codec::get_number(from)?).map_err(|_| NotAnEntry("too long"));
        *part = Part { at: size()? as u64, len: size()?, unpacked: size()?, sum: 0 };
        part.sum = u32::try_from(codec::get_number(from)?).map_err(|_| NotAnEntry("a sum that is none"))?;
    }
    Ok((Summary { first, entries, previous, head: ChainHead { sequence, hash } }, parts))
}

fn get_hash(from: &mut &[u8]) -> Result<Hash, NotAnEntry> {
    let (hash, rest) = from.split_first_chunk().ok_or(NotAnEntry("cut short"))?;
    *from = rest;
    Ok(*hash)
}

/// What a sealed segment says of itself, without a look at its entries.
pub(crate) fn summary(dir: &Path, name: &SegmentName) -> Result<Summary, Damage> {
    match Segment::open(dir, name) {
        Ok(segment) => Ok(segment.summary),
        Err(Fault::Damage(damage)) => Err(damage),
        Err(Fault::Gone) => {
            let (file, after) = (name.path(dir), name.first.saturating_sub(1));
            Err(Damage { file, wrong: Wrong::Missing, at: 0, len: 0, after })
        }
    }
}

/// Makes the log of it again, and compares what that hashes to with what the segment says. `see` is shown each entry.
pub(crate) fn verify(dir: &Path, name: &SegmentName, mut see: impl FnMut(u64, &Entry)) -> Result<Summary, Vec<Damage>> {
    let summary = summary(dir, name).map_err(|damage| vec![damage])?;
    let damaged = |fault: Fault| match fault {
        Fault::Damage(damage) => vec![damage],
        Fault::Gone => vec![],
    };
    let segment = Segment::open(dir, name).map_err(damaged)?;
    let (index, names) = (segment.index().map_err(damaged)?, segment.names().map_err(damaged)?);
    let (mut found, mut entries, mut paths) = (Vec::new(), Vec::new(), Paths::default());
    for block in &index.blocks {
        let read = segment.block(block).ok().and_then(|bytes| unpack(&bytes, &names, &mut paths));
        match read.filter(|read| read.len() == block.count) {
            Some(read) => entries.extend(read),
            None => found.push(segment.damaged_block(block)),
        }
    }
    if !found.is_empty() {
        return Err(found);
    }
    (summary.first..).zip(&entries).for_each(|(sequence, entry)| see(sequence, entry));
    let counts = segment.part(segment.counts).map_err(damaged)?;
    if rehash(&summary, &counts, &entries) == Some(summary.head.hash) {
        return Ok(summary);
    }
    let (file, after) = (name.path(dir), summary.first - 1);
    Err(vec![Damage { file, wrong: Wrong::Chain, at: 0, len: 0, after }])
}

fn unpack(mut block: &[u8], names: &NamesRead, paths: &mut Paths) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !block.is_empty() {
        let bytes = codec::get_bytes(&mut block).ok()?;
        entries.push(codec::decode_with(bytes, names, paths).ok()?);
    }
    Some(entries)
}

/// The hash of the last batch, if these entries fill the batches.
fn rehash(summary: &Summary, mut counts: &[u8], entries: &[Entry]) -> Option<Hash> {
    let (mut hash, mut at) = (summary.previous, 0);
    let (mut payload, mut one) = (Vec::new(), Vec::new());
    while !counts.is_empty() {
        let count = u32::try_from(codec::get_number(&mut counts).ok()?).ok()?;
        payload.clear();
        for entry in entries.get(at..at + count as usize)? {
            one.clear();
            codec::encode_with(entry, &mut Inline, &mut one);
            codec::put_bytes(&mut payload, &one);
        }
        hash = batch::hash(&hash, summary.first + at as u64, count, &payload);
        at += count as usize;
    }
    (at == entries.len()).then_some(hash)
}

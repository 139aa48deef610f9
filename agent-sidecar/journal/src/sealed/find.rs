//! A query over one sealed segment: the index says which entries can be wanted, and only their blocks are unpacked.

use std::io;
use std::path::Path;

use crate::codec::{self, Paths};
use crate::folder::SegmentName;
use crate::query::Find;
use crate::reader::{Filter, Order};
use crate::sealed::index::{Block, IndexRead, of_session};
use crate::sealed::names::NamesRead;
use crate::sealed::read::{Fault, Segment};

/// What is wanted of a segment, oldest first; no more than `limit` entries from the end that is wanted first.
pub(crate) fn find(dir: &Path, name: &SegmentName, filter: &Filter, limit: usize) -> io::Result<Vec<Find>> {
    let asked = Segment::open(dir, name).and_then(|segment| Asked::new(segment, filter));
    match asked {
        Ok(Some(asked)) => Ok(asked.answer(limit)),
        Ok(None) => Ok(vec![]),
        Err(Fault::Gone) => Err(io::ErrorKind::NotFound.into()),
        Err(Fault::Damage(damage)) => Ok(vec![Err(damage)]),
    }
}

struct Asked<'a> {
    segment: Segment,
    filter: &'a Filter,
    index: IndexRead,
    names: NamesRead,
    /// Entries that can be wanted; None is all.
    candidates: Option<Vec<usize>>,
}

impl<'a> Asked<'a> {
    /// Nothing, if the index knows that nothing is wanted.
    fn new(segment: Segment, filter: &'a Filter) -> Result<Option<Self>, Fault> {
        if filter.after.is_some_and(|after| segment.summary.head.sequence <= after) {
            return Ok(None);
        }
        let index = segment.index()?;
        let of_path = filter.path.as_ref().map(|path| index.of_path(path)).transpose();
        let of_session = match &filter.session {
            Some(begin) => Some(of_session(&segment.sessions()?, begin)).transpose(),
            None => Ok(None),
        };
        let (Ok(of_path), Ok(of_session)) = (of_path, of_session) else {
            return Err(segment.broken_index());
        };
        let candidates = match (of_path, of_session) {
            (Some(a), Some(b)) => Some(both(&a, &b)),
            (a, b) => a.or(b),
        };
        if candidates.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let names = segment.names()?;
        Ok(Some(Self { segment, filter, index, names, candidates }))
    }

    fn answer(&self, limit: usize) -> Vec<Find> {
        let mut paths = Paths::default();
        let mut wanted: Vec<&Block> = self.index.blocks.iter().collect();
        let newest_first = self.filter.order == Order::NewestFirst;
        if newest_first {
            wanted.reverse();
        }
        let (mut parts, mut found) = (Vec::new(), 0);
        for block in wanted {
            let part = self.of_block(block, &mut paths);
            found += part.len();
            parts.push(part);
            if found >= limit {
                break;
            }
        }
        if newest_first {
            parts.reverse();
        }
        parts.into_iter().flatten().collect()
    }

    fn of_block(&self, block: &Block, paths: &mut Paths) -> Vec<Find> {
        let filter = self.filter;
        let too_old = filter.since_unix_ms.is_some_and(|since| block.newest_ms < since);
        let too_new = filter.until_unix_ms.is_some_and(|until| block.oldest_ms >= until);
        let last = self.segment.summary.first + (block.first + block.count) as u64 - 1;
        if too_old || too_new || filter.after.is_some_and(|after| last <= after) {
            return vec![];
        }
        let wanted = self.candidates_in(block);
        if wanted.as_ref().is_some_and(|wanted| wanted.is_empty()) {
            return vec![];
        }
        let Ok(bytes) = self.segment.block(block) else {
            return vec![Err(self.segment.damaged_block(block))];
        };
        self.pick(block, &bytes, wanted, paths)
    }

    fn candidates_in(&self, block: &Block) -> Option<&[usize]> {
        let candidates = self.candidates.as_ref()?;
        let from = candidates.partition_point(|number| *number < block.first);
        let to = candidates.partition_point(|number| *number < block.first + block.count);
        Some(&candidates[from..to])
    }

    fn pick(&self, block: &Block, mut bytes: &[u8], wanted: Option<&[usize]>, paths: &mut Paths) -> Vec<Find> {
        let mut finds = Vec::new();
        let mut wanted = wanted.map(|wanted| wanted.iter().peekable());
        for number in block.first..block.first + block.count {
            let Ok(one) = codec::get_bytes(&mut bytes) else {
                finds.push(Err(self.segment.damaged_block(block)));
                break;
            };
            if wanted.as_mut().is_some_and(|wanted| wanted.next_if_eq(&&number).is_none()) {
                continue;
            }
            let sequence = self.segment.summary.first + number as u64;
            match self.read(one, paths) {
                Ok(Some(entry)) if self.filter.wants(sequence, &entry) => finds.push(Ok((sequence, entry))),
                Ok(_) => {}
                Err(_) => finds.push(Err(self.segment.damaged_block(block))),
            }
        }
        finds
    }

    fn read(&self, bytes: &[u8], paths: &mut Paths) -> Result<Option<crate::entry::Entry>, codec::NotAnEntry> {
        let head = codec::head_with(bytes, &self.names)?;
        let session = head.session.and_then(|session| std::str::from_utf8(session).ok());
        if !self.filter.wants_kind(head.kind) || !self.filter.wants_head(head.at_unix_ms, session) {
            return Ok(None);
        }
        codec::decode_with(bytes, &self.names, paths).map(Some)
    }
}

/// What is in both, each in order.
fn both(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().copied().filter(|number| b.binary_search(number).is_ok()).collect()
}

//! Which entries of a segment name which path and belong to which session, and where its blocks lie. Entries are numbered from
//! 0 within the segment.

use std::collections::BTreeMap;

use rr_core::path::RepoPath;

use crate::codec::{NotAnEntry, get_bytes, get_number, put_bytes, put_number};
use crate::entry::Entry;

/// One compressed block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) unpacked: usize,
    pub(super) sum: u32,
    /// Its first entry, and how many.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) oldest_ms: u64,
    pub(super) newest_ms: u64,
}

#[derive(Default)]
pub(super) struct IndexWritten {
    paths: BTreeMap<String, Vec<usize>>,
    sessions: BTreeMap<String, Vec<usize>>,
}

impl IndexWritten {
    pub(super) fn see(&mut self, number: usize, entry: &Entry) {
        if let Some(session) = &entry.session {
            self.sessions.entry(session.as_str().to_owned()).or_default().push(number);
        }
        let paths = &mut self.paths;
        entry.event.for_each_path(|_, path| {
            let numbers = paths.entry(path.key()).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        });
    }

    /// Where the blocks lie, and the paths; the sessions are a part of their own, since few ask for both.
    pub(super) fn encode(&self, blocks: &[Block]) -> [Vec<u8>; 2] {
        let mut out = Vec::new();
        put(&mut out, blocks.len());
        for block in blocks {
            [block.len, block.unpacked, block.count].into_iter().for_each(|number| put(&mut out, number));
            put_number(&mut out, u64::from(block.sum));
            put_number(&mut out, block.oldest_ms);
            put_number(&mut out, block.newest_ms - block.oldest_ms);
        }
        put_lists(&mut out, &self.paths);
        let mut sessions = Vec::new();
        put_lists(&mut sessions, &self.sessions);
        [out, sessions]
    }
}

fn put_lists(out: &mut Vec<u8>, lists: &BTreeMap<String, Vec<usize>>) {
    put(out, lists.len());
    for (key, numbers) in lists {
        put_bytes(out, key.as_bytes());
        put_bytes(out, &steps(numbers));
    }
}

fn put(out: &mut Vec<u8>, number: usize) {
    put_number(out, number as u64);
}

fn get(bytes: &mut &[u8]) -> Result<usize, NotAnEntry> {
    usize::try_from(get_number(bytes)?).map_err(|_| NotAnEntry("a number that is too large"))
}

/// Each number as its distance from the one before.
fn steps(numbers: &[usize]) -> Vec<u8> {
    let (mut out, mut last) = (Vec::new(), 0);
    for number in numbers {
        put(&mut out, number - last);
        last = *number;
    }
    out
}

fn numbers(mut steps: &[u8], into: &mut Vec<usize>) -> Result<(), NotAnEntry> {
    let mut last = 0_usize;
    while !steps.is_empty() {
        last = last.checked_add(get(&mut steps)?).ok_or(NotAnEntry("a number that is too large"))?;
        into.push(last);
    }
    Ok(())
}

/// The index of a segment, unpacked.
pub(super) struct IndexRead {
    pub(super) blocks: Vec<Block>,
    paths: Vec<u8>,
}

impl IndexRead {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, NotAnEntry> {
        let mut rest = bytes;
        let count = get(&mut rest)?;
        let (mut at, mut first) = (0_usize, 0_usize);
        let mut blocks = Vec::new();
        for _ in 0..count {
            let (len, unpacked, entries) = (get(&mut rest)?, get(&mut rest)?, get(&mut rest)?);
            let sum = u32::try_from(get_number(&mut rest)?).map_err(|_| NotAnEntry("a sum that is none"))?;
            let oldest_ms = get_number(&mut rest)?;
            let newest_ms = oldest_ms.saturating_add(get_number(&mut rest)?);
            blocks.push(Block { at, len, unpacked, sum, first, count: entries, oldest_ms, newest_ms });
            at = at.checked_add(len).ok_or(NotAnEntry("a length that is too large"))?;
            first = first.checked_add(entries).ok_or(NotAnEntry("a number that is too large"))?;
        }
        Ok(Self { blocks, paths: rest.to_owned() })
    }

    /// Entries that name the path or something below it, in order.
    pub(super) fn of_path(&self, path: &RepoPath) -> Result<Vec<usize>, NotAnEntry> {
        let key = path.key();
        let below = |found: &[u8]| {
            found.strip_prefix(key.as_bytes()).is_some_and(|rest| key.is_empty() || rest.is_empty() || rest[0] == b'/')
        };
        collect(&self.paths, below)
    }
}

/// Entries of the sessions whose id begins so, in order.
pub(super) fn of_session(sessions: &[u8], begin: &str) -> Result<Vec<usize>, NotAnEntry> {
    collect(sessions, |found| found.starts_with(begin.as_bytes()))
}

fn collect(mut rest: &[u8], wants: impl Fn(&[u8]) -> bool) -> Result<Vec<usize>, NotAnEntry> {
    let rest = &mut rest;
    let (mut found, mut lists) = (Vec::new(), 0);
    for _ in 0..get(rest)? {
        let (key, steps) = (get_bytes(rest)?, get_bytes(rest)?);
        if wants(key) {
            numbers(steps, &mut found)?;
            lists += 1;
        }
    }
    if lists > 1 {
        found.sort_unstable();
        found.dedup();
    }
    Ok(found)
}

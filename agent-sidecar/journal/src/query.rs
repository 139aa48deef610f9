//! A query walks the segments in order and hands out what is wanted of each. Sealed segments are asked by their index, the
//! log that is still written is read whole. It holds one segment's finds at a time.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::codec::{self, Inline, Paths};
use crate::entry::Entry;
use crate::folder::{self, Form, SegmentName};
use crate::reader::{Damage, Filter, Order};
use crate::scan::{self, Batch, Depth, Found, Wrong};
use crate::sealed;

pub(crate) type Find = Result<(u64, Entry), Damage>;

/// The entries that a filter wants, and the damage met on the way.
pub struct Query {
    dir: PathBuf,
    filter: Filter,
    /// Those still to be asked, each with the first entry that is no longer its own.
    segments: VecDeque<(SegmentName, u64)>,
    found: VecDeque<Find>,
    left: usize,
}

impl Query {
    pub(crate) fn new(dir: &Path, filter: &Filter) -> Self {
        let mut found = VecDeque::new();
        let segments = match folder::segments(dir) {
            Ok(names) => with_ends(names),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    found.push_back(Err(unreadable(dir, 0)));
                }
                vec![]
            }
        };
        // A segment that ends at or before the last unwanted entry has nothing to offer.
        let behind = |(_, end): &(SegmentName, u64)| filter.after.is_none_or(|after| *end > after + 1);
        let mut segments: VecDeque<_> = segments.into_iter().filter(behind).collect();
        if filter.order == Order::NewestFirst {
            segments.make_contiguous().reverse();
        }
        let left = filter.limit.unwrap_or(usize::MAX);
        Self { dir: dir.to_owned(), filter: filter.clone(), segments, found, left }
    }

    fn ask(&self, name: &SegmentName, end: u64) -> Vec<Find> {
        let finds = match name.form {
            Form::Sealed => sealed::find(&self.dir, name, &self.filter, self.left),
            Form::Log => find_in_log(&self.dir, name, end, &self.filter),
        };
        match finds {
            Ok(finds) => finds,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.ask_sealed(name),
            Err(_) => vec![Err(unreadable(&name.path(&self.dir), name.first.saturating_sub(1)))],
        }
    }

    /// Of a log that was sealed since the folder was read, or has gone with age.
    fn ask_sealed(&self, name: &SegmentName) -> Vec<Find> {
        match name.form {
            Form::Log => sealed::find(&self.dir, &name.sealed(), &self.filter, self.left).unwrap_or_default(),
            Form::Sealed => vec![],
        }
    }
}

impl Iterator for Query {
    type Item = Find;

    fn next(&mut self) -> Option<Find> {
        while self.left > 0 {
            if let Some(find) = self.found.pop_front() {
                // What is damaged does not use up what was asked for.
                self.left -= usize::from(find.is_ok());
                return Some(find);
            }
            let (name, end) = self.segments.pop_front()?;
            self.found = self.ask(&name, end).into();
            if self.filter.order == Order::NewestFirst {
                self.found.make_contiguous().reverse();
            }
        }
        None
    }
}

/// What comes behind the first entry of the next segment was written without being kept: that segment counts.
pub(crate) fn with_ends(names: Vec<SegmentName>) -> Vec<(SegmentName, u64)> {
    let ends: Vec<u64> = names.iter().skip(1).map(|next| next.first).chain([u64::MAX]).collect();
    names.into_iter().zip(ends).collect()
}

fn find_in_log(dir: &Path, name: &SegmentName, end: u64, filter: &Filter) -> io::Result<Vec<Find>> {
    let path = name.path(dir);
    let scan = scan::scan(&fs::read(&path)?, Depth::Sums);
    let mut finds = Vec::new();
    let mut damage = scan.found.iter().filter(|found| found.after + 1 < end).peekable();
    let mut paths = Paths::default();
    for batch in &scan.batches {
        while let Some(found) = damage.next_if(|found| found.at <= batch.at) {
            finds.push(Err(damage_at(&path, found)));
        }
        take(batch, &path, end, filter, &mut paths, &mut finds);
    }
    finds.extend(damage.map(|found| Err(damage_at(&path, found))));
    Ok(finds)
}

fn take(batch: &Batch, path: &Path, end: u64, filter: &Filter, paths: &mut Paths, finds: &mut Vec<Find>) {
    let mut rest = batch.payload.as_slice();
    for sequence in (batch.first..).take(batch.count as usize).take_while(|sequence| *sequence < end) {
        let entry = codec::get_bytes(&mut rest).and_then(|bytes| {
            let head = codec::head_with(bytes, &Inline)?;
            let session = head.session.and_then(|session| std::str::from_utf8(session).ok());
            if !filter.wants_kind(head.kind) || !filter.wants_head(head.at_unix_ms, session) {
                return Ok(None);
            }
            codec::decode_with(bytes, &Inline, paths).map(Some)
        });
        match entry {
            Ok(Some(entry)) if filter.wants(sequence, &entry) => finds.push(Ok((sequence, entry))),
            Ok(_) => {}
            Err(_) => finds.push(Err(Damage {
                file: path.to_owned(),
                wrong: Wrong::Unreadable,
                at: batch.at as u64,
                len: 0,
                after: sequence - 1,
            })),
        }
    }
}

pub(crate) fn damage_at(path: &Path, found: &Found) -> Damage {
    let (at, len) = (found.at as u64, found.len as u64);
    Damage { file: path.to_owned(), wrong: found.wrong, at, len, after: found.after }
}

pub(crate) fn unreadable(path: &Path, after: u64) -> Damage {
    Damage { file: path.to_owned(), wrong: Wrong::Unreadable, at: 0, len: 0, after }
}

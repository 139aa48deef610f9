//! Looks at the whole journal, byte by byte: whether each part is what was written, whether each continues the one before,
//! and whether anything is missing at its begin, in it, or at its end. For `rrctl doctor`; a query does not wait for it.

use std::fs;
use std::io;
use std::path::Path;

use crate::batch::Hash;
use crate::codec;
use crate::entry::{Entry, Event};
use crate::folder::{self, Form, SegmentName};
use crate::log::ChainHead;
use crate::query::{damage_at, unreadable, with_ends};
use crate::reader::{Damage, Reader};
use crate::scan::{self, Depth, Wrong};
use crate::sealed;
use crate::witness;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub segments: usize,
    pub entries: u64,
    pub bytes: u64,
    /// The first entry that is still there.
    pub first: u64,
    pub head: ChainHead,
    pub damage: Vec<Damage>,
}

impl Reader {
    /// Reads and hashes all there is.
    #[must_use]
    pub fn verify(&self) -> Checked {
        let mut check =
            Check { dir: &self.dir, witnessed: None, expected: None, forgotten: 0, checked: Checked::default() };
        // Before the files: one that grows meanwhile is not short of it.
        check.witnessed = witness::read(&self.dir);
        match folder::segments(&self.dir) {
            Ok(names) => with_ends(names).iter().for_each(|(name, end)| check.segment(name, *end)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => check.checked.damage.push(unreadable(&self.dir, 0)),
        }
        check.ends();
        check.checked
    }
}

struct Check<'a> {
    dir: &'a Path,
    witnessed: Option<ChainHead>,
    /// What the next segment must begin with.
    expected: Option<(u64, Hash)>,
    /// What was removed on purpose.
    forgotten: u64,
    checked: Checked,
}

impl Check<'_> {
    fn segment(&mut self, name: &SegmentName, end: u64) {
        self.checked.segments += 1;
        let path = name.path(self.dir);
        self.checked.bytes += fs::metadata(&path).map_or(0, |seen| seen.len());
        match name.form {
            Form::Sealed => self.sealed(name),
            Form::Log => match fs::read(&path) {
                Ok(bytes) => self.log(&path, &bytes, end),
                // It was sealed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.sealed(&name.sealed()),
                Err(_) => self.checked.damage.push(unreadable(&path, name.first.saturating_sub(1))),
            },
        }
    }

    fn sealed(&mut self, name: &SegmentName) {
        let mut forgotten = self.forgotten;
        let done = sealed::verify(self.dir, name, |_, entry| forgotten = forgotten.max(forgotten_in(entry)));
        self.forgotten = forgotten;
        match done {
            Ok(summary) => {
                self.continues(&name.path(self.dir), (summary.first, summary.previous));
                self.checked.entries += summary.entries;
                self.reached(summary.head);
            }
            Err(damage) => {
                self.checked.damage.extend(damage);
                // Its entries cannot all be read; where the chain goes on it may say all the same.
                let head = sealed::summary(self.dir, name).ok().map(|summary| summary.head);
                self.expected = head.map(|head| (head.sequence + 1, head.hash));
                self.note_first(name.first);
            }
        }
    }

    fn log(&mut self, path: &Path, bytes: &[u8], end: u64) {
        let mut scan = scan::scan(bytes, Depth::Chain);
        scan.batches.retain(|batch| batch.first < end);
        if let Some(begin) = &scan.begin {
            self.continues(path, (begin.first, begin.previous));
        }
        self.checked.damage.extend(scan.found.iter().map(|found| damage_at(path, found)));
        for batch in &scan.batches {
            let mut rest = batch.payload.as_slice();
            for sequence in (batch.first..).take(batch.count as usize) {
                match codec::get_bytes(&mut rest).and_then(codec::decode) {
                    Ok(entry) => self.forgotten = self.forgotten.max(forgotten_in(&entry)),
                    Err(_) => self.checked.damage.push(unreadable(path, sequence - 1)),
                }
            }
            self.checked.entries += u64::from(batch.count);
            self.reached(ChainHead { sequence: batch.first + u64::from(batch.count) - 1, hash: batch.hash });
        }
    }

    fn continues(&mut self, path: &Path, begin: (u64, Hash)) {
        self.note_first(begin.0);
        if let Some(expected) = self.expected.filter(|expected| *expected != begin) {
            let wrong = if begin.0 > expected.0 { Wrong::Missing } else { Wrong::Chain };
            self.checked.damage.push(Damage { file: path.to_owned(), wrong, at: 0, len: 0, after: expected.0 - 1 });
        }
        self.expected = Some(begin);
    }

    fn note_first(&mut self, first: u64) {
        if self.checked.first == 0 {
            self.checked.first = first;
        }
    }

    fn reached(&mut self, head: ChainHead) {
        let is_other = |witnessed: &ChainHead| witnessed.sequence == head.sequence && witnessed.hash != head.hash;
        if self.witnessed.as_ref().is_some_and(is_other) {
            let file = self.dir.to_owned();
            self.checked.damage.push(Damage { file, wrong: Wrong::Chain, at: 0, len: 0, after: head.sequence - 1 });
        }
        self.checked.head = head;
        self.expected = Some((head.sequence + 1, head.hash));
    }

    /// The begin is where the last removal said, the end not before the head that was written down.
    fn ends(&mut self) {
        let (file, head) = (self.dir.to_owned(), self.checked.head.sequence);
        // Removing can lag behind the entry that says so, never run ahead of it.
        if self.checked.first > self.forgotten.max(1) {
            self.checked.damage.push(Damage { file: file.clone(), wrong: Wrong::Missing, at: 0, len: 0, after: 0 });
        }
        if self.witnessed.is_some_and(|witnessed| witnessed.sequence > head) {
            self.checked.damage.push(Damage { file, wrong: Wrong::Truncated, at: 0, len: 0, after: head });
        }
    }
}

fn forgotten_in(entry: &Entry) -> u64 {
    match entry.event {
        Event::Forgotten { before } => before,
        _ => 0,
    }
}

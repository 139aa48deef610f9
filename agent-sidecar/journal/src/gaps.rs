//! What no reader of this journal can know: entries that went with age, a file that is missing between others, an end that was
//! cut off. It goes by the files' names and what each says of itself, so it costs little; damage within a file is met by who reads
//! it (`query`), and `verify` looks at every byte.

use std::fs;
use std::path::Path;

use crate::entry::{Event, Kind};
use crate::folder::{self, Form, SegmentName};
use crate::query::{damage_at, with_ends};
use crate::reader::{Damage, Filter, Order, Reader};
use crate::scan::{self, Depth, Wrong};
use crate::sealed;
use crate::witness;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// The first entry that is still there, if older ones were removed.
    pub begins: Option<u64>,
    /// Where entries are missing that nobody removed.
    pub damage: Vec<Damage>,
}

impl Reader {
    /// Where this journal has entries missing.
    #[must_use]
    pub fn gaps(&self) -> Gaps {
        // Before the files: one that grows meanwhile is not short of it.
        let witnessed = witness::read(&self.dir);
        let names = folder::segments(&self.dir).map(with_ends).unwrap_or_default();
        let Some(first) = names.first().map(|(name, _)| name.first) else {
            return Gaps::default();
        };
        let mut gaps = Gaps { begins: (first > 1).then_some(first), damage: Vec::new() };
        if first > 1 && self.newest(Some(Kind::Forgotten)).is_none_or(|(_, before)| before < first) {
            gaps.damage.push(missing(&self.dir, 0, Wrong::Missing));
        }
        for (at, (name, end)) in names.iter().enumerate() {
            let last = self.last_in(name, *end, &mut gaps.damage);
            // What cannot be read at all is damage, and told by who asks for it.
            if let (Some(last), Some((next, _))) = (last.filter(|last| last + 1 < *end), names.get(at + 1)) {
                gaps.damage.push(missing(&next.path(&self.dir), last, Wrong::Missing));
            }
        }
        let last = self.newest(None).map_or(0, |(sequence, _)| sequence);
        if witnessed.is_some_and(|witnessed| witnessed.sequence > last) {
            gaps.damage.push(missing(&self.dir, last, Wrong::Truncated));
        }
        gaps
    }

    /// The newest entry of a kind, and up to where entries were removed if that is what it says.
    fn newest(&self, kind: Option<Kind>) -> Option<(u64, u64)> {
        let kinds = kind.map(|kind| vec![kind]);
        let filter = Filter { kinds, limit: Some(1), order: Order::NewestFirst, ..Filter::default() };
        let (sequence, entry) = self.query(&filter).flatten().next()?;
        Some((sequence, if let Event::Forgotten { before } = entry.event { before } else { 0 }))
    }

    /// The last entry of a segment, if it can be told; with what is wrong in a log, which is not long.
    fn last_in(&self, name: &SegmentName, end: u64, damage: &mut Vec<Damage>) -> Option<u64> {
        let sealed = |name: &SegmentName| sealed::summary(&self.dir, name).ok().map(|summary| summary.head.sequence);
        let path = name.path(&self.dir);
        match name.form {
            Form::Sealed => sealed(name),
            Form::Log => match fs::read(&path) {
                Ok(bytes) => {
                    let scan = scan::scan(&bytes, Depth::Chain);
                    let own = scan.found.iter().filter(|found| found.after + 1 < end);
                    damage.extend(own.map(|found| damage_at(&path, found)));
                    scan.head().filter(|_| scan.found.is_empty()).map(|(last, _)| last)
                }
                // It was sealed meanwhile.
                Err(_) => sealed(&name.sealed()),
            },
        }
    }
}

fn missing(file: &Path, after: u64, wrong: Wrong) -> Damage {
    Damage { file: file.to_owned(), wrong, at: 0, len: 0, after }
}

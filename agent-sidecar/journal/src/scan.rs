//! A segment as it lies on disk, walked frame by frame: what is whole, what is damaged, and where the next frame would go.
//! A write cut short at the end is no damage: nobody was told that it was kept. It knows frames; entries are `codec`'s, and
//! what is done about a finding is `recover`'s and `reader`'s.

use crate::batch::{self, FrameKind, HEADER_LEN, Hash, Header, HeaderRead, Payload};

/// One whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) at: usize,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) hash: Hash,
    pub(crate) payload: Vec<u8>,
}

/// What the first frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) first: u64,
    pub(crate) previous: Hash,
    pub(crate) payload: Vec<u8>,
}

/// What is wrong with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Bytes are not those that were written.
    Changed,
    /// Zeros where something was written.
    Blanked,
    /// What follows does not continue what stands before it: something was taken out, put in, or moved.
    Chain,
    /// The file ends before its end.
    Truncated,
    /// A file that the others continue is not there.
    Missing,
    /// It could not be read.
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) wrong: Wrong,
    pub(crate) at: usize,
    pub(crate) len: usize,
    /// The last whole entry before it.
    pub(crate) after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Zeros follow: the next frame goes here.
    Clean,
    /// A write was cut short here: the next frame goes over it.
    Torn,
    /// What follows is damaged: nothing more should be written into this file.
    Damaged,
}

#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) begin: Option<Begin>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) found: Vec<Found>,
    pub(crate) at: usize,
    pub(crate) end: End,
}

impl Scan {
    /// The chain as far as it is known.
    pub(crate) fn head(&self) -> Option<(u64, Hash)> {
        match (self.batches.last(), &self.begin) {
            (Some(last), _) => Some((last.first + u64::from(last.count) - 1, last.hash)),
            (None, Some(begin)) => Some((begin.first - 1, begin.previous)),
            (None, None) => None,
        }
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Each frame for itself.
    Sums,
    /// And whether each continues the one before: every byte is hashed.
    Chain,
}

/// Walks the whole file.
pub(crate) fn scan(bytes: &[u8], depth: Depth) -> Scan {
    scan_from(bytes, 0, depth)
}

/// Walks from a place where a frame begins.
pub(crate) fn scan_from(bytes: &[u8], at: usize, depth: Depth) -> Scan {
    let mut walk = Walk {
        bytes,
        depth,
        scan: Scan { begin: None, batches: Vec::new(), found: Vec::new(), at, end: End::Clean },
        continued: None,
    };
    loop {
        if let Step::Over(end) = walk.step() {
            walk.scan.end = end;
            return walk.scan;
        }
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    depth: Depth,
    scan: Scan,
    /// What the next batch must name as its predecessor; unknown at the beginning and behind damage.
    continued: Option<(u64, Hash)>,
}

enum Step {
    On,
    Over(End),
}

impl Walk<'_> {
    fn step(&mut self) -> Step {
        let at = self.scan.at;
        let Some(header) = self.bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            self.report(Wrong::Truncated, at, self.bytes.len());
            return Step::Over(End::Damaged);
        };
        match batch::read_header(header) {
            HeaderRead::Blank => self.blank(at),
            HeaderRead::Broken => self.broken(at),
            HeaderRead::Frame(header) => self.frame(at, &header),
        }
    }

    fn frame(&mut self, at: usize, header: &Header) -> Step {
        let from = at + HEADER_LEN;
        let until = from + header.payload_len;
        let stored = self.bytes.get(from..until);
        match stored.map(|stored| batch::open_payload(header, stored, from)) {
            Some(Payload::Whole(payload)) => {
                self.take(at, header, payload);
                self.scan.at = until;
                Step::On
            }
            None => {
                self.report(Wrong::Truncated, at, self.bytes.len());
                Step::Over(End::Damaged)
            }
            Some(cut) => match self.next_frame(until) {
                Some(next) => self.skip(Wrong::Changed, at, next),
                None if cut == Payload::CutShort => Step::Over(End::Torn),
                None => self.give_up(at),
            },
        }
    }

    fn blank(&mut self, at: usize) -> Step {
        if batch::is_blank(&self.bytes[at..]) {
            return Step::Over(End::Clean);
        }
        match self.next_frame(at + HEADER_LEN) {
            Some(next) => self.skip(Wrong::Blanked, at, next),
            // The later sectors of a write reached the disk, and the first did not.
            None => Step::Over(End::Torn),
        }
    }

    fn broken(&mut self, at: usize) -> Step {
        let behind = &self.bytes[at + HEADER_LEN..];
        match self.next_frame(at + HEADER_LEN) {
            Some(next) => self.skip(Wrong::Changed, at, next),
            // A payload is never blank: the write ended within the header.
            None if behind.get(..HEADER_LEN).is_none_or(batch::is_blank) => Step::Over(End::Torn),
            None => self.give_up(at),
        }
    }

    fn take(&mut self, at: usize, header: &Header, payload: Vec<u8>) {
        if header.kind == FrameKind::Head {
            if at != 0 {
                self.report(Wrong::Chain, at, at + HEADER_LEN);
            }
            self.continued = Some((header.first, header.previous));
            self.scan.begin = Some(Begin { first: header.first, previous: header.previous, payload });
            return;
        }
        let is_next = |(first, hash)| first == header.first && (self.depth == Depth::Sums || hash == header.previous);
        if !self.continued.is_none_or(is_next) {
            self.report(Wrong::Chain, at, at + HEADER_LEN + header.payload_len);
        }
        let hash = match self.depth {
            Depth::Sums => Hash::default(),
            Depth::Chain => batch::hash(&header.previous, header.first, header.count, &payload),
        };
        self.continued = Some((header.first + u64::from(header.count), hash));
        self.scan.batches.push(Batch { at, first: header.first, count: header.count, hash, payload });
    }

    fn skip(&mut self, wrong: Wrong, from: usize, to: usize) -> Step {
        self.report(wrong, from, to);
        self.continued = None;
        self.scan.at = to;
        Step::On
    }

    fn give_up(&mut self, at: usize) -> Step {
        self.report(Wrong::Changed, at, self.bytes.len());
        Step::Over(End::Damaged)
    }

    fn report(&mut self, wrong: Wrong, from: usize, to: usize) {
        let after = self.scan.head().map_or(0, |(last, _)| last);
        self.scan.found.push(Found { wrong, at: from, len: to - from, after });
    }

    /// The next place at which a header is whole.
    fn next_frame(&self, from: usize) -> Option<usize> {
        let mut places = (from.next_multiple_of(batch::ALIGN)..self.bytes.len()).step_by(batch::ALIGN);
        places.find(|at| {
            let header = self.bytes.get(*at..).and_then(|rest| rest.first_chunk());
            header.is_some_and(|header| matches!(batch::read_header(header), HeaderRead::Frame(_)))
        })
    }
}

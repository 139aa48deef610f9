//! A text on its way through its changes, as lines: as it stood, as it would have without the changes taken out, and which line of
//! the one is which of the other. Each change is compared only with what it was made on, so nothing is guessed twice. A change
//! that could as well be another one of equal lines, next to lines taken out, is a clash (ADR 17). It knows no files.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use imara_diff::{Algorithm, Diff, Token};
use rr_core::rollback::Woven;

use crate::vault::name_of;

/// A larger file is put back whole or not at all: its lines would not fit the memory of a sidecar.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Where git looks for a zero byte to tell that a file is not text.
const LOOKED_AT_BYTES: usize = 8_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Weave {
    lines: Lines,
    stood: Vec<Token>,
    without: Vec<Token>,
    /// For each line that stood, where it is in `without`. Grows along.
    pairs: Vec<Option<usize>>,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    known: HashMap<Box<[u8]>, Token>,
    texts: Vec<Box<[u8]>>,
}

/// Lines of one side that have become lines of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunk {
    from: Range<usize>,
    to: Range<usize>,
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= TEXT_BYTES_MAX && !bytes[..bytes.len().min(LOOKED_AT_BYTES)].contains(&0)
}

/// Whether the second text is not the first one edited: no line in common but empty ones, and no long beginning or end either.
pub(crate) fn overwrites(from: &[u8], to: &[u8]) -> bool {
    if !is_text(from) || !is_text(to) || from.is_empty() {
        return false;
    }
    let full = |line: &&[u8]| !line.trim_ascii().is_empty();
    let lines: HashSet<&[u8]> = from.split(|b| *b == b'\n').filter(full).collect();
    if to.split(|b| *b == b'\n').filter(full).any(|line| lines.contains(line)) {
        return false;
    }
    let head = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let tail = from.iter().rev().zip(to.iter().rev()).take_while(|(a, b)| a == b).count();
    // An edit inside one long line leaves most of it; two texts about the same thing begin or end alike here and there.
    (head + tail) * 4 <= from.len().max(to.len())
}

impl Lines {
    /// Without their ends: what follows the last one is a line too, and empty where the text ends as it should. So a line more
    /// at the end leaves the last one as it is.
    fn read(&mut self, text: &[u8]) -> Vec<Token> {
        text.split(|b| *b == b'\n').map(|line| self.token(line)).collect()
    }

    fn token(&mut self, line: &[u8]) -> Token {
        if let Some(known) = self.known.get(line) {
            return *known;
        }
        // A text has fewer lines than bytes, and all texts of a path fit the memory.
        let token = Token(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(line.into());
        self.known.insert(line.into(), token);
        token
    }

    fn hunks(&self, from: &[Token], to: &[Token]) -> Vec<Hunk> {
        let mut diff = Diff::default();
        diff.compute_with(Algorithm::Histogram, from, to, u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let place = |r: Range<u32>| r.start as usize..r.end as usize;
        diff.hunks().map(|h| Hunk { from: place(h.before), to: place(h.after) }).collect()
    }
}

impl Weave {
    /// None: it is not text.
    #[must_use]
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        if !is_text(text) {
            return None;
        }
        let mut lines = Lines::default();
        let stood = lines.read(text);
        let pairs = (0..stood.len()).map(Some).collect();
        Some(Self { lines, without: stood.clone(), stood, pairs })
    }

    /// The text became this by a change that is not to have been.
    pub(crate) fn take_out(&mut self, text: &[u8]) -> Result<(), Woven> {
        let to = self.read(text)?;
        let mut pairs = vec![None; to.len()];
        for (from, to) in matched(&self.lines.hunks(&self.stood, &to), self.stood.len()) {
            pairs[to] = self.pairs[from];
        }
        (self.stood, self.pairs) = (to, pairs);
        self.rejoin();
        Ok(())
    }

    /// Lines that were taken away and are back, as after a rollback, are the same lines again.
    fn rejoin(&mut self) {
        for hunk in self.apart() {
            let (from, to) = (hunk.from, hunk.to);
            let (stood, without) = (&self.stood[from.clone()], &self.without[to.clone()]);
            let head = stood.iter().zip(without).take_while(|(a, b)| a == b).count();
            let tail = stood[head..].iter().rev().zip(without[head..].iter().rev()).take_while(|(a, b)| a == b).count();
            for n in 0..head {
                self.pairs[from.start + n] = Some(to.start + n);
            }
            for n in 1..=tail {
                self.pairs[from.end - n] = Some(to.end - n);
            }
        }
    }

    /// The text became this by a change that stays: it is made on the other side as well.
    pub(crate) fn leave_in(&mut self, text: &[u8]) -> Woven {
        let to = match self.read(text) {
            Ok(to) => to,
            Err(why) => return why,
        };
        let hunks = self.lines.hunks(&self.stood, &to);
        let apart = self.apart();
        let (out, stays) = (reaches(&apart, &self.stood, &self.without), reaches(&hunks, &self.stood, &to));
        let clashes = |(hunk, reach): (&Hunk, &Range<usize>)| {
            apart.iter().zip(&out).any(|(out, out_reach)| touches((out, out_reach), (hunk, reach)))
        };
        if hunks.iter().zip(&stays).any(clashes) {
            return Woven::Clash;
        }
        self.make(&hunks, to);
        Woven::Without(name_of(&self.without()))
    }

    pub(crate) fn without(&self) -> Vec<u8> {
        let lines: Vec<&[u8]> = self.without.iter().map(|token| &*self.lines.texts[token.0 as usize]).collect();
        lines.join(&b'\n')
    }

    fn read(&mut self, text: &[u8]) -> Result<Vec<Token>, Woven> {
        if is_text(text) { Ok(self.lines.read(text)) } else { Err(Woven::NotText) }
    }

    /// Where the sides differ: lines that stood, and what is there without.
    fn apart(&self) -> Vec<Hunk> {
        let (mut hunks, mut from, mut to) = (Vec::new(), 0, 0);
        let ends = [(self.stood.len(), Some(self.without.len()))];
        for (at, pair) in self.pairs.iter().copied().enumerate().chain(ends) {
            let Some(pair) = pair else { continue };
            if at > from || pair > to {
                hunks.push(Hunk { from: from..at, to: to..pair });
            }
            (from, to) = (at + 1, pair + 1);
        }
        hunks
    }

    /// Makes these hunks of what stood on the other side, where all lines they touch are the same.
    fn make(&mut self, hunks: &[Hunk], to: Vec<Token>) {
        let mut made = Vec::with_capacity(self.without.len() + to.len());
        let mut pairs = vec![None; to.len()];
        let mut went = vec![0; self.without.len()];
        let mut at = 0;
        let mut copy = |made: &mut Vec<Token>, range: Range<usize>, without: &[Token]| {
            for line in range {
                went[line] = made.len();
                made.push(without[line]);
            }
        };
        for hunk in hunks {
            let start = self.opposite(hunk.from.start, !hunk.from.is_empty());
            copy(&mut made, at..start, &self.without);
            for line in hunk.to.clone() {
                pairs[line] = Some(made.len());
                made.push(to[line]);
            }
            at = start + hunk.from.len();
        }
        copy(&mut made, at..self.without.len(), &self.without);
        for (from, to) in matched(hunks, self.stood.len()) {
            pairs[to] = self.pairs[from].map(|line| went[line]);
        }
        (self.stood, self.without, self.pairs) = (to, made, pairs);
    }

    /// Where a line that stood, or the gap before it, is on the other side.
    fn opposite(&self, at: usize, is_line: bool) -> usize {
        let line = self.pairs.get(at).copied().flatten();
        let after_last = at.checked_sub(1).and_then(|last| self.pairs[last]).map(|last| last + 1);
        match (is_line, after_last, line) {
            (true, _, Some(line)) | (false, None, Some(line)) => line,
            (_, Some(after), _) => after,
            // Before everything, or after everything that stood.
            (_, None, None) => {
                if at == 0 {
                    0
                } else {
                    self.without.len()
                }
            }
        }
    }
}

/// The lines that two texts have in common, by these hunks.
fn matched(hunks: &[Hunk], from_len: usize) -> impl Iterator<Item = (usize, usize)> {
    let starts = std::iter::once((0, 0)).chain(hunks.iter().map(|h| (h.from.end, h.to.end)));
    let ends = hunks.iter().map(|h| h.from.start).chain(std::iter::once(from_len));
    starts.zip(ends).flat_map(|((from, to), end)| (from..end).enumerate().map(move |(n, line)| (line, to + n)))
}

/// Whether a change cannot be told from one that is taken out. Side by side they can; but where lines were taken away, nobody
/// knows any more whether what is new there came before or after them.
fn touches((out, out_reach): (&Hunk, &Range<usize>), (hunk, reach): (&Hunk, &Range<usize>)) -> bool {
    if out.to.is_empty() || hunk.to.is_empty() {
        return reach.start < out_reach.end && out_reach.start < reach.end;
    }
    reach.start <= out_reach.end && out_reach.start <= reach.end
}

/// How far each hunk may have been in truth, in lines of `from`: lines put in or taken out among equal ones could be others.
fn reaches(hunks: &[Hunk], from: &[Token], to: &[Token]) -> Vec<Range<usize>> {
    let end = Hunk { from: from.len()..from.len(), to: to.len()..to.len() };
    let start = Hunk { from: 0..0, to: 0..0 };
    let reach = |n: usize| {
        let hunk = &hunks[n];
        let before = n.checked_sub(1).map_or(&start, |n| &hunks[n]);
        let after = hunks.get(n + 1).unwrap_or(&end);
        let (up, down) = match (hunk.from.is_empty(), hunk.to.is_empty()) {
            (true, false) => slide(to, &hunk.to, before.to.end..after.to.start),
            (false, true) => slide(from, &hunk.from, before.from.end..after.from.start),
            _ => (0, 0),
        };
        hunk.from.start - up..hunk.from.end + down
    };
    (0..hunks.len()).map(reach).collect()
}

/// By how many lines a block can be moved up and down within bounds, the text staying the same.
fn slide(text: &[Token], block: &Range<usize>, bounds: Range<usize>) -> (usize, usize) {
    let up = (1..=block.start - bounds.start).take_while(|n| text[block.start - n] == text[block.end - n]).count();
    let down = (0..bounds.end - block.end).take_while(|n| text[block.start + n] == text[block.end + n]).count();
    (up, down)
}

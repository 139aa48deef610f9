//! Two outlines of one path side by side: what was added, removed, changed, and which names are newly used. Where a
//! definition stands plays no part. It refuses to know sources and grammars.

use std::collections::BTreeMap;

use rr_core::live::{Lines, SymbolChange, SymbolEdit};

use crate::outline::{Definition, Outline};
use crate::{Compared, Parses};

/// Changed definitions told of one file. More is a sweep or a new file that nobody else has names from; with 50 files
/// of 60-byte entries a change set stays under half of what a store takes at once. What hurts others most is kept.
pub const SYMBOL_CHANGES_MAX: usize = 200;
/// Newly used names told of one file, for the same reason. What is wholly new in the file is kept before what was
/// edited.
pub const USES_MAX: usize = 400;

/// Compares two outlines of contents that are not the same; absent is a file that is not there. `ranges` as for
/// [`compare`](crate::compare).
#[must_use]
pub fn compare_outlines(old: Option<&Outline>, new: Option<&Outline>, ranges: &[Lines]) -> Compared {
    let same = |of: fn(&Outline) -> u64| old.zip(new).is_some_and(|(old, new)| of(old) == of(new));
    let is_worse = new.map_or(0, |new| new.errors) > old.map_or(0, |old| old.errors);
    let parses = if is_worse { Parses::WorseThanBefore } else { Parses::Yes };
    if same(|outline| outline.tokens) {
        return Compared { layout_only: same(|outline| outline.comments), parses, ..Compared::default() };
    }
    let (symbols, symbols_cut) = symbols(old, new, is_worse);
    let (uses, uses_cut) = uses(old, new, ranges);
    Compared { symbols, uses, parses, left_out: symbols_cut + uses_cut, ..Compared::default() }
}

type Key<'a> = (&'a str, &'a str, &'a str);
type Hashes = (u64, u64);

/// Definitions of one name in one place: overloads, or one for each configuration.
#[derive(Default)]
struct Group {
    old: Vec<Hashes>,
    new: Vec<Hashes>,
}

fn symbols(old: Option<&Outline>, new: Option<&Outline>, is_worse: bool) -> (Vec<SymbolChange>, usize) {
    let mut groups: BTreeMap<Key<'_>, Group> = BTreeMap::new();
    for (key, hashes) in definitions(old) {
        groups.entry(key).or_default().old.push(hashes);
    }
    for (key, hashes) in definitions(new) {
        groups.entry(key).or_default().new.push(hashes);
    }
    let mut changes = Vec::new();
    for ((container, name, kind), group) in groups {
        // What a half-written file hides is not gone.
        let told = group.edits().into_iter().filter(|edit| !(is_worse && *edit == SymbolEdit::Removed));
        changes.extend(told.map(|change| SymbolChange {
            name: name.to_owned(),
            container: container.to_owned(),
            kind: kind.to_owned(),
            change,
        }));
    }
    let left_out = changes.len().saturating_sub(SYMBOL_CHANGES_MAX);
    if left_out > 0 {
        changes.sort_by_key(|change| harm(change.change));
        changes.truncate(SYMBOL_CHANGES_MAX);
        changes.sort_by(|a, b| (&a.container, &a.name, &a.kind).cmp(&(&b.container, &b.name, &b.kind)));
    }
    (changes, left_out)
}

fn definitions(outline: Option<&Outline>) -> impl Iterator<Item = (Key<'_>, Hashes)> {
    let key = |d: &Definition| d.kind;
    let all = outline.into_iter().flat_map(|outline| &outline.definitions);
    all.map(move |d| ((d.container.as_str(), d.name.as_str(), key(d)), (d.signature, d.body)))
}

/// What breaks others comes first.
fn harm(edit: SymbolEdit) -> u8 {
    match edit {
        SymbolEdit::Removed => 0,
        SymbolEdit::Signature => 1,
        SymbolEdit::Added => 2,
        SymbolEdit::Body => 3,
    }
}

impl Group {
    /// The same ones are paired first, then those of one signature, then whatever is left: so an overload that is added
    /// is one that is added, wherever it stands.
    fn edits(mut self) -> Vec<SymbolEdit> {
        self.pair(|hashes| hashes);
        let bodies = self.pair(|hashes| (hashes.0, 0));
        let signatures = self.old.len().min(self.new.len());
        let (removed, added) = (self.old.len() - signatures, self.new.len() - signatures);
        let counts = [
            (removed, SymbolEdit::Removed),
            (signatures, SymbolEdit::Signature),
            (added, SymbolEdit::Added),
            (bodies, SymbolEdit::Body),
        ];
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, edit)| edit).collect()
    }

    /// Takes out pairs that are the same to `of`, and counts them. Both lists are in order.
    fn pair(&mut self, of: fn(Hashes) -> Hashes) -> usize {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let (mut at_old, mut at_new, mut pairs) = (0, 0, 0);
        while let (Some(a), Some(b)) = (self.old.get(at_old), self.new.get(at_new)) {
            match of(*a).cmp(&of(*b)) {
                std::cmp::Ordering::Equal => (at_old, at_new, pairs) = (at_old + 1, at_new + 1, pairs + 1),
                std::cmp::Ordering::Less => {
                    old.push(*a);
                    at_old += 1;
                }
                std::cmp::Ordering::Greater => {
                    new.push(*b);
                    at_new += 1;
                }
            }
        }
        old.extend_from_slice(&self.old[at_old..]);
        new.extend_from_slice(&self.new[at_new..]);
        (self.old, self.new) = (old, new);
        pairs
    }
}

/// How often a name stands on edited lines of the new content is how often it stands there at all, less what stood on
/// unedited lines of the old one: so no line of the new content need be known.
fn uses(old: Option<&Outline>, new: Option<&Outline>, ranges: &[Lines]) -> (Vec<String>, usize) {
    let before: BTreeMap<&str, &Vec<u32>> =
        old.into_iter().flat_map(|old| &old.uses).map(|(name, lines)| (name.as_str(), lines)).collect();
    let is_edited = |line: u32| {
        let after = ranges.partition_point(|range| range.start <= line);
        after.checked_sub(1).is_some_and(|at| line - ranges[at].start < ranges[at].count)
    };
    let (mut first, mut edited) = (Vec::new(), Vec::new());
    for (name, lines) in new.into_iter().flat_map(|new| &new.uses) {
        match before.get(name.as_str()) {
            None => first.push(name.clone()),
            Some(old) if lines.len() > old.iter().filter(|line| !is_edited(**line)).count() => {
                edited.push(name.clone());
            }
            Some(_) => {}
        }
    }
    let left_out = (first.len() + edited.len()).saturating_sub(USES_MAX);
    first.append(&mut edited);
    first.truncate(USES_MAX);
    first.sort_unstable();
    (first, left_out)
}

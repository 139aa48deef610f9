//! What it means that two sides changed one path: nothing, something apart, or a merge that only git can judge. Whatever is called
//! apart here is never merged, so each case errs towards asking.

use super::packages::{self, KeyClash};
use super::ranges;
use crate::live::{Entry, FileChange, Lines};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Both changed it, and git puts the two together by itself.
    Apart,
    /// Of a manifest, compared by key: the keys that differ. None: as good as apart.
    Keys(Vec<KeyClash>),
    /// These lines touch.
    Lines(Vec<Lines>),
    /// Both added it, binary, links, modes: no lines to compare.
    Whole,
    /// One deleted what the other changed.
    Gone,
    /// Both deleted it. It is agreement, unless they moved it to different places.
    BothGone,
    /// A file that one has moved here.
    Moved,
    /// The two count from different contents.
    OtherBase,
}

/// None: they agree.
pub(super) fn meet(a: &FileChange, b: &FileChange) -> Option<Meeting> {
    if a.to == b.to {
        return a.to.is_none().then_some(Meeting::BothGone);
    }
    if packages::is_lock_file(&a.path) {
        return Some(Meeting::Apart);
    }
    if let Some(clashes) = packages::by_key(a, b) {
        return Some(Meeting::Keys(clashes));
    }
    if a.from != b.from {
        return Some(Meeting::OtherBase);
    }
    if a.renamed_from.is_some() || b.renamed_from.is_some() {
        return Some(Meeting::Moved);
    }
    Some(match (&a.from, &a.to, &b.to) {
        (_, None, _) | (_, _, None) => Meeting::Gone,
        (None, ..) => Meeting::Whole,
        (Some(from), Some(x), Some(y)) => both_changed(from, (a, x), (b, y)),
    })
}

fn both_changed(from: &Entry, (a, x): (&FileChange, &Entry), (b, y): (&FileChange, &Entry)) -> Meeting {
    let one_type = kind(from.mode) == kind(x.mode) && kind(from.mode) == kind(y.mode);
    // Of two modes, what a file may have, one side always kept the old one or both took the new: they merge.
    if !one_type {
        return Meeting::Whole;
    }
    if x.id == from.id || y.id == from.id || x.id == y.id {
        return Meeting::Apart;
    }
    let no_lines = |file: &FileChange| file.binary || file.ranges.is_empty();
    if kind(from.mode) != REGULAR || no_lines(a) || no_lines(b) {
        return Meeting::Whole;
    }
    match ranges::touching(&a.ranges, &b.ranges) {
        none if none.is_empty() => Meeting::Apart,
        places => Meeting::Lines(places),
    }
}

const REGULAR: u32 = 0o100_000;

/// File, link or submodule.
fn kind(mode: u32) -> u32 {
    mode & 0o170_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ObjectId;

    fn entry(mode: u32, digit: u8) -> Option<Entry> {
        let id = ObjectId::parse(&char::from(digit).to_string().repeat(40)).expect("a name");
        Some(Entry { mode, id })
    }

    fn change(from: Option<Entry>, to: Option<Entry>, lines: &[(u32, u32)]) -> FileChange {
        let ranges = lines.iter().map(|(start, count)| Lines { start: *start, count: *count }).collect();
        FileChange { ranges, ..FileChange::of("a.rs".into(), from, to) }
    }

    #[test]
    fn each_way_to_change_one_path_is_judged() {
        let (text, exec, link, module) = (0o100_644, 0o100_755, 0o120_000, 0o160_000);
        let base = || entry(text, b'0');
        let to = |digit| change(base(), entry(text, digit), &[(3, 1)]);
        let far = change(base(), entry(text, b'c'), &[(9, 1)]);
        let gone = || change(base(), None, &[]);
        let binary = FileChange { binary: true, ranges: vec![], ..to(b'b') };
        let chmod = || change(base(), entry(exec, b'0'), &[]);
        let both = change(base(), entry(exec, b'b'), &[(9, 1)]);
        let new = |mode, digit| change(None, entry(mode, digit), &[]);
        let moved = FileChange { renamed_from: Some("old.rs".into()), ..new(text, b'd') };
        let at = |start, count| Meeting::Lines(vec![Lines { start, count }]);
        for (name, a, b, expected) in [
            ("the same content", to(b'a'), to(b'a'), None),
            ("the same lines", to(b'a'), to(b'b'), Some(at(3, 1))),
            ("lines apart", to(b'a'), far, Some(Meeting::Apart)),
            ("deleted and changed", gone(), to(b'a'), Some(Meeting::Gone)),
            ("both deleted", gone(), gone(), Some(Meeting::BothGone)),
            ("binary", to(b'a'), binary, Some(Meeting::Whole)),
            ("mode and content", chmod(), to(b'a'), Some(Meeting::Apart)),
            ("mode with content, content apart", both, to(b'a'), Some(Meeting::Apart)),
            ("text whose lines nobody knows", to(b'a'), change(base(), entry(text, b'e'), &[]), Some(Meeting::Whole)),
            ("both added", new(text, b'a'), new(text, b'b'), Some(Meeting::Whole)),
            ("both added, modes differ", new(text, b'a'), new(exec, b'a'), Some(Meeting::Whole)),
            ("added and moved here", new(text, b'a'), moved, Some(Meeting::Moved)),
            ("turned into a link", change(base(), entry(link, b'a'), &[]), to(b'b'), Some(Meeting::Whole)),
            (
                "submodule",
                change(entry(module, b'0'), entry(module, b'a'), &[]),
                change(entry(module, b'0'), entry(module, b'b'), &[]),
                Some(Meeting::Whole),
            ),
            (
                "other base",
                to(b'a'),
                change(entry(text, b'9'), entry(text, b'b'), &[(50, 1)]),
                Some(Meeting::OtherBase),
            ),
        ] {
            assert_eq!(meet(&a, &b), expected, "{name}");
            assert_eq!(meet(&b, &a), expected, "{name}, the other way round");
        }
    }
}

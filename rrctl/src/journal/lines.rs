//! Which session wrote which line of a text: each change is replayed on lines that remember their writer. A line that came by
//! no change of the journal is nobody's. Pure: the bytes come from somewhere else.

use std::collections::HashMap;
use std::time::Duration;

use rr_core::id::SessionId;
use rr_core::path::RepoPath;
use rr_journal::{Contents, Entry, Event, FileChange};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use crate::journal::diff;

/// Two very different versions of a long file: then fewer lines keep their writer.
const TIME_MAX: Duration = Duration::from_millis(500);

/// By which entry a line came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) session: SessionId,
    pub(crate) sequence: u64,
    pub(crate) at_unix_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// Nobody: it was there before, or came without any call.
    pub(crate) by: Option<Writer>,
    /// Nobody as far as is known: it came where entries or bytes are missing.
    pub(crate) uncertain: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blame {
    pub(crate) lines: Vec<Written>,
    /// Changes whose bytes are no longer kept, or are no text: what they wrote counts as nobody's.
    pub(crate) unknown: usize,
}

/// `entries`: all that change the path, oldest first. `gaps`: after which entries some are missing. `standing` is what is there now.
pub(crate) fn blame(
    path: &RepoPath,
    entries: impl IntoIterator<Item = (u64, Entry)>,
    gaps: &[u64],
    standing: &str,
    contents: &dyn Contents,
) -> Blame {
    let mut blame = Blame::default();
    // The last change that is known, and whether one since then could not be read.
    let (mut last, mut unread) = (0, false);
    // What was taken out, for a rollback that brings it back.
    let mut gone: HashMap<String, Writer> = HashMap::new();
    for (sequence, entry) in entries {
        let (changes, is_rollback) = match &entry.event {
            Event::Done { changes, .. } => (changes, false),
            Event::RolledBack { changes, .. } => (changes, true),
            _ => continue,
        };
        let Some(change) = changes.iter().find(|change| change.path.as_path() == path.as_path()) else { continue };
        let Some([before, after]) = texts(change, contents) else {
            blame.unknown += 1;
            unread = true;
            continue;
        };
        let uncertain = unread || gaps.iter().any(|after| (last..sequence).contains(after));
        (last, unread) = (sequence, false);
        let by = entry.session.clone().map(|session| Writer { session, sequence, at_unix_ms: entry.at_unix_ms });
        // What happened in between was nobody's call, if nothing is missing there.
        blame.lines = replay(std::mem::take(&mut blame.lines), &before, |_| None, uncertain, &mut gone);
        let lines = std::mem::take(&mut blame.lines);
        blame.lines = match is_rollback {
            false => replay(lines, &after, |_| by.clone(), false, &mut gone),
            true => {
                let old = gone.clone();
                replay(lines, &after, |text| old.get(text).cloned().or_else(|| by.clone()), false, &mut gone)
            }
        };
    }
    let uncertain = unread || gaps.iter().any(|after| *after >= last);
    blame.lines = replay(blame.lines, standing, |_| None, uncertain, &mut gone);
    blame
}

fn texts(change: &FileChange, contents: &dyn Contents) -> Option<[String; 2]> {
    let text = |content| diff::text(&diff::bytes(content, contents)?).map(str::to_owned);
    Some([text(change.before)?, text(change.after)?])
}

/// The lines of `after`: those that stayed keep their writer, `by` says whose the new ones are.
fn replay(
    lines: Vec<Written>,
    after: &str,
    by: impl Fn(&str) -> Option<Writer>,
    uncertain: bool,
    gone: &mut HashMap<String, Writer>,
) -> Vec<Written> {
    let old: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let new: Vec<&str> = after.lines().collect();
    if old == new {
        return lines;
    }
    let until = std::time::Instant::now() + TIME_MAX;
    let mut result = Vec::with_capacity(new.len());
    let fresh = |text: &&str| Written { text: (*text).to_owned(), by: by(text), uncertain };
    for op in capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(until)) {
        if !matches!(op, DiffOp::Equal { .. }) {
            let out = lines[op.old_range()].iter().filter_map(|line| Some((line.text.clone(), line.by.clone()?)));
            gone.extend(out);
        }
        match op {
            DiffOp::Equal { .. } => result.extend(lines[op.old_range()].iter().cloned()),
            DiffOp::Insert { .. } | DiffOp::Replace { .. } => result.extend(new[op.new_range()].iter().map(fresh)),
            DiffOp::Delete { .. } => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, change, edit, entry, of, path};
    use rr_core::content::Content;

    /// Each standing line with the first byte of its session's id; 0 is nobody.
    fn blamed(entries: Vec<Entry>, standing: &str, shelf: &Shelf) -> Vec<(String, u8)> {
        let blame = blame(&path("a.rs"), (1..).zip(entries), &[], standing, &shelf.0);
        let who = |by: Option<Writer>| by.map_or(0, |by| u8::from_str_radix(&by.session.as_str()[..2], 16).unwrap());
        blame.lines.into_iter().map(|line| (line.text, who(line.by))).collect()
    }

    fn expect(lines: &[(&str, u8)]) -> Vec<(String, u8)> {
        lines.iter().map(|(text, who)| ((*text).to_owned(), *who)).collect()
    }

    #[test]
    fn each_line_is_its_last_writers_and_what_nobody_wrote_is_nobodys() {
        let mut shelf = Shelf::default();
        let v: Vec<Content> = ["one\ntwo\n", "one\n2\n", "zero\none\n2\n"].map(|text| shelf.put(text)).into();
        let entries = [edit(1, "t1", "a.rs", v[0], v[1]), edit(2, "t2", "a.rs", v[1], v[2])].concat();
        let lines = blamed(entries, "zero\none\n2\nby hand\n", &shelf);
        assert_eq!(lines, expect(&[("zero", 2), ("one", 0), ("2", 1), ("by hand", 0)]));
    }

    #[test]
    fn a_change_between_two_calls_belongs_to_neither() {
        let mut shelf = Shelf::default();
        let v: Vec<Content> = ["a\n", "a\nhand\n", "a\nhand\nc\n"].map(|text| shelf.put(text)).into();
        let entries = [edit(1, "t1", "a.rs", Content::Absent, v[0]), edit(2, "t2", "a.rs", v[1], v[2])].concat();
        assert_eq!(blamed(entries, "a\nhand\nc\n", &shelf), expect(&[("a", 1), ("hand", 0), ("c", 2)]));
    }

    #[test]
    fn what_a_rollback_brings_back_is_its_first_writers_again() {
        let mut shelf = Shelf::default();
        let v: Vec<Content> = ["a\nb\n", "a\n"].map(|text| shelf.put(text)).into();
        let back =
            Event::RolledBack { of: of(2), undone: vec![10], changes: vec![change("a.rs", v[1], v[0])], undoes: None };
        let edits = [edit(1, "t1", "a.rs", Content::Absent, v[0]), edit(2, "t2", "a.rs", v[0], v[1])].concat();
        let entries = edits.into_iter().chain([entry(3, "", back)]).collect();
        assert_eq!(blamed(entries, "a\nb\n", &shelf), expect(&[("a", 1), ("b", 1)]));
    }

    #[test]
    fn a_change_without_bytes_is_counted_and_its_lines_are_nobodys() {
        let mut shelf = Shelf::default();
        let a = shelf.put("a\n");
        let entries = edit(1, "t1", "a.rs", a, Content::Unkept);
        let blame = blame(&path("a.rs"), (1..).zip(entries), &[], "a\nb\n", &shelf.0);
        let nobodys = blame.lines.iter().filter(|line| line.by.is_none() && line.uncertain).count();
        assert_eq!((blame.unknown, nobodys), (1, 2), "and nobody knows whose they are");
    }

    #[test]
    fn a_line_that_came_where_entries_are_missing_is_uncertain_and_no_other() {
        let mut shelf = Shelf::default();
        let v: Vec<Content> = ["old\n", "old\na\n", "old\na\nlost\n", "old\na\nlost\nc\n"].map(|t| shelf.put(t)).into();
        let entries = [edit(1, "t1", "a.rs", v[0], v[1]), edit(2, "t2", "a.rs", v[2], v[3])].concat();
        let uncertain = |gaps: &[u64], standing: &str| {
            let blame = blame(&path("a.rs"), (1..).zip(entries.clone()), gaps, standing, &shelf.0);
            let lines = blame.lines.into_iter().filter(|line| line.uncertain);
            lines.map(|line| line.text).collect::<Vec<_>>()
        };
        let now = "old\na\nlost\nc\nhand\n";
        // The first change is entry 5, the second entry 10.
        assert!(uncertain(&[], now).is_empty());
        assert_eq!(uncertain(&[0], now), ["old"], "removed with age");
        assert_eq!(uncertain(&[4], now), ["old"]);
        assert_eq!(uncertain(&[5], now), ["lost"], "between the two");
        assert_eq!(uncertain(&[9], now), ["lost"]);
        assert_eq!(uncertain(&[10], now), ["hand"], "the end");
        assert_eq!(uncertain(&[0, 7, 12], now), ["old", "lost", "hand"]);
        assert!(uncertain(&[10], "old\na\nlost\nc\n").is_empty(), "no line came there");
    }
}

//! What a change did to a file, in lines. The bytes come from somewhere else, or are no longer there.

use std::borrow::Cow;
use std::time::Duration;

use rr_core::content::Content;
use rr_journal::{Contents, FileChange};
use similar::TextDiff;

use crate::table::plain;

/// A diff of longer files tells nobody anything.
const BYTES_MAX: usize = 1 << 20;
/// The least diff of two very different files takes long; a good one does not.
const TIME_MAX: Duration = Duration::from_millis(300);
const CONTEXT: usize = 3;

/// One line to show, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Head,
    Same,
    Out,
    In,
}

pub(crate) fn of(change: &FileChange, contents: &dyn Contents) -> Vec<(Mark, String)> {
    let mut lines = vec![(Mark::Head, head(change))];
    let (Some(before), Some(after)) = (bytes(change.before, contents), bytes(change.after, contents)) else {
        lines.push((Mark::Head, "its bytes are not kept".to_owned()));
        return lines;
    };
    match (text(&before), text(&after)) {
        (Some(before), Some(after)) => lines.extend(unified(before, after)),
        _ => lines.push((Mark::Head, format!("no text to compare: {} bytes, then {}", before.len(), after.len()))),
    }
    lines
}

/// Which path it is, and how it changed.
pub(crate) fn head(change: &FileChange) -> String {
    let unforeseen = if change.foreseen { "" } else { ", unforeseen" };
    format!("{} ({}{unforeseen})", plain(change.path.shown()), how(change))
}

/// Of a path where nothing is there are no bytes.
pub(crate) fn bytes(content: Content, contents: &dyn Contents) -> Option<Cow<'static, [u8]>> {
    match content {
        Content::Absent | Content::Folder => Some(Cow::Borrowed(&[])),
        Content::File { blob, .. } | Content::Link { blob } => contents.bytes(blob).map(Cow::Owned),
        Content::Unkept => None,
    }
}

pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let is_text = bytes.len() <= BYTES_MAX && !bytes.contains(&0);
    is_text.then(|| std::str::from_utf8(bytes).ok()).flatten()
}

fn how(change: &FileChange) -> &'static str {
    match (change.before, change.after) {
        (Content::Absent, Content::Absent) => "nothing",
        (Content::Absent, Content::Folder) => "new folder",
        (Content::Folder, Content::Absent) => "deleted folder",
        (Content::Absent, Content::Link { .. }) => "new link",
        (Content::Absent, _) => "new",
        (_, Content::Absent) => "deleted",
        (Content::File { blob: a, .. }, Content::File { blob: b, .. }) if a == b => "mode changed",
        _ => "changed",
    }
}

fn unified(before: &str, after: &str) -> Vec<(Mark, String)> {
    let diff = TextDiff::configure().timeout(TIME_MAX).diff_lines(before, after);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        lines.push((Mark::Head, hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let mark = match change.tag() {
                similar::ChangeTag::Equal => Mark::Same,
                similar::ChangeTag::Delete => Mark::Out,
                similar::ChangeTag::Insert => Mark::In,
            };
            lines.push((mark, plain(change.value().trim_end_matches('\n'))));
        }
    }
    lines
}

impl Mark {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Head => "",
            Self::Same => " ",
            Self::Out => "-",
            Self::In => "+",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{Shelf, change};

    fn shown(before: Content, after: Content, shelf: &Shelf) -> String {
        let lines = of(&change("a.rs", before, after), &shelf.0);
        lines.iter().fold(String::new(), |text, (mark, line)| text + mark.sign() + line + "\n")
    }

    #[test]
    fn a_change_is_shown_as_lines_that_came_and_went() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\ntwo\nthree\n"), shelf.put("one\n2\nthree\n"));
        assert_eq!(shown(a, b, &shelf), "a.rs (changed)\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
        assert_eq!(shown(Content::Absent, a, &shelf), "a.rs (new)\n@@ -0,0 +1,3 @@\n+one\n+two\n+three\n");
        let deleted = shown(a, Content::Absent, &shelf);
        assert!(deleted.starts_with("a.rs (deleted)") && deleted.contains("-two"), "{deleted}");
    }

    #[test]
    fn what_is_no_text_or_is_not_kept_is_said_so() {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("text\n"), shelf.put("\0\u{1}"));
        assert!(shown(a, b, &shelf).contains("no text to compare: 5 bytes, then 2"));
        assert!(shown(a, Content::Unkept, &shelf).contains("not kept"));
        let lost = Shelf::default();
        assert!(shown(a, b, &lost).contains("not kept"));
    }
}

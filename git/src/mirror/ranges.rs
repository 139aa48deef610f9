//! Which lines of the earlier content a change replaces, as git's merge itself would find them: from git's own patch, by the histogram
//! algorithm and without the indent heuristic. With one line around each hunk: without any, git first cuts off what is equal at the
//! end, which a merge does not.

use rr_core::live::Lines;

/// More changed places than this in one file are told as one: from the first to the last.
const RANGES_MAX: usize = 1_000;

/// What a patch says of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// The names of both contents, as in its `index` line.
    pub(super) ids: Option<(String, String)>,
    pub(super) binary: bool,
    pub(super) ranges: Vec<Lines>,
}

/// One section for each file, in git's order.
pub(super) fn sections(patch: &[u8]) -> Vec<Section> {
    let mut reading = Reading::default();
    for line in patch.split(|b| *b == b'\n') {
        reading.line(line);
    }
    reading.close();
    reading.sections
}

#[derive(Default)]
struct Reading {
    sections: Vec<Section>,
    /// Lines of the present hunk that are still to come: of the earlier content, of the later.
    rest: (u32, u32),
    /// The next line of the earlier content, from 0.
    at: u32,
    open: Option<Lines>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) {
        if self.rest != (0, 0) {
            return self.body(line);
        }
        if line.starts_with(b"diff --git ") {
            self.close();
            self.sections.push(Section::default());
        }
        let Some(section) = self.sections.last_mut() else { return };
        if let Some(ids) = line.strip_prefix(b"index ") {
            section.ids = ids_of(ids);
        } else if line.starts_with(b"Binary files ") {
            section.binary = true;
        } else if let Some(counts) = line.strip_prefix(b"@@ -").and_then(hunk) {
            self.close();
            let (start, from, to) = counts;
            self.rest = (from, to);
            // Where there are no lines, git names the one before.
            self.at = if from == 0 { start } else { start - 1 };
        }
    }

    fn body(&mut self, line: &[u8]) {
        match line.first() {
            Some(b'+') => {
                self.open.get_or_insert(Lines { start: self.at, count: 0 });
                self.rest.1 = self.rest.1.saturating_sub(1);
            }
            Some(b'-') => {
                self.open.get_or_insert(Lines { start: self.at, count: 0 }).count += 1;
                self.at += 1;
                self.rest.0 = self.rest.0.saturating_sub(1);
            }
            // `\ No newline at end of file`.
            Some(b'\\') => {}
            _ => {
                self.close();
                self.at += 1;
                self.rest = (self.rest.0.saturating_sub(1), self.rest.1.saturating_sub(1));
            }
        }
    }

    fn close(&mut self) {
        let Some(lines) = self.open.take() else { return };
        let Some(section) = self.sections.last_mut() else { return };
        match section.ranges.last_mut() {
            Some(last) if last.start + last.count == lines.start => last.count += lines.count,
            _ => section.ranges.push(lines),
        }
    }
}

impl Section {
    pub(super) fn bounded(self) -> Vec<Lines> {
        match (self.ranges.first(), self.ranges.last()) {
            (Some(first), Some(last)) if self.ranges.len() > RANGES_MAX => {
                vec![Lines { start: first.start, count: last.start + last.count - first.start }]
            }
            _ => self.ranges,
        }
    }
}

/// `FROM..TO 100644`, with whole names.
fn ids_of(text: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(text).into_owned();
    let (from, to) = text.split(' ').next()?.split_once("..")?;
    Some((from.to_owned(), to.to_owned()))
}

/// `START[,COUNT] +START[,COUNT] @@…`: where it starts, and how many lines of each side it has.
fn hunk(text: &[u8]) -> Option<(u32, u32, u32)> {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut sides = text.split(" @@").next()?.split(" +").map(|side| {
        let (start, count) = side.split_once(',').unwrap_or((side, "1"));
        Some((start.parse::<u32>().ok()?, count.parse::<u32>().ok()?))
    });
    let ((start, from), (_, to)) = (sides.next()??, sides.next()??);
    Some((start, from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_are_split_into_what_is_replaced() {
        let patch = b"diff --git a/x b/x\nindex aa..bb 100644\n--- a/x\n+++ b/x\n@@ -1,5 +1,6 @@\n-a\n+A\n b\n+new\n c\n-d\n+D\n e\n\
            @@ -9 +10,2 @@ fn diff --git ()\n i\n+diff --git a/y b/y\n\\ No newline at end of file\n\
            diff --git a/b b/b\nindex cc..dd 100644\nBinary files a/b and b/b differ\n";
        let read = sections(patch);
        let lines = |start, count| Lines { start, count };
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].ranges, [lines(0, 1), lines(2, 0), lines(3, 1), lines(9, 0)]);
        assert_eq!(read[0].ids, Some(("aa".into(), "bb".into())));
        assert!(read[1].binary && read[1].ranges.is_empty() && !read[0].binary);
        let emptied = sections(b"diff --git a/x b/x\nindex aa..bb\n@@ -1,2 +0,0 @@\n-a\n-b\n");
        assert_eq!(emptied[0].ranges, [lines(0, 2)]);
        let filled = sections(b"diff --git a/x b/x\nindex aa..bb\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(filled[0].ranges, [lines(0, 0)]);
    }

    #[test]
    fn too_many_places_are_one() {
        let ranges: Vec<Lines> = (0..2_000).map(|n| Lines { start: n * 2, count: 1 }).collect();
        assert!(ranges.len() > RANGES_MAX);
        let section = Section { ranges, ..Section::default() };
        assert_eq!(section.bounded(), [Lines { start: 0, count: 3_999 }]);
    }
}

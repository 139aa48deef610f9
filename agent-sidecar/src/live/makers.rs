//! Who made the changed files of one work tree what they are. Calls say which files they have changed; looks say when a file is other
//! than before. What changed without any call is not any session's alone. It knows names of contents, never contents.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::id::SessionId;
use rr_core::live::{Entry, FileChange, GitPath};
use rr_core::path::RepoPath;

/// What calls have changed, by whom.
pub(super) type Touched = BTreeMap<RepoPath, BTreeSet<SessionId>>;

/// The changed files as they were seen last, of one work tree.
#[derive(Debug, Default)]
pub(super) struct Makers {
    /// Said by calls, and not seen yet.
    touched: Touched,
    files: BTreeMap<GitPath, Made>,
}

#[derive(Debug)]
struct Made {
    /// Absent: it is gone.
    content: Option<Entry>,
    by: BTreeSet<SessionId>,
    /// It was other than before, and no call had said so.
    is_strange: bool,
}

impl Makers {
    /// Takes over what is written down of who made these files what they are.
    pub(super) fn recall(&mut self, files: &[FileChange], mut written: BTreeMap<GitPath, BTreeSet<SessionId>>) {
        for file in files {
            if let Some(by) = written.remove(&file.path) {
                let made = Made { content: file.to.clone(), by, is_strange: false };
                self.files.insert(file.path.clone(), made);
            }
        }
    }

    /// What calls have said since.
    pub(super) fn hear(&mut self, touched: Touched) {
        for (path, by) in touched {
            self.touched.entry(path).or_default().extend(by);
        }
    }

    /// Whether all that is other than at the last look was changed by a call that is over.
    pub(super) fn explain(&self, files: &[FileChange]) -> bool {
        files.iter().all(|file| {
            let is_known = self.files.get(&file.path).is_some_and(|made| made.content == file.to);
            is_known || RepoPath::parse(file.path.as_bytes()).is_ok_and(|path| self.touched.contains_key(&path))
        })
    }

    /// One look at a tree in which no call is in the middle of something: a call says what it did when it is over.
    pub(super) fn see(&mut self, files: &[FileChange]) {
        let touched = std::mem::take(&mut self.touched);
        let mut before = std::mem::take(&mut self.files);
        for file in files {
            let mut made = before.remove(&file.path).unwrap_or_else(|| Made {
                // As on the target, until a look has shown otherwise.
                content: file.from.clone(),
                by: BTreeSet::new(),
                is_strange: false,
            });
            let path = RepoPath::parse(file.path.as_bytes()).ok();
            let by = path.and_then(|path| touched.get(&path));
            made.is_strange = match by {
                // A look between a call's write and its word had taken it for strange.
                Some(_) => made.is_strange && made.content != file.to,
                None => made.is_strange || made.content != file.to,
            };
            made.by.extend(by.into_iter().flatten().cloned());
            made.content.clone_from(&file.to);
            self.files.insert(file.path.clone(), made);
        }
    }

    /// Says of each file who made it, as far as that was seen.
    pub(super) fn sign(&self, files: &mut [FileChange]) {
        for file in files {
            let made = self.files.get(&file.path).filter(|made| !made.is_strange && made.content == file.to);
            file.by = made.map(|made| made.by.iter().cloned().collect()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use rr_core::id::ObjectId;

    use super::*;

    fn session(n: u8) -> SessionId {
        SessionId::parse(&format!("{n:032x}")).expect("legal")
    }

    fn file(content: u8) -> FileChange {
        let entry = |n: u8| Some(Entry { mode: 0o100_644, id: ObjectId::parse(&format!("{n:040x}")).expect("legal") });
        FileChange::of("src/a.rs".into(), entry(0), entry(content))
    }

    fn touched(by: &[u8]) -> Touched {
        let path = RepoPath::parse(b"src/a.rs").expect("legal");
        if by.is_empty() { Touched::new() } else { [(path, by.iter().copied().map(session).collect())].into() }
    }

    /// Who made the file, after looks at these contents with these calls before each.
    fn made(looks: &[(u8, &[u8])]) -> Vec<SessionId> {
        let mut makers = Makers::default();
        let mut files = vec![];
        for (content, by) in looks {
            files = if *content == 0 { vec![] } else { vec![file(*content)] };
            makers.hear(touched(by));
            makers.see(&files);
            makers.sign(&mut files);
        }
        files.pop().map(|file| file.by).unwrap_or_default()
    }

    #[test]
    fn a_file_is_of_all_who_changed_it_since_it_was_as_on_the_target() {
        assert_eq!(made(&[(1, &[7])]), [session(7)]);
        assert_eq!(made(&[(1, &[7]), (1, &[]), (2, &[9])]), [session(7), session(9)]);
        assert_eq!(made(&[(1, &[9, 7])]), [session(7), session(9)]);
        assert_eq!(made(&[(1, &[7]), (0, &[7]), (2, &[9])]), [session(9)], "taken back or landed meanwhile");
    }

    #[test]
    fn what_somebody_else_had_a_hand_in_is_of_no_session() {
        assert_eq!(made(&[(1, &[])]), []);
        assert_eq!(made(&[(1, &[7]), (2, &[])]), []);
        assert_eq!(made(&[(1, &[7]), (2, &[]), (3, &[7])]), [], "and stays so while that may still be in it");
    }

    #[test]
    fn a_look_between_a_write_and_its_word_is_put_right_by_the_word() {
        assert_eq!(made(&[(1, &[]), (1, &[7])]), [session(7)]);
    }

    #[test]
    fn what_no_call_that_is_over_has_changed_is_not_explained() {
        let mut makers = Makers::default();
        assert!(makers.explain(&[]) && !makers.explain(&[file(1)]));
        makers.hear(touched(&[7]));
        assert!(makers.explain(&[file(1)]));
        makers.see(&[file(1)]);
        assert!(makers.explain(&[file(1)]) && !makers.explain(&[file(2)]), "the call under way may be writing it");
    }

    #[test]
    fn contents_that_were_not_judged_are_signed_by_nobody() {
        let mut makers = Makers::default();
        makers.hear(touched(&[7]));
        makers.see(&[file(1)]);
        let mut files = vec![file(2)];
        makers.sign(&mut files);
        assert_eq!(files[0].by, []);
    }
}

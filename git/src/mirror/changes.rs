//! What a look changes: merged onto where its target stands, so that all work trees count lines in the same contents, and told file by
//! file. Git finds the files, the renames and the lines; what they mean for others is not known here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use rr_core::id::{CommitId, ObjectId, hex};
use rr_core::live::{Entry, FileChange, GitPath, Onto, Target};
use sha2::{Digest as _, Sha256};

use super::look::{Look, Note};
use super::ranges::{Section, sections};
use super::{Merged, Mirror, MirrorError, locked};

/// A change set is one value of the store. What changes more files is a sweep, and its number says so.
pub const CHANGES_MAX: usize = 2_000;
/// Larger texts are told without lines, like what is no text: their patch would not fit a sidecar's memory.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Change sets remembered: a few for each work tree of a machine.
const KNOWN_MAX: usize = 64;
const GIT_LIMIT: Duration = Duration::from_secs(120);

const FILE: u32 = 0o100_644;

/// The change set's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub onto: Onto,
    /// In git's order of paths, at most [`CHANGES_MAX`]. What is no regular file, or no text, or too large for lines, is `binary`.
    pub files: Vec<FileChange>,
    pub left_out: usize,
}

type Key = (Look, Option<CommitId>);

/// The last ones, by what they are made of.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<(Key, Changes)>);

/// What is compared: a tree or commit with a tree.
struct Span {
    onto: Onto,
    from: String,
    to: ObjectId,
}

impl Mirror {
    /// The change set's files: of `look`, onto `target`. The clone must have been borrowed from.
    ///
    /// # Errors
    /// If git fails. What is missing here (a shallow or partial clone's target, say) is no error: the work stands alone then.
    pub fn changes(&self, look: &Look, target: Option<&Target>) -> Result<Changes, MirrorError> {
        let key = (look.clone(), target.map(|t| t.commit.clone()));
        if let Some((_, known)) = locked(&self.shared.changes).0.iter().find(|(known, _)| *known == key) {
            return Ok(known.clone());
        }
        let span = self.span(look, target)?;
        let mut files = self.files(&span)?;
        self.add_unkept(&span, &look.notes, &mut files)?;
        let left_out = files.len().saturating_sub(CHANGES_MAX);
        files.truncate(CHANGES_MAX);
        self.add_lines(&span, &mut files)?;
        let changes = Changes { onto: span.onto, files, left_out };
        let mut known = locked(&self.shared.changes);
        known.0.push_front((key, changes.clone()));
        known.0.truncate(KNOWN_MAX);
        Ok(changes)
    }

    fn span(&self, look: &Look, target: Option<&Target>) -> Result<Span, MirrorError> {
        let span = |onto, from: &str, to: &ObjectId| Span { onto, from: from.to_owned(), to: to.clone() };
        let Some(head) = &look.head else { return Ok(span(Onto::Alone, empty_tree(&look.tree), &look.tree)) };
        let alone = || span(Onto::Alone, head.as_str(), &look.tree);
        let Some(target) = target else { return Ok(alone()) };
        let target = target.commit.as_str();
        let Some(base) = self.merge_base(head.as_str(), target)? else { return Ok(alone()) };
        if base == target {
            return Ok(span(Onto::Clean(look.tree.clone()), target, &look.tree));
        }
        let commit = self.commit_of(look)?;
        // With whatever merge bases there are, as git itself would.
        let args = ["merge-tree", "--write-tree", "-z", target, commit.as_str()];
        Ok(match self.merged(&look.tree, &args)? {
            Merged::Clean(tree) => Span { onto: Onto::Clean(tree.clone()), from: target.to_owned(), to: tree },
            Merged::Conflict { paths, .. } => {
                span(Onto::Stale(paths.into_iter().map(|(path, _)| path).collect()), &base, &look.tree)
            }
            Merged::Missing(_) => alone(),
        })
    }

    /// None: they have none, or it is not here.
    fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, MirrorError> {
        if one == other {
            return Ok(Some(one.to_owned()));
        }
        let told = self.timed(&["merge-base", one, other], None, GIT_LIMIT)?;
        let text = String::from_utf8_lossy(&told.out).trim().to_owned();
        Ok((told.status.success() && !text.is_empty()).then_some(text))
    }

    fn files(&self, span: &Span) -> Result<Vec<FileChange>, MirrorError> {
        let diff = |renames| {
            let args = ["diff-tree", "-r", "-z", "--raw", "--no-abbrev", renames, span.from.as_str(), span.to.as_str()];
            self.timed(&args, None, GIT_LIMIT)
        };
        let mut told = diff("-M")?;
        if !told.status.success() {
            // Renames are found by contents, which may be missing here.
            told = diff("--no-renames")?;
        }
        let mut files = changed(&told.good(&self.dir)?);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What changed and is not in the look's tree.
    fn add_unkept(&self, span: &Span, notes: &[Note], files: &mut Vec<FileChange>) -> Result<(), MirrorError> {
        let unkept: Vec<(&GitPath, ObjectId)> =
            notes.iter().filter_map(|note| Some((&note.path, stand_in(note.stamp()?, &span.to)))).collect();
        if unkept.is_empty() {
            return Ok(());
        }
        let args = ["--literal-pathspecs", "ls-tree", "-z", "--full-tree", span.from.as_str(), "--"].map(OsStr::new);
        let paths = unkept.iter().map(|(path, _)| OsStr::from_bytes(path.as_bytes()));
        let args: Vec<&OsStr> = args.into_iter().chain(paths).collect();
        let before = entries(&self.timed(&args, None, GIT_LIMIT)?.good(&self.dir)?);
        for (path, id) in unkept {
            files.retain(|file| file.path != *path);
            let from = before.get(path).cloned();
            let mode = from.as_ref().map_or(FILE, |entry| entry.mode);
            let file = change(path.clone(), from, Some(Entry { mode, id }));
            files.push(FileChange { binary: true, ..file });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    fn add_lines(&self, span: &Span, files: &mut [FileChange]) -> Result<(), MirrorError> {
        let mut texts: Vec<&mut FileChange> = Vec::new();
        for file in files {
            let Some((from, to)) = file.from.as_ref().zip(file.to.as_ref()) else { continue };
            let are_files = from.mode & 0o170_000 == 0o100_000 && to.mode & 0o170_000 == 0o100_000;
            if from.id != to.id && are_files && !file.binary && self.fits(from)? && self.fits(to)? {
                texts.push(file);
            } else {
                file.binary |= !are_files || from.id != to.id;
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        let paths: Vec<GitPath> = texts.iter().map(|file| file.path.clone()).collect();
        let whole = self.never_merged(span, &paths)?;
        let patch = self.patch(span, &paths)?;
        for file in texts {
            let ids = file.from.as_ref().zip(file.to.as_ref()).map(|(f, t)| (f.id.to_string(), t.id.to_string()));
            match ids.and_then(|ids| patch.get(&ids)) {
                Some(section) if !section.binary && !whole.contains(&file.path) => {
                    file.ranges = section.clone().bounded();
                }
                _ => file.binary = true,
            }
        }
        Ok(())
    }

    fn fits(&self, entry: &Entry) -> Result<bool, MirrorError> {
        Ok(self.size_of(entry.id.as_str())?.is_some_and(|size| size <= TEXT_BYTES_MAX))
    }

    /// What the repository's attributes say is never merged line by line.
    fn never_merged(&self, span: &Span, paths: &[GitPath]) -> Result<HashSet<GitPath>, MirrorError> {
        let stdin = paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
        let source = format!("--source={}", span.to);
        let said = self.timed(&["check-attr", "-z", "--stdin", &source, "merge"], Some(stdin), GIT_LIMIT)?;
        let said = said.good(&self.dir)?;
        let mut words = said.split(|b| *b == 0);
        let mut found = HashSet::new();
        while let (Some(path), Some(_), Some(value)) = (words.next(), words.next(), words.next()) {
            if value == b"unset" || value == b"binary" {
                found.insert(GitPath::new(path));
            }
        }
        Ok(found)
    }

    fn patch(&self, span: &Span, paths: &[GitPath]) -> Result<HashMap<(String, String), Section>, MirrorError> {
        let source = format!("--attr-source={}", span.to);
        let git = [&source, "--literal-pathspecs", "diff-tree", "-r", "-p", "-U1", "--full-index", "--no-renames"];
        let how =
            ["--diff-algorithm=histogram", "--no-indent-heuristic", "--no-ext-diff", "--no-textconv", "--no-color"];
        let what = ["--diff-filter=M", "--inter-hunk-context=0", span.from.as_str(), span.to.as_str(), "--"];
        let words = git.iter().chain(&how).chain(&what).map(OsString::from);
        let args: Vec<OsString> =
            words.chain(paths.iter().map(|p| OsStr::from_bytes(p.as_bytes()).to_owned())).collect();
        let said = self.timed(&args, None, GIT_LIMIT)?.good(&self.dir)?;
        Ok(sections(&said).into_iter().filter_map(|section| Some((section.ids.clone()?, section))).collect())
    }
}

fn change(path: GitPath, from: Option<Entry>, to: Option<Entry>) -> FileChange {
    FileChange {
        path,
        from,
        to,
        ranges: Vec::new(),
        binary: false,
        renamed_from: None,
        layout_only: false,
        symbols: Vec::new(),
        uses: Vec::new(),
        packages: Vec::new(),
        by: Vec::new(),
    }
}

/// `:MODE MODE ID ID STATUS` and one path, or two where it is a rename: the old path is gone then, and the new one knows it.
pub(super) fn changed(raw: &[u8]) -> Vec<FileChange> {
    let mut words = raw.split(|b| *b == 0);
    let mut files = Vec::new();
    while let Some(head) = words.next().and_then(|word| word.strip_prefix(b":")) {
        let head = String::from_utf8_lossy(head).into_owned();
        let parts: Vec<&str> = head.split(' ').collect();
        let [from_mode, to_mode, from_id, to_id, status] = parts[..] else { break };
        let (from, to) = (entry(from_mode, from_id), entry(to_mode, to_id));
        let Some(path) = words.next().map(GitPath::new) else { break };
        if status.starts_with('R') {
            let Some(new) = words.next().map(GitPath::new) else { break };
            files.push(change(path.clone(), from, None));
            files.push(FileChange { renamed_from: Some(path), ..change(new, None, to) });
        } else {
            files.push(change(path, from, to));
        }
    }
    files
}

/// None: there is nothing.
fn entry(mode: &str, id: &str) -> Option<Entry> {
    let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode != 0)?;
    Some(Entry { mode, id: ObjectId::parse(id).ok()? })
}

/// `MODE TYPE ID\tPATH`.
pub(super) fn entries(listed: &[u8]) -> HashMap<GitPath, Entry> {
    let line = |line: &[u8]| {
        let at = line.iter().position(|b| *b == b'\t')?;
        let head = String::from_utf8_lossy(&line[..at]).into_owned();
        let mut parts = head.split(' ');
        let (mode, id) = (parts.next()?, parts.nth(1)?);
        Some((GitPath::new(&line[at + 1..]), entry(mode, id)?))
    };
    listed.split(|b| *b == 0).filter_map(line).collect()
}

/// A name for contents that nobody has, as long as `like`: another one with each change.
fn stand_in(stamp: &str, like: &ObjectId) -> ObjectId {
    let digits = hex(&Sha256::digest(format!("not kept {stamp}")));
    // Hex of the same length as an object name is one.
    ObjectId::parse(&digits[..like.as_str().len()]).unwrap_or_else(|_| like.clone())
}

/// Git knows it without having it.
pub(super) fn empty_tree(like: &ObjectId) -> &'static str {
    if like.as_str().len() == 40 {
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    } else {
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
    }
}

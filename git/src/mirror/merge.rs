//! Git's own answer to whether two contents go together: `merge-tree`, in the mirror, on whole trees or on trees made of one path. It
//! adds nothing of its own but the bounds.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use rr_core::id::ObjectId;
use rr_core::live::{Entry, GitPath};
use rr_core::overlap::EXCERPT_BYTES_MAX;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::changes::{empty_tree, entries};
use super::{Mirror, MirrorError};

/// Bytes of conflicting lines that an answer carries: as many as a finding does.
pub const MERGE_EXCERPT_MAX: usize = EXCERPT_BYTES_MAX;
/// Conflicts are looked for in this much of a file.
const SEARCHED_BYTES_MAX: usize = 4 << 20;
/// Lines before a conflict that show where it is.
const LINES_BEFORE: usize = 2;
/// Files of which conflicting lines are shown.
const SHOWN_FILES_MAX: usize = 8;
const GIT_LIMIT: Duration = Duration::from_secs(120);
/// Merges in one run of git: its answers are held in memory.
const BATCH: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The tree of both.
    Clean(ObjectId),
    Conflict {
        /// Each with git's own words about it.
        paths: Vec<(GitPath, String)>,
        /// The conflicting lines with their markers (zdiff3), at most [`MERGE_EXCERPT_MAX`] bytes.
        excerpt: String,
    },
    /// These are not here, so nothing is known.
    Missing(Vec<ObjectId>),
}

/// What `merge-tree` printed of one merge.
struct Answer {
    tree: String,
    paths: Vec<(GitPath, String)>,
}

impl Mirror {
    /// Merges one path of three trees; None: it is not there. Attributes of the repository are not known then; see
    /// [`Mirror::merge_files_by`].
    ///
    /// # Errors
    /// If git fails.
    pub fn merge_files(
        &self,
        base: Option<&Entry>,
        ours: Option<&Entry>,
        theirs: Option<&Entry>,
        path: &GitPath,
    ) -> Result<Merged, MirrorError> {
        self.merge_files_by(None, base, ours, theirs, path)
    }

    /// The same, by the attributes of a tree (`merge=union`, `-merge`).
    ///
    /// # Errors
    /// If git fails.
    pub fn merge_files_by(
        &self,
        attributes: Option<&ObjectId>,
        base: Option<&Entry>,
        ours: Option<&Entry>,
        theirs: Option<&Entry>,
        path: &GitPath,
    ) -> Result<Merged, MirrorError> {
        let Some(like) = [base, ours, theirs].into_iter().flatten().map(|entry| &entry.id).next() else {
            return Ok(Merged::Missing(Vec::new()));
        };
        let missing = self.missing([base, ours, theirs].into_iter().flatten())?;
        if !missing.is_empty() {
            return Ok(Merged::Missing(missing));
        }
        let mut stacks = Stacks { like, mktree: Vec::new() };
        let trees = [base, ours, theirs]
            .map(|entry| entry.map_or_else(|| empty_tree(like).to_owned(), |e| stacks.add(path, e)));
        self.timed(&["mktree", "-z", "--missing", "--batch"], Some(stacks.mktree), GIT_LIMIT)?.good(&self.dir)?;
        let [base, ours, theirs] = trees;
        self.merge_by(attributes.map_or("", ObjectId::as_str), &base, &ours, &theirs, like)
    }

    /// Merges two trees or commits on the base given.
    ///
    /// # Errors
    /// If git fails.
    pub fn merge_trees(&self, base: &ObjectId, ours: &ObjectId, theirs: &ObjectId) -> Result<Merged, MirrorError> {
        self.merge_by(ours.as_str(), base.as_str(), ours.as_str(), theirs.as_str(), ours)
    }

    /// The same for many pairs on one base, in few runs of git. Answers are in the order of the pairs.
    ///
    /// # Errors
    /// If git fails.
    pub fn merge_all(&self, base: &ObjectId, pairs: &[(ObjectId, ObjectId)]) -> Result<Vec<Merged>, MirrorError> {
        let mut merged = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(BATCH) {
            let known = self.clean_or_not(base, pairs)?;
            for (n, (ours, theirs)) in pairs.iter().enumerate() {
                merged.push(match known.get(n) {
                    Some(Ok(tree)) => Merged::Clean(tree.clone()),
                    Some(Err(())) | None => self.merge_trees(base, ours, theirs)?,
                });
            }
        }
        Ok(merged)
    }

    /// As far as git came: it stops at what is missing.
    fn clean_or_not(
        &self,
        base: &ObjectId,
        pairs: &[(ObjectId, ObjectId)],
    ) -> Result<Vec<Result<ObjectId, ()>>, MirrorError> {
        let lines: String = pairs.iter().map(|(ours, theirs)| format!("{base} -- {ours} {theirs}\n")).collect();
        let source = format!("--attr-source={base}");
        let told = self.timed(
            &[&source, "merge-tree", "--stdin", "-z", "--no-messages"],
            Some(lines.into_bytes()),
            GIT_LIMIT,
        )?;
        let mut rest = told.out.as_slice();
        let mut known = Vec::with_capacity(pairs.len());
        while let Some((state, after)) = word(rest) {
            let Some((tree, after)) = word(after) else { break };
            let tree = ObjectId::parse(&String::from_utf8_lossy(tree));
            known.push(if state == b"1" { tree.map_err(|_| ()) } else { Err(()) });
            // The conflicting entries, an empty word, and the end of this one.
            rest = after;
            while let Some((entry, after)) = word(rest) {
                rest = after;
                if entry.is_empty() {
                    break;
                }
            }
        }
        Ok(known)
    }

    fn merge_by(
        &self,
        attributes: &str,
        base: &str,
        ours: &str,
        theirs: &str,
        like: &ObjectId,
    ) -> Result<Merged, MirrorError> {
        let (source, base) = (format!("--attr-source={attributes}"), format!("--merge-base={base}"));
        let args = [source.as_str(), "merge-tree", "--write-tree", "-z", base.as_str(), ours, theirs];
        self.merged(like, &args[usize::from(attributes.is_empty())..])
    }

    /// Runs this `merge-tree`, and once more for the lines if it finds conflicts.
    pub(super) fn merged(&self, like: &ObjectId, args: &[&str]) -> Result<Merged, MirrorError> {
        let told = self.timed(args, None, GIT_LIMIT)?;
        match told.status.code() {
            Some(0) => {
                Ok(Merged::Clean(super::look::object(told.out.strip_suffix(b"\0").unwrap_or(&told.out), "merge-tree")?))
            }
            Some(1) => {
                let paths = answer(&told.out).paths;
                let shown = self.timed(&[&["-c", "merge.conflictStyle=zdiff3"], args].concat(), None, GIT_LIMIT)?;
                let excerpt = self.excerpt(&answer(&shown.out))?;
                Ok(Merged::Conflict { paths, excerpt })
            }
            _ => {
                let missing = self.named_and_missing(&told.words(), like)?;
                if missing.is_empty() { Err(told.bad(&self.dir).into()) } else { Ok(Merged::Missing(missing)) }
            }
        }
    }

    fn missing<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<Vec<ObjectId>, MirrorError> {
        let mut missing = Vec::new();
        for entry in entries.filter(|entry| entry.mode != 0o160_000) {
            if !self.has(entry.id.as_str())? {
                missing.push(entry.id.clone());
            }
        }
        Ok(missing)
    }

    /// Objects that git's words name and that are not here.
    fn named_and_missing(&self, words: &str, like: &ObjectId) -> Result<Vec<ObjectId>, MirrorError> {
        let names = words.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == like.as_str().len());
        let mut missing = Vec::new();
        for id in names.filter_map(|name| ObjectId::parse(name).ok()) {
            if !missing.contains(&id) && !self.has(id.as_str())? {
                missing.push(id);
            }
        }
        Ok(missing)
    }

    fn excerpt(&self, answer: &Answer) -> Result<String, MirrorError> {
        let mut excerpt = String::new();
        let paths: Vec<&GitPath> = answer.paths.iter().map(|(path, _)| path).take(SHOWN_FILES_MAX).collect();
        let args = ["--literal-pathspecs", "ls-tree", "-z", "--full-tree", answer.tree.as_str(), "--"];
        let mut args: Vec<&std::ffi::OsStr> = args.into_iter().map(std::ffi::OsStr::new).collect();
        args.extend(paths.iter().map(|path| super::standing::as_path(path).as_os_str()));
        let entries = entries(&self.timed(&args, None, GIT_LIMIT)?.good(&self.dir)?);
        for path in paths {
            let Some(entry) = entries.get(path).filter(|entry| entry.mode != 0o160_000) else { continue };
            let Some(bytes) = self.bytes(&entry.id, SEARCHED_BYTES_MAX)? else { continue };
            let hunks = hunks(&bytes);
            if !hunks.is_empty() {
                excerpt.push_str(&format!("{path}\n{hunks}"));
            }
        }
        Ok(cut(excerpt))
    }
}

/// What is between markers, with a little before it.
fn hunks(text: &[u8]) -> String {
    let (mut out, mut before, mut inside) = (Vec::new(), Vec::new(), false);
    for line in text.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b"<<<<<<< ") {
            inside = true;
            let from = before.len() - LINES_BEFORE.min(before.len());
            before.drain(from..).for_each(|line: &[u8]| out.extend_from_slice(line));
        }
        if inside {
            out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                out.push(b'\n');
            }
            inside = !line.starts_with(b">>>>>>> ");
            before.clear();
        } else {
            before.push(line);
        }
        if out.len() > MERGE_EXCERPT_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn cut(mut text: String) -> String {
    const MARK: &str = "\n[...]\n";
    if text.len() > MERGE_EXCERPT_MAX {
        let mut end = MERGE_EXCERPT_MAX - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// `TREE`, `MODE ID STAGE\tPATH`…, nothing, then for each message: how many paths, the paths, its kind, its words.
fn answer(out: &[u8]) -> Answer {
    let mut words = out.split(|b| *b == 0);
    let tree = String::from_utf8_lossy(words.next().unwrap_or_default()).trim().to_owned();
    let mut paths: Vec<GitPath> = Vec::new();
    for entry in words.by_ref().take_while(|entry| !entry.is_empty()) {
        let path = entry.splitn(2, |b| *b == b'\t').nth(1).map(GitPath::new);
        paths.extend(path.filter(|path| paths.last() != Some(path)));
    }
    let mut said: Vec<(GitPath, String)> = paths.into_iter().map(|path| (path, String::new())).collect();
    let mut seen = HashSet::new();
    while let Some(count) = words.next().and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok()) {
        let about: Vec<GitPath> = words.by_ref().take(count).map(GitPath::new).collect();
        let (Some(kind), Some(text)) = (words.next(), words.next()) else { break };
        if !kind.starts_with(b"CONFLICT") {
            continue;
        }
        let text = String::from_utf8_lossy(text).trim().to_owned();
        for path in about {
            match said.iter_mut().find(|(known, _)| *known == path) {
                Some((_, words)) if words.is_empty() => words.clone_from(&text),
                Some(_) => {}
                // A conflict about a path that has no entry: a directory that both renamed, say.
                None if seen.insert(path.clone()) => said.push((path, text.clone())),
                None => {}
            }
        }
    }
    Answer { tree, paths: said }
}

/// Trees with one entry, one in the other.
struct Stacks<'a> {
    like: &'a ObjectId,
    mktree: Vec<u8>,
}

impl Stacks<'_> {
    /// What `mktree` is to make for this entry, and the name of the outermost.
    fn add(&mut self, path: &GitPath, entry: &Entry) -> String {
        let (mut mode, mut id) = (entry.mode, entry.id.to_string());
        for name in path.as_bytes().rsplit(|b| *b == b'/') {
            let kind = match mode {
                0o040_000 => "tree",
                0o160_000 => "commit",
                _ => "blob",
            };
            // Writing to memory cannot fail.
            let _ = write!(self.mktree, "{mode:06o} {kind} {id}\t");
            self.mktree.extend_from_slice(name);
            self.mktree.extend_from_slice(b"\0\0");
            (mode, id) = (0o040_000, self.name(mode, name, &id));
        }
        id
    }

    fn name(&self, mode: u32, name: &[u8], id: &str) -> String {
        let raw: Vec<u8> =
            (0..id.len() / 2).filter_map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).ok()).collect();
        let body = [format!("{mode:o} ").as_bytes(), name, b"\0", &raw].concat();
        let object = [format!("tree {}\0", body.len()).as_bytes(), &body].concat();
        if self.like.as_str().len() == 40 {
            rr_core::id::hex(&Sha1::digest(&object))
        } else {
            rr_core::id::hex(&Sha256::digest(&object))
        }
    }
}

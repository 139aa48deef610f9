//! Which changed definitions of two sides may break each other although their lines merge: S1 to S4. A match of names is no proof,
//! and on its own mostly noise; it chooses which merged trees a check is spent on, best first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SymbolClash;
use super::repo::No;
use crate::live::{FileChange, GitPath, SymbolChange, SymbolEdit};

/// One name, and who changed its definition or came to use it.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) defined: BTreeMap<No, Vec<Arc<FileChange>>>,
    pub(super) used: BTreeMap<No, Vec<Arc<FileChange>>>,
}

impl Named {
    pub(super) fn add_definition(&mut self, no: No, file: &Arc<FileChange>) {
        insert(self.defined.entry(no).or_default(), file);
    }

    pub(super) fn add_use(&mut self, no: No, file: &Arc<FileChange>) {
        insert(self.used.entry(no).or_default(), file);
    }
}

/// In the order of the paths: what is found first must not depend on what came first.
fn insert(files: &mut Vec<Arc<FileChange>>, file: &Arc<FileChange>) {
    let at = files.partition_point(|other| other.path < file.path);
    files.insert(at, file.clone());
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) how: SymbolClash,
    /// Where it is defined, and where the other side comes in.
    pub(super) paths: Vec<GitPath>,
    /// Who depends on the other.
    pub(super) user: Option<No>,
}

/// The worst that the two may have against each other with this name.
pub(super) fn candidate(name: &str, named: &Named, a: No, b: No) -> Option<Candidate> {
    let of = |no| Part { no, name, defined: list(&named.defined, no), used: list(&named.used, no) };
    let (a, b) = (of(a), of(b));
    None.or_else(|| a.breaks_use_of(&b, SymbolClash::GoneOrOther))
        .or_else(|| b.breaks_use_of(&a, SymbolClash::GoneOrOther))
        .or_else(|| a.defines_with(&b, SymbolClash::BothAdded))
        .or_else(|| a.defines_with(&b, SymbolClash::BothChanged))
        .or_else(|| a.breaks_use_of(&b, SymbolClash::CallerChanged))
        .or_else(|| b.breaks_use_of(&a, SymbolClash::CallerChanged))
}

fn list(map: &BTreeMap<No, Vec<Arc<FileChange>>>, no: No) -> &[Arc<FileChange>] {
    map.get(&no).map(Vec::as_slice).unwrap_or_default()
}

/// What one side has to do with a name.
struct Part<'a> {
    no: No,
    name: &'a str,
    defined: &'a [Arc<FileChange>],
    used: &'a [Arc<FileChange>],
}

impl Part<'_> {
    /// S1 or S4: this side changed what the other uses.
    fn breaks_use_of(&self, user: &Self, how: SymbolClash) -> Option<Candidate> {
        let breaks = |edit| match how {
            SymbolClash::GoneOrOther => matches!(edit, SymbolEdit::Removed | SymbolEdit::Signature),
            _ => edit == SymbolEdit::Body,
        };
        // Who adds a definition of that name means its own.
        if user.edits().any(|(_, symbol)| symbol.change == SymbolEdit::Added) {
            return None;
        }
        let found = |(file, symbol): (&FileChange, &SymbolChange)| {
            if !breaks(symbol.change) || is_agreed(file, user.defined) {
                return None;
            }
            let speaks = |other: &&Arc<FileChange>| {
                language(&other.path) == language(&file.path) && !is_agreed(other, self.used)
            };
            user.used.iter().find(speaks).map(|other| paths(file, other))
        };
        let paths = self.edits().find_map(found)?;
        Some(Candidate { how, paths, user: Some(user.no) })
    }

    /// S2 or S3: both define it anew, or differently.
    fn defines_with(&self, other: &Self, how: SymbolClash) -> Option<Candidate> {
        let added = how == SymbolClash::BothAdded;
        let counts = |symbol: &SymbolChange| match symbol.change {
            SymbolEdit::Added => added,
            SymbolEdit::Signature | SymbolEdit::Body => !added,
            SymbolEdit::Removed => false,
        };
        let pairs = self.edits().flat_map(|ours| other.edits().map(move |theirs| (ours, theirs)));
        let mut meets = pairs.filter(|((x, s), (y, t))| {
            counts(s)
                && counts(t)
                && x.to != y.to
                && if added { one_scope(x, s, y, t) } else { one_definition(x, s, y, t) }
        });
        let ((x, _), (y, _)) = meets.next()?;
        Some(Candidate { how, paths: paths(x, y), user: None })
    }

    fn edits(&self) -> impl Iterator<Item = (&FileChange, &SymbolChange)> {
        let named = |file: &FileChange, at: usize| file.symbols[at].name == self.name;
        self.defined.iter().flat_map(move |file| {
            (0..file.symbols.len()).filter(move |at| named(file, *at)).map(|at| (&**file, &file.symbols[at]))
        })
    }
}

/// Both have made the same of this file.
fn is_agreed(file: &FileChange, others: &[Arc<FileChange>]) -> bool {
    others.iter().any(|other| other.path == file.path && other.to == file.to)
}

fn one_definition(x: &FileChange, s: &SymbolChange, y: &FileChange, t: &SymbolChange) -> bool {
    x.path == y.path && s.container == t.container
}

/// Where two definitions of one name exclude each other: in one container of one file; in one package of Go; in one type, whose
/// parts may lie in several files. A module of tests has the same name everywhere and is no type.
fn one_scope(x: &FileChange, s: &SymbolChange, y: &FileChange, t: &SymbolChange) -> bool {
    if s.container != t.container || language(&x.path) != language(&y.path) {
        return false;
    }
    let is_type = !s.container.is_empty() && !matches!(s.container.as_str(), "tests" | "test");
    x.path == y.path || is_type || (language(&x.path) == b"go" && folder(&x.path) == folder(&y.path))
}

fn folder(path: &GitPath) -> &[u8] {
    let bytes = path.as_bytes();
    bytes.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &bytes[..at])
}

/// By the ending; those of JavaScript are one.
fn language(path: &GitPath) -> &[u8] {
    match path.as_bytes().rsplit(|byte| *byte == b'.').next().unwrap_or_default() {
        b"ts" | b"tsx" | b"mts" | b"cts" | b"js" | b"jsx" | b"mjs" | b"cjs" => b"js",
        b"py" | b"pyi" => b"py",
        ending => ending,
    }
}

fn paths(x: &FileChange, y: &FileChange) -> Vec<GitPath> {
    let mut paths = vec![x.path.clone(), y.path.clone()];
    paths.sort();
    paths.dedup();
    paths
}

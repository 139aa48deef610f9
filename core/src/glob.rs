//! Patterns over paths, as a lock can name them: `*`, `?`, `[..]` within a part, `**` over whole parts. A pattern covers
//! exactly the paths that match it. Matching and intersection are tables over positions, so their cost is bounded by the
//! product of the lengths and no pattern can make them back-track (H26).

use crate::limits::GLOB_BYTES_MAX;
use crate::path::{PathError, RepoPath, fold};

/// A pattern relative to a folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    shown: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// `**`: any number of whole parts, also none.
    Deep,
    Within(Vec<Atom>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Atom {
    /// One byte of the folded, percent-encoded part.
    Byte(u8),
    /// `?` and `[..]`: treated alike as one character, so a class covers more than it says and never less.
    AnyOne,
    /// `*`.
    AnyRun,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("pattern longer than {GLOB_BYTES_MAX} bytes")]
    TooLong,
    #[error("pattern is empty")]
    Empty,
    #[error("unclosed `[` in the pattern")]
    UnclosedClass,
    #[error("pattern is not a path inside the repository: {0}")]
    Path(#[from] PathError),
}

impl Glob {
    /// # Errors
    /// If the pattern is empty, too long, has an unclosed class, or leaves the repository.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        if pattern.len() > GLOB_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let parts = pattern.split('/').map(parse_part).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { shown: pattern.to_owned(), parts })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// Whether the pattern covers this path (given relative to the pattern's folder).
    #[must_use]
    pub fn matches(&self, relative: &[String]) -> bool {
        self.ends_after(relative, |live| live.contains(&self.parts.len()))
    }

    /// Whether the pattern covers this path and everything below it: only one that ends in `**` does.
    #[must_use]
    pub fn covers_all_of(&self, relative: &[String]) -> bool {
        matches!(self.parts.last(), Some(Part::Deep)) && self.matches(relative)
    }

    /// Whether the pattern covers this path or anything below it.
    #[must_use]
    pub fn reaches_into(&self, relative: &[String]) -> bool {
        self.ends_after(relative, |live| !live.is_empty())
    }

    /// Runs the pattern over the parts and asks about the positions that are still alive.
    fn ends_after(&self, relative: &[String], verdict: impl Fn(&Vec<usize>) -> bool) -> bool {
        let mut live = self.closure(vec![0]);
        for part in relative {
            let next = live.iter().filter_map(|at| self.step(*at, part)).collect();
            live = self.closure(next);
        }
        verdict(&live)
    }

    fn step(&self, at: usize, part: &str) -> Option<usize> {
        match self.parts.get(at)? {
            Part::Deep => Some(at),
            Part::Within(atoms) => atoms_match(atoms, part.as_bytes()).then_some(at + 1),
        }
    }

    /// A `**` may also stand for nothing: its position brings the next one along.
    fn closure(&self, mut live: Vec<usize>) -> Vec<usize> {
        let mut seen = 0;
        while seen < live.len() {
            let at = live[seen];
            seen += 1;
            if matches!(self.parts.get(at), Some(Part::Deep)) && !live.contains(&(at + 1)) {
                live.push(at + 1);
            }
        }
        live.sort_unstable();
        live.dedup();
        live
    }

    /// Whether some path matches both patterns, `self` in folder `mine`, `other` in folder `theirs`.
    #[must_use]
    pub fn meets(&self, mine: &RepoPath, other: &Self, theirs: &RepoPath) -> bool {
        let a = self.anchored(mine);
        let b = other.anchored(theirs);
        let mut table = vec![vec![false; b.len() + 1]; a.len() + 1];
        for i in (0..=a.len()).rev() {
            for j in (0..=b.len()).rev() {
                table[i][j] = meet_at(&a, &b, i, j, &table);
            }
        }
        table[0][0]
    }

    fn anchored(&self, folder: &RepoPath) -> Vec<Part> {
        let literal = |p: &String| Part::Within(p.bytes().map(Atom::Byte).collect());
        folder.key_parts().iter().map(literal).chain(self.parts.iter().cloned()).collect()
    }
}

fn meet_at(a: &[Part], b: &[Part], i: usize, j: usize, table: &[Vec<bool>]) -> bool {
    match (a.get(i), b.get(j)) {
        (None, None) => true,
        (Some(Part::Deep), Some(_)) => table[i + 1][j] || table[i][j + 1] || deep_over(b, j, i, table),
        (Some(_), Some(Part::Deep)) => table[i][j + 1] || table[i + 1][j],
        (Some(Part::Deep), None) => table[i + 1][j],
        (None, Some(Part::Deep)) => table[i][j + 1],
        (Some(Part::Within(x)), Some(Part::Within(y))) => table[i + 1][j + 1] && atoms_meet(x, y),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// `**` against a part: it swallows that part and stays.
fn deep_over(b: &[Part], j: usize, i: usize, table: &[Vec<bool>]) -> bool {
    matches!(b.get(j), Some(Part::Within(_))) && table[i][j + 1]
}

/// Greedy matching with one point of return: linear but for the runs, never exponential.
fn atoms_match(atoms: &[Atom], text: &[u8]) -> bool {
    let (mut a, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match atoms.get(a) {
            Some(Atom::AnyRun) => {
                back = Some((a + 1, t));
                a += 1;
            }
            Some(Atom::AnyOne) => {
                a += 1;
                t += char_len(&text[t..]);
            }
            Some(Atom::Byte(b)) if *b == text[t] => {
                a += 1;
                t += 1;
            }
            _ => {
                let Some((resume, from)) = back else { return false };
                let from = from + 1;
                back = Some((resume, from));
                (a, t) = (resume, from);
            }
        }
    }
    atoms[a..].iter().all(|atom| *atom == Atom::AnyRun)
}

/// One character of an encoded part: `%XX` escapes of one UTF-8 character belong together.
fn char_len(text: &[u8]) -> usize {
    if text.first() != Some(&b'%') {
        return 1;
    }
    let lead = text.get(1).copied().unwrap_or(b'0');
    let escapes = match lead {
        b'C' | b'D' => 2,
        b'E' => 3,
        b'F' => 4,
        _ => 1,
    };
    (escapes * 3).min(text.len())
}

/// Whether some text matches both lists. `?` may stand for a whole escape, so it is taken for "one byte or more": this
/// can only find too many meetings, never too few.
fn atoms_meet(x: &[Atom], y: &[Atom]) -> bool {
    let mut table = vec![vec![false; y.len() + 1]; x.len() + 1];
    for i in (0..=x.len()).rev() {
        for j in (0..=y.len()).rev() {
            table[i][j] = match (x.get(i), y.get(j)) {
                (None, None) => true,
                (Some(Atom::AnyRun), None) => table[i + 1][j],
                (None, Some(Atom::AnyRun)) => table[i][j + 1],
                (None, Some(_)) | (Some(_), None) => false,
                (Some(a), Some(b)) => one_meets(*a, *b, i, j, &table),
            };
        }
    }
    table[0][0]
}

fn one_meets(a: Atom, b: Atom, i: usize, j: usize, table: &[Vec<bool>]) -> bool {
    match (a, b) {
        (Atom::AnyRun, _) | (_, Atom::AnyRun) => table[i + 1][j] || table[i][j + 1],
        (Atom::Byte(p), Atom::Byte(q)) => p == q && table[i + 1][j + 1],
        (Atom::AnyOne, Atom::Byte(_)) => table[i + 1][j + 1] || table[i][j + 1],
        (Atom::Byte(_), Atom::AnyOne) => table[i + 1][j + 1] || table[i + 1][j],
        (Atom::AnyOne, Atom::AnyOne) => table[i + 1][j + 1] || table[i][j + 1] || table[i + 1][j],
    }
}

fn parse_part(part: &str) -> Result<Part, GlobError> {
    if part == "**" {
        return Ok(Part::Deep);
    }
    // The literal text of the part must itself be a legal name: `..`, `.git` and control bytes stay out.
    let literal: String = part.chars().map(|c| if matches!(c, '*' | '?' | '[' | ']') { 'x' } else { c }).collect();
    RepoPath::parse(literal.as_bytes())?;
    if part.is_empty() {
        return Err(PathError::EmptyPart.into());
    }
    atoms_of(part).map(Part::Within)
}

fn atoms_of(part: &str) -> Result<Vec<Atom>, GlobError> {
    let mut atoms = Vec::new();
    let mut literal = String::new();
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        let atom = match c {
            '*' => Atom::AnyRun,
            '?' => Atom::AnyOne,
            '[' => {
                skip_class(&mut chars)?;
                Atom::AnyOne
            }
            _ => {
                literal.push(c);
                continue;
            }
        };
        push_literal(&mut atoms, &mut literal);
        if atom != Atom::AnyRun || atoms.last() != Some(&Atom::AnyRun) {
            atoms.push(atom);
        }
    }
    push_literal(&mut atoms, &mut literal);
    Ok(atoms)
}

fn skip_class(chars: &mut std::str::Chars<'_>) -> Result<(), GlobError> {
    // The first character of a class is always a member, also `]`.
    let first = chars.next();
    if matches!(first, Some('!' | '^')) {
        chars.next();
    }
    if chars.any(|c| c == ']') { Ok(()) } else { Err(GlobError::UnclosedClass) }
}

fn push_literal(atoms: &mut Vec<Atom>, literal: &mut String) {
    if literal.is_empty() {
        return;
    }
    let folded = fold(literal);
    for b in folded.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-') {
            atoms.push(Atom::Byte(b));
        } else {
            atoms.extend(format!("%{b:02X}").bytes().map(Atom::Byte));
        }
    }
    literal.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Vec<String> {
        RepoPath::parse(path.as_bytes()).expect(path).key_parts().to_vec()
    }

    fn glob(text: &str) -> Glob {
        Glob::parse(text).expect(text)
    }

    #[test]
    fn patterns_cover_what_a_person_expects() {
        for (pattern, yes, no) in [
            ("*.rs", vec!["a.rs", "A.RS", ".rs"], vec!["a.ts", "d/a.rs"]),
            ("**/*.rs", vec!["a.rs", "d/e/a.rs"], vec!["a.ts"]),
            ("src/**", vec!["src/a", "src/a/b", "src"], vec!["srx/a"]),
            ("a?c", vec!["abc", "a\u{e9}c", "a%c"], vec!["ac", "abbc"]),
            ("x[0-9].txt", vec!["x1.txt"], vec!["x12.txt"]),
            ("**/package.json", vec!["package.json", "apps/web/package.json"], vec!["package-lock.json"]),
        ] {
            for path in yes {
                assert!(glob(pattern).matches(&parts(path)), "{pattern} should cover {path}");
            }
            for path in no {
                assert!(!glob(pattern).matches(&parts(path)), "{pattern} should not cover {path}");
            }
        }
    }

    #[test]
    fn a_pattern_reaches_into_the_folders_above_its_matches() {
        assert!(glob("src/**/*.rs").reaches_into(&parts("src/a")));
        assert!(glob("src/*.rs").reaches_into(&parts("src")));
        assert!(!glob("src/*.rs").reaches_into(&parts("src/a")));
    }

    #[test]
    fn a_bad_pattern_is_refused() {
        for bad in ["", "a//b", "../x", "/abs", ".git/*", "a[", "a\\b"] {
            assert!(Glob::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Glob::parse(&"a".repeat(513)), Err(GlobError::TooLong));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length_allows() {
        let pattern = format!("{}b", "*a".repeat(100));
        assert!(!glob(&pattern).matches(&parts(&"a".repeat(250))));
        let deep = vec!["**"; 30].join("/") + "/zz";
        assert!(!glob(&deep).matches(&parts(&vec!["a"; 40].join("/"))));
    }
}

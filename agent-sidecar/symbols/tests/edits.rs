//! What each kind of edit is told as, a file a language. A case is an edit of the language's source, and what it is
//! told as. It refuses to know how it is found.

#[path = "edits/go.rs"]
mod go;
#[path = "edits/java.rs"]
mod java;
#[path = "edits/javascript.rs"]
mod javascript;
#[path = "edits/manifests.rs"]
mod manifests;
#[path = "edits/python.rs"]
mod python;
#[path = "edits/rust.rs"]
mod rust;
#[path = "edits/typescript.rs"]
mod typescript;

use rr_core::live::{GitPath, Lines, SymbolEdit};
use rr_symbols::{Compared, Parses, compare};
use similar::{DiffOp, DiffTag, TextDiff};

/// Each edit of `source` (a text in it, what it becomes) is told as it should be, one word a symbol: `+` added, `-`
/// removed, `~` other signature, `.` other body, then container, name and kind; `use` for names newly used.
fn told(path: &str, source: &str, cases: &[(&str, &str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (what, from, to, expected) in cases {
        assert_eq!(source.matches(from).count(), 1, "{what}: {from:?} is there once");
        let new = source.replace(from, to);
        let said = say(&compared(path, source, &new));
        if said != *expected {
            wrong.push(format!("{what}\n  expected {expected:?}\n  said     {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{path}\n{}", wrong.join("\n"));
}

/// No white space between tokens plays a part, in either direction.
fn is_layout(path: &str, source: &str, other: &str) {
    for (old, new) in [(source, other), (other, source)] {
        assert_eq!(say(&compared(path, old, new)), "layout", "{new}");
    }
}

fn compared(path: &str, old: &str, new: &str) -> Compared {
    compare(&path.into(), Some(old.as_bytes()), Some(new.as_bytes()), &replaced(old, new))
}

/// The lines of `old` that a diff replaces.
fn replaced(old: &str, new: &str) -> Vec<Lines> {
    let number = |n: usize| u32::try_from(n).expect("a small file");
    let diff = TextDiff::from_lines(old, new);
    let changed = diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal).map(DiffOp::old_range);
    changed.map(|lines| Lines { start: number(lines.start), count: number(lines.len()) }).collect()
}

fn say(compared: &Compared) -> String {
    let sign = |edit| match edit {
        SymbolEdit::Added => '+',
        SymbolEdit::Removed => '-',
        SymbolEdit::Signature => '~',
        SymbolEdit::Body => '.',
    };
    let mut words: Vec<String> = compared
        .symbols
        .iter()
        .map(|s| format!("{}{}/{}:{}", sign(s.change), s.container, s.name, s.kind).replace(' ', "_"))
        .collect();
    words.extend((!compared.uses.is_empty()).then(|| format!("use {}", compared.uses.join(" "))));
    words.extend(compared.packages.iter().map(|p| {
        let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        format!("{}: {} -> {}", p.key, side(&p.from), side(&p.to))
    }));
    words.extend(compared.layout_only.then(|| "layout".to_owned()));
    words.extend((compared.parses == Parses::WorseThanBefore).then(|| "worse".to_owned()));
    words.extend((compared.parses == Parses::Unknown).then(|| "unknown".to_owned()));
    words.join(" ")
}

/// A file cut off in the middle is worse than before, does not take away what the cut hid, and is no worse than itself
/// cut before.
fn is_half_written(path: &str, source: &str, cut_before: &str) {
    let cut = &source[..source.find(cut_before).expect("the cut is in it")];
    let half = compared(path, source, cut);
    assert_eq!(half.parses, Parses::WorseThanBefore, "{path}: {}", say(&half));
    assert!(half.symbols.iter().all(|s| s.change != SymbolEdit::Removed), "{path}: {}", say(&half));
    assert_eq!(compared(path, cut, &format!("{cut} ")).parses, Parses::Yes, "{path}: as broken as before");
    assert_eq!(compared(path, cut, source).parses, Parses::Yes, "{path}: whole again");
    let new = compare(&path.into(), None, Some(cut.as_bytes()), &[]);
    assert_eq!(new.parses, Parses::WorseThanBefore, "{path}: a new file, half written");
}

/// All its definitions come with a new file and go with it.
fn comes_and_goes(path: &str, source: &str) {
    let path: GitPath = path.into();
    let mut all = rr_symbols::outline(&path, source.as_bytes()).expect("a known language").definitions;
    all.dedup_by(|a, b| (&a.container, &a.name, a.kind) == (&b.container, &b.name, b.kind));
    let came = compare(&path, None, Some(source.as_bytes()), &[]);
    let went = compare(&path, Some(source.as_bytes()), None, &[]);
    assert!(came.symbols.iter().all(|s| s.change == SymbolEdit::Added), "{came:?}");
    assert!(went.symbols.iter().all(|s| s.change == SymbolEdit::Removed), "{went:?}");
    assert_eq!((came.symbols.len(), went.symbols.len()), (all.len(), all.len()));
    assert!(!all.is_empty() && !came.uses.is_empty() && went.uses.is_empty());
    assert_eq!((came.parses, went.parses), (Parses::Yes, Parses::Yes));
}

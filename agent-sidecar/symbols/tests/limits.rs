//! What is not source, too much of it, or meant to break the reader: it is unknown, or it is read, and it never ends
//! the program.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rr_core::live::{GitPath, Lines, SymbolEdit};
use rr_symbols::{
    CONTENT_BYTES_MAX, CONTENT_LINES_MAX, Compared, PACKAGES_MAX, Parses, SYMBOL_CHANGES_MAX, USES_MAX, compare,
    compare_outlines, outline,
};

const PATHS: [&str; 14] = [
    "a.rs",
    "a.ts",
    "a.tsx",
    "a.js",
    "a.py",
    "a.go",
    "A.java",
    "package.json",
    "Cargo.toml",
    "pyproject.toml",
    "requirements.txt",
    "go.mod",
    "notes.md",
    "no-ending",
];

fn pair(path: &str, old: &[u8], new: &[u8]) -> Compared {
    compare(&path.into(), Some(old), Some(new), &[Lines { start: 0, count: 3 }])
}

#[test]
fn an_unknown_language_is_unknown() {
    for path in ["notes.md", "Makefile", "a.", ".rs/x", "Cargo.lock"] {
        assert_eq!(pair(path, b"a b", b"a  b"), Compared::default(), "{path}");
        assert_eq!(outline(&path.into(), b"fn f() {}"), None);
    }
}

#[test]
fn binary_content_is_unknown() {
    for path in PATHS {
        let compared = pair(path, b"fn f() {}", b"fn f() {}\0");
        assert_eq!(compared, Compared::default(), "{path}");
    }
}

#[test]
fn bytes_of_another_encoding_are_read_around() {
    let (old, new) = (b"// caf\xe9\nfn f() {}\n".as_slice(), b"// caf\xe9\nfn f(a: u8) {}\n".as_slice());
    let compared = pair("a.rs", old, new);
    assert_eq!(compared.parses, Parses::Yes);
    assert_eq!(compared.symbols.len(), 1, "{compared:?}");
    assert_eq!(compared.symbols[0].change, SymbolEdit::Signature);
}

#[test]
fn a_file_past_the_limits_is_unknown() {
    let small = b"fn f() {}\n";
    let heavy = [b"fn f() {}\n//".as_slice(), &vec![b'x'; CONTENT_BYTES_MAX]].concat();
    let long = "\n".repeat(CONTENT_LINES_MAX + 1);
    for large in [heavy.as_slice(), long.as_bytes()] {
        assert_eq!(pair("a.rs", small, large).parses, Parses::Unknown);
        assert_eq!(pair("a.rs", large, small).parses, Parses::Unknown);
    }
    assert_eq!(pair("package.json", b"{}", &heavy).parses, Parses::Unknown);
    let just = &heavy[..CONTENT_BYTES_MAX];
    assert_eq!(pair("a.rs", small, just).parses, Parses::Yes);
}

/// A hundred thousand levels of each thing that a language can nest.
#[test]
fn no_nesting_overflows_the_stack() {
    let ends = [
        (
            "a.rs",
            &[("(", ")"), ("!", "x"), ("a+", "a"), ("if x {} else ", "{}"), ("/*", "*/"), ("&", "x"), ("|| ", "1")][..],
        ),
        ("a.tsx", &[("<a>", "</a>"), ("x=>", "x"), ("`${", "}`")]),
        ("a.ts", &[("[", "]"), ("A<", ">"), ("x?y:", "z")]),
        ("a.js", &[("{a:", "}"), ("f(", ")"), ("-", "1")]),
        ("a.py", &[("[", "]"), ("not ", "x"), ("lambda:", "x"), ("if x:\n", "")]),
        ("a.go", &[("{", "}"), ("*", "x"), ("func(){", "}")]),
        ("A.java", &[("class A{", "}"), ("(", ")"), ("!", "x")]),
        ("package.json", &[("[", "]"), ("{\"a\":", "}")]),
        ("Cargo.toml", &[("a=[", "]"), ("a={b=", "}")]),
    ];
    for (path, (open, close)) in ends.iter().flat_map(|(path, ends)| ends.iter().map(move |ends| (path, ends))) {
        let levels = 100_000.min(CONTENT_BYTES_MAX / (open.len() + close.len()));
        pair(path, b"", (open.repeat(levels) + &close.repeat(levels)).as_bytes());
    }
}

/// Many times the limit, so that a busy machine passes and a reader without one does not.
#[test]
fn input_that_is_hard_to_recover_from_is_given_up_in_time() {
    let hard = [("a.rs", "impl<"), ("a.tsx", "<a b="), ("a.ts", "(a,b)=>{"), ("a.js", "case x:"), ("a.py", "f(\"")];
    for (path, text) in [("a.go", "switch x {"), ("A.java", "@a(")].iter().chain(&hard) {
        let source = text.repeat((CONTENT_BYTES_MAX - 1) / text.len());
        let started = Instant::now();
        pair(path, b"", source.as_bytes());
        assert!(started.elapsed() < Duration::from_secs(30), "{path} {text:?}: {:?}", started.elapsed());
    }
}

#[test]
fn what_is_left_out_is_counted_and_what_hurts_most_is_kept() {
    let functions = |from: usize, to: usize, rest: &str| -> String {
        (from..to).map(|n| format!("fn f{n}({rest}) {{ g{n}() }}\n")).collect()
    };
    let old = functions(0, 300, "");
    let new = functions(150, 300, "a: u8") + &functions(300, 700, "");
    let compared = pair("a.rs", old.as_bytes(), new.as_bytes());
    assert_eq!(compared.symbols.len(), SYMBOL_CHANGES_MAX);
    let count = |edit| compared.symbols.iter().filter(|s| s.change == edit).count();
    assert_eq!((count(SymbolEdit::Removed), count(SymbolEdit::Signature)), (150, 50));
    assert_eq!(compared.left_out, 150 + 150 + 400 - SYMBOL_CHANGES_MAX);

    let new = functions(0, 1_000, "");
    let compared = pair("a.rs", b"", new.as_bytes());
    assert_eq!((compared.uses.len(), compared.left_out), (USES_MAX, 800 + 600));

    let packages: String = (0..=PACKAGES_MAX).map(|n| format!("p{n}==1\n")).collect();
    let compared = pair("requirements.txt", b"", packages.as_bytes());
    assert_eq!((compared.packages.len(), compared.left_out), (PACKAGES_MAX, 1));
}

/// This repository's own sources, and what a slip of the hand makes of them.
#[test]
fn slips_in_real_sources_are_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in ["core/src/live.rs", "Cargo.toml", "agent-sidecar/symbols/src/walk.rs"] {
        let source = std::fs::read(root.join(file)).expect("a source of this repository");
        let path: GitPath = file.into();
        let whole = compare(&path, Some(&source), Some(&source), &[]);
        assert_eq!(whole, Compared { parses: Parses::Yes, ..Compared::default() }, "{file}");
        for slip in 0..12 {
            let at = source.len() * slip / 12;
            let cut = &source[..at];
            let without = [cut, &source[(at + 7).min(source.len())..]].concat();
            let with = [cut, b"}{\"'(", &source[at..]].concat();
            let swapped: Vec<u8> = [&source[at..], cut].concat();
            for other in [cut, &without, &with, &swapped] {
                let compared = pair(file, &source, other);
                assert_ne!(compared.parses, Parses::Unknown, "{file} at {at}");
            }
        }
    }
}

/// Text that looks like source more than random bytes do.
fn source() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "fn ",
        "def ",
        "class ",
        "func ",
        "function ",
        "impl ",
        "struct ",
        "type ",
        "interface ",
        "enum ",
        "const ",
        "let ",
        "var ",
        "export ",
        "import ",
        "return ",
        "a",
        "b",
        "T",
        "x.y",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "<",
        ">",
        ",",
        ";",
        ":",
        "=",
        "=>",
        "->",
        "\n",
        "\n    ",
        " ",
        "\"",
        "'",
        "`",
        "/*",
        "*/",
        "//",
        "#",
        "@",
        "1",
        "é",
        "async ",
        "public ",
        "match ",
        "if ",
        "else ",
        "+",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_content_is_the_same_as_itself(text in source(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for path in PATHS {
            for content in [text.as_bytes(), &bytes] {
                let compared = pair(path, content, content);
                prop_assert_eq!(&compared, &Compared { parses: compared.parses, ..Compared::default() });
                prop_assert_ne!(compared.parses, Parses::WorseThanBefore);
                if let Some(outline) = outline(&path.into(), content) {
                    let compared = compare_outlines(Some(&outline), Some(&outline), &[]);
                    prop_assert_eq!(compared, Compared { layout_only: true, parses: Parses::Yes, ..Compared::default() });
                }
            }
        }
    }

    #[test]
    fn what_one_way_adds_the_other_way_removes(old in source(), new in source()) {
        for path in PATHS {
            let there = pair(path, old.as_bytes(), new.as_bytes());
            let back = pair(path, new.as_bytes(), old.as_bytes());
            if (there.parses, back.parses) != (Parses::Yes, Parses::Yes) {
                continue;
            }
            prop_assert_eq!(there.layout_only, back.layout_only);
            let turned = |edit| match edit {
                SymbolEdit::Added => SymbolEdit::Removed,
                SymbolEdit::Removed => SymbolEdit::Added,
                other => other,
            };
            let of = |c: &Compared| {
                let mut all: Vec<_> = c.symbols.iter().map(|s| (s.container.clone(), s.name.clone(), s.change)).collect();
                all.sort();
                all
            };
            let mut expected: Vec<_> = of(&back).into_iter().map(|(c, n, edit)| (c, n, turned(edit))).collect();
            expected.sort();
            prop_assert_eq!(of(&there), expected);
        }
    }
}

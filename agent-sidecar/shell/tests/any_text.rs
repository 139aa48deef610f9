//! No text makes the analysis panic, overflow, hang, or claim that a known change is none.

mod common;

use common::{commands, look};
use proptest::prelude::*;
use rr_shell::Certainty;

/// Pieces that commands are made of, valid and broken.
const PIECES: &[&str] = &[
    "echo",
    "rm",
    "-rf",
    "x",
    " ",
    " ",
    "\n",
    ";",
    "&&",
    "||",
    "|",
    "&",
    "(",
    ")",
    "((",
    "))",
    "{",
    "}",
    "$(",
    "${",
    "$((",
    "`",
    "'",
    "\"",
    "\\",
    "$'",
    "$",
    "x=",
    "a[",
    "]",
    "[[",
    "]]",
    "if",
    "then",
    "else",
    "fi",
    "for f in",
    "do",
    "done",
    "while",
    "case",
    "esac",
    "in",
    "a)",
    ";;",
    "<",
    ">",
    ">>",
    "<<",
    "<<<",
    "<(",
    ">(",
    "<<EOF",
    "EOF",
    "2>&1",
    "&>",
    "*",
    "?",
    "{1..3}",
    "{a,b}",
    "~",
    "~9",
    "#",
    "!",
    "=",
    "sed -i",
    "git",
    "checkout",
    "--",
    "xargs",
    "find . -exec",
    "\\;",
    "bash -c",
    "eval",
    "f()",
    "function",
    "sudo",
    "\u{e9}",
    "\0",
    "\t",
    "99999999999",
    "é{",
    "+(",
    "@(a|b)",
    "trap",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|parts| parts.concat())
}

fn spaced_pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|parts| parts.join(" "))
}

/// A valid command with a few characters taken out, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let valid = prop::sample::select(vec![
        "for f in a b; do sed -i \"s/a/b/\" \"$f\" && git add \"$f\"; done > log 2>&1",
        "cat <<'EOF' | sh\nrm x\nEOF\necho \"$(git log --format='%h' | head -1)\"",
        "if [ -f a ]; then case $x in (a|b) rm -- \"${x%.ts}\";; *) mv {a,b}.txt dir/;; esac; fi",
        "find . -name '*.ts' -print0 | xargs -0 -I{} sh -c 'touch \"$1\"' _ {}",
        "(cd sub && a[$(x)]=1; [[ -n $y && $z =~ ^a(b|c)$ ]]) || { echo $((1 + $(id -u))); }",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<char>()), 1..6);
    (valid, edits).prop_map(|(valid, edits)| {
        let mut chars: Vec<char> = valid.chars().collect();
        for (index, kind, c) in edits {
            let at = index.index(chars.len());
            match kind {
                0 if chars.len() > 1 => {
                    chars.remove(at);
                }
                1 => chars.insert(at, chars[at]),
                _ => chars[at] = c,
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        look(&text);
    }

    #[test]
    fn arbitrary_pieces_never_panic(text in pieces()) {
        look(&text);
    }

    #[test]
    fn arbitrary_spaced_pieces_never_panic(text in spaced_pieces()) {
        look(&text);
    }

    #[test]
    fn mutated_commands_never_panic(text in mutated()) {
        look(&text);
    }

    #[test]
    fn a_removal_is_never_called_read_only(before in spaced_pieces()) {
        let analysis = look(&format!("rm target\n{before}"));
        prop_assert_ne!(analysis.certainty, Certainty::ReadOnly);
    }

    #[test]
    fn quoted_words_reach_the_program_unchanged(word in "[^'\0]{1,20}") {
        let analysis = look(&format!("printf %s '{word}'"));
        prop_assert_eq!(&analysis.certainty, &Certainty::ReadOnly);
        prop_assert_eq!(commands(&analysis), vec![format!("printf %s {word}")]);
    }

    #[test]
    fn wrapping_in_a_nested_shell_loses_no_write(name in "[a-z]{1,8}") {
        let plain = look(&format!("rm {name}"));
        for wrapped in [
            format!("bash -c 'rm {name}'"),
            format!("sudo env A=1 nice rm {name}"),
            format!("eval \"rm {name}\""),
            format!("echo {name} | xargs rm"),
            format!("sh <<EOF\nrm {name}\nEOF"),
            format!("echo \"$(rm {name})\""),
            format!("f() {{ rm \"$1\"; }}; f {name}"),
            format!("N={name}; rm \"$N\""),
        ] {
            prop_assert_eq!(&look(&wrapped).writes, &plain.writes, "{}", wrapped);
        }
    }
}

#[test]
fn nesting_is_bounded_in_every_direction() {
    let mut deep = String::from("rm x");
    for _ in 0..20 {
        deep = format!("{}echo $({deep}){}", "{ ".repeat(350), "; }".repeat(350));
    }
    for text in [
        deep,
        "{ ".repeat(30_000),
        "(".repeat(60_000),
        "$(".repeat(30_000),
        "`".repeat(60_001),
        "sudo ".repeat(12_000) + "rm x",
        "eval ".repeat(12_000) + "rm x",
        "a=(".repeat(20_000),
        "\"$(".repeat(20_000),
        "${a:-".repeat(12_000),
        format!("f() {{ f; f; }}; {}", "f; ".repeat(1000)),
        format!("{}:{}", "for i in {1..60}; do ".repeat(8), "; done".repeat(8)),
        format!("{}:{}", "while a=$b$a; do ".repeat(40), "; done".repeat(40)),
        "{1..200}".repeat(20),
        "{a,b}".repeat(20),
        format!("A={}; {}", "x".repeat(60), "A=$A$A; ".repeat(40)),
        "f() { A=$A$A$A$A; f; }; A=xxxx; f".to_owned(),
        "x".repeat(70_000),
    ] {
        look(&text);
    }
}

/// A thread with less stack than anything in the sidecar has: an overflow would end this process.
const SMALL_STACK_BYTES: usize = 128 * 1024;

#[test]
fn the_deepest_nesting_of_each_kind_finds_room() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let mut texts: Vec<String> = [
        ("{ ", "true", "; }"),
        ("( ", "true", " )"),
        ("if true; then ", "true", "; fi"),
        ("while true; do ", "true", "; done"),
        ("for i in a; do ", "true", "; done"),
        ("f() { ", "true", "; }"),
        ("coproc ", "true", ""),
        ("$(", "true", ")"),
        ("${a:-", "b", "}"),
        ("$[", "1", "]"),
        ("\"$(echo ", "x", ")\""),
    ]
    .iter()
    .flat_map(|(open, inner, close)| [195, 395].map(|depth| nested(open, inner, close, depth)))
    .collect();
    texts.push(nested("cat <( ", "true", ")", 10));
    texts.push(nested("case a in a) ", "true", ";; esac", 10));
    texts.push(format!("[[ {}x ]]", "! ".repeat(395)));
    texts.push(format!("[[ {}x ]]", "x && ".repeat(395)));
    texts.push(format!("[[ {}x ]]", "x && ".repeat(10_000)));
    let deep = |name: &str| nested("{ ", name, "; }", 190);
    texts.push(format!("f() {{ {}; }}; g() {{ {}; }}; f", deep("g"), deep("f")));
    texts.push(format!("{}rm x", "sudo env nice timeout 5 nohup ".repeat(3)));
    for text in texts {
        let small = std::thread::Builder::new().stack_size(SMALL_STACK_BYTES);
        let judged = small.spawn(move || look(&text).certainty).expect("a thread");
        judged.join().expect("no panic");
    }
}

#[test]
fn too_long_is_unparsable() {
    let long = format!("echo {}", "x".repeat(70_000));
    assert!(matches!(look(&long).certainty, Certainty::Unparsable(_)));
}

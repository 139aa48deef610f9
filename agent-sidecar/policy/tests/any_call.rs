//! No text makes the judge panic or stall, and no wrapper turns a refused command into one that passes.

mod common;

use std::time::{Duration, Instant};

use common::{judge, lines};
use proptest::prelude::*;
use rr_policy::Judgement;

/// What a command may be wrapped in; `{}` is the command, `{q}` the same quoted for a shell. The first take one simple
/// command, so they are not put around others.
const WRAPPERS: &[&str] = &[
    "sudo {}",
    "env A=1 {}",
    "nohup {} &",
    "timeout 10 {}",
    "nice -n 5 {}",
    "command {}",
    "time {}",
    "true && {}",
    "( {} )",
    "if true; then {}; fi",
    "x() { {}; }; x",
    "for i in 1 2; do {}; done",
    "echo $( {} )",
    "! {}",
    "sh -c {q}",
    "bash -lc {q}",
    "eval {q}",
    "sudo -u root bash -c {q}",
    "su -c {q}",
    "bash <<< {q}",
    "echo {q} | sh",
    "printf '%s\\n' {q} | bash",
    "flock /tmp/l -c {q}",
    "trap {q} EXIT",
    "xargs -I@@ sh -c {q} < /dev/null",
    "find src -name x -exec sh -c {q} \\;",
    "C={q}; eval \"$C\"",
    "watch {q}",
];

/// Those at the front that take a simple command.
const FOR_SIMPLE: usize = 7;
/// Everyday commands to hide one behind.
const BEFORE: &[&str] =
    &["", "cd src && ", "set -e; ", "export A=1; ", "ls | head; ", "# tidy up\n", "cat <<'E' > /tmp/a\nx\nE\n"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn wrapped(wrapper: &str, command: &str) -> String {
    wrapper.replace("{q}", &quoted(command)).replace("{}", command)
}

/// Refused commands that can stand anywhere: of one line, and not by where they run.
fn simple() -> Vec<String> {
    let all = lines(include_str!("corpus/refused.txt"));
    let fits = |command: &String| {
        let plain = !command.contains(['\n', '&', '|', ';', '<', '>', '(', '{', '`', '*', '!', '='])
            && !command.starts_with("cd ")
            && !command.starts_with("coproc ");
        plain && !command.starts_with(['\\', '"', '\'']) && !command.contains(" .")
    };
    all.into_iter().map(|line| line.command).filter(fits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_judge_panic(text in "\\PC{0,120}", glue in "[a-z $(){}|;&<>'\"`*/.=-]{0,120}") {
        let _ = judge(&text);
        let _ = judge(&glue);
        let _ = judge(&format!("psql -c {text:?}; python3 -c {glue:?}; git {glue}; cat {text}"));
        let _ = judge(&format!("kubectl {glue} | xargs rm -rf {glue}"));
    }

    #[test]
    fn a_wrapper_never_turns_a_refusal_into_a_pass(at in any::<prop::sample::Index>(), outer in FOR_SIMPLE..WRAPPERS.len(), inner in 0..WRAPPERS.len(), before in 0..BEFORE.len()) {
        // `xargs -I` in itself replaces the mark of the inner one.
        prop_assume!(outer != inner);
        let all = simple();
        let command = at.get(&all);
        // The few that pass alone are the corpus's to name.
        prop_assume!(matches!(judge(command), Judgement::Deny(_)));
        let once = wrapped(WRAPPERS[inner], command);
        prop_assert!(matches!(judge(&once), Judgement::Deny(_)), "{}", once);
        let twice = format!("{}{}", BEFORE[before].replace("cd src && ", ""), wrapped(WRAPPERS[outer], &once));
        prop_assert!(matches!(judge(&twice), Judgement::Deny(_)), "{}", twice);
    }
}

#[test]
fn huge_and_deep_commands_are_answered_fast() {
    for (what, command) in [
        ("a MiB of words", "x ".repeat(512 * 1024)),
        ("a MiB of text", format!("echo '{}'", "a".repeat(1 << 20))),
        ("substitutions", format!("{}rm -rf /{}", "$(".repeat(5_000), ")".repeat(5_000))),
        (
            "shells",
            (0..60).fold("rm -rf /".to_owned(), |inner, _| {
                if inner.len() < 60_000 { format!("sh -c {}", quoted(&inner)) } else { inner }
            }),
        ),
        ("a doubling", "A=aaaaaaaa; ".to_owned() + &"A=$A$A; ".repeat(60) + "echo $A"),
        ("functions", "f() { f | f & }; f".to_owned()),
        ("loops", format!("{}ls{}", "for i in 1 2 3 4; do ".repeat(30), "; done".repeat(30))),
        ("statements", format!("psql -c '{}'", "DROP ".repeat(10_000))),
        ("stars", format!("rm {}", "*a".repeat(20_000))),
        ("paths", format!("cat {}", "../".repeat(15_000))),
        ("code", format!("python3 -c \"{}\"", "os.system(".repeat(5_000))),
        ("encodings", format!("echo {} | base64 -d | sh", "QUFB".repeat(12_000))),
        ("pipes", "a|".repeat(3_000) + "b"),
    ] {
        let start = Instant::now();
        let _ = judge(&command);
        let took = start.elapsed();
        // Unoptimised and on a busy machine; optimised it is some milliseconds.
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
    }
}

#[test]
fn a_command_too_long_to_read_is_refused_with_what_to_do() {
    let Judgement::Deny(hit) = judge(&format!("echo '{}'", "a".repeat(1 << 20))) else { panic!("refused") };
    assert!(hit.rule == "default/unreadable" && hit.what.contains("bytes long") && hit.instead.is_some(), "{hit:?}");
}

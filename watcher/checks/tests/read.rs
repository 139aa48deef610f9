//! What tools print that not every machine has, each in the format that it really printed, read to findings. The tools
//! that a machine with this repository has anyway are run for real in `tools.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use rr_checks::read::{files_named, findings};
use rr_checks::{Findings, Nature};

const ROOT: &str = "/slots/1";

fn read(output: &str) -> Findings {
    findings(output, Path::new(ROOT), "")
}

/// `code | file | message` of each finding.
fn rows(found: &Findings) -> Vec<String> {
    let row = |f: &rr_checks::Finding| format!("{} | {} | {}", f.code, f.file.as_deref().unwrap_or("-"), f.message);
    found.0.iter().map(row).collect()
}

#[track_caller]
fn reads(output: &str, nature: Nature, expected: &[&str]) {
    let found = read(output);
    let said: BTreeSet<String> = rows(&found).into_iter().collect();
    assert_eq!(said, expected.iter().map(|e| (*e).to_owned()).collect(), "{output}");
    assert_eq!(found.nature(), nature, "{output}");
}

#[test]
fn tsc_in_both_its_formats() {
    let row = "TS2322 | src/a.ts | Type 'string' is not assignable to type 'number'.";
    let plain = "src/a.ts(1,14): error TS2322: Type 'string' is not assignable to type 'number'.\n";
    reads(plain, Nature::Compile, &[row]);
    let pretty = "\u{1b}[96msrc/a.ts\u{1b}[0m:\u{1b}[93m8\u{1b}[0m:\u{1b}[93m14\u{1b}[0m - \u{1b}[91merror\u{1b}[0m\u{1b}[90m TS2322: \
                  \u{1b}[0mType 'string' is not assignable to type 'number'.\n\n\u{1b}[7m1\u{1b}[0m export const a: number = \"x\";\n";
    reads(pretty, Nature::Compile, &[row]);
    let global = "error TS18003: No inputs were found in config file '/slots/1/tsconfig.json'.\n";
    reads(global, Nature::Compile, &["TS18003 | - | No inputs were found in config file 'tsconfig.json'."]);
}

#[test]
fn eslint_errors_and_not_its_warnings() {
    let output = "\n/slots/1/c.js\n  1:7  warning  'x' is assigned a value but never used  no-unused-vars\n  \
                  2:1  error    'foo' is not defined                    no-undef\n\n/slots/1/d.js\n  1:7  error  Parsing error: \
                  Unexpected token =\n\n\u{2716} 3 problems (2 errors, 1 warning)\n";
    let expected = ["no-undef | c.js | 'foo' is not defined", "error | d.js | Parsing error: Unexpected token ="];
    reads(output, Nature::Compile, &expected);
}

#[test]
fn mypy_with_columns_and_without() {
    let row = "arg-type | a.py | Argument 1 to \"f\" has incompatible type \"str\"; expected \"int\"";
    for at in ["a.py:4", "a.py:90:3", "./a.py:1"] {
        let output = format!(
            "{at}: error: Argument 1 to \"f\" has incompatible type \"str\"; expected \"int\"  [arg-type]\nFound 1 error\n"
        );
        reads(&output, Nature::Compile, &[row]);
    }
    reads(
        "/slots/1/a.py:3:5 - error: \"x\" is not defined (reportUndefinedVariable)\n",
        Nature::Compile,
        &["reportUndefinedVariable | a.py | \"x\" is not defined"],
    );
}

#[test]
fn ruff_in_both_its_formats() {
    let rows = ["F401 | a.py | `os` imported but unused", "invalid-syntax | b.py | unexpected EOF while parsing"];
    let long = "F401 [*] `os` imported but unused\n --> a.py:1:8\n  |\n1 | import os\n  |        ^^\n  |\n\n\
                invalid-syntax: unexpected EOF while parsing\n --> b.py:1:9\n  |\n1 | def t(:\n  |        ^\n\nFound 2 errors.\n";
    reads(long, Nature::Compile, &rows);
    let concise =
        "a.py:7:8: F401 [*] `os` imported but unused\nb.py:2:1: invalid-syntax: unexpected EOF while parsing\n";
    reads(concise, Nature::Compile, &rows);
}

#[test]
fn pytest_names_its_tests_and_what_it_could_not_load() {
    let output = "=== short test summary info ===\nFAILED tests/test_c.py::test_x - assert 1 == 2\n\
                  FAILED tests/test_c.py::T::test_y[a b] - ValueError: v\nERROR test_d.py\n3 failed in 0.53s\n";
    reads(
        output,
        Nature::Test,
        &[
            "test | tests/test_c.py | tests/test_c.py::test_x",
            "test | tests/test_c.py | tests/test_c.py::T::test_y[a b]",
            "test | test_d.py | test_d.py",
        ],
    );
}

#[test]
fn go_vet_and_go_test() {
    let vet = "# example.com/x\nvet: ./a.go:3:9: undefined: y\n";
    reads(vet, Nature::Compile, &["go | a.go | undefined: y"]);
    let test = "--- FAIL: TestAdds (0.00s)\n    a_test.go:9: got 1\nFAIL\nFAIL\texample.com/x\t0.002s\n";
    reads(test, Nature::Test, &["test | - | TestAdds", "test | - | example.com/x"]);
}

#[test]
fn other_compilers_speak_alike() {
    reads("src/A.java:12: error: cannot find symbol\n", Nature::Compile, &["error | src/A.java | cannot find symbol"]);
    reads("./b.c:1:2: fatal error: x.h: No such file\n", Nature::Compile, &["error | b.c | x.h: No such file"]);
}

#[test]
fn tests_of_several_crates_are_told_apart_and_a_crash_is_one() {
    let output = "     Running unittests src/lib.rs (target/debug/deps/one-0123456789abcdef)\n\ntest a::b ... FAILED\n\
                  \n     Running tests/t.rs (target/debug/deps/t-0123456789abcdef)\n\ntest a::b ... FAILED\n\
                  \n     Running unittests src/lib.rs (/slots/1/target/debug/deps/two-0123456789abcdef)\n\nrunning 1 test\n\
                  error: test failed, to rerun pass `-p two --lib`\n\nCaused by:\n  process didn't exit successfully: `two` (signal: 6, SIGABRT: process abort signal)\n\
                  \x20  Doc-tests one\n\ntest src/lib.rs - f (line 3) ... FAILED\n";
    reads(
        output,
        Nature::Test,
        &[
            "test | - | one a::b",
            "test | - | t a::b",
            "test | - | two ended by signal: 6",
            "test | - | one src/lib.rs - f",
        ],
    );
}

#[test]
fn one_failed_test_among_compile_errors_is_enough_for_doubt() {
    let both = "src/a.ts(1,1): error TS1: x\nnot ok 1 - adds\n";
    let found = read(both);
    assert_eq!((found.0.len(), found.nature()), (2, Nature::Test));
    assert_eq!(found.minus(&read("not ok 3 - adds\n")).nature(), Nature::Compile);
}

#[test]
fn what_two_break_together_is_what_neither_breaks_alone() {
    let (a, b) = ("a.ts(1,1): error TS1: one\n", "b.ts(2,2): error TS2: two\n");
    let both = "a.ts(9,1): error TS1: one\nb.ts(9,2): error TS2: two\nc.ts(3,3): error TS3: three\n";
    let together = read(both).minus(&read(a)).minus(&read(b));
    assert_eq!(rows(&together), ["TS3 | c.ts | three"]);
    assert!(read(a).minus(&read(a)).is_empty());
}

#[test]
fn a_million_errors_are_bounded_and_any_bytes_are_read() {
    let many: String = (0..10_000).map(|n| format!("src/f{n}.ts(1,1): error TS1: x{n}\n")).collect();
    assert_eq!(read(&many).0.len(), 2_000);
    for odd in [
        "",
        "\n\n",
        "error",
        "error: ",
        "--- FAIL: ",
        " --> :1:1",
        "\u{1b}[",
        "test  ... FAILED",
        "\u{fffd}\0\r\r",
        ":1: error: x",
    ] {
        assert!(!read(odd).0.is_empty(), "{odd:?}");
    }
}

#[test]
fn files_are_found_in_text_that_nobody_knows() {
    let text = "oops in /slots/1/web/a.vue, see ./b/c.txt and https://example.com/x.html or /etc/hosts.conf";
    let files = files_named(text, Path::new(ROOT), "");
    assert!(
        files.contains("web/a.vue") && files.contains("b/c.txt") && !files.iter().any(|f| f.contains("hosts")),
        "{files:?}"
    );
}

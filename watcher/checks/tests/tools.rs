//! Real tools in folders made for the test: cargo, node and python, green and red, and what their own words say about
//! what broke. The same breakage is tried at other lines and in another folder. No network.

use std::fs;
use std::path::Path;

use rr_checks::{Check, Finding, Findings, Limits, Nature, Origin, Outcome, Runner, ToolVersions, When};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn check(run: &str, needs: &[&str]) -> Check {
    let needs = needs.iter().map(|n| (*n).to_owned()).collect();
    let (folder, path) = (String::new(), Vec::new());
    Check { name: "one".into(), run: run.into(), when: When::Commit, from: Origin::Configured, needs, folder, path }
}

async fn run(run: &str, files: &[(&str, &str)]) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(&folder, run, files).await
}

async fn run_in(folder: &TempDir, run: &str, files: &[(&str, &str)]) -> Outcome {
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("folder");
        fs::write(path, text).expect("file");
    }
    // Inside the folder: a target of its own, whatever the test itself runs in.
    let runner =
        Runner::new().with_env("CARGO_TARGET_DIR", folder.path().join("target")).with_env("CARGO_NET_OFFLINE", "true");
    let limits = Limits { free_bytes_floor: 1, ..Limits::default() };
    runner.run(&check(run, &[]), folder.path(), &limits, &CancellationToken::new()).await
}

fn red(outcome: Outcome) -> Findings {
    match outcome {
        Outcome::Red { findings, nature, .. } => {
            assert_eq!(nature, findings.nature());
            findings
        }
        other => panic!("{other:#?}"),
    }
}

fn finding(file: &str, code: &str, message: &str, nature: Nature) -> Finding {
    let file = (!file.is_empty()).then(|| file.to_owned());
    Finding { file, code: code.into(), message: message.into(), nature }
}

fn set<const N: usize>(findings: [Finding; N]) -> Findings {
    Findings(findings.into())
}

const MANIFEST: (&str, &str) =
    ("Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
const CARGO_CHECK: &str = "cargo check --workspace --all-targets";
const SOUND: &str = "pub fn one() -> u32 {\n    1\n}\n";
const BROKEN: &str = "pub fn one() -> u32 {\n    \"1\"\n}\n";

#[tokio::test]
async fn cargo_check_is_green_on_a_sound_crate_and_names_what_is_broken_in_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = run_in(&folder, CARGO_CHECK, &[MANIFEST, ("src/lib.rs", SOUND)]).await;
    assert!(matches!(outcome, Outcome::Green { .. }), "{outcome:#?}");
    let types = finding("src/lib.rs", "E0308", "mismatched types: expected `u32`, found `&str`", Nature::Compile);
    let first = red(run_in(&folder, CARGO_CHECK, &[("src/lib.rs", BROKEN)]).await);
    assert_eq!(first, set([types.clone()]));
    assert_eq!(first.files().into_iter().collect::<Vec<_>>(), ["src/lib.rs"]);
    let shifted = format!("// one\n// two\n\n{BROKEN}");
    assert_eq!(red(run_in(&folder, CARGO_CHECK, &[("src/lib.rs", &shifted)]).await), first, "at other lines");
    assert_eq!(red(run(CARGO_CHECK, &[MANIFEST, ("src/lib.rs", BROKEN)]).await), first, "in another folder");
    let short = format!("{CARGO_CHECK} --message-format=short");
    assert_eq!(red(run_in(&folder, &short, &[]).await), first, "in the other format");
    let more = format!("{BROKEN}pub fn two() {{ three() }}\n");
    let both = red(run_in(&folder, CARGO_CHECK, &[("src/lib.rs", &more)]).await);
    let new = "cannot find function `three` in this scope: not found in this scope";
    assert_eq!(both.minus(&first), set([finding("src/lib.rs", "E0425", new, Nature::Compile)]));
}

#[tokio::test]
async fn what_cargo_says_of_a_broken_manifest_or_a_syntax_error_is_static() {
    let manifest = red(run(CARGO_CHECK, &[("Cargo.toml", "[package\nname=1\n"), ("src/lib.rs", "")]).await);
    assert_eq!(
        (manifest.nature(), manifest.files().into_iter().next()),
        (Nature::Compile, Some("Cargo.toml")),
        "{manifest:?}"
    );
    let syntax = red(run(CARGO_CHECK, &[MANIFEST, ("src/lib.rs", "fn one() {\n")]).await);
    assert_eq!(
        (syntax.nature(), syntax.files().into_iter().next()),
        (Nature::Compile, Some("src/lib.rs")),
        "{syntax:?}"
    );
}

const TESTED: &str = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn fails() {\n        assert_eq!(1, 2);\n    }\n    #[test]\n    fn passes() {}\n}\n";

#[tokio::test]
async fn failed_tests_are_named_by_cargo_and_by_nextest() {
    let files = [MANIFEST, ("src/lib.rs", TESTED)];
    let test = |name: &str| set([finding("src/lib.rs", "test", name, Nature::Test)]);
    assert_eq!(red(run("cargo test --workspace --no-fail-fast", &files).await), test("tiny tests::fails"));
    let nextest = run("cargo nextest run --workspace --no-fail-fast", &files).await;
    // nextest is one more program: without it there is nothing to be compared.
    if !matches!(&nextest, Outcome::Infrastructure { why: rr_checks::Why::MissingTool(_), .. }) {
        assert_eq!(red(nextest), test("tiny tests::fails"));
    }
}

#[tokio::test]
async fn node_check_names_the_file_whose_syntax_is_broken() {
    let node = "find . -name '*.js' -print0 | xargs -0 -n 1 node --check";
    let sound = run(node, &[("a.js", "const a = 1;\n"), ("lib/b.js", "function b() { return a; }\n")]).await;
    assert!(matches!(sound, Outcome::Green { .. }), "{sound:#?}");
    let broken = "function b() {\n  return ) ;\n}\n";
    let first = red(run(node, &[("a.js", "const a = 1;\n"), ("lib/b.js", broken)]).await);
    assert_eq!(first, set([finding("lib/b.js", "SyntaxError", "Unexpected token ')'", Nature::Compile)]));
    let shifted = format!("// one\n\n{broken}");
    assert_eq!(red(run(node, &[("lib/b.js", &shifted)]).await), first);
}

#[tokio::test]
async fn what_node_throws_at_run_time_is_not_static() {
    let thrown = red(run("node a.js", &[("a.js", "\nrequire('./b').c();\n"), ("b.js", "exports.b = 1;\n")]).await);
    assert_eq!(thrown, set([finding("a.js", "TypeError", "require(...).c is not a function", Nature::Test)]));
    let data = red(run("node a.js", &[("a.js", "JSON.parse('{');\n")]).await);
    assert_eq!(data.nature(), Nature::Test, "{data:?}");
    let missing = red(run("node a.js", &[("a.js", "require('./none');\n")]).await);
    assert_eq!(missing.files().into_iter().collect::<Vec<_>>(), ["a.js"], "{missing:?}");
    let test =
        "const t = require('node:test');\nt('adds', () => { throw new Error('no'); });\nt('passes', () => {});\n";
    let failed = red(run("node --test", &[("a.test.js", test)]).await);
    assert!(failed.0.contains(&finding("", "test", "adds", Nature::Test)), "{failed:?}");
    assert!(!failed.0.iter().any(|f| f.message == "passes"), "{failed:?}");
}

#[tokio::test]
async fn python_names_the_file_whose_syntax_is_broken() {
    let python = "python3 -m compileall -q .";
    let sound = run(python, &[("a.py", "a = 1\n"), ("lib/b.py", "b = 2\n")]).await;
    assert!(matches!(sound, Outcome::Green { .. }), "{sound:#?}");
    let broken = "def b(:\n    pass\n";
    let first = red(run(python, &[("a.py", "a = 1\n"), ("lib/b.py", broken)]).await);
    assert_eq!(
        (first.nature(), first.files().into_iter().collect::<Vec<_>>()),
        (Nature::Compile, vec!["lib/b.py"]),
        "{first:?}"
    );
    let shifted = format!("# one\n\n{broken}");
    assert_eq!(red(run(python, &[("lib/b.py", &shifted)]).await), first);
    let indented = red(run(python, &[("c.py", "if 1:\nx = 2\n")]).await);
    assert!(indented.0.iter().all(|f| f.code == "IndentationError"), "{indented:?}");
}

#[tokio::test]
async fn failed_python_tests_are_named() {
    let test =
        "import unittest\nclass T(unittest.TestCase):\n    def test_adds(self):\n        self.assertEqual(1, 2)\n";
    let failed = red(run("python3 -m unittest -q test_a", &[("test_a.py", test)]).await);
    assert!(failed.0.iter().any(|f| f.code == "test" && f.message.contains("test_adds")), "{failed:?}");
    assert_eq!(failed.nature(), Nature::Test);
}

#[tokio::test]
async fn an_output_that_nobody_knows_is_one_doubtful_finding_and_the_same_in_every_run() {
    let say = |n: u32| format!("echo 'begun {n}'; echo 'took {n} ms, 0x{n}'; echo 'widget is wrong'; exit 4");
    let first = red(run(&say(17), &[]).await);
    assert_eq!((first.0.len(), first.nature(), first.are_known()), (1, Nature::Test, false));
    assert_eq!(red(run(&say(1_234), &[]).await), first);
    assert_ne!(red(run("echo 'gadget is wrong'; exit 4", &[]).await), first);
}

#[tokio::test]
async fn versions_are_asked_once_and_name_each_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("asked");
    let tool = folder.path().join("own-tool");
    fs::write(&tool, format!("#!/bin/sh\necho x >>{}\necho own-tool 7\n", log.display())).expect("tool");
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let mut check = check("own-tool", &["cargo", "own-tool", "no-such-tool"]);
    check.path = vec![".".into()];
    let (versions, runner) = (ToolVersions::new(), Runner::new());
    let first = versions.of(&check, &runner, folder.path()).await;
    assert!(first.starts_with("cargo 1.") && first.ends_with("; own-tool 7; no-such-tool ?"), "{first}");
    assert_eq!(versions.of(&check, &runner, folder.path()).await, first);
    assert_eq!(fs::read_to_string(log).expect("asked"), "x\n");
}

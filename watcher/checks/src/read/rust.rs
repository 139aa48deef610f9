//! rustc and cargo, in the long format and in the short one (both give the same findings), and the tests that `cargo
//! test` and nextest name as failed. Warnings are no findings.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::normal::regex;
use super::{Collector, Nature};

/// Between an error's first line and its place there may be notes.
const PLACE_WITHIN: usize = 6;
/// Between an error's place and the text under its marks.
const LABEL_WITHIN: usize = 12;

static HEAD: LazyLock<Regex> = LazyLock::new(|| regex(r"^error(?:\[(E[0-9]{4})\])?: (.+)$"));
static SHORT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^([^ ].*?\.rs):[0-9]+:[0-9]+: error(?:\[(E[0-9]{4})\])?: (.+)$"));
static PLACE: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *--> (.+?):[0-9]+:[0-9]+$"));
static LABEL: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *\|.*\^ ([^^]+)$"));
static TEST: LazyLock<Regex> = LazyLock::new(|| regex(r"^test (.+?)(?: - should panic)? \.\.\. FAILED"));
static NEXTEST: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^ +(FAIL|TIMEOUT|ABORT|LEAK-FAIL|SIG[A-Z0-9]+) \[ *>?[0-9.]+s\] (?:\( *[0-9]+/[0-9]+\) )?([^ ]+) ([^ ].*)$")
});
static BINARY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ +(?:Running .*/([A-Za-z0-9_-]+)-[0-9a-f]{16}\)|Doc-tests ([^ ]+))$"));
static PANIC: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ *thread '([^']+)' (?:\([0-9]+\) )?panicked at (.+?):[0-9]+:[0-9]+:?$"));
static CRASH: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ *process didn't exit successfully: .*\(((?:signal|exit status): [0-9]+)"));

/// Signals that a test does not send itself.
const OF_OTHERS: [&str; 2] = ["signal: 9", "signal: 15"];
/// Lines that only count or repeat what others say.
const ECHOES: [&str; 7] = [
    "could not compile",
    "aborting due to",
    "test failed, to rerun",
    "doctest failed, to rerun",
    "test run failed",
    "build failed",
    "process didn't exit successfully",
];
/// Cargo's own, about manifests and what they name.
const MANIFEST: [&str; 7] = [
    "failed to parse",
    "failed to load",
    "no matching package",
    "failed to select a version",
    "linking with",
    "package ID",
    "the lock file",
];

pub(super) fn read(lines: &[&str], found: &mut Collector<'_>) {
    for (at, line) in lines.iter().enumerate() {
        if let Some(head) = HEAD.captures(line) {
            long(head.get(1).map_or("", |m| m.as_str()), &head[2], &lines[at + 1..], found);
        } else if let Some(short) = SHORT.captures(line) {
            let code = short.get(2).map_or("error", |m| m.as_str());
            found.add(Nature::Compile, Some(&short[1]), code, &short[3]);
        }
    }
    tests(lines, found);
}

fn long(code: &str, message: &str, after: &[&str], found: &mut Collector<'_>) {
    if ECHOES.iter().any(|e| message.starts_with(e)) || message.ends_with(" failed:") {
        return;
    }
    let ends = |l: &&&str| !HEAD.is_match(l);
    let near: Vec<&str> = after.iter().take(PLACE_WITHIN).take_while(ends).copied().collect();
    let place = near.iter().enumerate().find_map(|(at, l)| Some((at, PLACE.captures(l)?.get(1)?.as_str())));
    let Some((at, file)) = place else {
        let is_manifest = MANIFEST.iter().any(|m| message.starts_with(m));
        let nature = if is_manifest || !code.is_empty() { Nature::Compile } else { Nature::Test };
        return found.add(nature, None, if code.is_empty() { "error" } else { code }, message);
    };
    let below = after.iter().skip(at + 1).take(LABEL_WITHIN).take_while(|l| !l.is_empty());
    let label = below.filter_map(|l| LABEL.captures(l)?.get(1)).map(|m| m.as_str()).next();
    let message = label.map_or_else(|| message.to_owned(), |label| format!("{message}: {label}"));
    found.add(Nature::Compile, Some(file), if code.is_empty() { "error" } else { code }, &message);
}

fn tests(lines: &[&str], found: &mut Collector<'_>) {
    let panics: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|l| PANIC.captures(l))
        .map(|c| c.extract::<2>().1)
        .map(|[test, file]| (test, file))
        .collect();
    let mut binary = "";
    let mut has_named = false;
    for line in lines {
        if let Some(running) = BINARY.captures(line) {
            binary = running.get(1).or_else(|| running.get(2)).map_or("", |m| m.as_str());
            has_named = false;
        } else if let Some(test) = TEST.captures(line) {
            let name = test.get(1).map_or("", |m| m.as_str());
            found.add(Nature::Test, panics.get(name).copied(), "test", &format!("{binary} {name}"));
            has_named = true;
        } else if let Some(test) = NEXTEST.captures(line).filter(|t| !["SIGKILL", "SIGTERM"].contains(&&t[1])) {
            found.add(Nature::Test, panics.get(&test[3]).copied(), "test", &format!("{} {}", &test[2], &test[3]));
            has_named = true;
        } else if let Some(crash) = CRASH.captures(line)
            && !has_named
            && !binary.is_empty()
            && !OF_OTHERS.contains(&&crash[1])
        {
            found.add(Nature::Test, None, "test", &format!("{binary} ended by {}", &crash[1]));
        }
    }
}

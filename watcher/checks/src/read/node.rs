//! JavaScript and TypeScript: tsc, node's own errors, `node --test`, eslint, jest.

use std::sync::LazyLock;

use regex::Regex;

use super::normal::regex;
use super::{Collector, Nature};

/// From the place that node prints to the error's name: the source line, its marks, an empty one, and room.
const ERROR_WITHIN: usize = 10;
/// From the error's name to the first frame in a file of the tree.
const FRAMES: usize = 14;

static TSC: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:([^ ].*?)(?:\([0-9]+,[0-9]+\):|:[0-9]+:[0-9]+ -) )?error (TS[0-9]+): (.+)$"));
static PLACE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^((?:file://)?[^ :][^:]*\.[cm]?[jt]sx?|node:[a-z_/]+):[0-9]+$"));
static ERROR: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:Uncaught )?((?:[A-Z][A-Za-z]*)?Error)(?: \[[A-Z_]+\])?: (.+)$"));
static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?: +at .*?\(?|- |.* imported from )((?:file://)?/[^:()]+\.[cm]?[jt]sx?)(?::[0-9]+:[0-9]+\)?)?$")
});
static TAP: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *not ok [0-9]+ - (.+?)(?: # .*)?$"));
static SPEC: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *\x{2716} (.+?) \([0-9.]+ms\)$"));
static JEST: LazyLock<Regex> = LazyLock::new(|| regex(r"^  \x{25cf} (.+ \x{203a} .+)$"));
static LINTED: LazyLock<Regex> = LazyLock::new(|| regex(r"^([^ ].*\.(?:[cm]?[jt]sx?|vue|svelte))$"));
static LINT: LazyLock<Regex> = LazyLock::new(|| regex(r"^ +[0-9]+:[0-9]+ +error +(.+?)(?:  +([^ ]+))?$"));

pub(super) fn read(lines: &[&str], found: &mut Collector<'_>) {
    let mut linted = None;
    for (at, line) in lines.iter().enumerate() {
        if let Some(tsc) = TSC.captures(line) {
            found.add(Nature::Compile, tsc.get(1).map(|m| m.as_str()), &tsc[2], &tsc[3]);
        } else if let Some(place) = PLACE.captures(line) {
            thrown(&place[1], &lines[at + 1..], found);
        } else if let Some(test) = TAP.captures(line).or_else(|| SPEC.captures(line)).or_else(|| JEST.captures(line)) {
            found.add(Nature::Test, None, "test", &test[1]);
        } else if let Some(file) = LINTED.captures(line) {
            linted = file.get(1).map(|m| m.as_str());
        } else if let (Some(file), Some(lint)) = (linted, LINT.captures(line)) {
            found.add(Nature::Compile, Some(file), lint.get(2).map_or("error", |m| m.as_str()), &lint[1]);
        } else if line.is_empty() {
            linted = None;
        }
    }
}

/// An error that ended node: its place, the source, then its name and its frames.
fn thrown(place: &str, after: &[&str], found: &mut Collector<'_>) {
    let near = after.iter().take(ERROR_WITHIN).enumerate();
    let Some((at, error)) = near.filter_map(|(at, l)| Some((at, ERROR.captures(l)?))).next() else { return };
    let stack = &after[at..after.len().min(at + FRAMES)];
    // Text that was parsed while running is data, not a file of the program.
    let was_running = stack.iter().any(|l| l.contains("at JSON.parse") || l.contains("at new Function"));
    let is_syntax = &error[1] == "SyntaxError" && !was_running;
    let first_own = || {
        let frames = stack.iter().filter_map(|l| FRAME.captures(l)?.get(1)).map(|m| m.as_str());
        frames.filter(|f| found.places.file(f).is_some()).map(str::to_owned).next()
    };
    let file = if place.starts_with("node:") { first_own() } else { Some(place.to_owned()) };
    let nature = if is_syntax { Nature::Compile } else { Nature::Test };
    found.add(nature, file.as_deref(), &error[1], &error[2]);
}

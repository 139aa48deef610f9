//! Go, and the way in which most other compilers speak (`file:line: error: text`).

use std::sync::LazyLock;

use regex::Regex;

use super::normal::regex;
use super::{Collector, Nature};

static GO: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:vet: )?([^ ].*?\.go):[0-9]+(?::[0-9]+)?: (.+)$"));
static GO_TEST: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *--- FAIL: ([^ ]+) \("));
static GO_PACKAGE: LazyLock<Regex> = LazyLock::new(|| regex(r"^FAIL\t([^ \t]+)\t[0-9.]+s$"));
static COMPILER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^([^ ].*?\.([A-Za-z+]+)):[0-9]+(?::[0-9]+)?: (?:fatal )?error: (.+)$"));
/// Read elsewhere, with more care.
const READ_ELSEWHERE: [&str; 4] = ["rs", "py", "pyi", "go"];

pub(super) fn read(lines: &[&str], found: &mut Collector<'_>) {
    for line in lines {
        if let Some(c) = GO.captures(line) {
            found.add(Nature::Compile, Some(&c[1]), "go", &c[2]);
        } else if let Some(c) = GO_TEST.captures(line).or_else(|| GO_PACKAGE.captures(line)) {
            found.add(Nature::Test, None, "test", &c[1]);
        } else if let Some(c) = COMPILER.captures(line).filter(|c| !READ_ELSEWHERE.contains(&&c[2])) {
            found.add(Nature::Compile, Some(&c[1]), "error", &c[3]);
        }
    }
}

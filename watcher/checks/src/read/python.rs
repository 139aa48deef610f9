//! Python: compileall and tracebacks, mypy, pyright, ruff, pytest, unittest.

use std::sync::LazyLock;

use regex::Regex;

use super::normal::regex;
use super::{Collector, Nature};

static FILE: LazyLock<Regex> = LazyLock::new(|| regex(r#"^ *File "(.+?)", line [0-9]+"#));
static SYNTAX: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *(SyntaxError|IndentationError|TabError): (.+)$"));
static RAISED: LazyLock<Regex> = LazyLock::new(|| regex(r"^([A-Za-z_][A-Za-z0-9_.]*(?:Error|Exception))(?:: (.*))?$"));
static SORRY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^Sorry: (SyntaxError|IndentationError|TabError): (.+) \((.+?), line [0-9]+\)$"));
static MYPY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^([^ ].*?\.pyi?):[0-9]+(?::[0-9]+)?: error: (.+?)(?:  \[([a-z-]+)\])?$"));
static PYRIGHT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ *([^ ].*?\.pyi?):[0-9]+:[0-9]+ - error: (.+?)(?: \((report[A-Za-z]+)\))?$"));
static RUFF: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^([^ ].*?\.(?:pyi?|ipynb)):[0-9]+:[0-9]+: ([A-Z]+[0-9]{3,4}|invalid-syntax|SyntaxError):? (?:\[\*\] )?(.+)$",
    )
});
static RUFF_LONG: LazyLock<Regex> = LazyLock::new(|| regex(r"^([A-Z]+[0-9]{3,4}|invalid-syntax):? (?:\[\*\] )?(.+)$"));
static ARROW: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *--> (.+?):[0-9]+:[0-9]+$"));
static PYTEST: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:FAILED|ERROR) ([^ ]+\.py(?:::.+?)?)(?: - .*)?$"));
static UNITTEST: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:FAIL|ERROR): ([^ ]+) \((.+)\)$"));

pub(super) fn read(lines: &[&str], found: &mut Collector<'_>) {
    let mut file: Option<&str> = None;
    for (at, line) in lines.iter().enumerate() {
        if let Some(named) = FILE.captures(line).and_then(|c| c.get(1)) {
            // The innermost frame within the tree, except that a syntax error's own file is named last.
            let is_ours = found.places.file(named.as_str()).is_some();
            file = if is_ours { Some(named.as_str()) } else { file };
        } else if static_check(line, lines.get(at + 1).copied(), found) {
        } else if let (Some(own), Some(error)) = (file, SYNTAX.captures(line)) {
            found.add(Nature::Compile, Some(own), &error[1], &error[2]);
            file = None;
        } else if let (Some(own), Some(error)) = (file, RAISED.captures(line)) {
            found.add(Nature::Test, Some(own), &error[1], error.get(2).map_or("", |m| m.as_str()));
            file = None;
        } else if let Some(test) = PYTEST.captures(line) {
            let path = test[1].split("::").next().map(str::to_owned);
            found.add(Nature::Test, path.as_deref(), "test", &test[1]);
        } else if let Some(test) = UNITTEST.captures(line) {
            found.add(Nature::Test, None, "test", &format!("{} ({})", &test[1], &test[2]));
        }
    }
}

/// One line of a checker; `true` if it was one.
fn static_check(line: &str, next: Option<&str>, found: &mut Collector<'_>) -> bool {
    if let Some(c) = SORRY.captures(line) {
        found.add(Nature::Compile, Some(&c[3]), &c[1], &c[2]);
    } else if let Some(c) = MYPY.captures(line).or_else(|| PYRIGHT.captures(line)) {
        found.add(Nature::Compile, Some(&c[1]), c.get(3).map_or("error", |m| m.as_str()), &c[2]);
    } else if let Some(c) = RUFF.captures(line) {
        found.add(Nature::Compile, Some(&c[1]), &c[2], &c[3]);
    } else if let (Some(c), Some(place)) = (RUFF_LONG.captures(line), next.and_then(|n| ARROW.captures(n))) {
        found.add(Nature::Compile, Some(&place[1]), &c[1], &c[2]);
    } else {
        return false;
    }
    true
}

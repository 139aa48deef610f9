//! `rrctl policy test`: a team's own list of commands with what it expects of each.

use std::fmt::Write as _;
use std::path::PathBuf;

use rr_policy::Judgement;
use serde_json::json;

use super::{Place, hits, word};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::table::plain;

/// Lines of one list.
const LINES_MAX: usize = 10_000;
/// Bytes of one list.
const LIST_BYTES_MAX: u64 = 4 << 20;
const EXPECTED: [&str; 3] = ["refuse", "ask", "pass"];

/// Hold the policy to a list: lines of `refuse: command`, `ask: command` or `pass: command`
///
/// Empty lines and lines that begin with `#` are left out; `\n` in a command is a line break. Ends with 6 and the lines that
/// differ, if any do. With `shadow: true` it tests what would be refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The list
    list: PathBuf,
    /// By this file instead of railroad.yaml of this repository
    #[arg(long)]
    file: Option<PathBuf>,
}

struct Expected {
    line: usize,
    word: &'static str,
    command: String,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let place = Place::find()?;
    let expected = parse(&read_list(&args.list)?)?;
    let config = super::read(&place.file(args.file.as_deref()), args.file.is_some())?;
    let mut source = config.policy();
    source.effect = rr_core::policy::Effect::Enforced;
    let policy = rr_policy::Policy::compile(&source).policy;
    let mut wrong = Vec::new();
    for one in &expected {
        let judgement = place.judge(&policy, &one.command, &place.analyse(&one.command));
        if word(&judgement) != one.word {
            wrong.push((one, judgement));
        }
    }
    let rows: Vec<_> = wrong.iter().map(|(one, judgement)| {
        json!({ "line": one.line, "command": one.command, "expected": one.word, "found": word(judgement), "rule": rule(judgement) })
    }).collect();
    let value = json!({ "list": args.list, "lines": expected.len(), "differ": rows });
    hand.answer(&value, || {
        let mut text = String::new();
        for (one, judgement) in &wrong {
            let by = rule(judgement).map_or_else(String::new, |rule| format!(" by {rule}"));
            let told = format!("{}: expected {}, found {}{by}: {}", one.line, one.word, word(judgement), one.command);
            let _ = writeln!(text, "{}", plain(&told));
        }
        let _ = writeln!(text, "{} of {} lines are as expected.", expected.len() - wrong.len(), expected.len());
        text
    })?;
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(Kind::Findings, "lines differ").told()) }
}

fn rule(judgement: &Judgement) -> Option<String> {
    hits(judgement).first().map(|hit| hit.rule.clone())
}

fn read_list(file: &std::path::Path) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::at(format!("read {}", file.display()), &e).of_kind(Kind::NotFound);
    let found = std::fs::metadata(file).map_err(failed)?;
    if !found.is_file() || found.len() > LIST_BYTES_MAX {
        let rule = format!("a list is a file of at most {LIST_BYTES_MAX} bytes");
        return Err(Failure::new(Kind::Usage, format!("read {}", file.display())).because(rule));
    }
    std::fs::read_to_string(file).map_err(failed)
}

fn parse(text: &str) -> Result<Vec<Expected>, Failure> {
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let parts = trimmed.split_once(':').map(|(word, command)| (word.trim(), command.trim()));
        let found = parts.and_then(|(word, command)| Some((EXPECTED.iter().find(|e| **e == word)?, command)));
        let Some((word, command)) = found.filter(|(_, command)| !command.is_empty()) else {
            let what = format!("line {}: {trimmed:?}", at + 1);
            let rule = format!(
                "a line is one of {} and a command, as in `refuse: rm -rf /`",
                EXPECTED.map(|e| format!("`{e}:`")).join(", ")
            );
            return Err(Failure::new(Kind::Usage, what).because(rule));
        };
        if out.len() >= LINES_MAX {
            return Err(Failure::new(Kind::Usage, format!("more than {LINES_MAX} lines")));
        }
        out.push(Expected { line: at + 1, word, command: command.replace("\\n", "\n") });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_a_bad_line_is_told_with_its_number() {
        let list = parse("# mine\n\nrefuse: rm -rf /\n pass:  echo a: b \nask: npm publish\n").expect("legal");
        let lines: Vec<_> = list.iter().map(|e| (e.line, e.word, e.command.as_str())).collect();
        assert_eq!(lines, [(3, "refuse", "rm -rf /"), (4, "pass", "echo a: b"), (5, "ask", "npm publish")]);
        for bad in ["deny: x", "rm -rf /", "pass:", "pass"] {
            let told = parse(&format!("\n{bad}")).err().expect(bad).text();
            assert!(told.contains("line 2") && told.contains("`refuse:`"), "{told}");
        }
    }
}

//! B5, B6 and B8 have benches of their own beside what they measure: they are run here, their lines with a verdict are counted, and
//! their misses are ours.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::report::Table;

/// The lines that a bench prints.
fn lines(bench: &str) -> Option<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // As the whole run builds it, so that nothing is built twice.
    command.args(["bench", "--quiet", "--locked", "--workspace", "--bench", bench]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut lines = vec![];
    for line in BufReader::new(child.stdout.take()?).lines().map_while(Result::ok) {
        println!("{line}");
        lines.push(line);
    }
    child.wait().ok()?.success().then_some(lines)
}

#[derive(Default)]
struct Lines {
    all: usize,
    met: usize,
    /// Of all settings, the worst.
    right_min: f64,
    wrong: Option<String>,
}

pub(crate) fn culprit(table: &mut Table) {
    let Some(lines) = lines("culprit") else {
        table.row("B5", "the bench", "did not end well", "-", "runs", false);
        return;
    };
    let mut parts: BTreeMap<&str, Lines> = BTreeMap::new();
    for line in &lines {
        let part = match line.split(' ').next() {
            Some("queue") => "B5 queue, search",
            Some("pure") => "B5 reverts on flakes",
            Some("mixed") => "B6 mixed edits",
            Some("step") => "B5 one decision",
            Some("blind") => {
                blind(table, line);
                continue;
            }
            _ => continue,
        };
        let sum = parts.entry(part).or_insert_with(|| Lines { right_min: 100.0, ..Lines::default() });
        let met = line.split(' ').any(|word| word == "ok");
        sum.all += 1;
        sum.met += usize::from(met);
        if let Some(right) = right(line) {
            sum.right_min = sum.right_min.min(right);
        }
        if !met && sum.wrong.is_none() {
            sum.wrong = Some(line.clone());
        }
    }
    for (part, floor, bar) in [
        ("B5 queue, search", "bisect, bisect x3", ">= 99 % right, builds <= bisect x3 at f <= .02"),
        ("B5 reverts on flakes", "-", "0 of 1000 each"),
        ("B5 one decision", "a build", "<= 10 ms"),
        ("B6 mixed edits", "ddmin, drop-one", ">= 95 % right, builds <= ddmin"),
    ] {
        let sum = parts.remove(part).unwrap_or_default();
        let mut value = format!("{} of {} settings met", sum.met, sum.all);
        if ["B5 queue, search", "B6 mixed edits"].contains(&part) {
            value = format!("{value}, right in the worst {:.1} %", sum.right_min);
        }
        if let Some(wrong) = &sum.wrong {
            value = format!("{value} ({wrong})");
        }
        table.row(&part[..2], &part[3..], &value, floor, bar, sum.all > 0 && sum.met == sum.all);
    }
}

/// `… ours=5.80/100.0% …`
fn right(line: &str) -> Option<f64> {
    let ours = line.split(' ').find_map(|word| word.strip_prefix("ours="))?;
    ours.split('/').nth(1)?.trim_end_matches('%').parse().ok()
}

/// `blind B5 clean passes=false right=40.0%`
fn blind(table: &mut Table, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, part, name, passes, rest @ ..] = words.as_slice() else { return };
    table.blind(part, name, &rest.join(" "), *passes != "passes=false");
}

pub(crate) fn cost(table: &mut Table) {
    for bench in ["looks", "moves"] {
        cost_of(bench, table);
    }
}

fn cost_of(bench: &str, table: &mut Table) {
    let Some(lines) = lines(bench) else {
        table.row("B8", bench, "did not end well", "-", "runs", false);
        return;
    };
    for line in &lines {
        if line.starts_with("blind ") {
            blind(table, line);
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(first), Some(verdict)) = (words.first(), words.last().filter(|w| ["ok", "MISSED"].contains(w)))
        else {
            continue;
        };
        let (measure, value) = first.split_once('=').unwrap_or((first, ""));
        let find = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        let value = find("idle_percent_of_16_trees=").or(find("ratio=")).unwrap_or(value);
        let floor = match (find("status_us="), find("worktree_add_us=")) {
            (Some(us), _) => format!("git status {us} us"),
            (_, Some(us)) => format!("git worktree add {us} us"),
            _ => "-".to_owned(),
        };
        let measure = measure.strip_prefix("git.").unwrap_or(measure);
        table.row("B8", measure, value, &floor, find("bar=").unwrap_or("-"), *verdict == "ok");
    }
}

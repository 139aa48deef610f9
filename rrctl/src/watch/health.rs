//! The health of branches as a person reads it: whether each is whole, what is run to know it and why that may be
//! believed, and the last runs. What is trusted is decided elsewhere.

use std::fmt::Write as _;

use rr_proto::v1;
use serde_json::{Value, json};

use super::{CELL_CHARS_MAX, commit, cut, incident, or_null};
use crate::table::{age, plain, table};
use crate::view::short;

/// Notes of one plan that are shown.
const NOTES_MAX: usize = 10;

pub(crate) fn show(reply: &v1::HealthReply, columns: Option<u16>) -> String {
    let mut text = String::new();
    if reply.lines.is_empty() {
        text.push_str("No branch has been checked yet.\n");
    } else {
        let row = |l: &v1::LineHealth| {
            let checked =
                if l.at_unix_ms == 0 { "-".to_owned() } else { age(reply.now_unix_ms.saturating_sub(l.at_unix_ms)) };
            vec![incident::line(l.line.as_ref()), state(l), commit(&l.green), commit(&l.tip), checked]
        };
        let headings = ["BRANCH", "STATE", "GREEN", "TIP", "AGE"];
        text.push_str(&table(&headings, reply.lines.iter().map(row), columns));
    }
    for plan in &reply.plans {
        text.push('\n');
        text.push_str(&checks(plan, columns));
    }
    if !reply.slots.is_empty() {
        let of = |s: &v1::Slots| {
            let waiting = if s.waiting > 0 { format!(" ({} waiting)", s.waiting) } else { String::new() };
            let name = cut(&s.name, CELL_CHARS_MAX);
            format!("{} of {} {name} on {}{waiting}", s.used, s.of, host(&s.host, &s.host_name))
        };
        let _ = writeln!(text, "\nSlots in use: {}", reply.slots.iter().map(of).collect::<Vec<_>>().join(", "));
    }
    text
}

fn host(id: &str, name: &str) -> String {
    plain(if name.is_empty() { short(id) } else { name })
}

/// Red, or how well it is known to be green.
pub(crate) fn state(line: &v1::LineHealth) -> String {
    match (line.red.as_str(), line.green.as_str()) {
        ("", "") if line.note.is_empty() => "not known".to_owned(),
        ("", "") => format!("not known: {}", cut(&line.note, 2 * CELL_CHARS_MAX)),
        ("", green) if green != line.tip && !line.note.is_empty() => {
            format!("green before, the tip is not known: {}", cut(&line.note, 2 * CELL_CHARS_MAX))
        }
        ("", green) if green == line.tip => "green".to_owned(),
        ("", _) => "green, the tip is not checked yet".to_owned(),
        (red, _) => format!("RED at {}: {}", commit(red), cut(&line.check, CELL_CHARS_MAX)),
    }
}

/// The checks of one repository: those in force, and those that wait for a person's word.
pub(crate) fn checks(plan: &v1::Plan, columns: Option<u16>) -> String {
    let mut text = format!("Checks of repository {}\n", plain(&plan.repo));
    match (plan.checks.as_slice(), plan.proposed.as_slice()) {
        ([], []) => text.push_str("    none: name commands under `health.checks` in railroad.yaml\n"),
        ([], _) => text.push_str("    none in force\n"),
        (checks, _) => text.push_str(&rows(checks, columns)),
    }
    for note in plan.notes.iter().take(NOTES_MAX) {
        let _ = writeln!(text, "note: {}", cut(note, 4 * CELL_CHARS_MAX));
    }
    if !plan.proposed.is_empty() {
        text.push_str("Found or written since, and not in force before a person says so:\n");
        text.push_str(&rows(&plan.proposed, columns));
        let _ = writeln!(text, "To put these in force: rrctl health trust {}", plain(short(&plan.hash)));
    }
    text
}

fn rows(checks: &[v1::Check], columns: Option<u16>) -> String {
    let row = |c: &v1::Check| {
        let median = if c.median_ms == 0 { "-".to_owned() } else { took(c.median_ms) };
        let [name, run, from] = [&c.name, &c.run, &c.from].map(|text| cut(text, CELL_CHARS_MAX));
        vec![name, run, c.when.clone(), from, trust(&c.trust), median]
    };
    table(&["CHECK", "COMMAND", "AFTER", "FROM", "TRUSTED", "MEDIAN"], checks.iter().map(row), columns)
}

fn trust(word: &str) -> String {
    match word {
        "trusted" => "yes".to_owned(),
        "not_yet" => "not yet: it must pass twice".to_owned(),
        "flaky" => "no: it is both on one tree".to_owned(),
        "red_from_the_start" => "no: red from the start".to_owned(),
        "infrastructure" => "no: it cannot run here".to_owned(),
        "" => "-".to_owned(),
        other => plain(other),
    }
}

/// "340 ms", "4.2 s", "3 min".
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

pub(crate) fn runs(reply: &v1::HealthHistoryReply, columns: Option<u16>) -> String {
    if reply.runs.is_empty() {
        return "No check has been run yet.\n".to_owned();
    }
    let row = |r: &v1::HealthRun| {
        let age = age(reply.now_unix_ms.saturating_sub(r.at_unix_ms));
        let [label, check, verdict] = [&r.label, &r.check, &r.verdict].map(|text| cut(text, CELL_CHARS_MAX));
        vec![age, label, commit(&r.tree), check, verdict, took(r.took_ms), host(&r.host, &r.host_name)]
    };
    let headings = ["AGE", "FOR", "TREE", "CHECK", "VERDICT", "TOOK", "HOST"];
    table(&headings, reply.runs.iter().map(row), columns)
}

pub(crate) fn view(reply: &v1::HealthReply) -> Value {
    let slots = |s: &v1::Slots| {
        json!({
            "host_id": s.host, "host": or_null(&s.host_name), "name": s.name,
            "used": s.used, "of": s.of, "waiting": s.waiting,
        })
    };
    json!({
        "lines": reply.lines.iter().map(line_view).collect::<Vec<_>>(),
        "plans": reply.plans.iter().map(plan_view).collect::<Vec<_>>(),
        "slots": reply.slots.iter().map(slots).collect::<Vec<_>>(),
        "asked": reply.asked,
        "now_unix_ms": reply.now_unix_ms,
    })
}

pub(crate) fn line_view(health: &v1::LineHealth) -> Value {
    let line = health.line.clone().unwrap_or_default();
    json!({
        "repo": line.repo,
        "branch": line.branch,
        "host_id": or_null(&line.host),
        "root": or_null(&line.root),
        "url": or_null(&line.url),
        "green": or_null(&health.green),
        "tip": or_null(&health.tip),
        "red": or_null(&health.red),
        "check": or_null(&health.check),
        "note": or_null(&health.note),
        "at_unix_ms": health.at_unix_ms,
    })
}

fn plan_view(plan: &v1::Plan) -> Value {
    let check = |c: &v1::Check| {
        json!({
            "name": c.name, "run": c.run, "when": c.when, "from": c.from, "trust": or_null(&c.trust),
            "median_ms": (c.median_ms > 0).then_some(c.median_ms),
        })
    };
    let [checks, proposed] = [&plan.checks, &plan.proposed].map(|c| c.iter().map(check).collect::<Vec<_>>());
    let hash = or_null(&plan.hash);
    json!({ "repo": plan.repo, "checks": checks, "proposed": proposed, "hash": hash, "notes": plan.notes })
}

pub(crate) fn run_view(run: &v1::HealthRun) -> Value {
    json!({
        "repo": run.repo, "for": run.label, "tree": run.tree, "check": run.check, "verdict": run.verdict,
        "host_id": run.host, "host": or_null(&run.host_name), "took_ms": run.took_ms, "at_unix_ms": run.at_unix_ms,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn health() -> v1::HealthReply {
        let line = v1::Line {
            branch: "main".into(),
            root: "/w/main".into(),
            repo: "0123456789abcdef".into(),
            ..Default::default()
        };
        let check = |name: &str, trust: &str, median_ms| v1::Check {
            name: name.into(),
            run: format!("cargo {name}"),
            when: "commit".into(),
            from: "usual for Cargo.toml".into(),
            trust: trust.into(),
            median_ms,
        };
        v1::HealthReply {
            lines: vec![v1::LineHealth {
                line: Some(line),
                green: "a".repeat(40),
                tip: "a".repeat(40),
                at_unix_ms: 5_000,
                ..Default::default()
            }],
            plans: vec![v1::Plan {
                repo: "0123456789abcdef".into(),
                hash: "9".repeat(64),
                checks: vec![check("check", "trusted", 2_400), check("test", "not_yet", 0)],
                proposed: vec![check("clippy", "", 0)],
                notes: vec!["deploy.yml is not a check".into()],
            }],
            slots: vec![v1::Slots {
                host: "f".repeat(32),
                host_name: "box".into(),
                used: 1,
                of: 2,
                name: "check".into(),
                waiting: 3,
            }],
            now_unix_ms: 65_000,
            asked: vec![],
        }
    }

    #[test]
    fn branches_checks_and_slots_are_told_with_what_waits_for_a_person() {
        let expected = "\
BRANCH           STATE  GREEN       TIP         AGE
main of /w/main  green  aaaaaaaaaa  aaaaaaaaaa  1m

Checks of repository 0123456789abcdef
CHECK  COMMAND      AFTER   FROM                  TRUSTED                      MEDIAN
check  cargo check  commit  usual for Cargo.toml  yes                          2.4 s
test   cargo test   commit  usual for Cargo.toml  not yet: it must pass twice  -
note: deploy.yml is not a check
Found or written since, and not in force before a person says so:
CHECK   COMMAND       AFTER   FROM                  TRUSTED  MEDIAN
clippy  cargo clippy  commit  usual for Cargo.toml  -        -
To put these in force: rrctl health trust 99999999

Slots in use: 1 of 2 check on box (3 waiting)
";
        assert_eq!(show(&health(), None), expected);
        assert_eq!(show(&v1::HealthReply::default(), None), "No branch has been checked yet.\n");
    }

    #[test]
    fn a_red_branch_names_where_and_which_check() {
        let mut reply = health();
        (reply.lines[0].red, reply.lines[0].check) = ("b".repeat(40), "types\u{1b}".into());
        assert!(show(&reply, None).contains("RED at bbbbbbbbbb: types "), "{}", show(&reply, None));
        (reply.lines[0].red, reply.lines[0].tip) = (String::new(), "c".repeat(40));
        assert!(show(&reply, None).contains("green, the tip is not checked yet"));
        reply.lines[0].note = "no check\u{1b} is trusted".into();
        assert!(show(&reply, None).contains("the tip is not known: no check  is trusted"));
    }

    #[test]
    fn runs_are_a_table_and_times_are_short() {
        let run = v1::HealthRun {
            label: format!("main\n{}", "x".repeat(500)),
            tree: "a".repeat(40),
            check: "types".into(),
            verdict: "red".into(),
            host_name: "box".into(),
            took_ms: 61_000,
            at_unix_ms: 5_000,
            ..Default::default()
        };
        let text = runs(&v1::HealthHistoryReply { runs: vec![run], now_unix_ms: 17_000 }, None);
        assert!(text.contains("12s  main xxx") && text.contains("aaaaaaaaaa  types  red      1 min  box\n"), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.len() < 250, "{text}");
        assert_eq!([40, 1_000, 59_949].map(took), ["40 ms", "1.0 s", "59.9 s"]);
    }
}

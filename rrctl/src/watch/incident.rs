//! A break as a person reads it: a row of a list, and one of them whole, with what to type next. Next: `proof` for its
//! search.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use rr_proto::v1;
use serde_json::{Value, json};

use super::{CELL_CHARS_MAX, commit, count, cut, indented, or_null, proof, quoted};
use crate::journal::when;
use crate::table::{age, plain, table};
use crate::view::short;

/// Lines of failing output that are shown; --json has all.
const OUTPUT_LINES_MAX: usize = 40;
/// Suspects that are shown, the heaviest; --json has all.
const SUSPECTS_MAX: usize = 20;
/// What is known of one that is over.
const OVER: &str = "resumed";
/// A person decides.
pub(crate) const ESCALATED: &str = "escalated";

pub(crate) fn is_open(incident: &v1::Incident) -> bool {
    incident.state != OVER
}

pub(crate) fn rows(incidents: &[v1::Incident], now: u64, columns: Option<u16>) -> String {
    let row = |i: &v1::Incident| {
        let found = match i.culprit_commits.as_slice() {
            [] => "-".to_owned(),
            these => these.iter().map(|c| commit(c)).collect::<Vec<_>>().join(", "),
        };
        let builds = count(usize::try_from(i.builds_count).unwrap_or(0), "build");
        let age = age(now.saturating_sub(i.opened_unix_ms));
        vec![short(&i.id).to_owned(), age, line(i.line.as_ref()), i.state.clone(), i.check.clone(), builds, found]
    };
    table(&["ID", "AGE", "BRANCH", "STATE", "CHECK", "SEARCH", "CULPRIT"], incidents.iter().map(row), columns)
}

/// A branch, and where it lives.
pub(crate) fn line(line: Option<&v1::Line>) -> String {
    let Some(line) = line else { return "-".to_owned() };
    let place = if line.url.is_empty() { &line.root } else { &line.url };
    plain(&format!("{} of {}", cut(&line.branch, CELL_CHARS_MAX), cut(place, CELL_CHARS_MAX)))
}

/// One sentence for a screen that shows other things.
pub(crate) fn in_a_line(incident: &v1::Incident) -> String {
    let (id, line) = (short(&incident.id), line(incident.line.as_ref()));
    plain(&format!("incident {id}: {} fails on {line}, {}", cut(&incident.check, CELL_CHARS_MAX), stage(incident)))
}

/// What is going on.
pub(crate) fn stage(incident: &v1::Incident) -> String {
    match incident.state.as_str() {
        "seen" => "red once, it is run again".to_owned(),
        "confirmed" => "red for sure, the fleet is about to be paused".to_owned(),
        "paused" => "the search is about to begin".to_owned(),
        "searching" => "the culprit is searched".to_owned(),
        "reverting" => "the culprit is proven, its revert is built and checked".to_owned(),
        "verifying" => "reverted, the branch is checked as it is now".to_owned(),
        OVER => "over".to_owned(),
        ESCALATED => "a person has to decide".to_owned(),
        other => plain(other),
    }
}

pub(crate) fn view(incident: &v1::Incident, now: u64) -> Value {
    let line = incident.line.clone().unwrap_or_default();
    json!({
        "id": incident.id,
        "state": incident.state,
        "line": {
            "repo": line.repo, "branch": line.branch, "host_id": or_null(&line.host),
            "root": or_null(&line.root), "url": or_null(&line.url),
        },
        "check": incident.check,
        "command": incident.command,
        "nature": incident.nature,
        "flake": incident.flake,
        "green": incident.green,
        "red": incident.red,
        "suspects_count": incident.suspects_count,
        "builds_count": incident.builds_count,
        "builds_expected": proof::expected(usize::try_from(incident.suspects_count).unwrap_or(usize::MAX)),
        "culprit_commits": incident.culprit_commits,
        "pause": incident.pause.as_ref().map(|p| json!({ "epoch": p.epoch, "hold": p.hold })),
        "revert": incident.revert.as_ref().map(|r| json!({
            "tip": r.tip, "tree": r.tree, "green": r.green, "commit": or_null(&r.commit),
        })),
        "kept": or_null(&incident.kept),
        "escalated": or_null(&incident.escalated),
        "ordered": or_null(&incident.ordered),
        "repairing": or_null(&incident.repairing),
        "opened_unix_ms": incident.opened_unix_ms,
        "age_ms": now.saturating_sub(incident.opened_unix_ms),
    })
}

/// The whole of it.
pub(crate) fn whole_view(incident: &v1::Incident, now: u64) -> Value {
    let suspect = |s: &v1::Suspect| {
        json!({
            "commit": s.commit, "session": or_null(&s.session), "author": s.author, "subject": s.subject,
            "at_unix_s": s.at_unix_s, "weight": s.weight,
        })
    };
    let build = |b: &v1::Build| json!({ "what": b.what, "of": b.of, "verdict": b.verdict });
    let note = |n: &v1::IncidentNote| json!({ "at_unix_ms": n.at_unix_ms, "text": n.text });
    let mut value = view(incident, now);
    value["suspects"] = incident.suspects.iter().map(suspect).collect();
    value["reds"] = incident.reds.into();
    value["builds"] = incident.builds.iter().map(build).collect();
    value["culprits"] = json!(incident.culprits);
    value["proof"] = incident.proof.as_ref().map_or(Value::Null, proof_view);
    value["output"] = incident.output.as_str().into();
    value["notes"] = incident.notes.iter().map(note).collect();
    value
}

fn proof_view(proof: &v1::CulpritProof) -> Value {
    json!({ "red": proof.red, "green": proof.green, "how": proof.how })
}

/// The whole of it, and what to type next.
pub(crate) fn show(incident: &v1::Incident, now: u64, zone: &TimeZone, columns: Option<u16>) -> String {
    let mut text = head(incident, now);
    if !incident.suspects.is_empty() {
        text.push('\n');
        text.push_str(&suspects(incident, columns));
    }
    text.push('\n');
    text.push_str(&search(incident, columns));
    if let Some(outcome) = outcome(incident) {
        let _ = write!(text, "\n{outcome}");
    }
    if !incident.output.is_empty() {
        let _ = write!(text, "\nWhat the check said:\n{}", indented(&incident.output, OUTPUT_LINES_MAX));
    }
    if !incident.notes.is_empty() {
        text.push_str("\nWhat happened:\n");
    }
    for note in &incident.notes {
        let _ = writeln!(text, "    {}  {}", when::show(note.at_unix_ms, zone), cut(&note.text, 4 * CELL_CHARS_MAX));
    }
    let _ = write!(text, "\n{}", next(incident));
    text
}

fn head(incident: &v1::Incident, now: u64) -> String {
    let mut text = format!("Incident  {}\n", plain(&incident.id));
    let since = age(now.saturating_sub(incident.opened_unix_ms));
    let failure = match incident.nature.as_str() {
        "test" => format!("a test, which fails by chance about {:.0} times in 100", incident.flake * 100.0),
        "compile" => "a compile or type error".to_owned(),
        other => plain(other),
    };
    let rows = [
        ("Branch", line(incident.line.as_ref())),
        ("State", format!("{}: {}, since {since}", plain(&incident.state), stage(incident))),
        ("Check", format!("{}: {}", cut(&incident.check, CELL_CHARS_MAX), cut(&incident.command, 4 * CELL_CHARS_MAX))),
        ("Failure", failure),
        ("Green", commit(&incident.green)),
        ("Red", format!("{}, {}", commit(&incident.red), times(incident.reds))),
    ];
    for (label, value) in rows {
        let _ = writeln!(text, "{label:<9} {value}");
    }
    if let Some(pause) = &incident.pause {
        let _ = writeln!(text, "Pause     epoch {}, hold {}", pause.epoch, plain(&pause.hold));
    }
    if !incident.escalated.is_empty() {
        let _ = writeln!(text, "Person    {}", cut(&incident.escalated, 4 * CELL_CHARS_MAX));
    }
    if !incident.repairing.is_empty() {
        let _ = writeln!(text, "Mended by session {}", plain(short(&incident.repairing)));
    }
    if !incident.ordered.is_empty() {
        let _ = writeln!(text, "Ordered   {}, not taken up yet", cut(&incident.ordered, CELL_CHARS_MAX));
    }
    text
}

fn times(reds: u32) -> String {
    if reds == 1 { "red once".to_owned() } else { format!("red {reds} times") }
}

fn suspects(incident: &v1::Incident, columns: Option<u16>) -> String {
    let is_culprit = |at: usize| incident.culprits.iter().any(|c| usize::try_from(*c) == Ok(at));
    let mut all: Vec<(usize, &v1::Suspect)> = incident.suspects.iter().enumerate().collect();
    all.sort_by(|(a, x), (b, y)| {
        is_culprit(*b).cmp(&is_culprit(*a)).then(y.weight.total_cmp(&x.weight)).then(a.cmp(b))
    });
    let row = |(at, s): &(usize, &v1::Suspect)| {
        let mark = if is_culprit(*at) { "culprit".to_owned() } else { format!("{:.1}%", s.weight * 100.0) };
        let session = if s.session.is_empty() { "-".to_owned() } else { short(&s.session).to_owned() };
        let (author, subject) = (cut(&s.author, CELL_CHARS_MAX / 2), cut(&s.subject, CELL_CHARS_MAX));
        vec![(at + 1).to_string(), commit(&s.commit), mark, session, author, subject]
    };
    let headings = ["N", "SUSPECT", "WEIGHT", "SESSION", "AUTHOR", "SUBJECT"];
    let mut text = table(&headings, all.iter().take(SUSPECTS_MAX).map(row), columns);
    if all.len() > SUSPECTS_MAX {
        let _ = writeln!(text, "and {} more, less likely", all.len() - SUSPECTS_MAX);
    }
    text
}

fn search(incident: &v1::Incident, columns: Option<u16>) -> String {
    let mut text = format!("{}\n", proof::bar(incident.builds.len(), incident.suspects.len()));
    if !incident.builds.is_empty() {
        let row = |(at, build): (usize, &v1::Build)| {
            vec![(at + 1).to_string(), proof::words(build, &incident.suspects), build.verdict.clone()]
        };
        text.push_str(&table(&["BUILD", "OF", "VERDICT"], incident.builds.iter().enumerate().map(row), columns));
    }
    text
}

/// What was found and what was done about it.
fn outcome(incident: &v1::Incident) -> Option<String> {
    let mut text = String::new();
    for at in &incident.culprits {
        let suspect = usize::try_from(*at).ok().and_then(|at| incident.suspects.get(at));
        if let Some(s) = suspect {
            let by = if s.session.is_empty() {
                cut(&s.author, CELL_CHARS_MAX / 2)
            } else {
                format!("session {}", short(&s.session))
            };
            let told = format!("Culprit   {} of {by}: {}", commit(&s.commit), cut(&s.subject, CELL_CHARS_MAX));
            let _ = writeln!(text, "{}", plain(&told));
        }
    }
    if !incident.culprits.is_empty() {
        let _ = match &incident.proof {
            Some(proof) => {
                writeln!(
                    text,
                    "Proof     red with it (build {}), green without it (build {}): {}",
                    proof.red,
                    proof.green,
                    proof::how(&proof.how)
                )
            }
            None => writeln!(text, "Proof     not complete: red with it and green without it has not been built"),
        };
    }
    if let Some(revert) = &incident.revert {
        let what = match (revert.commit.as_str(), revert.green) {
            ("", true) => "prepared, the check passes on it".to_owned(),
            ("", false) => "prepared, the check has not passed on it".to_owned(),
            (made, _) => format!("{}, on the branch", commit(made)),
        };
        let _ = writeln!(text, "Revert    {what}");
    }
    if !incident.kept.is_empty() {
        let _ =
            writeln!(text, "Kept      the reverted work is on the branch {}", cut(&incident.kept, 2 * CELL_CHARS_MAX));
    }
    (!text.is_empty()).then_some(text)
}

/// Commands that can be typed as they stand, or with one word filled in.
fn next(incident: &v1::Incident) -> String {
    let id = plain(short(&incident.id));
    let command = |words: &str| format!("    rrctl incident {words}\n");
    let mut text = "What to type next:\n".to_owned();
    let is_done = incident.revert.as_ref().is_some_and(|r| !r.commit.is_empty());
    let is_proposed = !incident.culprit_commits.is_empty() && !is_done;
    match incident.state.as_str() {
        OVER if incident.kept.is_empty() => return "It is over.\n".to_owned(),
        OVER => {
            let _ = writeln!(text, "    git switch {}    (to mend the reverted work)", quoted(&incident.kept));
        }
        ESCALATED => {
            if is_proposed {
                text.push_str(&command(&format!("resolve {id} --revert    (do the revert that is proposed)")));
            }
            text.push_str(&command(&format!(
                "resolve {id} --reason TEXT    (you have mended it: it is closed, the fleet goes on)"
            )));
            text.push_str(&command(&format!("hand-over {id} --to SESSION    (that session mends it)")));
            text.push_str(&command(&format!("claim {id}    (typed by an agent in its own shell: it mends it)")));
            text.push_str(&command(&format!("dismiss {id} --reason TEXT    (it is none)")));
        }
        _ => {
            text.push_str(&command(&format!("show {id} --watch    (nothing is to be done: it goes on by itself)")));
            text.push_str(&command(&format!("resolve {id} --reason TEXT    (you have mended it yourself)")));
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A break of `main` that a search has found: the second of three commits.
    pub(crate) fn incident(id: &str) -> v1::Incident {
        let suspect = |c: &str, session: &str, subject: &str, weight| v1::Suspect {
            commit: c.repeat(40),
            session: session.repeat(8),
            author: "kim".into(),
            subject: subject.into(),
            at_unix_s: 1,
            weight,
        };
        let build = |n, verdict: &str| v1::Build { what: "prefix".into(), of: vec![n], verdict: verdict.into() };
        v1::Incident {
            id: id.repeat(8),
            line: Some(v1::Line {
                branch: "main".into(),
                root: "/w/main".into(),
                host: "f".repeat(32),
                ..Default::default()
            }),
            state: "escalated".into(),
            check: "types".into(),
            command: "cargo check".into(),
            nature: "compile".into(),
            green: "0".repeat(40),
            red: "3".repeat(40),
            suspects: vec![
                suspect("1", "", "add a", 0.01),
                suspect("2", "bbbb", "change b", 0.98),
                suspect("3", "cccc", "mend c", 0.01),
            ],
            reds: 1,
            builds: vec![build(2, "red"), build(1, "green")],
            output: "error[E0308]: mismatched types\n".into(),
            pause: Some(v1::IncidentPause { epoch: 4, hold: "h1".into() }),
            culprits: vec![1],
            proof: Some(v1::CulpritProof { red: 1, green: 2, how: "by_itself".into() }),
            revert: Some(v1::Revert { tip: "3".repeat(40), tree: "9".repeat(40), green: true, commit: String::new() }),
            escalated: "reverts are only proposed so far".into(),
            opened_unix_ms: 1_700_000_000_000,
            notes: vec![v1::IncidentNote { at_unix_ms: 1_700_000_001_000, text: "red on 3333333333".into() }],
            suspects_count: 3,
            builds_count: 2,
            culprit_commits: vec!["2".repeat(40)],
            ..Default::default()
        }
    }

    const NOW: u64 = 1_700_000_065_000;

    #[test]
    fn an_incident_is_told_with_suspects_builds_proof_and_what_to_type_next() {
        let expected = "\
Incident  1a2b1a2b1a2b1a2b1a2b1a2b1a2b1a2b
Branch    main of /w/main
State     escalated: a person has to decide, since 1m
Check     types: cargo check
Failure   a compile or type error
Green     0000000000
Red       3333333333, red once
Pause     epoch 4, hold h1
Person    reverts are only proposed so far

N  SUSPECT     WEIGHT   SESSION   AUTHOR  SUBJECT
2  2222222222  culprit  bbbbbbbb  kim     change b
1  1111111111  1.0%     -         kim     add a
3  3333333333  1.0%     cccccccc  kim     mend c

[########------------]  2 of about 5 builds
BUILD  OF                          VERDICT
1      up to 2222222222 (2 of 3)   red
2      up to 1111111111 (1 of 3)   green

Culprit   2222222222 of session bbbbbbbb: change b
Proof     red with it (build 1), green without it (build 2): it breaks the check by itself
Revert    prepared, the check passes on it

What the check said:
    error[E0308]: mismatched types

What happened:
    2023-11-14 22:13:21  red on 3333333333

What to type next:
    rrctl incident resolve 1a2b1a2b --revert    (do the revert that is proposed)
    rrctl incident resolve 1a2b1a2b --reason TEXT    (you have mended it: it is closed, the fleet goes on)
    rrctl incident hand-over 1a2b1a2b --to SESSION    (that session mends it)
    rrctl incident claim 1a2b1a2b    (typed by an agent in its own shell: it mends it)
    rrctl incident dismiss 1a2b1a2b --reason TEXT    (it is none)
";
        let expected = expected.replace("OF                          VERDICT", "OF                         VERDICT");
        let expected =
            expected.replace("(2 of 3)   red", "(2 of 3)  red").replace("(1 of 3)   green", "(1 of 3)  green");
        assert_eq!(show(&incident("1a2b"), NOW, &TimeZone::UTC, None), expected);
    }

    #[test]
    fn what_agents_wrote_is_cut_and_cannot_move_the_cursor() {
        let mut hostile = incident("1a2b");
        let long = format!("\u{1b}[2J\r{}", "x".repeat(50_000));
        for suspect in &mut hostile.suspects {
            (suspect.subject, suspect.author) = (long.clone(), long.clone());
        }
        (hostile.check, hostile.command, hostile.escalated, hostile.kept) =
            (long.clone(), long.clone(), long.clone(), long.clone());
        hostile.output = "\u{1b}[2Jerror\n".repeat(10_000);
        hostile.notes[0].text = long.clone();
        hostile.line = Some(v1::Line { branch: long.clone(), root: long, ..Default::default() });
        let mut told = show(&hostile, NOW, &TimeZone::UTC, None);
        told.push_str(&rows(&[v1::Incident { check: "c".into(), ..hostile.clone() }], NOW, None));
        told.push_str(&in_a_line(&hostile));
        assert!(told.len() < 9_000, "{}", told.len());
        assert!(!told.replace('\n', "").chars().any(char::is_control), "{told:?}");
        assert!(told.contains("… 9960 more lines"), "{told}");
    }

    #[test]
    fn what_to_type_next_follows_the_state() {
        let of = |state: &str, kept: &str| {
            next(&v1::Incident { state: state.into(), kept: kept.into(), ..incident("1a2b") })
        };
        assert!(of("searching", "").contains("show 1a2b1a2b --watch") && !of("searching", "").contains("--revert"));
        assert_eq!(of("resumed", ""), "It is over.\n");
        assert!(of("resumed", "kept/1a2b").contains("git switch kept/1a2b"));
        assert!(of("escalated", "").contains("resolve 1a2b1a2b --revert"));
        let unproven = v1::Incident { culprit_commits: vec![], ..incident("1a2b") };
        assert!(!next(&unproven).contains("--revert"), "nobody is proven");
        let mut landed = incident("1a2b");
        landed.revert.get_or_insert_default().commit = "5".repeat(40);
        assert!(!next(&landed).contains("--revert"), "it is done already");
    }

    #[test]
    fn a_list_has_one_row_each_and_json_has_null_for_what_is_not_there() {
        let mut two = [incident("1a2b").in_short(), incident("3c4d").in_short()];
        two[1].culprit_commits.clear();
        let text = rows(&two, NOW, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].starts_with("1a2b1a2b  1m   main of /w/main  escalated  types  2 builds  2222222222"),
            "{text}"
        );
        assert!(lines[2].ends_with("2 builds  -"), "{text}");
        let json = whole_view(&incident("1a2b"), NOW);
        assert_eq!(
            (&json["proof"]["red"], &json["age_ms"], &json["builds_expected"]),
            (&1.into(), &65_000.into(), &5.into())
        );
        assert!(json["kept"].is_null() && json["line"]["url"].is_null() && json["suspects"][0]["session"].is_null());
    }
}

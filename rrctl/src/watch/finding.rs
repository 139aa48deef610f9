//! What two work trees have against each other, in words: a row of a table, and one finding explained with both its
//! sides and what to type next. Which findings are shown is `cmd::overlap`'s.

use std::fmt::Write as _;

use rr_proto::v1;
use serde_json::{Value, json};

use super::{CELL_CHARS_MAX, cut, indented, or_null, quoted, tree};
use crate::table::{plain, table};
use crate::view::short;

/// Lines of hunks that are shown: more are looked at in an editor.
const EXCERPT_LINES_MAX: usize = 200;
/// Files of one side that are named.
const FILES_MAX: usize = 20;
/// Line ranges and symbols of one file that are named.
const PLACES_MAX: usize = 8;
/// Below this level nobody is told unless he asks.
pub(crate) const TOLD_FROM: u32 = 1;
/// From this level on somebody has to give way.
pub(crate) const SERIOUS_FROM: u32 = 2;

pub(crate) fn rows(findings: &[&v1::Finding], trees: &[v1::LiveTree], columns: Option<u16>) -> String {
    let row = |f: &&v1::Finding| {
        let sides: Vec<String> = sides(f).iter().map(|side| who(trees, side)).collect();
        vec![short(&f.id).to_owned(), level(f.level), what(f), sides.join(" / "), paths(&f.paths), yields(f, trees)]
    };
    table(&["ID", "LEVEL", "WHAT", "WHO", "WHERE", "YIELDS"], findings.iter().map(row), columns)
}

/// One where both are the same: what somebody committed fails alone.
fn sides(finding: &v1::Finding) -> &[v1::TreeName] {
    match finding.sides.as_slice() {
        [a, b] if a == b => &finding.sides[..1],
        sides => sides,
    }
}

fn who(trees: &[v1::LiveTree], side: &v1::TreeName) -> String {
    tree::of(trees, side).map_or_else(|| format!("{} (gone)", cut(&side.tree, CELL_CHARS_MAX)), tree::who)
}

pub(crate) fn level(level: u32) -> String {
    let word = match level {
        0 => "shared",
        1 => "symbol",
        2 => "conflict",
        3 => "broken",
        // Of a newer version.
        _ => "?",
    };
    format!("{level} {word}")
}

/// What it is about, without the names of the two.
pub(crate) fn what(finding: &v1::Finding) -> String {
    let about = cut(&finding.about, CELL_CHARS_MAX);
    match (finding.kind.as_str(), finding.how.as_str()) {
        ("files", _) => "both change the file, apart from each other".to_owned(),
        ("merge", _) => "git cannot merge them".to_owned(),
        ("package", _) => format!("two versions of {about}"),
        ("reverted", _) => format!("{about} was reverted"),
        ("check", _) if sides(finding).len() == 1 => format!("{about} fails on what it has committed"),
        ("check", _) => format!("{about} fails on both together"),
        ("edits", how) => format!("{about} fails on {}", edits(how, &finding.sessions)),
        ("symbol", "gone_or_other") => format!("one removes or changes {about}, the other newly uses it"),
        ("symbol", "both_added") => format!("both add {about}"),
        ("symbol", "both_changed") => format!("both change {about}"),
        ("symbol", "caller_changed") => format!("one changes {about}, the other a caller of it"),
        (kind, _) => cut(&format!("{kind} {about}"), CELL_CHARS_MAX),
    }
}

/// Whose uncommitted edits it is about.
fn edits(how: &str, sessions: &[String]) -> String {
    let names: Vec<String> = sessions.iter().map(|session| plain(short(session))).collect();
    match (how, names.as_slice()) {
        ("nobodys", _) => "edits of no session, not committed".to_owned(),
        ("together", [one]) => format!("edits of {one} and of no session together, not committed"),
        ("together", names) => format!("edits of {} together, not committed", names.join(", ")),
        ("sessions", names) => format!("edits of {}, not committed", names.join(", ")),
        _ => "edits that are not committed".to_owned(),
    }
}

fn paths(paths: &[String]) -> String {
    match paths {
        [] => "-".to_owned(),
        [one] => cut(one, CELL_CHARS_MAX),
        [first, rest @ ..] => format!("{} and {} more", cut(first, CELL_CHARS_MAX), rest.len()),
    }
}

fn yields(finding: &v1::Finding, trees: &[v1::LiveTree]) -> String {
    let side = finding.yields.as_ref().and_then(|y| Some((y, finding.sides.get(usize::try_from(y.side).ok()?)?)));
    match side {
        None => "-".to_owned(),
        Some((y, side)) => {
            let name = tree::of(trees, side).map_or_else(|| cut(&side.tree, CELL_CHARS_MAX), tree::name);
            format!("{name}: {}", plain(&y.because))
        }
    }
}

/// Why one should give way, in a sentence.
fn because(word: &str) -> &str {
    match word {
        "uncommitted" => "what it changed is not committed, what the other changed is",
        "smaller" => "its change is the smaller one",
        "later" => "the other one lands before it",
        "dependent" => "its change uses what the other one changes",
        _ => "the watcher says so",
    }
}

pub(crate) fn view(finding: &v1::Finding) -> Value {
    let side = |s: &v1::TreeName| json!({ "host_id": s.host, "tree": s.tree });
    json!({
        "id": finding.id,
        "repo": finding.repo,
        "level": finding.level,
        "kind": finding.kind,
        "about": or_null(&finding.about),
        "how": or_null(&finding.how),
        "sides": finding.sides.iter().map(side).collect::<Vec<_>>(),
        "paths": finding.paths,
        "sessions": finding.sessions,
        "yields": finding.yields.as_ref().map(|y| json!({ "side": y.side, "because": y.because })),
    })
}

/// One finding with both its sides, as JSON has it.
pub(crate) fn explained(reply: &v1::ExplainReply) -> Value {
    let finding = reply.finding.clone().unwrap_or_default();
    let side = |side: &v1::Side| {
        let mut value = side.tree.as_ref().map_or(Value::Null, tree::view);
        if value.is_object() {
            value["changes"] = side.files.iter().map(file_view).collect();
        }
        value
    };
    let mut value = view(&finding);
    value["excerpt"] = or_null(&finding.excerpt);
    value["both"] = reply.sides.iter().map(side).collect();
    value
}

fn file_view(file: &v1::FileEdit) -> Value {
    let lines = |l: &v1::EditedLines| json!({ "start": l.start, "count": l.count });
    let symbol = |s: &v1::EditedSymbol| json!({ "name": s.name, "kind": s.kind, "change": s.change });
    json!({
        "path": file.path,
        "what": file.what,
        "renamed_from": or_null(&file.renamed_from),
        "binary": file.binary,
        "lines": file.lines.iter().map(lines).collect::<Vec<_>>(),
        "symbols": file.symbols.iter().map(symbol).collect::<Vec<_>>(),
    })
}

/// One finding with both its sides, and what to type next.
pub(crate) fn explain(reply: &v1::ExplainReply) -> String {
    let finding = reply.finding.clone().unwrap_or_default();
    let mut text = format!("{}  level {}: {}\n", plain(&finding.id), level(finding.level), what(&finding));
    let shown = &reply.sides[..reply.sides.len().min(sides(&finding).len())];
    for (at, side) in shown.iter().enumerate() {
        text.push('\n');
        text.push_str(&one_side(letter(at), side));
    }
    if !finding.excerpt.is_empty() {
        let _ = write!(text, "\nWhat git shows of it:\n{}", indented(&finding.excerpt, EXCERPT_LINES_MAX));
    }
    let _ = write!(text, "\n{}\n{}", who_yields(&finding), next(&finding, shown));
    text
}

fn letter(side: usize) -> char {
    if side == 0 { 'A' } else { 'B' }
}

fn one_side(letter: char, side: &v1::Side) -> String {
    let Some(tree) = side.tree.as_ref().filter(|tree| !tree.root.is_empty()) else {
        let tag = side.tree.as_ref().map(|tree| cut(&tree.tree, CELL_CHARS_MAX)).unwrap_or_default();
        return format!("{letter}  work tree {tag} is not live any more\n");
    };
    let mut text = format!("{letter}  {}\n   {}", tree::who(tree), tree::place(tree));
    text.push_str(if tree.settled { "\n" } else { ", in the middle of a change\n" });
    for file in side.files.iter().take(FILES_MAX) {
        let _ = writeln!(text, "   {}", edit(file));
    }
    if side.files.len() > FILES_MAX {
        let _ = writeln!(text, "   and {} more files", side.files.len() - FILES_MAX);
    }
    text
}

fn edit(file: &v1::FileEdit) -> String {
    let mut parts = vec![match (file.what.as_str(), file.renamed_from.as_str()) {
        ("renamed", from) => format!("renamed from {}", cut(from, CELL_CHARS_MAX)),
        (what, _) => plain(what),
    }];
    if file.binary {
        parts.push("binary".to_owned());
    }
    if !file.lines.is_empty() {
        parts.push(format!("lines {}", few(file.lines.iter().map(lines))));
    }
    if !file.symbols.is_empty() {
        let symbol = |s: &v1::EditedSymbol| format!("{} of {} {}", s.change, s.kind, cut(&s.name, CELL_CHARS_MAX));
        parts.push(few(file.symbols.iter().map(symbol)));
    }
    plain(&format!("{}  {}", cut(&file.path, 2 * CELL_CHARS_MAX), parts.join("; ")))
}

fn lines(range: &v1::EditedLines) -> String {
    match range.count {
        0 => format!("before {}", range.start),
        1 => range.start.to_string(),
        n => format!("{}-{}", range.start, range.start.saturating_add(n - 1)),
    }
}

fn few(items: impl ExactSizeIterator<Item = String>) -> String {
    let all = items.len();
    let mut text = items.take(PLACES_MAX).collect::<Vec<_>>().join(", ");
    if all > PLACES_MAX {
        let _ = write!(text, " and {} more", all - PLACES_MAX);
    }
    text
}

fn who_yields(finding: &v1::Finding) -> String {
    match &finding.yields {
        None if finding.kind == "edits" => {
            "It is for whoever made these edits to mend; the others in that work tree are told to wait.".to_owned()
        }
        None if sides(finding).len() == 1 => "It is for whoever works there to mend.".to_owned(),
        None => "Nothing says which of them should give way: a person decides.".to_owned(),
        Some(y) => {
            let side = letter(usize::try_from(y.side).unwrap_or(0));
            format!("{side} should give way: {}.", because(&y.because))
        }
    }
}

/// Commands that can be typed as they stand.
fn next(finding: &v1::Finding, sides: &[v1::Side]) -> String {
    let live: Vec<&v1::LiveTree> =
        sides.iter().filter_map(|s| s.tree.as_ref()).filter(|t| !t.root.is_empty()).collect();
    let path = finding.paths.first().map(|path| format!(" -- {}", quoted(path))).unwrap_or_default();
    let mut text = "What to type next:\n".to_owned();
    for tree in &live {
        let from = if tree.target_commit.is_empty() { "HEAD".to_owned() } else { super::commit(&tree.target_commit) };
        let on = if tree.host_name.is_empty() { short(&tree.host) } else { &tree.host_name };
        let _ = writeln!(text, "    git -C {} diff {from}{path}    (on {})", quoted(&tree.root), plain(on));
    }
    let side = finding.yields.as_ref().and_then(|y| sides.get(usize::try_from(y.side).ok()?)?.tree.as_ref());
    if let (Some(writer), Some(path)) = (side.and_then(|tree| tree.writers.first()), finding.paths.first()) {
        let session = plain(short(&writer.session));
        let _ = writeln!(text, "    rrctl rollback --session {session} --path {} --dry-run", quoted(path));
    }
    if let [a, b] = live.as_slice() {
        let (a, b) = (quoted(&tree::name(a)), quoted(&tree::name(b)));
        let _ = writeln!(text, "    rrctl overlap --pair {a} {b} --watch");
    } else {
        text.push_str("    rrctl overlap\n");
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::watch::tree::tests::tree;

    pub(crate) fn finding(id: &str, level: u32, kind: &str, a: &v1::LiveTree, b: &v1::LiveTree) -> v1::Finding {
        let name = |t: &v1::LiveTree| v1::TreeName { host: t.host.clone(), tree: t.tree.clone() };
        v1::Finding {
            id: id.repeat(4),
            repo: "0123456789abcdef".into(),
            level,
            kind: kind.into(),
            sides: vec![name(a), name(b)],
            paths: vec!["src/a.rs".into()],
            yields: Some(v1::Yields { side: 1, because: "smaller".into() }),
            ..Default::default()
        }
    }

    #[test]
    fn findings_are_a_table_of_what_who_where_and_who_yields() {
        let (a, b) = (tree("aaaa", "one", "write the parser"), tree("bbbb", "two", ""));
        let merge = finding("1a2b", 2, "merge", &a, &b);
        let mut symbol = finding("3c4d", 1, "symbol", &a, &b);
        (symbol.about, symbol.how, symbol.yields) = ("parse".into(), "gone_or_other".into(), None);
        symbol.paths = vec!["a".into(), "b".into(), "c".into()];
        let expected = "\
ID        LEVEL       WHAT                                                   WHO                                     WHERE         YIELDS
1a2b1a2b  2 conflict  git cannot merge them                                  aaaaaaaa (write the parser) / bbbbbbbb  src/a.rs      bbbbbbbb: smaller
3c4d3c4d  1 symbol    one removes or changes parse, the other newly uses it  aaaaaaaa (write the parser) / bbbbbbbb  a and 2 more  -
";
        assert_eq!(rows(&[&merge, &symbol], &[a, b], None), expected);
    }

    #[test]
    fn a_finding_of_hostile_names_is_one_row_of_bounded_length() {
        let (mut a, b) = (tree("aaaa", "one", &"task\n".repeat(1_000)), tree("bbbb", "two", ""));
        a.writers[0].task.push('\u{1b}');
        let mut f = finding("1a2b", 1, "symbol", &a, &b);
        (f.about, f.paths) = (format!("\u{1b}]0;{}", "x".repeat(5_000)), vec![format!("a\u{7}{}", "y".repeat(5_000))]);
        (f.kind, f.how) = ("new\u{1b}kind".into(), "later".into());
        let text = rows(&[&f], &[a], None);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.len() < 600 && !text.replace('\n', "").chars().any(char::is_control), "{text}");
        assert!(text.contains("tree-two (gone)"), "{text}");
    }

    #[test]
    fn both_sides_are_explained_with_the_hunks_and_what_to_type_next() {
        let (a, b) = (tree("aaaa", "one", "write the parser"), tree("bbbb", "two", "mend the lexer"));
        let mut f = finding("1a2b", 2, "merge", &a, &b);
        f.excerpt = "<<<<<<< one\n\told\u{1b}[2J\n=======\nnew\n>>>>>>> two".into();
        let file = v1::FileEdit {
            path: "src/a.rs".into(),
            what: "changed".into(),
            lines: vec![v1::EditedLines { start: 3, count: 2 }, v1::EditedLines { start: 9, count: 0 }],
            symbols: vec![v1::EditedSymbol {
                name: "parse".into(),
                kind: "function".into(),
                change: "signature".into(),
            }],
            ..Default::default()
        };
        let side = |tree: v1::LiveTree, files| v1::Side { tree: Some(tree), files };
        let reply =
            v1::ExplainReply { finding: Some(f), sides: vec![side(a, vec![file]), side(b, vec![])], now_unix_ms: 9 };
        let expected = "\
1a2b1a2b1a2b1a2b  level 2 conflict: git cannot merge them

A  aaaaaaaa (write the parser)
   one, /w/one on box
   src/a.rs  changed; lines 3-4, before 9; signature of function parse

B  bbbbbbbb (mend the lexer)
   two, /w/two on box

What git shows of it:
    <<<<<<< one
        old [2J
    =======
    new
    >>>>>>> two

B should give way: its change is the smaller one.
What to type next:
    git -C /w/one diff cccccccccc -- src/a.rs    (on box)
    git -C /w/two diff cccccccccc -- src/a.rs    (on box)
    rrctl rollback --session bbbbbbbb --path src/a.rs --dry-run
    rrctl overlap --pair aaaaaaaa bbbbbbbb --watch
";
        assert_eq!(explain(&reply), expected);
        let json = explained(&reply);
        assert_eq!((&json["both"][0]["changes"][0]["lines"][0]["start"], &json["level"]), (&3.into(), &2.into()));
    }

    #[test]
    fn whose_edits_break_a_work_tree_is_told() {
        let a = tree("aaaa", "one", "");
        let mut f = finding("1a2b", 3, "edits", &a, &a);
        (f.about, f.yields) = ("types".into(), None);
        let mut told = |how: &str, sessions: &[&str]| {
            (f.how, f.sessions) = (how.into(), sessions.iter().map(|s| s.repeat(8)).collect());
            what(&f)
        };
        assert_eq!(told("sessions", &["cccc"]), "types fails on edits of cccccccc, not committed");
        assert_eq!(
            told("together", &["cccc", "dddd"]),
            "types fails on edits of cccccccc, dddddddd together, not committed"
        );
        assert_eq!(
            told("together", &["cccc"]),
            "types fails on edits of cccccccc and of no session together, not committed"
        );
        assert_eq!(told("nobodys", &[]), "types fails on edits of no session, not committed");
        assert_eq!(told("anybodys", &[]), "types fails on edits that are not committed");
        let side = v1::Side { tree: Some(a), files: vec![] };
        let text = explain(&v1::ExplainReply { finding: Some(f), sides: vec![side.clone(), side], now_unix_ms: 9 });
        assert!(text.contains("told to wait") && !text.contains("\nB  "), "{text}");
    }

    #[test]
    fn what_fails_alone_is_told_of_one_side() {
        let a = tree("aaaa", "one", "");
        let mut f = finding("1a2b", 3, "check", &a, &a);
        (f.about, f.yields) = ("types".into(), None);
        let text = rows(&[&f], std::slice::from_ref(&a), None);
        assert!(text.contains("types fails on what it has committed  aaaaaaaa  src/a.rs"), "{text}");
        let side = v1::Side { tree: Some(a), files: vec![] };
        let text = explain(&v1::ExplainReply { finding: Some(f), sides: vec![side.clone(), side], now_unix_ms: 9 });
        assert!(text.contains("\nA  aaaaaaaa\n") && !text.contains("\nB  ") && text.contains("to mend."), "{text}");
    }

    #[test]
    fn a_side_that_is_gone_is_said_to_be() {
        let (a, b) = (tree("aaaa", "one", ""), tree("bbbb", "two", ""));
        let gone = v1::LiveTree { host: b.host.clone(), tree: b.tree.clone(), ..Default::default() };
        let f = finding("1a2b", 2, "merge", &a, &b);
        let side = |tree| v1::Side { tree: Some(tree), files: vec![] };
        let text = explain(&v1::ExplainReply { finding: Some(f), sides: vec![side(a), side(gone)], now_unix_ms: 9 });
        assert!(text.contains("B  work tree tree-two is not live any more\n"), "{text}");
        assert!(text.ends_with("    rrctl overlap\n") && !text.contains("rollback"), "{text}");
    }
}

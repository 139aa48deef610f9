//! `rrctl blame`: which session wrote which line of a file.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use jiff::tz::TimeZone;
use rr_core::path::{RepoPath, show};
use rr_journal::{Entry, Filter, Kind as EntryKind, Order};
use serde_json::{Value, json};

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::lines::{self, Blame, Written};
use crate::journal::{self, Missing, when};
use crate::out;
use crate::table::table;

/// Show which session wrote which line that now stands in a file
///
/// Out of the journal and the kept contents; renames are not followed. A line that came by no call of an agent is
/// nobody's (`-`). Whose a line is that came where the journal has a gap, nobody knows (`?`).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file in a work tree
    #[arg(value_name = "PATH")]
    path: OsString,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let (root, path) = journal::place(&args.path)?;
    let Some(root) = root else {
        let failure = Failure::new(Kind::NotFound, format!("{} is in no repository", show(args.path.as_ref())));
        return Err(failure.hint("name a file in a work tree, from within it or by its whole path"));
    };
    let file = root.join(path.as_path());
    let text = std::fs::read_to_string(&file).map_err(|e| unread(&file, &e))?;
    let filter = Filter {
        path: Some(path.clone()),
        root: Some(root),
        kinds: Some(vec![EntryKind::Done, EntryKind::RolledBack]),
        order: Order::OldestFirst,
        ..Filter::default()
    };
    let reader = journal::reader(&hand.dirs);
    let (mut entries, mut met): (Vec<(u64, Entry)>, _) = (Vec::new(), Vec::new());
    for find in reader.query(&filter) {
        match find {
            Ok(entry) => entries.push(entry),
            Err(damage) => met.push(damage),
        }
    }
    let missing = Missing::of(&reader, met);
    let blame = lines::blame(&path, entries, &missing.points(), &text, &*journal::contents(&hand.dirs));
    hand.answer(&as_json(&path, &blame, &missing), || as_text(&blame, &missing, &TimeZone::system(), out::columns()))
}

fn unread(file: &Path, error: &std::io::Error) -> Failure {
    let what_became = format!("rrctl log --path {}", show(file));
    let failure = Failure::at(format!("read {} as text", show(file)), error);
    match error.kind() {
        ErrorKind::NotFound => failure.of_kind(Kind::NotFound).hint(what_became),
        ErrorKind::IsADirectory => failure.of_kind(Kind::Usage).hint(what_became),
        _ => failure,
    }
}

fn as_json(path: &RepoPath, blame: &Blame, missing: &Missing) -> Value {
    let line = |(n, line): (usize, &Written)| {
        let by = line.by.as_ref();
        json!({
            "line": n + 1, "session": by.map(|by| &by.session), "sequence": by.map(|by| by.sequence),
            "at_unix_ms": by.map(|by| by.at_unix_ms), "text": line.text,
            "uncertain": line.uncertain,
        })
    };
    let lines: Vec<_> = blame.lines.iter().enumerate().map(line).collect();
    let (begins, damage) = (missing.begins(), missing.json());
    json!({ "path": path.shown(), "lines": lines, "unknown": blame.unknown, "begins": begins, "damage": damage })
}

fn as_text(blame: &Blame, missing: &Missing, zone: &TimeZone, columns: Option<u16>) -> String {
    let row = |(n, line): (usize, &Written)| {
        let nobody = if line.uncertain { "?" } else { "-" };
        let (session, number, at) = line.by.as_ref().map_or_else(
            || (nobody.to_owned(), "-".to_owned(), "-".to_owned()),
            |by| (by.session.short().to_owned(), by.sequence.to_string(), when::show(by.at_unix_ms, zone)),
        );
        vec![session, number, at, (n + 1).to_string(), line.text.replace('\t', "    ")]
    };
    let rows = blame.lines.iter().enumerate().map(row);
    let mut text = table(&["SESSION", "NUMBER", "TIME", "LINE", "TEXT"], rows, columns);
    if blame.unknown > 0 {
        let what =
            format!("\nOf {} changes the bytes are not kept: what they wrote counts as nobody's.\n", blame.unknown);
        text.push_str(&what);
    }
    let uncertain = blame.lines.iter().filter(|line| line.uncertain).count();
    if let Some(removed) = missing.removed(zone).filter(|_| uncertain > 0) {
        text.push_str(&format!("\n{removed}\n"));
    }
    for damage in &missing.damage {
        text.push_str(&format!("\ndamaged: {damage}\n"));
    }
    match uncertain {
        0 if missing.damage.is_empty() => {}
        0 => text.push_str("\nNo line here came where the journal is damaged.\n"),
        1 => text.push_str("\nWho wrote the line with `?` is not known: it came where something is missing.\n"),
        n => text.push_str(&format!(
            "\nWho wrote the {n} lines with `?` is not known: they came where something is missing.\n"
        )),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::lines::Writer;
    use crate::journal::tests::{AT, of, path};

    #[test]
    fn each_line_is_a_row_and_nobodys_is_said_so() {
        let by = Some(Writer { session: of(1), sequence: 5, at_unix_ms: AT });
        let line = |text: &str, by, uncertain| Written { text: text.into(), by, uncertain };
        let lines = vec![line("fn main() {", None, false), line("\tagent();", by, false), line("}", None, true)];
        let blame = Blame { lines, unknown: 2 };
        let expected = "\
SESSION   NUMBER  TIME                 LINE  TEXT
-         -       -                    1     fn main() {
01010101  5       2023-11-14 22:13:20  2         agent();
?         -       -                    3     }

Of 2 changes the bytes are not kept: what they wrote counts as nobody's.

Who wrote the line with `?` is not known: it came where something is missing.
";
        let none = Missing::default();
        assert_eq!(as_text(&blame, &none, &TimeZone::UTC, None), expected);
        let value = as_json(&path("a.rs"), &blame, &none);
        assert_eq!((&value["lines"][0]["session"], &value["lines"][1]["sequence"]), (&Value::Null, &json!(5)));
    }
}

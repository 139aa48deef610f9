//! One entry in one row, in columns that stay where they are however much is still to come. For a person's terminal a row is cut
//! to its width, in the middle of what is long: how it begins and how it ends say the most. For a pipe it is whole.

use jiff::tz::TimeZone;
use serde_json::Value;

use crate::journal::{when, words};
use crate::table::{fit, plain, wide};

const NUMBER_COLUMNS: usize = 6;
const HOST_COLUMNS: usize = 12;
/// The longest kind.
const KIND_COLUMNS: usize = 15;
const SESSION_COLUMNS: usize = 8;
/// Less is left for what happened: then it has a line of its own.
const WORDS_COLUMNS_MIN: usize = 20;
const GAP: &str = "  ";

/// How rows are shown.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// What a row is cut to; none is whole.
    pub(crate) columns: Option<usize>,
    pub(crate) colours: bool,
    /// Entries of several hosts, each with its name.
    pub(crate) hosts: bool,
    pub(crate) zone: TimeZone,
    /// On a terminal a day is said once, above its rows.
    day: String,
}

impl Rows {
    pub(crate) const fn new(columns: Option<usize>, colours: bool, hosts: bool, zone: TimeZone) -> Self {
        Self { columns, colours, hosts, zone, day: String::new() }
    }

    pub(crate) fn heading(&self) -> String {
        let line = self.head("HOST", "NUMBER", "TIME", "SESSION", "KIND");
        self.line(&line, "WHAT", None)
    }

    /// One entry as JSON has it.
    pub(crate) fn row(&mut self, entry: &Value) -> String {
        let word = |key: &str| plain(entry[key].as_str().unwrap_or("-"));
        let number = entry["sequence"].as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
        let at = when::show(entry["at_unix_ms"].as_u64().unwrap_or(0), &self.zone);
        let (day, time) = at.split_once(' ').unwrap_or(("", &at));
        let mut text = String::new();
        if self.columns.is_some() && self.day != day {
            day.clone_into(&mut self.day);
            text.push_str(&format!("{day}\n"));
        }
        let time = if self.columns.is_some() { time } else { &at };
        let session: String = word("session").chars().take(SESSION_COLUMNS).collect();
        let head = self.head(&word("host_name"), &number, time, &session, &word("kind"));
        text + &self.line(&head, &words::of(entry), tint(entry))
    }

    fn head(&self, host: &str, number: &str, time: &str, session: &str, kind: &str) -> String {
        let time_columns = if self.columns.is_some() { "00:00:00".len() } else { "0000-00-00 00:00:00".len() };
        let host = if self.hosts { pad(host, HOST_COLUMNS) + GAP } else { String::new() };
        let number = pad(number, NUMBER_COLUMNS);
        let (time, session) = (pad(time, time_columns), pad(session, SESSION_COLUMNS));
        [host + &number, time, session, pad(kind, KIND_COLUMNS)].join(GAP)
    }

    fn line(&self, head: &str, words: &str, tint: Option<Tint>) -> String {
        let Some(columns) = self.columns else { return format!("{head}{GAP}{words}\n") };
        let left = columns.saturating_sub(wide(head) + GAP.len());
        if left >= WORDS_COLUMNS_MIN {
            return self.tinted(&format!("{head}{GAP}{}", fit(words, left)), tint);
        }
        let below = format!("{GAP}{}", fit(words, columns.saturating_sub(GAP.len())));
        let head: String = fit(head.trim_end(), columns);
        self.tinted(&head, tint) + &self.tinted(&below, tint)
    }

    fn tinted(&self, line: &str, tint: Option<Tint>) -> String {
        match tint.filter(|_| self.colours) {
            Some(tint) => format!("\u{1b}[{}m{}\u{1b}[0m\n", tint.code(), line.trim_end()),
            None => format!("{}\n", line.trim_end()),
        }
    }
}

fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(wide(text));
    text.to_owned() + &" ".repeat(missing)
}

/// What a row is about, at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tint {
    Refused,
    Waits,
    Changed,
    Said,
    /// A step on the way.
    Minor,
}

impl Tint {
    const fn code(self) -> &'static str {
        match self {
            Self::Refused => "31",
            Self::Waits => "33",
            Self::Changed => "32",
            Self::Said => "36",
            Self::Minor => "2",
        }
    }
}

fn tint(entry: &Value) -> Option<Tint> {
    let word = |key: &str| entry[key].as_str().unwrap_or_default();
    Some(match word("kind") {
        "verdict" => match word("verdict") {
            "denied" | "stopped" => Tint::Refused,
            "asked" | "shadowed" => Tint::Waits,
            _ => return None,
        },
        "approval" if matches!(word("outcome"), "rejected" | "expired") => Tint::Refused,
        "approval" | "paused" | "resumed" => Tint::Waits,
        "lock" if matches!(word("how"), "lost" | "taken") => Tint::Refused,
        "missed" => Tint::Refused,
        "done" if entry["ok"] == false => Tint::Waits,
        "done" if entry["changes"].as_array().is_some_and(|changes| !changes.is_empty()) => Tint::Changed,
        "rolled-back" => Tint::Changed,
        "told" => Tint::Said,
        "done" | "lock" | "snapped" | "started" | "forgotten" => Tint::Minor,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::AT;
    use serde_json::json;

    fn told(at: u64, text: &str) -> Value {
        json!({ "sequence": 7, "at_unix_ms": at, "session": "0123456789", "kind": "told", "text": text, "cut": 0 })
    }

    fn rows(columns: Option<usize>) -> Rows {
        Rows::new(columns, false, false, TimeZone::UTC)
    }

    #[test]
    fn a_row_fits_the_terminal_and_is_cut_in_the_middle() {
        let long = format!("begin {} end", "x".repeat(200));
        for columns in [20, 40, 64, 80, 200] {
            let mut rows = rows(Some(columns));
            let text = rows.heading() + &rows.row(&told(AT, &long)) + &rows.row(&told(AT, "宽".repeat(99).as_str()));
            assert!(text.lines().all(|line| wide(line) <= columns), "{columns}: {text}");
            assert!(text.contains("x end") || columns == 20, "{text}");
        }
        let text = rows(Some(80)).row(&told(AT, &long));
        let expected = "2023-11-14\n7       22:13:20  01234567  told             begin xxxxxxxxxxxxxxxxx…xxxxxxx end\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_day_is_said_once_on_a_terminal_and_in_each_row_elsewhere() {
        let mut on_screen = rows(Some(80));
        let days = [AT, AT + 1_000, AT + 86_400_000].map(|at| on_screen.row(&told(at, "x")).lines().count());
        assert_eq!(days, [2, 1, 2]);
        let mut piped = rows(None);
        let long = "x".repeat(900);
        assert_eq!(piped.row(&told(AT, &long)).lines().count(), 1);
        assert!(piped.row(&told(AT, &long)).contains(&long) && piped.row(&told(AT, "x")).contains("2023-11-14 22:"));
    }

    #[test]
    fn columns_stand_where_the_heading_says_whatever_comes() {
        let mut rows = Rows::new(None, false, true, TimeZone::UTC);
        let mut entry = told(AT, "hello");
        entry["host_name"] = json!("box");
        let (heading, row) = (rows.heading(), rows.row(&entry));
        for (name, word) in [("HOST", "box"), ("NUMBER", "7 "), ("TIME", "2023"), ("KIND", "told"), ("WHAT", "hello")] {
            assert_eq!(heading.find(name), row.find(word), "{heading}{row}");
        }
    }

    #[test]
    fn colours_are_there_only_if_wanted_and_never_the_agents_own() {
        let mut rows = Rows::new(Some(80), true, false, TimeZone::UTC);
        let refused = json!({ "kind": "verdict", "verdict": "denied", "reason": "\u{1b}[32mgood" });
        let row = rows.row(&refused);
        assert!(row.contains("\u{1b}[31m") && !row.contains("\u{1b}[32m"), "{row:?}");
        rows.colours = false;
        assert!(!rows.row(&refused).contains('\u{1b}'));
    }
}

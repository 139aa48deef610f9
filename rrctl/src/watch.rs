//! What the watcher knows, as a person reads it: work trees and what they have against each other, the health of
//! branches, and breaks. Texts and JSON of the wire's messages, nothing is asked here. Names, paths and output come
//! from agents: they are cut to what a person reads, and cannot move the cursor. The commands are `cmd::{overlap,
//! conflicts, health, incident}`.

pub(crate) mod alarm;
pub(crate) mod finding;
pub(crate) mod health;
pub(crate) mod incident;
pub(crate) mod proof;
pub(crate) mod tree;

use serde_json::Value;

use crate::exit::{Failure, Kind};
use crate::publish::Pusher;
use crate::table::plain;

/// Characters of a task, a subject or a path in a table: what a person takes in.
pub(crate) const CELL_CHARS_MAX: usize = 60;
/// Digits of a commit that git shows.
const COMMIT_DIGITS: usize = 10;

/// On one line and no longer than `chars_max`.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    let line = plain(text);
    let mut rest = line.char_indices().skip(chars_max.saturating_sub(1));
    match (rest.next(), rest.next()) {
        (Some((at, _)), Some(_)) => format!("{}…", &line[..at]),
        _ => line,
    }
}

/// The first digits of a commit; `-` for none.
pub(crate) fn commit(id: &str) -> String {
    match id {
        "" => "-".to_owned(),
        id => plain(id.get(..COMMIT_DIGITS).unwrap_or(id)),
    }
}

/// A word as it has to be typed for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let word = plain(word);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// "1 commit", "3 commits".
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

pub(crate) fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// Lines of a text, indented and without what moves the cursor; the first `lines_max` of them.
pub(crate) fn indented(text: &str, lines_max: usize) -> String {
    let mut shown = String::new();
    for line in text.lines().take(lines_max) {
        shown.push_str(format!("    {}", plain(&line.replace('\t', "    "))).trim_end());
        shown.push('\n');
    }
    match text.lines().count().saturating_sub(lines_max) {
        0 => {}
        more => shown.push_str(&format!("    … {more} more {}\n", if more == 1 { "line" } else { "lines" })),
    }
    shown
}

/// Refuses what is a person's to decide where the command is an agent's.
pub(crate) fn only_a_person(may: &str) -> Result<(), Failure> {
    match Pusher::of_environment() {
        Pusher::Person => Ok(()),
        Pusher::Agent { session } => Err(Failure::new(Kind::Refused, format!("only a person can {may}"))
            .because(format!("this is a command of agent session {session}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_moves_the_cursor_is_not_kept() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("é\u{1b}[2J", 9), "é [2J");
        assert_eq!(cut(&"x".repeat(100_000), 60).chars().count(), 60);
        assert_eq!(indented("a\n\tb\u{7}\nc\nd", 2), "    a\n        b\n    … 2 more lines\n");
    }

    #[test]
    fn a_command_can_be_typed_as_it_stands() {
        assert_eq!(quoted("/w/a-b.rs"), "/w/a-b.rs");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(x)\n"), r"'it'\''s $(x) '");
        assert_eq!(quoted(""), "''");
    }
}

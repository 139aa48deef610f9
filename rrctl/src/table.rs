//! Plain tables: columns, no lines, so that `awk` reads what a person reads; and ages short enough for them. Nothing that
//! an agent wrote can move the cursor of the terminal.

use std::time::Duration;

use comfy_table::{ContentArrangement, Row, Table};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A column that has less than it needs and less than this is no longer read, but spelt.
const READABLE_COLUMNS: usize = 8;
const GAP_COLUMNS: u16 = 2;

/// Rows under headings. `columns` limits the width; `None` (no terminal) leaves every row on one line. Where the columns have no
/// room beside each other, each row is a paragraph.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>, columns: Option<u16>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    if let Some(width) = columns.map(usize::from).filter(|width| !rows.is_empty() && least(headings, &rows) > *width) {
        return paragraphs(headings, &rows, width);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    match columns {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(Row::from(headings.to_vec()));
    table.add_rows(rows);
    let last = headings.len().saturating_sub(1);
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if n == last { 0 } else { GAP_COLUMNS }));
    }
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// What a table must have at least to be read.
fn least(headings: &[&str], rows: &[Vec<String>]) -> usize {
    let column = |(n, heading): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| wide(cell));
        cells.chain([wide(heading)]).max().unwrap_or(0).min(READABLE_COLUMNS)
    };
    headings.iter().enumerate().map(column).sum::<usize>() + usize::from(GAP_COLUMNS) * headings.len().saturating_sub(1)
}

/// Each row as lines of a heading and its cell, with nothing left out.
fn paragraphs(headings: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let head = headings.iter().map(|heading| wide(heading)).max().unwrap_or(0) + usize::from(GAP_COLUMNS);
    let paragraph = |row: &Vec<String>| {
        let mut text = String::new();
        for (heading, cell) in headings.iter().zip(row) {
            for (n, part) in wrapped(cell, width.saturating_sub(head).max(READABLE_COLUMNS)).iter().enumerate() {
                let name = if n == 0 { *heading } else { "" };
                text.push_str(format!("{name:head$}{part}").trim_end());
                text.push('\n');
            }
        }
        text
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// Control characters out, and what makes a text look like another one: tasks, commands and names come from programs that are not
/// trusted with a terminal.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        _ if c.is_control() => ' ',
        // Marks without a width, and those that turn the order of what follows.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(shown).collect()
}

/// How many columns of a terminal a text takes.
pub(crate) fn wide(text: &str) -> usize {
    text.width()
}

/// At most so many columns: what is longer is cut in its middle, nearer to its end.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if wide(text) <= columns {
        return text.to_owned();
    }
    let left = columns.saturating_sub(1);
    let head = taken(text.chars(), left - left / 3);
    let tail: String = taken(text.chars().rev(), left / 3).chars().rev().collect();
    if columns == 0 { String::new() } else { format!("{head}…{tail}") }
}

/// As lines of at most so many columns, with nothing left out.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        let more = c.width().unwrap_or(0);
        if used + more > columns && used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if more <= columns {
            line.push(c);
            used += more;
        }
    }
    lines.push(line);
    lines
}

/// As many as have room.
fn taken(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    let has_room = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    chars.take_while(has_room).collect()
}

/// "now", "12s", "3m", "5h", "2d": two characters of truth.
pub(crate) fn age(ms: u64) -> String {
    let s = Duration::from_millis(ms).as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let ages = [0, 999, 12_000, 59_999, 60_000, 3_599_000, 3_600_000, 86_399_000, 86_400_000, 864_000_000];
        let short = ["0s", "0s", "12s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"];
        assert_eq!(ages.map(age), short);
    }

    #[test]
    fn a_table_is_plain_columns_without_lines_or_trailing_blanks() {
        let rows = [vec!["src/a.rs".to_owned(), "7".to_owned()], vec!["b".to_owned(), "12345".to_owned()]];
        assert_eq!(table(&["LOCK", "PID"], rows, None), "LOCK      PID\nsrc/a.rs  7\nb         12345\n");
        assert_eq!(table(&["LOCK", "PID"], [], None), "LOCK  PID\n");
    }

    #[test]
    fn without_a_terminal_a_row_is_one_line_however_long() {
        let text = table(&["LOCK"], [vec!["x".repeat(500)]], None);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn where_columns_have_no_room_each_row_is_a_paragraph_with_all_of_it() {
        let row =
            |n: u8| vec![format!("session-{n}"), "root (person)".to_owned(), "/home/dev/shop/packages".to_owned()];
        let headings = ["SESSION", "AGENT", "FOLDER"];
        let beside = table(&headings, [row(1)], Some(30));
        assert!(beside.starts_with("SESSION"), "{beside}");
        let text = table(&headings, [row(1), row(2)], Some(27));
        let one = |n: u8| {
            format!("SESSION  session-{n}\nAGENT    root (person)\nFOLDER   /home/dev/shop/pac\n         kages\n")
        };
        assert_eq!(text, one(1) + "\n" + &one(2));
    }

    #[test]
    fn what_is_too_long_is_cut_in_the_middle_or_goes_on_below() {
        assert_eq!(fit("abcdefghij", 10), "abcdefghij");
        assert_eq!(fit("abcdefghijk", 10), "abcdef…ijk");
        assert_eq!((fit("abc", 1), fit("abc", 0)), ("…".to_owned(), String::new()));
        assert_eq!(fit("宽宽宽宽", 5), "宽…", "a wide character has two columns");
        assert_eq!(wrapped("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(wrapped("宽宽a", 3), ["宽", "宽a"]);
        assert_eq!((wrapped("", 3), wrapped("abc", 0)), (vec![String::new()], vec![String::new()]));
    }

    #[test]
    fn what_an_agent_wrote_cannot_look_like_something_else() {
        assert_eq!(plain("npm publish\u{202e}hsilbup\u{200b}"), "npm publish\u{fffd}hsilbup\u{fffd}");
    }

    #[test]
    fn what_an_agent_wrote_cannot_move_the_cursor() {
        let text = table(&["TASK"], [vec!["\u{1b}[2Jgone\nline".to_owned()]], None);
        assert_eq!(text, "TASK\n [2Jgone line\n");
    }
}

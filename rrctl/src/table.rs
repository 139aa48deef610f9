//! Plain tables: columns, no lines, so that `awk` reads what a person reads; and ages short enough for them. Nothing that
//! an agent wrote can move the cursor of the terminal.

use std::time::Duration;

use comfy_table::{ContentArrangement, Row, Table};

/// Rows under headings. `columns` limits the width; `None` (no terminal) leaves every row on one line.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>, columns: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    match columns {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(Row::from(headings.to_vec()));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    }
    let last = headings.len().saturating_sub(1);
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if n == last { 0 } else { 2 }));
    }
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// Control characters out: tasks and agents' names come from programs that are not trusted with a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    fn what_an_agent_wrote_cannot_move_the_cursor() {
        let text = table(&["TASK"], [vec!["\u{1b}[2Jgone\nline".to_owned()]], None);
        assert_eq!(text, "TASK\n [2Jgone line\n");
    }
}

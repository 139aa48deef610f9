//! SQL as rules need it: which words a client is given as a statement, taken apart into statements of plain words.
//! Strings, comments and quoted names are told from words, so data and prose are no statements. Used by `pattern`.

use std::ops::Range;

use rr_shell::{Invocation, Word};

/// Text looked at for one call; a dump is longer, and is no statement typed by hand.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Programs that send SQL (or their own language of commands) to a database, in order.
pub(crate) const CLIENTS: &[&str] = &[
    "beeline",
    "bq",
    "clickhouse",
    "clickhouse-client",
    "cockroach",
    "cqlsh",
    "dbmate",
    "drizzle-kit",
    "duckdb",
    "heroku",
    "hive",
    "influx",
    "isql",
    "knex",
    "litecli",
    "mariadb",
    "mongo",
    "mongosh",
    "mssql-cli",
    "mycli",
    "mysql",
    "neonctl",
    "osqueryi",
    "pgcli",
    "presto",
    "prisma",
    "pscale",
    "psql",
    "rails",
    "redis-cli",
    "sequelize",
    "snowsql",
    "spark-sql",
    "sqlcmd",
    "sqlite",
    "sqlite3",
    "sqlplus",
    "sqlx",
    "supabase",
    "trino",
    "turso",
    "typeorm",
    "usql",
    "valkey-cli",
    "wrangler",
];

/// The statements that a client is given, as words in upper case; none for other programs. The words are places in one text:
/// a dump has thousands of them.
#[derive(Default)]
pub(crate) struct Statements {
    text: String,
    words: Vec<Range<usize>>,
    /// Where each statement ends among the words.
    ends: Vec<usize>,
}

/// One statement.
#[derive(Clone, Copy)]
pub(crate) struct Statement<'s> {
    text: &'s str,
    words: &'s [Range<usize>],
}

impl<'s> Statement<'s> {
    pub(crate) fn words(self) -> impl Iterator<Item = &'s str> {
        self.words.iter().map(|word| &self.text[word.clone()])
    }

    /// Whether the words stand in it one after another.
    pub(crate) fn contains(self, words: &[String]) -> bool {
        let is_here =
            |window: &[Range<usize>]| window.iter().zip(words).all(|(at, word)| self.text[at.clone()] == **word);
        !words.is_empty() && self.words.windows(words.len()).any(is_here)
    }
}

impl Statements {
    pub(crate) fn new(name: &str, call: &Invocation) -> Self {
        let texts = || call.args.iter().map(Word::text);
        let mut out = Self::default();
        if CLIENTS.binary_search(&name).is_err() || texts().any(|text| text == ":memory:") {
            return out;
        }
        let words = texts().map(|text| match text.split_once('=') {
            Some((option, value)) if option.starts_with('-') => value,
            _ => match text.get(..2) {
                Some("-c" | "-e" | "-Q" | "-q") => &text[2..],
                _ => text,
            },
        });
        if matches!(name, "redis-cli" | "valkey-cli") {
            for text in texts() {
                let start = out.text.len();
                out.text.push_str(&text.to_uppercase());
                out.words.push(start..out.text.len());
            }
            out.end();
        }
        for text in words.chain(call.stdin.as_deref()) {
            out.split(text.get(..TEXT_BYTES_MAX.min(text.len())).unwrap_or_default());
        }
        out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Statement<'_>> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let words = &self.words[std::mem::replace(&mut from, *end)..*end];
            Statement { text: &self.text, words }
        })
    }

    fn end(&mut self) {
        if self.ends.last().copied().unwrap_or_default() < self.words.len() {
            self.ends.push(self.words.len());
        }
    }

    fn split(&mut self, text: &str) {
        let mut at = self.text.len();
        self.text.push_str(&text.to_uppercase());
        while let Some(c) = self.text[at..].chars().next() {
            let rest = &self.text[at..];
            let word_len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let taken = if word_len > 0 {
                self.words.push(at..at + word_len);
                word_len
            } else if c == ';' {
                self.end();
                1
            } else if rest.starts_with("--") || rest.starts_with("\\ECHO") || c == '#' {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |at| at + 2)
            } else if c == '\'' && self.words.last().is_some_and(|word| self.text[word.clone()] == *"EXECUTE") {
                // The string is a statement.
                1
            } else if c == '\'' {
                // A string is one word, whatever it says: its quote.
                let len = rest[1..].find('\'').map_or(rest.len(), |at| at + 2);
                self.words.push(at..at + 1);
                len
            } else {
                c.len_utf8()
            };
            at += taken;
        }
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let mut statements = Statements::default();
        statements.split(text);
        statements.iter().map(|statement| statement.words().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn comments_and_strings_are_no_words() {
        assert_eq!(of("drop/**/table a; -- drop table b\nselect 'drop table c'"), ["DROP TABLE A", "SELECT '"]);
        assert_eq!(of("DROP TABLE \"users\""), ["DROP TABLE USERS"]);
        assert_eq!(of("'open"), ["'"]);
    }

    #[test]
    fn clients_are_found_by_name() {
        assert!(CLIENTS.is_sorted(), "they are searched as such");
    }
}

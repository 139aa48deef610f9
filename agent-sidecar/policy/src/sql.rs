//! SQL as rules need it: which words a client is given as a statement, taken apart into statements of plain words.
//! Strings, comments and quoted names are told from words, so data and prose are no statements. Used by `pattern`.

use rr_shell::{Invocation, Word};

/// Text looked at for one call; a dump is longer, and is no statement typed by hand.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Programs that send SQL (or their own language of commands) to a database.
pub(crate) const CLIENTS: &[&str] = &[
    "psql",
    "pgcli",
    "mysql",
    "mariadb",
    "mycli",
    "sqlite3",
    "sqlite",
    "litecli",
    "sqlcmd",
    "mssql-cli",
    "clickhouse-client",
    "clickhouse",
    "duckdb",
    "cockroach",
    "bq",
    "snowsql",
    "isql",
    "sqlplus",
    "usql",
    "cqlsh",
    "trino",
    "presto",
    "redis-cli",
    "valkey-cli",
    "mongosh",
    "mongo",
    "wrangler",
    "prisma",
    "turso",
    "supabase",
    "heroku",
    "rails",
    "dbmate",
    "spark-sql",
    "beeline",
    "hive",
    "influx",
    "osqueryi",
    "neonctl",
    "pscale",
    "sqlx",
    "knex",
    "typeorm",
    "sequelize",
    "drizzle-kit",
];

/// The statements that a client is given, each as its words in upper case; none for other programs.
pub(crate) fn statements(name: &str, call: &Invocation) -> Vec<Vec<String>> {
    let texts = || call.args.iter().map(Word::text);
    if !CLIENTS.contains(&name) || texts().any(|text| text == ":memory:") {
        return Vec::new();
    }
    let words = texts().map(|text| match text.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => match text.get(..2) {
            Some("-c" | "-e" | "-Q" | "-q") => &text[2..],
            _ => text,
        },
    });
    let mut out = Vec::new();
    if matches!(name, "redis-cli" | "valkey-cli") {
        out.push(texts().map(str::to_uppercase).collect());
    }
    for text in words.chain(call.stdin.as_deref()) {
        split(text.get(..TEXT_BYTES_MAX.min(text.len())).unwrap_or_default(), &mut out);
    }
    out
}

fn split(text: &str, out: &mut Vec<Vec<String>>) {
    let mut statement: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word_len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let taken = if word_len > 0 {
            statement.push(rest[..word_len].to_uppercase());
            word_len
        } else if c == ';' {
            out.push(std::mem::take(&mut statement));
            1
        } else if rest.starts_with("--") || rest.starts_with("\\echo") || c == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '\'' {
            statement.push("''".to_owned());
            rest[1..].find('\'').map_or(rest.len(), |at| at + 2)
        } else {
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    out.push(statement);
    out.retain(|statement| !statement.is_empty());
}

/// Whether the words stand in the statement one after another.
pub(crate) fn contains(statement: &[String], words: &[String]) -> bool {
    !words.is_empty() && statement.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        split(text, &mut out);
        out.iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn comments_and_strings_are_no_words() {
        assert_eq!(of("drop/**/table a; -- drop table b\nselect 'drop table c'"), ["DROP TABLE A", "SELECT ''"]);
        assert_eq!(of("DROP TABLE \"users\""), ["DROP TABLE USERS"]);
        assert_eq!(of("'open"), ["''"]);
    }
}

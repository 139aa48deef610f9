//! `go.mod`: what is required, replaced and excluded, and the language's version.
//! It refuses to know what a version means. Next: compared by key in [`super`].

use super::Packages;

/// Statements with one module a line.
const STATEMENTS: [&str; 5] = ["require", "replace", "exclude", "retract", "tool"];
/// Statements with one word.
const WORDS: [&str; 4] = ["module", "go", "toolchain", "godebug"];

/// Nothing if it does not parse.
pub(super) fn packages(text: &str) -> Option<Packages> {
    let mut found = Packages::new();
    let mut block: Option<&str> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split("//").next().unwrap_or_default().split_whitespace().collect();
        match (block, words.as_slice()) {
            (_, []) => {}
            (Some(_), [")"]) => block = None,
            (Some(statement), words) => entry(statement, words, &mut found)?,
            (None, [statement, "("]) => block = Some(known(statement)?),
            (None, [statement, words @ ..]) => entry(known(statement)?, words, &mut found)?,
        }
    }
    block.is_none().then_some(found)
}

fn known(statement: &str) -> Option<&'static str> {
    STATEMENTS.into_iter().chain(WORDS).find(|known| *known == statement)
}

fn entry(statement: &str, words: &[&str], found: &mut Packages) -> Option<()> {
    let (key, value) = match (statement, words) {
        ("require" | "exclude", [module, version]) => (format!("{statement}/{module}"), (*version).to_owned()),
        ("replace", words) => {
            let arrow = words.iter().position(|word| *word == "=>")?;
            let (from, to) = (words[..arrow].join(" "), words[arrow + 1..].join(" "));
            (format!("replace/{from}"), (!from.is_empty() && !to.is_empty()).then_some(to)?)
        }
        ("retract" | "tool" | "godebug", [first, ..]) => (format!("{statement}/{first}"), words.join(" ")),
        ("module" | "go" | "toolchain", [word]) => (statement.to_owned(), (*word).to_owned()),
        _ => return None,
    };
    // A module may be excluded at several versions.
    let versions = found.entry(key).or_default();
    if !versions.is_empty() {
        versions.push_str(" | ");
    }
    versions.push_str(&value);
    Some(())
}

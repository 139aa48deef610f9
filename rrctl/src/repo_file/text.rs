//! The text of a railroad.yaml as lines: where a key stands and where what is below it ends, so that something can be added and comments, order,
//! quoting and line ends of the rest stay. It knows no key's meaning; whoever adds checks on the parsed document that it is as meant.

use serde_json::{Map, Value};

/// Where the first entry of a block stands.
pub(crate) const INDENT: &str = "  ";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// It stands there.
    Present,
    Text(String),
}

/// Why the text is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cannot {
    #[error("it is no YAML mapping that can be added to")]
    Unreadable,
    #[error("`allow` is no plain list there")]
    NoList,
    #[error("`scopes` is no plain mapping there")]
    NoMapping,
    #[error("a scope `{0}` stands there already, and says something else")]
    Taken(String),
    #[error("it is written in a way that cannot be added to safely")]
    Form,
}

pub(crate) fn document(text: &str) -> Result<Map<String, Value>, Cannot> {
    match serde_yaml::from_str::<Option<Value>>(text) {
        Ok(None | Some(Value::Null)) => Ok(Map::new()),
        Ok(Some(Value::Object(map))) => Ok(map),
        Ok(Some(_)) | Err(_) => Err(Cannot::Unreadable),
    }
}

/// How its lines end.
pub(crate) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The line that has this key at the top of the document.
pub(crate) fn line_of(lines: &[&str], key: &str) -> Option<usize> {
    lines.iter().position(|line| after_key(line, key).is_some())
}

/// A key of its own at the end, `block` below it.
pub(crate) fn append(lines: &[&str], key: &str, block: &str, end: &str) -> Result<String, Cannot> {
    if lines.iter().any(|line| is_content(line) && line.starts_with(['{', '.'])) {
        return Err(Cannot::Form);
    }
    Ok(insert(lines, lines.len(), &format!("{key}:{end}{block}"), end))
}

/// Before which line something is added below the key in line `at`, and how far it is indented: beside what begins with `mark`, where
/// that is given. The block goes on as long as lines are indented, or begin with that mark.
pub(crate) fn end_of_block<'a>(
    lines: &[&'a str],
    (at, key): (usize, &str),
    mark: Option<char>,
) -> Result<(usize, &'a str), Cannot> {
    let value = after_key(lines[at], key).unwrap_or_default().trim_start();
    if !(value.is_empty() || value.starts_with('#') || value.trim_end().is_empty()) {
        return Err(Cannot::Form);
    }
    let goes_on =
        |line: &&&str| !is_content(line) || line.starts_with(' ') || mark.is_some_and(|mark| line.starts_with(mark));
    let below = lines[at + 1..].iter().take_while(goes_on);
    let own: Vec<(usize, &&str)> = below.enumerate().filter(|(_, line)| is_content(line)).collect();
    let (Some((_, first)), Some((last, _))) = (own.first(), own.last()) else { return Ok((at + 1, INDENT)) };
    let indent = &first[..first.len() - first.trim_start_matches(' ').len()];
    let begins_as_meant = match mark {
        Some(mark) => first[indent.len()..].strip_prefix(mark).is_some_and(|rest| rest.starts_with(' ')),
        None => !first[indent.len()..].starts_with(['{', '[', '-']),
    };
    if begins_as_meant { Ok((at + 1 + last + 1, indent)) } else { Err(Cannot::Form) }
}

/// What follows the key on a line that has it.
pub(crate) fn after_key<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let names = [key.to_owned(), format!("\"{key}\""), format!("'{key}'")];
    let rest = names.iter().find_map(|name| line.strip_prefix(name.as_str()))?;
    let rest = rest.trim_start_matches(' ').strip_prefix(':')?;
    let rest = rest.trim_end_matches(['\n', '\r']);
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

pub(crate) fn insert(lines: &[&str], at: usize, new: &str, end: &str) -> String {
    let (head, tail) = (lines[..at].concat(), lines[at..].concat());
    let break_first = if head.is_empty() || head.ends_with('\n') { "" } else { end };
    format!("{head}{break_first}{new}{tail}")
}

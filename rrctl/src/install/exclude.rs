//! The lines in `.git/info/exclude` that keep Railroad's local files out of commits. Owns a marked block and its exact
//! removal: text in, text out. Refuses to know git's matching; it compares lines. Next: `../install.rs`.

use super::Scope;

const BEGIN: &str = "# >>> railroad: local files of this machine";
const END: &str = "# <<< railroad";

/// Ends the first line if the text before the block had no newline, so that removal gives the same bytes back.
const JOINED: &str = " (joined)";

const STATE: &str = "/.railroad/";
const SETTINGS: [&str; 2] = ["/.claude/settings.local.json", "/.claude/settings.local.json.before-railroad"];

/// `text` with the block; `None` = there is no file and none is needed.
pub(super) fn add(text: Option<&str>, scope: Scope, ignored: &str) -> Option<String> {
    let clean = take_out(text);
    let known = format!("{}\n{ignored}", clean.as_deref().unwrap_or_default());
    let settings = if scope == Scope::ProjectLocal { &SETTINGS[..] } else { &[] };
    let missing: Vec<&str> = [STATE].iter().chain(settings).copied().filter(|line| !is_listed(&known, line)).collect();
    let is_there = text.is_some_and(|text| missing.iter().all(|line| block_of(text).lines().any(|has| has == *line)));
    if missing.is_empty() || is_there {
        return text.map(str::to_owned);
    }
    let mut out = clean.unwrap_or_default();
    let joined = !out.is_empty() && !out.ends_with('\n');
    out.push_str(if joined { "\n" } else { "" });
    out.push_str(BEGIN);
    out.push_str(if joined { JOINED } else { "" });
    for line in missing {
        out.push('\n');
        out.push_str(line);
    }
    out.push('\n');
    out.push_str(END);
    out.push('\n');
    Some(out)
}

/// `text` without the block; `None` = the file was ours alone.
pub(super) fn take_out(text: Option<&str>) -> Option<String> {
    let text = text?;
    let block = block_of(text);
    if block.is_empty() {
        return Some(text.to_owned());
    }
    let (before, rest) = text.split_once(block).unwrap_or((text, ""));
    let was_joined = block.lines().next().is_some_and(|first| first.ends_with(JOINED));
    // With lines behind the block the newline separates them and stays.
    let gives_newline_back = was_joined && rest.is_empty();
    let before = if gives_newline_back { before.strip_suffix('\n').unwrap_or(before) } else { before };
    let out = format!("{before}{rest}");
    (!out.is_empty()).then_some(out)
}

/// The marked lines, ends included; empty if there are none, or no end.
fn block_of(text: &str) -> &str {
    let Some(start) = text.find(BEGIN) else {
        return "";
    };
    let Some(len) = text[start..].find(END).map(|at| at + END.len()) else {
        return "";
    };
    let newline = usize::from(text[start + len..].starts_with('\n'));
    &text[start..start + len + newline]
}

/// Whether a line says the same, with or without the slashes at its ends.
fn is_listed(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| line.trim().trim_matches('/') == wanted.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_twice_is_adding_once_and_removal_gives_every_byte_back() {
        for text in [None, Some("# git\n*.log\n"), Some("no newline"), Some("\n\n"), Some("a\r\nb\r\n")] {
            let once = add(text, Scope::ProjectLocal, "").unwrap();
            assert_eq!(add(Some(&once), Scope::ProjectLocal, "").as_deref(), Some(&once[..]));
            assert_eq!(take_out(Some(&once)).as_deref(), text);
        }
    }

    #[test]
    fn lines_added_behind_the_block_stay() {
        let once = add(Some("a"), Scope::User, "").unwrap();
        assert_eq!(take_out(Some(&format!("{once}b\n"))).unwrap(), "a\nb\n");
    }

    #[test]
    fn what_is_ignored_already_is_not_repeated() {
        let text = add(None, Scope::ProjectLocal, ".railroad\n.claude/settings.local.json\n").unwrap();
        assert!(!text.contains("\n/.railroad/") && !text.contains("local.json\n"));
        assert!(text.contains(".before-railroad"));
        assert_eq!(add(None, Scope::User, ".railroad/\n"), None);
        assert!(!add(None, Scope::User, "").unwrap().contains("settings"));
    }
}

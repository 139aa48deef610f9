//! One more entry under `allow:` in the text of a railroad.yaml: text in, text out. Comments, order, quoting and line ends of
//! what stands there stay; where the text is one that could be misread, it says so instead. What was meant is checked on the
//! parsed document: the same as before, and one entry more. It knows no file and no rule's meaning.

use serde_json::Value;

use crate::repo_file::text::{
    Cannot, Edit, INDENT, after_key, append, document, end_of_block, insert, line_end, line_of,
};

const KEY: &str = "allow";
/// A rule that a person reads at one glance.
const ENTRY_BYTES_MAX: usize = 300;

/// The rule in plain words that means this command, if it is a program and its words alone: what a shell would make more
/// of, what was cut, and what was blacked out is none.
pub(super) fn of_command(tool: &str, command: &str) -> Option<String> {
    let tool = tool.to_lowercase();
    let runs_commands = ["bash", "shell", "exec", "command", "terminal"].iter().any(|word| tool.contains(word));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./:=@,+%".contains(c);
    let command = command.trim();
    let entry = command.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let starts_with_a_program = entry.split(' ').next().is_some_and(|word| !word.is_empty() && !word.contains('='));
    let fits = runs_commands && starts_with_a_program && entry.len() <= ENTRY_BYTES_MAX;
    (fits && !entry.starts_with('-') && command.chars().all(is_plain)).then_some(entry)
}

/// The entry with its key, for a person to add.
pub(super) fn alone(entry: &str) -> String {
    format!("{KEY}:\n{INDENT}- {}\n", scalar(entry))
}

/// The text with the entry under `allow:`.
pub(super) fn with_entry(text: &str, entry: &str) -> Result<Edit, Cannot> {
    let before = document(text)?;
    let listed = match before.get(KEY) {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(entries)) => entries.clone(),
        Some(_) => return Err(Cannot::NoList),
    };
    if listed.iter().any(|e| e.as_str() == Some(entry)) {
        return Ok(Edit::Present);
    }
    let after = add(text, entry)?;
    let mut wanted = before;
    wanted.insert(KEY.to_owned(), Value::Array([listed, vec![Value::String(entry.to_owned())]].concat()));
    let is_meant = document(&after).is_ok_and(|found| found == wanted);
    if is_meant { Ok(Edit::Text(after)) } else { Err(Cannot::Form) }
}

fn add(text: &str, entry: &str) -> Result<String, Cannot> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let end = line_end(text);
    let Some(at) = line_of(&lines, KEY) else {
        return append(&lines, KEY, &format!("{INDENT}- {}{end}", scalar(entry)), end);
    };
    if after_key(lines[at], KEY).unwrap_or_default().trim_start().starts_with('[') {
        return into_brackets(&lines, at, entry);
    }
    let (place, indent) = end_of_block(&lines, (at, KEY), Some('-'))?;
    Ok(insert(&lines, place, &format!("{indent}- {}{end}", scalar(entry)), end))
}

/// Adds before the bracket that closes the list.
fn into_brackets(lines: &[&str], at: usize, entry: &str) -> Result<String, Cannot> {
    let start: usize = lines[..at].iter().map(|line| line.len()).sum();
    let text = lines.concat();
    let open = start + text[start..].find('[').ok_or(Cannot::Form)?;
    let (mut last, mut depth, mut quote, mut comment) = (open, 0_u32, None::<char>, false);
    let mut before = ' ';
    for (offset, c) in text[open..].char_indices() {
        let place = open + offset;
        let was = std::mem::replace(&mut before, c);
        match (quote, c) {
            _ if comment => comment = c != '\n',
            (Some('"'), '"') if was == '\\' => return Err(Cannot::Form),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '#') if was.is_whitespace() => {
                comment = true;
                continue;
            }
            (None, '"' | '\'') if matches!(was, ' ' | '[' | ',' | '\n') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            let comma = match text[last..=last].chars().next() {
                Some('[') if last == open => "",
                Some(',') => " ",
                _ => ", ",
            };
            // Always quoted: in brackets more characters mean something.
            return Ok(format!("{}{comma}{}{}", &text[..=last], quoted(entry), &text[last + 1..]));
        }
        if !comment && !c.is_whitespace() {
            last = place + c.len_utf8() - 1;
            if !c.is_ascii() {
                return Err(Cannot::Form);
            }
        }
    }
    Err(Cannot::Form)
}

/// Bare where YAML reads it back as the same text, else quoted.
fn scalar(entry: &str) -> String {
    let same = serde_yaml::from_str::<Value>(entry).is_ok_and(|read| read.as_str() == Some(entry));
    if same { entry.to_owned() } else { quoted(entry) }
}

fn quoted(entry: &str) -> String {
    format!("\"{}\"", entry.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> String {
        match with_entry(text, "npm publish") {
            Ok(Edit::Text(after)) => after,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn an_entry_joins_what_stands_there_and_all_else_stays() {
        for (before, after) in [
            ("", "allow:\n  - npm publish\n"),
            ("# ours\nfleet: blue", "# ours\nfleet: blue\nallow:\n  - npm publish\n"),
            ("---\nfleet: blue # why\n", "---\nfleet: blue # why\nallow:\n  - npm publish\n"),
            ("allow:\nfleet: blue\n", "allow:\n  - npm publish\nfleet: blue\n"),
            ("allow: # none yet\n\n# next\nfleet: b\n", "allow: # none yet\n  - npm publish\n\n# next\nfleet: b\n"),
            (
                "allow:\n    # first\n    - git push   # daily\n\n    # second\n    - make\n\n# locks\nlocks: {}\n",
                "allow:\n    # first\n    - git push   # daily\n\n    # second\n    - make\n    - npm publish\n\n# locks\nlocks: {}\n",
            ),
            ("allow:\n- make\n- cargo\nfleet: b\n", "allow:\n- make\n- cargo\n- npm publish\nfleet: b\n"),
            (
                "allow:\n  - { match: make }\n  - match: cargo\n    except: \"--x\"\nfleet: b\n",
                "allow:\n  - { match: make }\n  - match: cargo\n    except: \"--x\"\n  - npm publish\nfleet: b\n",
            ),
            ("allow: []\n", "allow: [\"npm publish\"]\n"),
            ("allow: [ ] # none\nfleet: b", "allow: [\"npm publish\" ] # none\nfleet: b"),
            (
                "allow: [make, \"a, ]b\", 'c # d'] # e ] f\n",
                "allow: [make, \"a, ]b\", 'c # d', \"npm publish\"] # e ] f\n",
            ),
            ("allow: [\n  make, # one ]\n  cargo,\n]\n", "allow: [\n  make, # one ]\n  cargo, \"npm publish\"\n]\n"),
            ("\"allow\": [{ match: x }]\n", "\"allow\": [{ match: x }, \"npm publish\"]\n"),
            ("fleet: b\r\nallow:\r\n  - make\r\n", "fleet: b\r\nallow:\r\n  - make\r\n  - npm publish\r\n"),
            ("allow:\n  - make", "allow:\n  - make\n  - npm publish\n"),
            ("blocklist:\n  - allow\nallowed: x\n", "blocklist:\n  - allow\nallowed: x\nallow:\n  - npm publish\n"),
            ("locks:\n  allow: x\n", "locks:\n  allow: x\nallow:\n  - npm publish\n"),
            ("note: |\n  allow:\n   - x\n", "note: |\n  allow:\n   - x\nallow:\n  - npm publish\n"),
        ] {
            assert_eq!(added(before), after, "{before:?}");
            assert_eq!(with_entry(after, "npm publish"), Ok(Edit::Present), "{after:?}");
        }
    }

    #[test]
    fn what_could_be_misread_is_left_alone() {
        for (text, why) in [
            ("{}", Cannot::Form),
            ("{fleet: b}\n", Cannot::Form),
            ("fleet: b\n...\n", Cannot::Form),
            ("allow: make\n", Cannot::NoList),
            ("allow: {match: make}\n", Cannot::NoList),
            ("allow:\n  match: make\n", Cannot::NoList),
            ("allow: ~\n", Cannot::Form),
            ("allow: &all [make]\nother: *all\n", Cannot::Form),
            ("allow:\n  [make]\n", Cannot::Form),
            ("allow: [\"a\\\"b\"]\n", Cannot::Form),
            ("- make\n", Cannot::Unreadable),
            ("make", Cannot::Unreadable),
            ("allow: [make\n", Cannot::Unreadable),
            ("fleet: *none\n", Cannot::Unreadable),
        ] {
            assert_eq!(with_entry(text, "npm publish"), Err(why), "{text:?}");
        }
    }

    #[test]
    fn an_entry_is_read_back_as_the_words_that_were_approved() {
        for entry in
            ["true", "12", "a: b", "make # all", "- x", "npm publish --tag=1.0", "*x", "@at", "a\"b\\c", "null"]
        {
            let Ok(Edit::Text(after)) = with_entry("allow:\n  - make\n", entry) else { panic!("{entry}") };
            let read = document(&after).expect("read")[KEY][1].clone();
            assert_eq!(read.as_str(), Some(entry), "{after}");
            let Ok(Edit::Text(after)) = with_entry("allow: [make]\n", entry) else { panic!("{entry}") };
            assert_eq!(document(&after).expect("read")[KEY][1].as_str(), Some(entry), "{after}");
        }
    }

    #[test]
    fn only_a_program_and_its_words_make_a_rule() {
        assert_eq!(of_command("Bash", "  npm  publish --tag v1.2 "), Some("npm publish --tag v1.2".to_owned()));
        assert_eq!(of_command("run_shell_command", "docker push a/b:c"), Some("docker push a/b:c".to_owned()));
        for wild in [
            "npm publish; rm x",
            "npm publish && x",
            "npm publish | tee",
            "echo $HOME",
            "echo `id`",
            "npm publish\nrm x",
            "curl -H 'a'",
            "rm *",
            "TOKEN=x npm publish",
            "npm publish… (12 bytes more)",
            "npm publish --token <redacted>",
            "--x",
            "",
            " ",
        ] {
            assert_eq!(of_command("Bash", wild), None, "{wild:?}");
        }
        assert_eq!(of_command("Bash", &"x".repeat(ENTRY_BYTES_MAX + 1)), None);
        assert_eq!(of_command("Write", "src/a.rs"), None, "a tool that runs no commands");
    }
}

//! Finds two names at the top level of the agent's JSON, for the one decision this program makes alone. Owns a
//! scanner that is careful rather than complete: whatever is odd (cut off, escaped or doubled names, stray bytes) is
//! `Odd`, and odd is treated like a call that changes something. Next: `fallback.rs`.

/// What the input says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Event { name: String, tool: Option<String> },
    Odd,
}

/// Deepest nesting that is followed; real inputs have fewer than ten levels.
const DEPTH_MAX: usize = 256;

pub(crate) fn subject(input: &[u8]) -> Subject {
    let mut scan = Scan { input, at: 0 };
    match scan.top_level() {
        Some((Some(name), tool)) => Subject::Event { name, tool },
        _ => Subject::Odd,
    }
}

struct Scan<'a> {
    input: &'a [u8],
    at: usize,
}

/// `hook_event_name` and `tool_name`, each at most once.
type Names = (Option<String>, Option<String>);

impl<'a> Scan<'a> {
    /// `None` = odd.
    fn top_level(&mut self) -> Option<Names> {
        let mut names: Names = (None, None);
        self.expect(b'{')?;
        if self.take_if(b'}') {
            return self.only_space_left().then_some(names);
        }
        loop {
            self.member(&mut names)?;
            if self.take_if(b',') {
                continue;
            }
            self.expect(b'}')?;
            return self.only_space_left().then_some(names);
        }
    }

    fn member(&mut self, names: &mut Names) -> Option<()> {
        self.skip_space();
        let key = self.string()?;
        self.expect(b':')?;
        self.skip_space();
        let slot = match key {
            b"hook_event_name" => &mut names.0,
            b"tool_name" => &mut names.1,
            // A name spelt with escapes could be one of the two in disguise.
            _ if key.contains(&b'\\') => return None,
            _ => return self.skip_value(),
        };
        if slot.is_some() {
            return None;
        }
        *slot = Some(plain(self.string()?)?);
        Some(())
    }

    /// The raw bytes between two quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        if self.next()? != b'"' {
            return None;
        }
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => return self.input.get(start..self.at - 1),
                b'\\' => drop(self.next()?),
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    /// Skips one value; brackets must close in the order they opened.
    fn skip_value(&mut self) -> Option<()> {
        let mut closers: Vec<u8> = Vec::new();
        loop {
            self.skip_space();
            match *self.input.get(self.at)? {
                b'"' => drop(self.string()?),
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    closers.push(open + 2); // '{' + 2 = '}', '[' + 2 = ']'
                    if closers.len() > DEPTH_MAX {
                        return None;
                    }
                }
                close @ (b'}' | b']') => {
                    self.at += 1;
                    if closers.pop()? != close {
                        return None;
                    }
                }
                b',' | b':' if !closers.is_empty() => self.at += 1,
                _ => self.skip_literal()?,
            }
            if closers.is_empty() {
                return Some(());
            }
        }
    }

    /// A number, `true`, `false` or `null`: a run of the bytes these are made of.
    fn skip_literal(&mut self) -> Option<()> {
        let rest = self.input.get(self.at..)?;
        let literal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let len = rest.iter().take_while(|byte| literal(byte)).count();
        self.at += len;
        (len > 0).then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.input.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.input.get(self.at) {
            self.at += 1;
        }
    }

    fn take_if(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.input.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take_if(byte).then_some(())
    }

    fn only_space_left(&mut self) -> bool {
        self.skip_space();
        self.at == self.input.len()
    }
}

/// A name of letters, digits, `_` and `-`: every event and tool has one.
fn plain(raw: &[u8]) -> Option<String> {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let text = std::str::from_utf8(raw).ok()?;
    (!raw.is_empty() && raw.iter().all(fine)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, tool: Option<&str>) -> Subject {
        Subject::Event { name: name.to_owned(), tool: tool.map(str::to_owned) }
    }

    #[test]
    fn both_names_are_found_at_the_top_level_only() {
        let input =
            br#" {"tool_input":{"hook_event_name":"Stop","tool_name":"Read","a":[1,-2.5e3,true,null,{"b":"}"}]},
            "hook_event_name" : "PreToolUse", "tool_name":"Write", "x":"\"tool_name\":\"Read\\"} "#;
        assert_eq!(subject(input), event("PreToolUse", Some("Write")));
        assert_eq!(subject(br#"{"hook_event_name":"Stop"}"#), event("Stop", None));
    }

    #[test]
    fn anything_odd_is_odd() {
        let odd: [&[u8]; 20] = [
            b"",
            b"{}",
            b"null",
            b"[]",
            br#"{"tool_name":"Read"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_name":"Read"}"#,
            br#"{"hook_event_name":"Stop","hook_event_name":"PreToolUse"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read"} {"tool_name":"Write"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool\u005fname":"Write"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Re\u0061d"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":["Read"]}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read""#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{"a":"b"}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{"a":[}]}"#,
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":}"#,
            br#"{"hook_event_name":"PreToolUse" "tool_name":"Read"}"#,
            br#"{'hook_event_name':'PreToolUse'}"#,
            b"{\"hook_event_name\":\"Pre\nToolUse\"}",
            b"{\"hook_event_name\":\"PreToolUse\xff\"}",
            br#"{"hook_event_name":""}"#,
        ];
        for input in odd {
            assert_eq!(subject(input), Subject::Odd, "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn every_cut_of_a_good_input_is_odd() {
        let input =
            br#"{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{"file_path":"/a\"b"},"n":[1]}"#;
        for cut in 0..input.len() {
            assert_eq!(subject(&input[..cut]), Subject::Odd, "cut at {cut}");
        }
        assert_eq!(subject(input), event("PreToolUse", Some("Read")));
    }

    #[test]
    fn bottomless_nesting_is_odd_and_does_not_overflow() {
        let mut input = br#"{"hook_event_name":"PreToolUse","tool_name":"Read","a":"#.to_vec();
        input.extend(std::iter::repeat_n(b'[', 1_000_000));
        assert_eq!(subject(&input), Subject::Odd);
    }
}

//! An agent's words made safe to show to whoever decides on them: nothing that drives a terminal, nothing that turns the order
//! of what is read around, and a cut that says how much is missing.

/// The text with every control character but line ends and tabs, and every character that is not seen or changes the order of
/// reading, written out as its escape; at most about `max` bytes of it, and what was cut is counted.
#[must_use]
pub fn shown(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for (at, c) in text.char_indices() {
        let before = out.len();
        if is_seen(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        if out.len() > max {
            out.truncate(before);
            out.push_str(&format!("… ({} bytes more)", text.len() - at));
            return out;
        }
    }
    out
}

fn is_seen(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        // Marks that turn the direction of text, join, or take no room (CVE-2021-42574).
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => false,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => false,
        other => !other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_hides_is_written_out() {
        assert_eq!(shown("rm\u{1b}[2K -rf\r\n\tü", 100), "rm\\u{1b}[2K -rf\\u{d}\n\tü");
        assert_eq!(shown("a\u{202e}b\u{200b}c", 100), "a\\u{202e}b\\u{200b}c");
    }

    #[test]
    fn a_cut_says_how_much_is_missing_and_never_splits_a_character() {
        assert_eq!(shown("ääää", 5), "ää… (4 bytes more)");
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown("ab\u{1b}", 3), "ab… (1 bytes more)");
    }
}

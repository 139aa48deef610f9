//! Small work on text that the readers share.
//! It refuses to know manifests.

/// At a character's boundary, with a sign that it was cut.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes_max)])
}

/// White space inside of strings stays.
pub(super) fn json_without_space(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut in_string, mut escaped) = (Vec::with_capacity(bytes.len()), false, false);
    for byte in bytes {
        if in_string || !byte.is_ascii_whitespace() {
            out.push(*byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    out
}

/// Lines without what surrounds them, and without empty ones. What is inside a line stays: it may be inside a string.
/// Where a string may have several lines, all lines stay as they are.
pub(super) fn lines_without_space(bytes: &[u8]) -> Vec<&[u8]> {
    let has_long_strings = bytes.windows(3).any(|three| matches!(three, b"\"\"\"" | b"'''"));
    let lines = bytes.split(|byte| *byte == b'\n');
    if has_long_strings { lines.collect() } else { lines.map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_in_a_string_is_kept() {
        assert_eq!(json_without_space(br#"{ "a b" : "c \" d" }"#), br#"{"a b":"c \" d"}"#);
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("grün", 3), "gr…");
        assert_eq!(cut("grün", 5), "grün");
    }
}

//! What turns one text into another, as the lines a person reads. It knows no file and stores nothing.

use std::path::Path;

/// The changed lines with their surroundings, as `git diff` shows them below its header; none if one side is no text, or both are the
/// same.
#[must_use]
pub fn changed_lines(path: &Path, before: &[u8], after: &[u8]) -> Option<String> {
    let mut patch = git2::Patch::from_buffers(before, Some(path), after, Some(path), None).ok()?;
    let text = patch.to_buf().ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    let begin = if text.starts_with("@@") { 0 } else { text.find("\n@@")? + 1 };
    Some(text[begin..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_a_header_and_what_is_no_text_has_none() {
        let lines = |before: &[u8], after: &[u8]| changed_lines(Path::new("a"), before, after);
        assert_eq!(lines(b"1\n2\n", b"1\n3\n").as_deref(), Some("@@ -1,2 +1,2 @@\n 1\n-2\n+3\n"));
        assert_eq!(lines(b"", b"new").as_deref(), Some("@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n"));
        assert_eq!(lines(b"same", b"same"), None);
        assert_eq!(lines(b"\0\x01", b"\0\x02"), None);
        assert_eq!(lines(b"\xff\n", b"a\n"), None);
    }
}

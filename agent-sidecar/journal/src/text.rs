//! A text that somebody wrote (a command, a reason, a task), as the journal keeps it: without secrets, and not longer than
//! [`TEXT_BYTES_MAX`]. It says how much was cut off.

use std::fmt;

use crate::redact::redact;

/// Above every command a person types and most that agents write; a here-document beyond it is in the snapshots anyway.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// What is looked at for secrets: one that begins before the cut is found even if it ends behind it.
const LOOKED_AT_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text {
    pub shown: String,
    /// Bytes that were cut off the end.
    pub cut: u64,
}

impl Text {
    /// As it may be written down: secrets out, then cut.
    #[must_use]
    pub(crate) fn cleaned(self) -> Self {
        let whole = self.shown.len();
        let looked_at = clip(&self.shown, LOOKED_AT_BYTES_MAX);
        let clean = redact(looked_at);
        if whole <= TEXT_BYTES_MAX && clean.len() <= TEXT_BYTES_MAX {
            return Self { shown: clean.into_owned(), cut: self.cut };
        }
        let unseen = whole - looked_at.len();
        let kept = clip(&clean, TEXT_BYTES_MAX).to_owned();
        let cut = (clean.len() - kept.len() + unseen) as u64;
        Self { shown: kept, cut: self.cut + cut }
    }
}

/// The longest begin of so many bytes that is a text.
fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

impl From<String> for Text {
    fn from(shown: String) -> Self {
        Self { shown, cut: 0 }
    }
}

impl From<&str> for Text {
    fn from(shown: &str) -> Self {
        Self::from(shown.to_owned())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)?;
        if self.cut > 0 {
            write!(f, " [{} bytes cut]", self.cut)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_by_how_much() {
        let text = Text::from("é".repeat(TEXT_BYTES_MAX)).cleaned();
        assert_eq!((text.shown.len(), text.cut), (TEXT_BYTES_MAX, TEXT_BYTES_MAX as u64));
        let odd = Text::from(format!("a{}", "é".repeat(TEXT_BYTES_MAX))).cleaned();
        assert_eq!(odd.shown.len() as u64 + odd.cut, 1 + 2 * TEXT_BYTES_MAX as u64);
        assert!(odd.to_string().ends_with("bytes cut]"));
        assert_eq!(Text::from("short").cleaned(), Text::from("short"));
        assert_eq!(text.clone().cleaned(), text, "once is enough");
    }

    #[test]
    fn a_secret_across_the_cut_leaves_nothing_of_itself() {
        let token = format!("ghp_{}", "a1B2c3D4e5F6".repeat(3));
        for before in TEXT_BYTES_MAX - 45..TEXT_BYTES_MAX + 5 {
            let text = Text::from(format!("{} {token}", "x ".repeat(before / 2))).cleaned();
            assert!(!text.shown.contains("ghp_a1B2"), "{before}: {}", &text.shown[TEXT_BYTES_MAX - 60..]);
        }
    }
}

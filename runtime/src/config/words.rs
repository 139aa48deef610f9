//! Single values as a person writes them: durations with a unit, patterns. Each says what is wrong with a value in words
//! that fit behind its position in the file.

use rr_core::glob::Glob;
use rr_core::time::Span;
use serde::{Deserialize, Deserializer, de};

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// `500ms`, `15s`, `10m`, `1h`: a whole number and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duration(pub(super) Span);

const SIZES: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// `512MiB`, `8GiB`: a whole number and its unit, above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Glob);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || format!("a duration is a whole number and one of ms, s, m, h (as `10m`), got {text:?}");
        span(&text).map(Self).ok_or_else(bad).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || format!("a size is a whole number above 0 and one of KiB, MiB, GiB (as `8GiB`), got {text:?}");
        number(&text, &SIZES).filter(|bytes| *bytes > 0).map(Self).ok_or_else(bad).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let glob = Glob::parse(&text);
        glob.map(Self).map_err(|e| de::Error::custom(format!("{text:?}: {e}")))
    }
}

fn span(text: &str) -> Option<Span> {
    number(text, &UNITS).map(Span::from_millis)
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    // `parse` alone would take a sign.
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = whole.then(|| digits.parse().ok())??;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in [("0s", 0), ("250ms", 250), ("15s", 15_000), ("10m", 600_000), ("1h", 3_600_000)] {
            assert_eq!(span(text), Some(Span::from_millis(ms)), "{text}");
        }
        for bad in ["", "10", "s", "-1s", "+1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}

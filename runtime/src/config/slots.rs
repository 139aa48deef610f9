//! `slots` in `railroad.yaml`: of which commands a host runs only so many at a time. It owns the keys; what stands in line, and for
//! what, is the sidecar's and `rrctl run`'s.

use std::collections::BTreeMap;

use rr_core::policy::{Entry, SLOTS_MAX, SLOTS_OF_MAX, SlotSource};
use serde::{Deserialize, Deserializer, de};
use serde_yaml::Spanned;

use super::policy;

/// A name in tables and keys.
const NAME_BYTES_MAX: usize = 40;
/// The watcher's own checks stand in this line.
pub const CHECKS_SLOT: &str = "checks";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "one", deserialize_with = "count")]
    of: usize,
    #[serde(default, rename = "match", deserialize_with = "commands")]
    commands: Vec<Entry>,
}

/// `slots`.
pub(super) fn slots<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SlotSource>, D::Error> {
    let written = Option::<BTreeMap<Name, Spanned<Written>>>::deserialize(from)?.unwrap_or_default();
    if written.len() > SLOTS_MAX {
        return Err(de::Error::custom(format!("at most {SLOTS_MAX} kinds of slots")));
    }
    let slot = |(name, slot): (Name, Spanned<Written>)| {
        let line = u32::try_from(slot.referenced.line()).unwrap_or(u32::MAX);
        SlotSource { line, name: name.0, of: slot.value.of, commands: slot.value.commands }
    };
    Ok(written.into_iter().map(slot).collect())
}

const fn one() -> usize {
    1
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        of @ 1..=SLOTS_OF_MAX => Ok(of),
        _ => Err(de::Error::custom(format!("`of` is a number from 1 to {SLOTS_OF_MAX}"))),
    }
}

fn commands<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    let entries = policy::entries(from)?;
    if entries.iter().all(|entry| entry.words.is_some()) {
        return Ok(entries);
    }
    Err(de::Error::custom("each entry of a slot names a command, as `cargo test` or with `match`"))
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let legal = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !legal {
            let rule = format!("a slot's name is 1-{NAME_BYTES_MAX} of a-z, 0-9, `-` and `_`");
            return Err(de::Error::custom(rule));
        }
        if text == CHECKS_SLOT {
            return Err(de::Error::custom(format!(
                "`{CHECKS_SLOT}` is the slot of the watcher's own checks: take another name"
            )));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::RepoConfig;
    use super::*;

    fn parsed(text: &str) -> Result<Vec<SlotSource>, String> {
        RepoConfig::parse(text, Path::new("railroad.yaml")).map(|c| c.slots).map_err(|e| e.to_string())
    }

    #[test]
    fn a_slot_has_a_name_a_count_and_commands_in_plain_words() {
        let text = "slots:\n  build:\n    of: 2\n    match: [cargo build, { match: npm test, except: --watch }]\n  device: {}\n";
        let slots = parsed(text).unwrap();
        let shown = |slot: &SlotSource| {
            let words: Vec<_> =
                slot.commands.iter().filter_map(|c| c.words.as_ref()).map(ToString::to_string).collect();
            (slot.name.clone(), slot.of, slot.line, words)
        };
        assert_eq!(shown(&slots[0]), ("build".into(), 2, 3, vec!["cargo build".into(), "npm test".into()]));
        assert_eq!(shown(&slots[1]), ("device".into(), 1, 5, vec![]));
        assert_eq!(parsed("slots:\n").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, rule) in [
            ("slots: { build: { of: 0 } }", "1 to 64"),
            ("slots: { build: { off: 1 } }", "did you mean `of`?"),
            ("slots: { Build: {} }", "a slot's name"),
            ("slots: { checks: {} }", "watcher's own checks"),
            ("slots: { build: { match: [{ paths: src/** }] } }", "names a command"),
            ("slots: { build: { match: [--release] } }", "is a flag"),
        ] {
            let told = parsed(text).expect_err(text);
            assert!(told.starts_with("railroad.yaml:1:") && told.contains(rule), "{text}: {told}");
        }
    }
}

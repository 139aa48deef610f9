//! The policy keys of `railroad.yaml` as a person types them: entries as plain words or with parts of their own, and
//! scopes. It owns their shape and where each stands; what they mean for a call is the policy's.

use std::collections::BTreeMap;
use std::fmt;

use rr_core::glob::Glob;
use rr_core::policy::{
    BECAUSE_CHARS_MAX, Defaults, ENTRIES_MAX, Effect, Entry, PATTERNS_MAX, PathPattern, SCOPES_MAX, ScopeSource, Who,
    Words,
};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Spanned;

use super::words::Pattern;

/// Longest name of a scope, tool, agent or person.
const NAME_CHARS_MAX: usize = 120;
const ENTRY_KEYS: &[&str] = &["match", "except", "paths", "tools", "agents", "because"];

/// `blocklist`, `approve`, `allow`.
pub(super) fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    let written = Option::<Vec<Spanned<WrittenEntry>>>::deserialize(from)?.unwrap_or_default();
    if written.len() > ENTRIES_MAX {
        return Err(de::Error::custom(format!("at most {ENTRIES_MAX} entries")));
    }
    Ok(written.into_iter().map(|entry| Entry { line: line(entry.referenced.line()), ..entry.value.0 }).collect())
}

/// `scopes`.
pub(super) fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ScopeSource>, D::Error> {
    let written = Option::<BTreeMap<Name, Spanned<WrittenScope>>>::deserialize(from)?.unwrap_or_default();
    if written.len() > SCOPES_MAX {
        return Err(de::Error::custom(format!("at most {SCOPES_MAX} scopes")));
    }
    let scope = |(name, scope): (Name, Spanned<WrittenScope>)| {
        let line = line(scope.referenced.line());
        let WrittenScope { who, may, never, create_only, read_only, owner } = scope.value;
        ScopeSource {
            line,
            name: name.0,
            who: who.into(),
            may,
            never,
            create_only,
            read_only,
            owner: owner.map(|o| o.0),
        }
    };
    Ok(written.into_iter().map(scope).collect())
}

/// `shadow`.
pub(super) fn shadow<'de, D: Deserializer<'de>>(from: D) -> Result<Effect, D::Error> {
    let on = Option::<bool>::deserialize(from)?.unwrap_or_default();
    Ok(if on { Effect::Shadow } else { Effect::Enforced })
}

/// `defaults`.
pub(super) fn defaults<'de, D: Deserializer<'de>>(from: D) -> Result<Defaults, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Written {
        On,
        Off,
    }
    Ok(match Option::<Written>::deserialize(from)? {
        None | Some(Written::On) => Defaults::On,
        Some(Written::Off) => Defaults::Off,
    })
}

fn line(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

struct WrittenEntry(Entry);

impl<'de> Deserialize<'de> for WrittenEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(EntryVisitor).map(Self)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command in plain words, or a mapping with `match`, `paths` or `tools`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry { words: Some(command(text)?), ..Entry::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entry = Entry::default();
        let mut seen: Vec<&'static str> = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(de::Error::custom(format!("duplicate key `{key}`")));
            }
            seen.push(key);
            match key {
                "match" => entry.words = Some(map.next_value::<Command>()?.0),
                "except" => {
                    entry.except = map.next_value::<OneOrMore<Exception>>()?.0.into_iter().map(|e| e.0).collect();
                }
                "paths" => entry.paths = map.next_value::<OneOrMore<Path>>()?.0.into_iter().map(|p| p.0).collect(),
                "tools" => entry.tools = names(map.next_value()?),
                "agents" => entry.agents = names(map.next_value()?),
                _ => entry.because = Some(map.next_value::<Reason>()?.0),
            }
        }
        if entry.words.is_none() && entry.paths.is_empty() && entry.tools.is_empty() {
            return Err(de::Error::custom("an entry needs `match`, `paths` or `tools`: it would apply to every call"));
        }
        Ok(entry)
    }
}

fn command<E: de::Error>(text: &str) -> Result<Words, E> {
    Words::command(text).map_err(|e| E::custom(format!("{text:?}: {e}")))
}

/// A key of an entry; one that is not known is told with what was probably meant.
struct Key(&'static str);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let known = ENTRY_KEYS.iter().find(|key| **key == text);
        known.map(|key| Self(key)).ok_or_else(|| de::Error::unknown_field(&text, ENTRY_KEYS))
    }
}

struct Command(Words);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        command(&String::deserialize(from)?).map(Self)
    }
}

struct Exception(Words);

impl<'de> Deserialize<'de> for Exception {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Words::parse(&text).map(Self).map_err(|e| de::Error::custom(format!("{text:?}: {e}")))
    }
}

struct Path(PathPattern);

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        PathPattern::parse(&text).map(Self).map_err(|e| de::Error::custom(format!("{text:?}: {e}")))
    }
}

struct Reason(String);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let legal = !text.trim().is_empty() && text.chars().count() <= BECAUSE_CHARS_MAX;
        if legal && !text.chars().any(|c| c.is_control() && c != '\n') {
            return Ok(Self(text.trim().replace('\n', " ")));
        }
        Err(de::Error::custom(format!("a reason is 1-{BECAUSE_CHARS_MAX} characters of visible text")))
    }
}

/// A name of somebody or something, which may have `*` in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let legal =
            !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
        if legal {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(format!("a name is 1-{NAME_CHARS_MAX} characters of visible text")))
        }
    }
}

fn names(written: OneOrMore<Name>) -> Vec<String> {
    written.0.into_iter().map(|name| name.0).collect()
}

/// One value, or a list of them.
struct OneOrMore<T>(Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                Ok(vec![T::deserialize(de::value::StrDeserializer::new(text))?])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = list.next_element()? {
                    out.push(item);
                    if out.len() > PATTERNS_MAX {
                        return Err(de::Error::custom(format!("at most {PATTERNS_MAX} in one list")));
                    }
                }
                if out.is_empty() {
                    Err(de::Error::custom("an empty list matches nothing: leave the key out"))
                } else {
                    Ok(out)
                }
            }
        }
        from.deserialize_any(Any(std::marker::PhantomData)).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScope {
    #[serde(default, rename = "for")]
    who: WrittenWho,
    #[serde(default, deserialize_with = "globs")]
    may: Vec<Glob>,
    #[serde(default, deserialize_with = "globs")]
    never: Vec<Glob>,
    #[serde(default, deserialize_with = "globs")]
    create_only: Vec<Glob>,
    #[serde(default, deserialize_with = "globs")]
    read_only: Vec<Glob>,
    #[serde(default)]
    owner: Option<Name>,
}

fn globs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Glob>, D::Error> {
    Ok(OneOrMore::<Pattern>::deserialize(from)?.0.into_iter().map(|pattern| pattern.0).collect())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenWho {
    session: OneOrMore<Name>,
    task: OneOrMore<Name>,
    folder: OneOrMore<Name>,
    branch: OneOrMore<Name>,
    worktree: OneOrMore<Name>,
    agent: OneOrMore<Name>,
}

impl From<WrittenWho> for Who {
    fn from(written: WrittenWho) -> Self {
        let WrittenWho { session, task, folder, branch, worktree, agent } = written;
        Self {
            session: names(session),
            task: names(task),
            folder: names(folder),
            branch: names(branch),
            worktree: names(worktree),
            agent: names(agent),
        }
    }
}

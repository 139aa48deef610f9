//! One value of the machine's configuration and where it came from: its file or a variable of the environment. Both are read
//! by the same types, so both are checked alike. Which keys there are is `keys`'s; what must hold between them `relations`'s.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Spanned;

use super::super::suggest;

/// Where the value in force was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    #[default]
    Default,
    /// A line of the machine's file.
    Line(u64),
    Variable(&'static str),
}

impl Origin {
    pub(super) fn shown(self, file: Option<&Path>) -> String {
        match (self, file) {
            (Self::Default, _) => "default".to_owned(),
            (Self::Line(line), Some(file)) => format!("{}:{line}", file.display()),
            (Self::Line(line), None) => format!("line {line}"),
            (Self::Variable(name), _) => format!("environment {name}"),
        }
    }
}

/// A key's value, if anybody said one.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub(super) value: Option<T>,
    pub(super) origin: Origin,
}

impl<T> Default for Said<T> {
    fn default() -> Self {
        Self { value: None, origin: Origin::Default }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let said = Option::<Spanned<T>>::deserialize(from)?;
        Ok(said
            .map_or_else(Self::default, |s| Self { origin: Origin::Line(s.referenced.line()), value: Some(s.value) }))
    }
}

/// A key that a variable of the environment can set, whatever the type of its value.
pub(super) trait Slot {
    fn say(&mut self, text: &str, variable: &'static str) -> Result<(), Refused>;
    fn origin(&self) -> Origin;
}

impl<T: DeserializeOwned> Slot for Said<T> {
    fn say(&mut self, text: &str, variable: &'static str) -> Result<(), Refused> {
        let word: StrDeserializer<'_, Refused> = text.into_deserializer();
        *self = Self { value: Some(T::deserialize(word)?), origin: Origin::Variable(variable) };
        Ok(())
    }

    fn origin(&self) -> Origin {
        self.origin
    }
}

/// Why a variable's value is none, and what was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) what: String,
    pub(super) suggestion: Option<String>,
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: Display>(what: T) -> Self {
        Self { what: what.to_string(), suggestion: None }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let suggestion = suggest::nearest(variant, expected).map(str::to_owned);
        Self { what: format!("unknown value `{variant}` (one of: {})", expected.join(", ")), suggestion }
    }
}

/// Several addresses: a sequence in the file, separated by commas in a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
        Ok(List(text.split(',').map(|item| item.trim().to_owned()).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element::<String>()? {
            all.push(item);
        }
        Ok(List(all))
    }
}

/// A file or folder, named from the root: programs of one machine start in different folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absolute(pub(super) PathBuf);

impl<'de> Deserialize<'de> for Absolute {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let path = PathBuf::from(&text);
        let wrong = || de::Error::custom(format!("{text:?} is no absolute path: write it from / on"));
        if path.is_absolute() { Ok(Self(path)) } else { Err(wrong()) }
    }
}

/// An address of this machine to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let wrong =
            |_| de::Error::custom(format!("{text:?} is no address to listen on: write IP:PORT, as 127.0.0.1:7420"));
        text.parse().map(Self).map_err(wrong)
    }
}

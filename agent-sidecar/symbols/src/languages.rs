//! The languages that are read, by the ends of file names, each with its grammar and our table for it. It refuses to
//! know trees. Next: a table a language, then [`crate::grammar`].

mod go;
mod java;
mod javascript;
mod python;
mod rust;

use std::sync::OnceLock;

use rr_core::live::GitPath;

use crate::grammar::{Grammar, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    TypeScript,
    Tsx,
    JavaScript,
    Python,
    Go,
    Java,
}

impl Language {
    pub(crate) const ALL: [Self; 7] =
        [Self::Rust, Self::TypeScript, Self::Tsx, Self::JavaScript, Self::Python, Self::Go, Self::Java];

    pub(crate) fn of(path: &GitPath) -> Option<Self> {
        let name = path.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        match &name[dot + 1..] {
            b"rs" => Some(Self::Rust),
            b"ts" | b"mts" | b"cts" => Some(Self::TypeScript),
            b"tsx" => Some(Self::Tsx),
            b"js" | b"mjs" | b"cjs" | b"jsx" => Some(Self::JavaScript),
            b"py" | b"pyi" => Some(Self::Python),
            b"go" => Some(Self::Go),
            b"java" => Some(Self::Java),
            _ => None,
        }
    }

    /// Made once and kept: a grammar is a few hundred kinds.
    pub(crate) fn grammar(self) -> &'static Grammar {
        static GRAMMARS: [OnceLock<Grammar>; Language::ALL.len()] = [const { OnceLock::new() }; Language::ALL.len()];
        GRAMMARS[self as usize].get_or_init(|| {
            let (function, table): (_, &'static Table) = match self {
                Self::Rust => (tree_sitter_rust::LANGUAGE, &rust::TABLE),
                Self::TypeScript => (tree_sitter_typescript::LANGUAGE_TYPESCRIPT, &javascript::TABLE),
                Self::Tsx => (tree_sitter_typescript::LANGUAGE_TSX, &javascript::TABLE),
                Self::JavaScript => (tree_sitter_javascript::LANGUAGE, &javascript::TABLE),
                Self::Python => (tree_sitter_python::LANGUAGE, &python::TABLE),
                Self::Go => (tree_sitter_go::LANGUAGE, &go::TABLE),
                Self::Java => (tree_sitter_java::LANGUAGE, &java::TABLE),
            };
            Grammar::new(function.into(), table)
        })
    }
}

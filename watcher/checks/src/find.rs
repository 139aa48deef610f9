//! Which commands check a repository: those that were configured, else those of its own CI, else what its manifests
//! call for. All is read from one tree, the target tip, so that nobody changes a check by changing a file. It runs
//! nothing and knows no git: a `Tree` is handed in. Next: `find::ci`, then `find::languages` and `find::scripts`; `run`
//! for what is found.

mod ci;
mod languages;
mod scripts;
mod source;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

use source::Source;
pub(crate) use source::hex;

/// The files of one tree, by paths with `/` from its root.
pub trait Tree {
    /// A file's contents; `None` if there is no such file.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// The names of files and folders directly in a folder (`""`: the root).
    fn list(&self, folder: &str) -> Vec<String>;
}

/// After what a check is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    Edit,
    Commit,
    Merge,
}

/// A check as a person wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    pub name: String,
    pub run: String,
    pub when: When,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// Text for `sh -c`.
    pub run: String,
    pub when: When,
    pub from: Origin,
    /// Programs without which it cannot run, and whose versions its verdict depends on.
    pub needs: Vec<String>,
    /// Where it runs, from the root of the tree; empty for the root.
    #[serde(default)]
    pub folder: String,
    /// Folders, from where it runs, that come before all others in its PATH.
    #[serde(default)]
    pub path: Vec<String>,
}

/// Where a check's command was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Configured,
    Ci { file: String },
    Script { file: String, script: String },
    Manifest { file: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::Ci { file } => write!(f, "a step in {file}"),
            Self::Script { file, script } => write!(f, "script `{script}` in {file}"),
            Self::Manifest { file } => write!(f, "usual for {file}"),
        }
    }
}

/// SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub checks: Vec<Check>,
    /// Of all that was looked at, files that are not there included. Another hash: the checks have to be trusted anew.
    pub source: Hash,
    /// For people: what was passed over and why, and the limits of what was found.
    pub notes: Vec<String>,
}

/// What a repository's checks are, by the files of its target tip.
#[must_use]
pub fn discover(tree: &dyn Tree, configured: &[Configured]) -> Plan {
    let source = Source::new(tree);
    if !configured.is_empty() {
        let checks = configured.iter().map(Check::configured).collect();
        return Plan { checks, source: source.hash_with(configured), notes: Vec::new() };
    }
    let mut found = Found::default();
    ci::look(&source, &mut found);
    languages::look(&source, &mut found);
    scripts::look(&source, &mut found);
    if found.checks.is_empty() {
        found.note("nothing found that says how this repository is checked; name commands under `health.checks`");
    }
    let checks = found.checks.into_iter().map(|(_, check)| check).collect();
    Plan { checks, source: source.hash_with(configured), notes: found.notes }
}

/// One name for what would be run: two plans with the same commands have the same one, whatever files they came from.
#[must_use]
pub fn commands_hash(checks: &[Check]) -> Hash {
    let text: Vec<String> = checks.iter().map(|c| format!("{}\0{}\0{}", c.name, c.folder, c.run)).collect();
    Hash(source::hash_of(text.join("\n").as_bytes()))
}

impl Check {
    fn configured(said: &Configured) -> Self {
        Self::new(&said.name, &said.run, said.when, Origin::Configured)
    }

    pub(crate) fn new(name: &str, run: &str, when: When, from: Origin) -> Self {
        let needs = words::programs(run);
        Self { name: name.into(), run: run.into(), when, from, needs, folder: String::new(), path: Vec::new() }
    }

    fn at(mut self, folder: &str) -> Self {
        if !folder.is_empty() {
            self.name = format!("{} ({folder})", self.name);
            folder.clone_into(&mut self.folder);
        }
        self
    }

    fn with_node_modules(mut self) -> Self {
        self.path = vec!["node_modules/.bin".to_owned()];
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    Node,
    Go,
    Python,
}

/// What a check is for. One of each and language is enough: CI's own comes before the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Types,
    Lint,
    Test,
}

impl Role {
    /// Whatever may be red for taste or by chance waits for the merge.
    const fn when(self) -> When {
        match self {
            Self::Types => When::Commit,
            Self::Lint | Self::Test => When::Merge,
        }
    }
}

#[derive(Default)]
struct Found {
    checks: Vec<((Language, Role), Check)>,
    notes: Vec<String>,
}

impl Found {
    /// Whether something above the manifests, at the root of the tree, does this already.
    fn has(&self, language: Language, role: Role) -> bool {
        self.checks.iter().any(|(subject, _)| *subject == (language, role))
    }

    fn add(&mut self, language: Language, role: Role, check: Check) {
        let is_there = self.checks.iter().any(|(_, c)| c.run == check.run && c.folder == check.folder);
        if !is_there {
            self.checks.push(((language, role), check));
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

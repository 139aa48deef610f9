//! What a red output says: a set of findings in which the same breakage is the same finding in every run, however far
//! its lines moved. That makes it possible to say what two changes break together and neither breaks alone. It knows
//! formats of tools and nothing of how they were run. Next: `read::rust`, `read::node`, `read::python`, `read::other`;
//! `normal` for what is stripped.

mod node;
mod normal;
mod other;
mod python;
mod rust;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use normal::Places;

/// A rename may break thousands of places; no more are needed to know what broke.
const FINDINGS_MAX: usize = 2_000;
/// The end of an output that nobody recognises, by which it is known again.
const UNKNOWN_LINES: usize = 20;
const UNKNOWN_CODE: &str = "unknown";

/// How far a red may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// Compilers, type checkers, linters: the same tree gives the same answer.
    Compile,
    /// Everything that runs the code, and whatever is not recognised: may fail by chance.
    Test,
}

/// One thing that is broken. No positions: those move with every edit above them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// From the root of the tree, with `/`; if the output says where.
    pub file: Option<String>,
    /// `E0308`, `TS2322`, `no-undef`, `SyntaxError`, `test`.
    pub code: String,
    /// For a test its full name, else what the tool says.
    pub message: String,
    pub nature: Nature,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " ({file})"))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Findings(pub BTreeSet<Finding>);

impl Findings {
    /// What is broken here and not there.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Files that are named as broken.
    #[must_use]
    pub fn files(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(|f| f.file.as_deref()).collect()
    }

    /// The careful one of its findings' natures: one test among them is enough for doubt.
    #[must_use]
    pub fn nature(&self) -> Nature {
        let all_static = !self.is_empty() && self.0.iter().all(|f| f.nature == Nature::Compile);
        if all_static { Nature::Compile } else { Nature::Test }
    }

    /// Whether some tool's own format was recognised.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.0.iter().any(|f| f.code != UNKNOWN_CODE)
    }
}

/// The findings of a red output of a check that ran in `root`/`folder`. Never empty: what is not recognised is one
/// finding.
#[must_use]
pub fn findings(output: &str, root: &Path, folder: &str) -> Findings {
    let places = Places::new(root, folder);
    let clean = normal::without_escapes(output);
    let lines: Vec<&str> = clean.lines().map(str::trim_end).collect();
    let mut found = Collector { places: &places, found: BTreeSet::new() };
    rust::read(&lines, &mut found);
    node::read(&lines, &mut found);
    python::read(&lines, &mut found);
    other::read(&lines, &mut found);
    if found.found.is_empty() {
        found.found.insert(unknown(&lines, &places));
    }
    Findings(found.found)
}

/// Every word of an output that looks like a file of the tree. More than are broken: for weighing only.
#[must_use]
pub fn files_named(output: &str, root: &Path, folder: &str) -> BTreeSet<String> {
    static PATH: LazyLock<Regex> = LazyLock::new(|| normal::regex(r"[A-Za-z0-9_@+./-]+\.[A-Za-z][A-Za-z0-9]{0,7}"));
    let places = Places::new(root, folder);
    let clean = normal::without_escapes(output);
    PATH.find_iter(&clean).filter_map(|m| places.file(m.as_str())).take(FINDINGS_MAX).collect()
}

fn unknown(lines: &[&str], places: &Places) -> Finding {
    let told: Vec<&str> = lines.iter().filter(|l| !l.trim().is_empty()).copied().collect();
    let end = told.get(told.len().saturating_sub(UNKNOWN_LINES)..).unwrap_or_default();
    let same: Vec<String> = end.iter().map(|l| normal::without_numbers(&places.message(l))).collect();
    let hash = crate::find::hex(&Sha256::digest(same.join("\n")));
    let last = same.last().map_or("nothing was printed", String::as_str);
    let message = format!("{last} [{}]", &hash[..16]);
    Finding { file: None, code: UNKNOWN_CODE.to_owned(), message, nature: Nature::Test }
}

struct Collector<'p> {
    places: &'p Places,
    found: BTreeSet<Finding>,
}

impl Collector<'_> {
    fn add(&mut self, nature: Nature, file: Option<&str>, code: &str, message: &str) {
        if self.found.len() < FINDINGS_MAX {
            let file = file.and_then(|f| self.places.file(f));
            let message = self.places.message(message);
            self.found.insert(Finding { file, code: code.to_owned(), message, nature });
        }
    }
}

//! Manifests by key, never by line: two people who add a package each do not meet. It says which paths are manifests
//! and lock files, and compares what a reader a kind found. It refuses to know versions: two texts are the same or not.
//! Next: a reader a kind.

mod cargo;
mod gomod;
mod npm;
mod python;
mod texts;

use std::collections::BTreeMap;

use rr_core::live::{GitPath, PackageChange};

use crate::parse::CONTENT_BYTES_MAX;
use crate::{Compared, Parses};

/// Changed keys told of one manifest: several times the dependencies of a large one.
pub const PACKAGES_MAX: usize = 500;
/// Of one version: enough for a dependency with its features.
const VERSION_BYTES_MAX: usize = 300;

/// By the key from the top of the manifest.
type Packages = BTreeMap<String, String>;

/// Lock files by their names: made by a tool, so they are made again and never compared.
const LOCK_FILES: [&str; 25] = [
    "Cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pylock.toml",
    "Pipfile.lock",
    "go.sum",
    "go.work.sum",
    "gradle.lockfile",
    "Gemfile.lock",
    "composer.lock",
    "packages.lock.json",
    "mix.lock",
    "pubspec.lock",
    "Podfile.lock",
    "Package.resolved",
    "flake.lock",
    "MODULE.bazel.lock",
];

/// Whether a tool makes this file from a manifest.
#[must_use]
pub fn is_lock_file(path: &GitPath) -> bool {
    let (_, name) = split(path);
    LOCK_FILES.iter().any(|lock| lock.as_bytes() == name)
}

/// Whether it says which packages are wanted.
#[must_use]
pub fn is_manifest(path: &GitPath) -> bool {
    Manifest::of(path).is_some()
}

/// The folder and the name.
fn split(path: &GitPath) -> (&[u8], &[u8]) {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&[], bytes),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    Npm,
    Cargo,
    PyProject,
    Requirements,
    GoMod,
}

/// What was made of one content.
enum Read {
    Absent,
    Broken,
    Found(Packages),
}

impl Manifest {
    pub(crate) fn of(path: &GitPath) -> Option<Self> {
        let (folder, name) = split(path);
        let is_text = name.ends_with(b".txt") || name.ends_with(b".in");
        let in_requirements = folder.rsplit(|byte| *byte == b'/').next() == Some(b"requirements");
        match name {
            b"package.json" => Some(Self::Npm),
            b"Cargo.toml" => Some(Self::Cargo),
            b"pyproject.toml" => Some(Self::PyProject),
            b"go.mod" => Some(Self::GoMod),
            _ if is_text && (name.starts_with(b"requirements") || in_requirements) => Some(Self::Requirements),
            _ => None,
        }
    }

    pub(crate) fn compare(self, old: Option<&[u8]>, new: Option<&[u8]>) -> Compared {
        if [old, new].into_iter().flatten().any(|bytes| bytes.len() > CONTENT_BYTES_MAX || bytes.contains(&0)) {
            return Compared::default();
        }
        match (self.read(old), self.read(new)) {
            (Read::Broken, _) => Compared { parses: Parses::Yes, ..Compared::default() },
            (_, Read::Broken) => Compared { parses: Parses::WorseThanBefore, ..Compared::default() },
            (before, after) => {
                let (packages, left_out) = changes(&before.packages(), &after.packages());
                let layout_only = packages.is_empty() && old != new && same_text(self, old, new);
                Compared { packages, layout_only, parses: Parses::Yes, left_out, ..Compared::default() }
            }
        }
    }

    fn read(self, content: Option<&[u8]>) -> Read {
        let Some(bytes) = content else { return Read::Absent };
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let packages = match self {
            Self::Npm => npm::packages(&text),
            Self::Cargo => cargo::packages(&text),
            Self::PyProject => python::project(&text),
            Self::Requirements => Some(python::requirements(&text)),
            Self::GoMod => gomod::packages(&text),
        };
        packages.map_or(Read::Broken, Read::Found)
    }
}

impl Read {
    fn packages(self) -> Packages {
        if let Self::Found(packages) = self { packages } else { Packages::new() }
    }
}

/// Nothing but white space differs. Line ends are kept apart where they mean something.
fn same_text(manifest: Manifest, old: Option<&[u8]>, new: Option<&[u8]>) -> bool {
    old.zip(new).is_some_and(|(old, new)| match manifest {
        Manifest::Npm => texts::json_without_space(old) == texts::json_without_space(new),
        _ => texts::lines_without_space(old) == texts::lines_without_space(new),
    })
}

fn changes(before: &Packages, after: &Packages) -> (Vec<PackageChange>, usize) {
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(key, from)| (key, Some(from), None));
    let here = after.iter().map(|(key, to)| (key, before.get(key), Some(to)));
    let mut changed: Vec<_> = gone.chain(here).filter(|(_, from, to)| from != to).collect();
    changed.sort_unstable();
    let left_out = changed.len().saturating_sub(PACKAGES_MAX);
    changed.truncate(PACKAGES_MAX);
    let told = |(key, from, to): (&String, Option<&String>, Option<&String>)| PackageChange {
        key: texts::cut(key, VERSION_BYTES_MAX),
        from: from.map(|text| texts::cut(text, VERSION_BYTES_MAX)),
        to: to.map(|text| texts::cut(text, VERSION_BYTES_MAX)),
    };
    (changed.into_iter().map(told).collect(), left_out)
}

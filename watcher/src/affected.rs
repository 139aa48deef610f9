//! Which folders of a repository a break concerns (`health.on_break.pause: affected`): those of the packages whose files the suspects touch
//! or the failure names, and of the packages that name one of these. Plain text in, folders out, but for [`of`], which reads the commit
//! that is red. What it cannot tell is all of the repository. Whoever stops whom is the gate's.

use std::collections::BTreeSet;

use rr_core::affected::Affected;
use rr_core::incident::Incident;
use rr_git::{Mirror, MirrorError, Queue};

/// A folder that has one of these is a package of its own.
const MANIFESTS: [&str; 11] = [
    "Cargo.toml",
    "package.json",
    "go.mod",
    "pyproject.toml",
    "setup.py",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "Gemfile",
    "mix.exs",
];
/// More packages than this are not read through while a branch is broken: all of the repository is concerned then.
const MANIFESTS_MAX: usize = 200;
const FILE_BYTES_MAX: usize = 1 << 20;

/// One package's manifest.
struct Manifest {
    folder: String,
    text: String,
}

/// What this break concerns.
///
/// # Errors
/// If git cannot be asked.
pub(crate) fn of(mirror: &Mirror, incident: &Incident) -> Result<Affected, MirrorError> {
    let whole = || Affected::new(incident.line.repo.clone(), []);
    let Queue::Commits(commits) = mirror.commits_between(&incident.green, &incident.red)? else { return Ok(whole()) };
    let files = mirror.files_called(&incident.red, &MANIFESTS)?;
    if files.len() > MANIFESTS_MAX {
        return Ok(whole());
    }
    let mut manifests = Vec::new();
    for file in files {
        // What is too large to be read, or no text, may name anything.
        let Some(bytes) = mirror.file_at(&incident.red, &file, FILE_BYTES_MAX)? else { return Ok(whole()) };
        let folder = file.rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default().to_owned();
        manifests.push(Manifest { folder, text: String::from_utf8_lossy(&bytes).into_owned() });
    }
    let touched = commits.iter().flat_map(|commit| &commit.paths).map(ToString::to_string);
    Ok(drawn(incident, touched.chain(incident.files.iter().cloned()), &manifests))
}

fn drawn(incident: &Incident, files: impl Iterator<Item = String>, manifests: &[Manifest]) -> Affected {
    let mut folders: BTreeSet<&str> = files.map(|file| home_of(&file, manifests)).collect();
    // A package that depends on one that depends on it is concerned too.
    loop {
        let names: Vec<String> = folders.iter().map(|folder| name_of(folder, manifests)).collect();
        let depends =
            |m: &&Manifest| !folders.contains(m.folder.as_str()) && names.iter().any(|n| has_word(&m.text, n));
        let more: Vec<&str> = manifests.iter().filter(depends).map(|m| m.folder.as_str()).collect();
        if more.is_empty() {
            return Affected::new(incident.line.repo.clone(), folders.into_iter().map(str::to_owned));
        }
        folders.extend(more);
    }
}

/// The folder of the nearest manifest at or above a file; the root, if there is none.
fn home_of<'a>(file: &str, manifests: &'a [Manifest]) -> &'a str {
    let holds = |m: &&Manifest| {
        m.folder.is_empty() || file.strip_prefix(m.folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    manifests.iter().filter(holds).map(|m| m.folder.as_str()).max_by_key(|folder| folder.len()).unwrap_or_default()
}

/// What others call a package: the name in its manifest, else its folder's.
fn name_of(folder: &str, manifests: &[Manifest]) -> String {
    let own = manifests.iter().filter(|m| m.folder == folder);
    let named = own.filter_map(|m| m.text.lines().find_map(name_in)).next();
    named.unwrap_or_else(|| folder.rsplit('/').next().unwrap_or_default().to_owned())
}

/// `name = "x"`, `"name": "x"`, `module x`: the first such line is the package's own in every format that has one.
fn name_in(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches('{').trim();
    if let Some(module) = line.strip_prefix("module ") {
        return Some(module.trim().to_owned()).filter(|name| !name.is_empty());
    }
    let rest = line.strip_prefix("\"name\"").or_else(|| line.strip_prefix("name"))?.trim_start();
    let rest = rest.strip_prefix([':', '='])?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split(quote).next().map(str::to_owned).filter(|name| !name.is_empty())
}

/// Whether a text has a name, not as part of a longer one.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowed::tests::incident;

    fn folders(files: &[&str], manifests: &[(&str, &str)]) -> Vec<String> {
        let manifests: Vec<Manifest> = manifests
            .iter()
            .map(|(folder, text)| Manifest { folder: (*folder).into(), text: (*text).into() })
            .collect();
        drawn(&incident(1, 0, 0), files.iter().map(|f| (*f).to_owned()), &manifests).folders
    }

    const A: (&str, &str) = ("packages/a", "{\n  \"name\": \"@team/a\",\n  \"private\": true\n}");
    const B: (&str, &str) = ("packages/b", "{ \"name\": \"@team/b\" }");
    const C: (&str, &str) = ("packages/c", "{\n\"name\": \"@team/c\", \"dependencies\": { \"@team/a\": \"*\" } }");
    const D: (&str, &str) = ("deep/d", "[package]\nname = \"d\"\n[dependencies]\n\"@team/c\" = \"1\"\n");

    #[test]
    fn a_break_concerns_the_package_it_is_in_and_all_that_build_on_it() {
        assert_eq!(folders(&["packages/b/src/x.js"], &[A, B, C, D]), ["packages/b"]);
        assert_eq!(folders(&["packages/a/x.js"], &[A, B, C, D]), ["deep/d", "packages/a", "packages/c"]);
        assert_eq!(folders(&["packages/c/x", "packages/b/y"], &[A, B, C, D]), ["deep/d", "packages/b", "packages/c"]);
    }

    #[test]
    fn what_lies_in_no_package_of_its_own_is_everybodys() {
        assert_eq!(folders(&["README.md"], &[A, B]), [""]);
        assert_eq!(folders(&["packages/a/x", "README.md"], &[A, B]), [""]);
        assert_eq!(folders(&["packages/a/x"], &[]), [""]);
        assert_eq!(folders(&[], &[A]), [""]);
        let root = ("", "[package]\nname = \"all\"\n");
        assert_eq!(folders(&["src/x.rs"], &[root, A]), [""], "a package at the root");
    }

    #[test]
    fn names_are_those_of_the_manifests_and_stand_alone() {
        for (line, name) in [
            ("name = \"price\"", Some("price")),
            ("  \"name\": \"@team/x\",", Some("@team/x")),
            ("{ \"name\": \"b\" }", Some("b")),
            ("module example.invalid/x", Some("example.invalid/x")),
            ("name = price", None),
            ("named = \"x\"", None),
        ] {
            assert_eq!(name_in(line).as_deref(), name, "{line}");
        }
        assert!(has_word("a = { path = \"../price\" }", "price") && has_word("\"@team/a\": \"*\"", "@team/a"));
        assert!(!has_word("price-list = \"1\"", "price") && !has_word("myprice", "price") && !has_word("x", ""));
    }
}

//! What is usual for a language, by its manifest: Rust, Go, Python. Projects of JavaScript have their own commands, see
//! `scripts`. It reads headings of manifests and does not understand them further. A check that CI named already is not
//! added again.

use super::source::{Source, within};
use super::{Check, Found, Language, Origin, Role};

const PYTHON: [&str; 4] = ["pyproject.toml", "setup.cfg", "setup.py", "requirements.txt"];

pub(super) fn look(source: &Source<'_>, found: &mut Found) {
    rust(source, found);
    go(source, found);
    python(source, found);
}

fn usual(file: String, name: &str, run: &str, role: Role, place: &str) -> Check {
    Check::new(name, run, role.when(), Origin::Manifest { file }).at(place)
}

fn rust(source: &Source<'_>, found: &mut Found) {
    let with_types = !found.has(Language::Rust, Role::Types);
    let with_tests = !found.has(Language::Rust, Role::Test);
    for place in source.places(&["Cargo.toml"], found) {
        let file = within(&place, "Cargo.toml");
        if with_types {
            let run = "cargo check --workspace --all-targets";
            found.add(Language::Rust, Role::Types, usual(file.clone(), "cargo check", run, Role::Types, &place));
        }
        if with_tests {
            // nextest is one more program to install: only who configured it has it.
            let has_nextest = source.has(&within(&place, ".config/nextest.toml"));
            let (name, run) = if has_nextest {
                ("cargo nextest", "cargo nextest run --workspace --no-fail-fast")
            } else {
                ("cargo test", "cargo test --workspace --no-fail-fast")
            };
            found.add(Language::Rust, Role::Test, usual(file, name, run, Role::Test, &place));
        }
    }
}

fn go(source: &Source<'_>, found: &mut Found) {
    if found.has(Language::Go, Role::Types) {
        return;
    }
    for place in source.places(&["go.mod"], found) {
        let file = within(&place, "go.mod");
        found.add(Language::Go, Role::Types, usual(file, "go vet", "go vet ./...", Role::Types, &place));
    }
}

fn python(source: &Source<'_>, found: &mut Found) {
    let with_types = !found.has(Language::Python, Role::Types);
    let with_lint = !found.has(Language::Python, Role::Lint);
    for place in source.places(&PYTHON, found) {
        let mut add = |role, file: &str, name, run| {
            let file = within(&place, file);
            found.add(Language::Python, role, usual(file, name, run, role, &place));
        };
        let mypy = configured_by(source, &place, &MYPY);
        let pyright = configured_by(source, &place, &PYRIGHT);
        if with_types && let Some((file, keys)) = &mypy {
            let names_files = keys.iter().any(|k| matches!(k.as_str(), "files" | "packages" | "modules"));
            add(Role::Types, file, "mypy", if names_files { "mypy" } else { "mypy ." });
        }
        if with_types && let Some((file, _)) = &pyright {
            add(Role::Types, file, "pyright", "pyright");
        }
        if with_types && mypy.is_none() && pyright.is_none() {
            let manifest = PYTHON.into_iter().find(|m| source.has(&within(&place, m))).unwrap_or(PYTHON[0]);
            add(Role::Types, manifest, "python syntax", "python3 -m compileall -q .");
        }
        if with_lint && let Some((file, _)) = configured_by(source, &place, &RUFF) {
            add(Role::Lint, file, "ruff", "ruff check .");
        }
    }
}

/// Files that configure a tool, each with the heading that does; without one the file itself does.
type ConfiguredBy = [(&'static str, Option<&'static str>)];
const MYPY: [(&str, Option<&str>); 4] = [
    ("mypy.ini", Some("mypy")),
    (".mypy.ini", Some("mypy")),
    ("pyproject.toml", Some("tool.mypy")),
    ("setup.cfg", Some("mypy")),
];
const PYRIGHT: [(&str, Option<&str>); 2] = [("pyrightconfig.json", None), ("pyproject.toml", Some("tool.pyright"))];
const RUFF: [(&str, Option<&str>); 3] =
    [("ruff.toml", None), (".ruff.toml", None), ("pyproject.toml", Some("tool.ruff"))];

/// The first file that configures a tool, and the keys under its heading.
fn configured_by(source: &Source<'_>, place: &str, by: &ConfiguredBy) -> Option<(&'static str, Vec<String>)> {
    by.iter().find_map(|(file, heading)| {
        let path = within(place, file);
        let Some(heading) = heading else {
            return source.has(&path).then(|| (*file, Vec::new()));
        };
        // What is no text is told once, by who reads the manifest itself.
        let text = source.text(&path, &mut Found::default())?;
        Some((*file, keys_under(&text, heading)?))
    })
}

/// The keys under a heading of a TOML or INI file, `None` without that heading (`[tool.ruff.lint]` counts for
/// `tool.ruff`).
fn keys_under(text: &str, heading: &str) -> Option<Vec<String>> {
    let mut found: Option<Vec<String>> = None;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_start_matches('[').split(']').next().unwrap_or_default().trim();
            let is_below = name.strip_prefix(heading).is_some_and(|rest| rest.starts_with(['.', '-']));
            is_inside = name == heading;
            if is_inside || is_below {
                found.get_or_insert_default();
            }
        } else if is_inside && let (Some(keys), Some((key, _))) = (&mut found, line.split_once('=')) {
            keys.push(key.trim().to_owned());
        }
    }
    found
}

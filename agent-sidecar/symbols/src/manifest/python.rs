//! `pyproject.toml` (standard tables, dependency groups, Poetry) and requirement files. A requirement is its package's
//! name, as the index compares names, and the rest of the text.

use toml::{Table, Value};

use super::Packages;

/// Nothing if it does not parse.
pub(super) fn project(text: &str) -> Option<Packages> {
    let manifest: Table = text.parse().ok()?;
    let mut found = Packages::new();
    if let Some(project) = at(&manifest, &["project"]) {
        lists(project, "dependencies", "project", &mut found);
        groups(project, "optional-dependencies", "project/optional-dependencies", &mut found);
        found.extend(project.get("requires-python").map(|text| ("project/requires-python".to_owned(), plain(text))));
        versions(project, "scripts", "project/scripts", &mut found);
    }
    groups(&manifest, "dependency-groups", "dependency-groups", &mut found);
    if let Some(build) = at(&manifest, &["build-system"]) {
        lists(build, "requires", "build-system", &mut found);
    }
    if let Some(poetry) = at(&manifest, &["tool", "poetry"]) {
        self::poetry(poetry, &mut found);
    }
    Some(found)
}

fn poetry(poetry: &Table, found: &mut Packages) {
    for name in ["dependencies", "dev-dependencies"] {
        versions(poetry, name, &format!("tool/poetry/{name}"), found);
    }
    for (group, value) in at(poetry, &["group"]).into_iter().flatten() {
        if let Some(table) = value.as_table() {
            versions(table, "dependencies", &format!("tool/poetry/group/{group}/dependencies"), found);
        }
    }
}

/// Never broken: a line that is no requirement is none.
pub(super) fn requirements(text: &str) -> Packages {
    let joined = text.replace("\r\n", "\n").replace("\\\n", " ");
    let mut found = Packages::new();
    for line in joined.lines() {
        let line = if line.trim_start().starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
        // Options of the installer, and the hashes of a locked one.
        let bare = line.split(" --").next().unwrap_or_default().trim();
        if !bare.starts_with('-') {
            requirement(bare, "", &mut found);
        }
    }
    found
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

fn lists(of: &Table, name: &str, path: &str, found: &mut Packages) {
    let items = of.get(name).and_then(Value::as_array).into_iter().flatten();
    for item in items.filter_map(Value::as_str) {
        requirement(item, &format!("{path}/{name}/"), found);
    }
}

fn groups(of: &Table, name: &str, path: &str, found: &mut Packages) {
    for (group, _) in at(of, &[name]).into_iter().flatten() {
        if let Some(table) = at(of, &[name]) {
            lists(table, group, path, found);
        }
    }
}

fn versions(of: &Table, name: &str, path: &str, found: &mut Packages) {
    let entries = at(of, &[name]).into_iter().flatten();
    found.extend(entries.map(|(package, value)| (format!("{path}/{package}"), plain(value))));
}

/// `Name[extra] >= 1 ; marker`. One package may stand there for several markers.
fn requirement(text: &str, path: &str, found: &mut Packages) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return;
    }
    let rest: String = rest.split_whitespace().collect();
    let version = found.entry(format!("{path}{}", same_name(name))).or_default();
    if !version.is_empty() {
        version.push_str(" | ");
    }
    version.push_str(&rest);
}

/// Case and the kind of dash play no part (PEP 503).
fn same_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(table) if table.len() == 1 && table.contains_key("version") => plain(&table["version"]),
        other => other.to_string(),
    }
}

//! `Cargo.toml`: dependencies of all kinds, targets and of the workspace, features, patches. `"1"` and `{ version = "1"
//! }` are the same text, as the order of keys and features is none.

use toml::{Table, Value};

use super::Packages;

const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
/// Of the package itself, what others build on.
const PACKAGE: [&str; 3] = ["edition", "rust-version", "version"];

/// Nothing if it does not parse.
pub(super) fn packages(text: &str) -> Option<Packages> {
    let manifest: Table = text.parse().ok()?;
    let mut found = Packages::new();
    dependencies(&manifest, "", &mut found);
    for (target, tables) in tables(&manifest, "target") {
        dependencies(tables, &format!("target/{target}/"), &mut found);
    }
    for (source, patched) in tables(&manifest, "patch") {
        entries(patched, &format!("patch/{source}"), &mut found);
    }
    if let Some(workspace) = table(&manifest, "workspace") {
        dependencies(workspace, "workspace/", &mut found);
        texts(workspace, "workspace/package", &mut found);
    }
    if let Some(features) = table(&manifest, "features") {
        entries(features, "features", &mut found);
    }
    texts(&manifest, "package", &mut found);
    Some(found)
}

fn dependencies(of: &Table, before: &str, found: &mut Packages) {
    for kind in DEPENDENCIES {
        // Both spellings are read by Cargo.
        let old_spelling = kind.replace('-', "_");
        for name in [kind, &old_spelling] {
            if let Some(packages) = table(of, name) {
                entries(packages, &format!("{before}{kind}"), found);
            }
        }
    }
}

fn texts(of: &Table, path: &str, found: &mut Packages) {
    let package = path.rsplit('/').next().and_then(|name| table(of, name));
    for key in PACKAGE {
        found.extend(package.and_then(|package| package.get(key)).map(|value| (format!("{path}/{key}"), plain(value))));
    }
}

fn entries(of: &Table, path: &str, found: &mut Packages) {
    found.extend(of.iter().map(|(name, value)| (format!("{path}/{name}"), version(value))));
}

fn table<'a>(of: &'a Table, name: &str) -> Option<&'a Table> {
    of.get(name).and_then(Value::as_table)
}

fn tables<'a>(of: &'a Table, name: &str) -> impl Iterator<Item = (&'a str, &'a Table)> {
    let all = table(of, name).into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.as_str(), value.as_table()?)))
}

/// The version first, then what else is said, in order of the keys.
fn version(value: &Value) -> String {
    let Value::Table(said) = value else { return plain(value) };
    let mut rest: Vec<_> = said.iter().filter(|(key, _)| *key != "version").collect();
    rest.sort_by_key(|(key, _)| key.replace('_', "-"));
    let rest: Vec<_> =
        rest.iter().map(|(key, value)| format!("{} = {}", key.replace('_', "-"), plain(value))).collect();
    let version = said.get("version").map_or_else(String::new, plain);
    match (version.is_empty(), rest.is_empty()) {
        (_, true) => version,
        (true, false) => format!("{{ {} }}", rest.join(", ")),
        (false, false) => format!("{version} {{ {} }}", rest.join(", ")),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(plain).collect();
            items.sort_unstable();
            format!("[{}]", items.join(", "))
        }
        Value::Table(_) => version(value),
        other => other.to_string(),
    }
}

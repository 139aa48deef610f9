//! `package.json`: packages, engines and scripts by key. A value that is no text is its JSON in one line.
//! It refuses to know what a version means. Next: compared by key in [`super`].

use serde_json::{Map, Value};

use super::Packages;

/// Where two people's changes meet by key.
const SECTIONS: [&str; 9] = [
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "optionalDependencies",
    "overrides",
    "resolutions",
    "engines",
    "scripts",
    "pnpm",
];
/// One text each.
const TEXTS: [&str; 2] = ["packageManager", "type"];

/// Nothing if it does not parse.
pub(super) fn packages(text: &str) -> Option<Packages> {
    let manifest: Map<String, Value> = serde_json::from_str(text).ok()?;
    let mut found = Packages::new();
    for section in SECTIONS {
        let entries = manifest.get(section).and_then(Value::as_object).into_iter().flatten();
        found.extend(entries.map(|(name, value)| (format!("{section}/{name}"), version(value))));
    }
    for name in TEXTS {
        found.extend(manifest.get(name).map(|value| (name.to_owned(), version(value))));
    }
    Some(found)
}

fn version(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! The house's arrows (docs/ARCHITECTURE.md): which crate may import which, and who owns each heavy dependency. Read from
//! `cargo metadata`, so that no import can go unnoticed. It knows names only; whether a crate keeps to its room is for
//! its readers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const SERVICES_MAY: [&str; 7] = ["rr-link", "rr-fleet", "rr-git", "rr-proto", "rr-runtime", "rr-store", "rr-core"];
/// These stand outside: they may import anything, and nothing imports them, not even for its tests.
const OUTSIDE: [&str; 2] = ["rr-tests", "xtask"];
/// Starts in under a millisecond and cannot fail to build: std alone.
const STD_ONLY: &str = "rr-hook";

/// What each crate may import of ours.
fn may_import() -> BTreeMap<&'static str, Vec<&'static str>> {
    let services = ["rr-coordinator", "rr-sidecar", "rr-watcher"];
    let mut may: BTreeMap<&str, Vec<&str>> = services.map(|s| (s, SERVICES_MAY.to_vec())).into();
    let own_rooms = ["rr-shell", "rr-policy", "rr-journal", "rr-symbols"];
    may.entry("rr-sidecar").or_default().extend(own_rooms);
    may.entry("rr-watcher").or_default().push("rr-checks");
    may.insert(
        "rrctl",
        [&services[..], &SERVICES_MAY[..], &["rr-policy", "rr-journal", "rr-shell", "rr-symbols"]].concat(),
    );
    may.insert("rr-policy", vec!["rr-shell", "rr-core"]);
    may.insert("rr-journal", vec!["rr-core"]);
    may.insert("rr-checks", vec!["rr-core"]);
    may.insert("rr-symbols", vec!["rr-core"]);
    may.insert("rr-fleet", vec!["rr-store", "rr-core"]);
    // For tests: nobody may import it otherwise.
    may.insert("rr-history", vec!["rr-fleet", "rr-store", "rr-core"]);
    may.insert("rr-link", vec!["rr-proto", "rr-runtime", "rr-core"]);
    may.insert("rr-runtime", vec!["rr-store", "rr-core"]);
    may.insert("rr-proto", vec!["rr-core", "tonic-prost-build"]);
    for floor in ["rr-git", "rr-store"] {
        may.insert(floor, vec!["rr-core"]);
    }
    for bare in ["rr-core", "rr-shell", "tonic-prost-build", STD_ONLY] {
        may.insert(bare, vec![]);
    }
    may
}

/// Each heavy dependency, and the only crates that may know of it.
const OWNERS: [(&str, &[&str]); 34] = [
    ("git2", &["rr-git"]),
    ("imara-diff", &["rr-git"]),
    ("flate2", &["rr-git"]),
    ("brush-parser", &["rr-shell"]),
    ("tonic", &["rr-store", "rr-proto", "rr-link", "rr-coordinator", "rrctl"]),
    ("tonic-prost", &["rr-proto", "rr-link", "rr-coordinator", "rrctl"]),
    ("tonic-build", &["tonic-prost-build"]),
    ("prost-build", &["tonic-prost-build"]),
    ("prost", &["rr-proto", "rr-coordinator", "rrctl"]),
    ("protox", &["rr-proto", "tonic-prost-build"]),
    ("clap", &["rrctl", "rr-runtime"]),
    ("clap_complete", &["rrctl"]),
    ("clap_mangen", &["rrctl"]),
    ("crc32c", &["rr-store", "rr-journal"]),
    ("zstd", &["rr-journal"]),
    ("crossterm", &["rrctl"]),
    ("jiff", &["rrctl"]),
    ("etcd-client", &["rr-store"]),
    ("rustls", &["rr-link"]),
    ("tokio-rustls", &["rr-link"]),
    ("rcgen", &["rr-link"]),
    ("x509-parser", &["rr-link"]),
    ("base64", &["rr-link", "rr-shell"]),
    ("prometheus", &["rr-runtime", "rr-watcher"]),
    ("axum", &["rr-runtime"]),
    ("redb", &["rr-store"]),
    ("toml", &["rr-symbols"]),
    ("tree-sitter", &["rr-symbols"]),
    ("tree-sitter-rust", &["rr-symbols"]),
    ("tree-sitter-typescript", &["rr-symbols"]),
    ("tree-sitter-javascript", &["rr-symbols"]),
    ("tree-sitter-python", &["rr-symbols"]),
    ("tree-sitter-go", &["rr-symbols"]),
    ("tree-sitter-java", &["rr-symbols"]),
];

/// The rules are decided without these: a clock, a network or a random number in them could not be simulated.
const NOT_IN_CORE: [&str; 4] = ["tokio", "rustix", "getrandom", "tracing"];

/// One import as cargo tells it.
struct Import<'a> {
    from: &'a str,
    to: &'a str,
    for_tests: bool,
    is_ours: bool,
}

fn imports(metadata: &Value) -> Vec<Import<'_>> {
    let of = |package| {
        let from = name(package);
        list(package, "dependencies").map(move |d| Import {
            from,
            to: name(d),
            for_tests: d["kind"] == "dev",
            is_ours: d["path"].is_string(),
        })
    };
    list(metadata, "packages").flat_map(of).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().expect("cargo names every package")
}

/// Every import that the house does not allow, and every crate that has no room in it.
fn violations(metadata: &Value) -> Vec<String> {
    let rooms = may_import();
    let strangers = list(metadata, "packages").map(name).filter(|n| !rooms.contains_key(n) && !OUTSIDE.contains(n));
    let homeless = strangers.map(|n| format!("{n} has no room in this test yet"));
    let wrong = imports(metadata).into_iter().filter_map(|import| {
        let why = objection(&import, &rooms)?;
        Some(format!("{} -> {}: {why}", import.from, import.to))
    });
    homeless.chain(wrong).collect()
}

fn objection(import: &Import<'_>, rooms: &BTreeMap<&str, Vec<&str>>) -> Option<&'static str> {
    let Import { from, to, for_tests, is_ours } = *import;
    if OUTSIDE.contains(&to) {
        return Some("nothing imports what stands outside");
    }
    if OUTSIDE.contains(&from) || for_tests {
        return None;
    }
    let owners = OWNERS.iter().find(|(heavy, _)| *heavy == to).map(|(_, owners)| *owners);
    match () {
        () if from == STD_ONLY => Some("the hook imports nothing at all"),
        () if is_ours && !rooms.get(from)?.contains(&to) => Some("arrows point down only"),
        () if owners.is_some_and(|owners| !owners.contains(&from)) => Some("this dependency has another owner"),
        () if from == "rr-core" && NOT_IN_CORE.contains(&to) => Some("the rules do no input or output"),
        () => None,
    }
}

fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("cargo prints JSON")
}

#[test]
fn every_arrow_of_the_house_points_down_and_heavy_things_have_one_owner() {
    let metadata = metadata();
    assert!(imports(&metadata).iter().any(|i| i.is_ours), "the workspace's own imports are seen");
    let found = violations(&metadata);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn each_kind_of_wrong_import_is_found() {
    for (from, to, kind, ours, wrong) in [
        ("rr-watcher", "rr-sidecar", Value::Null, true, true),
        ("rr-watcher", "rr-checks", Value::Null, true, false),
        ("rr-checks", "rr-git", Value::Null, true, true),
        ("rr-coordinator", "rr-shell", Value::Null, true, true),
        ("rr-sidecar", "rr-shell", Value::Null, true, false),
        ("rr-store", "rr-fleet", Value::Null, true, true),
        ("rr-store", "rr-runtime", json!("dev"), true, false),
        ("rr-fleet", "rr-store", Value::Null, true, false),
        ("rr-fleet", "rr-tests", json!("dev"), true, true),
        ("rr-fleet", "rr-history", json!("dev"), true, false),
        ("rr-sidecar", "rr-history", Value::Null, true, true),
        ("rrctl", "xtask", Value::Null, true, true),
        ("rr-watcher", "rr-policy", json!("build"), true, true),
        ("rr-hook", "libc", Value::Null, false, true),
        ("rr-hook", "rr-core", Value::Null, true, true),
        ("rr-sidecar", "git2", Value::Null, false, true),
        ("rr-git", "git2", Value::Null, false, false),
        ("rr-sidecar", "tree-sitter", Value::Null, false, true),
        ("rr-watcher", "rr-symbols", Value::Null, true, true),
        ("rr-tests", "tonic", Value::Null, false, false),
        ("rr-watcher", "tonic", json!("build"), false, true),
        ("rr-core", "tokio", Value::Null, false, true),
        ("rr-lodger", "serde", Value::Null, false, true),
    ] {
        let path = ours.then_some("/somewhere");
        let import = json!({ "name": to, "kind": kind, "path": path });
        let made_up = json!({ "packages": [{ "name": from, "dependencies": [import] }] });
        let found = violations(&made_up);
        assert_eq!(!found.is_empty(), wrong, "{from} -> {to} ({kind}): {found:?}");
    }
}

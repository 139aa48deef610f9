//! The schema that editors use says what the parser takes: the same keys, the same words, at every level.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::RepoConfig;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/railroad.schema.json")).expect("the schema is JSON")
}

/// What the parser knows in a place, from how it refuses a stranger there.
fn known(text: &str) -> BTreeSet<String> {
    let told = RepoConfig::parse(text, Path::new("f")).expect_err(text).to_string();
    let list = told.split_once("(known here: ").or_else(|| told.split_once("(one of: ")).expect(&told).1;
    list.split_once(')').expect(&told).0.split(", ").map(str::to_owned).collect()
}

fn keys(of: &Value) -> BTreeSet<String> {
    of["properties"].as_object().expect("an object").keys().cloned().collect()
}

fn words(of: &Value) -> BTreeSet<String> {
    of["enum"].as_array().expect("an enum").iter().map(|w| w.as_str().expect("a word").to_owned()).collect()
}

#[test]
fn the_schema_has_every_key_and_no_other() {
    let schema = schema();
    let (properties, defs) = (&schema["properties"], &schema["$defs"]);
    for (text, level) in [
        ("zzzzzzzz: 1", &schema),
        ("locks: { zzzzzzzz: 1 }", &properties["locks"]),
        ("people: { zzzzzzzz: 1 }", &properties["people"]),
        ("approvals: { zzzzzzzz: 1 }", &properties["approvals"]),
        ("blocklist: [{ zzzzzzzz: 1 }]", &defs["entry"]["oneOf"][1]),
        ("scopes: { a: { zzzzzzzz: 1 } }", &defs["scope"]),
        ("health: { zzzzzzzz: 1 }", &properties["health"]),
        ("health: { checks: [{ zzzzzzzz: 1 }] }", &defs["check"]),
        ("health: { on_break: { zzzzzzzz: 1 } }", &properties["health"]["properties"]["on_break"]),
        ("health: { limits: { zzzzzzzz: 1 } }", &properties["health"]["properties"]["limits"]),
        ("slots: { a: { zzzzzzzz: 1 } }", &defs["slot"]),
        ("scopes: { a: { for: { zzzzzzzz: 1 } } }", &defs["scope"]["properties"]["for"]),
    ] {
        assert_eq!(known(text), keys(level), "{text}");
        assert_eq!(level["additionalProperties"], false, "{text}");
    }
}

#[test]
fn the_schema_has_every_word_and_no_other() {
    let schema = schema();
    let properties = &schema["properties"];
    let locks = &properties["locks"]["properties"];
    let (defs, on_break) = (&schema["$defs"], &properties["health"]["properties"]["on_break"]["properties"]);
    for (text, choice) in [
        ("on_unavailable: zzzzzzzz", &properties["on_unavailable"]),
        ("defaults: zzzzzzzz", &properties["defaults"]),
        ("locks: { mode: zzzzzzzz }", &locks["mode"]),
        ("locks: { across_worktrees: zzzzzzzz }", &locks["across_worktrees"]),
        ("locks: { on_agent_death: zzzzzzzz }", &locks["on_agent_death"]),
        ("health: { checks: [{ name: a, run: b, when: zzzzzzzz }] }", &defs["check"]["properties"]["when"]),
        ("health: { on_break: { pause: zzzzzzzz } }", &on_break["pause"]),
        ("health: { on_break: { revert: zzzzzzzz } }", &on_break["revert"]),
    ] {
        assert_eq!(known(text), words(choice), "{text}");
    }
}

#[test]
fn every_reference_in_the_schema_leads_somewhere() {
    let schema = schema();
    let text = schema.to_string();
    for (at, _) in text.match_indices("\"#/$defs/") {
        let name = text[at + 9..].split('"').next().expect("a name");
        assert!(schema["$defs"].get(name).is_some(), "{name}");
    }
}

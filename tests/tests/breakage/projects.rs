//! The whole way of a break in real projects: Rust with `cargo check`, and JavaScript with the script that its `package.json` has.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use super::stage::{check_of, commits, head, is_green, is_paused, over, until_long};

const CARGO: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const LIB: &str = "pub mod price;\npub mod cart;\n";
const PRICE: &str = "pub fn price(item: u32) -> u32 {\n    item * 2\n}\n";
const CART: &str = "pub fn total(items: &[u32]) -> u32 {\n    items.iter().map(|i| crate::price::price(*i)).sum()\n}\n";
const CONFIG: &str =
    "defaults: off\nhealth:\n  checks:\n    - { name: types, run: \"cargo check --offline --quiet\" }\n";

fn rust_project(sandbox: &Sandbox) {
    let files = [
        ("Cargo.toml", CARGO),
        ("src/lib.rs", LIB),
        ("src/price.rs", PRICE),
        ("src/cart.rs", CART),
        (".gitignore", "target\nCargo.lock\n"),
        ("railroad.yaml", CONFIG),
    ];
    sandbox.commit(&files);
}

#[test]
fn a_break_is_paused_its_culprit_proven_reverted_and_the_fleet_goes_on() {
    let sandbox = Sandbox::new();
    rust_project(&sandbox);
    let _daemon = Daemon::start(&sandbox);
    let mut agents: Vec<Agent> = ["ann", "ben", "cleo", "dan"].iter().map(|n| Agent::start(&sandbox, n)).collect();
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));

    // Somebody is in the middle of something all along.
    agents[3].write("notes.txt", "half a thought\n").must_pass();
    commits(
        &mut agents[0],
        "src/cart.rs",
        &format!("{CART}\npub fn empty() -> Vec<u32> {{\n    vec![]\n}}\n"),
        "cart: empty",
    );
    let broken = PRICE.replace("item: u32", "item: u32, tax: u32").replace("item * 2", "item * 2 + tax");
    commits(&mut agents[1], "src/price.rs", &broken, "price: tax");
    let culprit = head(&sandbox);
    // The pause may come at any time from here on, and be over when this is tried again.
    until_long("a third commits", &sandbox, || {
        agents[2].prompt("go on");
        agents[2].write("README.md", "# A shop\n").passed()
            && agents[2].shell("git add README.md && git commit -q -m readme").passed()
    });
    agents[2].stop();

    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    let incident = over(&sandbox).expect("an incident");
    assert_eq!(incident["culprit_commits"], serde_json::json!([culprit]), "{incident:#}");
    let told: Vec<String> =
        incident["notes"].as_array().expect("notes").iter().map(|n| n["text"].to_string()).collect();
    assert!(told.iter().any(|t| t.contains("the fleet is paused")), "{told:?}");

    // The culprit's work is out, the others' is in, and nobody's unfinished work was touched.
    assert_eq!(sandbox.text("src/price.rs"), PRICE);
    assert!(sandbox.text("src/cart.rs").contains("pub fn empty"));
    assert_eq!(
        (sandbox.text("README.md"), sandbox.text("notes.txt")),
        ("# A shop\n".into(), "half a thought\n".into())
    );
    let revert =
        sandbox.git(&["log", "-1", "--format=%an%n%B", incident["revert"]["commit"].as_str().expect("a commit")]);
    assert!(revert.contains(&culprit) && revert.starts_with("Railroad"), "{revert}");
    let kept = incident["kept"].as_str().expect("a branch");
    assert_eq!(sandbox.git(&["rev-parse", kept]).trim(), culprit);
    assert_eq!(sandbox.git(&["status", "--porcelain"]).trim(), "?? notes.txt");
    until_long("the branch is known to be green again", &sandbox, || is_green(&sandbox));
    agents[0].write("after.txt", "work goes on\n").must_pass();
}

const PACKAGE: &str = r#"{
  "name": "till",
  "private": true,
  "type": "module",
  "scripts": { "check": "echo run >> RUNS && node --check src/price.js && node --check src/cart.js" }
}
"#;
const PRICE_JS: &str = "export function price(item) {\n  return item * 2;\n}\n";
const CART_JS: &str = "export function total(items) {\n  return items.length;\n}\n";

#[test]
fn a_javascript_project_is_checked_by_its_own_script_and_a_break_of_it_is_undone() {
    let sandbox = Sandbox::new();
    let runs = sandbox.path().join("runs");
    let package = PACKAGE.replace("RUNS", &runs.display().to_string());
    sandbox.commit(&[
        ("package.json", package.as_str()),
        ("src/price.js", PRICE_JS),
        ("src/cart.js", CART_JS),
        ("railroad.yaml", "defaults: off\n"),
    ]);
    let _daemon = Daemon::start(&sandbox);
    let mut agents: Vec<Agent> = ["ann", "ben"].iter().map(|n| Agent::start(&sandbox, n)).collect();
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    let check = check_of(&sandbox, "npm check");
    assert_eq!((check["trust"].as_str(), check["when"].as_str()), (Some("trusted"), Some("commit")), "{check}");
    assert!(check["run"].as_str().is_some_and(|run| run.contains("node --check src/price.js")), "{check}");
    assert!(check["from"].as_str().is_some_and(|from| from.contains("package.json")), "{check}");
    let passes = std::fs::read_to_string(&runs).expect("it has run").lines().count();
    assert_eq!(passes, 2, "believed after two passes, and the branch is green by them");

    commits(&mut agents[0], "src/cart.js", &format!("{CART_JS}export const empty = [];\n"), "cart: empty");
    commits(&mut agents[1], "src/price.js", &PRICE_JS.replace("(item)", "(item, tax"), "price: tax");
    let culprit = head(&sandbox);
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    let incident = over(&sandbox).expect("an incident");
    assert_eq!(incident["culprit_commits"], serde_json::json!([culprit]), "{incident:#}");
    assert_eq!(incident["nature"], "compile", "{incident:#}");
    assert_eq!(sandbox.text("src/price.js"), PRICE_JS);
    assert!(sandbox.text("src/cart.js").contains("empty"));
    until_long("the branch is known to be green again", &sandbox, || is_green(&sandbox));
    agents[1].read("src/price.js").must_pass();
    agents[1].write("src/price.js", &format!("{PRICE_JS}// with tax: later\n")).must_pass();
}

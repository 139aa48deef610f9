//! All live work is checked as one: two agents whose uncommitted works merge without a conflict, pass alone and fail together are both told,
//! though nothing that they changed has a line, a path or a name in common; in work trees of one machine, and on two.

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use rr_tests::hosts::{Apart, World, play};
use serde_json::json;

use super::edits::MEETING;
use super::stage::{QUICK_TIMES, config, incidents, is_green, is_paused, until_long};
use super::told::{findings, next, told, worktree};

/// Counts files of one kind against a number in another: what no list of symbols knows of each other.
const CHECK: &str = r#"
const fs = require("fs");
const most = JSON.parse(fs.readFileSync("limits.json")).most;
const items = fs.readdirSync("items").length;
if (items > most) {
  console.log(`limits.json(1,1): error TS9000: ${items} items, and ${most} are allowed`);
  process.exit(1);
}
"#;

fn limits(most: u32) -> String {
    json!({ "most": most }).to_string() + "\n"
}

#[test]
fn two_uncommitted_works_that_pass_alone_and_fail_together_are_told_and_a_third_is_not() {
    let sandbox = Sandbox::new();
    let (config, three) = (config("node check.js", ""), limits(3));
    sandbox.commit(&[
        ("check.js", CHECK),
        ("limits.json", three.as_str()),
        ("items/a.json", "{}\n"),
        ("railroad.yaml", config.as_str()),
    ]);
    let trees = ["limit", "item", "third"].map(|name| worktree(&sandbox, name));
    let _daemon = Daemon::start(&sandbox);
    let [mut limit, mut item, mut third] =
        [0, 1, 2].map(|n: usize| Agent::start_in(&sandbox, ["limit", "item", "third"][n], &trees[n]));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    third.write("notes.md", "notes\n").must_pass();
    limit.write("limits.json", &limits(1)).must_pass();
    item.write("items/b.json", "{}\n").must_pass();

    for agent in [&mut limit, &mut item] {
        let said = told(agent, &sandbox, "though each passes alone");
        assert!(said.contains("`words` fails") && said.contains("2 items, and 1 are allowed"), "{said}");
        assert!(!next(agent).contains("though each passes alone"), "once");
    }
    let found = findings(&sandbox);
    assert_eq!((found.len(), &found[0]["kind"], &found[0]["level"]), (1, &json!("check"), &json!(3)), "{found:#?}");
    let mut sides: Vec<String> =
        found[0]["sides"].as_array().expect("two").iter().map(|s| s["tree"].to_string()).collect();
    sides.dedup();
    assert_eq!(sides.len(), 2, "{found:#?}");
    assert!(!next(&mut third).contains("though each passes alone"));

    // More of the third's work changes nothing of it; when one of the two mends it, it is over.
    third.write("more.md", "more\n").must_pass();
    limit.write("limits.json", &limits(2)).must_pass();
    for agent in [&mut limit, &mut item] {
        let said = told(agent, &sandbox, "No longer in the way");
        assert!(!said.contains("though each passes alone"), "{said}");
    }
    until_long("it is cleared", &sandbox, || findings(&sandbox).is_empty());
    assert!(incidents(&sandbox).is_empty() && !is_paused(&sandbox));
}

#[test]
fn two_uncommitted_works_on_two_hosts_that_fail_together_are_told_on_both() {
    play(Apart::Links, |apart| {
        let world = World::new(apart, 2, QUICK_TIMES).expect("a world");
        let hosts = &world.hosts;
        let config = config(MEETING, "");
        hosts[0].commit(&[("src/one.txt", "one\n"), ("railroad.yaml", config.as_str())]);
        hosts[0].git(&["push", "-q", "origin", "HEAD:main"]);
        hosts[1].git(&["pull", "-q"]);
        let _daemons: Vec<Daemon> = hosts.iter().map(|host| Daemon::start(host)).collect();
        let mut agents = [0, 1].map(|n: usize| Agent::start(&hosts[n], ["left", "right"][n]));
        until_long("the branch is known to be green", &hosts[0], || super::hosts::is_green(&hosts[0]));
        for (n, agent) in agents.iter_mut().enumerate() {
            let (path, text) = (format!("src/{}.txt", agent.name()), format!("{}\n", agent.name().to_uppercase()));
            until_long("the agent may write", &hosts[n], || agent.write(&path, &text).passed());
        }
        for (n, agent) in agents.iter_mut().enumerate() {
            let said = told(agent, &hosts[n], "though each passes alone");
            assert!(said.contains("they meet"), "{said}");
        }
        let found = findings(&hosts[0]);
        assert_eq!((found.len(), &found[0]["level"]), (1, &json!(3)), "{found:#?}");
    });
}

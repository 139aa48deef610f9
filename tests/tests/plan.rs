//! Story: `rrctl plan` on two repositories that differ only in how work falls apart in them (G18, P9), and the warning where more
//! agents run than are advised.

use std::fmt::Write as _;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::Value;

const COMMITS: usize = 40;

/// A repository whose commits change these files.
fn repository(files: impl Fn(usize) -> Vec<String>) -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..COMMITS {
        for file in files(n) {
            let mut text = sandbox.text(&file);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "line {n}");
            sandbox.put(&file, &text);
        }
        sandbox.git(&["add", "."]);
        sandbox.git(&["commit", "--quiet", "--message=work"]);
    }
    sandbox
}

fn agents(plan: &Value) -> u64 {
    plan["agents"].as_u64().expect("a number")
}

fn limit<'a>(plan: &'a Value, what: &str) -> &'a Value {
    let limits = plan["limits"].as_array().expect("a list");
    limits.iter().find(|limit| limit["what"] == what).unwrap_or_else(|| panic!("no limit {what}: {plan}"))
}

#[test]
fn a_modular_repository_bears_many_agents_and_a_hot_one_few_each_with_its_reason() {
    let modular = repository(|n| vec![format!("src/part{}/work.rs", n % 8)]);
    let hot = repository(|n| vec![format!("src/part{}/work.rs", n % 8), "src/routes.rs".to_owned()]);
    let (many, few) = (modular.json(&["plan", "--review", "8"]), hot.json(&["plan", "--review", "8"]));
    assert_eq!(limit(&many, "coupling")["agents"], 8, "{many}");
    assert_eq!(many["areas"]["shared"].as_array().map(Vec::len), Some(0));
    assert_eq!((agents(&few), &few["limits"][0]["what"]), (1, &Value::from("hot files")), "{few}");
    assert_eq!(few["areas"]["shared"][0]["path"], "src/routes.rs");
    assert!(
        agents(&many) > agents(&few)
            || limit(&many, "memory")["agents"] == 1
            || limit(&many, "processor")["agents"] == 1
    );
    for plan in [&many, &few] {
        for limit in plan["limits"].as_array().expect("a list") {
            let said = |part: &str| limit[part].as_str().is_some_and(|text| !text.is_empty());
            assert!(said("why") && said("source"), "{limit}");
        }
    }
    let text = String::from_utf8(hot.rrctl(&["plan"]).stdout).expect("text");
    assert!(text.starts_with("Up to 1 agent(s) at a time here; 0 run now.\n"), "{text}");
    assert!(text.contains("EDITED BY EVERYBODY: ONE OWNER") && text.contains("what changes src/routes.rs"), "{text}");
    let text = String::from_utf8(modular.rrctl(&["plan"]).stdout).expect("text");
    assert!(
        text.contains("src/part7") && text.contains("Side by side:\n  - tasks that stay within one group"),
        "{text}"
    );
}

#[test]
fn people_are_told_when_more_agents_run_than_are_advised_and_agents_are_not() {
    let sandbox = Sandbox::new();
    let _daemon = Daemon::start(&sandbox);
    let status = || String::from_utf8(sandbox.rrctl(&["status"]).stdout).expect("text");
    let mut first = Agent::start(&sandbox, "first");
    assert!(!status().contains("are advised"), "{}", status());
    // One more than anybody reviews well.
    let _more: Vec<Agent> = (0..6).map(|n| Agent::start(&sandbox, &format!("more-{n}"))).collect();
    until("all are here", || sandbox.sessions().len() == 7);
    let text = status();
    assert!(text.contains("Agents    7 run on this machine, ") && text.contains(" are advised ("), "{text}");
    assert_eq!(sandbox.json(&["status"])["more_agents_than_advised"], true);
    let told = first.prompt("and now?").context;
    assert!(!told.contains("advised"), "{told}");
    let plan = sandbox.json(&["plan"]);
    assert_eq!((&plan["running"], &plan["machine"]["agent"]["measured_on"]), (&Value::from(7), &Value::from(7)));
    assert_eq!(limit(&plan, "history")["agents"], 2);
}

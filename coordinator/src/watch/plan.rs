//! The checks of a repository as the watcher keeps them in the store, as far as people are shown them: what is not
//! known here is passed over, so that a newer watcher can say more.

use rr_proto::v1;
use serde::Deserialize;

/// What stands in the store.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct PlanRecord {
    checks: Vec<Judged>,
    proposed: Vec<CheckRecord>,
    /// What a person's word for the proposed ones must name; empty where there are none.
    pub(super) proposed_hash: String,
    notes: Vec<String>,
}

/// A check that is in force, and what is thought of it.
#[derive(Debug, Deserialize)]
struct Judged {
    check: CheckRecord,
    trust: Trust,
}

#[derive(Debug, Deserialize)]
struct CheckRecord {
    name: String,
    run: String,
    #[serde(default)]
    when: String,
    from: Option<From>,
}

/// Where its command was taken from.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum From {
    Known(Known),
    Words(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Known {
    Configured,
    Ci { file: String },
    Script { file: String, script: String },
    Manifest { file: String },
}

#[derive(Debug, Deserialize)]
struct Trust {
    trust: String,
    /// Of one that is trusted.
    #[serde(default)]
    median_ms: u64,
}

impl From {
    fn words(&self) -> String {
        match self {
            Self::Known(Known::Configured) => "health.checks in railroad.yaml".to_owned(),
            Self::Known(Known::Ci { file }) => format!("a step in {file}"),
            Self::Known(Known::Script { file, script }) => format!("script {script} in {file}"),
            Self::Known(Known::Manifest { file }) => format!("usual for {file}"),
            Self::Words(words) => words.clone(),
        }
    }
}

impl PlanRecord {
    pub(super) fn on_the_wire(self, repo: String) -> v1::Plan {
        let in_force = |judged: Judged| v1::Check {
            trust: judged.trust.trust,
            median_ms: judged.trust.median_ms,
            ..judged.check.on_the_wire()
        };
        v1::Plan {
            repo,
            hash: self.proposed_hash,
            checks: self.checks.into_iter().map(in_force).collect(),
            proposed: self.proposed.into_iter().map(CheckRecord::on_the_wire).collect(),
            notes: self.notes,
        }
    }
}

impl CheckRecord {
    fn on_the_wire(self) -> v1::Check {
        let from = self.from.as_ref().map(From::words).unwrap_or_default();
        v1::Check { name: self.name, run: self.run, when: self.when, from, ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_shown_with_where_each_command_comes_from_and_whether_it_is_believed() {
        let text = r#"{ "proposed_hash": "9a", "notes": ["n"], "later": 1, "checks": [
            { "check": { "name": "a", "run": "x", "when": "commit", "from": "configured", "needs": [] },
              "trust": { "trust": "trusted", "median_ms": 7 } },
            { "check": { "name": "b", "run": "y", "when": "merge", "from": { "ci": { "file": "ci.yml" } } },
              "trust": { "trust": "infrastructure", "why": "timed_out" } } ],
          "proposed": [
            { "name": "c", "run": "z", "when": "edit",
              "from": { "script": { "file": "package.json", "script": "test" } } },
            { "name": "d", "run": "z", "from": "a new place" } ] }"#;
        let record: PlanRecord = serde_json::from_str(text).expect("reads");
        let plan = record.on_the_wire("r".into());
        let told: Vec<_> = plan.checks.iter().map(|c| (c.from.as_str(), c.trust.as_str(), c.median_ms)).collect();
        assert_eq!(told, [("health.checks in railroad.yaml", "trusted", 7), ("a step in ci.yml", "infrastructure", 0)]);
        let proposed: Vec<_> = plan.proposed.iter().map(|c| c.from.as_str()).collect();
        assert_eq!(proposed, ["script test in package.json", "a new place"]);
        assert_eq!((plan.hash.as_str(), plan.notes.len()), ("9a", 1));
    }
}

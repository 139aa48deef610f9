//! Which checks a repository has, and whether they may be believed. A first plan is trusted once its checks have passed twice on the
//! target tip; another one, whoever made it, only when a person says so: a check's command is never taken from what an agent
//! has just changed. Nothing is run here.

use rr_checks::{Check, Configured, Plan, Tree, Trust, When};
use rr_core::id::CommitId;
use rr_git::Mirror;
use rr_runtime::config;
use serde::{Deserialize, Serialize};

use crate::grounds::Ground;

/// A file of a manifest's kind; larger ones are none.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What the store keeps of a repository's checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// In force: each with what its runs on the target tip have shown.
    pub checks: Vec<Judged>,
    /// Found or written since, and not in force before a person says so.
    #[serde(default)]
    pub proposed: Vec<Check>,
    /// What a person says to put these in force; empty where nothing is proposed.
    #[serde(default)]
    pub proposed_hash: String,
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub check: Check,
    pub trust: Trust,
}

impl Kept {
    /// Checks that may be believed, the cheap ones first.
    pub(crate) fn trusted(&self, when: When) -> impl Iterator<Item = &Check> {
        let believed = move |j: &&Judged| matches!(j.trust, Trust::Trusted { .. }) && j.check.when <= when;
        self.checks.iter().filter(believed).map(|j| &j.check)
    }

    /// The check for merged trees that nobody has landed: the cheapest that can be believed.
    pub(crate) fn cheapest(&self) -> Option<&Check> {
        let cost = |j: &&Judged| match j.trust {
            Trust::Trusted { median_ms } => (j.check.when, median_ms),
            _ => (j.check.when, u64::MAX),
        };
        self.checks.iter().filter(|j| matches!(j.trust, Trust::Trusted { .. })).min_by_key(cost).map(|j| &j.check)
    }

    /// This plan with what is found now. `trusted`: the hash that a person has said yes to.
    pub(crate) fn renewed(mut self, found: Plan, trusted: Option<&str>) -> Self {
        let same = |kept: &[Judged], found: &[Check]| {
            kept.len() == found.len() && kept.iter().zip(found).all(|(k, f)| k.check == *f)
        };
        // The commands themselves: what a person trusts is what is run.
        let hash = rr_checks::commands_hash(&found.checks).0;
        self.notes = found.notes;
        self.proposed_hash = String::new();
        if same(&self.checks, &found.checks) {
            self.proposed = vec![];
        } else if self.checks.is_empty() || trusted == Some(hash.as_str()) {
            let not_yet = |check| Judged { check, trust: Trust::NotYet { passes: 0 } };
            self.checks = found.checks.into_iter().map(not_yet).collect();
            self.proposed = vec![];
        } else {
            let say = |c: &Check| {
                format!(
                    "proposed: {} runs `{}` ({}); in force after `rrctl health trust {hash}`",
                    c.name, c.run, c.from
                )
            };
            self.notes.extend(found.checks.iter().map(say));
            (self.proposed, self.proposed_hash) = (found.checks, hash);
        }
        self
    }
}

/// What the repository's own files say at the target tip, or its configuration.
pub(crate) fn found(ground: &Ground, tip: &CommitId) -> Plan {
    if let Some(checks) = &ground.health.checks {
        let configured: Vec<Configured> = checks.iter().map(configured).collect();
        if configured.is_empty() {
            let notes = vec!["railroad.yaml says that nothing is checked (`health: { checks: [] }`)".to_owned()];
            return Plan { checks: vec![], source: rr_checks::find::Hash(String::new()), notes };
        }
        return rr_checks::discover(&AtTip { mirror: &ground.mirror, tip }, &configured);
    }
    rr_checks::discover(&AtTip { mirror: &ground.mirror, tip }, &[])
}

fn configured(entry: &config::CheckEntry) -> Configured {
    let when = match entry.when {
        config::When::Commit => When::Commit,
        config::When::Merge => When::Merge,
    };
    Configured { name: entry.name.clone(), run: entry.run.clone(), when }
}

/// The files of a commit.
struct AtTip<'a> {
    mirror: &'a Mirror,
    tip: &'a CommitId,
}

impl Tree for AtTip<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.mirror.file_at(self.tip, path, FILE_BYTES_MAX).ok().flatten()
    }

    fn list(&self, folder: &str) -> Vec<String> {
        self.mirror.names_at(self.tip, folder).unwrap_or_default()
    }
}

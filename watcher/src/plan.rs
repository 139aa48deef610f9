//! Which checks a repository has, and whether they may be believed. A check is trusted once it has passed twice on the target tip.
//! What may be run at all without asking is decided here, and stays as it is until a person says otherwise: a check's command is
//! never taken from what an agent has just changed. Nothing is run here.

use rr_checks::{Check, Configured, Origin, Plan, Tree, Trust, When};
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

    /// This plan with what is found now. `trusted`: the hash that a person has said yes to. `first`: nothing was kept of this
    /// repository before.
    pub(crate) fn renewed(mut self, found: Plan, trusted: Option<&str>, first: bool) -> Self {
        // The commands themselves: what a person trusts is what is run.
        let hash = rr_checks::commands_hash(&found.checks).0;
        self.notes = found.notes;
        (self.proposed, self.proposed_hash) = (vec![], String::new());
        if trusted == Some(hash.as_str()) {
            self.put_in_force(found.checks);
            return self;
        }
        let is_new = first || self.checks.is_empty();
        let by_itself: Vec<Check> = found.checks.iter().filter(|c| runs_unasked(c, first)).cloned().collect();
        if is_new || self.is(&by_itself) {
            self.put_in_force(by_itself);
        }
        if !self.is(&found.checks) {
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

    fn is(&self, checks: &[Check]) -> bool {
        self.checks.len() == checks.len() && self.checks.iter().zip(checks).all(|(kept, check)| kept.check == *check)
    }

    /// What is known of a check that stays in force stays known.
    fn put_in_force(&mut self, checks: Vec<Check>) {
        if !self.is(&checks) {
            let not_yet = |check| Judged { check, trust: Trust::NotYet { passes: 0 } };
            self.checks = checks.into_iter().map(not_yet).collect();
        }
    }
}

/// Whether a check may be run before a person has said so. Whoever wrote it into `railroad.yaml` has. A compiler on its own does
/// no harm; tests may (a database, an account). A script's text is believed only as it was before any agent of ours was there.
fn runs_unasked(check: &Check, first: bool) -> bool {
    match check.from {
        Origin::Configured => true,
        Origin::Manifest { .. } => check.when < When::Merge,
        Origin::Ci { .. } | Origin::Script { .. } => first && check.when < When::Merge,
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
        config::When::Edit => When::Edit,
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

#[cfg(test)]
mod tests {
    use rr_checks::Hash;

    use super::*;

    fn check(name: &str, when: When, from: Origin) -> Check {
        let (run, folder) = (format!("run {name}"), String::new());
        Check { name: name.to_owned(), run, when, from, needs: vec![], folder, path: vec![] }
    }

    fn manifest() -> Origin {
        Origin::Manifest { file: "Cargo.toml".to_owned() }
    }

    fn script() -> Origin {
        Origin::Script { file: "package.json".to_owned(), script: "check".to_owned() }
    }

    fn plan(checks: &[Check]) -> Plan {
        Plan { checks: checks.to_vec(), source: Hash(String::new()), notes: vec![] }
    }

    fn in_force(kept: &Kept) -> Vec<&str> {
        kept.checks.iter().map(|judged| judged.check.name.as_str()).collect()
    }

    #[test]
    fn compilers_run_unasked_and_tests_that_nobody_named_wait_for_a_person() {
        let found = [check("types", When::Commit, manifest()), check("tests", When::Merge, manifest())];
        let kept = Kept::default().renewed(plan(&found), None, true);
        assert_eq!((in_force(&kept), kept.proposed.len()), (vec!["types"], 2));
        assert!(kept.notes.iter().any(|note| note.contains(&kept.proposed_hash)), "{:?}", kept.notes);
        let again = kept.clone().renewed(plan(&found), None, false);
        assert_eq!(again, kept, "and nothing else comes of looking again");
        let all = again.renewed(plan(&found), Some(&kept.proposed_hash), false);
        assert_eq!((in_force(&all), all.proposed.len()), (vec!["types", "tests"], 0));
        let named = [check("tests", When::Merge, Origin::Configured)];
        assert_eq!(in_force(&Kept::default().renewed(plan(&named), None, true)), ["tests"]);
    }

    #[test]
    fn a_script_counts_as_it_was_at_first_and_what_an_agent_brings_along_later_does_not() {
        let found = [check("check", When::Commit, script())];
        let kept = Kept::default().renewed(plan(&found), None, true);
        assert_eq!(in_force(&kept), ["check"]);
        let mut other = found.clone();
        other[0].run = "something else".to_owned();
        let kept = kept.renewed(plan(&other), None, false);
        assert_eq!((kept.checks[0].check.run.as_str(), kept.proposed.len()), ("run check", 1));
        // A repository that had no check at all gets none from a script that an agent has landed.
        let late = Kept::default().renewed(plan(&found), None, false);
        assert_eq!((in_force(&late).len(), late.proposed.len()), (0, 1));
    }

    #[test]
    fn what_is_known_of_a_check_that_stays_is_not_forgotten() {
        let found = [check("types", When::Commit, manifest())];
        let mut kept = Kept::default().renewed(plan(&found), None, true);
        kept.checks[0].trust = Trust::Trusted { median_ms: 7 };
        let kept = kept.renewed(plan(&found), None, false);
        assert_eq!(kept.checks[0].trust, Trust::Trusted { median_ms: 7 });
    }
}

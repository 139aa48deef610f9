//! A search among works that nobody has committed: which of them fail a check together. The rule says which set is built next and when
//! somebody is proven; this builds it and reads what the check says. It knows neither what a unit is nor who is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_checks::{Check, Findings, Nature};
use rr_core::culprit::{self, Culprit, Mixed, MixedRun, MixedStep, Verdict, next_mixed};
use rr_core::id::ObjectId;
use rr_git::MirrorError;
use rr_runtime::errors::chain;

use crate::grounds::Ground;
use crate::workshop::{Memory, Said, Urgency, Workshop};

/// Builds of one search at a time.
const SLOTS: usize = 1;
/// A unit that touches a file named in the error is this much likelier to have broken it (watcher.md, culprit).
const NAMED: f64 = 8.0;
/// Of a test's reds, how many are taken for chance before any is run again.
const FLAKES_AT_FIRST: f64 = 0.4;

/// The red that began it.
pub(crate) struct Red {
    pub findings: Findings,
    pub nature: Nature,
    pub output: String,
}

/// What is built, and how it is asked for.
pub(crate) struct Bench<'a> {
    pub shop: &'a Workshop,
    pub ground: &'a Ground,
    pub check: &'a Check,
    pub urgency: Urgency,
}

/// Puts some units together; none: they do not go together. Git works meanwhile: it is called where that may be waited for.
pub(crate) type TreeOf = Arc<dyn Fn(&[usize]) -> Result<Option<ObjectId>, MirrorError> + Send + Sync>;

/// How a search ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Found(Culprit),
    /// It was chance.
    Flake,
    /// In the tree whenever it was red.
    Unproven(Vec<usize>),
    /// What is searched in does not stand there any more.
    Overtaken,
    /// The check says nothing: why.
    Nothing(String),
}

/// One piece of work among others.
pub(crate) struct Unit {
    /// Its files, as a check's output names them.
    pub files: BTreeSet<String>,
    /// Units without which it cannot be built.
    pub needs: Vec<usize>,
}

impl Bench<'_> {
    /// Whether a red is to be believed, of a check that may fail by chance.
    pub(crate) async fn is_red_again(&self, tree: &ObjectId, red: &Red) -> Result<bool, String> {
        if red.nature == Nature::Compile {
            return Ok(true);
        }
        match self.shop.ask(self.ground, tree, self.check, self.urgency, Memory::Fresh).await {
            Said::Red { .. } => Ok(true),
            Said::Green => Ok(false),
            Said::Nothing(why) => Err(why),
        }
    }

    /// Who of these breaks it, all of them together being red. `stands`: whether what is searched in is still there.
    pub(crate) async fn search(
        &self,
        whole: &ObjectId,
        units: &[Unit],
        red: &Red,
        tree_of: TreeOf,
        stands: &(dyn Fn() -> bool + Sync),
    ) -> Ended {
        let problem = self.problem(whole, units, red).await;
        let mut runs = vec![MixedRun { with: (0..units.len()).collect(), verdict: Verdict::Red }];
        loop {
            let with = match next_mixed(&problem, &runs, SLOTS) {
                MixedStep::Build(sets) => sets.into_iter().next().unwrap_or_default(),
                MixedStep::Found(culprit) => return Ended::Found(culprit),
                MixedStep::Flake => return Ended::Flake,
                MixedStep::Unproven { most_likely, .. } => return Ended::Unproven(most_likely),
            };
            if !stands() {
                return Ended::Overtaken;
            }
            let (tree_of, set) = (tree_of.clone(), with.clone());
            let verdict = match tokio::task::spawn_blocking(move || tree_of(&set)).await {
                Ok(Ok(Some(tree))) => self.verdict(&tree, red).await,
                Ok(Ok(None)) => Ok(Verdict::Unresolved),
                Ok(Err(error)) => Err(chain(&error)),
                Err(error) => Err(error.to_string()),
            };
            match verdict {
                Ok(verdict) => runs.push(MixedRun { with, verdict }),
                Err(why) => return Ended::Nothing(why),
            }
        }
    }

    async fn problem(&self, whole: &ObjectId, units: &[Unit], red: &Red) -> Mixed {
        let named = red.findings.files();
        let weight = |unit: &Unit| if named.iter().any(|file| unit.files.contains(*file)) { NAMED } else { 1.0 };
        let (nature, nobody) = match red.nature {
            Nature::Compile => (culprit::Nature::Compile, 0.0),
            Nature::Test => {
                let seen = self.shop.flakes(self.ground, whole, self.check).await;
                let count = |trees: u64| u32::try_from(trees).unwrap_or(u32::MAX);
                let flake = culprit::flake_rate(count(seen.both_ways), count(seen.red_trees));
                (culprit::Nature::Test { flake }, FLAKES_AT_FIRST)
            }
        };
        Mixed {
            units: units.len(),
            needs: units.iter().map(|unit| unit.needs.clone()).collect(),
            weights: units.iter().map(weight).collect(),
            groups: (0..units.len()).collect(),
            nature,
            nobody,
        }
    }

    /// Of a compiler one verdict on a tree is as good as two; of a test each is asked for anew.
    async fn verdict(&self, tree: &ObjectId, red: &Red) -> Result<Verdict, String> {
        let memory = if red.nature == Nature::Compile { Memory::Known } else { Memory::Fresh };
        match self.shop.ask(self.ground, tree, self.check, self.urgency, memory).await {
            Said::Green => Ok(Verdict::Green),
            Said::Red { findings, .. } if is_same(&findings, &red.findings) => Ok(Verdict::Red),
            Said::Red { .. } => Ok(Verdict::Unresolved),
            Said::Nothing(why) => Err(why),
        }
    }
}

/// Whether a red is the one that is searched for. Words that no tool's format explains are different each time.
fn is_same(found: &Findings, searched: &Findings) -> bool {
    !found.are_known() || !searched.are_known() || found.0.iter().any(|finding| searched.0.contains(finding))
}

/// What is shown of a red: its output's end, or what was remembered of it.
pub(crate) fn excerpt(red: &Red, bytes_max: usize) -> String {
    if !red.output.is_empty() {
        return crate::health::tail(&red.output, bytes_max);
    }
    let lines: Vec<String> = red.findings.0.iter().map(ToString::to_string).collect();
    crate::health::tail(&lines.join("\n"), bytes_max)
}

//! The score: which pairs and paths a detector calls a conflict, against what git calls one. The judge is judged as well: who always
//! says clean, and who always says conflict, must fail.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::live::GitPath;
use rr_core::overlap::{Finding, Kind, Level};

use crate::git::{Git, key, pairs};
use crate::world::World;

pub(crate) type Conflicts = BTreeMap<(usize, usize), BTreeSet<GitPath>>;

#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) pairs: usize,
    pub(crate) merges: usize,
    pub(crate) truths: usize,
    pub(crate) told: usize,
    pub(crate) right: usize,
    /// The first that was wrong.
    pub(crate) wrong: Option<String>,
}

impl Score {
    pub(crate) fn add(&mut self, seed: u64, told: &Conflicts, truth: &Conflicts, sides: usize, merges: usize) {
        let flat = |conflicts: &Conflicts| -> BTreeSet<((usize, usize), GitPath)> {
            conflicts.iter().flat_map(|(pair, paths)| paths.iter().map(move |path| (*pair, path.clone()))).collect()
        };
        let (told, truth) = (flat(told), flat(truth));
        self.pairs += pairs(sides).len();
        self.merges += merges;
        self.truths += truth.len();
        self.told += told.len();
        self.right += told.intersection(&truth).count();
        if let Some((pair, path)) = told.symmetric_difference(&truth).next().filter(|_| self.wrong.is_none()) {
            let which = if truth.contains(&(*pair, path.clone())) { "missed" } else { "made up" };
            self.wrong = Some(format!("seed {seed}: {which}: {pair:?} on {path}"));
        }
    }

    /// # Errors
    /// Which bar is missed.
    pub(crate) fn exact(&self) -> Result<(), String> {
        match &self.wrong {
            Some(wrong) => Err(format!("{wrong}; {self:?}")),
            None if self.truths == 0 => Err("nothing to find".to_owned()),
            None => Ok(()),
        }
    }

    /// # Errors
    /// If more than a tenth of all pairs were merged.
    pub(crate) fn frugal(&self) -> Result<(), String> {
        if self.merges * 10 <= self.pairs {
            Ok(())
        } else {
            Err(format!("{} merges of {} pairs", self.merges, self.pairs))
        }
    }
}

/// What of the findings is an alert about merging.
pub(crate) fn told(findings: &[Finding], sides: usize) -> Conflicts {
    let numbers: BTreeMap<_, _> = (0..sides).map(|nr| (key(nr), nr)).collect();
    let mut told = Conflicts::new();
    for finding in findings.iter().filter(|f| f.level >= Level::Conflict && f.kind == Kind::Merge) {
        let [a, b] = finding.sides.each_ref().map(|side| numbers[side]);
        told.entry((a.min(b), a.max(b))).or_default().extend(finding.paths.iter().cloned());
    }
    told
}

fn judged(detector: fn(&World) -> Conflicts) -> Score {
    let mut score = Score::default();
    for seed in 0..4 {
        let world = World::crowded(seed);
        let sides = world.sides.len();
        score.add(seed, &detector(&world), &Git::of(&world).truth(), sides, pairs(sides).len());
    }
    score
}

#[test]
fn a_detector_that_always_says_clean_fails() {
    let score = judged(|_| Conflicts::new());
    assert!(score.truths > 0 && score.told == 0, "{score:?}");
    assert!(score.exact().expect_err("it finds nothing").contains("missed"));
}

#[test]
fn a_detector_that_always_says_conflict_fails() {
    let score = judged(|world| {
        let all = |tree: &crate::world::Tree| tree.keys().map(|path| GitPath::from(path.as_str())).collect();
        pairs(world.sides.len()).into_iter().map(|pair| (pair, all(&world.sides[pair.0]))).collect()
    });
    assert!(score.told > score.right, "{score:?}");
    score.exact().expect_err("it makes conflicts up");
    score.frugal().expect_err("it merges every pair");
}

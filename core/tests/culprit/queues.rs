//! Made-up queues of commits with a known fault, or none, and a check that flakes: what each way of searching says of
//! them, and how many builds that took. The same trial, from the same seed, is put to each. The searches are in
//! `rivals`.

use rr_core::culprit::{Build, Nature, Partner, Queue, Verdict};

use crate::dice::Dice;

/// Who broke it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Nobody,
    /// One commit, or two that break it only together. Counted from 1.
    Broke(Vec<usize>),
}

impl Truth {
    pub(crate) fn is_guilty_of(&self, blamed: &[usize]) -> bool {
        matches!(self, Self::Broke(commits) if blamed.iter().all(|commit| commits.contains(commit)))
    }
}

/// How the check fails where nothing is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flakes {
    /// Each run by itself.
    Each(f64),
    /// In stretches, whatever is built: a run is red like the one before it, but for this chance to change.
    Stretches { change: f64 },
}

/// What the weights say of the true culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hints {
    None,
    /// It is named three times of four, with a few that are not it.
    Good,
    /// Others are named, never it.
    Bad,
}

pub(crate) struct Setting {
    pub(crate) commits: usize,
    pub(crate) flakes: Flakes,
    /// What is said of the test; none for a compile error.
    pub(crate) estimate: Option<f64>,
    /// Of 100 trials, those with a fault, and of 100 of these, those that take two commits.
    pub(crate) real: f64,
    pub(crate) two: f64,
    pub(crate) hints: Hints,
    pub(crate) partner: Partner,
}

pub(crate) struct Trial {
    pub(crate) truth: Truth,
    pub(crate) queue: Queue,
    pub(crate) builds: usize,
    flakes: Flakes,
    dice: Dice,
    /// In a stretch of reds.
    bad: bool,
}

impl Trial {
    pub(crate) fn new(setting: &Setting, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let n = setting.commits;
        let truth = if dice.chance(setting.real) {
            let last = 1 + dice.below(n);
            let before = if last > 1 && dice.chance(setting.two) { Some(1 + dice.below(last - 1)) } else { None };
            Truth::Broke(before.into_iter().chain([last]).collect())
        } else {
            Truth::Nobody
        };
        let weights = weights(setting.hints, n, &truth, &mut dice);
        let nature = setting.estimate.map_or(Nature::Compile, |flake| Nature::Test { flake });
        let nobody = if setting.estimate.is_none() { 0.0 } else { 0.4 };
        let queue = Queue { suspects: n, weights, nature, nobody, partner: setting.partner };
        // It was red: that is why there is a search.
        Self { truth, queue, builds: 0, flakes: setting.flakes, dice, bad: true }
    }

    pub(crate) fn head(&self) -> Build {
        Build::Prefix(self.queue.suspects)
    }

    pub(crate) fn build(&mut self, build: &Build) -> Verdict {
        self.builds += 1;
        let broken = match &self.truth {
            Truth::Nobody => false,
            Truth::Broke(commits) => {
                let with = build.commits();
                commits.iter().all(|commit| with.contains(commit))
            }
        };
        let flaked = self.flakes();
        if broken || flaked { Verdict::Red } else { Verdict::Green }
    }

    fn flakes(&mut self) -> bool {
        match self.flakes {
            Flakes::Each(rate) => self.dice.chance(rate),
            Flakes::Stretches { change } => {
                self.bad ^= self.dice.chance(change);
                self.bad
            }
        }
    }
}

fn weights(hints: Hints, n: usize, truth: &Truth, dice: &mut Dice) -> Vec<f64> {
    let is_guilty = |commit: usize| matches!(truth, Truth::Broke(commits) if commits.contains(&commit));
    let weight = |commit: usize, dice: &mut Dice| match hints {
        Hints::None => 1.0,
        Hints::Good if is_guilty(commit) && dice.chance(0.75) => 8.0,
        Hints::Good if dice.chance(0.1) => 8.0,
        Hints::Good if dice.chance(0.3) => 4.0,
        Hints::Bad if !is_guilty(commit) && dice.chance(0.3) => 8.0,
        Hints::Good | Hints::Bad => 1.0,
    };
    (1..=n).map(|commit| weight(commit, dice)).collect()
}

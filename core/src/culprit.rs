//! Who broke it: from the builds so far, which build comes next, and when one change is proven guilty. A red may be
//! chance, so every explanation is kept with its probability, "nobody" among them, until one has all but [`DOUBT_MAX`]
//! of it *and* has been seen both ways afresh: red with it, green without it (ADR 20). The whole state is the problem
//! and the runs. It knows no commit, tree or command: changes are numbers, a build is a set of them. [`queue`] is for
//! landed commits, [`mixed`] for edits in one tree; [`belief`] has the arithmetic, [`subset`] what to build, [`ahead`]
//! what to build beside it.

mod ahead;
mod belief;
mod blocks;
mod line;
pub mod mixed;
mod partner;
pub mod queue;
mod subset;

use serde::{Deserialize, Serialize};

pub use mixed::{Mixed, MixedRun, MixedStep, next_mixed};
pub use queue::{BeforeRevert, Build, Partner, Queue, Run, Step, before_revert, next_step};

/// What may be left for all other explanations together when one is called proven.
pub const DOUBT_MAX: f64 = 1e-4;
/// From here on a suspect is put to the test both ways. Earlier, builds that tell suspects apart are worth more.
const SUSPECTED: f64 = 0.9;
/// Of a check that passed on the base: how likely it is nevertheless the base that is red.
const BASE_PRIOR: f64 = 0.01;
/// A red base is built again until this little is left of chance. More than for a culprit: nobody is blamed by it.
const BASE_DOUBT_MAX: f64 = 0.01;
/// A compile or type error comes and goes for reasons of the machine alone.
const COMPILE_FLAKE: f64 = 0.001;
/// No history shows less than this of a test; above the upper one a red says next to nothing.
const TEST_FLAKE: (f64, f64) = (0.01, 0.5);
/// What is thought of a test before any rerun: Beta(1, 99).
const FLAKE_PRIOR: (f64, f64) = (1.0, 99.0);
/// Never certain of it, never out of it: a past without flakes does not rule the first one out.
const NOBODY: (f64, f64) = (0.001, 0.95);

/// How the failing check behaves: whether a red can be chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// A compile or type error.
    Compile,
    /// A test, with its estimated [`flake_rate`].
    Test { flake: f64 },
}

/// What one build came to, seen from the failure that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Green,
    /// *This* failure. Another one is [`Verdict::Unresolved`].
    Red,
    /// Does not merge, does not build for another reason, the machine failed: says nothing.
    Unresolved,
}

/// Who it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// One, or the two that break it only together, or the two that break it each. In ascending order.
    pub suspects: Vec<usize>,
    pub how: How,
    pub proof: Proof,
}

/// What the suspects need to break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    ByItself,
    /// Neither of the two without the other.
    Together,
    /// Each of the two: taking out one leaves it red.
    Each,
    /// Proven, but not by itself, and with which others cannot be said: more than one, or not to be built.
    WithOthers,
    /// Proven; whether by itself was not asked, or cannot be built.
    NotAsked,
}

/// Two of the runs, by their places: both were made after the search had come to its suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Red with it.
    pub with: usize,
    /// Green without it.
    pub without: usize,
}

/// Why nothing can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Red without any of them: not theirs.
    BaseIsRed,
    /// As many builds as it may take; more would not end it.
    LimitReached,
    /// What would decide it does not merge or build.
    Unresolved,
    /// It stays red, and no suspect, nor any two, explain what was seen: three together, or one that is not in the
    /// list.
    NothingFits,
    /// Nobody in the list can have done it.
    NoSuspect,
}

impl Nature {
    /// The probability that a tree without a fault is red.
    #[must_use]
    pub fn flake(self) -> f64 {
        match self {
            Self::Compile => COMPILE_FLAKE,
            Self::Test { flake } if flake.is_finite() => flake.clamp(TEST_FLAKE.0, TEST_FLAKE.1),
            Self::Test { .. } => TEST_FLAKE.1,
        }
    }

    /// Reds in a row that are no chance: the least r with f^r < [`DOUBT_MAX`].
    #[must_use]
    pub fn reds_needed(self) -> usize {
        let needed = std::iter::successors(Some(self.flake()), |chance| Some(chance * self.flake()));
        // A product of tenths may come out a hair below the bar that it meets exactly.
        1 + needed.take_while(|chance| *chance >= DOUBT_MAX * (1.0 - 1e-9)).count()
    }
}

/// Whether a tree that was red `reds` times and never green must be run again before the red is believed.
#[must_use]
pub fn rerun_needed(nature: Nature, reds: usize) -> bool {
    reds < nature.reds_needed()
}

/// How often a test fails by chance, from reruns of trees on which it had been red.
#[must_use]
pub fn flake_rate(passes_after_red: u32, reruns: u32) -> f64 {
    let (hits, misses) = FLAKE_PRIOR;
    let rate = (hits + f64::from(passes_after_red)) / (hits + misses + f64::from(reruns.max(passes_after_red)));
    rate.clamp(TEST_FLAKE.0, TEST_FLAKE.1)
}

fn base_is_chance(nature: Nature, reds: usize) -> bool {
    let reds = i32::try_from(reds).unwrap_or(i32::MAX);
    nature.flake().powi(reds) > BASE_DOUBT_MAX * (1.0 + 1e-9)
}

/// A weight as it may be used: what is no positive number is 0, outside; what is missing is 1.
fn weight(weights: &[f64], at: usize) -> f64 {
    const MOST: f64 = 1e6;
    weights.get(at).map_or(1.0, |w| if w.is_finite() && *w > 0.0 { w.min(MOST) } else { 0.0 })
}

fn nobody(share: f64) -> f64 {
    if share.is_finite() { share.clamp(NOBODY.0, NOBODY.1) } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_is_believed_when_chance_is_less_than_one_in_ten_thousand() {
        let test = |flake: f64| Nature::Test { flake }.reds_needed();
        assert_eq!([test(0.0), test(0.02), test(0.1), test(0.3), test(0.9), test(f64::NAN)], [3, 3, 5, 8, 14, 14]);
        assert!(rerun_needed(Nature::Compile, 1) && !rerun_needed(Nature::Compile, 2));
    }

    #[test]
    fn a_flake_rate_begins_at_one_in_a_hundred_and_is_learned_from_reruns() {
        assert!((flake_rate(0, 0) - 0.01).abs() < 1e-12 && (flake_rate(0, 1_000) - 0.01).abs() < 1e-12);
        assert!((flake_rate(29, 100) - 0.15).abs() < 1e-12);
        assert!((flake_rate(5_000, 5_000) - 0.5).abs() < 1e-12);
    }
}

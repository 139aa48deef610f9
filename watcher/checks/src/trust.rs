//! When a check may be believed: it passed twice on the target tip, and never failed there. One that is red from the
//! start says nothing about anybody's change, and one that is both says nothing at all. A pure function. The watcher
//! runs what it asks for.

use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, Why};
use crate::read::Nature;

/// As often on one tree: one pass may be luck, and the second run shows what the check costs when nothing is to be
/// built.
const PASSES_TO_TRUST: usize = 2;
/// A test may fail by chance once.
const REDS_TO_BELIEVE: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "trust")]
pub enum Trust {
    Trusted {
        median_ms: u64,
    },
    /// Too few runs so far: run it again.
    NotYet {
        passes: usize,
    },
    Flaky,
    RedFromTheStart,
    Infrastructure {
        why: Why,
    },
}

/// What runs of one check on one and the same tree, the target tip, say of the check. Oldest first.
#[must_use]
pub fn trust(runs: &[Outcome]) -> Trust {
    let passes = runs.iter().filter(|o| matches!(o, Outcome::Green { .. })).count();
    let reds: Vec<Nature> = runs.iter().filter_map(nature).collect();
    let is_believed = reds.len() >= REDS_TO_BELIEVE || reds.contains(&Nature::Compile);
    match runs.last() {
        _ if passes > 0 && !reds.is_empty() => Trust::Flaky,
        _ if is_believed => Trust::RedFromTheStart,
        _ if passes >= PASSES_TO_TRUST => Trust::Trusted { median_ms: median_of_passes(runs) },
        Some(Outcome::Infrastructure { why, .. }) => Trust::Infrastructure { why: why.clone() },
        _ => Trust::NotYet { passes },
    }
}

const fn nature(outcome: &Outcome) -> Option<Nature> {
    match outcome {
        Outcome::Red { nature, .. } => Some(*nature),
        Outcome::Green { .. } | Outcome::Infrastructure { .. } => None,
    }
}

fn median_of_passes(runs: &[Outcome]) -> u64 {
    let mut took: Vec<u64> = runs.iter().filter(|o| matches!(o, Outcome::Green { .. })).map(Outcome::took_ms).collect();
    took.sort_unstable();
    let (upper, lower) = (took.get(took.len() / 2), took.get(took.len().saturating_sub(1) / 2));
    upper.zip(lower).map_or(0, |(a, b)| u64::midpoint(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Output;
    use crate::read::Findings;

    fn green(took_ms: u64) -> Outcome {
        Outcome::Green { took_ms }
    }

    fn red(nature: Nature) -> Outcome {
        Outcome::Red { findings: Findings::default(), nature, output: Output::default(), took_ms: 1 }
    }

    fn hangs() -> Outcome {
        Outcome::Infrastructure { why: Why::TimedOut, output: Output::default(), retry: true, took_ms: 9 }
    }

    #[test]
    fn a_check_is_trusted_after_two_passes_and_not_after_one() {
        assert_eq!(trust(&[]), Trust::NotYet { passes: 0 });
        assert_eq!(trust(&[green(5)]), Trust::NotYet { passes: 1 });
        assert_eq!(trust(&[green(100), green(4)]), Trust::Trusted { median_ms: 52 });
        assert_eq!(trust(&[green(100), hangs(), green(4), green(7)]), Trust::Trusted { median_ms: 7 });
    }

    #[test]
    fn red_from_the_start_is_said_after_one_compile_error_or_two_failed_tests() {
        assert_eq!(trust(&[red(Nature::Compile)]), Trust::RedFromTheStart);
        assert_eq!(trust(&[red(Nature::Test)]), Trust::NotYet { passes: 0 });
        assert_eq!(trust(&[red(Nature::Test), red(Nature::Test)]), Trust::RedFromTheStart);
    }

    #[test]
    fn both_on_one_tree_is_flaky_however_often_it_passed() {
        assert_eq!(trust(&[green(1), green(1), green(1), red(Nature::Test)]), Trust::Flaky);
        assert_eq!(trust(&[red(Nature::Compile), green(1)]), Trust::Flaky);
    }

    #[test]
    fn a_check_that_hangs_is_infrastructure_and_not_red() {
        assert_eq!(trust(&[hangs(), hangs()]), Trust::Infrastructure { why: Why::TimedOut });
        assert_eq!(trust(&[green(3), hangs()]), Trust::Infrastructure { why: Why::TimedOut });
        assert_eq!(trust(&[hangs(), green(3)]), Trust::NotYet { passes: 1 });
    }
}

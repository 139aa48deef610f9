//! The trials of the two bars: which queues and which mixed trees are made up.

use rr_core::culprit::Partner;

use crate::mixes;
use crate::queues::{Flakes, Hints, Setting};

pub(crate) const COMMITS: [usize; 3] = [4, 16, 64];
pub(crate) const RATES: [f64; 4] = [0.0, 0.02, 0.1, 0.3];
/// Up to here a search must not cost more than halving with three reruns.
pub(crate) const RATE_OF_THE_FLOOR: f64 = 0.02;
/// Of the later commits a tenth breaks only together with an earlier one, where that is asked.
pub(crate) const TWO: f64 = 0.1;

/// A queue whose check flakes as it is said to.
pub(crate) fn queue(commits: usize, flake: f64) -> Setting {
    let flakes = Flakes::Each(flake);
    let (hints, partner) = (Hints::None, Partner::Sought);
    Setting { commits, flakes, estimate: Some(flake), real: 0.6, two: 0.0, hints, partner }
}

/// Nothing is broken.
pub(crate) fn pure(commits: usize, flakes: Flakes, estimate: f64) -> Setting {
    Setting { flakes, estimate: Some(estimate), real: 0.0, ..queue(commits, 0.0) }
}

/// A tree of mixed edits with needs, and what it is called.
pub(crate) fn mixed(flake: Option<f64>) -> Vec<(&'static str, mixes::Setting)> {
    let base = |units| mixes::Setting { units, group: 5, flake, two: 0.5, known: 0.3, hidden: 0.0, hints: false };
    vec![
        ("4 units", base(4)),
        ("8 units", base(8)),
        ("16 units", base(16)),
        ("16, hints", mixes::Setting { hints: true, ..base(16) }),
        ("16, unknown needs", mixes::Setting { hidden: 0.1, ..base(16) }),
        ("40 in groups", base(40)),
    ]
}

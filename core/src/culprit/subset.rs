//! The set of units whose build tells most. A set that could not be built teaches that one of its members needs
//! something outside of it: sets that would cross such a need again are worth less. Above [`SINGLY_MAX`] blocks, whole
//! groups are put in and taken out first. It knows no history beyond that: [`super::mixed`] decides what a build means,
//! and [`super::blocks`] what must be built together.

use super::belief::{BITS_MIN, Belief};
use super::blocks::{Blocks, bits};

/// Explanations less likely than this do not choose the next build.
const SHARE_MIN: f64 = 1e-5;
/// From where a better set is climbed to, and how far.
const STARTS: usize = 4;
const STEPS_MAX: usize = 6;
/// As long as so many explanations are live, whole groups are moved: each look at a set costs one look at each of them.
const LIVE_MAX: usize = 600;

/// What one explanation demands of a set of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Explains {
    Base,
    Nobody,
    One(usize),
    /// Red with both.
    Together(usize, usize),
    /// Red with any of the two.
    Each(usize, usize),
}

impl Explains {
    /// The blocks that it blames.
    pub(super) fn blocks(self) -> u64 {
        match self {
            Self::Base | Self::Nobody => 0,
            Self::One(a) => 1 << a,
            Self::Together(a, b) | Self::Each(a, b) => 1 << a | 1 << b,
        }
    }

    pub(super) fn demands_red(self, mask: u64) -> bool {
        match self {
            Self::Base => true,
            Self::Nobody => false,
            Self::One(_) | Self::Each(..) => mask & self.blocks() != 0,
            Self::Together(..) => mask & self.blocks() == self.blocks(),
        }
    }
}

/// What sets that could not be built say of others: the needs that nobody declared, by how likely each is.
pub(super) struct Doubt {
    /// Of each block, the likelihood that it needs each other one.
    needs: Vec<Vec<f64>>,
    any: bool,
}

impl Doubt {
    pub(super) fn new(blocks: usize, unresolved: &[u64], resolved: &[u64]) -> Self {
        let mut open = vec![u64::MAX; blocks];
        for mask in resolved {
            // It was built: nobody in it needs anybody outside.
            bits(*mask).filter(|a| *a < blocks).for_each(|a| open[a] &= mask);
        }
        let mut needs = vec![vec![0.0; blocks]; blocks];
        for mask in unresolved {
            let crossing = |a: usize| bits(open[a] & !mask).filter(move |b| *b < blocks);
            let pairs: Vec<(usize, usize)> = bits(*mask).flat_map(|a| crossing(a).map(move |b| (a, b))).collect();
            #[expect(clippy::cast_precision_loss, reason = "at most some thousand")]
            let each = 1.0 / pairs.len() as f64;
            for (a, b) in pairs {
                let known: &mut f64 = &mut needs[a][b];
                *known = 1.0 - (1.0 - *known) * (1.0 - each);
            }
        }
        Self { needs, any: !unresolved.is_empty() }
    }

    /// How likely it is that the set can be built.
    fn resolves(&self, mask: u64) -> f64 {
        if !self.any {
            return 1.0;
        }
        let outside = |needs: &Vec<f64>| -> f64 {
            needs.iter().enumerate().filter(|(b, _)| mask >> b & 1 == 0).map(|(_, likely)| 1.0 - likely).product()
        };
        bits(mask).map(|block| outside(&self.needs[block])).product()
    }
}

/// A set, what it tells, and how likely it can be built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) mask: u64,
    pub(super) resolves: f64,
}

/// The search for the set that tells most.
pub(super) struct Choice<'a> {
    pub(super) blocks: &'a Blocks,
    pub(super) belief: &'a Belief,
    pub(super) explains: &'a [Explains],
    pub(super) shares: &'a [f64],
    /// Sets that are known not to build.
    pub(super) blocked: Vec<u64>,
    pub(super) doubt: Doubt,
}

/// The explanations that still count, and what must be red in any case.
struct Live {
    always: f64,
    theirs: Vec<(Explains, f64)>,
}

impl Choice<'_> {
    /// None if no set that can be built tells anything.
    pub(super) fn best(&self) -> Option<Best> {
        let live = self.live();
        let order = self.by_share(&live);
        let singly: Vec<u64> = order.iter().map(|block| 1 << block).collect();
        let few = live.theirs.len() <= LIVE_MAX;
        let moves = if few || self.blocks.groups().len() < STARTS { singly } else { self.blocks.groups().to_vec() };
        let mut best = (0, self.value(0, &live));
        let starts = STARTS.min(moves.len());
        for start in 0..starts {
            let (behind, first) = moves.split_at(start * moves.len() / starts);
            let rotated: Vec<u64> = first.iter().chain(behind).copied().collect();
            for from in [0, self.blocks.all()] {
                let found = self.climb(from, &rotated, &live);
                if found.1 > best.1 {
                    best = found;
                }
            }
        }
        let resolves = self.doubt.resolves(best.0);
        (best.1 > BITS_MIN).then_some(Best { mask: best.0, resolves })
    }

    /// Each in turn is put in or taken out if that tells more.
    fn climb(&self, from: u64, moves: &[u64], live: &Live) -> (u64, f64) {
        let mut at = (from, self.value(from, live));
        for _ in 0..STEPS_MAX {
            let before = at.0;
            for part in moves {
                let is_in = at.0 & part == *part;
                let next = if is_in { self.blocks.without(at.0, *part) } else { self.blocks.closed(at.0 | part) };
                let value = self.value(next, live);
                if value > at.1 {
                    at = (next, value);
                }
            }
            if at.0 == before {
                break;
            }
        }
        at
    }

    /// Bits, if it can be built.
    fn value(&self, mask: u64, live: &Live) -> f64 {
        if self.blocked.contains(&mask) {
            return 0.0;
        }
        let mut demanded = live.always;
        for (explains, share) in &live.theirs {
            if explains.demands_red(mask) {
                demanded += share;
            }
        }
        self.belief.bits(demanded).0 * self.doubt.resolves(mask)
    }

    fn live(&self) -> Live {
        let all = || self.explains.iter().copied().zip(self.shares.iter().copied());
        let share_of = |wanted: Explains| -> f64 { all().filter(|(e, _)| *e == wanted).map(|(_, share)| share).sum() };
        let mut theirs: Vec<(Explains, f64)> =
            all().filter(|(explains, share)| explains.blocks() != 0 && *share >= SHARE_MIN).collect();
        // What is left out counts for nothing, not for "need not be red".
        let kept = share_of(Explains::Base) + share_of(Explains::Nobody) + theirs.iter().map(|(_, s)| s).sum::<f64>();
        theirs.iter_mut().for_each(|(_, share)| *share /= kept);
        Live { always: share_of(Explains::Base) / kept, theirs }
    }

    fn by_share(&self, live: &Live) -> Vec<usize> {
        let mut shares = vec![0.0; self.blocks.len()];
        for (explains, share) in &live.theirs {
            bits(explains.blocks()).for_each(|block| shares[block] += share);
        }
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        order
    }
}

//! How probable each explanation is after the builds so far. An explanation says of each build whether it *must* be
//! red; where it need not be, a red is chance. It knows neither commits nor sets. Weights guide where to look; what
//! convicts is [`Belief::flat`], in which all suspects start alike, so that a wrong weight costs builds and blames
//! nobody. Next: what [`super::queue`] and [`super::mixed`] make of it.

use std::collections::HashMap;

use super::{DOUBT_MAX, Nature, Verdict};

/// How much of a test's estimated rate is doubted: it may as well be one of these. Enough that a test whose rate is far
/// off blames hardly anybody; so little that a well-known one needs hardly a build more.
pub(super) const RATE_DOUBTED: f64 = 0.001;
const RATES: [f64; 3] = [0.1, 0.3, 0.5];
/// What would be told by a build is not worth one below this many bits.
pub(super) const BITS_MIN: f64 = 1e-5;

/// One explanation's account of the runs.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Reds that it calls chance.
    reds: u32,
    /// Greens where a chance red would have been possible.
    greens: u32,
    /// A green where it demands a red.
    refuted: bool,
}

/// Every explanation, its two priors and its account.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    flake: f64,
    /// What the rate may be, and how probable that is.
    rates: Vec<Rate>,
    guided: Vec<f64>,
    flat: Vec<f64>,
    tallies: Vec<Tally>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    ln_prior: f64,
    ln_red: f64,
    ln_green: f64,
}

/// The suspect that leads, and how many runs there were when it took the lead that it has kept since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) who: usize,
    pub(super) since: usize,
}

impl Belief {
    /// `priors`: guided and flat, of each explanation. They need not sum to one.
    pub(super) fn new(nature: Nature, doubt: f64, priors: &[(f64, f64)]) -> Self {
        let rate =
            |prior: f64, flake: f64| Rate { ln_prior: prior.ln(), ln_red: flake.ln(), ln_green: (-flake).ln_1p() };
        let rates = match nature {
            Nature::Compile => vec![rate(1.0, nature.flake())],
            Nature::Test { .. } => {
                let doubted = RATES.iter().map(|flake| rate(doubt / 3.0, *flake));
                [rate(1.0 - doubt, nature.flake())].into_iter().chain(doubted).collect()
            }
        };
        let (guided, flat) = priors.iter().map(|(guided, flat)| (guided.ln(), flat.ln())).unzip();
        let tallies = vec![Tally::default(); priors.len()];
        Self { flake: nature.flake(), rates, guided, flat, tallies }
    }

    /// Takes one run in. `must_be_red` says what each explanation demands of it.
    pub(super) fn observe(&mut self, verdict: Verdict, must_be_red: impl Fn(usize) -> bool) {
        if verdict == Verdict::Unresolved {
            return;
        }
        for (at, tally) in self.tallies.iter_mut().enumerate() {
            match (verdict, must_be_red(at)) {
                (Verdict::Red, false) => tally.reds += 1,
                (Verdict::Green, false) => tally.greens += 1,
                (Verdict::Green, true) => tally.refuted = true,
                _ => {}
            }
        }
    }

    /// Where to look: with the weights.
    pub(super) fn guided(&self) -> Vec<f64> {
        self.posterior(&self.guided)
    }

    /// Whom to blame: without them.
    pub(super) fn flat(&self) -> Vec<f64> {
        self.posterior(&self.flat)
    }

    pub(super) fn is_proven(&self, who: usize) -> bool {
        self.flat()[who] >= 1.0 - DOUBT_MAX
    }

    pub(super) fn is_refuted(&self, who: usize) -> bool {
        self.tallies[who].refuted
    }

    /// What a build would tell, in bits, and how likely it is red, where this much probability demands a red.
    pub(super) fn bits(&self, demanded: f64) -> (f64, f64) {
        let free = (1.0 - demanded).max(0.0);
        let red = demanded + free * self.flake;
        (entropy(red) - free * entropy(self.flake), red)
    }

    fn posterior(&self, priors: &[f64]) -> Vec<f64> {
        // Many explanations have few different accounts.
        let mut known: HashMap<(u32, u32), f64> = HashMap::new();
        let mut likelihood = |tally: &Tally| match tally.refuted {
            true => f64::NEG_INFINITY,
            false => *known.entry((tally.reds, tally.greens)).or_insert_with(|| self.ln_likelihood(*tally)),
        };
        let logs: Vec<f64> = priors.iter().zip(&self.tallies).map(|(prior, tally)| prior + likelihood(tally)).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / sum).collect()
    }

    fn ln_likelihood(&self, tally: Tally) -> f64 {
        let (reds, greens) = (f64::from(tally.reds), f64::from(tally.greens));
        let logs = self.rates.iter().map(|rate| rate.ln_prior + reds * rate.ln_red + greens * rate.ln_green);
        let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
        most + logs.map(|log| (log - most).exp()).sum::<f64>().ln()
    }
}

fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p <= 0.0 { 0.0 } else { -p * p.log2() };
    part(p) + part(1.0 - p)
}

/// The largest, the first of equals.
pub(super) fn top(shares: &[f64]) -> usize {
    (0..shares.len()).reduce(|best, at| if shares[at] > shares[best] { at } else { best }).unwrap_or(0)
}

/// Keeps count of who leads while the runs are gone through.
pub(super) fn follow(lead: Option<Lead>, shares: &[f64], enough: f64, runs: usize) -> Option<Lead> {
    let who = top(shares);
    if shares[who] < enough {
        return None;
    }
    lead.filter(|lead| lead.who == who).or(Some(Lead { who, since: runs }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(nature: Nature) -> Belief {
        Belief::new(nature, RATE_DOUBTED, &[(0.5, 0.5), (0.5, 0.5)])
    }

    #[test]
    fn a_green_refutes_what_demanded_a_red_and_a_red_only_makes_the_other_less_likely() {
        let mut belief = two(Nature::Test { flake: 0.2 });
        belief.observe(Verdict::Red, |at| at == 0);
        let shares = belief.guided();
        assert!(shares[0] > 0.8 && shares[1] > 0.15, "{shares:?}");
        belief.observe(Verdict::Green, |at| at == 0);
        assert!(belief.is_refuted(0) && belief.is_proven(1));
    }

    #[test]
    fn an_unresolved_run_changes_nothing() {
        let mut belief = two(Nature::Compile);
        belief.observe(Verdict::Unresolved, |at| at == 0);
        assert_eq!(belief.guided(), [0.5, 0.5]);
    }

    #[test]
    fn who_doubts_the_rate_is_not_convinced_by_what_it_makes_unlikely() {
        let is_proven = |doubt: f64| {
            let mut belief = Belief::new(Nature::Test { flake: 0.01 }, doubt, &[(0.5, 0.5), (0.5, 0.5)]);
            for _ in 0..3 {
                belief.observe(Verdict::Red, |at| at == 0);
                belief.observe(Verdict::Green, |_| false);
            }
            belief.is_proven(0)
        };
        assert!(is_proven(RATE_DOUBTED) && !is_proven(0.5));
    }

    #[test]
    fn an_even_build_tells_most() {
        let belief = two(Nature::Compile);
        assert!(belief.bits(0.5).0 > belief.bits(0.4).0 && belief.bits(0.5).0 > belief.bits(0.6).0);
        assert!(belief.bits(0.0).0.abs() < 1e-12 && belief.bits(1.0).0.abs() < 1e-12);
    }
}

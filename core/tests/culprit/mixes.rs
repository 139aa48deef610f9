//! Made-up trees of mixed edits with one or two faults, needs between the edits that are known and some that are not,
//! and a check that flakes. A set that lacks a need cannot be built. The same trial is put to each way of searching.

use rr_core::culprit::{Mixed, Nature, Verdict};

use crate::dice::Dice;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    One(usize),
    /// Red with both of them.
    Together(usize, usize),
    /// Red with any of them.
    Each(usize, usize),
    /// Red with all three: nobody promises to find these.
    Three([usize; 3]),
}

impl Fault {
    /// Whom to blame, in ascending order.
    pub(crate) fn units(&self) -> Vec<usize> {
        let mut units = match self {
            Self::One(a) => vec![*a],
            Self::Together(a, b) | Self::Each(a, b) => vec![*a, *b],
            Self::Three(units) => units.to_vec(),
        };
        units.sort_unstable();
        units
    }

    /// Where one needs the other, nobody can tell this from a fault of one: the needing one, if it takes both, else the
    /// other.
    fn seen_through(self, needs: &[Vec<usize>]) -> Self {
        let needs = |a: usize, b: usize| closed(needs, &[a]).contains(&b);
        match self {
            Self::Together(a, b) | Self::Each(b, a) if needs(a, b) => Self::One(a),
            Self::Together(b, a) | Self::Each(a, b) if needs(a, b) => Self::One(a),
            other => other,
        }
    }

    fn breaks(&self, with: &[usize]) -> bool {
        match self {
            Self::Each(a, b) => with.contains(a) || with.contains(b),
            Self::One(_) | Self::Together(..) | Self::Three(_) => self.units().iter().all(|unit| with.contains(unit)),
        }
    }
}

pub(crate) struct Setting {
    pub(crate) units: usize,
    /// Units of one agent.
    pub(crate) group: usize,
    /// None for a compile error, which comes by chance never here.
    pub(crate) flake: Option<f64>,
    /// Of 100 trials, those in which two break it; half of them together, half each.
    pub(crate) two: f64,
    /// Needs of a unit that are known, and that are not.
    pub(crate) known: f64,
    pub(crate) hidden: f64,
    pub(crate) hints: bool,
}

pub(crate) struct Mix {
    pub(crate) fault: Fault,
    pub(crate) problem: Mixed,
    pub(crate) builds: usize,
    pub(crate) unresolved: usize,
    hidden: Vec<(usize, usize)>,
    flake: f64,
    dice: Dice,
}

impl Mix {
    pub(crate) fn new(setting: &Setting, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let n = setting.units;
        let one = dice.below(n);
        let other = (one + 1 + dice.below(n - 1)) % n;
        let fault = match (dice.chance(setting.two), dice.chance(0.5)) {
            (false, _) => Fault::One(one),
            (true, true) => Fault::Together(one, other),
            (true, false) => Fault::Each(one, other),
        };
        Self::with(fault, setting, dice)
    }

    pub(crate) fn with(fault: Fault, setting: &Setting, mut dice: Dice) -> Self {
        let n = setting.units;
        // A unit needs earlier ones: what was written first.
        let earlier = |rate: f64, dice: &mut Dice| -> Vec<Vec<usize>> {
            let need = |unit: usize, dice: &mut Dice| (unit > 0 && dice.chance(rate)).then(|| dice.below(unit));
            (0..n).map(|unit| need(unit, dice).into_iter().collect()).collect()
        };
        let needs = earlier(setting.known, &mut dice);
        let hidden = earlier(setting.hidden, &mut dice);
        let all_needs: Vec<Vec<usize>> = needs.iter().zip(&hidden).map(|(a, b)| [a.as_slice(), b].concat()).collect();
        let hidden = hidden.iter().enumerate().flat_map(|(a, bs)| bs.iter().map(move |b| (a, *b))).collect();
        let fault = fault.seen_through(&all_needs);
        let guilty = fault.units();
        let weight = |unit: usize, dice: &mut Dice| match setting.hints {
            true if guilty.contains(&unit) && dice.chance(0.75) => 8.0,
            true if dice.chance(0.1) => 8.0,
            true if dice.chance(0.3) => 4.0,
            _ => 1.0,
        };
        let weights = (0..n).map(|unit| weight(unit, &mut dice)).collect();
        let groups = (0..n).map(|unit| unit / setting.group).collect();
        let nature = setting.flake.map_or(Nature::Compile, |flake| Nature::Test { flake });
        let nobody = if setting.flake.is_none() { 0.0 } else { 0.4 };
        let problem = Mixed { units: n, needs, weights, groups, nature, nobody };
        Self { fault, problem, builds: 0, unresolved: 0, hidden, flake: setting.flake.unwrap_or(0.0), dice }
    }

    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.problem.units).collect()
    }

    pub(crate) fn build(&mut self, with: &[usize]) -> Verdict {
        self.builds += 1;
        let lacks = |a: &usize, b: &usize| with.contains(a) && !with.contains(b);
        let known = self.problem.needs.iter().enumerate().any(|(a, bs)| bs.iter().any(|b| lacks(&a, b)));
        if known || self.hidden.iter().any(|(a, b)| lacks(a, b)) {
            self.unresolved += 1;
            return Verdict::Unresolved;
        }
        let flaked = self.dice.chance(self.flake);
        if self.fault.breaks(with) || flaked { Verdict::Red } else { Verdict::Green }
    }

    /// With all that they are known to need.
    pub(crate) fn closed(&self, units: &[usize]) -> Vec<usize> {
        closed(&self.problem.needs, units)
    }

    /// Without these and all that is known to need them.
    pub(crate) fn without(&self, units: &[usize], gone: &[usize]) -> Vec<usize> {
        let needs = |unit: &usize| self.closed(&[*unit]).iter().any(|need| gone.contains(need));
        units.iter().copied().filter(|unit| !needs(unit)).collect()
    }
}

fn closed(needs: &[Vec<usize>], units: &[usize]) -> Vec<usize> {
    let mut with = vec![false; needs.len()];
    let mut open = units.to_vec();
    while let Some(unit) = open.pop() {
        if !std::mem::replace(&mut with[unit], true) {
            open.extend(&needs[unit]);
        }
    }
    (0..with.len()).filter(|unit| with[*unit]).collect()
}

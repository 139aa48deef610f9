//! Uncommitted edits that lie in one tree together: which of them to build next, and whose break it. An edit is a unit;
//! any set of units can be built that has what its members need. Explanations are every unit, every two that break it
//! only together, every two that break it each, the base, and nobody. Above [`BLOCKS_MAX`] units whole groups are told
//! apart first. It knows no file: what needs what is found by the watcher. What is built together is
//! [`super::blocks`]', and which set tells most [`super::subset`]'s.

use serde::{Deserialize, Serialize};

use super::ahead::{self, Next};
use super::belief::{Belief, Lead, RATE_DOUBTED, follow};
use super::blocks::{BLOCKS_MAX, Blocks, Units, bits};
use super::subset::{Choice, Doubt, Explains};
use super::{BASE_PRIOR, Culprit, DOUBT_MAX, How, Nature, Proof, Verdict, Why, nobody, weight};

/// How often one unit breaks it; the rest is two, half of it together and half each.
const ONE: f64 = 0.8;
/// From here on a suspect is put to the test both ways: here these two builds also tell much of all others.
/// More than a half, so that two alike cannot take turns in it.
const SUSPECTED: f64 = 0.55;
/// What would tell more, but can less likely be built, is not waited for once somebody is proven to have taken part.
const RESOLVES_MIN: f64 = 0.4;
/// A group is searched in from here on; more builds of whole groups follow if nothing is found in it.
const NARROWED: f64 = 0.98;
/// The units that are named when nothing is proven, and what is not worth naming.
const LIKELY: (usize, f64) = (16, 0.05);
/// The explanations that blame no unit stand first.
const BASE: usize = 0;
const NOBODY_AT: usize = 1;

/// The edits in the tree, and what is known of them before any build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// Counted from 0.
    pub units: usize,
    /// Of each unit, those without which it cannot be built.
    pub needs: Vec<Vec<usize>>,
    /// As in [`super::Queue::weights`].
    pub weights: Vec<f64>,
    /// Of each unit, whose it is.
    pub groups: Vec<usize>,
    pub nature: Nature,
    /// The share of past reds that were flakes.
    pub nobody: f64,
}

/// One finished build. The red of the whole tree that began the search is the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixedRun {
    /// The units in the tree, in ascending order.
    pub with: Vec<usize>,
    pub verdict: Verdict,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixedStep {
    /// Sets of units, as many as there are slots or fewer. The first is needed; the others most likely after it.
    Build(Vec<Vec<usize>>),
    Found(Culprit),
    /// Nobody: it flaked.
    Flake,
    /// Who it most likely was, the likeliest first.
    Unproven {
        why: Why,
        most_likely: Vec<usize>,
    },
}

type Decision = Next<Vec<usize>, MixedStep>;

impl Mixed {
    /// No search takes more builds, whatever they come to.
    #[must_use]
    pub fn builds_max(&self) -> usize {
        let doublings = (usize::BITS - self.units.leading_zeros()) as usize;
        // Two units are two searches; and every unit may once be in a set that cannot be built.
        (2 * doublings + 6) * (1 + self.nature.reds_needed()) + self.units.min(BLOCKS_MAX)
    }
}

/// What to do after these runs. It ends within [`Mixed::builds_max`] builds if each answer adds a run.
#[must_use]
pub fn next_mixed(problem: &Mixed, runs: &[MixedRun], slots: usize) -> MixedStep {
    match decide(problem, runs) {
        Next::End(step) => step,
        Next::Build(build, red) => {
            let slots = slots.min(problem.builds_max().saturating_sub(runs.len()));
            let run = |build: &Vec<usize>, verdict| MixedRun { with: build.clone(), verdict };
            MixedStep::Build(ahead::fill(runs, slots, (build, red), |runs| decide(problem, runs), run))
        }
    }
}

fn decide(problem: &Mixed, runs: &[MixedRun]) -> Decision {
    let units = Units::new(problem.units, &problem.needs);
    let all: Vec<usize> = (0..problem.units).collect();
    if runs.iter().any(|run| run.verdict == Verdict::Green && run.with == all) {
        return Next::End(MixedStep::Flake);
    }
    let search = Search { problem, units: &units, runs, all };
    match search.among(&search.all, &problem.groups) {
        Next::Build(..) if runs.len() >= problem.builds_max() => {
            Next::End(MixedStep::Unproven { why: Why::LimitReached, most_likely: search.in_every_red() })
        }
        decision => decision,
    }
}

struct Search<'a> {
    problem: &'a Mixed,
    units: &'a Units,
    runs: &'a [MixedRun],
    all: Vec<usize>,
}

/// The runs as they look when only some units are suspected, in blocks.
struct View {
    blocks: Blocks,
    explains: Vec<Explains>,
    belief: Belief,
    guided: Vec<f64>,
    lead: Option<Lead>,
    /// Of each block, since when it is suspected to have taken part, by itself or with another.
    guilty: Vec<Option<usize>>,
}

/// Somebody to be proven.
struct Case {
    culprits: Vec<usize>,
    how: How,
    /// The runs before brought the suspicion; proof comes after.
    since: usize,
    is_proven: bool,
    /// Sets to be red and to be green, the best first; one that cannot be built is passed over.
    with: Vec<Vec<usize>>,
    without: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// The search when only these units are suspected.
    fn among(&self, suspects: &[usize], groups: &[usize]) -> Decision {
        let blocks = Blocks::new(self.units, suspects, groups);
        let view = self.view(blocks);
        let base_reds = self.runs.iter().filter(|run| run.with.is_empty() && run.verdict == Verdict::Red).count();
        if base_reds > 0 && !view.belief.is_refuted(BASE) {
            let is_chance = super::base_is_chance(self.problem.nature, base_reds);
            return if is_chance { self.build(vec![], &view) } else { self.unproven(Why::BaseIsRed, &view) };
        }
        match view.lead {
            Some(lead) if lead.who == NOBODY_AT => self.ask_the_whole(&view),
            Some(lead) if lead.who == BASE => self.build(vec![], &view),
            Some(lead) if view.blocks.is_fine() => self.prove_lead(lead, &view),
            Some(lead) if view.guided[lead.who] >= NARROWED => self.narrow(lead, suspects, &view),
            _ => self.tell_apart(&view.guided, &view),
        }
    }

    /// Inside the blocks that lead. If nothing in them fits, and they do not lead beyond doubt, blocks are asked again.
    fn narrow(&self, lead: Lead, suspects: &[usize], view: &View) -> Decision {
        let blamed = view.blocks.units_of(view.explains[lead.who].blocks());
        // Groups that do not divide them; parts always do.
        let inner = if blamed.len() < suspects.len() {
            self.among(&blamed, &self.problem.groups)
        } else {
            self.among(suspects, &[])
        };
        match inner {
            Next::End(MixedStep::Unproven { why: Why::NothingFits, .. }) if !view.belief.is_proven(lead.who) => {
                self.tell_apart(&view.guided, view)
            }
            inner => inner,
        }
    }

    /// Nobody leads, but only the whole tree's green ends it.
    fn ask_the_whole(&self, view: &View) -> Decision {
        let is_red = |run: &&MixedRun| run.with == self.all && run.verdict == Verdict::Red;
        // The first red is the one that began it.
        let reds = self.runs.iter().filter(is_red).count().saturating_sub(1);
        if super::rerun_needed(self.problem.nature, reds) {
            return self.build(self.all.clone(), view);
        }
        let has_suspects = self.all.iter().any(|unit| weight(&self.problem.weights, *unit) > 0.0);
        self.unproven(if has_suspects { Why::NothingFits } else { Why::NoSuspect }, view)
    }

    /// On the base with what it needs, and on the whole tree; where that cannot be built, the other way about.
    fn prove_lead(&self, lead: Lead, view: &View) -> Decision {
        let explains = view.explains[lead.who];
        let culprits = view.blocks.units_of(explains.blocks());
        let few = self.units.closed(&culprits);
        let mut without = vec![self.units.without(&self.all, &culprits), self.units.without(&few, &culprits)];
        without.extend(self.green_without(&culprits));
        let case = Case {
            culprits,
            how: explains.how(),
            since: lead.since,
            is_proven: view.belief.is_proven(lead.who),
            with: vec![few, self.all.clone()],
            without,
        };
        self.prove(case, view).unwrap_or_else(|| self.tell_apart(&view.belief.flat(), view))
    }

    /// They took part; whether by themselves is not to be told, for what would tell it does not build.
    fn prove_guilty(&self, view: &View) -> Option<Decision> {
        let shares = shares_guilty(&view.explains, &view.belief.flat(), view.blocks.len());
        let proven = (0..shares.len()).filter(|block| shares[*block] >= 1.0 - DOUBT_MAX);
        let sure: Vec<(usize, usize)> = proven.filter_map(|block| Some((block, view.guilty[block]?))).collect();
        let culprits = view.blocks.units_of(sure.iter().fold(0, |mask, (block, _)| mask | 1 << block));
        let since = sure.iter().map(|(_, since)| *since).max()?;
        let mut without = vec![self.units.without(&self.all, &culprits)];
        without.extend(self.green_without(&culprits));
        let with = vec![self.all.clone()];
        self.prove(Case { culprits, how: How::NotAsked, since, is_proven: true, with, without }, view)
    }

    /// Green without it, then red with it. None if that is done and proves nothing yet.
    fn prove(&self, case: Case, view: &View) -> Option<Decision> {
        let pick = |sets: Vec<Vec<usize>>| sets.into_iter().find(|set| !self.is_blocked(set));
        let (Some(with), Some(without)) = (pick(case.with), pick(case.without)) else {
            return Some(self.unproven(Why::Unresolved, view));
        };
        let fresh = |set: &[usize], verdict: Verdict| {
            let is_it = |at: &usize| self.runs[*at].with == set && self.runs[*at].verdict == verdict;
            (case.since..self.runs.len()).rev().find(is_it)
        };
        match (fresh(&without, Verdict::Green), fresh(&with, Verdict::Red)) {
            (None, _) => Some(self.build(without, view)),
            (_, None) => Some(self.build(with, view)),
            (Some(without), Some(with)) => case.is_proven.then(|| {
                let proof = Proof { with, without };
                Next::End(MixedStep::Found(Culprit { suspects: case.culprits, how: case.how, proof }))
            }),
        }
    }

    /// The largest set without them that was green before.
    fn green_without(&self, culprits: &[usize]) -> Option<Vec<usize>> {
        let greens = self.runs.iter().filter(|run| run.verdict == Verdict::Green);
        let others = greens.filter(|run| !culprits.iter().any(|unit| run.with.contains(unit)));
        others.max_by_key(|run| run.with.len()).map(|run| run.with.clone())
    }

    /// The set that tells most.
    fn tell_apart(&self, shares: &[f64], view: &View) -> Decision {
        let masks = |is_wanted: fn(Verdict) -> bool| -> Vec<u64> {
            let runs = self.runs.iter().filter(|run| is_wanted(run.verdict));
            runs.filter_map(|run| view.blocks.mask(&run.with)).collect()
        };
        let unresolved = masks(|verdict| verdict == Verdict::Unresolved);
        let resolved = masks(|verdict| verdict != Verdict::Unresolved);
        let is_blocked = |mask: &u64| self.is_blocked(&view.blocks.build(self.units, *mask));
        let choice = Choice {
            blocks: &view.blocks,
            belief: &view.belief,
            explains: &view.explains,
            shares,
            blocked: unresolved.iter().copied().filter(is_blocked).collect(),
            doubt: Doubt::new(view.blocks.len(), &unresolved, &resolved),
        };
        let best = choice.best();
        if best.is_none_or(|best| best.resolves < RESOLVES_MIN)
            && view.blocks.is_fine()
            && let Some(decision) = self.prove_guilty(view)
        {
            return decision;
        }
        match best {
            Some(best) => self.build(view.blocks.build(self.units, best.mask), view),
            None => self.unproven(Why::Unresolved, view),
        }
    }

    fn build(&self, set: Vec<usize>, view: &View) -> Decision {
        if self.is_blocked(&set) {
            return self.unproven(Why::Unresolved, view);
        }
        let mask = view.blocks.mask(&set).unwrap_or(0);
        let demanded = (0..view.explains.len()).filter(|at| view.explains[*at].demands_red(mask));
        let (_, red) = view.belief.bits(demanded.map(|at| view.guided[at]).sum());
        Next::Build(set, red)
    }

    /// Its last run said nothing: the same tree would say nothing again.
    fn is_blocked(&self, set: &[usize]) -> bool {
        self.runs.iter().rev().find(|run| run.with == set).is_some_and(|run| run.verdict == Verdict::Unresolved)
    }

    fn view(&self, blocks: Blocks) -> View {
        let (explains, priors) = explanations(self.problem, &blocks);
        let mut belief = Belief::new(self.problem.nature, RATE_DOUBTED, &priors);
        let mut guided = belief.guided();
        let mut lead = follow(None, &guided, SUSPECTED, 0);
        let mut guilty = vec![None; blocks.len()];
        let began = self.runs.iter().position(|run| run.with == self.all && run.verdict == Verdict::Red);
        for (at, run) in self.runs.iter().enumerate() {
            if Some(at) == began {
                lead = follow(None, &guided, SUSPECTED, at + 1);
                continue;
            }
            // Half a block says nothing of blocks.
            let Some(mask) = blocks.mask(&run.with) else { continue };
            belief.observe(run.verdict, |who| explains[who].demands_red(mask));
            guided = belief.guided();
            lead = follow(lead, &guided, SUSPECTED, at + 1);
            for (since, share) in guilty.iter_mut().zip(shares_guilty(&explains, &guided, blocks.len())) {
                *since = (share >= SUSPECTED).then(|| since.unwrap_or(at + 1));
            }
        }
        View { blocks, explains, belief, guided, lead, guilty }
    }

    fn unproven(&self, why: Why, view: &View) -> Decision {
        let most_likely = match why {
            Why::NothingFits | Why::LimitReached => self.in_every_red(),
            Why::BaseIsRed | Why::Unresolved | Why::NoSuspect => view.most_likely(),
        };
        Next::End(MixedStep::Unproven { why, most_likely })
    }

    /// What was in the tree whenever it was red.
    fn in_every_red(&self) -> Vec<usize> {
        let reds = || self.runs.iter().filter(|run| run.verdict == Verdict::Red);
        let suspects = self.all.iter().copied().filter(|unit| weight(&self.problem.weights, *unit) > 0.0);
        suspects.filter(|unit| reds().all(|run| run.with.contains(unit))).take(LIKELY.0).collect()
    }
}

impl View {
    fn most_likely(&self) -> Vec<usize> {
        let shares = shares_guilty(&self.explains, &self.guided, self.blocks.len());
        let mut blocks: Vec<(usize, f64)> = shares.into_iter().enumerate().collect();
        blocks.retain(|(_, share)| *share >= LIKELY.1);
        blocks.sort_by(|a, b| b.1.total_cmp(&a.1));
        blocks.iter().flat_map(|(block, _)| self.blocks.units_of(1 << block)).take(LIKELY.0).collect()
    }
}

/// Of each block, how likely it is that it took part, by itself or with another.
fn shares_guilty(explains: &[Explains], shares: &[f64], blocks: usize) -> Vec<f64> {
    let mut sums = vec![0.0; blocks];
    for (explains, share) in explains.iter().zip(shares) {
        bits(explains.blocks()).for_each(|block| sums[block] += share);
    }
    sums
}

/// All explanations, with their guided and flat priors.
fn explanations(problem: &Mixed, blocks: &Blocks) -> (Vec<Explains>, Vec<(f64, f64)>) {
    let weights: Vec<f64> = (0..blocks.len())
        .map(|block| blocks.units_of(1 << block).iter().map(|unit| weight(&problem.weights, *unit)).sum())
        .collect();
    let nobody = nobody(problem.nobody);
    let mut explains = vec![Explains::Base, Explains::Nobody];
    let mut priors = vec![(BASE_PRIOR, BASE_PRIOR), (nobody, nobody)];
    let suspects: Vec<usize> = (0..blocks.len()).filter(|block| weights[*block] > 0.0).collect();
    let ones: Vec<(Explains, f64)> = suspects.iter().map(|a| (Explains::One(*a), weights[*a])).collect();
    let pairs = suspects.iter().enumerate().flat_map(|(at, a)| suspects[at + 1..].iter().map(move |b| (*a, *b)));
    // Where one needs the other, the two are never seen apart in the way that would matter.
    let pairs: Vec<(usize, usize)> = pairs.filter(|(a, b)| blocks.are_apart(*a, *b)).collect();
    let two = |make: fn(usize, usize) -> Explains| -> Vec<(Explains, f64)> {
        pairs.iter().map(|(a, b)| (make(*a, *b), weights[*a] * weights[*b])).collect()
    };
    let half = (1.0 - ONE) / 2.0;
    for (share, kind) in [(ONE, ones), (half, two(Explains::Together)), (half, two(Explains::Each))] {
        let sum: f64 = kind.iter().map(|(_, weight)| weight).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
        let count = kind.len() as f64;
        let theirs = share * (1.0 - nobody);
        priors.extend(kind.iter().map(|(_, weight)| (theirs * weight / sum, theirs / count)));
        explains.extend(kind.into_iter().map(|(explains, _)| explains));
    }
    (explains, priors)
}

impl Explains {
    fn how(self) -> How {
        match self {
            Self::Together(..) => How::Together,
            Self::Each(..) => How::Each,
            Self::Base | Self::Nobody | Self::One(_) => How::ByItself,
        }
    }
}

//! The search along a line: suspects 1 to n, and builds that have the first k of them. Red from the culprit on, green
//! before it, but for chance. "The base is red" stands before the line and "nobody" behind it, so that one comparison
//! says what each explanation demands. It knows neither commits nor partners: [`super::queue`] lays the commits on a
//! line, and [`super::partner`] the partners of one.

use super::ahead::Next;
use super::belief::{BITS_MIN, Belief, Lead, RATE_DOUBTED, follow};
use super::{BASE_PRIOR, Nature, Proof, SUSPECTED, Verdict, Why, nobody, weight};

use Place::First;

/// The places on the line that are named when nothing is proven.
const LIKELY_MAX: usize = 4;
/// Less than this is not worth naming.
const LIKELY_MIN: f64 = 0.05;

pub(super) struct Line<'a> {
    pub(super) suspects: usize,
    pub(super) weights: &'a [f64],
    pub(super) nature: Nature,
    pub(super) nobody: f64,
    /// Whether a suspect is also built alone: asked when another red is wanted anyway.
    pub(super) alone: Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    Asked,
    NotAsked,
}

/// What a build has of the suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This many, the first of the line.
    First(usize),
    /// This one. Red says that it was it; green only that it needs another.
    Alone(usize),
}

/// One run of a build on the line, or of one suspect beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) verdict: Verdict,
    /// Its place among all runs.
    pub(super) at: usize,
}

impl Seen {
    /// Red with this suspect, or green just before it.
    pub(super) fn is_of(&self, who: usize) -> bool {
        (self.place == First(who) && self.verdict == Verdict::Red)
            || (self.place == First(who - 1) && self.verdict == Verdict::Green)
    }
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Found { who: usize, proof: Proof },
    Flake,
    Unproven { why: Why, most_likely: Vec<usize> },
}

type Decision = Next<Place, End>;

struct Past {
    belief: Belief,
    lead: Option<Lead>,
    guided: Vec<f64>,
}

impl Line<'_> {
    /// Builds that one search may take. A doubling of the suspects asks one more of them, and what is red by chance is
    /// told only by reruns; four steps are for the head, the proof and a wrong turn.
    pub(super) fn runs_max(&self) -> usize {
        let doublings = usize::BITS - self.suspects.leading_zeros();
        (doublings as usize + 4) * (1 + self.nature.reds_needed())
    }

    pub(super) fn decide(&self, seen: &[Seen]) -> Decision {
        let past = self.replay(seen, RATE_DOUBTED);
        let decision = self.wanted(seen, &past);
        match decision {
            Next::Build(..) if seen.len() >= self.runs_max() => self.unproven(Why::LimitReached, &past),
            decision => decision,
        }
    }

    fn wanted(&self, seen: &[Seen], past: &Past) -> Decision {
        let head = self.suspects;
        if seen.iter().any(|s| s.place == First(head) && s.verdict == Verdict::Green) {
            return Next::End(End::Flake);
        }
        if let Some(reds) = reds_of_the_base(past, seen) {
            let is_chance = super::base_is_chance(self.nature, reds);
            return if is_chance { self.build(First(0), seen, past) } else { self.unproven(Why::BaseIsRed, past) };
        }
        match past.lead {
            Some(lead) if lead.who == self.nobody_at() => self.ask_the_head(seen, past),
            Some(lead) if lead.who == 0 => self.build(First(0), seen, past),
            Some(lead) => self.prove(lead, seen, past),
            None => self.tell_apart(&beside_the_base(&past.guided), seen, past),
        }
    }

    /// Whether these runs prove it to one who doubts so much of the test's rate.
    pub(super) fn proves(&self, who: usize, seen: &[Seen], doubt: f64) -> bool {
        self.replay(seen, doubt).belief.is_proven(who)
    }

    /// Nobody leads, but only a green head ends it.
    fn ask_the_head(&self, seen: &[Seen], past: &Past) -> Decision {
        let reds = seen.iter().filter(|s| s.place == First(self.suspects) && s.verdict == Verdict::Red).count();
        // The first red is the one that began it: the prior speaks of it.
        if super::rerun_needed(self.nature, reds.saturating_sub(1)) {
            return self.build(First(self.suspects), seen, past);
        }
        let has_suspects = (1..=self.suspects).any(|who| self.weight_of(who) > 0.0);
        self.unproven(if has_suspects { Why::NothingFits } else { Why::NoSuspect }, past)
    }

    /// Green without it, then red with it: a stretch of reds that ends by itself shows that order to nobody.
    fn prove(&self, lead: Lead, seen: &[Seen], past: &Past) -> Decision {
        let fresh = |first: usize, verdict: Verdict| {
            seen[lead.since..].iter().rev().find(|s| s.place == First(first) && s.verdict == verdict).map(|s| s.at)
        };
        let (without, with) = (fresh(lead.who - 1, Verdict::Green), fresh(lead.who, Verdict::Red));
        let alone = Place::Alone(lead.who);
        let has_alone = self.alone == Alone::NotAsked || lead.who == 1 || seen.iter().any(|s| s.place == alone);
        match (without, with) {
            (None, _) => self.build(First(lead.who - 1), seen, past),
            (_, None) => self.build(First(lead.who), seen, past),
            (Some(without), Some(with)) if past.belief.is_proven(lead.who) => {
                Next::End(End::Found { who: lead.who, proof: Proof { with, without } })
            }
            _ if !has_alone => self.build(alone, seen, past),
            _ => self.tell_apart(&beside_the_base(&past.belief.flat()), seen, past),
        }
    }

    /// The build that tells most.
    fn tell_apart(&self, shares: &[f64], seen: &[Seen], past: &Past) -> Decision {
        let mut demanded = 0.0;
        let mut best = None;
        let mut most = BITS_MIN;
        for (first, share) in shares[..=self.suspects].iter().enumerate() {
            demanded += share;
            let (bits, _) = past.belief.bits(demanded);
            if bits > most && !is_blocked(First(first), seen) {
                (best, most) = (Some(first), bits);
            }
        }
        best.map_or_else(|| self.unproven(Why::Unresolved, past), |first| self.build(First(first), seen, past))
    }

    fn build(&self, place: Place, seen: &[Seen], past: &Past) -> Decision {
        if is_blocked(place, seen) {
            return self.unproven(Why::Unresolved, past);
        }
        let demanded = match place {
            First(first) => past.guided[..=first].iter().sum(),
            Place::Alone(who) => past.guided[who],
        };
        Next::Build(place, past.belief.bits(demanded).1)
    }

    fn unproven(&self, why: Why, past: &Past) -> Decision {
        let mut likely: Vec<usize> = (1..=self.suspects).filter(|who| past.guided[*who] >= LIKELY_MIN).collect();
        likely.sort_by(|a, b| past.guided[*b].total_cmp(&past.guided[*a]));
        likely.truncate(LIKELY_MAX);
        Next::End(End::Unproven { why, most_likely: likely })
    }

    fn replay(&self, seen: &[Seen], doubt: f64) -> Past {
        let mut belief = Belief::new(self.nature, doubt, &self.priors());
        let mut guided = belief.guided();
        let mut lead = follow(None, &beside_the_base(&guided), SUSPECTED, 0);
        let began = seen.iter().position(|s| s.place == First(self.suspects) && s.verdict == Verdict::Red);
        for (at, run) in seen.iter().enumerate() {
            if Some(at) == began {
                lead = follow(None, &beside_the_base(&guided), SUSPECTED, at + 1);
                continue;
            }
            match (run.place, run.verdict) {
                (First(first), verdict) => belief.observe(verdict, |who| who <= first),
                (Place::Alone(alone), Verdict::Red) => belief.observe(Verdict::Red, |who| who == alone || who == 0),
                (Place::Alone(_), _) => {}
            }
            guided = belief.guided();
            lead = follow(lead, &beside_the_base(&guided), SUSPECTED, at + 1);
        }
        Past { belief, lead, guided }
    }

    /// The base, the suspects, nobody.
    fn priors(&self) -> Vec<(f64, f64)> {
        let nobody = nobody(self.nobody);
        let sum: f64 = (1..=self.suspects).map(|who| self.weight_of(who)).sum();
        #[expect(clippy::cast_precision_loss, reason = "suspects are few")]
        let count = (1..=self.suspects).filter(|who| self.weight_of(*who) > 0.0).count() as f64;
        let theirs = 1.0 - nobody;
        let suspects = (1..=self.suspects).map(|who| match self.weight_of(who) {
            0.0 => (0.0, 0.0),
            weight => (theirs * weight / sum, theirs / count),
        });
        let ends = [(BASE_PRIOR, BASE_PRIOR), (nobody, nobody)];
        [ends[0]].into_iter().chain(suspects).chain([ends[1]]).collect()
    }

    fn weight_of(&self, who: usize) -> f64 {
        weight(self.weights, who - 1)
    }

    fn nobody_at(&self) -> usize {
        self.suspects + 1
    }
}

/// What the others have of it if it is not the base, unless that leads. A green before the suspect, which each proof begins with, refutes
/// the base as well: to ask for it before anybody is suspected would cost a build, and build the same twice where the first one is.
fn beside_the_base(shares: &[f64]) -> Vec<f64> {
    let base = shares[0];
    if base >= SUSPECTED {
        return shares.to_vec();
    }
    std::iter::once(0.0).chain(shares[1..].iter().map(|share| share / (1.0 - base))).collect()
}

/// How often the base was red, unless a green has shown that it is not the base.
fn reds_of_the_base(past: &Past, seen: &[Seen]) -> Option<usize> {
    let reds = seen.iter().filter(|s| s.place == First(0) && s.verdict == Verdict::Red).count();
    (reds > 0 && !past.belief.is_refuted(0)).then_some(reds)
}

/// Its last run said nothing: the same tree would say nothing again.
fn is_blocked(place: Place, seen: &[Seen]) -> bool {
    seen.iter().rev().find(|s| s.place == place).is_some_and(|s| s.verdict == Verdict::Unresolved)
}

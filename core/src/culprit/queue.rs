//! Landed commits C1 to Cn since the last green, one failing check: which build next, and who it was. A culprit is
//! proven on the commits as they landed, red with C1..Ci and green with C1..C(i-1); then it is asked whether Ci breaks
//! the base alone, or only with one before it ([`super::partner`]). It knows no git: the watcher builds what is named
//! here.

use serde::{Deserialize, Serialize};

use super::ahead::{self, Next};
use super::line::{Alone, End, Line, Place, Seen};
use super::{Culprit, How, Nature, Verdict, Why, partner};

/// The commits since the last green, and what is known of them before any build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// C1 to Cn, the oldest first, on a base that was green.
    pub suspects: usize,
    /// Of each, C1 first: 8 if it touches what the error names, 4 in the failing target's cone of dependencies, 1
    /// otherwise, 0 outside of it. Missing ones are 1.
    pub weights: Vec<f64>,
    pub nature: Nature,
    /// The share of past reds that were flakes; .4 before there is a past.
    pub nobody: f64,
    #[serde(default)]
    pub partner: Partner,
}

/// Whether a proven culprit is also asked for the commit without which it would have broken nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partner {
    #[default]
    Sought,
    /// Found as soon as it is proven: two builds sooner.
    NotSought,
}

/// One finished build. The red that began the search is the first of them: [`Queue::nobody`] speaks of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub build: Build,
    pub verdict: Verdict,
}

/// What is in the tree, beside the base. Commits are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Build {
    /// The first `n` commits; 0 is the base itself.
    Prefix(usize),
    /// This commit, and no other.
    Alone(usize),
    /// These, in ascending order.
    Set(Vec<usize>),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Up to as many as there are slots. The first is needed; the others are what will most likely be needed after it.
    Build(Vec<Build>),
    Found(Culprit),
    /// Nobody: it flaked.
    Flake,
    /// Who it most likely was, the likeliest first.
    Unproven {
        why: Why,
        most_likely: Vec<usize>,
    },
}

/// Whether a proven culprit may be reverted without a person, as far as runs can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeforeRevert {
    Ready,
    Build(Vec<Build>),
    /// It was green with it, or what decides it cannot be built.
    No,
}

pub(super) type Decision = Next<Build, Step>;

impl Queue {
    /// No search takes more builds, whatever they come to.
    #[must_use]
    pub fn builds_max(&self) -> usize {
        let partners = if self.partner == Partner::Sought { 2 } else { 1 };
        partners * self.line().runs_max()
    }

    fn line(&self) -> Line<'_> {
        let alone = if self.partner == Partner::Sought { Alone::Asked } else { Alone::NotAsked };
        Line { suspects: self.suspects, weights: &self.weights, nature: self.nature, nobody: self.nobody, alone }
    }
}

impl Build {
    /// The commits in it, in ascending order.
    #[must_use]
    pub fn commits(&self) -> Vec<usize> {
        match self {
            Self::Prefix(n) => (1..=*n).collect(),
            Self::Alone(commit) => vec![*commit],
            Self::Set(commits) => {
                let mut commits = commits.clone();
                commits.sort_unstable();
                commits.dedup();
                commits
            }
        }
    }

    /// The shortest name of these commits. They ascend.
    pub(super) fn of(commits: Vec<usize>) -> Self {
        match commits.as_slice() {
            _ if is_prefix(&commits) => Self::Prefix(commits.len()),
            [commit] => Self::Alone(*commit),
            _ => Self::Set(commits),
        }
    }
}

fn is_prefix(commits: &[usize]) -> bool {
    commits.iter().enumerate().all(|(at, commit)| *commit == at + 1)
}

/// What to do after these runs. It ends within [`Queue::builds_max`] builds if each answer adds a run.
#[must_use]
pub fn next_step(problem: &Queue, runs: &[Run], slots: usize) -> Step {
    match decide(problem, runs) {
        Next::End(step) => step,
        Next::Build(build, red) => {
            let slots = slots.min(problem.builds_max().saturating_sub(runs.len()));
            let run = |build: &Build, verdict| Run { build: build.clone(), verdict };
            Step::Build(ahead::fill(runs, slots, (build, red), |runs| decide(problem, runs), run))
        }
    }
}

fn decide(problem: &Queue, runs: &[Run]) -> Decision {
    let is_over = runs.len() >= problem.builds_max();
    match problem.line().decide(&along(problem.suspects, runs)) {
        Next::Build(..) if is_over => Next::End(Step::Unproven { why: Why::LimitReached, most_likely: vec![] }),
        Next::Build(Place::First(first), red) => Next::Build(Build::Prefix(first), red),
        Next::Build(Place::Alone(who), red) => Next::Build(Build::Alone(who), red),
        Next::End(End::Flake) => Next::End(Step::Flake),
        Next::End(End::Unproven { why, most_likely }) => Next::End(Step::Unproven { why, most_likely }),
        Next::End(End::Found { who, proof }) => {
            let culprit = Culprit { suspects: vec![who], how: How::NotAsked, proof };
            match problem.partner {
                Partner::Sought if !is_over => partner::decide(problem, runs, culprit),
                _ => Next::End(Step::Found(culprit)),
            }
        }
    }
}

/// The runs that lie on the line, or beside it.
fn along(suspects: usize, runs: &[Run]) -> Vec<Seen> {
    let place = |build: &Build| match build {
        Build::Prefix(first) => Some(Place::First(*first)),
        other => match other.commits().as_slice() {
            commits if is_prefix(commits) => Some(Place::First(commits.len())),
            [commit] => Some(Place::Alone(*commit)),
            _ => None,
        },
    };
    let is_known = |place: &Place| matches!(place, Place::First(n) | Place::Alone(n) if *n <= suspects);
    let runs = runs.iter().enumerate().filter_map(|(at, run)| place(&run.build).map(|place| (at, place, run.verdict)));
    let known = runs.filter(|(_, place, _)| is_known(place));
    known.map(|(at, place, verdict)| Seen { place, verdict, at }).collect()
}

/// How much of a test's rate is doubted before anything is reverted by it.
const RATE_DOUBTED_BEFORE_REVERT: f64 = 0.5;
/// Runs before a revert, as a multiple of what its rate asks for. Then a person decides.
const REVERT_RUNS_MAX: usize = 4;

/// Which runs are missing before a culprit may be reverted without a person: red with it and green without it so often
/// that neither is chance, in turns, and all runs together prove it even if half of what is known of the test's rate is
/// wrong. A red without it may be chance; a green with it speaks for it.
#[must_use]
pub fn before_revert(problem: &Queue, runs: &[Run], culprit: &Culprit, slots: usize) -> BeforeRevert {
    let Some(who) = culprit.suspects.last().copied().filter(|who| (1..=problem.suspects).contains(who)) else {
        return BeforeRevert::No;
    };
    let needed = match problem.nature {
        Nature::Compile => 1,
        Nature::Test { .. } => problem.nature.reds_needed(),
    };
    let seen = along(problem.suspects, runs);
    let since = culprit.proof.with.min(culprit.proof.without);
    let fresh = || seen.iter().filter(|s| s.at >= since);
    let count = |first: usize, verdict: Verdict| {
        fresh().filter(|s| s.place == Place::First(first) && s.verdict == verdict).count()
    };
    let unresolved = count(who, Verdict::Unresolved) + count(who - 1, Verdict::Unresolved);
    if count(who, Verdict::Green) + unresolved > 0 {
        return BeforeRevert::No;
    }
    // Only turns count: a stretch of bad luck would have to end and begin with each of them.
    let mut turns: Vec<Verdict> = fresh().filter(|s| s.is_of(who)).map(|s| s.verdict).collect();
    turns.dedup();
    let reds = turns.iter().filter(|verdict| **verdict == Verdict::Red).count();
    let greens = turns.len() - reds;
    if reds >= needed && greens >= needed && problem.line().proves(who, &seen, RATE_DOUBTED_BEFORE_REVERT) {
        return BeforeRevert::Ready;
    }
    if fresh().count() >= REVERT_RUNS_MAX * (needed + 1) {
        return BeforeRevert::No;
    }
    let first = if turns.last() == Some(&Verdict::Green) { [who, who - 1] } else { [who - 1, who] };
    let turns = first.into_iter().map(Build::Prefix).cycle();
    BeforeRevert::Build(turns.take(slots.clamp(1, 2 * needed)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Green, Red, Unresolved};

    fn queue(suspects: usize) -> Queue {
        let partner = Partner::NotSought;
        Queue { suspects, weights: vec![], nature: Nature::Compile, nobody: 0.0, partner }
    }

    fn runs(seen: &[(usize, Verdict)]) -> Vec<Run> {
        seen.iter().map(|(first, verdict)| Run { build: Build::Prefix(*first), verdict: *verdict }).collect()
    }

    fn asks(queue: &Queue, seen: &[(usize, Verdict)]) -> Vec<Build> {
        match next_step(queue, &runs(seen), 1) {
            Step::Build(builds) => builds,
            other => panic!("{other:?}"),
        }
    }

    /// The end of a search in which each prefix always answers the same.
    fn searched(queue: &Queue, answer: impl Fn(usize) -> Verdict) -> Step {
        let mut seen = runs(&[(queue.suspects, Red)]);
        loop {
            match next_step(queue, &seen, 1) {
                Step::Build(builds) => {
                    let Build::Prefix(first) = builds[0] else { panic!("a prefix") };
                    seen.extend(runs(&[(first, answer(first))]));
                }
                end => return end,
            }
        }
    }

    #[test]
    fn a_red_base_ends_it_without_a_search() {
        let step = next_step(&queue(8), &runs(&[(8, Red), (0, Red)]), 4);
        assert!(matches!(step, Step::Unproven { why: Why::BaseIsRed, .. }), "{step:?}");
        let new_test = Queue { nature: Nature::Test { flake: 0.01 }, nobody: 0.4, ..queue(8) };
        let step = next_step(&new_test, &runs(&[(8, Red), (0, Red)]), 4);
        assert!(matches!(step, Step::Unproven { why: Why::BaseIsRed, .. }), "{step:?}");
    }

    #[test]
    fn a_red_base_of_a_flaky_test_is_built_again() {
        let flaky = Queue { nature: Nature::Test { flake: 0.3 }, nobody: 0.4, ..queue(8) };
        assert_eq!(asks(&flaky, &[(8, Red), (0, Red)]), [Build::Prefix(0)]);
    }

    #[test]
    fn one_commit_is_not_guilty_for_being_alone() {
        assert_eq!(asks(&queue(1), &[(1, Red)]), [Build::Prefix(0)]);
        let step = next_step(&queue(1), &runs(&[(1, Red), (0, Green), (1, Red)]), 1);
        assert!(matches!(step, Step::Found(culprit) if culprit.suspects == [1]));
    }

    #[test]
    fn a_green_head_is_a_flake() {
        assert_eq!(next_step(&queue(8), &runs(&[(8, Red), (8, Green)]), 1), Step::Flake);
    }

    #[test]
    fn what_does_not_build_is_passed_over_and_its_neighbours_stay_unproven() {
        let Build::Prefix(first) = asks(&queue(8), &[(8, Red)])[0] else { panic!("a prefix") };
        assert_ne!(asks(&queue(8), &[(8, Red), (first, Unresolved)]), [Build::Prefix(first)]);
        let end = searched(&queue(2), |first| [Green, Unresolved, Red][first]);
        assert!(matches!(end, Step::Unproven { why: Why::Unresolved, .. }), "{end:?}");
    }

    #[test]
    fn a_break_by_one_outside_the_list_is_blamed_on_nobody() {
        let outside = Queue { weights: vec![1.0, 0.0, 1.0], ..queue(3) };
        let end = searched(&outside, |first| if first >= 2 { Red } else { Green });
        assert!(matches!(end, Step::Unproven { .. }), "{end:?}");
    }

    #[test]
    fn slots_get_what_is_needed_next_on_either_side() {
        let Step::Build(builds) = next_step(&queue(8), &runs(&[(8, Red)]), 3) else { panic!("builds") };
        assert_eq!(builds, [4, 2, 6].map(Build::Prefix));
    }
}

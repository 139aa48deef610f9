//! A proven culprit Ci that may have needed another: Ci alone on the base. If that is green, its partner is searched
//! for among the commits before it, with Ci always in, on a line of its own; then the two alone must be red. Nothing
//! here takes the proof away from Ci: it was red with it and green without it. It knows builds as sets, and leaves the
//! search to [`super::line`].

use super::ahead::Next;
use super::line::{Alone, End, Line, Place, Seen};
use super::queue::{Build, Decision, Queue, Run, Step};
use super::{Culprit, How, Verdict, weight};

/// How often a break is one of two commits together, and what doubt may be left that it is.
const TOGETHER: (f64, f64) = (0.1, 0.005);
/// That no partner explains it: more than one, then.
const NO_PARTNER: f64 = 0.05;

pub(super) fn decide(problem: &Queue, runs: &[Run], culprit: Culprit) -> Decision {
    let last = culprit.suspects[0];
    if !(1..last).any(|who| weight(&problem.weights, who - 1) > 0.0) {
        return found(culprit, How::ByItself);
    }
    match asked(problem, runs, &[last]) {
        Answer::Red => found(culprit, How::ByItself),
        Answer::Unresolved => found(culprit, How::NotAsked),
        Answer::Open => Next::Build(Build::of(vec![last]), 0.9),
        Answer::Green => search(problem, runs, culprit),
    }
}

fn search(problem: &Queue, runs: &[Run], culprit: Culprit) -> Decision {
    let last = culprit.suspects[0];
    let line = Line {
        suspects: last - 1,
        weights: &problem.weights,
        nature: problem.nature,
        nobody: NO_PARTNER,
        alone: Alone::NotAsked,
    };
    match line.decide(&with_last(last, runs)) {
        Next::Build(Place::First(first), red) => Next::Build(Build::of((1..=first).chain([last]).collect()), red),
        Next::End(End::Found { who, .. }) => pair(problem, runs, culprit, who),
        Next::Build(Place::Alone(_), _) | Next::End(_) => found(culprit, How::WithOthers),
    }
}

/// The two, and nothing else: green means that there is a third.
fn pair(problem: &Queue, runs: &[Run], culprit: Culprit, partner: usize) -> Decision {
    let both = vec![partner, culprit.suspects[0]];
    match asked(problem, runs, &both) {
        Answer::Red => {
            let with = runs.iter().rposition(|r| r.verdict == Verdict::Red && r.build.commits() == both);
            let proof = super::Proof { with: with.unwrap_or(culprit.proof.with), ..culprit.proof };
            found(Culprit { suspects: both, proof, ..culprit }, How::Together)
        }
        Answer::Open => Next::Build(Build::of(both), 0.9),
        Answer::Green | Answer::Unresolved => found(culprit, How::WithOthers),
    }
}

fn found(culprit: Culprit, how: How) -> Decision {
    Next::End(Step::Found(Culprit { how, ..culprit }))
}

enum Answer {
    Green,
    /// So often that chance is ruled out well enough for a name that nothing hangs on.
    Red,
    Unresolved,
    Open,
}

fn asked(problem: &Queue, runs: &[Run], commits: &[usize]) -> Answer {
    let mut doubt = TOGETHER.0;
    let mut last = None;
    for run in runs.iter().filter(|run| run.build.commits() == commits) {
        match run.verdict {
            Verdict::Green => return Answer::Green,
            Verdict::Red => doubt *= problem.nature.flake(),
            Verdict::Unresolved => {}
        }
        last = Some(run.verdict);
    }
    match last {
        _ if doubt <= TOGETHER.1 => Answer::Red,
        Some(Verdict::Unresolved) => Answer::Unresolved,
        _ => Answer::Open,
    }
}

/// The runs that have the last commit, and of those before it the first so many.
fn with_last(last: usize, runs: &[Run]) -> Vec<Seen> {
    let seen = runs.iter().enumerate().filter_map(|(at, run)| {
        let commits = run.build.commits();
        let (end, before) = commits.split_last()?;
        let is_on = *end == last && before.iter().enumerate().all(|(at, commit)| *commit == at + 1);
        is_on.then_some(Seen { place: Place::First(before.len()), verdict: run.verdict, at })
    });
    seen.collect()
}

//! The ways of searching that are measured: ours, and what people do without it. All begin with one red seen, all count
//! every build after it, and ours counts those of its proof. "Always the first" and "always nobody" are here to fail.

use std::collections::HashMap;

use rr_core::culprit::{Build, MixedRun, MixedStep, Run, Step, Verdict, next_mixed, next_step};

use crate::mixes::Mix;
use crate::queues::{Trial, Truth};

/// What a search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Nobody,
    Blames(Vec<usize>),
    Nothing(String),
}

pub(crate) fn ours(trial: &mut Trial) -> (Says, Vec<Run>) {
    let mut runs = vec![Run { build: trial.head(), verdict: Verdict::Red }];
    loop {
        match next_step(&trial.queue, &runs, 1) {
            Step::Build(builds) => {
                let build = builds.into_iter().next().expect("a build");
                let verdict = trial.build(&build);
                runs.push(Run { build, verdict });
            }
            Step::Found(culprit) => return (Says::Blames(culprit.suspects), runs),
            Step::Flake => return (Says::Nobody, runs),
            Step::Unproven { why, .. } => return (Says::Nothing(format!("{why:?}")), runs),
        }
        assert!(runs.len() <= trial.queue.builds_max(), "more builds than promised");
    }
}

/// Halving; a state is red if `times` runs of it are.
pub(crate) fn bisect(trial: &mut Trial, times: usize) -> Says {
    let (mut good, mut bad) = (0, trial.queue.suspects);
    let mut is_red = |n: usize| (0..times).all(|_| trial.build(&Build::Prefix(n)) == Verdict::Red);
    if !is_red(bad) {
        return Says::Nobody;
    }
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if is_red(middle) { bad = middle } else { good = middle }
    }
    Says::Blames(vec![bad])
}

/// Whether that is who it was. Of two commits the later one is enough where `later` is all a search can say.
pub(crate) fn is_right(truth: &Truth, says: &Says, later: bool) -> bool {
    match (truth, says) {
        (Truth::Nobody, Says::Nobody) => true,
        (Truth::Broke(commits), Says::Blames(blamed)) if later => commits.last() == blamed.last(),
        (Truth::Broke(commits), Says::Blames(blamed)) => commits == blamed,
        _ => false,
    }
}

pub(crate) fn ours_mixed(mix: &mut Mix) -> (Says, Vec<MixedRun>) {
    let mut runs = vec![MixedRun { with: mix.all(), verdict: Verdict::Red }];
    loop {
        match next_mixed(&mix.problem, &runs, 1) {
            MixedStep::Build(builds) => {
                let with = builds.into_iter().next().expect("a build");
                let verdict = mix.build(&with);
                runs.push(MixedRun { with, verdict });
            }
            MixedStep::Found(culprit) => return (Says::Blames(culprit.suspects), runs),
            MixedStep::Flake => return (Says::Nobody, runs),
            MixedStep::Unproven { why, .. } => return (Says::Nothing(format!("{why:?}")), runs),
        }
        assert!(runs.len() <= mix.problem.builds_max(), "more builds than promised");
    }
}

/// The whole tree once more; then without each unit in turn: those without which it is green.
pub(crate) fn drop_one(mix: &mut Mix) -> Says {
    let all = mix.all();
    if mix.build(&all) == Verdict::Green {
        return Says::Nobody;
    }
    let green = |unit: &usize, mix: &mut Mix| {
        let rest = mix.without(&all, &[*unit]);
        mix.build(&rest) == Verdict::Green
    };
    Says::Blames(all.iter().copied().filter(|unit| green(unit, mix)).collect())
}

/// Whether ddmin is told of the needs that are known: published, it is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Told,
    NotTold,
}

/// Delta debugging as published: parts, then complements, then finer; no set is built twice, but a red one is red
/// only if `times` builds of it are. What does not build is neither red nor green.
pub(crate) fn ddmin(mix: &mut Mix, needs: Needs, times: usize) -> Says {
    let mut known: HashMap<Vec<usize>, Verdict> = HashMap::new();
    let mut is_red = |units: &[usize], mix: &mut Mix| {
        let with = if needs == Needs::Told { mix.closed(units) } else { units.to_vec() };
        let mut built = || (0..times).map(|_| mix.build(&with)).find(|v| *v != Verdict::Red).unwrap_or(Verdict::Red);
        let verdict = known.get(&with).copied().unwrap_or_else(&mut built);
        known.insert(with, verdict);
        verdict == Verdict::Red
    };
    let mut left = mix.all();
    if !is_red(&left, mix) {
        return Says::Nobody;
    }
    let mut parts = 2;
    while left.len() >= 2 {
        let chunks: Vec<Vec<usize>> = left.chunks(left.len().div_ceil(parts)).map(<[usize]>::to_vec).collect();
        let rest = |chunk: &Vec<usize>| left.iter().copied().filter(|unit| !chunk.contains(unit)).collect::<Vec<_>>();
        if let Some(chunk) = chunks.iter().find(|chunk| is_red(chunk, mix)) {
            (left, parts) = (chunk.clone(), 2);
        } else if let Some(rest) = chunks.iter().map(rest).find(|rest| chunks.len() > 2 && is_red(rest, mix)) {
            (left, parts) = (rest, (parts - 1).max(2));
        } else if parts < left.len() {
            parts = (parts * 2).min(left.len());
        } else {
            break;
        }
    }
    Says::Blames(left)
}

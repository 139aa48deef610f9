//! Builds beside the one that is needed: what will be needed next, whichever way the first ones end, the likeliest
//! first. With a suspect for each slot these are the quantiles; once one suspect leads they are both sides of its
//! proof. It knows nothing of what is searched: only how to ask the same decision again with runs that have not been.

use super::Verdict;

/// Less likely to be needed than this is left undone: a slot is also somebody else's.
const NEEDED_MIN: f64 = 0.05;
/// A machine's slots; each costs one more decision.
const SLOTS_MAX: usize = 16;

/// One decision: a build that is needed, with the probability that it is red, or the end.
#[derive(Clone, Debug)]
pub(super) enum Next<B, E> {
    Build(B, f64),
    End(E),
}

/// The first build and up to `slots` in all.
pub(super) fn fill<B: Clone, R: Clone, E>(
    runs: &[R],
    slots: usize,
    first: (B, f64),
    decide: impl Fn(&[R]) -> Next<B, E>,
    run: impl Fn(&B, Verdict) -> R,
) -> Vec<B> {
    let mut builds = Vec::new();
    let mut open = vec![(1.0, runs.to_vec(), Some(first))];
    while builds.len() < slots.clamp(1, SLOTS_MAX) {
        let Some(at) = likeliest(&open) else { break };
        let (chance, past, known) = open.swap_remove(at);
        let next = known.map_or_else(|| decide(&past), |(build, red)| Next::Build(build, red));
        let Next::Build(build, red) = next else { continue };
        for (verdict, share) in [(Verdict::Green, 1.0 - red), (Verdict::Red, red)] {
            let mut past = past.clone();
            past.push(run(&build, verdict));
            open.push((chance * share, past, None));
        }
        builds.push(build);
    }
    builds
}

fn likeliest<T, U>(open: &[(f64, T, U)]) -> Option<usize> {
    let enough = (0..open.len()).filter(|at| open[*at].0 >= NEEDED_MIN);
    enough.reduce(|best, at| if open[at].0 > open[best].0 { at } else { best })
}

//! A person's own search for the commit that broke a command: the watcher's search (`rr_core::culprit`) over the
//! first-parent commits of the repository here, each build in a work tree of its own beside it. No daemon, no store,
//! and nothing of the person's is touched. Next: `bisect/ground.rs` builds; `cmd::bisect` tells.

pub(crate) mod ground;

use std::time::Instant;

use rr_core::culprit::{Build, Culprit, Nature, Partner, Queue, Run, Step, Verdict, Why, next_step};

use self::ground::Ground;
use crate::exit::Failure;

/// What is looked for, and in what.
pub(crate) struct Search {
    pub(crate) commits: usize,
    pub(crate) nature: Nature,
}

/// One build that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) run: Run,
    pub(crate) took_ms: u64,
}

/// Commits by their places in the list, from 0.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    Culprit(Culprit),
    /// Nobody: it fails by chance.
    Flake,
    NotProven {
        why: Why,
        most_likely: Vec<usize>,
    },
}

impl Search {
    /// Builds until there is an answer, telling each build as it is made.
    pub(crate) fn run(
        &self,
        ground: &Ground,
        mut tell: impl FnMut(usize, &Made) -> Result<(), Failure>,
    ) -> Result<(Found, Vec<Made>), Failure> {
        let problem = Queue {
            suspects: self.commits,
            weights: vec![1.0; self.commits],
            nature: self.nature,
            // A person who searches has seen it fail: chance is the less likely story.
            nobody: if self.nature == Nature::Compile { 0.0 } else { NOBODY },
            partner: Partner::Sought,
        };
        let mut made: Vec<Made> = Vec::new();
        let mut next = Build::Prefix(self.commits);
        loop {
            let began = Instant::now();
            let verdict = ground.build(&next)?;
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            made.push(Made { run: Run { build: next, verdict }, took_ms });
            tell(made.len(), &made[made.len() - 1])?;
            let runs: Vec<Run> = made.iter().map(|made| made.run.clone()).collect();
            next = match next_step(&problem, &runs, 1) {
                Step::Build(builds) => match builds.into_iter().next() {
                    Some(build) => build,
                    None => return Ok((not_proven(), made)),
                },
                Step::Found(culprit) => return Ok((Found::Culprit(from_zero(&culprit)), made)),
                Step::Flake => return Ok((Found::Flake, made)),
                Step::Unproven { why, most_likely } => {
                    let most_likely = places(&most_likely);
                    return Ok((Found::NotProven { why, most_likely }, made));
                }
            };
        }
    }
}

/// The share of reds that are chance, before anything is known of the command.
const NOBODY: f64 = 0.1;

/// The search counts commits from 1.
fn places(commits: &[usize]) -> Vec<usize> {
    commits.iter().filter_map(|n| n.checked_sub(1)).collect()
}

fn from_zero(culprit: &Culprit) -> Culprit {
    Culprit { suspects: places(&culprit.suspects), how: culprit.how, proof: culprit.proof }
}

fn not_proven() -> Found {
    Found::NotProven { why: Why::NothingFits, most_likely: vec![] }
}

/// What a command's end says, as `git bisect run` has it: 0 good, 125 says nothing, up to 127 bad.
pub(crate) fn verdict(code: Option<i32>) -> Option<Verdict> {
    match code {
        Some(0) => Some(Verdict::Green),
        // Ended by a signal: out of memory, interrupted.
        Some(125) | None => Some(Verdict::Unresolved),
        // A shell could not run it, or not find it: it would be so for every commit.
        Some(126 | 127) => None,
        Some(1..=124) => Some(Verdict::Red),
        Some(_) => Some(Verdict::Unresolved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_says_what_git_bisect_run_takes_it_for() {
        assert_eq!(verdict(Some(0)), Some(Verdict::Green));
        assert_eq!([1, 2, 124].map(|code| verdict(Some(code))), [Some(Verdict::Red); 3]);
        assert_eq!([Some(125), Some(130), None].map(verdict), [Some(Verdict::Unresolved); 3]);
        assert_eq!([126, 127].map(|code| verdict(Some(code))), [None; 2]);
    }
}

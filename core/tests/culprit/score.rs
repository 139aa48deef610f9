//! What a way of searching is worth over many trials, and the bars. The test asserts them, the bench prints them.

use rr_core::culprit::{BeforeRevert, Run, Step, before_revert, next_step};

use crate::mixes::{self, Mix};
use crate::queues::{self, Trial};
use crate::rivals::{Says, is_right, ours};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    /// On average, after the red that began it.
    pub(crate) builds: f64,
    /// Of 100.
    pub(crate) right: f64,
    /// Trials in which somebody innocent was blamed.
    pub(crate) innocent: usize,
    /// A seed that went wrong: replays it.
    pub(crate) wrong_seed: Option<u64>,
}

/// `later`: of two commits the later one is enough.
pub(crate) fn queue(setting: &queues::Setting, trials: u64, later: bool, search: impl Fn(&mut Trial) -> Says) -> Score {
    let mut score = Score::default();
    for seed in 0..trials {
        let mut trial = Trial::new(setting, seed);
        let says = search(&mut trial);
        let right = is_right(&trial.truth, &says, later);
        let innocent = matches!((&says, &trial.truth), (Says::Blames(blamed), truth) if !truth.is_guilty_of(blamed));
        score.add(trial.builds, right, innocent, seed);
    }
    score.of(trials)
}

pub(crate) fn mixed(setting: &mixes::Setting, trials: u64, search: impl Fn(&mut Mix) -> Says) -> Score {
    let mut score = Score::default();
    for seed in 0..trials {
        let mut mix = Mix::new(setting, seed);
        let says = search(&mut mix);
        let guilty = mix.fault.units();
        let innocent = matches!(&says, Says::Blames(blamed) if blamed.iter().any(|unit| !guilty.contains(unit)));
        score.add(mix.builds, says == Says::Blames(guilty), innocent, seed);
    }
    score.of(trials)
}

/// Trials that would end in a revert without a person.
pub(crate) fn reverts(setting: &queues::Setting, trials: u64) -> usize {
    (0..trials).filter(|seed| is_reverted(&mut Trial::new(setting, *seed))).count()
}

fn is_reverted(trial: &mut Trial) -> bool {
    let (_, mut runs) = ours(trial);
    let Step::Found(culprit) = next_step(&trial.queue, &runs, 1) else { return false };
    loop {
        match before_revert(&trial.queue, &runs, &culprit, 1) {
            BeforeRevert::Ready => return true,
            BeforeRevert::No => return false,
            BeforeRevert::Build(builds) => {
                let build = builds.into_iter().next().expect("a build");
                let verdict = trial.build(&build);
                runs.push(Run { build, verdict });
            }
        }
    }
}

impl Score {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn add(&mut self, builds: usize, right: bool, innocent: bool, seed: u64) {
        self.builds += builds as f64;
        self.right += f64::from(u8::from(right));
        self.innocent += usize::from(innocent);
        self.wrong_seed = self.wrong_seed.or((!right).then_some(seed));
    }

    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn of(mut self, trials: u64) -> Self {
        self.builds /= trials as f64;
        self.right *= 100.0 / trials as f64;
        self
    }

    /// Right often enough and, where there is a floor, with no more builds than it.
    pub(crate) fn meets(&self, right_min: f64, floor: Option<&Score>) -> bool {
        self.right >= right_min && floor.is_none_or(|floor| self.builds <= floor.builds)
    }
}

//! How many builds a culprit costs and how often it is the right one, beside halving, drop-one and ddmin on the same
//! made-up trials. One line per figure, with its bar; of times only a single decision's is judged, against the least build.

#[path = "../tests/culprit/dice.rs"]
mod dice;
#[path = "../tests/culprit/mixes.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod mixes;
#[path = "../tests/culprit/queues.rs"]
mod queues;
#[path = "../tests/culprit/rivals.rs"]
mod rivals;
#[path = "../tests/culprit/score.rs"]
mod score;
#[path = "../tests/culprit/settings.rs"]
mod settings;

use std::time::{Duration, Instant};

use mixes::Mix;
use queues::{Flakes, Hints, Setting};
use rivals::{Needs, Says, bisect, ddmin, drop_one, ours, ours_mixed};
use rr_core::culprit::{Build, MixedRun, MixedStep, Nature, Partner, Queue, Run, Step, Verdict, next_mixed, next_step};
use score::Score;

const TRIALS: u64 = 2_000;
const TRIALS_MIXED: u64 = 300;
/// Nothing beside the shortest build that a decision saves.
const DECIDED_WITHIN: Duration = Duration::from_millis(10);

fn main() {
    queue();
    pure();
    mixed();
    blind();
    decisions();
}

/// Who looks at nothing, before the same judge: it must not pass.
fn blind() {
    let setting = settings::queue(16, 0.0);
    let say = |part, name, score: Score, right_min| {
        println!("blind {part} {name} passes={} right={:.1}%", score.meets(right_min, None), score.right);
    };
    say("B5", "clean", score::queue(&setting, TRIALS, true, |_| Says::Nobody), 99.0);
    let last = |trial: &mut queues::Trial| Says::Blames(vec![trial.queue.suspects]);
    say("B5", "conflict", score::queue(&setting, TRIALS, true, last), 99.0);
    let (_, setting) = settings::mixed(None).swap_remove(2);
    say("B6", "clean", score::mixed(&setting, TRIALS_MIXED, |_| Says::Nobody), 95.0);
    say("B6", "conflict", score::mixed(&setting, TRIALS_MIXED, |mix| Says::Blames(mix.all())), 95.0);
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "ok" } else { "MISSED" }
}

fn shown(score: &Score) -> String {
    format!("{:.2}/{:.1}%", score.builds, score.right)
}

fn queue() {
    println!("B5, builds/right of {TRIALS}: ours with its proof; bisect, each state once and three times");
    for flake in settings::RATES {
        for commits in settings::COMMITS {
            one_queue(&format!("queue n={commits} f={flake}"), &settings::queue(commits, flake), flake);
        }
        let setting = |hints| Setting { hints, ..settings::queue(16, flake) };
        one_queue(&format!("queue n=16 f={flake} hints"), &setting(Hints::Good), flake);
        one_queue(&format!("queue n=16 f={flake} wrong hints"), &setting(Hints::Bad), flake);
        let two = Setting { two: settings::TWO, ..settings::queue(16, flake) };
        one_queue(&format!("queue n=16 f={flake} some of two"), &two, 1.0);
    }
}

fn one_queue(name: &str, setting: &Setting, flake: f64) {
    let score = score::queue(setting, TRIALS, false, |trial| ours(trial).0);
    let [once, thrice] = [1, 3].map(|times| score::queue(setting, TRIALS, true, |trial| bisect(trial, times)));
    let floor = (flake <= settings::RATE_OF_THE_FLOOR).then_some(&thrice);
    let bar = if floor.is_some() { "right>=99 builds<=bisect3" } else { "right>=99" };
    let met = verdict(score.meets(99.0, floor));
    let (ours, once, thrice) = (shown(&score), shown(&once), shown(&thrice));
    println!("{name} ours={ours} innocent={} bisect={once} bisect3={thrice} bar={bar} {met}", score.innocent);
}

fn pure() {
    let known = [0.02, 0.1, 0.3].map(|flake| (Flakes::Each(flake), flake));
    let unknown = [0.1, 0.3, 0.5].map(|flake| (Flakes::Each(flake), 0.01));
    let stretches = [0.05, 0.1, 0.3].map(|change| (Flakes::Stretches { change }, 0.02));
    // What is said of a test may be far off: there, bad reverts stay under one in a hundred.
    let all = known.map(|k| (k, 0)).into_iter().chain(unknown.map(|u| (u, 9))).chain(stretches.map(|s| (s, 0)));
    for ((flakes, estimate), bar) in all {
        for commits in settings::COMMITS {
            let setting = settings::pure(commits, flakes, estimate);
            let blamed = score::queue(&setting, 1_000, true, |trial| ours(trial).0).innocent;
            let reverts = score::reverts(&setting, 1_000);
            let met = verdict(reverts <= bar);
            println!(
                "pure n={commits} {flakes:?} said={estimate} blamed={blamed} reverts={reverts}/1000 bar={bar} {met}"
            );
        }
    }
}

fn mixed() {
    println!("B6, builds/right of {TRIALS_MIXED}: ddmin as published, told the needs, and so with three reruns");
    for flake in [None, Some(0.0), Some(0.02), Some(0.1)] {
        for (name, setting) in settings::mixed(flake) {
            let start = Instant::now();
            let score = score::mixed(&setting, TRIALS_MIXED, |mix| ours_mixed(mix).0);
            let took = start.elapsed();
            let published = score::mixed(&setting, TRIALS_MIXED, |mix| ddmin(mix, Needs::NotTold, 1));
            let told = score::mixed(&setting, TRIALS_MIXED, |mix| ddmin(mix, Needs::Told, 1));
            let careful = score::mixed(&setting, TRIALS_MIXED, |mix| ddmin(mix, Needs::Told, 3));
            let dropped = score::mixed(&setting, TRIALS_MIXED, drop_one);
            let (floor, bar) = match flake {
                None => (Some(&published), "right>=95 builds<=published"),
                Some(flake) if flake <= settings::RATE_OF_THE_FLOOR => (Some(&careful), "right>=95 builds<=ddmin3"),
                Some(_) => (None, "right>=95"),
            };
            let met = verdict(score.meets(95.0, floor));
            let [published, told, careful, dropped] = [&published, &told, &careful, &dropped].map(shown);
            let nature = flake.map_or("compile".to_owned(), |flake| format!("f={flake}"));
            let (ours, innocent) = (shown(&score), score.innocent);
            println!(
                "mixed {name} {nature} ours={ours} innocent={innocent} ddmin={published} told={told} ddmin3={careful} \
                 drop-one={dropped} bar={bar} {met} ({took:.1?})"
            );
        }
    }
}

/// What one step costs with as many suspects as are ever searched: the least of several tries, as other work only adds.
fn decisions() {
    let queue = Queue {
        suspects: 64,
        weights: vec![],
        nature: Nature::Test { flake: 0.02 },
        nobody: 0.4,
        partner: Partner::Sought,
    };
    let began = [Run { build: Build::Prefix(64), verdict: Verdict::Red }];
    decision("queue_64_commits", || assert!(matches!(next_step(&queue, &began, 1), Step::Build(_))));
    let (_, setting) = settings::mixed(Some(0.02)).swap_remove(2);
    let mix = Mix::new(&setting, 1);
    let began = [MixedRun { with: mix.all(), verdict: Verdict::Red }];
    decision("mixed_16_units", || assert!(matches!(next_mixed(&mix.problem, &began, 1), MixedStep::Build(_))));
}

fn decision(name: &str, decide: impl Fn()) {
    let timed = || {
        let start = Instant::now();
        decide();
        start.elapsed()
    };
    let least = (0..5).map(|_| timed()).min().unwrap_or(Duration::MAX);
    let met = verdict(least <= DECIDED_WITHIN);
    println!("step {name}_us={} bar={} {met}", least.as_micros(), DECIDED_WITHIN.as_micros());
}

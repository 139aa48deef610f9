//! What the index costs in memory alone. Printed, not asserted: machines differ.

use std::time::{Duration, Instant};

use rr_core::live::{FileChange, Lines};
use rr_core::overlap::{Answer, Index, Options, Question};

use crate::dice::Dice;
use crate::git::key;
use crate::pure::{change_set, entry};

/// 198 of 20,000 files each, and two that everybody edits.
fn files(dice: &mut Dice, nr: u32) -> Vec<FileChange> {
    let mut paths: Vec<u32> = (0..198).map(|_| u32::try_from(dice.below(20_000)).expect("small")).chain(0..2).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut change = |at: u32| {
        let to = entry(at * 64 + nr + 1_000_000);
        let mut file = FileChange::of(format!("crate{}/src/f{at}.rs", at % 40).as_str().into(), entry(at), to);
        let mut start = || u32::try_from(dice.below(800)).expect("small");
        file.ranges = (0..3).map(|_| Lines { start: start(), count: 2 }).collect();
        file
    };
    paths.into_iter().map(&mut change).collect()
}

/// The best of several tries: other work on the machine only ever adds.
const TRIES: usize = 10;

#[test]
fn fifty_trees_of_two_hundred_files() {
    let dice = &mut Dice::new(1);
    let sets: Vec<_> = (0..50).map(|nr| change_set(nr, files(dice, u32::try_from(nr).expect("small")))).collect();
    let mut best = [Duration::MAX; 4];
    let mut counts = (0, 0);
    for _ in 0..TRIES {
        let mut index = Index::new(Options::default());
        let mut again = sets[7].clone();
        again.files[3].to = entry(7);
        let (all, mut asked) = (sets.clone(), vec![]);
        best[0] =
            best[0].min(timed(|| all.into_iter().enumerate().for_each(|(nr, set)| index.put(key(nr), Some(set)))));
        best[1] = best[1].min(timed(|| asked = index.questions()));
        assert!(asked.iter().all(|question| matches!(question, Question::Files { .. })) && !asked.is_empty());
        asked.iter().for_each(|question| index.answer(question, Answer::Clean));
        best[2] = best[2].min(timed(|| counts = (asked.len(), index.findings().len())));
        best[3] = best[3].min(timed(|| index.put(key(7), Some(again))));
    }
    let [put, questions, findings, edit] = best;
    let (asked, found) = counts;
    println!("50 puts {put:?}, {asked} questions {questions:?}, {found} findings {findings:?}, one edit {edit:?}");
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

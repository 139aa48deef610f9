//! What the overlap index costs in memory alone: fifty trees of two hundred files each, two of which everybody edits. An edit of one
//! tree stands beside putting all fifty: it must not cost what the whole fleet costs. One line a figure, with its bar.

use std::time::{Duration, Instant};

use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
use rr_core::live::{ChangeSet, Entry, FileChange, Lines, Onto, Rest, Target, TreeKey};
use rr_core::overlap::{Answer, Index, Options};

#[path = "../tests/overlap/dice.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod dice;

use dice::Dice;

const TREES: usize = 50;
/// The best of several tries: other work on the machine only ever adds.
const TRIES: usize = 20;
/// One tree in fifty, and as much again for taking out what it was.
const EDIT_RATIO_MAX: f64 = 0.04;

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("small")
}

fn object(number: u32) -> ObjectId {
    ObjectId::parse(&format!("{number:040x}")).expect("a name")
}

fn entry(number: u32) -> Option<Entry> {
    Some(Entry { mode: 0o100_644, id: object(number) })
}

fn key(nr: usize) -> TreeKey {
    TreeKey { host: HostId::parse(&format!("{nr:032x}")).expect("an id"), tree: "t".to_owned() }
}

/// 198 of 20,000 files each, and two that everybody edits.
fn files(dice: &mut Dice, nr: u32) -> Vec<FileChange> {
    let mut paths: Vec<u32> = (0..198).map(|_| small(dice.below(20_000))).chain(0..2).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut change = |at: u32| {
        let to = entry(at * 64 + nr + 1_000_000);
        let mut file = FileChange::of(format!("crate{}/src/f{at}.rs", at % 40).as_str().into(), entry(at), to);
        file.ranges = (0..3).map(|_| Lines { start: small(dice.below(800)), count: 2 }).collect();
        file
    };
    paths.into_iter().map(&mut change).collect()
}

fn change_set(nr: u32, files: Vec<FileChange>) -> ChangeSet {
    let commit = |number: u32| CommitId::parse(&format!("{number:040x}")).expect("a name");
    ChangeSet {
        repo: RepoId::parse("00000000000000aa").expect("an id"),
        root: format!("tree {nr}"),
        branch: String::new(),
        head: Some(commit(900 + nr)),
        target: Some(Target { branch: "main".to_owned(), commit: commit(1) }),
        tree: object(5_000 + nr),
        committed: false,
        onto: Onto::Clean(object(5_000 + nr)),
        rest: Rest::Settled,
        writers: vec![],
        remote: None,
        files,
        left_out: 0,
    }
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

fn main() {
    let dice = &mut Dice::new(1);
    let sets: Vec<ChangeSet> = (0..TREES).map(|nr| change_set(small(nr), files(dice, small(nr)))).collect();
    let mut best = [Duration::MAX; 4];
    let mut counts = (0, 0);
    for _ in 0..TRIES {
        let mut index = Index::new(Options::default());
        let mut again = sets[7].clone();
        again.files[3].to = entry(7);
        let (all, mut asked) = (sets.clone(), vec![]);
        let took = [
            timed(|| all.into_iter().enumerate().for_each(|(nr, set)| index.put(key(nr), Some(set)))),
            timed(|| asked = index.questions()),
            timed(|| {
                asked.iter().for_each(|question| index.answer(question, Answer::Clean));
                counts = (asked.len(), index.findings().len());
            }),
            timed(|| index.put(key(7), Some(again))),
        ];
        best.iter_mut().zip(took).for_each(|(best, took)| *best = (*best).min(took));
    }
    let [put, questions, findings, edit] = best.map(|time| time.as_micros());
    let (asked, found) = counts;
    let ratio = best[3].as_secs_f64() / best[0].as_secs_f64();
    let verdict = if ratio <= EDIT_RATIO_MAX { "ok" } else { "MISSED" };
    println!("overlap.questions={asked} us={questions}; overlap.findings={found} us={findings}");
    println!("overlap.edit_us={edit} {TREES}_puts_us={put} ratio={ratio:.4} bar={EDIT_RATIO_MAX} {verdict}");
}

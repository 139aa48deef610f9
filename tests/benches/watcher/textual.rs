//! B1: what is told as a conflict against git's own merge of the same trees, a third of the work committed, staged, untracked; and
//! how long after the last write it is known, beside one `git status`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rr_core::live::Rest;
use rr_core::overlap::{Index, Kind, Level, Options};

use crate::dice::Dice;
use crate::given;
use crate::report::{Table, percentile, share};
use crate::stage::{Lies, Stage, git, leave, pairs, timed, write_out};
use crate::world::{TEXT, World};

const WORLDS: u64 = 48;
/// Of the made-up history.
const MERGES: usize = 240;
/// One world alone, to look at what went wrong in it.
const ONLY: &str = "RAILROAD_BENCH_WORLD";
const TIME_MS_MAX: f64 = 2_000.0;

pub(crate) type Pairs = BTreeSet<(usize, usize)>;

/// What a detector told, against the truth.
#[derive(Default)]
pub(crate) struct Score {
    pub(crate) pairs: usize,
    pub(crate) truths: usize,
    pub(crate) told: usize,
    right: usize,
    wrong: Option<String>,
    merges: usize,
}

impl Score {
    pub(crate) fn add(&mut self, world: &str, told: &Pairs, truth: &Pairs, pairs: usize, merges: usize) {
        self.pairs += pairs;
        self.merges += merges;
        self.truths += truth.len();
        self.told += told.len();
        self.right += told.intersection(truth).count();
        if let Some(pair) = told.symmetric_difference(truth).next().filter(|_| self.wrong.is_none()) {
            let how = if truth.contains(pair) { "missed" } else { "made up" };
            self.wrong = Some(format!("{world}: {how}: {pair:?}"));
        }
    }

    pub(crate) fn recall(&self) -> f64 {
        share(self.right, self.truths)
    }

    pub(crate) fn merged(&self) -> f64 {
        share(self.merges, self.pairs)
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.truths > 0 && self.right == self.truths && self.right == self.told
    }

    pub(crate) fn shown(&self) -> String {
        let wrong = self.wrong.as_ref().map_or_else(String::new, |wrong| format!(" ({wrong})"));
        let (precision, recall) = (share(self.right, self.told), self.recall());
        format!("precision {precision:.2} recall {recall:.2} of {} in {} pairs{wrong}", self.truths, self.pairs)
    }
}

/// The same judge for what is told and for who looks at nothing.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) ours: Score,
    pub(crate) clean: Score,
    pub(crate) conflict: Score,
}

impl Judged {
    pub(crate) fn add(&mut self, world: &str, told: &Pairs, truth: &Pairs, asked: &Pairs, merges: usize) {
        self.ours.add(world, told, truth, asked.len(), merges);
        self.clean.add(world, &Pairs::new(), truth, asked.len(), 0);
        self.conflict.add(world, asked, truth, asked.len(), asked.len());
    }
}

#[derive(Default)]
pub(crate) struct Times {
    pub(crate) finding: Vec<Duration>,
    pub(crate) status: Vec<Duration>,
}

impl Times {
    /// Looks at every side in turn, as if each had just written; the index is complete after each.
    pub(crate) fn see_all(&mut self, stage: &mut Stage, index: &mut Index) {
        for nr in 0..stage.sides.len() {
            let root = stage.sides[nr].tree.root.clone();
            let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=all"];
            self.status.push(timed(|| git(&root, &status)).1);
            let found = timed(|| {
                stage.see(nr, Rest::Settled);
                stage.put(index, nr);
                stage.answer_merges(index);
                index.findings().len()
            });
            self.finding.push(found.1);
        }
    }

    pub(crate) fn report(&mut self, table: &mut Table) {
        let (p50, p95) = (percentile(&mut self.finding, 50), percentile(&mut self.finding, 95));
        let floor = format!("git status p50 {:.0} ms", percentile(&mut self.status, 50));
        let value = format!("p50 {p50:.0} ms p95 {p95:.0} ms");
        table.row("B1", "last write to finding", &value, &floor, "p95 <= 2000 ms", p95 <= TIME_MS_MAX);
    }
}

/// Pairs that are told to conflict. A manifest's keys are no lines: they are judged apart.
pub(crate) fn told(stage: &Stage, index: &Index) -> Pairs {
    let findings = index.findings();
    let conflicts = findings.iter().filter(|f| f.level >= Level::Conflict && f.kind == Kind::Merge);
    let pair = |sides: &[rr_core::live::TreeKey; 2]| {
        let [a, b] = sides.each_ref().map(|key| stage.number(key));
        (a.min(b), a.max(b))
    };
    conflicts.map(|finding| pair(&finding.sides)).collect()
}

/// What stands in the way of two that are missed or made up.
pub(crate) fn explain(stage: &Stage, told: &Pairs, truth: &BTreeMap<(usize, usize), BTreeSet<String>>) {
    let all: Pairs = told.iter().chain(truth.keys()).copied().collect();
    for pair in all.into_iter().filter(|pair| told.contains(pair) != truth.contains_key(pair)) {
        let [a, b] = [pair.0, pair.1].map(|nr| stage.true_commit(nr));
        let turned = stage.git_merges(&b, &a);
        println!("wrong: {pair:?}, git conflicts on {:?}, the other way round on {turned:?}", truth.get(&pair));
        for nr in [pair.0, pair.1] {
            for file in stage.sides[nr].set.iter().flat_map(|set| &set.files) {
                let (old, new) = (file.from.is_some(), file.to.is_some());
                println!(
                    "  {nr}: {} was {old} is {new} from {:?}, lines {:?}",
                    file.path, file.renamed_from, file.ranges
                );
            }
        }
    }
}

/// Attributes that change what conflicts: lines of both are kept in one file, another is never merged.
fn with_attributes(world: &mut World) {
    let text = b"src/f0.rs merge=union\nlib/f2.rs -merge\n".to_vec();
    for tree in std::iter::once(&mut world.base).chain(&mut world.sides) {
        tree.insert(".gitattributes".to_owned(), (TEXT, text.clone()));
    }
}

pub(crate) fn set_up(world: &World) -> Stage {
    let mut stage = Stage::of(&world.base);
    for (nr, side) in world.sides.iter().enumerate() {
        let root = stage.add_side();
        write_out(&root, &world.base, side);
        leave(&root, Lies::of(nr));
    }
    stage
}

pub(crate) fn run(table: &mut Table) {
    let (mut judged, mut times, mut lies) = (Judged::default(), Times::default(), BTreeMap::new());
    let mut left_out = 0;
    let only: Option<u64> = std::env::var(ONLY).ok().and_then(|seed| seed.parse().ok());
    for seed in (0..WORLDS).filter(|seed| only.is_none_or(|only| only == *seed)) {
        let mut world = World::crowded(seed);
        with_attributes(&mut world);
        Dice::new(seed).shuffle(&mut world.sides);
        let mut stage = set_up(&world);
        for nr in 0..stage.sides.len() {
            *lies.entry(format!("{:?}", Lies::of(nr))).or_insert(0) += 1;
        }
        let mut index = Index::new(Options::default());
        times.see_all(&mut stage, &mut index);
        let is_sweep = |nr: &usize| stage.sides[*nr].set.as_ref().is_some_and(rr_core::overlap::is_sweep);
        let (all, mut truth) = (pairs(stage.sides.len()), stage.truth());
        let asked: Pairs = all.iter().copied().filter(|(a, b)| !is_sweep(a) && !is_sweep(b)).collect();
        left_out += all.len() - asked.len();
        truth.retain(|pair, _| asked.contains(pair));
        let told = told(&stage, &index);
        explain(&stage, &told, &truth);
        judged.add(&format!("world {seed}"), &told, &truth.into_keys().collect(), &asked, stage.merges);
    }
    println!(
        "B1 looked at {} pairs of {WORLDS} made-up worlds, sides {lies:?}; left out: {left_out} with a sweep (more than 50 paths, \
         or nothing but layout)",
        judged.ours.pairs
    );
    report(table, "conflicts", &judged);
    times.report(table);
    given::made(MERGES, table);
}

pub(crate) fn report(table: &mut Table, measure: &str, judged: &Judged) {
    let floor = "git merge-tree of all pairs";
    table.row("B1", measure, &judged.ours.shown(), floor, "both 1.00", judged.ours.is_exact());
    table.blind("B1", "clean", &judged.clean.shown(), judged.clean.is_exact());
    table.blind("B1", "conflict", &judged.conflict.shown(), judged.conflict.is_exact());
}

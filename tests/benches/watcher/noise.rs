//! B3: edits replayed over time on real work trees, half-written files among them: words said against conflicts that git sees, and
//! whether anything is said twice.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::live::Rest;
use rr_core::overlap::{Event, Finding, FindingId, Index, Level, Options, Told};

use crate::dice::Dice;
use crate::report::{Table, share};
use crate::stage::{Stage, pairs};
use crate::textual::set_up;
use crate::world::{World, edit_text};

const SEEDS: u64 = 3;
const SIDES: usize = 5;
const EDITS: usize = 40;
const ALERTS_PER_CONFLICT_MAX: f64 = 1.25;

type Truth = BTreeMap<(usize, usize), BTreeSet<String>>;

#[derive(Default)]
struct Tally {
    alerts: usize,
    conflicts: usize,
    repeats: usize,
    missed: usize,
}

impl Tally {
    fn passes(&self) -> bool {
        let per_conflict = share(self.alerts, self.conflicts);
        self.conflicts > 0 && per_conflict <= ALERTS_PER_CONFLICT_MAX && self.repeats == 0 && self.missed == 0
    }

    fn shown(&self) -> String {
        let per_conflict = share(self.alerts, self.conflicts);
        let Self { alerts, conflicts, repeats, missed } = self;
        format!("{per_conflict:.2} ({alerts} for {conflicts}), {repeats} repeats, {missed} not told")
    }
}

/// What has been said, and by whom.
#[derive(Default)]
struct Replay {
    told: Told,
    before: Truth,
    /// As each was said last, while its conflict lasts.
    standing: BTreeMap<FindingId, Finding>,
    ours: Tally,
    clean: Tally,
    conflict: Tally,
}

impl Replay {
    fn look(&mut self, stage: &Stage, index: &Index, truth: Truth) {
        let new = |(pair, paths): (&(usize, usize), &BTreeSet<String>)| {
            let known = self.before.get(pair);
            paths.iter().filter(|path| known.is_none_or(|known| !known.contains(*path))).count()
        };
        let conflicts: usize = truth.iter().map(new).sum();
        self.say(stage, index, &truth);
        for tally in [&mut self.ours, &mut self.clean, &mut self.conflict] {
            tally.conflicts += conflicts;
        }
        // Who looks at nothing says nothing, or the same of everybody every time.
        self.clean.missed += truth.len();
        self.conflict.alerts += pairs(stage.sides.len()).len();
        self.conflict.repeats += if self.before.is_empty() { 0 } else { pairs(stage.sides.len()).len() };
        self.before = truth;
    }

    fn say(&mut self, stage: &Stage, index: &Index, truth: &Truth) {
        let findings = index.findings();
        let pair = |finding: &Finding| {
            let [a, b] = finding.sides.each_ref().map(|key| stage.number(key));
            (a.min(b), a.max(b))
        };
        self.standing.retain(|_, said| truth.contains_key(&pair(said)));
        for event in self.told.step(&findings) {
            let (Event::New(finding) | Event::Worse(finding) | Event::Changed(finding)) = &event else { continue };
            if finding.level < Level::Conflict {
                continue;
            }
            self.ours.alerts += 1;
            let same = |said: Finding| {
                (said.level, &said.places, &said.kind) == (finding.level, &finding.places, &finding.kind)
            };
            let is_new = matches!(event, Event::New(_));
            let again = self.standing.insert(finding.id.clone(), finding.clone());
            self.ours.repeats += usize::from(again.is_some_and(|said| is_new || same(said)));
        }
        let open: BTreeSet<&FindingId> = self.told.open().map(|(id, _)| id).collect();
        let conflicts = findings.iter().filter(|f| f.level >= Level::Conflict && open.contains(&f.id));
        let told: BTreeSet<(usize, usize)> = conflicts.map(pair).collect();
        self.ours.missed += truth.keys().filter(|pair| !told.contains(pair)).count();
    }
}

pub(crate) fn run(table: &mut Table) {
    let mut all = [Tally::default(), Tally::default(), Tally::default()];
    for seed in 0..SEEDS {
        let replay = replayed(seed);
        for (sum, one) in all.iter_mut().zip([replay.ours, replay.clean, replay.conflict]) {
            sum.alerts += one.alerts;
            sum.conflicts += one.conflicts;
            sum.repeats += one.repeats;
            sum.missed += one.missed;
        }
    }
    println!(
        "B3 looked at {} edits of {SIDES} sides, each seed {EDITS}; left out: none",
        usize::try_from(SEEDS).unwrap_or(usize::MAX) * EDITS
    );
    let [ours, clean, conflict] = &all;
    let bar = "<= 1.25, 0 repeats, 0 not told";
    table.row("B3", "alerts per conflict", &ours.shown(), "git's own conflicts", bar, ours.passes());
    table.blind("B3", "clean", &clean.shown(), clean.passes());
    table.blind("B3", "conflict", &conflict.shown(), conflict.passes());
}

fn replayed(seed: u64) -> Replay {
    let dice = &mut Dice::new(seed + 77);
    let mut world = World::shared(seed, SIDES);
    let paths: Vec<String> = world.base.keys().cloned().collect();
    let mut stage = set_up(&world);
    let (mut index, mut replay) = (Index::new(Options::default()), Replay::default());
    let mut half_written: Option<(usize, String, Vec<u8>)> = None;
    for _ in 0..EDITS {
        let (nr, path) = match half_written.take() {
            Some((writer, path, whole)) => {
                world.sides[writer].get_mut(&path).expect("it is there").1 = whole;
                (writer, path)
            }
            None => {
                let (nr, path) = (dice.below(SIDES), dice.pick(&paths).clone());
                let entry = world.sides[nr].get_mut(&path).expect("it is there");
                entry.1 = edit_text(dice, &entry.1);
                if dice.one_in(6) {
                    let half = entry.1[..entry.1.len() / 2].to_vec();
                    half_written = Some((nr, path.clone(), std::mem::replace(&mut entry.1, half)));
                }
                (nr, path)
            }
        };
        std::fs::write(stage.sides[nr].tree.root.join(&path), &world.sides[nr][&path].1).expect("write");
        stage.see(nr, Rest::Settled);
        stage.put(&mut index, nr);
        stage.answer_merges(&mut index);
        let truth = stage.truth();
        replay.look(&stage, &index, truth);
    }
    replay
}

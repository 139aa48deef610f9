//! B2: fleets of 8, 16 and 32 work trees on three hosts, with dozens of conflicts each: every one is found with a tenth of the merges
//! of all pairs, and what would be sent between hosts grows with what changed, not with the repository.

use std::collections::BTreeSet;

use rr_core::live::Rest;
use rr_core::overlap::{Index, Options, Question};

use crate::clashes::{Size, fleet};
use crate::report::{Table, share};
use crate::stage::{Stage, git, git_output, key, pairs};
use crate::textual::{Judged, Pairs, set_up, told};
use crate::world::{Tree, World};

/// How many, and of how many seeds: some as fleets work by themselves, in which hardly anybody meets; the rest in each other's way.
const FLEETS: [(usize, u64, u64); 3] = [(8, 1, 12), (16, 1, 5), (32, 1, 2)];
const FILES: usize = 400;
const EDITS: usize = 5;
/// So many times as many files, and as many edits, are the other sizes at which bytes are counted.
const TIMES: usize = 4;
const MERGED_MAX: f64 = 0.10;
/// Fewer would say little of recall.
const CONFLICTS_MIN: usize = 12;
/// Of bytes sent, for a repository of [`TIMES`] the size and the same edits.
const LARGER_REPO_MAX: f64 = 1.25;
/// Names of objects, lines and symbols, beside the changed contents themselves.
const BYTES_PER_CHANGED_MAX: f64 = 1.0;

#[derive(Default)]
struct Bytes {
    sets: usize,
    packs: usize,
    changed: usize,
    all: usize,
}

pub(crate) fn run(table: &mut Table) {
    for (count, quiet, clashing) in FLEETS {
        let (mut judged, mut bytes) = (Judged::default(), Bytes::default());
        let size = Size { sides: count, files: FILES, edits: EDITS };
        let quiet = (0..quiet).map(|seed| (format!("quiet {seed}"), World::realistic(seed, count)));
        let clashing = (0..clashing).map(|seed| (format!("clashing {seed}"), fleet(seed, size)));
        for (name, world) in quiet.chain(clashing) {
            let mut stage = set_up(&world);
            let (found, wanted) = watched(&mut stage);
            let truth: Pairs = stage.truth().into_keys().collect();
            let asked: Pairs = pairs(count).into_iter().collect();
            judged.add(&name, &found, &truth, &asked, stage.merges);
            bytes.add(&stage, &world, &wanted);
        }
        report(table, count, &judged, CONFLICTS_MIN);
        bytes.report(table, count);
    }
    two_sizes(table);
}

/// The same fleet, in a larger repository, and with more edits.
fn two_sizes(table: &mut Table) {
    let size = Size { sides: 16, files: FILES, edits: EDITS };
    let sizes = [size, Size { files: FILES * TIMES, ..size }, Size { edits: EDITS * TIMES, ..size }];
    let [one, larger, busier] = sizes.map(|size| {
        let world = fleet(0, size);
        let mut stage = set_up(&world);
        let (_, wanted) = watched(&mut stage);
        let mut bytes = Bytes::default();
        bytes.add(&stage, &world, &wanted);
        bytes
    });
    let shown = |bytes: &Bytes| format!("{} KiB", bytes.sent() / 1024);
    let value = format!("{} against {}", shown(&larger), shown(&one));
    let floor = format!("all contents {} KiB against {} KiB", larger.all / 1024, one.all / 1024);
    let ratio = share(larger.sent(), one.sent());
    let name = format!("bytes in a repository {TIMES} times as large");
    table.row("B2", &name, &value, &floor, "ratio <= 1.25", ratio <= LARGER_REPO_MAX);
    let value = format!("{} against {}", shown(&busier), shown(&one));
    let floor = format!("changed {} KiB against {} KiB", busier.changed / 1024, one.changed / 1024);
    let (sent, changed) = (share(busier.sent(), one.sent()), share(busier.changed, one.changed));
    let is_met = busier.sent() > one.sent() && sent <= changed;
    let name = format!("bytes with {TIMES} times as many edits");
    table.row("B2", &name, &value, &floor, "more, and no faster than what changed", is_met);
}

/// What is found, and whose contents the watcher's host has to fetch for it.
pub(crate) fn watched(stage: &mut Stage) -> (Pairs, BTreeSet<usize>) {
    let mut index = Index::new(Options::default());
    for nr in 0..stage.sides.len() {
        stage.see(nr, Rest::Settled);
        stage.put(&mut index, nr);
    }
    let asked = index.questions();
    let merges = asked.iter().filter(|question| !matches!(question, Question::Check { .. }));
    let keys = merges.flat_map(|question| index.asked_by(question)).flatten();
    let here = key(0).host;
    let wanted = keys.filter(|key| key.host != here).map(|key| stage.number(&key)).collect();
    stage.answer_merges(&mut index);
    (told(stage, &index), wanted)
}

/// So many conflicts are to be there, or the row says nothing.
pub(crate) fn report(table: &mut Table, count: usize, judged: &Judged, conflicts_min: usize) {
    let ours = &judged.ours;
    let value = format!("{}, merged {:.1} %", ours.shown(), ours.merged() * 100.0);
    let met = ours.is_exact() && ours.truths >= conflicts_min && ours.merged() <= MERGED_MAX;
    let floor = format!("{} merges of all pairs", ours.pairs);
    table.row("B2", &format!("{count} work trees"), &value, &floor, "recall 1.00, merged <= 10 %", met);
    for (name, blind) in [("clean", &judged.clean), ("conflict", &judged.conflict)] {
        let passes = blind.is_exact() && blind.merged() <= MERGED_MAX;
        let value = format!("{}, merged {:.0} %", blind.shown(), blind.merged() * 100.0);
        table.blind("B2", &format!("{name}, {count} work trees"), &value, passes);
    }
}

impl Bytes {
    fn add(&mut self, stage: &Stage, world: &World, wanted: &BTreeSet<usize>) {
        let size = |tree: &Tree| tree.values().map(|(_, content)| content.len()).sum::<usize>();
        for (nr, side) in world.sides.iter().enumerate() {
            let set = serde_json::to_vec(&stage.sides[nr].set).expect("it is written");
            self.sets += set.len();
            self.all += size(side);
            let changed = side.iter().filter(|(path, entry)| world.base.get(*path) != Some(entry));
            self.changed += changed.map(|(_, (_, content))| content.len()).sum::<usize>();
        }
        self.packs += wanted.iter().map(|nr| thin_pack(stage, *nr)).sum::<usize>();
    }

    fn sent(&self) -> usize {
        self.sets + self.packs
    }

    fn report(&self, table: &mut Table, count: usize) {
        let sent = self.sent();
        let ratio = share(sent, self.changed);
        let kib = |bytes: usize| bytes / 1024;
        let value = format!(
            "{} KiB (change sets {}, packs {}), {ratio:.2} of {} KiB changed",
            kib(sent),
            kib(self.sets),
            kib(self.packs),
            kib(self.changed)
        );
        let floor = format!("all contents {} KiB", kib(self.all));
        let met = ratio <= BYTES_PER_CHANGED_MAX;
        table.row("B2", &format!("bytes of {count} work trees"), &value, &floor, "<= 1.00 of what changed", met);
    }
}

/// What a host sends of a side whose contents another needs.
fn thin_pack(stage: &Stage, nr: usize) -> usize {
    let commit = stage.true_commit(nr);
    let revisions = format!("{commit}\n^{}\n", stage.target.commit);
    let args = ["pack-objects", "--revs", "--thin", "--stdout", "-q"];
    let done = git_output(&stage.clone, &args, &[], revisions.as_bytes());
    assert!(done.status.success(), "{}", git(&stage.clone, &["version"]));
    done.stdout.len()
}

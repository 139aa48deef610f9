//! B3: how quiet it is. Edits are replayed one after the other, on half-written files too; every word that is said is counted against
//! the conflicts that git itself sees. Then each rule of [`Told`] and [`Hot`] by itself.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::live::{FileChange, GitPath, Lines};
use rr_core::overlap::{Answer, Edited, Event, Finding, FindingId, Hot, Index, Level, Options, Told};

use crate::dice::Dice;
use crate::git::{Git, key};
use crate::judge::{Conflicts, told};
use crate::pure::{change_set, entry};
use crate::world::{World, edit_text};

#[derive(Debug, Default)]
struct Tally {
    alerts: usize,
    conflicts: usize,
    repeats: usize,
    missed: usize,
}

#[derive(Default)]
struct Replay {
    told: Told,
    before: Conflicts,
    /// Alerts that stand, by name, with the conflict that has never gone away since.
    standing: BTreeMap<FindingId, (usize, usize)>,
    tally: Tally,
}

impl Replay {
    fn look(&mut self, index: &Index, truth: Conflicts, sides: usize) {
        let findings = index.findings();
        assert_eq!(told(&findings, sides), truth);
        for (pair, paths) in &truth {
            let known = self.before.get(pair);
            self.tally.conflicts +=
                paths.iter().filter(|path| known.is_none_or(|known| !known.contains(*path))).count();
        }
        self.standing.retain(|_, pair| truth.contains_key(pair));
        for event in self.told.step(&findings) {
            let (Event::New(finding) | Event::Worse(finding) | Event::Changed(finding)) = &event else { continue };
            if finding.level < Level::Conflict {
                continue;
            }
            self.tally.alerts += 1;
            let pair = finding.sides.each_ref().map(|side| (0..sides).find(|nr| key(*nr) == *side).expect("a side"));
            let again = self.standing.insert(finding.id.clone(), (pair[0].min(pair[1]), pair[0].max(pair[1])));
            self.tally.repeats += usize::from(matches!(event, Event::New(_)) && again.is_some());
        }
        let open: BTreeSet<_> = self.told.open().map(|(id, _)| id.clone()).collect();
        self.tally.missed += findings.iter().filter(|f| f.level >= Level::Conflict && !open.contains(&f.id)).count();
        self.before = truth;
    }
}

#[test]
fn each_conflict_is_told_once_over_a_replay_of_edits() {
    let mut all = Tally::default();
    for seed in 0..4 {
        let dice = &mut Dice::new(seed + 77);
        let mut world = World::shared(seed, 6);
        let paths: Vec<String> = world.base.keys().cloned().collect();
        let (mut index, mut replay) = (Index::new(Options::default()), Replay::default());
        let mut git = Git::of(&world);
        let mut half_written: Option<(usize, String, Vec<u8>)> = None;
        for _ in 0..40 {
            let mut nr = dice.below(6);
            if let Some((writer, path, whole)) = half_written.take() {
                nr = writer;
                world.sides[nr].get_mut(&path).expect("it is there").1 = whole;
            } else {
                let path = dice.pick(&paths);
                let entry = world.sides[nr].get_mut(path).expect("it is there");
                entry.1 = edit_text(dice, &entry.1);
                if dice.one_in(6) {
                    let half = entry.1[..entry.1.len() / 2].to_vec();
                    half_written = Some((nr, path.clone(), std::mem::replace(&mut entry.1, half)));
                }
            }
            git.look(&world);
            index.put(key(nr), Some(git.change_set(nr)));
            git.answer_all(&mut index);
            replay.look(&index, git.truth(), 6);
        }
        let Tally { alerts, conflicts, repeats, missed } = replay.tally;
        println!("replay {seed}: {alerts} alerts, {conflicts} conflicts, {repeats} repeats, {missed} missed");
        all.alerts += alerts;
        all.conflicts += conflicts;
        all.repeats += repeats;
        all.missed += missed;
    }
    assert!(all.conflicts >= 20, "too quiet to tell: {all:?}");
    assert!(all.alerts * 100 <= all.conflicts * 125, "at most 1.25 a conflict: {all:?}");
    assert_eq!((all.repeats, all.missed), (0, 0), "{all:?}");
}

fn edit(path: &str, base: u32, lines: &[u32], to: u32) -> FileChange {
    let ranges = lines.iter().map(|start| Lines { start: *start, count: 1 }).collect();
    FileChange { ranges, ..FileChange::of(path.into(), entry(base), entry(to)) }
}

/// What the index says of two that conflict at these lines.
fn conflict(path: &str, base: u32, lines: &[u32]) -> Vec<Finding> {
    let mut index = Index::new(Options::default());
    for nr in [0, 1] {
        let to = 10 + u32::try_from(nr).expect("small");
        index.put(key(nr), Some(change_set(nr, vec![edit(path, base, lines, to)])));
    }
    for question in index.questions() {
        let paths = vec![(path.into(), String::new())];
        index.answer(&question, Answer::Conflict { paths, excerpt: String::new() });
    }
    let found = index.findings();
    assert_eq!(found[0].level, Level::Conflict);
    found
}

fn words(events: &[Event]) -> Vec<&'static str> {
    let word = |event: &Event| match event {
        Event::New(_) => "new",
        Event::Worse(_) => "worse",
        Event::Changed(_) => "changed",
        Event::Cleared(_) => "cleared",
    };
    events.iter().map(word).collect()
}

#[test]
fn a_finding_is_told_once_and_cleared_once() {
    let (now, mut told) = (conflict("a.rs", 1, &[3]), Told::default());
    assert_eq!(words(&told.step(&now)), ["new"]);
    for _ in 0..10 {
        assert!(told.step(&now).is_empty());
    }
    let after: Vec<_> = (0..6).flat_map(|_| told.step(&[])).collect();
    assert_eq!(after, [Event::Cleared(now[0].id.clone())]);
    assert_eq!(words(&told.step(&now)), ["new"], "what was cleared and comes back is news");
}

#[test]
fn what_comes_and_goes_within_a_few_looks_is_told_once() {
    let (now, mut told) = (conflict("a.rs", 1, &[3]), Told::default());
    let mut said = Vec::new();
    for away in [1, 2, 2, 1] {
        said.extend(told.step(&now));
        (0..away).for_each(|_| said.extend(told.step(&[])));
    }
    assert_eq!(words(&said), ["new"]);
}

#[test]
fn it_is_told_again_only_when_it_reaches_somewhere_new() {
    let mut told = Told::default();
    let mut say = |now: &[Finding]| words(&told.step(now)).join(" ");
    assert_eq!(say(&conflict("a.rs", 1, &[30])), "new");
    assert_eq!(say(&conflict("a.rs", 1, &[30, 31])), "", "grown by the next line");
    assert_eq!(say(&conflict("a.rs", 1, &[32])), "", "and by one that touches what was told");
    assert_eq!(say(&conflict("a.rs", 1, &[30, 60])), "changed", "another place");
    assert_eq!(say(&conflict("a.rs", 1, &[60])), "", "one of them is resolved");
    assert_eq!(say(&conflict("a.rs", 1, &[30, 60])), "", "and back");
    assert_eq!(say(&conflict("a.rs", 2, &[37, 67])), "", "the target has moved: other numbers, as many places");
    assert_eq!(say(&conflict("a.rs", 2, &[37, 67, 90])), "changed");
    assert_eq!(say(&conflict("b.rs", 1, &[3])), "changed", "another file of the same two");
}

#[test]
fn it_is_told_again_when_it_gets_worse_but_not_when_it_gets_better() {
    let now = conflict("a.rs", 1, &[3]);
    let with = |level| vec![Finding { level, ..now[0].clone() }];
    let mut told = Told::default();
    for (level, said) in [
        (Level::Shared, ""),
        (Level::Symbol, "new"),
        (Level::Conflict, "worse"),
        (Level::Symbol, ""),
        (Level::Conflict, ""),
        (Level::Broken, "worse"),
    ] {
        assert_eq!(words(&told.step(&with(level))).join(" "), said, "{level:?}");
    }
}

#[test]
fn another_one_goes_on_from_what_was_told() {
    let now = conflict("a.rs", 1, &[3]);
    let mut first = Told::default();
    first.step(&now);
    first.step(&[]);
    let saved = serde_json::to_string(&first).expect("it is written");
    let mut second: Told = serde_json::from_str(&saved).expect("and read");
    assert_eq!(first, second);
    assert!(second.step(&now).is_empty());
    assert_eq!((0..3).flat_map(|_| second.step(&[])).count(), 1);
}

#[test]
fn what_stands_counts_as_told_and_what_does_not_stand_as_cleared_whatever_was_saved() {
    let (here, other) = (conflict("a.rs", 1, &[3]), conflict("a.rs", 1, &[60]));
    // Put where everybody reads it, and its teller ended before it had saved that.
    let mut told = Told::default();
    told.agree(&here);
    assert!(told.step(&here).is_empty(), "not twice");
    assert_eq!(words(&told.step(&other)), ["changed"], "with all that is known of it");
    assert_eq!((0..3).flat_map(|_| told.step(&[])).count(), 1, "and it is cleared");
    // Cleared there, and not saved.
    let mut told = Told::default();
    told.step(&here);
    told.agree(&[]);
    assert_eq!(words(&told.step(&here)), ["new"]);
    // A worse level that was told stays known.
    let with = |level| vec![Finding { level, ..here[0].clone() }];
    let mut told = Told::default();
    told.step(&with(Level::Broken));
    told.agree(&with(Level::Conflict));
    assert!(told.step(&with(Level::Broken)).is_empty());
}

#[test]
fn hot_files_are_quieter_and_told_last() {
    let edited = |path: &str, commits, sessions| Edited { path: path.into(), commits, sessions };
    let all = [edited("CHANGELOG.md", 60, 12), edited("a.rs", 30, 1), edited("b.rs", 3, 2), edited("busy.rs", 9, 9)];
    let hot = Hot::learn(&all, 200, 20);
    let is_hot: Vec<bool> = all.iter().map(|file| hot.is_hot(&file.path)).collect();
    assert_eq!(is_hot, [true, false, false, false], "many hands and many commits, both");
    let finding = |path: &str, level| Finding { paths: vec![path.into()], level, ..conflict(path, 1, &[3])[0].clone() };
    let now = vec![
        finding("CHANGELOG.md", Level::Symbol),
        finding("CHANGELOG.md", Level::Conflict),
        finding("b.rs", Level::Shared),
        finding("a.rs", Level::Symbol),
        finding("new.rs", Level::Symbol),
        finding("a.rs", Level::Conflict),
    ];
    let told: Vec<(u8, GitPath)> =
        hot.worth_telling(now).into_iter().map(|finding| (finding.level.into(), finding.paths[0].clone())).collect();
    let expected = [(2, "a.rs"), (2, "CHANGELOG.md"), (1, "new.rs"), (1, "a.rs")];
    assert_eq!(told, expected.map(|(level, path)| (level, GitPath::from(path))));
    assert_eq!(hot, serde_json::from_str(&serde_json::to_string(&hot).expect("written")).expect("read"));
}

//! The machine dies at every call that the journal makes of the disk, with every kind of luck: what was acknowledged is there,
//! nothing else is wrong, and writing goes on. And the program dies in the middle of each byte it writes.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Luck, Machine, Op, Recorded, all, call, done_of, entry, session};
use rr_journal::{Came, Entry, Event, Journal, Options, Reader};

/// Throws of the dice at each step, besides the best and the worst luck.
const THROWS: u64 = 20;
const CALLS: u64 = 9;

/// Small, so that a few calls end segments, which are then sealed.
fn options() -> Options {
    Options { segment_bytes: 3 << 10, note_delay: Duration::from_millis(1), ..Options::default() }
}

/// A life of the journal: what was done to the disk, and what was written under which number.
fn life(dir: &Path) -> (Vec<Op>, BTreeMap<u64, Entry>) {
    let disk = Recorded::default();
    let (journal, _) = Journal::open(dir, &options(), Arc::new(disk.clone())).expect("opened");
    let mut written = BTreeMap::new();
    for n in 0..CALLS {
        let entries = call(u8::try_from(n % 3).expect("small"), n);
        let last = disk.append(&journal, entries.clone()).expect("kept");
        let first = last + 1 - entries.len() as u64;
        written.extend((first..).zip(entries));
        journal.note(done_of(u8::try_from(n % 3).expect("small"), n));
    }
    let last = entry(1, "last", Event::SessionEnded { how: "done".into() });
    let sequence = disk.append(&journal, vec![last.clone()]).expect("kept");
    written.insert(sequence, last);
    drop(journal);
    (disk.ops(), written)
}

/// What is wrong after a machine with this folder has started again. `None`: nothing.
fn complaint(machine: &Machine, luck: Luck, written: &BTreeMap<u64, Entry>) -> Option<String> {
    let dir = tempfile::tempdir().expect("a folder");
    machine.dies_into(dir.path(), luck);
    let opened = Journal::open(dir.path(), &options(), Arc::new(Recorded::default()));
    let Ok((journal, recovered)) = opened else { return Some("it does not open".into()) };
    if !recovered.damage.is_empty() {
        return Some(format!("a crash is taken for damage: {:?}", recovered.damage));
    }
    if recovered.head.sequence < machine.told {
        return Some(format!("told {}, kept {}", machine.told, recovered.head.sequence));
    }
    let again = entry(9, "again", Event::Told { text: "after".into() });
    let sequence = journal.append_blocking(vec![again.clone()]).expect("it goes on");
    drop(journal);
    let found = Reader::open(dir.path()).query(&rr_journal::Filter::default()).collect::<Result<BTreeMap<_, _>, _>>();
    let found = match found {
        Ok(found) => found,
        Err(damage) => return Some(format!("not readable: {damage}")),
    };
    let lost = written.range(..=machine.told).find(|(sequence, entry)| found.get(sequence) != Some(entry));
    if let Some((sequence, _)) = lost {
        return Some(format!("entry {sequence} was told and is not there"));
    }
    if !found.keys().copied().eq(1..=sequence) || found.get(&sequence) != Some(&again) {
        return Some(format!("numbers are not in a row: {:?}", found.keys()));
    }
    let checked = Reader::open(dir.path()).verify();
    (!checked.damage.is_empty()).then(|| format!("the chain is broken: {:?}", checked.damage))
}

/// The first step and luck at which something is wrong.
fn first_complaint(ops: &[Op], written: &BTreeMap<u64, Entry>) -> Option<String> {
    let mut machine = Machine::default();
    for step in 0..=ops.len() {
        let luck = (0..THROWS).map(|n| Luck::Dice(step as u64 * THROWS + n)).chain([Luck::None, Luck::All]);
        for luck in luck {
            if let Some(wrong) = complaint(&machine, luck, written) {
                return Some(format!("dead before step {step} of {}, {luck:?}: {wrong}", ops.len()));
            }
        }
        if let Some(op) = ops.get(step) {
            machine.run(op);
        }
    }
    None
}

#[test]
fn a_machine_that_dies_at_any_step_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ops, written) = life(dir.path());
    let has = |wanted: fn(&Op) -> bool| ops.iter().any(wanted);
    assert!(has(|op| matches!(op, Op::Rename { .. })) && has(|op| matches!(op, Op::Remove(_))), "segments are sealed");
    let told = ops.iter().filter(|op| matches!(op, Op::Told(_))).count() as u64;
    assert_eq!(told, CALLS + 1);
    assert_eq!(first_complaint(&ops, &written), None);
}

#[cfg(debug_assertions)]
#[test]
fn b14_a_journal_that_answers_before_it_has_synced_is_found() {
    let planted = rr_core::bugs::plant(rr_core::bugs::Bug::B14);
    let dir = tempfile::tempdir().expect("a folder");
    let (ops, written) = life(dir.path());
    drop(planted);
    let found = first_complaint(&ops, &written).expect("it was not found");
    assert!(found.contains("told"), "{found}");
}

#[test]
fn a_program_that_dies_within_any_byte_of_a_batch_leaves_a_journal_that_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ops, written) = life(dir.path());
    let batches = ops
        .iter()
        .enumerate()
        .filter(|(_, op)| matches!(op, Op::Write { bytes, .. } if bytes.starts_with(b"RRj") && bytes.len() < 4 << 10));
    let (number, _) = batches.clone().nth(3).expect("batches were written");
    let mut before = Machine::default();
    ops[..number].iter().for_each(|op| before.run(op));
    let Op::Write { path, at, bytes } = &ops[number] else { panic!("a write") };
    for len in 0..=bytes.len() {
        let mut machine = before.clone();
        machine.run(&Op::Write { path: path.clone(), at: *at, bytes: bytes[..len].to_vec() });
        assert_eq!(complaint(&machine, Luck::All, &written), None, "dead within byte {len} of {}", bytes.len());
    }
}

#[test]
fn a_start_tells_how_far_each_call_came() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = common::open(dir.path());
    let told = |entries: Vec<Entry>| journal.append_blocking(entries).expect("kept");
    let [a, b, c] = [call(1, 1), call(1, 2), call(2, 3)];
    told(a[..1].to_vec());
    told(b[..2].to_vec());
    told(c.clone());
    told(call(2, 4));
    told(vec![done_of(2, 4)]);
    drop(journal);
    let (journal, recovered) = common::open(dir.path());
    let came: Vec<_> = recovered.open_calls.iter().map(|open| (open.call.as_str(), open.came, open.first)).collect();
    let expected = [
        ("toolu_00000001", Came::Intent, 1),
        ("toolu_00000002", Came::Snapped, 2),
        ("toolu_00000003", Came::Started, 4),
    ];
    assert_eq!(came, expected);
    let Event::Snapped { files } = &c[1].event else { panic!("kept files") };
    assert_eq!(&recovered.open_calls[2].files, files);
    assert_eq!(recovered.open_calls[2].session, Some(session(2)));
    // What the next life settles is no longer open in the one after.
    let text = "crashed".into();
    journal.append_blocking(vec![entry(1, "", Event::SessionEnded { how: text }), done_of(2, 3)]).expect("kept");
    drop(journal);
    assert_eq!(common::open(dir.path()).1.open_calls, vec![]);
}

#[test]
fn a_call_stays_open_over_the_end_of_its_segment() {
    let dir = tempfile::tempdir().expect("a folder");
    let small = Options { segment_bytes: 2 << 10, ..Options::default() };
    let (journal, _) = Journal::open(dir.path(), &small, Arc::new(Recorded::default())).expect("opened");
    journal.append_blocking(call(5, 100)).expect("kept");
    for n in 0..40 {
        journal.append_blocking(call(1, n)).expect("kept");
        journal.append_blocking(vec![done_of(1, n)]).expect("kept");
    }
    drop(journal);
    assert!(std::fs::read_dir(dir.path()).expect("there").count() > 4, "segments have ended");
    let (_, recovered) = common::open(dir.path());
    let open: Vec<_> = recovered.open_calls.iter().map(|open| (open.call.as_str(), open.came, open.first)).collect();
    assert_eq!(open, [("toolu_00000100", Came::Started, 1)]);
    assert_eq!(all(dir.path()).len(), 3 + 40 * 4);
}

//! Somebody, or the disk, changes what was written: each kind of it is found, said where it lies, and costs no entry but
//! those that lay there.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Recorded, call, done_of, entry, spoil};
use rr_journal::{Checked, Entry, Event, Filter, Gaps, Journal, Options, Reader, RealDisk, Wrong};

const CALLS: u64 = 40;
/// What is at the front of each batch on disk.
const BATCH: &[u8] = b"RRjb";

fn write(dir: &Path, segment_bytes: u64) -> u64 {
    let options = Options { segment_bytes, ..Options::default() };
    let (journal, _) = Journal::open(dir, &options, Arc::new(Recorded::default())).expect("opened");
    for n in 0..CALLS {
        journal.append_blocking(call(1, n)).expect("kept");
        journal.append_blocking(vec![done_of(1, n)]).expect("kept");
    }
    journal.head().sequence
}

fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).expect("there").map(|entry| entry.expect("named").path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
    files.sort();
    files
}

/// Where each batch begins.
fn batches(log: &Path) -> Vec<usize> {
    let bytes = fs::read(log).expect("read");
    (0..bytes.len()).step_by(64).filter(|at| bytes[*at..].starts_with(BATCH)).collect()
}

fn verify(dir: &Path) -> Checked {
    Reader::open(dir).verify()
}

/// The numbers that can be read, and how many times damage is told.
fn readable(dir: &Path) -> (Vec<u64>, usize) {
    let (mut numbers, mut damage) = (vec![], 0);
    for find in Reader::open(dir).query(&Filter::default()) {
        match find {
            Ok((sequence, _)) => numbers.push(sequence),
            Err(_) => damage += 1,
        }
    }
    (numbers, damage)
}

fn only(wrong: Wrong, checked: &Checked) {
    assert!(!checked.damage.is_empty(), "nothing was found");
    assert!(checked.damage.iter().all(|damage| damage.wrong == wrong), "{:?}", checked.damage);
}

#[test]
fn an_untouched_journal_has_no_damage_in_either_form() {
    for segment_bytes in [1 << 20, 4 << 10] {
        let dir = tempfile::tempdir().expect("a folder");
        let last = write(dir.path(), segment_bytes);
        let checked = verify(dir.path());
        assert_eq!((checked.damage.as_slice(), checked.entries, checked.head.sequence), (&[][..], last, last));
        assert_eq!(readable(dir.path()), ((1..=last).collect(), 0));
        assert_eq!(Reader::open(dir.path()).gaps(), Gaps::default());
        assert_eq!(files(dir.path(), "sealed").is_empty(), segment_bytes > 4 << 10);
    }
}

#[test]
fn a_changed_byte_in_the_log_costs_one_batch_and_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let last = write(dir.path(), 1 << 20);
    let log = &files(dir.path(), "log")[0];
    let whole = fs::read(log).expect("read");
    for at in [8, 30, 62, 64, 100] {
        let place = batches(log)[20] + at;
        spoil(log, place as u64, &[whole[place] ^ 1]);
        let (numbers, damage) = readable(dir.path());
        // The batch with number 20 is the eleventh call's first.
        let expected: Vec<u64> = (1..=last).filter(|n| !(41..=43).contains(n)).collect();
        assert_eq!((numbers, damage), (expected, 1), "byte {at}");
        only(Wrong::Changed, &verify(dir.path()));
        fs::write(log, &whole).expect("written");
    }
    // It goes on, and the damage stays told.
    spoil(log, batches(log)[20] as u64 + 70, &[0xff]);
    let (journal, recovered) = common::open(dir.path());
    assert_eq!((recovered.damage.len(), recovered.head.sequence), (1, last));
    journal.append_blocking(call(1, 99)).expect("kept");
    assert_eq!(verify(dir.path()).damage.len(), 1);
}

#[test]
fn what_was_cut_out_swapped_or_blanked_is_found_by_the_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let last = write(dir.path(), 1 << 20);
    let log = &files(dir.path(), "log")[0];
    let (whole, at) = (fs::read(log).expect("read"), batches(log));
    // A call's first batch and the one after the next have the same length: two that could be swapped.
    let (a, b, c) = (at[20], at[21], at[22]);
    let mut swapped = whole.clone();
    let len = b - a;
    swapped[a..b].copy_from_slice(&whole[c..c + len]);
    swapped[c..c + len].copy_from_slice(&whole[a..b]);
    fs::write(log, &swapped).expect("written");
    only(Wrong::Chain, &verify(dir.path()));
    // One taken out, what follows moved up.
    let mut cut = whole.clone();
    cut.drain(a..b);
    cut.resize(whole.len(), 0);
    fs::write(log, &cut).expect("written");
    only(Wrong::Chain, &verify(dir.path()));
    assert_eq!(gap(dir.path()), (Wrong::Chain, 40), "and is no secret to who only asks");
    // Zeros in the middle are no end.
    let mut blank = whole.clone();
    blank[a..b].fill(0);
    fs::write(log, &blank).expect("written");
    only(Wrong::Blanked, &verify(dir.path()));
    assert_eq!(readable(dir.path()).0.len() as u64, last - 3);
}

#[test]
fn a_log_that_ends_too_early_is_found_however_it_was_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let last = write(dir.path(), 1 << 20);
    let log = &files(dir.path(), "log")[0];
    let (whole, at) = (fs::read(log).expect("read"), batches(log));
    for end in [at[30], at[30] + 64] {
        fs::write(log, &whole[..end]).expect("written");
        only(Wrong::Truncated, &verify(dir.path()));
    }
    // Zeros over the last batches look like a log that ends there; the head beside it knows better.
    let mut blank = whole.clone();
    blank[at[70]..].fill(0);
    fs::write(log, &blank).expect("written");
    only(Wrong::Truncated, &verify(dir.path()));
    assert_eq!(gap(dir.path()), (Wrong::Truncated, 140));
    let (journal, recovered) = common::open(dir.path());
    assert_eq!((recovered.damage[0].wrong, recovered.head.sequence), (Wrong::Truncated, last));
    assert_eq!(journal.append_blocking(call(1, 99)).expect("kept"), last + 3, "no number is given twice");
    assert_eq!(gap(dir.path()), (Wrong::Missing, 140), "it stays known");
}

#[test]
fn a_damaged_sealed_segment_costs_its_own_entries_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let last = write(dir.path(), 4 << 10);
    let sealed = files(dir.path(), "sealed");
    assert!(sealed.len() > 3);
    let (first, next) = (first_of(&sealed[1]), first_of(&sealed[2]));
    let whole = fs::read(&sealed[1]).expect("read");
    for at in [0, whole.len() / 2, whole.len() - 40, whole.len() - 10, whole.len() - 1] {
        spoil(&sealed[1], at as u64, &[whole[at] ^ 1]);
        let (numbers, damage) = readable(dir.path());
        let others = || (1..=last).filter(|n| !(first..next).contains(n));
        assert!(others().all(|n| numbers.contains(&n)), "byte {at}");
        let checked = verify(dir.path());
        assert!(damage > 0 || !checked.damage.is_empty(), "byte {at} was changed unseen");
        assert!(checked.damage.iter().all(|damage| damage.file == sealed[1]), "byte {at}: {:?}", checked.damage);
        fs::write(&sealed[1], &whole).expect("written");
    }
    fs::remove_file(&sealed[1]).expect("removed");
    only(Wrong::Missing, &verify(dir.path()));
    assert_eq!(gap(dir.path()), (Wrong::Missing, first - 1));
    fs::write(&sealed[1], &whole).expect("written");
    fs::remove_file(&sealed[0]).expect("removed");
    only(Wrong::Missing, &verify(dir.path()));
    assert_eq!(gap(dir.path()), (Wrong::Missing, 0));
}

/// The one place where entries are missing: what is wrong, and after which entry.
fn gap(dir: &Path) -> (Wrong, u64) {
    let gaps = Reader::open(dir).gaps();
    let [damage] = gaps.damage.as_slice() else { panic!("not one: {gaps:?}") };
    (damage.wrong, damage.after)
}

fn first_of(path: &Path) -> u64 {
    let name = path.file_name().expect("named").to_str().expect("text");
    name[..20].parse().expect("a number")
}

#[test]
fn what_is_forgotten_on_purpose_is_no_damage() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options { segment_bytes: 4 << 10, keep_bytes: 2_500, ..Options::default() };
    let (journal, _) = Journal::open(dir.path(), &options, Arc::new(RealDisk)).expect("opened");
    for n in 0..CALLS {
        journal.append_blocking(call(1, n)).expect("kept");
    }
    let forgotten = || {
        let before = |(_, entry): (u64, Entry)| match entry.event {
            Event::Forgotten { before } => Some(before),
            _ => None,
        };
        common::all(dir.path()).into_iter().filter_map(before).max()
    };
    // It happens beside the calls, and is written down before.
    while forgotten().is_none() {
        std::thread::yield_now();
    }
    drop(journal);
    let checked = verify(dir.path());
    assert!(checked.damage.is_empty(), "{:?}", checked.damage);
    assert!(checked.first > 1, "nothing was forgotten");
    assert_eq!(forgotten(), Some(checked.first));
    assert_eq!(Reader::open(dir.path()).gaps(), Gaps { begins: Some(checked.first), damage: vec![] });
}

#[test]
fn a_second_writer_is_refused_and_secrets_are_gone_before_the_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = common::open(dir.path());
    let second = Journal::open(dir.path(), &Options::default(), Arc::new(RealDisk));
    assert!(second.is_err_and(|error| error.to_string().contains("another process")));
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let said: Entry = entry(1, "a", Event::Told { text: format!("use {secret}").into() });
    journal.append_blocking(vec![said]).expect("kept");
    let unmasked: Vec<u8> = fs::read(&files(dir.path(), "log")[0]).expect("read").iter().map(|b| b ^ 0xa5).collect();
    let has = |text: &str| unmasked.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!has(&secret[..12]) && has("use [redacted]"));
    use std::os::unix::fs::PermissionsExt as _;
    for path in [files(dir.path(), "log").remove(0), dir.path().join("journal.lock")] {
        assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}

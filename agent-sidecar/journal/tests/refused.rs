//! A disk that is full, broken or gone: who asked is told, what was acknowledged stays, and it works again by itself.

mod common;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{all, call, done_of, entry};
use rr_journal::{Disk, Event, Journal, JournalError, Options, Reader, RealDisk};

/// So many calls of the disk succeed; then none does until it is mended.
#[derive(Clone, Default)]
struct Failing {
    left: Arc<AtomicI64>,
    full: bool,
    refused: Arc<AtomicU64>,
}

impl Failing {
    fn after(calls: i64, full: bool) -> Self {
        Self { left: Arc::new(AtomicI64::new(calls)), full, refused: Arc::default() }
    }

    fn mend(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }

    fn ask(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        let kind = if self.full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(kind.into())
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.ask()?;
        RealDisk.create(path)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.ask() {
            // A disk that fills up takes a part.
            RealDisk.write(file, path, &bytes[..bytes.len() / 2], at)?;
            return Err(error);
        }
        RealDisk.write(file, path, bytes, at)
    }

    fn sync(&self, _: &File, _: &Path) -> io::Result<()> {
        self.ask()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.ask()
    }

    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.ask()?;
        RealDisk.shorten(file, path, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask()?;
        RealDisk.remove(path)
    }
}

fn options() -> Options {
    Options { segment_bytes: 3 << 10, note_delay: Duration::from_millis(1), ..Options::default() }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::yield_now();
    }
}

/// Writes until it is refused, mends the disk, goes on, and looks at everything.
fn story(calls: i64, full: bool) -> Option<JournalError> {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), Failing::after(calls, full));
    let (journal, _) = Journal::open(dir.path(), &options(), Arc::new(disk.clone())).expect("opened");
    let mut kept = vec![];
    let mut refused = None;
    for n in 0..12 {
        let entries = call(1, n);
        match journal.append_blocking(entries.clone()) {
            Ok(last) => kept.extend((last - 2..).zip(entries)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
        journal.note(done_of(1, n));
    }
    if refused.is_some() {
        assert!(!journal.is_writable(), "after {calls}");
    }
    disk.mend();
    wait_until("a disk that works again", || journal.is_writable());
    let entries = call(2, 100);
    let last = journal.append_blocking(entries.clone()).expect("it works again");
    kept.extend((last - 2..).zip(entries));
    drop(journal);
    let found = all(dir.path());
    for acknowledged in &kept {
        assert!(found.contains(acknowledged), "after {calls}: {} is lost", acknowledged.0);
    }
    let checked = Reader::open(dir.path()).verify();
    assert!(checked.damage.is_empty(), "after {calls}: {:?}", checked.damage);
    let (_, recovered) = common::open(dir.path());
    assert_eq!((recovered.head.sequence, recovered.damage), (found.len() as u64, vec![]), "after {calls}");
    refused
}

#[test]
fn a_disk_that_fills_up_at_any_call_refuses_clearly_and_loses_nothing() {
    let refused: Vec<JournalError> = (0..60).filter_map(|calls| story(calls, true)).collect();
    assert!(refused.len() > 20, "it was refused {} times only", refused.len());
    assert!(refused.iter().all(|error| matches!(error, JournalError::Full(_)) && error.is_retryable()), "{refused:?}");
}

#[test]
fn a_disk_that_breaks_at_any_call_refuses_clearly_and_loses_nothing() {
    let refused: Vec<JournalError> = (0..60).filter_map(|calls| story(calls, false)).collect();
    assert!(refused.len() > 20, "it was refused {} times only", refused.len());
    assert!(refused.iter().all(|error| matches!(error, JournalError::Unwritable(_))), "{refused:?}");
}

#[test]
fn notes_wait_for_the_disk_and_those_without_room_are_counted() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), Failing::after(i64::MAX, true));
    let (journal, _) = Journal::open(dir.path(), &options(), Arc::new(disk.clone())).expect("opened");
    journal.append_blocking(call(1, 0)).expect("kept");
    disk.left.store(0, Ordering::SeqCst);
    assert!(journal.append_blocking(call(1, 1)).is_err());
    const NOTES: u64 = 40_000;
    (0..NOTES).for_each(|n| journal.note(entry(1, &n.to_string(), Event::Told { text: "hello".into() })));
    disk.mend();
    wait_until("a disk that works again", || journal.is_writable());
    journal.append_blocking(call(1, 2)).expect("it works again");
    drop(journal);
    let (mut kept, mut missed) = (0, 0);
    for (_, entry) in all(dir.path()) {
        match entry.event {
            Event::Told { .. } => kept += 1,
            Event::Missed { notes } => missed += notes,
            _ => {}
        }
    }
    assert!(kept > 0 && missed > 0, "{kept} kept, {missed} missed");
    assert_eq!(kept + missed, NOTES);
}

#[test]
fn what_is_too_long_is_refused_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = common::open(dir.path());
    let many = (0..200_000).map(|n| common::intent(1, &format!("{n}"), "src/a.rs")).collect();
    assert!(matches!(journal.append_blocking(many), Err(JournalError::TooLong { .. })));
    assert_eq!(journal.append_blocking(vec![]), Ok(0));
    assert_eq!(journal.append_blocking(call(1, 1)), Ok(3));
}

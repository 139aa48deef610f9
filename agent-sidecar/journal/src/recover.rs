//! A start: what the last life left is read, a write that a crash cut short is wiped, and writing goes on where the chain
//! ends. What is damaged stays as it is, for whoever wants to look; a new segment begins behind it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use crate::codec;
use crate::committer::{Committer, Shared};
use crate::disk::Disk;
use crate::error::JournalError;
use crate::folder::{self, Form, SegmentName};
use crate::journal::{Open, Options, Recovered};
use crate::log::{Active, ChainHead, Log};
use crate::open_calls::OpenCalls;
use crate::query::damage_at;
use crate::queue::Queue;
use crate::reader::Damage;
use crate::scan::{self, Batch, Begin, Depth, End, Scan, Wrong};
use crate::sealed;
use crate::sealer::Sealer;
use crate::witness;

/// The sealer looks at all that is there: one word that waits is enough.
const SEALER_WORDS_MAX: usize = 1;

pub(crate) fn open(dir: &Path, options: &Options, disk: Arc<dyn Disk>) -> Result<(Open, Recovered), JournalError> {
    let owner = folder::own(dir)?;
    let failed = |error: &io::Error| JournalError::Open { folder: dir.to_owned(), why: error.to_string() };
    for path in folder::left_over(dir).map_err(|e| failed(&e))? {
        // It does no harm; the next start tries again.
        drop(disk.remove(&path));
    }
    let mut found =
        Found { head: ChainHead::default(), open: OpenCalls::default(), damage: vec![], last: None, used: None };
    found.read_all(dir).map_err(|e| failed(&e))?;
    found.compare(dir);
    let active = found.last.take().and_then(|last| last.make_ready(dir, &*disk));
    let recovered = Recovered { open_calls: found.open.list(), damage: found.damage, head: found.head };
    let log = Log { disk, dir: dir.to_owned(), head: found.head, active, used: found.used };
    let open = start(log, found.open, options, owner).map_err(|e| failed(&e))?;
    Ok((open, recovered))
}

fn start(log: Log, open: OpenCalls, options: &Options, owner: File) -> io::Result<Open> {
    let (dir, disk) = (log.dir.clone(), Arc::clone(&log.disk));
    let shared = Arc::new(Shared {
        queue: Queue::default(),
        head: Mutex::new(log.head),
        writable: AtomicBool::new(true),
        syncs: AtomicU64::new(0),
    });
    let (words, heard) = sync_channel(SEALER_WORDS_MAX);
    let sealer = Sealer { dir: dir.clone(), disk, shared: Arc::clone(&shared), options: options.clone() };
    let sealing = thread::Builder::new().name("journal-seal".into()).spawn(move || sealer.run(&heard))?;
    let mut committer = Committer {
        shared: Arc::clone(&shared),
        log,
        open,
        segment_bytes: options.segment_bytes,
        note_delay: options.note_delay,
        sealer: words,
        witnessed: Instant::now(),
    };
    // Before the first call: whether it can be written is known then, and what an earlier life has left is sealed.
    committer.begin();
    let committing = thread::Builder::new().name("journal-commit".into()).spawn(move || committer.run())?;
    Ok(Open { shared, dir, threads: Mutex::new(vec![committing, sealing]), _owner: owner })
}

#[derive(Default)]
struct Found {
    head: ChainHead,
    open: OpenCalls,
    damage: Vec<Damage>,
    /// The log to go on with.
    last: Option<Last>,
    /// The newest name.
    used: Option<SegmentName>,
}

/// The newest log, if nothing in it speaks against writing behind its last batch.
struct Last {
    name: SegmentName,
    at: u64,
    bytes: Vec<u8>,
}

impl Found {
    fn read_all(&mut self, dir: &Path) -> io::Result<()> {
        let names = folder::segments(dir)?;
        self.used = names.last().cloned();
        // The head of the last sealed segment is where the logs begin; each log says which calls were open at its own begin.
        let logs_from = names.iter().rposition(|name| name.form == Form::Sealed);
        if let Some(sealed) = logs_from.map(|at| &names[at]) {
            match sealed::summary(dir, sealed) {
                Ok(summary) => self.head = summary.head,
                Err(damage) => self.damage.push(damage),
            }
        }
        let logs = &names[logs_from.map_or(0, |at| at + 1)..];
        let ends = logs.iter().skip(1).map(|next| next.first).chain([u64::MAX]);
        for (name, end) in logs.iter().zip(ends) {
            self.read_log(dir, name, end)?;
        }
        Ok(())
    }

    fn read_log(&mut self, dir: &Path, name: &SegmentName, end: u64) -> io::Result<()> {
        let path = name.path(dir);
        let bytes = fs::read(&path)?;
        let mut scan = scan::scan(&bytes, Depth::Chain);
        scan.batches.retain(|batch| batch.first < end);
        let continues = scan.begin.as_ref().is_none_or(|begin| (begin.first, begin.previous) == self.next());
        if !continues && self.head != ChainHead::default() {
            self.damage.push(Damage {
                file: path.clone(),
                wrong: Wrong::Chain,
                at: 0,
                len: 0,
                after: self.head.sequence,
            });
        }
        self.damage.extend(scan.found.iter().map(|found| damage_at(&path, found)));
        self.take(&scan);
        // Of one whose begin is damaged at least its name is known: what is written from now on comes behind it.
        self.head.sequence = self.head.sequence.max(name.first.saturating_sub(1));
        let usable = scan.end != End::Damaged && scan.begin.is_some();
        self.last = usable.then(|| Last { name: name.clone(), at: scan.at as u64, bytes });
        Ok(())
    }

    const fn next(&self) -> (u64, [u8; 32]) {
        (self.head.sequence + 1, self.head.hash)
    }

    fn take(&mut self, scan: &Scan) {
        if let Some(begin) = &scan.begin {
            self.open = opened(begin);
        }
        scan.batches.iter().for_each(|batch| see(batch, &mut self.open));
        if let Some((sequence, hash)) = scan.head() {
            self.head = ChainHead { sequence, hash };
        }
    }

    /// Against the head that was written down beside the log. Numbers that were given once are not given again.
    fn compare(&mut self, dir: &Path) {
        let Some(witnessed) = witness::read(dir) else { return };
        let is_short = witnessed.sequence > self.head.sequence;
        let is_other = witnessed.sequence == self.head.sequence && witnessed.hash != self.head.hash;
        if is_short || is_other {
            let wrong = if is_short { Wrong::Truncated } else { Wrong::Chain };
            let file = self.used.as_ref().map_or_else(|| dir.to_owned(), |name| name.path(dir));
            self.damage.push(Damage { file, wrong, at: 0, len: 0, after: self.head.sequence });
            self.head = witnessed;
            self.last = None;
        }
    }
}

impl Last {
    /// Wipes what a crash left behind the last batch. Nothing, if the disk does not let it: then a new segment is begun.
    fn make_ready(self, dir: &Path, disk: &dyn Disk) -> Option<Active> {
        let path = self.name.path(dir);
        let ready = OpenOptions::new().read(true).write(true).open(&path).and_then(|file| {
            let at = usize::try_from(self.at).unwrap_or(usize::MAX);
            let written = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if written > at {
                disk.write(&file, &path, &vec![0; written - at], self.at)?;
            }
            // What the last life wrote and did not sync was read as if it were durable.
            disk.sync(&file, &path)?;
            disk.sync_folder(dir)?;
            Ok(file)
        });
        match ready {
            Ok(file) => Some(Active { file, name: self.name, path, at: self.at, allocated: self.bytes.len() as u64 }),
            Err(error) => {
                tracing::warn!(%error, "the journal goes on in a new segment");
                None
            }
        }
    }
}

/// The calls that were open when a segment was begun. What cannot be read of them is left out.
fn opened(begin: &Begin) -> OpenCalls {
    let mut open = OpenCalls::default();
    let mut rest = begin.payload.as_slice();
    while let Ok(mut one) = codec::get_bytes(&mut rest) {
        if let (Ok(sequence), Ok(entry)) = (codec::get_number(&mut one), codec::decode(one)) {
            open.see(sequence, entry);
        }
    }
    open
}

fn see(batch: &Batch, open: &mut OpenCalls) {
    let mut rest = batch.payload.as_slice();
    for sequence in (batch.first..).take(batch.count as usize) {
        if let Ok(Ok(entry)) = codec::get_bytes(&mut rest).map(codec::decode) {
            open.see(sequence, entry);
        }
    }
}

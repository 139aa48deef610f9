//! The one thread that writes: it takes all that waits, makes it durable with one sync, and only then answers. When the disk
//! refuses, all who wait are told so, notes stay for later, and it tries again by itself. Nobody else touches the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::codec::{self, Inline};
use crate::entry::{Entry, Event};
use crate::error::JournalError;
use crate::folder::SegmentName;
use crate::log::{ChainHead, Log};
use crate::open_calls::OpenCalls;
use crate::queue::{Job, Next, Queue};
use crate::witness;

/// How often a disk that refused is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// How often the head is written down beside the log.
const WITNESS_EVERY: Duration = Duration::from_secs(5);

/// What the handles and the threads share.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) head: Mutex<ChainHead>,
    pub(crate) writable: AtomicBool,
    pub(crate) syncs: std::sync::atomic::AtomicU64,
}

impl Shared {
    pub(crate) fn head(&self) -> MutexGuard<'_, ChainHead> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) open: OpenCalls,
    pub(crate) segment_bytes: u64,
    pub(crate) note_delay: Duration,
    /// Told which segment is written now: those before it are to be sealed.
    pub(crate) sealer: SyncSender<SegmentName>,
    pub(crate) witnessed: Instant,
}

impl Committer {
    /// Makes the first segment, and has those of an earlier life sealed.
    pub(crate) fn begin(&mut self) {
        self.repair();
        self.call_sealer();
    }

    /// Until the journal is closed.
    pub(crate) fn run(mut self) {
        let _guard = PanicGuard(Arc::clone(&self.shared));
        loop {
            let writable = self.shared.writable.load(Ordering::Relaxed);
            let next = if writable {
                self.shared.queue.next(self.note_delay, Some(WITNESS_EVERY))
            } else {
                self.shared.queue.next(RETRY_EVERY, Some(RETRY_EVERY))
            };
            match next {
                Next::Batch { jobs, missed } => self.commit(jobs, missed),
                Next::Nothing if writable => self.witness(),
                Next::Nothing => self.repair(),
                Next::Closed => break,
            }
        }
        self.witness();
    }

    fn commit(&mut self, mut jobs: Vec<Job>, missed: u64) {
        if missed > 0 {
            jobs.insert(0, missed_note(missed));
        }
        let parts: Vec<&[u8]> = jobs.iter().map(|job| job.bytes.as_slice()).collect();
        let payload = parts.concat();
        let entries: usize = jobs.iter().map(|job| job.entries.len()).sum();
        if entries == 0 {
            // Those who only ask whether all before them is durable: it is, or it would be among the jobs.
            answer(&mut jobs, self.log.head.sequence + 1, |_| true);
            return;
        }
        let count = u32::try_from(entries).unwrap_or(u32::MAX);
        let first = self.log.head.sequence + 1;
        let written = self.log.write(count, &payload, &|| begin(&self.open));
        let done = written.and_then(|hash| {
            answer(&mut jobs, first, |job| job.answer_early);
            self.log.sync(count, hash)
        });
        match done {
            Ok(()) => {
                *self.shared.head() = self.log.head;
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                self.set_writable(true);
                answer(&mut jobs, first, |_| true);
                self.remember(jobs, first);
                self.tidy();
            }
            Err(error) => self.refuse(jobs, &error, missed),
        }
    }

    fn refuse(&mut self, jobs: Vec<Job>, error: &JournalError, missed: u64) {
        if self.shared.writable.load(Ordering::Relaxed) {
            tracing::error!(%error, "the journal cannot be written: calls that change something are refused until it can");
        }
        self.set_writable(false);
        let mut notes = Vec::new();
        for mut job in jobs {
            match job.reply.take() {
                // Who has gone needs no answer.
                Some(reply) => drop(reply.send(Err(error.clone()))),
                None if is_missed_note(&job) => {}
                None => notes.push(job),
            }
        }
        self.shared.queue.put_back(notes, missed);
    }

    fn remember(&mut self, jobs: Vec<Job>, first: u64) {
        let entries = jobs.into_iter().flat_map(|job| job.entries);
        (first..).zip(entries).for_each(|(sequence, entry)| self.open.see(sequence, entry));
    }

    /// What can wait until the batch is answered.
    fn tidy(&mut self) {
        let is_long = self.log.active.as_ref().is_some_and(|active| active.at >= self.segment_bytes);
        if is_long {
            self.log.end_segment();
            self.repair();
            self.call_sealer();
            self.witness();
        } else {
            self.log.replenish();
        }
        if self.witnessed.elapsed() >= WITNESS_EVERY {
            self.witness();
        }
    }

    fn call_sealer(&self) {
        let Some(active) = &self.log.active else { return };
        if let Err(TrySendError::Disconnected(_)) = self.sealer.try_send(active.name.clone()) {
            tracing::warn!("nobody compresses the journal's segments any more");
        }
    }

    fn repair(&mut self) {
        let done = self.log.repair(&|| begin(&self.open));
        if done.is_ok() && !self.shared.writable.load(Ordering::Relaxed) {
            tracing::info!("the journal can be written again");
        }
        self.set_writable(done.is_ok());
    }

    fn set_writable(&self, writable: bool) {
        self.shared.writable.store(writable, Ordering::Relaxed);
    }

    /// Only what is durable is witnessed; the file itself need not be.
    fn witness(&mut self) {
        self.witnessed = Instant::now();
        witness::write(&self.log.dir, self.log.head);
    }
}

fn answer(jobs: &mut [Job], first: u64, whom: impl Fn(&Job) -> bool) {
    let mut last = first - 1;
    for job in jobs {
        last += job.entries.len() as u64;
        if whom(job)
            && let Some(reply) = job.reply.take()
        {
            // Who has gone needs no answer.
            drop(reply.send(Ok(last)));
        }
    }
}

fn missed_note(notes: u64) -> Job {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_unix_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let event = Event::Missed { notes };
    let entry = Entry { at_unix_ms, session: None, agent_id: None, call: None, revision: 0, event };
    let mut bytes = Vec::new();
    codec::put_bytes(&mut bytes, &codec::encode(&entry));
    Job { entries: vec![entry], bytes, reply: None, answer_early: false }
}

fn is_missed_note(job: &Job) -> bool {
    matches!(job.entries.as_slice(), [Entry { event: Event::Missed { .. }, .. }])
}

/// What a segment starts with: the calls that are open, as their entries.
pub(crate) fn begin(open: &OpenCalls) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut one = Vec::new();
    for (sequence, entry) in open.entries() {
        one.clear();
        codec::put_number(&mut one, *sequence);
        codec::encode_with(entry, &mut Inline, &mut one);
        codec::put_bytes(&mut payload, &one);
    }
    payload
}

/// A committer that ends in any way leaves nobody waiting.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        self.0.writable.store(false, Ordering::Relaxed);
        self.0.queue.abandon();
    }
}

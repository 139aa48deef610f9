//! Entries on their way to the committer, and how it waits for them. Bounded: what must be durable is refused when there is
//! no room, a note is counted instead. It does not know what an entry means.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::entry::Entry;
use crate::error::JournalError;

/// More waiting calls than the agents of one machine make; beyond it waiting would only grow.
const JOBS_MAX: usize = 16 << 10;
const BYTES_MAX: usize = 32 << 20;
/// Notes may fill so much of it: while the disk refuses they pile up, and must not stand in the way of what comes after.
const NOTES_PART: usize = 4;
/// One batch: long enough that all who wait share a sync, short enough that none waits for megabytes of others.
const BATCH_JOBS_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 4 << 20;

pub(crate) type Reply = oneshot::Sender<Result<u64, JournalError>>;

/// Entries that are written together, in this order.
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    /// The same, encoded: each with its length in front.
    pub(crate) bytes: Vec<u8>,
    /// None for notes: nobody waits.
    pub(crate) reply: Option<Reply>,
    /// For a test of the tests: answered before it is durable.
    pub(crate) answer_early: bool,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Jobs that somebody waits for.
    awaited: usize,
    /// When the oldest note came.
    noted: Option<Instant>,
    missed: u64,
    closed: bool,
    /// The committer sleeps: while it writes it needs no call, it looks when it has written.
    sleeps: bool,
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

pub(crate) enum Next {
    Batch {
        jobs: Vec<Job>,
        missed: u64,
    },
    /// Nothing came within the patience.
    Nothing,
    Closed,
}

impl Queue {
    pub(crate) fn push(&self, job: Job) -> Result<(), JournalError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(JournalError::Closed);
        }
        let is_note = job.reply.is_none();
        let part = if is_note { NOTES_PART } else { 1 };
        if waiting.jobs.len() >= JOBS_MAX / part || waiting.bytes + job.bytes.len() > BYTES_MAX / part {
            if is_note {
                waiting.missed += job.entries.len() as u64;
            }
            return Err(JournalError::Busy);
        }
        waiting.bytes += job.bytes.len();
        let wake = if is_note {
            waiting.noted.get_or_insert_with(Instant::now);
            // It waits for company: the committer must only know until when.
            waiting.jobs.is_empty()
        } else {
            waiting.awaited += 1;
            true
        };
        waiting.jobs.push_back(job);
        let wake = wake && std::mem::take(&mut waiting.sleeps);
        drop(waiting);
        if wake {
            self.woken.notify_one();
        }
        Ok(())
    }

    /// Waits until somebody waits, a note is older than `delay`, or nothing came for `patience`.
    pub(crate) fn next(&self, delay: Duration, patience: Option<Duration>) -> Next {
        let came = Instant::now();
        let mut waiting = self.lock();
        loop {
            if waiting.awaited > 0 || (waiting.closed && !waiting.jobs.is_empty()) {
                return drain(&mut waiting);
            }
            if waiting.closed {
                return Next::Closed;
            }
            let due = waiting.noted.map(|noted| noted + delay);
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return drain(&mut waiting);
            }
            let tired = patience.map(|patience| came + patience);
            if tired.is_some_and(|tired| tired <= now) {
                return Next::Nothing;
            }
            waiting.sleeps = true;
            let until = [due, tired].into_iter().flatten().min();
            waiting = match until {
                None => self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(until) => self.woken.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Notes of a batch that could not be written, back to where they were.
    pub(crate) fn put_back(&self, notes: Vec<Job>, missed: u64) {
        let mut waiting = self.lock();
        waiting.missed += missed;
        if waiting.closed {
            return;
        }
        for note in notes.into_iter().rev() {
            waiting.bytes += note.bytes.len();
            waiting.jobs.push_front(note);
        }
        waiting.noted = (!waiting.jobs.is_empty()).then(Instant::now);
    }

    /// Refuses everything from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.woken.notify_one();
    }

    /// Refuses everything from now on, and forgets what waits: who waits is told so by its dropped reply.
    pub(crate) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        drop(std::mem::take(&mut waiting.jobs));
    }

    /// Nothing panics while holding the lock; a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drain(waiting: &mut Waiting) -> Next {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    while jobs.len() < BATCH_JOBS_MAX
        && let Some(job) = waiting.jobs.front()
        && (jobs.is_empty() || bytes + job.bytes.len() <= BATCH_BYTES_MAX)
        && let Some(job) = waiting.jobs.pop_front()
    {
        bytes += job.bytes.len();
        waiting.awaited -= usize::from(job.reply.is_some());
        jobs.push(job);
    }
    waiting.bytes -= bytes;
    if waiting.jobs.is_empty() {
        waiting.noted = None;
    }
    Next::Batch { jobs, missed: std::mem::take(&mut waiting.missed) }
}

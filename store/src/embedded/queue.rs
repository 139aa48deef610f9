//! Requests on their way to the writer, and how it waits for them. Bounded: what does not fit is refused at once.
//! It does not know what a request means; `writer` does.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_core::time::Span;
use tokio::sync::oneshot;

use crate::contract::{LeaseId, Revision, StoreError, Txn, TxnReply};

/// More waiting requests than any fleet on one machine has agents; beyond it waiting would only grow.
const QUEUE_JOBS_MAX: usize = 4_096;
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// One batch: long enough that 64 writers share a sync, short enough that none waits for megabytes of others.
const BATCH_JOBS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

pub(super) enum Ask {
    Txn(Txn),
    Grant(Span),
    Revoke(LeaseId),
    Compact(Revision),
    /// The lease's time is over.
    Expire(LeaseId),
    /// Nothing to write: answered once the leases that are over have been ended.
    Sweep,
}

#[derive(Debug)]
pub(super) enum Answer {
    Txn(TxnReply),
    Lease(LeaseId),
    Revision(Revision),
    Done,
}

pub(super) type Reply = oneshot::Sender<Result<Answer, StoreError>>;

pub(super) struct Job {
    pub(super) ask: Ask,
    /// None where nobody asked (a lease ran out).
    pub(super) reply: Option<Reply>,
    pub(super) bytes: usize,
}

impl Job {
    pub(super) fn answer(self, result: Result<Answer, StoreError>) {
        if let Some(reply) = self.reply {
            // A caller that has gone needs no answer.
            let _ = reply.send(result);
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    writer_sleeps: bool,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

pub(super) enum Next {
    /// Perhaps none: time to look after the leases.
    Batch(Vec<Job>),
    Closed,
}

impl Queue {
    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::Unavailable("the store is closed".into()));
        }
        if waiting.jobs.len() >= QUEUE_JOBS_MAX || waiting.bytes + job.bytes > QUEUE_BYTES_MAX {
            return Err(StoreError::Unavailable("too many writes are waiting".into()));
        }
        waiting.bytes += job.bytes;
        waiting.jobs.push_back(job);
        if waiting.writer_sleeps {
            waiting.writer_sleeps = false;
            drop(waiting);
            self.woken.notify_one();
        }
        Ok(())
    }

    /// Waits for requests, at most `patience` if given.
    pub(super) fn next(&self, patience: Option<Duration>) -> Next {
        let mut waiting = self.lock();
        let mut timed_out = false;
        while waiting.jobs.is_empty() && !waiting.closed && !timed_out {
            waiting.writer_sleeps = true;
            (waiting, timed_out) = self.wait(waiting, patience);
        }
        waiting.writer_sleeps = false;
        if waiting.closed && waiting.jobs.is_empty() {
            return Next::Closed;
        }
        Next::Batch(drain(&mut waiting))
    }

    /// Refuses everything from now on; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.woken.notify_one();
    }

    /// Refuses everything from now on, and hands back what waits.
    pub(super) fn abandon(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        waiting.closed = true;
        std::mem::take(&mut waiting.jobs).into()
    }

    fn wait<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        patience: Option<Duration>,
    ) -> (MutexGuard<'a, Waiting>, bool) {
        match patience {
            None => (self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner), false),
            Some(patience) => {
                let woken = self.woken.wait_timeout(waiting, patience);
                let (waiting, result) = woken.unwrap_or_else(PoisonError::into_inner);
                (waiting, result.timed_out())
            }
        }
    }

    /// Nothing panics while holding the lock; a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drain(waiting: &mut Waiting) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_JOBS_MAX
        && let Some(job) = waiting.jobs.pop_front()
    {
        bytes += job.bytes;
        batch.push(job);
        if bytes >= BATCH_BYTES_MAX {
            break;
        }
    }
    waiting.bytes -= bytes;
    batch
}

//! The one thread that writes: it takes all requests that wait, evaluates each in order over a draft, makes the batch
//! durable with one sync, shows it to readers, and only then answers. Nobody else touches the log.
//!
//! A thread of its own, and not the caller that comes first: a sync takes 0.1 ms on a good day and ten seconds on a bad
//! one (hazard H10), and a caller is a task that shares its thread with the gate, which must be able to say no meanwhile.

use std::sync::Arc;
use std::time::Duration;

use rr_core::time::Clock;

use super::draft::Draft;
use super::frame::FrameBuilder;
use super::log::{AppendError, Log, Room};
use super::queue::{Answer, Ask, Job, Next};
use super::record::{self, Record};
use super::shared::{Memory, Shared};
use crate::contract::{LeaseId, StoreError};

/// How often the clock is asked whether a lease is over. The clock may be another than the one that wakes threads (it
/// counts sleep), so no single longer wait can stand for it.
const EXPIRY_POLL: Duration = Duration::from_millis(100);

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Log,
    pub(super) clock: Arc<dyn Clock>,
}

type Outcome = Result<Answer, StoreError>;

impl Writer {
    /// Until the store is closed or broken.
    pub(super) fn run(mut self) {
        let _guard = PanicGuard(Arc::clone(&self.shared));
        loop {
            let patience = (!self.shared.leases().is_empty()).then_some(EXPIRY_POLL);
            let Next::Batch(jobs) = self.shared.queue.next(patience) else {
                break;
            };
            let due = self.shared.leases().take_due(self.clock.now());
            let expired = due.into_iter().map(|lease| Job { ask: Ask::Expire(lease), reply: None, bytes: 0 });
            let batch: Vec<_> = expired.chain(jobs).collect();
            if batch.is_empty() {
                continue;
            }
            if let Err(why) = self.commit(batch).and_then(|()| self.tidy()) {
                self.fail(&why);
                return;
            }
        }
        self.shared.watchers.close();
    }

    /// One batch, from request to answer. The error is why the store cannot go on.
    fn commit(&mut self, batch: Vec<Job>) -> Result<(), String> {
        let (outcomes, records) = self.evaluate(&batch);
        if records.is_empty() {
            self.shared.count(batch.len(), 0);
            answer(batch, outcomes);
            return Ok(());
        }
        let room = if records.iter().all(Record::only_frees) { Room::Reserved } else { Room::Ordinary };
        match self.log.append(frame_of(&records), room, self.clock.now()) {
            Ok(()) => {
                self.publish(records)?;
                self.shared.count(batch.len(), 1);
                answer(batch, outcomes);
                Ok(())
            }
            Err(AppendError::Full(why)) => self.commit_without_space(batch, &why),
            Err(AppendError::Broken(why)) => {
                let unknown = StoreError::Unknown(why.clone());
                self.shared.mark_broken(&why);
                batch.into_iter().for_each(|job| job.answer(Err(unknown.clone())));
                Err(why)
            }
        }
    }

    /// Each request for itself: those that only read or delete still work.
    fn commit_without_space(&mut self, mut batch: Vec<Job>, why: &str) -> Result<(), String> {
        if batch.len() > 1 {
            let mut rest = batch.into_iter();
            while let Some(job) = rest.next() {
                if let Err(why) = self.commit(vec![job]) {
                    let damaged = StoreError::Damaged(why.clone());
                    rest.for_each(|job| job.answer(Err(damaged.clone())));
                    return Err(why);
                }
            }
            return Ok(());
        }
        if let Some(job) = batch.pop() {
            job.answer(Err(StoreError::NoSpace(why.to_owned())));
        }
        Ok(())
    }

    fn evaluate(&self, batch: &[Job]) -> (Vec<Outcome>, Vec<Record>) {
        let memory = self.shared.memory();
        let mut draft = Draft::new(&memory.state, self.shared.data_bytes_max);
        let outcomes = batch.iter().map(|job| evaluate_one(&mut draft, &job.ask)).collect();
        (outcomes, draft.into_records())
    }

    /// Shows a durable batch to readers, keep-alives and watches, before anybody is answered.
    fn publish(&self, records: Vec<Record>) -> Result<(), String> {
        let now = self.clock.now();
        let mut leases = self.shared.leases();
        let mut memory = self.shared.memory_mut();
        let mut woken = Vec::new();
        for record in records {
            match &record {
                Record::Commit { revision, changes } => self.shared.watchers.touch(*revision, changes, &mut woken),
                Record::Grant { lease, ttl } => leases.start(*lease, *ttl, now),
                Record::End { lease } => leases.forget(*lease),
                _ => {}
            }
            if let Err(why) = memory.take(record) {
                let why = format!("a batch does not fit the state: {why}");
                self.shared.mark_broken(&why);
                return Err(why);
            }
        }
        memory.history.trim();
        drop((memory, leases));
        woken.iter().for_each(|slot| slot.wake());
        Ok(())
    }

    /// What can wait until the batch is answered.
    fn tidy(&mut self) -> Result<(), String> {
        let done = if self.log.wants_compaction() {
            let memory = self.shared.memory();
            self.log.compact(&memory.state, memory.state.revision + 1)
        } else {
            self.log.replenish()
        };
        done.map_err(|(AppendError::Full(why) | AppendError::Broken(why))| why)
    }

    fn fail(&self, why: &str) {
        tracing::error!(why, "the store stops: the disk did not confirm a write");
        self.shared.mark_broken(why);
        let damaged = StoreError::Damaged(why.to_owned());
        self.shared.queue.abandon().into_iter().for_each(|job| job.answer(Err(damaged.clone())));
    }
}

/// A writer that panicked answers nobody any more; those who wait must not wait for ever.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.mark_broken("the writer panicked");
            // Dropping a request answers it: outcome unknown.
            drop(self.0.queue.abandon());
        }
    }
}

impl Memory {
    /// Applies a durable record, and remembers it for watches.
    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        self.state.apply(&record)?;
        match record {
            Record::Commit { revision, changes } => self.history.push(revision, changes),
            Record::Compact { revision } => self.history.forget_below(revision),
            _ => {}
        }
        Ok(())
    }
}

fn evaluate_one(draft: &mut Draft<'_>, ask: &Ask) -> Outcome {
    match ask {
        Ask::Txn(txn) => draft.run(txn).map(Answer::Txn),
        Ask::Grant(ttl) => {
            let lease = new_lease(draft)?;
            draft.grant(lease, *ttl);
            Ok(Answer::Lease(lease))
        }
        Ask::Revoke(lease) | Ask::Expire(lease) => draft.end_lease(*lease).map(Answer::Revision),
        Ask::Compact(revision) => draft.compact(*revision).map(|()| Answer::Done),
        Ask::Sweep => Ok(Answer::Done),
    }
}

/// Random, so that a lease of a lost or replaced store is never taken for one of this.
fn new_lease(draft: &Draft<'_>) -> Result<LeaseId, StoreError> {
    loop {
        let random = getrandom::u64().map_err(|error| StoreError::Unavailable(format!("name a lease: {error}")))?;
        let lease = LeaseId(random.cast_signed() & i64::MAX);
        if lease.0 != 0 && !draft.has_lease(lease) {
            return Ok(lease);
        }
    }
}

fn frame_of(records: &[Record]) -> FrameBuilder {
    let mut frame = FrameBuilder::new();
    records.iter().for_each(|record| record::encode(record, frame.payload()));
    frame
}

fn answer(batch: Vec<Job>, outcomes: Vec<Outcome>) {
    batch.into_iter().zip(outcomes).for_each(|(job, outcome)| job.answer(outcome));
}

//! The handle by which the sidecar writes: `append` for what must be durable before something happens, `note` for the rest.
//! Both keep one order. It cleans entries of secrets before anything else sees them. Next: `committer`, which writes them.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rr_core::bugs::{self, Bug};
use tokio::sync::oneshot;

use crate::clean::clean;
use crate::codec::{self, Inline};
use crate::committer::Shared;
use crate::disk::Disk;
use crate::entry::Entry;
use crate::error::JournalError;
use crate::log::ChainHead;
use crate::open_calls::OpenCall;
use crate::queue::Job;
use crate::reader::{Damage, Reader};
use crate::recover;

/// One call of `append`: a command that changed some ten thousand files.
pub const APPEND_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug)]
pub struct Options {
    /// A segment as long as this is ended and compressed. A query reads the unfinished one whole.
    pub segment_bytes: u64,
    /// What all sealed segments may have together: the oldest go.
    pub keep_bytes: u64,
    /// How long a sealed segment stays at most.
    pub keep_for: Duration,
    /// How long a note may wait for company before it is made durable.
    pub note_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 4 << 20,
            keep_bytes: 1 << 30,
            keep_for: Duration::from_secs(90 * 24 * 60 * 60),
            note_delay: Duration::from_millis(100),
        }
    }
}

/// What a start found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Calls without an end: of those that had started nobody knows what they did.
    pub open_calls: Vec<OpenCall>,
    /// In what a start reads: `rrctl doctor` looks at all.
    pub damage: Vec<Damage>,
    pub head: ChainHead,
}

/// The journal of this machine. Copies of the handle share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Journal(Arc<Open>);

pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
    /// Ended in this order.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held as long as the journal is open.
    pub(crate) _owner: std::fs::File,
}

impl Journal {
    /// Opens the journal in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If another process writes it, or the folder cannot be used. Damage is no error: what can be read stays readable, and
    /// writing goes on.
    pub fn open(dir: &Path, options: &Options, disk: Arc<dyn Disk>) -> Result<(Self, Recovered), JournalError> {
        let (open, recovered) = recover::open(dir, options, disk)?;
        Ok((Self(Arc::new(open)), recovered))
    }

    /// Makes entries durable, all or none, in this order. Answers the sequence number of the last one.
    ///
    /// # Errors
    /// If that was not possible: then they may or may not be found later, and nothing may be done on the strength of them.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<u64, JournalError> {
        if entries.is_empty() {
            return Ok(self.head().sequence);
        }
        let answer = self.send(entries)?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// The same, from a thread that may wait.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_blocking(&self, entries: Vec<Entry>) -> Result<u64, JournalError> {
        if entries.is_empty() {
            return Ok(self.head().sequence);
        }
        let answer = self.send(entries)?;
        answer.blocking_recv().unwrap_or(Err(JournalError::Closed))
    }

    /// Writes an entry down soon: in order with all others, durable with the next that must be, or a little later. While the
    /// journal cannot be written notes wait; those that find no room are counted, and the count is written.
    pub fn note(&self, entry: Entry) {
        let job = Job { answer_early: false, reply: None, ..encoded(vec![entry]) };
        if let Err(error) = self.0.shared.queue.push(job) {
            tracing::debug!(%error, "a note for the journal was not taken");
        }
    }

    /// Waits until all that was noted or appended before is durable, and so to be found by a reader. It writes nothing of its own.
    ///
    /// # Errors
    /// If something of it could not be written: a reader does not find it yet.
    pub async fn settled(&self) -> Result<(), JournalError> {
        let answer = self.send(vec![])?;
        answer.await.unwrap_or(Err(JournalError::Closed)).map(drop)
    }

    fn send(&self, entries: Vec<Entry>) -> Result<oneshot::Receiver<Result<u64, JournalError>>, JournalError> {
        let (reply, answer) = oneshot::channel();
        let job = encoded(entries);
        if job.bytes.len() > APPEND_BYTES_MAX {
            return Err(JournalError::TooLong { bytes: job.bytes.len(), max: APPEND_BYTES_MAX });
        }
        self.0.shared.queue.push(Job { reply: Some(reply), answer_early: bugs::is_on(Bug::B14), ..job })?;
        Ok(answer)
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::open(&self.0.dir)
    }

    /// Whether the last try to write succeeded. While it did not, tries go on by themselves.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.shared.writable.load(Ordering::Relaxed)
    }

    /// The last durable entry.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        *self.0.shared.head()
    }

    /// How many times the disk was waited for since it was opened.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.shared.syncs.load(Ordering::Relaxed)
    }
}

fn encoded(mut entries: Vec<Entry>) -> Job {
    let (mut bytes, mut one) = (Vec::new(), Vec::new());
    for entry in &mut entries {
        clean(entry);
        one.clear();
        codec::encode_with(entry, &mut Inline, &mut one);
        codec::put_bytes(&mut bytes, &one);
    }
    Job { entries, bytes, reply: None, answer_early: false }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal panicked");
            }
        }
    }
}

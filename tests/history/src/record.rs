//! What is kept while a test runs: every call of every client with the times it was made and answered, every call that was
//! let through, every change of the store from its first revision on. Nothing is judged here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use rr_core::id::{Epoch, SessionId, Token};
use rr_core::limits::Timing;
use rr_core::scope::Claim;
use rr_core::time::{BootTime, Clock, Span};
use rr_store::{KeyValue, Keys, Revision, Store, StoreError, WatchEvent};

/// A change of the store, and when the recorder saw it: no earlier than it happened.
#[derive(Clone, Debug)]
pub struct Seen {
    pub event: WatchEvent,
    pub at: BootTime,
}

/// What a client asked for.
#[derive(Clone, Debug)]
pub enum Deed {
    Register,
    Acquire(Vec<Claim>),
    Release {
        key: String,
        token: Token,
    },
    ForceRelease {
        key: String,
        token: Token,
    },
    /// A keep-alive, or the proof after a fence.
    KeepAlive,
    End,
    Pause,
    Resume {
        epoch: Epoch,
    },
    ReadPermit,
}

/// A lock as its holder was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub key: String,
    pub token: Token,
    pub claim: Claim,
}

/// What the client was told.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing, or that the outcome is unknown.
    Unknown,
    /// It did not happen and will not: slot taken, busy, refused, lost, gone.
    No,
    Registered {
        revision: Revision,
    },
    /// `unclean`: tokens and owners of what earlier holders left in the scope.
    Granted {
        revision: Revision,
        locks: Vec<Lock>,
        unclean: Vec<(Token, SessionId)>,
    },
    Released,
    /// It was no longer the caller's.
    WasLost,
    Alive,
    Ended,
    Paused {
        epoch: Epoch,
        hold: String,
    },
    /// Paused, but nothing could be written about it.
    PausedBare {
        epoch: Epoch,
    },
    Resumed {
        epoch: Epoch,
    },
    Read {
        revision: Revision,
        running: bool,
        epoch: Epoch,
    },
}

#[derive(Clone, Debug)]
pub struct Call {
    /// Whose, unless it is nobody's (a pause) or not known yet (a registration without an answer).
    pub session: Option<SessionId>,
    pub invoked: BootTime,
    /// `None`: the caller did not live to hear it.
    pub answered: Option<BootTime>,
    pub deed: Deed,
    pub outcome: Outcome,
}

/// A tool call that a sidecar let through.
#[derive(Clone, Debug)]
pub struct Pass {
    pub session: SessionId,
    pub at: BootTime,
    /// The permit it was let through on.
    pub epoch: Epoch,
    pub locks: Vec<(String, Token)>,
}

/// What one watch delivered, to be compared with what happened.
#[derive(Clone, Debug)]
pub struct Watched {
    pub keys: Keys,
    /// From where it was asked to tell.
    pub from: Revision,
    pub told: Vec<WatchEvent>,
}

/// All there is to judge.
#[derive(Clone, Debug)]
pub struct History {
    /// The fleet's part of the store.
    pub prefix: String,
    pub timing: Timing,
    /// How much later than its lease's end a session may go: what each change of the store's leader adds, and delays.
    pub grace: Span,
    pub events: Vec<Seen>,
    /// The store as it was read after the last event.
    pub last: Vec<KeyValue>,
    /// When the recording ended.
    pub until: BootTime,
    pub calls: Vec<Call>,
    pub passes: Vec<Pass>,
    pub watches: Vec<Watched>,
}

/// A broken watch is opened again after this.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

#[derive(Debug, Default)]
struct Book {
    events: Vec<Seen>,
    calls: Vec<Call>,
    passes: Vec<Pass>,
    watches: Vec<Watched>,
}

/// Shared by all whose doings are recorded. Its clock is the true one, whatever theirs show; its way to the store is its
/// own, without faults.
pub struct Recorder {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    /// The fleet's part of the store.
    prefix: String,
    book: Mutex<Book>,
    /// All changes up to this revision have been recorded.
    followed: AtomicU64,
}

impl Recorder {
    /// Begins to record what happens under `prefix`.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn begin(store: Arc<dyn Store>, prefix: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let recorder =
            Self { clock, store, prefix: prefix.to_owned(), book: Mutex::default(), followed: AtomicU64::new(0) };
        let end = rr_store::Op::put(recorder.end_mark(), "");
        recorder.store.txn(rr_store::Txn::default().then(vec![end])).await?;
        Ok(Arc::new(recorder))
    }

    /// A key whose deletion is the last change of the recording: to delete needs no space.
    fn end_mark(&self) -> String {
        format!("{}recorded", self.prefix)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change is one push: a poisoned lock is still whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn now(&self) -> BootTime {
        self.clock.now()
    }

    /// A call begins. Dropping what is returned records a caller that did not live to hear the answer.
    pub fn open(self: &Arc<Self>, session: Option<&SessionId>, deed: Deed) -> Open {
        let session = session.cloned();
        let call = Call { session, invoked: self.now(), answered: None, deed, outcome: Outcome::Unknown };
        Open { recorder: self.clone(), call: Some(call) }
    }

    pub fn passed(&self, pass: Pass) {
        self.book().passes.push(pass);
    }

    pub fn watched(&self, watched: Watched) {
        self.book().watches.push(watched);
    }

    /// The revision up to which every change is recorded: whatever a test compacts, it must be below this.
    #[must_use]
    pub fn followed(&self) -> Revision {
        self.followed.load(Ordering::Acquire)
    }

    /// Records every change from the first revision on, however often the watch breaks; for as long as nothing was forgotten.
    pub async fn follow(self: Arc<Self>) -> StoreError {
        loop {
            match self.follow_once(Revision::MAX).await {
                Err(error @ StoreError::Compacted { .. }) => return error,
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn follow_once(&self, until: Revision) -> Result<(), StoreError> {
        let mut watch = self.store.watch(Keys::prefix(self.prefix.clone()), self.followed() + 1).await?;
        while self.followed() < until {
            let event = watch.next().await.ok_or_else(|| StoreError::Unavailable("the watch ended".into()))??;
            let (revision, at) = (event.revision, self.now());
            // Two at once, at the end, may have seen the same.
            if self.followed.fetch_max(revision, Ordering::AcqRel) < revision {
                self.book().events.push(Seen { event, at });
            }
        }
        Ok(())
    }

    /// The calls that were answered, and those that passed, since the recording began or was last finished.
    #[must_use]
    pub fn so_far(&self) -> (Vec<Call>, Vec<Pass>) {
        let book = self.book();
        (book.calls.clone(), book.passes.clone())
    }

    /// Everything up to now. No client may be at work any more.
    ///
    /// # Errors
    /// If the store does not answer, or has forgotten what was not recorded: such a history cannot be judged.
    pub async fn finish(&self, timing: Timing) -> Result<History, StoreError> {
        let last = self.store.range(Keys::prefix(self.prefix.clone())).await?;
        let delete = rr_store::Op::Delete(Keys::one(self.end_mark()));
        let end = self.store.txn(rr_store::Txn::default().then(vec![delete])).await?.revision;
        self.follow_once(end).await?;
        let mut book = self.book();
        let mut events = std::mem::take(&mut book.events);
        events.retain(|seen| seen.event.revision <= last.revision);
        Ok(History {
            prefix: self.prefix.clone(),
            timing,
            grace: timing.cool,
            events,
            last: last.kvs,
            until: self.now(),
            calls: std::mem::take(&mut book.calls),
            passes: std::mem::take(&mut book.passes),
            watches: std::mem::take(&mut book.watches),
        })
    }
}

/// A call under way.
pub struct Open {
    recorder: Arc<Recorder>,
    call: Option<Call>,
}

impl Open {
    /// The call was answered now.
    pub fn close(self, outcome: Outcome) {
        self.close_for(None, outcome);
    }

    /// The call was answered now, and was this session's.
    pub fn close_for(mut self, session: Option<&SessionId>, outcome: Outcome) {
        if let Some(mut call) = self.call.take() {
            call.session = session.cloned().or(call.session);
            call.answered = Some(self.recorder.now());
            call.outcome = outcome;
            self.recorder.book().calls.push(call);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.recorder.book().calls.push(call);
        }
    }
}

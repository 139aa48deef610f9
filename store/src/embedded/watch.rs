//! A watch: each reads the shared history from where it stands and sleeps until one of its keys has changed.
//! There is no queue per watch that could overflow: one that is too slow finds its place forgotten, and is told so.
//! Who is to be woken by which change is `watchers`' to know.

use std::sync::Arc;

use futures::stream;
use rr_core::bugs::{self, Bug};

use super::shared::Shared;
use super::watchers::Registered;
use crate::contract::{Keys, Revision, StoreError, WatchEvent, WatchStream};

struct Watcher {
    shared: Arc<Shared>,
    registered: Registered,
    next: Revision,
    ended: bool,
}

pub(super) fn stream(shared: Arc<Shared>, keys: Keys, from: Revision) -> WatchStream {
    let memory = shared.memory();
    let next = if from == 0 { memory.state.revision + 1 } else { from };
    // While nothing can be published: what is in the history by now is read there, and what comes later is told.
    let registered = shared.watchers.register(keys, next);
    drop(memory);
    let watcher = Watcher { shared, registered, next, ended: false };
    Box::pin(stream::unfold(watcher, |mut watcher| async move {
        let item = watcher.next().await?;
        watcher.ended = item.is_err();
        Some((item, watcher))
    }))
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchEvent, StoreError>> {
        while !self.ended {
            // Seen before looking: what comes after the look wakes the wait below.
            let closed = self.shared.watchers.closed();
            if let Err(error) = self.shared.check() {
                return Some(Err(error));
            }
            match self.look() {
                Ok(None) if closed => return None,
                Ok(None) => self.registered.slot().woken().await,
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn look(&mut self) -> Result<Option<WatchEvent>, StoreError> {
        let memory = self.shared.memory();
        let slot = self.registered.slot();
        let Some(touched) = slot.touched() else { return Ok(None) };
        // None of its keys changed before that; were it to look there, it might find a past forgotten that it never missed.
        self.next = self.next.max(touched);
        if bugs::is_on(Bug::B7) {
            self.next = self.next.max(memory.history.known_from());
        }
        let event = memory.history.next(self.next, self.registered.keys())?;
        let seen = event.as_ref().map_or(memory.state.revision, |event| event.revision);
        self.next = self.next.max(seen + 1);
        match event {
            Some(_) => slot.look_again_from(self.next),
            None => slot.settle(),
        }
        Ok(event)
    }
}

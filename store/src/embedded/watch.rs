//! A watch: each reads the shared history from where it stands and sleeps until the store has moved on.
//! There is no queue per watch that could overflow: one that is too slow finds its place forgotten, and is told so.

use std::sync::Arc;

use futures::stream;
use tokio::sync::watch::Receiver;

use super::shared::{Shared, Signal};
use crate::contract::{Keys, Revision, StoreError, WatchEvent, WatchStream};

struct Watcher {
    shared: Arc<Shared>,
    signal: Receiver<Signal>,
    keys: Keys,
    next: Revision,
    ended: bool,
}

pub(super) fn stream(shared: Arc<Shared>, keys: Keys, from: Revision) -> WatchStream {
    let signal = shared.signal.subscribe();
    let next = if from == 0 { shared.memory().state.revision + 1 } else { from };
    let watcher = Watcher { shared, signal, keys, next, ended: false };
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
            let signal = *self.signal.borrow_and_update();
            if let Err(error) = self.shared.check() {
                return Some(Err(error));
            }
            match self.look() {
                Ok(None) if signal == Signal::Closed => return None,
                Ok(None) => self.signal.changed().await.ok()?,
                Ok(Some(event)) => return Some(Ok(event)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn look(&mut self) -> Result<Option<WatchEvent>, StoreError> {
        let memory = self.shared.memory();
        let event = memory.history.next(self.next, &self.keys)?;
        let seen = event.as_ref().map_or(memory.state.revision, |event| event.revision);
        self.next = self.next.max(seen + 1);
        Ok(event)
    }
}

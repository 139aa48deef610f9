//! A part of the store followed for good: listed once, then kept up to date by a watch, and listed again when that ended, was
//! compacted, or fell silent. What its values mean is its callers' business; it answers changed keys, each revision's whole.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rr_core::time::Span;
use rr_store::{Change, KeyValue, Keys, Revision, WatchStream};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{Doing, Fleet, FleetError};

/// After a listing that failed, or a watch that ended, the next listing waits: whoever asks in a loop must not run hot.
const RETRY: Span = Span::from_millis(250);
/// A watch can fall silent without ending. Rare enough that listing everything again costs nothing that counts.
const LOOK_AGAIN: Span = Span::from_secs(60);

pub(crate) struct Listing {
    fleet: Fleet,
    prefix: String,
    /// Mod revisions of what was answered.
    known: BTreeMap<String, Revision>,
    watch: Option<WatchStream>,
    /// What the first listing found, until it is asked for.
    first: Option<Vec<Change>>,
    not_before: Instant,
    look_again: Instant,
}

impl Listing {
    /// Lists all that is there; the first [`Listing::next`] answers it.
    pub(crate) async fn of(fleet: &Fleet, prefix: String) -> Result<Self, FleetError> {
        let (fleet, now) = (fleet.clone(), Instant::now());
        let known = BTreeMap::new();
        let mut list = Self { fleet, prefix, known, watch: None, first: None, not_before: now, look_again: now };
        list.first = Some(list.list().await?);
        Ok(list)
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Whether nothing was answered yet.
    pub(crate) fn is_new(&self) -> bool {
        self.first.is_some()
    }

    /// The first answer is everything that was there, be it nothing; each later one what has changed since. It may be given up at
    /// any moment and asked again. A store that is away is waited for.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>, FleetError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            if let Some(watch) = &mut self.watch {
                match timeout_at(self.look_again, watch.next()).await {
                    Ok(Some(Ok(event))) => {
                        self.note(&event.changes);
                        return Ok(event.changes);
                    }
                    // Ended, compacted or silent: what is there now tells what was missed.
                    Ok(Some(Err(_)) | None) => {
                        (self.watch, self.not_before) = (None, Instant::now() + RETRY.as_std());
                    }
                    Err(_) => self.watch = None,
                }
            }
            match self.list().await {
                Ok(changes) if changes.is_empty() => {}
                Err(error) if error.is_outage() => {
                    tracing::debug!(%error, below = self.prefix, "what is followed cannot be listed, asking again");
                }
                listed => return listed,
            }
        }
    }

    async fn list(&mut self) -> Result<Vec<Change>, FleetError> {
        sleep_until(self.not_before).await;
        self.not_before = Instant::now() + RETRY.as_std();
        let below = Keys::prefix(self.prefix.clone());
        let reply = self.fleet.store.range(below.clone()).await.doing("list what is followed")?;
        // From the list on: nothing can fall between.
        let watch = self.fleet.store.watch(below, reply.revision + 1).await.doing("watch what is followed")?;
        (self.watch, self.not_before) = (Some(watch), Instant::now());
        self.look_again = Instant::now() + LOOK_AGAIN.as_std();
        let changes = self.differences(reply.kvs);
        self.note(&changes);
        Ok(changes)
    }

    fn differences(&self, now: Vec<KeyValue>) -> Vec<Change> {
        let gone = self.known.keys().filter(|key| now.binary_search_by(|kv| kv.key.cmp(key)).is_err());
        let gone: Vec<Change> = gone.map(|key| Change::Delete { key: key.clone() }).collect();
        let other = now.into_iter().filter(|kv| self.known.get(&kv.key) != Some(&kv.mod_revision));
        gone.into_iter().chain(other.map(Change::Put)).collect()
    }

    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(kv) => self.known.insert(kv.key.clone(), kv.mod_revision),
                Change::Delete { key } => self.known.remove(key),
            };
        }
    }
}

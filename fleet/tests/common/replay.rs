//! All that ever happened in a store, from its own watch, and the judgement over each revision of it, which is `rr_history`'s.

use futures::StreamExt as _;
use rr_store::{Change, EmbeddedStore, Keys, Revision, Store, WatchEvent};

use super::PREFIX;

/// Every change since the store was made.
pub async fn events(store: &EmbeddedStore) -> Vec<WatchEvent> {
    let last = store.range(Keys::prefix("")).await.unwrap().revision;
    let mut stream = store.watch(Keys::prefix(PREFIX), 1).await.unwrap();
    let mut all: Vec<WatchEvent> = Vec::new();
    while all.last().is_none_or(|event| event.revision < last) {
        all.push(stream.next().await.unwrap().unwrap());
    }
    all
}

/// Checks every revision. The error names the first at which something does not hold.
pub fn check(events: &[WatchEvent]) -> Result<(), String> {
    rr_history::check_revisions(PREFIX, events).map_err(|broken| broken.to_string())
}

/// The revision at which this key came into being.
pub fn made_at(events: &[WatchEvent], key: &str) -> Vec<Revision> {
    let made = |change: &Change| matches!(change, Change::Put(kv) if kv.key == key && kv.version == 1);
    events.iter().filter(|event| event.changes.iter().any(made)).map(|event| event.revision).collect()
}

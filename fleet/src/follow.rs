//! The fleet's picture kept up to date: read once, then changed by what the watches tell. Whoever looks often (a sidecar at
//! each call, a page) asks this and not the store. It is a hint: what decides is always the store's own answer.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, SelectAll};
use rr_store::{Change, Keys, Revision, StoreError, WatchEvent};

use crate::overview::Row;
use crate::{Doing, Fleet, FleetError, Overview};

/// A picture that follows the store.
pub struct Follower {
    fleet: Fleet,
    rows: BTreeMap<String, Row>,
    revision: Revision,
    watches: SelectAll<BoxStream<'static, Result<WatchEvent, StoreError>>>,
}

impl Fleet {
    /// Follows who is here and who has or waits for what; not how far each has followed a pause.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn follow_work(&self) -> Result<Follower, FleetError> {
        self.follow_below(self.work_prefixes()).await
    }

    /// Follows everything that an overview shows.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn follow(&self) -> Result<Follower, FleetError> {
        self.follow_below(self.seen_prefixes()).await
    }

    async fn follow_below(&self, prefixes: Vec<String>) -> Result<Follower, FleetError> {
        let (rows, revision) = self.rows(prefixes.clone()).await?;
        let mut watches = SelectAll::new();
        for prefix in prefixes {
            // From the read on: nothing can fall between.
            let watch = self.store.watch(Keys::prefix(prefix), revision + 1).await.doing("watch the store")?;
            // One that ends alone must be noticed: its part of the picture would stand still.
            watches.push(watch.chain(stream::once(async { Err(ended()) })).boxed());
        }
        Ok(Follower { fleet: self.clone(), rows: rows.into_iter().collect(), revision, watches })
    }
}

impl Follower {
    /// Takes in the next change and answers the keys that went. After an error the picture no longer follows: start again.
    ///
    /// # Errors
    /// If a watch ended, for whatever reason.
    pub async fn changed(&mut self) -> Result<Vec<String>, FleetError> {
        let event = self.watches.next().await.unwrap_or_else(|| Err(ended())).doing("follow the store")?;
        self.revision = self.revision.max(event.revision);
        Ok(event.changes.into_iter().filter_map(|change| self.take_in(change)).collect())
    }

    fn take_in(&mut self, change: Change) -> Option<String> {
        match change {
            Change::Put(kv) => {
                let key = kv.key.clone();
                match self.fleet.row(kv) {
                    Some(row) => self.rows.insert(key, row),
                    None => self.rows.remove(&key),
                };
                None
            }
            Change::Delete { key } => {
                self.rows.remove(&key);
                Some(key)
            }
        }
    }

    /// How many locks there are.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.rows.values().filter(|row| matches!(row, Row::Lock(_))).count()
    }

    /// The picture as far as it has come.
    ///
    /// # Errors
    /// If the run state cannot be read.
    pub fn overview(&self) -> Result<Overview, FleetError> {
        self.fleet.draw(self.rows.values().cloned(), self.revision)
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("a watch ended".to_owned())
}

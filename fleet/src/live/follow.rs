//! Change sets, and what was sent, kept up to date for whoever compares them. A follower goes on over anything but its own
//! end, and waits for a store that is away.

use rr_core::id::ObjectId;
use rr_core::live::{ChangeSet, TreeKey};
use rr_store::Change;

use crate::keys::Keyspace;
use crate::listing::Listing;
use crate::{Fleet, FleetError};

/// What became of one work tree.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveChange {
    Put(TreeKey, Box<ChangeSet>),
    /// It is not there, or what is told of it cannot be read.
    Gone(TreeKey),
}

/// The change sets of the fleet, as they change.
pub struct LiveFollower(Listing);

/// What was sent, as it is sent.
pub struct SentFollower(Listing);

impl Fleet {
    /// Follows all change sets.
    ///
    /// # Errors
    /// If the store does not answer now. Later it may be away.
    pub async fn follow_live(&self) -> Result<LiveFollower, FleetError> {
        Ok(LiveFollower(Listing::of(self, self.keys.live()).await?))
    }

    /// Follows which contents are at their remotes.
    ///
    /// # Errors
    /// As [`Fleet::follow_live`].
    pub async fn follow_sent(&self) -> Result<SentFollower, FleetError> {
        Ok(SentFollower(Listing::of(self, self.keys.sent()).await?))
    }
}

impl LiveFollower {
    /// First all that was there, at once and be it nothing; then what has changed, each set whole. It may be dropped at any
    /// moment and asked again.
    ///
    /// # Errors
    /// If the store refuses for good. A new follower does not know what this one has said: what is gone it never names.
    pub async fn next(&mut self) -> Result<Vec<LiveChange>, FleetError> {
        let first = self.0.is_new();
        loop {
            let changes = self.0.next().await?;
            let said = self.read(&changes);
            if first || !said.is_empty() {
                return Ok(said);
            }
        }
    }

    fn read(&self, changes: &[Change]) -> Vec<LiveChange> {
        let fleet = self.0.fleet();
        let gone = changes.iter().filter_map(|change| match change {
            Change::Delete { key } => fleet.keys.parse_live(key).filter(|key| key.part.is_none()),
            Change::Put(_) => None,
        });
        let mut said: Vec<LiveChange> = gone.map(|key| LiveChange::Gone(key.tree)).collect();
        let puts = changes.iter().filter_map(|change| match change {
            Change::Put(kv) => Some(kv),
            Change::Delete { .. } => None,
        });
        said.extend(fleet.sets_in(puts).into_iter().map(|(tree, set)| match set {
            Some(set) => LiveChange::Put(tree, Box::new(set)),
            None => LiveChange::Gone(tree),
        }));
        said
    }
}

impl SentFollower {
    /// First all that is there, then what has changed; `None` where nothing is at the remote any more.
    ///
    /// # Errors
    /// As [`LiveFollower::next`].
    pub async fn next(&mut self) -> Result<Vec<(TreeKey, Option<ObjectId>)>, FleetError> {
        let changes = self.0.next().await?;
        let fleet = self.0.fleet();
        let said = changes.iter().filter_map(|change| match change {
            Change::Put(kv) => fleet.sent_in(kv).map(|(tree, id)| (tree, Some(id))),
            Change::Delete { key } => Keyspace::tree_below(&fleet.keys.sent(), key).map(|tree| (tree, None)),
        });
        Ok(said.collect())
    }
}

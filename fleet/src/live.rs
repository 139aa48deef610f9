//! What stands in the work trees of the fleet, as the sidecars tell it: change sets under a lease of their host's sidecar, which
//! trees' contents others want, and which have been sent. `lease` writes, `parts` makes a set fit, `follow` reads along. A set
//! that cannot be read counts as not there, with a warning; what a set means is not known here.

mod follow;
mod lease;
mod parts;
mod want;

use std::collections::BTreeMap;

use rr_core::id::ObjectId;
use rr_core::live::{ChangeSet, TreeKey};
use rr_store::{KeyValue, Keys, Revision};

pub use follow::{LiveChange, LiveFollower, SentFollower};
pub use lease::LiveLease;
pub use parts::LIVE_BYTES_MAX;
pub use want::WantedFollower;

use crate::keys::Keyspace;
use crate::records::decode;
use crate::{Doing, Fleet, FleetError};

/// Work trees that one host may tell of: more than agents fit on a machine.
pub const TREES_PER_HOST_MAX: usize = 256;

impl Fleet {
    /// Every change set that can be read, at one revision.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn live(&self) -> Result<(Vec<(TreeKey, ChangeSet)>, Revision), FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.live())).await.doing("list change sets")?;
        let sets = self.sets_in(reply.kvs.iter());
        Ok((sets.into_iter().filter_map(|(tree, set)| Some((tree, set?))).collect(), reply.revision))
    }

    /// For which tree the contents of each work tree are at its remote.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn sent(&self) -> Result<Vec<(TreeKey, ObjectId)>, FleetError> {
        let reply = self.store.range(Keys::prefix(self.keys.sent())).await.doing("list what was sent")?;
        Ok(reply.kvs.iter().filter_map(|kv| self.sent_in(kv)).collect())
    }

    fn sent_in(&self, kv: &KeyValue) -> Option<(TreeKey, ObjectId)> {
        let tree = Keyspace::tree_below(&self.keys.sent(), &kv.key)?;
        let object = ObjectId::parse(&String::from_utf8_lossy(&kv.value));
        object.inspect_err(|error| tracing::warn!(key = kv.key, %error, "passed over")).ok().map(|id| (tree, id))
    }

    /// The sets whose heads are among these keys of one revision, with their parts. `None`: it is there and cannot be read.
    fn sets_in<'a>(&self, kvs: impl Iterator<Item = &'a KeyValue>) -> Vec<(TreeKey, Option<ChangeSet>)> {
        let (mut heads, mut parts) = (Vec::new(), BTreeMap::new());
        for kv in kvs {
            match self.keys.parse_live(&kv.key) {
                Some(key) if key.part.is_none() => heads.push((key, kv)),
                Some(key) => drop(parts.insert((key.repo, key.tree, key.part), kv)),
                None => {}
            }
        }
        let read = heads.into_iter().map(|(head, kv)| {
            let part = |n| parts.get(&(head.repo.clone(), head.tree.clone(), Some(n))).map(|kv| kv.value.as_slice());
            let set = decode(kv).and_then(|record| parts::whole(kv, record, part));
            let set = set.inspect_err(|error| tracing::warn!(%error, "a change set is passed over")).ok();
            (head.tree, set)
        });
        read.collect()
    }
}

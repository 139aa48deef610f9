//! Which work trees' contents somebody asks for. The leader says it for all; a sidecar follows the few keys of its own host.

use std::collections::BTreeSet;

use rr_core::id::HostId;
use rr_core::live::TreeKey;
use rr_store::{Change, Keys, Op};

use crate::keys::{Keyspace, name_in_key};
use crate::listing::Listing;
use crate::turn::{Step, Turn};
use crate::{Doing, Fleet, FleetError, Leader};

/// Of the whole fleet: as many as anybody would compare at a time, and each costs its sidecar a push.
const WANTED_MAX: usize = 1_000;
/// Changes of one transaction, its turn's beside them.
const BATCH: usize = 100;
/// All that may be wanted goes and all that may be wanted comes.
const ROUNDS_MAX: usize = 2 * WANTED_MAX / BATCH + 1;

/// The trees of one host that are wanted, as that changes.
pub struct WantedFollower {
    list: Listing,
    host: HostId,
    wanted: BTreeSet<String>,
}

impl Fleet {
    /// Says which trees' contents are wanted, in the place of what was wanted before.
    ///
    /// # Errors
    /// If another leads, a name is no name, there are too many, or the store does not answer clearly: a part may be said.
    pub async fn want_live(&self, leader: &Leader, trees: &[TreeKey]) -> Result<(), FleetError> {
        let wanted: BTreeSet<&TreeKey> = trees.iter().collect();
        if wanted.len() > WANTED_MAX {
            return Err(FleetError::TooMany { what: "wanted work trees", max: WANTED_MAX });
        }
        for tree in &wanted {
            name_in_key("work tree", &tree.tree)?;
        }
        let keys: BTreeSet<String> = wanted.into_iter().map(|tree| self.keys.want(tree)).collect();
        let turn = Turn { area: "want", leader: Some(leader), doing: "say which contents are wanted" };
        let prefix = self.keys.wants();
        for _ in 0..ROUNDS_MAX {
            let reads = [Keys::prefix(prefix.clone())];
            let written = self.in_turn(&turn, &reads, |seen| {
                let present: BTreeSet<&str> = seen.below(&prefix).map(|kv| kv.key.as_str()).collect();
                let over = present.iter().filter(|key| !keys.contains(**key));
                let new = keys.iter().filter(|key| !present.contains(key.as_str()));
                let deletes = over.map(|key| Op::Delete(Keys::one(*key)));
                let ops: Vec<Op> = deletes.chain(new.map(|key| Op::put(key.clone(), ""))).take(BATCH).collect();
                Ok(if ops.is_empty() { Step::Done(true) } else { Step::write(ops, false) })
            });
            // Each round writes what is still missing.
            if written.await?.0 {
                return Ok(());
            }
        }
        Err(FleetError::Voided)
    }

    /// The trees of a host whose contents are wanted.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn wanted(&self, host: &HostId) -> Result<Vec<String>, FleetError> {
        let prefix = self.keys.wants();
        let reply = self.store.range(Keys::prefix(self.keys.wants_of(host))).await.doing("list what is wanted")?;
        let trees = reply.kvs.iter().filter_map(|kv| Keyspace::tree_below(&prefix, &kv.key));
        Ok(trees.map(|tree| tree.tree).collect())
    }

    /// Follows what is wanted of one host.
    ///
    /// # Errors
    /// If the store does not answer now. Later it may be away.
    pub async fn follow_wanted(&self, host: &HostId) -> Result<WantedFollower, FleetError> {
        let list = Listing::of(self, self.keys.wants_of(host)).await?;
        Ok(WantedFollower { list, host: host.clone(), wanted: BTreeSet::new() })
    }
}

impl WantedFollower {
    /// All that is wanted now: first at once, then after each change.
    ///
    /// # Errors
    /// If the store refuses for good.
    pub async fn next(&mut self) -> Result<Vec<String>, FleetError> {
        let changes = self.list.next().await?;
        let prefix = self.list.fleet().keys.wants_of(&self.host);
        for change in changes {
            let Some(tree) = change.key().strip_prefix(&prefix).map(str::to_owned) else { continue };
            match change {
                Change::Put(_) => self.wanted.insert(tree),
                Change::Delete { .. } => self.wanted.remove(&tree),
            };
        }
        Ok(self.wanted.iter().cloned().collect())
    }
}

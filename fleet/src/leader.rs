//! Leadership: one actor at a time, by a leased key whose create revision guards every write of that actor (H17). And the one
//! action that needs it so far: refusing the youngest waiter of a ring (H33).

use std::collections::BTreeMap;

use rr_core::id::{HostId, RepoId};
use rr_core::lock::{Place, ring_victims};
use rr_store::{Compare, KeepAlive, Keys, LeaseId, Op, Revision, StoreError, Txn};

use crate::keys::Tree;
use crate::records::{OpRecord, encode};
use crate::{Doing, Fleet, FleetError};

/// The right to act as the leader. Only [`Fleet::campaign`] makes one, and every write made with it compares it.
#[derive(Clone, Debug)]
pub struct Leader {
    pub(crate) key: String,
    lease: LeaseId,
    pub(crate) created: Revision,
}

impl Leader {
    /// Still the leader, when a transaction is decided.
    pub(crate) fn still(&self) -> Compare {
        Compare::created_at(self.key.clone(), self.created)
    }
}

/// A ring of waiters that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The queue entry that was refused.
    pub entry: String,
}

impl Fleet {
    /// Tries once to become the leader of `office`. `None`: somebody else is.
    ///
    /// # Errors
    /// If the store does not answer clearly.
    pub async fn campaign(&self, office: &str, me: &HostId) -> Result<Option<Leader>, FleetError> {
        let lease = self.store.grant(self.timing.lease).await.doing("grant a leader's lease")?;
        let key = self.keys.leader(office);
        let txn = Txn::when(vec![Compare::absent(Keys::one(key.clone()))]).then(vec![Op::put_leased(
            key.clone(),
            me.as_str(),
            lease,
        )]);
        let reply = self.store.txn(txn).await;
        match reply {
            Ok(reply) if reply.succeeded => Ok(Some(Leader { key, lease, created: reply.revision })),
            other => {
                // Lost or unknown: without the lease a late win cannot last.
                self.resign_lease(lease).await;
                other.doing("campaign for leadership").map(|_| None)
            }
        }
    }

    /// Renews the leadership. `false`: it is over.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn keep_leading(&self, leader: &Leader) -> Result<bool, FleetError> {
        Ok(self.store.keep_alive(leader.lease).await.doing("renew leadership")? != KeepAlive::Gone)
    }

    /// Vacates an office that an earlier life of this host holds, so that nobody waits for its lease to run out. Only for a caller
    /// that knows it to be dead: the one process that may have this store open. Whether there was one.
    ///
    /// # Errors
    /// If the store does not answer clearly: then the lease runs out by itself.
    pub async fn vacate(&self, office: &str, me: &HostId) -> Result<bool, FleetError> {
        let key = self.keys.leader(office);
        let Some(held) = self.get(&key, "look who leads").await? else { return Ok(false) };
        if held.value != me.as_str().as_bytes() {
            return Ok(false);
        }
        let txn = Txn::when(vec![Compare::created_at(key.clone(), held.create_revision)])
            .then(vec![Op::Delete(Keys::one(key))]);
        Ok(self.store.txn(txn).await.doing("vacate an office of before")?.succeeded)
    }

    pub async fn resign(&self, leader: &Leader) {
        self.resign_lease(leader.lease).await;
    }

    async fn resign_lease(&self, lease: LeaseId) {
        match self.store.revoke(lease).await {
            Ok(_) | Err(StoreError::LeaseNotFound(_)) => {}
            Err(error) => tracing::debug!(%lease, %error, "left a leader's lease to run out"),
        }
    }

    /// Looks for rings of waiters and refuses the youngest of each. Only a leader may: two at once could refuse two.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn break_rings(&self, leader: &Leader) -> Result<Vec<Ring>, FleetError> {
        let reads = vec![
            Op::Get(Keys::prefix(self.keys.queues())),
            Op::Get(Keys::prefix(self.keys.tree(Tree::Exclusive))),
            Op::Get(Keys::prefix(self.keys.tree(Tree::Shared))),
        ];
        let waiting_only = self.store.range(Keys::prefix(self.keys.queues())).await.doing("list waiters")?;
        if waiting_only.kvs.len() < 2 {
            return Ok(vec![]);
        }
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("look for rings")?;
        let (mut places, mut entries) = (BTreeMap::<RepoId, Place>::new(), Vec::new());
        for kv in reply.replies.into_iter().flat_map(rr_store::OpReply::into_keys) {
            let Some(repo) = self.keys.repo_of(&kv.key) else { continue };
            let place = places.entry(repo).or_default();
            if let Some((h, _)) = self.held(&kv)? {
                place.held.push(h);
            } else if let Some(w) = self.waiting(&kv)? {
                place.queue.push(w);
                entries.push(kv);
            }
        }
        let mut broken = Vec::new();
        for victim in ring_victims(places.into_values().collect()) {
            if let Some(kv) = entries.iter().find(|kv| kv.create_revision == victim)
                && self.refuse(leader, kv).await?
            {
                broken.push(Ring { entry: kv.key.clone() });
            }
        }
        Ok(broken)
    }

    async fn refuse(&self, leader: &Leader, entry: &rr_store::KeyValue) -> Result<bool, FleetError> {
        let Some((_, sid, op)) = self.keys.parse_waiter(&entry.key) else { return Ok(false) };
        let Some(lease) = entry.lease else { return Ok(false) };
        let record = self.keys.op(&sid, &op);
        let txn = Txn::when(vec![
            Compare::created_at(leader.key.clone(), leader.created),
            Compare::created_at(entry.key.clone(), entry.create_revision),
            Compare::absent(Keys::one(record.clone())),
        ])
        .then(vec![Op::Delete(Keys::one(entry.key.clone())), Op::put_leased(record, encode(&OpRecord::Ring), lease)]);
        match self.store.txn(txn).await {
            Ok(reply) => Ok(reply.succeeded),
            Err(StoreError::LeaseNotFound(_)) => Ok(false),
            Err(e) => Err(e).doing("refuse a waiter"),
        }
    }
}

//! A sidecar's right to tell of its host's work trees: one lease for all of them, and one key that every write compares and
//! rewrites. So a second life of the sidecar takes everything over in one write, an earlier one can write nothing any more, and
//! no copy that arrives late undoes a later write. What is told is not known here.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::id::{HostId, ObjectId, OpId, RepoId};
use rr_core::live::{ChangeSet, TreeKey};
use rr_core::time::BootTime;
use rr_store::{Compare, KeepAlive, KeyValue, Keys, LeaseId, Op, OpReply, Revision, StoreError, Txn, TxnReply};
use serde::{Deserialize, Serialize};

use super::{TREES_PER_HOST_MAX, parts};
use crate::hosts::denial_in;
use crate::keys::name_in_key;
use crate::records::{decode, encode};
use crate::turn::unchanged;
use crate::{Doing, Fleet, FleetError};

/// Tries while answers are lost.
const TRIES_MAX: usize = 8;

/// `livehost/<host>`: the last write of the life that may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    life: OpId,
    write: u64,
}

/// The right to write a host's change sets, one write at a time. Only [`Fleet::keep_live`] makes one.
#[derive(Debug)]
pub struct LiveLease {
    host: HostId,
    lease: LeaseId,
    life: OpId,
    /// Mod revision of the host's key, as far as is known.
    revision: Revision,
    writes: u64,
    /// In which repositories each tree stands, or may: a write whose outcome is unknown counts.
    trees: BTreeMap<TreeKey, BTreeSet<RepoId>>,
    /// When the last keep-alive that was answered was sent.
    renewed: BootTime,
    /// A write has shown that it is.
    over: bool,
}

impl LiveLease {
    #[must_use]
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// The work trees that stand in the store by this lease, or may.
    pub fn keys(&self) -> impl Iterator<Item = &TreeKey> {
        self.trees.keys()
    }

    /// What else is to go with this life of the sidecar may lie under it.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// A tree of this host, of a name that can be in a key.
    fn check(&self, tree: &TreeKey) -> Result<(), FleetError> {
        if tree.host != self.host {
            return Err(FleetError::BadName { what: "work tree of this host", got: tree.host.to_string() });
        }
        name_in_key("work tree", &tree.tree).map(|_| ())
    }
}

impl Fleet {
    /// Begins to tell of a host's work trees, in the place of any earlier life of its sidecar. What that one told stays until it
    /// is told anew, or its lease ends.
    ///
    /// # Errors
    /// If the host is shut out, or the store does not answer clearly.
    pub async fn keep_live(&self, host: &HostId) -> Result<LiveLease, FleetError> {
        let renewed = self.clock.now();
        let lease = self.store.grant(self.timing.lease).await.doing("grant a lease for change sets")?;
        let life = OpId::from_random(self.entropy.bits());
        match self.begin_live(host, &life, lease).await {
            Ok(revision) => {
                let (host, trees) = (host.clone(), BTreeMap::new());
                Ok(LiveLease { host, lease, life, revision, writes: 0, trees, renewed, over: false })
            }
            Err(error) => {
                // Without it a late copy cannot apply.
                self.revoke_quietly(lease).await;
                Err(error)
            }
        }
    }

    async fn begin_live(&self, host: &HostId, life: &OpId, lease: LeaseId) -> Result<Revision, FleetError> {
        let (key, denied) = (self.keys.live_host(host), self.keys.denied(host.as_str()));
        let stamp = encode(&Stamp { life: life.clone(), write: 0 });
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            let reads = [&key, &denied].map(|key| Op::Get(Keys::one(key.clone()))).to_vec();
            let found = match self.store.txn(Txn::default().then(reads)).await.doing("look for an earlier life") {
                Err(error) if error.is_outage() => {
                    last = error;
                    continue;
                }
                found => keys_of(found?),
            };
            if let Some(kv) = found.iter().find(|kv| kv.key == denied) {
                return Err(FleetError::Denied(denial_in(kv)));
            }
            let before = found.iter().find(|kv| kv.key == key);
            if let Some(own) = before.filter(|kv| kv.value == stamp) {
                return Ok(own.mod_revision);
            }
            let guards = vec![unchanged(&key, before), Compare::absent(Keys::one(denied.clone()))];
            let txn = Txn::when(guards).then(vec![Op::put_leased(key.clone(), stamp.clone(), lease)]);
            match self.store.txn(txn).await.doing("begin to tell of work trees") {
                Ok(reply) if reply.succeeded => return Ok(reply.revision),
                Ok(_) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Renews the lease, if that is due. `false`: it is over, or a later life of the sidecar has taken over: begin anew or leave
    /// it.
    ///
    /// # Errors
    /// If the store does not answer: says nothing about the lease.
    pub async fn renew_live(&self, live: &mut LiveLease) -> Result<bool, FleetError> {
        let now = self.clock.now();
        if live.over || now.since(live.renewed) < self.timing.keep_alive {
            return Ok(!live.over);
        }
        if self.store.keep_alive(live.lease).await.doing("renew a lease for change sets")? == KeepAlive::Gone {
            live.over = true;
            return Ok(false);
        }
        let stamp = self.get(&self.keys.live_host(&live.host), "look who tells of a host's work trees").await?;
        let is_own = stamp.is_some_and(|kv| decode::<Stamp>(&kv).is_ok_and(|stamp| stamp.life == live.life));
        if !is_own {
            // What it told and nobody has told anew is of the past.
            self.revoke_quietly(live.lease).await;
        }
        (live.renewed, live.over) = (now, !is_own);
        Ok(is_own)
    }

    /// Tells what stands in a work tree, in the place of what was told of it before. Readers see all of it or nothing.
    ///
    /// # Errors
    /// If the host is shut out, tells of too many trees, another life has taken over, or the store does not answer clearly.
    pub async fn put_live(&self, live: &mut LiveLease, tree: &TreeKey, set: &ChangeSet) -> Result<(), FleetError> {
        live.check(tree)?;
        let values = parts::split(set)?;
        if !live.trees.contains_key(tree) && live.trees.len() >= TREES_PER_HOST_MAX {
            return Err(FleetError::TooMany { what: "work trees on one host", max: TREES_PER_HOST_MAX });
        }
        let lease = live.lease;
        let put = |key: String, value: Vec<u8>| Op::put_leased(key, value, lease);
        let count = values.files.len();
        let mut ops = vec![put(self.keys.live_tree(&set.repo, tree), values.head)];
        let files = values.files.into_iter().enumerate();
        ops.extend(files.map(|(n, part)| put(self.keys.live_part(&set.repo, tree, n), part)));
        let over = (count..parts::PARTS_MAX).map(|n| self.keys.live_part(&set.repo, tree, n));
        ops.extend(over.map(|key| Op::Delete(Keys::one(key))));
        let repos = live.trees.entry(tree.clone()).or_default();
        repos.insert(set.repo.clone());
        ops.extend(repos.iter().filter(|repo| **repo != set.repo).flat_map(|other| self.gone(other, tree)));
        self.write_live(live, ops, "tell what stands in a work tree").await?;
        live.trees.insert(tree.clone(), BTreeSet::from([set.repo.clone()]));
        Ok(())
    }

    /// Says that a work tree is no longer there.
    ///
    /// # Errors
    /// As [`Fleet::put_live`].
    pub async fn drop_live(&self, live: &mut LiveLease, tree: &TreeKey) -> Result<(), FleetError> {
        live.check(tree)?;
        let repos = match live.trees.get(tree) {
            Some(repos) => repos.iter().cloned().collect(),
            // An earlier life told of it.
            None => self.repos_of(tree).await?,
        };
        let mut ops: Vec<Op> = repos.iter().flat_map(|repo| self.gone(repo, tree)).collect();
        ops.push(Op::Delete(Keys::one(self.keys.sent_tree(tree))));
        self.write_live(live, ops, "say that a work tree is gone").await?;
        live.trees.remove(tree);
        Ok(())
    }

    /// Says that the contents of this tree of a work tree are at its remote.
    ///
    /// # Errors
    /// As [`Fleet::put_live`].
    pub async fn sent_live(&self, live: &mut LiveLease, tree: &TreeKey, contents: &ObjectId) -> Result<(), FleetError> {
        live.check(tree)?;
        let put = Op::put_leased(self.keys.sent_tree(tree), contents.as_str(), live.lease);
        self.write_live(live, vec![put], "say that contents were sent").await
    }

    fn gone(&self, repo: &RepoId, tree: &TreeKey) -> [Op; 2] {
        let head = self.keys.live_tree(repo, tree);
        let below = Keys::prefix(format!("{head}/"));
        [Op::Delete(Keys::one(head)), Op::Delete(below)]
    }

    async fn repos_of(&self, tree: &TreeKey) -> Result<Vec<RepoId>, FleetError> {
        let all = self.store.range(Keys::prefix(self.keys.live())).await.doing("look for a work tree")?.kvs;
        let heads = all.iter().filter_map(|kv| self.keys.parse_live(&kv.key));
        Ok(heads.filter(|key| key.part.is_none() && key.tree == *tree).map(|key| key.repo).collect())
    }

    /// One write of this life. It counts once: what is sent again finds the host's key rewritten, with its own stamp.
    async fn write_live(&self, live: &mut LiveLease, ops: Vec<Op>, doing: &'static str) -> Result<(), FleetError> {
        let written = self.try_write_live(live, ops, doing).await;
        live.over |= matches!(written, Err(FleetError::NotLive));
        written
    }

    async fn try_write_live(&self, live: &mut LiveLease, ops: Vec<Op>, doing: &'static str) -> Result<(), FleetError> {
        // Also a write that fails has its number: a copy of it may still come.
        live.writes += 1;
        let (own, denied) = (self.keys.live_host(&live.host), self.keys.denied(live.host.as_str()));
        let stamp = Stamp { life: live.life.clone(), write: live.writes };
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            let guards =
                vec![Compare::modified_at(own.clone(), live.revision), Compare::absent(Keys::one(denied.clone()))];
            let mine = Op::put_leased(own.clone(), encode(&stamp), live.lease);
            let txn = Txn::when(guards)
                .then([mine].into_iter().chain(ops.clone()).collect())
                .otherwise([&own, &denied].map(|key| Op::Get(Keys::one(key.clone()))).to_vec());
            let reply = match self.store.txn(txn).await {
                Err(StoreError::LeaseNotFound(_)) => return Err(FleetError::NotLive),
                reply => reply.doing(doing),
            };
            match reply {
                Ok(reply) if reply.succeeded => {
                    live.revision = reply.revision;
                    return Ok(());
                }
                Ok(reply) => {
                    if let Some(at) = written(&keys_of(reply), &own, &denied, &stamp)? {
                        live.revision = at.revision;
                        if at.is_this {
                            return Ok(());
                        }
                    }
                }
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// The last write of this life that the store has.
struct Written {
    revision: Revision,
    is_this: bool,
}

fn written(found: &[KeyValue], own: &str, denied: &str, stamp: &Stamp) -> Result<Option<Written>, FleetError> {
    if let Some(kv) = found.iter().find(|kv| kv.key == denied) {
        return Err(FleetError::Denied(denial_in(kv)));
    }
    let kv = found.iter().find(|kv| kv.key == own).ok_or(FleetError::NotLive)?;
    match decode::<Stamp>(kv) {
        Ok(found) if found.life == stamp.life => {
            Ok(Some(Written { revision: kv.mod_revision, is_this: found.write == stamp.write }))
        }
        _ => Err(FleetError::NotLive),
    }
}

fn keys_of(reply: TxnReply) -> Vec<KeyValue> {
    reply.replies.into_iter().flat_map(OpReply::into_keys).collect()
}

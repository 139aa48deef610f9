//! The floor of a grant: one transaction of the same size, without the protocol's meaning.

use futures::StreamExt as _;
use rr_store::{Change, Compare, Keys, LeaseId, Op, Txn};

use crate::place::Place;

/// A transaction with as many compares, reads and writes as a grant has, its keys and values as long.
pub(crate) struct Raw {
    compares: usize,
    reads: usize,
    /// Length of the key, the value, and whether the key goes with the session's lease.
    puts: Vec<(usize, Vec<u8>, bool)>,
}

impl Raw {
    /// Takes the writes from the store's own history of one grant.
    pub(crate) async fn like_a_grant(place: &Place) -> Self {
        let session = place.session().await;
        let grant = place.grant(&session, "src/c0000/f00.rs").await;
        let mut history = place.store.watch(Keys::prefix(""), grant.revision).await.expect("watch");
        let event = history.next().await.expect("an event").expect("known");
        let put = |change| match change {
            Change::Put(kv) => (kv.key.len(), kv.value, kv.lease.is_some()),
            Change::Delete { key } => unreachable!("a grant deletes nothing, not even {key}"),
        };
        let puts = event.changes.into_iter().map(put).collect();
        place.release(&grant).await;
        // The root, two folders and the file: three ancestors in two trees, two ranges, and five guards; the marks of all.
        Self { compares: 2 * 3 + 2 + 5, reads: 3 + 1, puts }
    }

    pub(crate) fn txn(&self, name: &str, lease: LeaseId) -> Txn {
        let len = self.puts.first().map_or(0, |put| put.0);
        let compares = (0..self.compares).map(|n| Compare::absent(Keys::prefix(long(name, n, len)))).collect();
        let reads = (0..self.reads).map(|n| Op::Get(Keys::prefix(long(name, n, len))));
        let put = |(n, (len, value, leased)): (usize, &(usize, Vec<u8>, bool))| Op::Put {
            key: long(name, n, *len),
            value: value.clone(),
            lease: leased.then_some(lease),
        };
        Txn::when(compares).then(reads.chain(self.puts.iter().enumerate().map(put)).collect())
    }

    /// Deletes what the transaction of this name wrote.
    pub(crate) fn undo(&self, name: &str) -> Txn {
        let delete = |(n, (len, ..)): (usize, &(usize, Vec<u8>, bool))| Op::Delete(Keys::one(long(name, n, *len)));
        Txn::default().then(self.puts.iter().enumerate().map(delete).collect())
    }
}

/// A key of this length; as with a fleet's keys, what tells two apart stands near the end.
fn long(name: &str, n: usize, len: usize) -> String {
    let tail = format!("/{name}/{n}");
    format!("raw{tail:0>width$}", width = len.saturating_sub(3))
}

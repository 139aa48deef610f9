//! Watches through broken connections, compaction, slow readers and huge revisions: nothing skipped, nothing twice (G8).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rr_core::time::Span;
use rr_store::{
    Change, Compare, EtcdStore, Keys, Op, Relation, Revision, Store, StoreError, Subject, Txn, WatchStream,
};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use tokio::task::JoinHandle;

use super::{connect, eventually, next, write};

/// Every change of `key` is its number; reads the watch up to `last` and checks that none is missing or told twice.
async fn follow(watch: &mut WatchStream, mut expected: u64, last: u64) {
    while expected <= last {
        let event = next(watch).await.expect("the watch goes on").expect("an event");
        for change in event.changes {
            let Change::Put(kv) = change else { panic!("{change:?}") };
            assert_eq!(String::from_utf8(kv.value).unwrap(), expected.to_string());
            assert_eq!(kv.mod_revision, event.revision);
            expected += 1;
        }
    }
}

/// Somebody who writes numbers to a key, one a revision, until told to end.
struct Counter {
    written: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Counter {
    fn start(store: Arc<EtcdStore>, key: &'static str) -> Self {
        let (written, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(count(store, key, Arc::clone(&written), Arc::clone(&ends)));
        Self { written, ends, task }
    }

    /// Waits until it has written that many more.
    async fn goes_on(&self, more: u64) {
        let goal = self.written.load(Ordering::SeqCst) + more;
        eventually("more numbers", || async {
            match self.written.load(Ordering::SeqCst) {
                written if written >= goal => Ok(()),
                written => Err(StoreError::Unavailable(format!("{written} of {goal}"))),
            }
        })
        .await;
    }

    /// The last that was written.
    async fn end(self) -> u64 {
        self.ends.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.written.load(Ordering::SeqCst)
    }
}

async fn count(store: Arc<EtcdStore>, key: &'static str, written: Arc<AtomicU64>, ends: Arc<AtomicBool>) {
    for number in 1.. {
        // One that may have been written already is not written twice.
        let subject = Subject::Version(number - 1);
        let compares = vec![Compare { keys: Keys::one(key), relation: Relation::Equal, subject }];
        let txn = || Txn::when(compares.clone()).then(vec![Op::put(key, number.to_string())]);
        eventually("a number", || store.txn(txn())).await;
        written.store(number, Ordering::SeqCst);
        if ends.load(Ordering::SeqCst) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_through_every_member_that_dies() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let mut watch = store.watch(Keys::one("n"), 0).await.unwrap();
    let counter = Counter::start(connect(&cluster).await, "n");
    for member in 0..3 {
        counter.goes_on(50).await;
        if member == 1 {
            cluster.stop(member);
            counter.goes_on(50).await;
            cluster.cont(member);
        } else {
            cluster.kill(member);
            counter.goes_on(50).await;
            cluster.restart(member);
        }
        cluster.wait_healthy();
    }
    let last = counter.end().await;
    follow(&mut watch, 1, last).await;
}

/// H8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_every_tenth_of_a_second_hides_nothing() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let ends = Arc::new(AtomicBool::new(false));
    let compactor = {
        let (store, ends) = (Arc::clone(&store), Arc::clone(&ends));
        tokio::spawn(async move {
            while !ends.load(Ordering::SeqCst) {
                let now = eventually("a position", || super::read(&store, "n")).await.revision;
                // Twice the same is no error.
                eventually("a compaction", || store.compact(now)).await;
                eventually("a compaction", || store.compact(now)).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let counter = Counter::start(connect(&cluster).await, "n");
    let reading = tokio::spawn(read_or_list_again(Arc::clone(&store), Arc::clone(&ends)));
    for _ in 0..2 {
        counter.goes_on(500).await;
        let victim = cluster.leader();
        cluster.restart(victim);
        counter.goes_on(500).await;
        cluster.wait_healthy();
    }
    ends.store(true, Ordering::SeqCst);
    let last = counter.end().await;
    write(&store, "n", "end").await;
    let (seen, listed) = reading.await.unwrap();
    compactor.await.unwrap();
    eprintln!("{seen} of {last} seen by watching, listed again {listed} times");
    assert!(seen > last / 2, "most were seen by watching");
}

/// Follows the numbers; where the past is gone it lists again, as callers do. None may be missing in between.
async fn read_or_list_again(store: Arc<EtcdStore>, ends: Arc<AtomicBool>) -> (u64, u64) {
    let (mut seen, mut listed, mut from) = (0, 0, 0);
    let mut expected = None;
    loop {
        let mut watch = eventually("a watch", || store.watch(Keys::one("n"), from)).await;
        loop {
            match next(&mut watch).await {
                Some(Ok(event)) => {
                    let Some(Change::Put(kv)) = event.changes.last() else { panic!("{event:?}") };
                    let Ok(number) = String::from_utf8_lossy(&kv.value).parse::<u64>() else { return (seen, listed) };
                    assert_eq!(number, expected.unwrap_or(number), "none is skipped, none told twice");
                    (expected, from, seen) = (Some(number + 1), event.revision + 1, seen + 1);
                }
                Some(Err(StoreError::Compacted { oldest })) => {
                    assert!(oldest > from);
                    let now = eventually("a list", || super::read(&store, "n")).await;
                    (from, expected, listed) = (now.revision + 1, None, listed + 1);
                    break;
                }
                Some(Err(error)) => assert!(error.is_retryable(), "{error}"),
                None => break,
            }
        }
        assert!(!ends.load(Ordering::SeqCst) || listed < 1_000, "it never caught up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_at_the_oldest_known_revision_is_told() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    write(&store, "gone", "").await;
    let deleted = store.txn(Txn::default().then(vec![Op::Delete(Keys::one("gone"))])).await.unwrap().revision;
    write(&store, "other", "").await;
    store.compact(deleted).await.unwrap();
    let mut watch = store.watch(Keys::one("gone"), deleted).await.unwrap();
    let event = next(&mut watch).await.unwrap().unwrap();
    assert_eq!((event.revision, event.changes), (deleted, vec![Change::Delete { key: "gone".into() }]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_misses_nothing_and_holds_up_nobody() {
    // More than the engine keeps for a reader, and more than a connection holds back for one.
    const CHANGES: u64 = 3_000;
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let mut slow = store.watch(Keys::one("n"), 0).await.unwrap();
    let mut quick = store.watch(Keys::one("n"), 0).await.unwrap();
    for number in 1..=CHANGES {
        let padded = format!("{number:08192}");
        write(&store, "n", padded).await;
        let event = next(&mut quick).await.unwrap().unwrap();
        assert_eq!(event.changes.len(), 1);
    }
    for expected in 1..=CHANGES {
        let event = next(&mut slow).await.unwrap().unwrap();
        let [Change::Put(kv)] = event.changes.as_slice() else { panic!("{event:?}") };
        assert_eq!(String::from_utf8_lossy(&kv.value).parse::<u64>().unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_a_compaction_is_told() {
    const CHANGES: u64 = 3_000;
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let mut slow = store.watch(Keys::one("n"), 0).await.unwrap();
    let mut revision = 0;
    for number in 1..=CHANGES {
        revision = write(&store, "n", number.to_string()).await;
    }
    store.compact(revision).await.unwrap();
    let mut expected = 1;
    loop {
        match next(&mut slow).await {
            Some(Ok(event)) => {
                let [Change::Put(kv)] = event.changes.as_slice() else { panic!("{event:?}") };
                assert_eq!(String::from_utf8_lossy(&kv.value).parse::<u64>().unwrap(), expected);
                expected += 1;
            }
            Some(Err(error)) => {
                assert_eq!(error, StoreError::Compacted { oldest: revision });
                assert!(next(&mut slow).await.is_none());
                assert!(expected < CHANGES, "it was behind");
                return;
            }
            None => panic!("it ended without a word at {expected}"),
        }
    }
}

/// H36. Keys of 8 KiB make a revision of several megabytes, which etcd sends in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_with_many_keys_ends_in_one_event() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    for (count, padding) in [(256, 0), (600, 8_000), (20_000, 0)] {
        let lease = store.grant(Span::from_secs(60)).await.unwrap();
        let name = |n: usize| format!("many/{count}/{n}/{}", "x".repeat(padding));
        let per_txn = if padding > 0 { 100 } else { rr_store::TXN_OPS_MAX };
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(per_txn) {
            let ops = some.iter().map(|n| Op::put_leased(name(*n), "", lease)).collect();
            store.txn(Txn::default().then(ops)).await.unwrap();
        }
        let mut watch = store.watch(Keys::prefix(format!("many/{count}/")), 0).await.unwrap();
        let ended: Revision = store.revoke(lease).await.unwrap();
        let event = next(&mut watch).await.unwrap().unwrap();
        assert_eq!((event.revision, event.changes.len()), (ended, count));
        assert!(event.changes.iter().all(|change| matches!(change, Change::Delete { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_keys_are_read_in_one_answer() {
    const KEYS: usize = 50_000;
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let numbers: Vec<usize> = (0..KEYS).collect();
    for some in numbers.chunks(rr_store::TXN_OPS_MAX) {
        let ops = some.iter().map(|n| Op::put(format!("keys/{n}"), vec![b'v'; 200])).collect();
        store.txn(Txn::default().then(ops)).await.unwrap();
    }
    assert_eq!(store.range(Keys::prefix("keys/")).await.unwrap().kvs.len(), KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_watch_is_closed_at_etcd_too() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let open = || cluster.metric(0, "etcd_debugging_mvcc_watcher_total");
    let watches = futures::future::join_all((0..100).map(|n| store.watch(Keys::one(format!("w/{n}")), 0))).await;
    assert_eq!(open(), Some(100.0));
    drop(watches);
    eventually("closed watches", || async {
        match open() {
            Some(0.0) => Ok(()),
            other => Err(StoreError::Unavailable(format!("{other:?} are open"))),
        }
    })
    .await;
}

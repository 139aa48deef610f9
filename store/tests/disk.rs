//! The disk full, broken, and what lies on it: who may read it, who owns it, how long it grows.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Embedded, SmallDisk};
use futures::{FutureExt, StreamExt};
use rr_core::time::Span;
use rr_store::{
    Compare, EmbeddedStore, KeepAlive, Keys, Op, OpenError, Options, Revision, Store, StoreError, Txn, TxnReply,
};

/// Enough for header, first room, reserve and one growth.
const DISK_BYTES: u64 = 2 << 20;

fn put(key: &str, len: usize) -> Txn {
    Txn::default().then(vec![Op::put(key, vec![7; len])])
}

/// So long a key that its deletion does not fit where the last small write did not.
fn permit() -> String {
    format!("fleet/run/{}", "x".repeat(4_000))
}

fn pause() -> Txn {
    Txn::when(vec![Compare::exists(permit())]).then(vec![Op::Delete(Keys::one(permit()))])
}

fn on(disk: &Arc<SmallDisk>) -> Embedded {
    Embedded::new(Options { disk: disk.clone(), ..Options::default() })
}

/// Writes until nothing more fits.
async fn fill(store: &EmbeddedStore) -> Revision {
    let mut last = 0;
    for n in 0..10_000 {
        match store.txn(put(&format!("fill/{}", n % 10), 1_000)).await {
            Ok(reply) => last = reply.revision,
            Err(StoreError::NoSpace(_)) => return last,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never filled");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_still_pauses() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    store.txn(put(&permit(), 10)).await.unwrap();
    let last = fill(&store).await;
    disk.fill();
    // Refused is undone: no revision is used, no reader sees it.
    assert!(matches!(store.txn(put("more", 1_000)).await, Err(StoreError::NoSpace(_))));
    let all = store.range(Keys::prefix("")).await.unwrap();
    assert_eq!((all.revision, all.kvs.iter().any(|kv| kv.key == "more")), (last, false));
    let with_reason = pause().then(vec![Op::Delete(Keys::one(permit())), Op::put("fleet/hold/1", vec![1; 60_000])]);
    assert!(matches!(store.txn(with_reason).await, Err(StoreError::NoSpace(_))));
    let paused = store.txn(pause()).await.unwrap();
    assert!(!harness.dir().join("store.reserve").exists());
    assert_eq!((paused.succeeded, paused.revision), (true, last + 1));
    // The room this took from the reserve is for deletes alone.
    for _ in 0..100 {
        assert!(matches!(store.txn(put("small", 1)).await, Err(StoreError::NoSpace(_))));
    }
    drop(store);
    harness.stop();
    let store = harness.start().unwrap();
    let all = store.range(Keys::one(permit())).await.unwrap();
    assert_eq!((all.kvs.len(), all.revision), (0, last + 1));
}

#[tokio::test]
async fn when_space_is_back_the_reserve_is_too() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    for round in 0..3 {
        let fits = store.txn(put(&permit(), 10)).await;
        assert!(fits.is_ok(), "round {round}: {fits:?}");
        fill(&store).await;
        disk.fill();
        assert!(store.txn(pause()).await.unwrap().succeeded, "round {round}");
        assert!(!harness.dir().join("store.reserve").exists());
        disk.add(256 << 10);
        harness.clock.advance(Span::from_secs(2));
        store.txn(put("again", 10)).await.unwrap();
        assert_eq!(fs::metadata(harness.dir().join("store.reserve")).unwrap().len(), 64 << 10);
    }
}

#[tokio::test]
async fn leases_end_on_a_full_disk() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.txn(Txn::default().then(vec![Op::put_leased("leased", "", lease)])).await.unwrap();
    fill(&store).await;
    disk.fill();
    harness.clock.advance(Span::from_secs(61));
    assert_eq!(store.keep_alive(lease).await, Ok(KeepAlive::Gone));
    assert!(store.range(Keys::one("leased")).await.unwrap().kvs.is_empty());
}

#[tokio::test]
async fn a_write_that_stops_half_way_leaves_no_trace() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    let first = store.txn(put("a", 10)).await.unwrap().revision;
    disk.overwrite_is_full.store(true, Ordering::SeqCst);
    assert!(matches!(store.txn(put("b", 5_000)).await, Err(StoreError::NoSpace(_))));
    // A delete is written all the same, with the space set aside.
    disk.overwrite_is_full.store(true, Ordering::SeqCst);
    let deleted = store.txn(Txn::default().then(vec![Op::Delete(Keys::one("a"))])).await.unwrap();
    assert_eq!(deleted.revision, first + 1);
    harness.crash_now(store);
    let all = harness.embedded().range(Keys::prefix("")).await.unwrap();
    assert_eq!((all.revision, all.kvs.len()), (first + 1, 0));
}

#[tokio::test]
async fn a_failed_sync_stops_the_store_until_it_is_opened_again() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    let first = store.txn(put("a", 10)).await.unwrap().revision;
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    let mut watch = store.watch(Keys::prefix(""), 0).await.unwrap();
    disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(store.txn(put("b", 10)).await, Err(StoreError::Unknown(_))));
    disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(store.txn(put("c", 10)).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.range(Keys::one("a")).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.keep_alive(lease).await, Err(StoreError::Damaged(_))));
    assert!(matches!(watch.next().await, Some(Err(StoreError::Damaged(_)))));
    assert_eq!(watch.next().await, None);
    drop(store);
    harness.stop();
    let store = harness.start().unwrap();
    // Unknown means either; what is there is there for good.
    let all = store.range(Keys::prefix("")).await.unwrap();
    let keys: Vec<_> = all.kvs.iter().map(|kv| kv.key.as_str()).collect();
    assert!(keys == ["a"] && all.revision == first || keys == ["a", "b"] && all.revision == first + 1);
    store.txn(put("c", 10)).await.unwrap();
}

/// On one thread, so that a caller blocked by the disk would block the test.
#[tokio::test(flavor = "current_thread")]
async fn nothing_is_seen_or_answered_before_it_is_durable_and_nobody_else_waits() {
    let disk = SmallDisk::new(DISK_BYTES);
    let harness = on(&disk);
    let store = harness.embedded();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    let before = store.stats().revision;
    let mut watch = store.watch(Keys::prefix(""), 0).await.unwrap();
    let syncs = disk.syncs_begun.load(Ordering::SeqCst);
    let stuck = disk.sync_gate.lock().unwrap();
    let mut write = std::pin::pin!(store.txn(put("a", 10)));
    while disk.syncs_begun.load(Ordering::SeqCst) == syncs {
        assert_eq!(write.as_mut().now_or_never(), None);
        std::thread::yield_now();
    }
    assert_eq!(write.as_mut().now_or_never(), None);
    assert_eq!(watch.next().now_or_never(), None);
    let all = store.range(Keys::prefix("")).now_or_never().unwrap().unwrap();
    assert_eq!((all.revision, all.kvs.len()), (before, 0));
    let read = Txn::when(vec![Compare::absent(Keys::one("a"))]).then(vec![Op::Get(Keys::prefix(""))]);
    assert!(store.txn(read).now_or_never().unwrap().unwrap().succeeded);
    assert!(matches!(store.keep_alive(lease).now_or_never(), Some(Ok(KeepAlive::Alive(_)))));
    drop(stuck);
    assert_eq!(write.await.unwrap().revision, before + 1);
    assert_eq!(watch.next().await.unwrap().unwrap().revision, before + 1);
}

#[tokio::test]
async fn concurrent_writes_share_syncs() {
    let harness = Embedded::new(Options::default());
    let store = harness.embedded();
    let before = store.stats();
    let keys: Vec<_> = (0..200).map(|n| format!("k/{n}")).collect();
    let all: Vec<Result<TxnReply, StoreError>> =
        futures::future::join_all(keys.iter().map(|key| store.txn(put(key, 100)))).await;
    let mut revisions: Vec<_> = all.into_iter().map(|reply| reply.unwrap().revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 200);
    let after = store.stats();
    assert_eq!(after.transactions - before.transactions, 200);
    assert!(after.commits - before.commits < 50, "{} syncs", after.commits - before.commits);
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever() {
    let harness = Embedded::new(Options { log_growth_max: 64 << 10, disk: SmallDisk::lazy(), ..Options::default() });
    let store = harness.embedded();
    let mut last = 0;
    for _ in 0..5_000 {
        last = store.txn(put("same", 1_000)).await.unwrap().revision;
    }
    let len = fs::metadata(harness.log()).unwrap().len();
    assert!(len < 3 << 20, "5 MB written, {len} bytes kept");
    // Only a deletion is left: its revision must be remembered all the same.
    last += 1;
    assert_eq!(store.txn(Txn::default().then(vec![Op::Delete(Keys::one("same"))])).await.unwrap().revision, last);
    drop(store);
    harness.stop();
    assert_eq!(harness.start().unwrap().stats().revision, last);
}

#[tokio::test]
async fn a_watch_that_lags_too_far_is_told() {
    let harness = Embedded::new(Options { history_changes_max: 10, disk: SmallDisk::lazy(), ..Options::default() });
    let store = harness.embedded();
    let first = store.txn(put("k", 1)).await.unwrap().revision;
    let mut watch = store.watch(Keys::prefix(""), first).await.unwrap();
    for _ in 0..20 {
        store.txn(put("k", 1)).await.unwrap();
    }
    assert_eq!(watch.next().await, Some(Err(StoreError::Compacted { oldest: first + 11 })));
}

/// The changes it did not see were none of its keys'.
#[tokio::test]
async fn a_watch_that_sleeps_misses_nothing_by_what_others_forget() {
    let harness = Embedded::new(Options { history_changes_max: 10, disk: SmallDisk::lazy(), ..Options::default() });
    let store = harness.embedded();
    let mut watches = Vec::new();
    for keys in [Keys::one("quiet"), Keys::prefix("qui")] {
        let mut watch = store.watch(keys, 0).await.unwrap();
        assert!(watch.next().now_or_never().is_none());
        watches.push(watch);
    }
    for _ in 0..20 {
        store.txn(put("loud", 1)).await.unwrap();
    }
    let told = store.txn(put("quiet", 1)).await.unwrap().revision;
    let again = store.txn(put("quiet", 1)).await.unwrap().revision;
    for watch in &mut watches {
        for revision in [told, again] {
            assert_eq!(watch.next().await.unwrap().unwrap().revision, revision);
        }
        assert!(watch.next().now_or_never().is_none());
    }
}

/// Watches that sleep and wake while others write, against one that reads the past in one go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_watch_is_told_of_each_change_of_its_keys_while_many_write() {
    const KEYS: usize = 8;
    let harness = Embedded::new(Options { disk: SmallDisk::lazy(), ..Options::default() });
    let store = harness.embedded();
    let first = store.txn(put("begin", 1)).await.unwrap().revision + 1;
    let mut told = Vec::new();
    for n in 0..KEYS {
        let mut watch = store.watch(Keys::one(format!("k{n}")), first).await.unwrap();
        told.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            while let Some(Ok(event)) = watch.next().await {
                revisions.push(event.revision);
            }
            revisions
        }));
    }
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                store.txn(put(&format!("k{}", (n * (writer + 1) + writer) % KEYS), 1)).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(writers.collect::<Vec<_>>()).await.unwrap();
    let mut past = Vec::new();
    let mut all = store.watch(Keys::prefix("k"), first).await.unwrap();
    while let Some(Some(Ok(event))) = all.next().now_or_never() {
        past.push(event);
    }
    assert_eq!(past.len(), 800);
    drop((store, all));
    // The watches are told all there was, and then that nothing more will come.
    harness.stop();
    for (n, told) in told.into_iter().enumerate() {
        let key = Keys::one(format!("k{n}"));
        let mine = past.iter().filter(|event| event.changes.iter().any(|change| key.contains(change.key())));
        assert_eq!(told.await.unwrap(), mine.map(|event| event.revision).collect::<Vec<_>>(), "k{n}");
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_and_told_the_first() {
    let harness = Embedded::new(Options::default());
    let refused = EmbeddedStore::open(&harness.dir(), Options::default(), harness.clock.clone()).err();
    let Some(OpenError::InUse { pid, owner }) = refused else { panic!("{refused:?}") };
    assert_eq!(pid, Some(std::process::id()));
    assert!(owner.contains("start "), "{owner}");
    harness.stop();
    harness.start().unwrap();
}

#[tokio::test]
async fn only_the_user_may_read_what_is_stored() {
    let harness = Embedded::new(Options { log_growth_max: 1, ..Options::default() });
    let store = harness.embedded();
    for _ in 0..20 {
        store.txn(put("k", 1_000)).await.unwrap();
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&harness.dir()), 0o700);
    for entry in fs::read_dir(harness.dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[tokio::test]
async fn a_new_store_is_fresh_and_keeps_its_identity() {
    let harness = Embedded::new(Options { log_growth_max: 1, ..Options::default() });
    let store = harness.embedded();
    assert!(store.fresh());
    let identity = store.identity();
    for _ in 0..10 {
        store.txn(put("k", 1_000)).await.unwrap();
    }
    drop(store);
    harness.stop();
    let store = harness.start().unwrap();
    assert!(!store.fresh());
    assert_eq!(store.identity(), identity);
    drop(store);
    harness.stop();
    fs::remove_file(harness.log()).unwrap();
    let store = harness.start().unwrap();
    assert!(store.fresh());
    assert_ne!(store.identity(), identity);
}

//! The faulty store does what is planned, and nothing else.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Embedded, SmallDisk};
use futures::{FutureExt, StreamExt};
use rr_core::time::Span;
use rr_store::faulty::{Call, Fault, FaultyStore};
use rr_store::suite::Harness;
use rr_store::{KeepAlive, Keys, Op, Options, Store, StoreError, Txn};

fn faulty() -> (Embedded, Arc<FaultyStore>) {
    let harness = Embedded::new(Options { disk: SmallDisk::lazy(), ..Options::default() });
    let store = FaultyStore::new(harness.store());
    (harness, store)
}

fn put(key: &str) -> Txn {
    Txn::default().then(vec![Op::put(key, "")])
}

async fn exists(store: &FaultyStore, key: &str) -> bool {
    !store.range(Keys::one(key)).await.unwrap().kvs.is_empty()
}

#[tokio::test]
async fn lost_replies_were_applied_and_dropped_requests_were_not() {
    let (_harness, store) = faulty();
    store.plan(Call::Txn, Fault::LostReply);
    store.plan(Call::Txn, Fault::Dropped);
    store.plan(None, Fault::Refused);
    assert!(store.txn(put("a")).await.unwrap_err().is_unknown());
    assert!(store.txn(put("b")).await.unwrap_err().is_unknown());
    assert!(store.txn(put("c")).await.unwrap_err().is_retryable());
    store.txn(put("d")).await.unwrap();
    let found = [exists(&store, "a").await, exists(&store, "b").await, exists(&store, "c").await];
    assert_eq!(found, [true, false, false]);
    assert_eq!(store.faults_happened(), 3);
}

#[tokio::test]
async fn a_fault_waits_for_its_kind_of_call() {
    let (_harness, store) = faulty();
    store.plan(Call::KeepAlive, Fault::Refused);
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.txn(put("a")).await.unwrap();
    assert!(store.keep_alive(lease).await.is_err());
    assert!(matches!(store.keep_alive(lease).await, Ok(KeepAlive::Alive(_))));
}

#[tokio::test]
async fn the_same_seed_fails_the_same_calls() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let (_harness, store) = faulty();
        store.chances(seed, &[(Fault::LostReply, 200), (Fault::Dropped, 200), (Fault::Refused, 100)]);
        let mut errors = Vec::new();
        for n in 0..200 {
            errors.push(store.txn(put(&n.to_string())).await.err());
        }
        let failed = errors.iter().flatten().count();
        assert!((60..140).contains(&failed), "{failed} of 200 failed");
        runs.push(errors);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn watches_end_or_fall_silent_when_told_to() {
    let (_harness, store) = faulty();
    let mut watch = store.watch(Keys::prefix(""), 0).await.unwrap();
    store.silence_watches(true);
    store.txn(put("a")).await.unwrap();
    store.txn(put("b")).await.unwrap();
    assert_eq!(watch.next().now_or_never(), None);
    store.silence_watches(false);
    assert_eq!(watch.next().await.unwrap().unwrap().changes[0].key(), "a");
    store.end_watches();
    assert_eq!(watch.next().await, None);
    let mut later = store.watch(Keys::prefix(""), 0).await.unwrap();
    store.txn(put("c")).await.unwrap();
    assert_eq!(later.next().await.unwrap().unwrap().changes[0].key(), "c");
}

#[tokio::test]
async fn a_cut_off_store_refuses_all_and_comes_back() {
    let (_harness, store) = faulty();
    let mut watch = store.watch(Keys::prefix(""), 0).await.unwrap();
    store.cut_off(true);
    assert!(matches!(store.txn(put("a")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.range(Keys::one("a")).await, Err(StoreError::Unavailable(_))));
    assert_eq!(watch.next().now_or_never(), None);
    store.cut_off(false);
    store.txn(put("a")).await.unwrap();
    assert!(watch.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_lease_can_be_made_to_end_early() {
    let (_harness, store) = faulty();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.txn(Txn::default().then(vec![Op::put_leased("a", "", lease)])).await.unwrap();
    store.expire(lease).await.unwrap();
    assert!(!exists(&store, "a").await);
    assert_eq!(store.keep_alive(lease).await, Ok(KeepAlive::Gone));
}

#[tokio::test]
async fn a_delayed_call_takes_its_time_and_then_works() {
    let (_harness, store) = faulty();
    store.plan(Call::Range, Fault::Delay(Span::from_millis(30)));
    let start = std::time::Instant::now();
    store.range(Keys::one("a")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
}

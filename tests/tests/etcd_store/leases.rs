//! Keep-alives: one stream for all of them, and what becomes of it when its member goes.

use futures::future::join_all;
use rr_core::time::Span;
use rr_store::{KeepAlive, Op, Store, StoreError, Txn};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::{connect, eventually, read};

const STREAMS: &str = concat!(
    "grpc_server_started_total{grpc_method=\"LeaseKeepAlive\",",
    "grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"}"
);
const MINUTE: Span = Span::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_leases_are_kept_alive_over_one_stream() {
    const LEASES: usize = 1_000;
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let mut leases = Vec::new();
    for _ in 0..LEASES {
        leases.push(store.grant(MINUTE).await.unwrap());
    }
    for round in 0..3 {
        let kept = join_all(leases.iter().map(|lease| store.keep_alive(*lease))).await;
        assert!(kept.iter().all(|kept| *kept == Ok(KeepAlive::Alive(MINUTE))), "round {round}: {kept:?}");
    }
    assert_eq!(cluster.metric(0, STREAMS), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn living_and_dead_leases_are_told_apart_whoever_comes_first() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let (dead, alive) = (store.grant(MINUTE).await.unwrap(), store.grant(MINUTE).await.unwrap());
    store.revoke(dead).await.unwrap();
    assert_eq!(store.keep_alive(dead).await, Ok(KeepAlive::Gone));
    let asks = [dead, alive, alive, dead, alive, dead, alive];
    let told = join_all(asks.map(|lease| store.keep_alive(lease))).await;
    for (lease, told) in asks.iter().zip(told) {
        let expected = if *lease == dead { KeepAlive::Gone } else { KeepAlive::Alive(MINUTE) };
        assert_eq!(told, Ok(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_each_member_in_turn() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let lease = store.grant(Span::from_secs(20)).await.unwrap();
    store.txn(Txn::default().then(vec![Op::put_leased("held", "", lease)])).await.unwrap();
    for member in 0..3 {
        store.keep_alive(lease).await.unwrap();
        if member == 1 {
            cluster.stop(member);
        } else {
            cluster.kill(member);
        }
        let kept = eventually("a keep-alive", || store.keep_alive(lease)).await;
        assert!(matches!(kept, KeepAlive::Alive(_)), "member {member}: {kept:?}");
        cluster.restart(member);
        cluster.wait_healthy();
    }
    let held = eventually("a read", || read(&store, "held")).await;
    assert_eq!(held.kvs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_no_renewal() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let lease = store.grant(MINUTE).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    cluster.stop(0);
    let told = tokio::time::timeout(super::SOON, store.keep_alive(lease)).await.expect("it does not wait for ever");
    assert!(matches!(told, Err(StoreError::Unknown(_))), "{told:?}");
    cluster.cont(0);
    let kept = eventually("a keep-alive", || store.keep_alive(lease)).await;
    assert_eq!(kept, KeepAlive::Alive(MINUTE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_that_is_missing_is_named() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let (alive, dead) = (store.grant(MINUTE).await.unwrap(), store.grant(MINUTE).await.unwrap());
    store.revoke(dead).await.unwrap();
    let both = vec![Op::put_leased("a", "", alive), Op::put_leased("b", "", dead)];
    assert_eq!(store.txn(Txn::default().then(both)).await, Err(StoreError::LeaseNotFound(dead)));
}

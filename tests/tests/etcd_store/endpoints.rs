//! Endpoints as people write them, and which one is used: wrong ones are named, one that fails is left alone for a while.

use std::sync::Arc;

use rr_core::time::Span;
use rr_store::etcd::{ConnectError, EtcdOptions};
use rr_store::suite::ManualClock;
use rr_store::{EtcdStore, Store, StoreError};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::{connect, eventually, options, put, read, write};

async fn refused(endpoints: &[String]) -> ConnectError {
    let options = EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() };
    let connected = EtcdStore::connect(options, Arc::new(ManualClock::default())).await;
    connected.map(drop).expect_err("these endpoints do not work")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_cannot_work_are_named_with_what_to_do() {
    let (one, other) = (EtcdCluster::start(1, EtcdSetup::default()), EtcdCluster::start(1, EtcdSetup::default()));
    let good = one.endpoint(0);
    // A port that nobody listens on, and one that is no etcd.
    let nobody = format!("http://{}:{}", one.ip(0), 9);
    let page = format!("http://{}:{}", one.ip(0), rr_tests::etcd::METRICS_PORT);
    match refused(&[nobody.clone(), page.clone()]).await {
        ConnectError::Unreachable { tried } => {
            assert_eq!(tried.iter().map(|(endpoint, _)| endpoint.clone()).collect::<Vec<_>>(), [nobody.clone(), page]);
            assert!(tried[0].1.contains("refused"), "{tried:?}");
        }
        error => panic!("{error}"),
    }
    // Whichever answers first is taken for the right one.
    match refused(&[good.clone(), other.endpoint(0)]).await {
        ConnectError::TwoClusters { one, other: stranger } => {
            assert!(one != stranger && [&one, &stranger].iter().all(|e| **e == good || **e == other.endpoint(0)));
        }
        error => panic!("{error}"),
    }
    assert!(
        matches!(refused(&[good.clone(), good.clone()]).await, ConnectError::BadEndpoint { endpoint, .. } if endpoint == good)
    );
    assert_eq!(refused(&[]).await, ConnectError::NoEndpoints);
    let https = good.replace("http://", "https://");
    assert!(matches!(refused(&[good.clone(), https]).await, ConnectError::Mixed { .. }));
    // One that works is enough.
    let options = EtcdOptions { endpoints: vec![nobody, good], ..EtcdOptions::default() };
    let store = super::connect_with(options).await;
    write(&store, "a", "1").await;
    assert_eq!(store.members().await.iter().filter(|member| member.status.is_ok()).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_endpoint_keeps_nobody_from_starting() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let follower = cluster.follower();
    cluster.stop(follower);
    // Frozen for as long as this lasts: a start that waits for it never ends.
    let store = tokio::time::timeout(super::SOON, connect(&cluster)).await.expect("the others are enough");
    write(&store, "a", "1").await;
    assert!(store.members().await[follower].status.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ejected_endpoint_is_left_alone_and_taken_back() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let clock = Arc::new(ManualClock::default());
    let store = EtcdStore::connect(options(&cluster), clock.clone()).await.unwrap();
    write(&store, "a", "1").await;
    let used = (0..3).find(|member| calls(&cluster, *member, "KV", "Txn") > 0).unwrap();
    // Two in a row get no answer there.
    cluster.stop(used);
    let _ = tokio::join!(read(&store, "a"), read(&store, "a"));
    eventually("an answer of the others", || read(&store, "a")).await;
    cluster.cont(used);
    cluster.wait_healthy();
    let dialled = calls(&cluster, used, "Maintenance", "Status");
    for n in 0..50 {
        write(&store, "a", n.to_string()).await;
    }
    assert_eq!(calls(&cluster, used, "KV", "Txn"), 1);
    assert_eq!(calls(&cluster, used, "Maintenance", "Status"), dialled, "nobody has looked there yet");
    // After its time somebody does, and not at the cost of a request.
    clock.advance(Span::from_secs(31));
    eventually("a look at the ejected endpoint", || async {
        read(&store, "a").await?;
        match calls(&cluster, used, "Maintenance", "Status") {
            now if now > dialled => Ok(()),
            _ => Err(StoreError::Unavailable("not yet".into())),
        }
    })
    .await;
}

/// How often a member was called so.
fn calls(cluster: &EtcdCluster, member: usize, service: &str, method: &str) -> u32 {
    let labels = format!("grpc_method=\"{method}\",grpc_service=\"etcdserverpb.{service}\",grpc_type=\"unary\"");
    let count = cluster.metric(member, &format!("grpc_server_started_total{{{labels}}}"));
    count.map_or(0, |count| format!("{count}").parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_has_one_connection_for_requests_and_one_for_watches() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    // Each new connection asks its member for its status once.
    assert_eq!(calls(&cluster, 0, "Maintenance", "Status"), 1);
    let many = (0..50).map(|n| {
        let store = Arc::clone(&store);
        async move {
            store.txn(put(&format!("k/{n}"), "")).await.unwrap();
            store.watch(rr_store::Keys::prefix("k/"), 0).await.unwrap()
        }
    });
    let watches = futures::future::join_all(many).await;
    assert_eq!((watches.len(), calls(&cluster, 0, "Maintenance", "Status")), (50, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_tell_of_themselves_in_any_state() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let members = store.members().await;
    let told: Vec<_> = members.iter().map(|member| member.status.as_ref().unwrap()).collect();
    assert_eq!(members.iter().map(|member| member.endpoint.clone()).collect::<Vec<_>>(), cluster.endpoints());
    assert_eq!(told.iter().filter(|status| status.is_leader()).count(), 1);
    assert!(told[cluster.leader()].is_leader());
    for status in told {
        assert!(status.version.starts_with("3."), "{status:?}");
        assert!(status.raft_term > 0 && status.db_bytes >= status.db_bytes_in_use && status.quota_bytes > Some(0));
        assert!(!status.is_learner && status.alarms.is_empty(), "{status:?}");
    }
    cluster.kill(0);
    cluster.kill(1);
    let members = store.members().await;
    assert!(members[0].status.is_err() && members[1].status.is_err(), "{members:?}");
    assert!(members[2].status.is_ok(), "{members:?}");
}

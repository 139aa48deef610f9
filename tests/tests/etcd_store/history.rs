//! H7: a store that was put back to an earlier state is noticed by whoever has seen the later one, and by nobody else.

use rr_core::time::Span;
use rr_store::{EtcdOptions, EtcdStore, Keys, Position, Store, StoreError};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::{connect, connect_from, connect_with, eventually, next, put, read, write};

fn went_back<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> (Position, Position) {
    match answer {
        Err(StoreError::WentBack { seen, now }) => (seen, now),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_is_fenced_until_its_history_is_accepted() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let before = write(&store, "h", "1").await;
    let backup = cluster.backup();
    let lease = eventually("a lease", || store.grant(Span::from_secs(60))).await;
    for _ in 0..100 {
        write(&store, "h", "2").await;
    }
    let mut watch = store.watch(Keys::one("h"), 0).await.unwrap();
    cluster.restore(&backup);
    // The watch finds out by itself, whatever is asked meanwhile.
    let (seen, now) = went_back(next(&mut watch).await.expect("an item"));
    assert!(seen.revision >= before + 100 && now.revision < seen.revision, "{seen} {now}");
    assert!(next(&mut watch).await.is_none());
    // From then on everything is, and nothing is sent.
    went_back(read(&store, "h").await);
    let error = store.txn(put("h", "3")).await.unwrap_err();
    assert!(error.is_unknown() && !error.is_retryable(), "{error}");
    went_back(store.keep_alive(lease).await);
    went_back(store.grant(Span::from_secs(60)).await);
    went_back(store.revoke(lease).await);
    went_back(store.watch(Keys::one("h"), 0).await.map(drop));
    // Somebody new sees the old value, and no write of ours.
    assert_eq!(read(&*connect(&cluster).await, "h").await.unwrap().kvs[0].value, b"1");
    store.accept_history();
    assert_eq!(read(&store, "h").await.unwrap().kvs[0].value, b"1");
    write(&store, "h", "4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state_is_noticed_over_a_restart_of_the_process() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let first = connect(&cluster).await;
    let backup = cluster.backup();
    eventually("a write", || first.txn(put("h", "1"))).await;
    let seen = first.position();
    assert!(seen.revision > 1 && seen.raft_term > 1, "{seen}");
    drop(first);
    assert!(read(&*connect_from(&cluster, seen).await, "h").await.is_ok());
    cluster.restore(&backup);
    let (told, _) = went_back(read(&*connect_from(&cluster, seen).await, "h").await);
    assert_eq!(told, seen);
    // One that remembers nothing has nothing to compare with.
    assert!(read(&*connect(&cluster).await, "h").await.is_ok());
}

/// The revision has long overtaken what was seen; the elections have not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_term_gives_a_restored_store_away_at_a_higher_revision() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    let backup = cluster.backup();
    for _ in 0..3 {
        cluster.restart_all(true);
    }
    eventually("a write", || store.txn(put("h", "1"))).await;
    let seen = store.position();
    cluster.restore(&backup);
    let other = connect(&cluster).await;
    for _ in 0..20 {
        write(&other, "h", "2").await;
    }
    let (_, now) = went_back(read(&store, "h").await);
    assert!(now.revision > seen.revision && now.raft_term < seen.raft_term, "{seen} {now}");
}

/// A member that was far behind takes the state over in one piece and does not count the elections it slept through until
/// it has applied something more: an honest answer in an older term.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_caught_up_in_one_piece_is_no_restored_store() {
    let flags = ["--snapshot-count=10", "--snapshot-catchup-entries=5"].map(str::to_owned).to_vec();
    let mut cluster = EtcdCluster::start(3, EtcdSetup { flags, ..EtcdSetup::default() });
    let store = connect(&cluster).await;
    let mut seen = Position::default();
    // A write that comes late spoils the scene: the member applies it, and knows the term.
    let mut is_set = false;
    for _ in 0..3 {
        let late = fall_behind(&mut cluster, &store).await;
        seen = store.position();
        cluster.cont(late);
        cluster.wait_healthy();
        is_set = says(&cluster, late).await.raft_term < seen.raft_term;
        if is_set {
            break;
        }
    }
    assert!(is_set, "no member ever answered in an older term");
    // Which endpoint is asked first is drawn; some of these begin at the late one.
    for _ in 0..20 {
        let store = connect_from(&cluster, seen).await;
        let value = eventually("a read", || read(&store, "h")).await;
        assert_eq!(value.kvs[0].value, b"end");
        let mut watch = store.watch(Keys::one("h"), seen.revision).await.unwrap();
        next(&mut watch).await.unwrap().unwrap();
    }
}

/// Freezes a follower while the others write and elect; which one.
async fn fall_behind(cluster: &mut EtcdCluster, store: &EtcdStore) -> usize {
    let late = cluster.follower();
    cluster.stop(late);
    for round in 0..3 {
        for _ in 0..150 {
            eventually("a write", || store.txn(put("h", round.to_string()))).await;
        }
        let leader = cluster.leader();
        cluster.restart(leader);
        cluster.wait_healthy();
    }
    eventually("a write", || store.txn(put("h", "end"))).await;
    late
}

/// Where the store stands, by one member's word.
async fn says(cluster: &EtcdCluster, member: usize) -> Position {
    let alone = EtcdOptions { endpoints: vec![cluster.endpoint(member)], ..EtcdOptions::default() };
    let alone = connect_with(alone).await;
    eventually("a read", || read(&alone, "h")).await;
    alone.position()
}

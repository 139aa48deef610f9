//! Members killed, frozen and full: what is answered, how soon, and whether it is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rr_core::time::Span;
use rr_store::{EtcdStore, Keys, Op, Store, StoreError};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::{connect, eventually, put, read, write};

/// The engine's own deadlines are 2 s for a read, 5 s for a write and one more to connect. This only tells a call that ends from
/// one that waits for ever: a busy machine may take its time.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What one writer was told of each of its keys.
type Told = BTreeMap<String, Result<u64, StoreError>>;

/// Writes keys of its own, one after another, until told to end.
async fn writer(store: Arc<EtcdStore>, name: String, ends: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Told {
    let mut told = Told::new();
    while !ends.load(Ordering::SeqCst) {
        let key = format!("load/{name}/{}", told.len());
        let answer = in_time(store.txn(put(&key, ""))).await;
        if answer.is_ok() {
            done.fetch_add(1, Ordering::SeqCst);
        } else {
            // A refusal comes at once: do not fill the memory with them.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        told.insert(key, answer.map(|reply| reply.revision));
    }
    told
}

/// G9 in earnest: what was answered is there, what was refused is not, and only unknown outcomes may be either.
async fn is_true(store: &EtcdStore, told: Told) -> (usize, usize) {
    let stored = eventually("read all", || store.range(Keys::prefix("load/"))).await;
    let stored: BTreeMap<_, _> = stored.kvs.into_iter().map(|kv| (kv.key, kv.mod_revision)).collect();
    let (mut done, mut unknown) = (0, 0);
    for (key, answer) in told {
        let found = stored.get(&key).copied();
        match answer {
            Ok(revision) => {
                assert_eq!(found, Some(revision), "{key} was acknowledged");
                done += 1;
            }
            Err(error) if error.is_unknown() => unknown += 1,
            Err(error) => assert_eq!(found, None, "{key} was refused: {error}"),
        }
    }
    (done, unknown)
}

/// Waits until that many more writes have been answered.
async fn more(done: &AtomicU64, count: u64) {
    let goal = done.load(Ordering::SeqCst) + count;
    eventually("more writes", || async {
        match done.load(Ordering::SeqCst) {
            done if done >= goal => Ok(()),
            done => Err(StoreError::Unavailable(format!("{done} of {goal}"))),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_no_answered_write_and_no_refusal_was_applied() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let (ends, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    for n in 0..8 {
        // A store each, so that they spread over the members.
        let store = connect(&cluster).await;
        writers.push(tokio::spawn(writer(store, n.to_string(), Arc::clone(&ends), Arc::clone(&done))));
    }
    for _ in 0..3 {
        more(&done, 100).await;
        let leader = cluster.leader();
        cluster.kill(leader);
        more(&done, 100).await;
        cluster.restart(leader);
        cluster.wait_healthy();
    }
    let store = connect(&cluster).await;
    ends.store(true, Ordering::SeqCst);
    let mut told = Told::new();
    for writer in writers {
        told.extend(writer.await.unwrap());
    }
    let (done, unknown) = is_true(&store, told).await;
    eprintln!("{done} writes answered, {unknown} unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_costs_no_read_and_at_most_the_writes_in_flight() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    // One of them is the member that the store is connected to.
    for member in 0..3 {
        write(&store, "f/before", "").await;
        cluster.stop(member);
        let started = Instant::now();
        let mut lost = 0;
        // The cluster may be electing; a store connected elsewhere must not notice more than that.
        while let Err(error) = store.txn(put("f/write", member.to_string())).await {
            assert!(error.is_retryable() || error.is_unknown(), "{error}");
            lost += usize::from(error.is_unknown());
            assert!(started.elapsed() < ENDS_WITHIN, "no write went through: {error}");
        }
        assert!(lost <= 2, "{lost} writes in a row were lost on a frozen member");
        let value = in_time(read(&store, "f/write")).await.unwrap().kvs[0].value.clone();
        assert_eq!(value, member.to_string().into_bytes());
        cluster.cont(member);
        cluster.wait_healthy();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_outlives_the_frozen_member_it_was_sent_to() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    // One store for each member as its first choice: whichever is frozen, somebody is connected to it.
    let mut stores = Vec::new();
    for member in 0..3 {
        let mut options = super::options(&cluster);
        options.endpoints = vec![cluster.endpoint(member)];
        let alone = super::connect_with(options).await;
        stores.push((alone, connect(&cluster).await));
    }
    write(&stores[0].1, "r", "1").await;
    let follower = cluster.follower();
    cluster.stop(follower);
    for (member, (alone, all)) in stores.iter().enumerate() {
        for _ in 0..4 {
            let (from_one, from_all) = tokio::join!(in_time(read(alone, "r")), in_time(read(all, "r")));
            assert_eq!(from_all.unwrap().kvs.len(), 1);
            match from_one {
                Ok(reply) => assert_eq!(reply.kvs.len(), 1),
                Err(error) => assert!(member == follower && error.is_retryable(), "{error}"),
            }
        }
    }
}

/// What a call comes to, which must not wait for ever.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(ENDS_WITHIN, call).await.expect("the engine's own deadline ends it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_members_frozen_every_call_ends_in_time_and_afterwards_all_is_well() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    (0..3).for_each(|member| cluster.stop(member));
    for _ in 0..2 {
        let (read, written, renewed) = tokio::join!(
            in_time(read(&store, "a")),
            in_time(store.txn(put("a", "1"))),
            in_time(store.keep_alive(lease)),
        );
        let [read, written, renewed] =
            [read.map(drop), written.map(drop), renewed.map(drop)].map(|said| said.expect_err("nobody is there"));
        assert!(read.is_retryable(), "{read}");
        assert!(written.is_unknown() || written.is_retryable(), "{written}");
        assert!(renewed.is_unknown(), "{renewed}");
    }
    (0..3).for_each(|member| cluster.cont(member));
    cluster.wait_healthy();
    eventually("a write", || store.txn(put("a", "2"))).await;
    eventually("a keep-alive", || store.keep_alive(lease)).await;
    assert_eq!(read(&store, "a").await.unwrap().kvs[0].value, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_told_at_once_as_not_applied() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    write(&store, "a", "1").await;
    cluster.kill(0);
    // The broken connection has to be noticed first; a write that was sent over it is unknown, and says so.
    eventually("a refusal", || async {
        match store.txn(put("a", "2")).await {
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => panic!("nobody is there"),
        }
    })
    .await;
    // Nobody waited for it: a refusal says so itself, and a deadline would say another thing.
    for _ in 0..20 {
        let error = store.txn(put("a", "2")).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("refused")), "{error}");
    }
    cluster.restart(0);
    cluster.wait_healthy();
    // The very next request finds it.
    assert_eq!(read(&store, "a").await.unwrap().kvs[0].value, b"1");
    write(&store, "a", "3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_cluster_refuses_writes_and_says_so() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let store = connect(&cluster).await;
    write(&store, "half", "1").await;
    let leader = cluster.leader();
    let other = (leader + 1) % 3;
    cluster.kill(leader);
    cluster.kill(other);
    // As soon as the one that is left knows that it has no leader, it refuses before it proposes.
    let why = eventually("a refusal", || async {
        match store.txn(put("half", "2")).await {
            Err(StoreError::Unavailable(why)) => Ok(why),
            Err(error) => Err(error),
            Ok(_) => panic!("one of three is no quorum"),
        }
    })
    .await;
    assert!(why.contains("no leader") || why.contains("refused"), "{why}");
    assert!(matches!(read(&store, "half").await, Err(StoreError::Unavailable(_))));
    // A process that starts now gets a store, and no answers.
    let late = connect(&cluster).await;
    assert!(matches!(read(&late, "half").await, Err(StoreError::Unavailable(_))));
    let told = late.members().await;
    assert_eq!(told.iter().filter(|member| member.status.is_ok()).count(), 1, "{told:?}");
    cluster.restart(leader);
    cluster.restart(other);
    cluster.wait_healthy();
    eventually("a write", || late.txn(put("half", "3"))).await;
}

/// H9: a pause is a delete, and a delete always works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_puts_and_still_deletes() {
    const PIECE: usize = 256 << 10;
    let setup = EtcdSetup { flags: vec!["--quota-backend-bytes=4194304".into()], ..EtcdSetup::default() };
    let cluster = EtcdCluster::start(3, setup);
    let store = connect(&cluster).await;
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.txn(rr_store::Txn::default().then(vec![Op::put_leased("full/leased", "", lease)])).await.unwrap();
    write(&store, "full/run", "1").await;
    let full = async {
        for n in 0.. {
            if let Err(error) = store.txn(put(&format!("full/{n}"), vec![7; PIECE])).await {
                return error;
            }
        }
        unreachable!("the quota is 16 pieces")
    };
    let error = full.await;
    assert!(matches!(error, StoreError::NoSpace(_)) && error.is_unknown(), "{error}");
    let members = store.members().await;
    assert!(
        members.iter().any(|m| m.status.as_ref().is_ok_and(|s| s.alarms.iter().any(|a| a.contains("NOSPACE")))),
        "{members:?}"
    );
    assert!(members.iter().all(|m| m.status.as_ref().is_ok_and(|s| s.quota_bytes == Some(4 << 20))), "{members:?}");
    assert!(matches!(store.txn(put("full/more", "1")).await, Err(StoreError::NoSpace(_))));
    assert!(matches!(store.grant(Span::from_secs(60)).await, Err(StoreError::NoSpace(_))));
    let paused =
        rr_store::Txn::when(vec![rr_store::Compare::exists("full/run")]).then(vec![Op::Delete(Keys::one("full/run"))]);
    let paused = store.txn(paused).await.unwrap();
    assert!(paused.succeeded && paused.replies == [rr_store::OpReply::Delete(1)]);
    assert!(read(&store, "full/run").await.unwrap().kvs.is_empty());
    assert!(matches!(store.keep_alive(lease).await, Ok(rr_store::KeepAlive::Alive(_))));
    store.revoke(lease).await.unwrap();
    assert!(read(&store, "full/leased").await.unwrap().kvs.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_cluster_is_damaged() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let store = connect(&cluster).await;
    write(&store, "c", "1").await;
    let mut operator = etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap();
    let raise = etcd_client::AlarmAction::Activate;
    operator.alarm(raise, etcd_client::AlarmType::Corrupt, None).await.unwrap();
    assert!(matches!(store.txn(put("c", "2")).await, Err(StoreError::Damaged(_))));
    let members = store.members().await;
    let alarms = &members[0].status.as_ref().unwrap().alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("CORRUPT")), "{alarms:?}");
}

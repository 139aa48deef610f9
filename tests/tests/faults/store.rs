//! The store itself: its history forgotten every 100 ms (H8), full (H9), put back to an earlier state (H7).

use std::collections::HashSet;

use rr_fleet::{Hold, HoldKind, PauseDone};
use rr_history::{Behaviour, Call, Outcome};
use rr_store::{Keys, Op, Store as _, StoreError, Txn};
use rr_tests::crowd::{Crowd, PREFIX, QUICK, busy};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::clients::compact;
use super::{ENOUGH, seed, trouble};

/// Grants of each life of a store that is put back.
const SOME: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_forgotten_every_tenth_of_a_second_is_missed_by_nobody() {
    let cluster = EtcdCluster::start(3, EtcdSetup::default());
    let crowd = super::crowd(&cluster, 6).await;
    let compacting = tokio::spawn(compact(crowd.store.clone(), crowd.recorder.clone()));
    tokio::time::sleep(trouble(6)).await;
    crowd.until_granted(ENOUGH).await;
    compacting.abort();
    let report = crowd.judge(0).await;
    assert!(report.grants > 15 && report.waits > 20 && report.passes > 100, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_can_be_paused_and_nothing_passes_afterwards() {
    let quota = EtcdSetup { flags: vec!["--quota-backend-bytes=4194304".into()], ..EtcdSetup::default() };
    let cluster = EtcdCluster::start(3, quota);
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    for _ in 0..4 {
        crowd.join(cluster.endpoints(), Behaviour { pauses: 0, ..busy() }).await;
    }
    crowd.pass(1.0).await;
    fill(&crowd).await;
    let done = crowd.client().await.pause(&hold("full")).await.expect("paused");
    assert!(matches!(done, PauseDone::PausedWithoutRecord { .. }), "{done:?}");
    let paused = crowd.recorder.now();
    crowd.pass(QUICK.permit_fresh.as_secs() as f64 + 1.0).await;
    let members = crowd.members.len();
    let (history, report) = crowd.history(0).await;
    // The judge has found no call that passed later than a permit may be old. Here everybody is connected, and reads of the pause.
    let reads_it = |call: &&Call| matches!(call.outcome, Outcome::Read { running: false, .. }) && call.invoked > paused;
    let told = history.calls.iter().filter(reads_it).count();
    assert!(told >= members, "{told} reads of the pause by {members} sidecars");
    assert!(report.passes > 20 && report.pauses == 1, "{report:?}");
}

fn hold(reason: &str) -> Hold {
    let (who, reason) = ("test".to_owned(), reason.to_owned());
    Hold { id: String::new(), kind: HoldKind::Person, who, reason, hard: false, affected: None, since_unix_ms: 0 }
}

async fn fill(crowd: &Crowd) {
    for n in 0..100 {
        let put = Txn::default().then(vec![Op::put(format!("fill/{n}"), vec![7; 500_000])]);
        match crowd.store.txn(put).await {
            Err(StoreError::NoSpace(_)) => return,
            other => drop(other.expect("written")),
        }
    }
    panic!("never full");
}

/// The generation and each token that was told in it.
fn told(history: &rr_history::History) -> HashSet<(Vec<u8>, u64)> {
    let generation = history.last.iter().find(|kv| kv.key == format!("{PREFIX}meta/gen")).expect("a generation");
    let locks = history.calls.iter().filter_map(|call| match &call.outcome {
        Outcome::Granted { locks, .. } => Some(locks),
        _ => None,
    });
    locks.flatten().map(|lock| (generation.value.clone(), lock.token.0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_put_back_is_noticed_and_no_token_is_told_twice() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    drop(crowd.client().await);
    let backup = cluster.backup();
    for _ in 0..4 {
        crowd.join(cluster.endpoints(), Behaviour { pauses: 0, ..busy() }).await;
    }
    crowd.until_granted(SOME).await;
    let recorder = crowd.recorder.clone();
    // Stopped at one moment, so that the history is whole; they have sessions, locks and calls under way.
    crowd.members.iter().for_each(|member| member.halt.stop());
    let before = recorder.finish(QUICK).await.expect("recorded");
    cluster.restore(&backup);
    let restored = recorder.now();
    crowd.members.iter().for_each(|member| member.halt.go_on());
    crowd.pass(QUICK.permit_fresh.as_secs() as f64 + 2.0).await;
    let noticed = |member: &rr_tests::crowd::Member| {
        let store = member.store.clone();
        async move { matches!(store.range(Keys::one("x")).await, Err(StoreError::WentBack { .. })) }
    };
    for member in &crowd.members {
        assert!(noticed(member).await, "a sidecar goes on with a store that went back");
    }
    let (calls, passes) = recorder.so_far();
    let granted = calls.iter().any(|call| call.invoked > restored && matches!(call.outcome, Outcome::Granted { .. }));
    assert!(!granted, "a lock was granted by a store that went back");
    assert!(passes.iter().all(|pass| pass.at < restored + QUICK.permit_fresh), "calls passed on what is no longer so");
    crowd.abandon();
    let again = again(&cluster).await;
    assert!(told(&before).is_disjoint(&told(&again)), "a token was told twice");
    let (first, second) = (told(&before).len(), told(&again).len());
    assert!(first > 5 && second > 5, "{first} and {second} locks were told of");
}

/// The next life: everybody connects anew, in a generation of its own.
async fn again(cluster: &EtcdCluster) -> rr_history::History {
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    let client = crowd.client().await;
    let done = client.fleet.post_restore(&hold("restored")).await.expect("begun anew");
    client.resume(done.epoch).await.expect("resumed");
    for _ in 0..4 {
        crowd.join(cluster.endpoints(), Behaviour { pauses: 0, ..busy() }).await;
    }
    crowd.until_granted(SOME).await;
    crowd.history(0).await.0
}

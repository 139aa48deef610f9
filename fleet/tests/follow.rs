//! The picture that follows the store shows what a fresh reading shows, whatever happened meanwhile, and says when it can no
//! longer follow.

mod common;

use common::{Stage, write};
use futures::FutureExt as _;
use rr_core::id::Epoch;
use rr_fleet::{Ending, Hold, HoldKind, Overview, PauseDone};
use rr_store::{Keys, Op, Store as _, Txn};

fn told(all: &Overview) -> String {
    let Overview { state, sessions, locks, waiters, acks, unreadable } = all;
    let paused = state.is_paused();
    format!(
        "{paused} {:?} {:?}\n{sessions:?}\n{locks:?}\n{waiters:?}\n{acks:?}\n{unreadable:?}",
        state.epoch, state.holds
    )
}

#[tokio::test(start_paused = true)]
async fn a_follower_shows_what_a_fresh_reading_shows() {
    let stage = Stage::new().await;
    let early = stage.session(1).await;
    let kept = stage.lock(&early, write("src/a")).await;
    let mut follower = stage.fleet.follow().await.unwrap();
    assert_eq!(told(&follower.overview().unwrap()), told(&stage.fleet.overview().await.unwrap()));

    let late = stage.session(2).await;
    let lock = stage.lock(&late, write("src/b")).await;
    let waiter = stage.queued(&early, &[write("src/b")]).await;
    stage.fleet.release(&lock).await.unwrap();
    stage.fleet.cancel(&early, &waiter).await;
    stage.fleet.force_release(&kept.key, kept.token).await.unwrap();
    stage.fleet.end(&late, Ending::Died { gone: false }).await.unwrap();
    stage
        .direct
        .txn(Txn::default().then(vec![Op::put(format!("{}sess/{}", common::PREFIX, late.sid), "garbage")]))
        .await
        .unwrap();

    let now = stage.fleet.overview().await.unwrap();
    let mut gone = Vec::new();
    while told(&follower.overview().unwrap()) != told(&now) {
        gone.extend(follower.changed().await.unwrap());
    }
    assert!(gone.contains(&lock.key) && gone.contains(&kept.key), "{gone:?}");
    assert_eq!(now.unreadable.len(), 1, "garbage is named and hides nothing: {:?}", now.unreadable);
    assert_eq!(now.sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_watch_was_overtaken_by_compaction_says_so() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let mut follower = stage.fleet.follow_work().await.unwrap();
    // What it has not asked for yet is forgotten under it.
    for n in 0..5 {
        stage.lock(&session, write(&format!("f{n}"))).await;
    }
    let all = stage.fleet.overview().await.unwrap();
    stage.direct.compact(all.state.revision).await.unwrap();
    let mut fresh = stage.fleet.follow_work().await.unwrap();
    assert_eq!(told(&fresh.overview().unwrap()), told(&all));
    assert!(fresh.changed().now_or_never().is_none(), "nothing is left to tell");
    // The old one either got all of it before, or fails; it never stands still short of the present.
    while follower.overview().unwrap().locks.len() < 5 {
        if follower.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_known_from_its_change_alone() {
    let stage = Stage::new().await;
    let mut watch = stage.fleet.watch(stage.fleet.keyspace().fleet(), 0).await.unwrap();
    let next = async |watch: &mut rr_store::WatchStream| futures::StreamExt::next(watch).await.unwrap().unwrap();
    stage
        .direct
        .txn(Txn::default().then(vec![Op::put(format!("{}fleet/hold/x", common::PREFIX), "{}")]))
        .await
        .unwrap();
    let event = next(&mut watch).await;
    assert_eq!(stage.fleet.pause_in(&event), None);
    stage
        .direct
        .txn(Txn::default().then(vec![Op::Delete(Keys::prefix(format!("{}fleet/hold/", common::PREFIX)))]))
        .await
        .unwrap();
    next(&mut watch).await;
    let hold = Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who: "ann".to_owned(),
        reason: "lunch".to_owned(),
        hard: false,
        affected: None,
        since_unix_ms: 0,
    };
    let PauseDone::Paused { epoch, .. } = stage.fleet.pause(&hold).await.unwrap() else { panic!("it ran") };
    assert_eq!(stage.fleet.pause_in(&next(&mut watch).await), Some(epoch));
    assert_ne!(epoch, Epoch(0));
}

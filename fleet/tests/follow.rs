//! Who follows the fleet's work comes to what a fresh reading shows, whatever happened meanwhile, and is told when it can no
//! longer follow; and locks are counted without keeping any.

mod common;

use std::collections::BTreeMap;

use common::{Stage, write};
use futures::FutureExt as _;
use rr_core::id::Epoch;
use rr_fleet::{Ending, Follower, Hold, HoldKind, Moved, Moves, Now, Overview, PauseDone};
use rr_store::{Keys, Op, Store as _, Txn};

/// What a follower's listener keeps, beside what a fresh reading shows.
#[derive(Default)]
struct Picture {
    sessions: BTreeMap<String, String>,
    locks: BTreeMap<String, String>,
    waiters: BTreeMap<String, String>,
    unreadable: usize,
    gone: Vec<String>,
}

impl Picture {
    async fn of(stage: &Stage) -> (Self, Follower) {
        let (mut picture, all) = (Self::default(), stage.fleet.work().await.unwrap());
        let revision = all.revision;
        all.rows().for_each(|(_, moved)| picture.take_in_one(moved));
        (picture, stage.fleet.follow_work(revision).await.unwrap())
    }

    fn take_in(&mut self, moves: Moves) {
        moves.moved.into_iter().for_each(|moved| self.take_in_one(moved));
    }

    fn take_in_one(&mut self, moved: Moved) {
        match moved {
            Moved::Session(sid, now) => keep(&mut self.sessions, sid.to_string(), &now, &mut self.unreadable),
            Moved::Waiter(key, now) => keep(&mut self.waiters, key, &now, &mut self.unreadable),
            Moved::Lock { key, session, now, .. } => {
                assert!(key.contains(session.as_str()), "{key}");
                if let Now::Gone = now {
                    self.gone.push(key.clone());
                }
                keep(&mut self.locks, key, &now, &mut self.unreadable);
            }
        }
    }

    fn told(&self) -> String {
        let Self { sessions, locks, waiters, .. } = self;
        format!("{sessions:?}\n{:?}\n{:?}", locks.values(), waiters.values())
    }
}

fn keep<T: std::fmt::Debug>(of: &mut BTreeMap<String, String>, key: String, now: &Now<T>, unreadable: &mut usize) {
    match now {
        Now::Is(value) => drop(of.insert(key, format!("{value:?}"))),
        Now::Unreadable => {
            *unreadable += 1;
            of.remove(&key);
        }
        Now::Gone => drop(of.remove(&key)),
    }
}

async fn fresh(stage: &Stage) -> String {
    let Overview { sessions, locks, waiters, .. } = stage.fleet.overview().await.unwrap();
    let sessions: BTreeMap<_, _> =
        sessions.iter().map(|row| (row.sid.to_string(), format!("{:?}", row.record))).collect();
    let locks: BTreeMap<_, _> = locks.iter().map(|row| (&row.key, format!("{row:?}"))).collect();
    let waiters: Vec<String> = waiters.iter().map(|row| format!("{row:?}")).collect();
    format!("{sessions:?}\n{:?}\n{waiters:?}", locks.values())
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_comes_to_what_a_fresh_reading_shows() {
    let stage = Stage::new().await;
    let early = stage.session(1).await;
    let kept = stage.lock(&early, write("src/a")).await;
    let (mut picture, mut follower) = Picture::of(&stage).await;
    assert_eq!(picture.told(), fresh(&stage).await);

    let late = stage.session(2).await;
    let lock = stage.lock(&late, write("src/b")).await;
    let waiter = stage.queued(&early, &[write("src/b")]).await;
    let waits = fresh(&stage).await;
    assert!(waits.contains("WaiterRow"), "{waits}");
    while picture.told() != waits {
        picture.take_in(follower.changed().await.unwrap());
    }
    stage.fleet.release(&lock).await.unwrap();
    stage.fleet.cancel(&early, &waiter).await;
    stage.fleet.force_release(&kept.key, kept.token).await.unwrap();
    stage.fleet.end(&late, Ending::Died { gone: false }).await.unwrap();
    stage
        .direct
        .txn(Txn::default().then(vec![Op::put(format!("{}sess/{}", common::PREFIX, late.sid), "garbage")]))
        .await
        .unwrap();

    let now = fresh(&stage).await;
    while picture.told() != now || picture.unreadable == 0 {
        picture.take_in(follower.changed().await.unwrap());
    }
    assert!(picture.gone.contains(&lock.key) && picture.gone.contains(&kept.key), "{:?}", picture.gone);
    assert_eq!((picture.unreadable, picture.sessions.len()), (1, 1), "garbage hides nothing else");
}

#[tokio::test(start_paused = true)]
async fn locks_are_counted_as_they_come_and_go() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let first = stage.lock(&session, write("src/a")).await;
    let mut count = stage.fleet.count_locks().await.unwrap();
    assert_eq!(count.locks(), 1);
    stage.lock(&session, write("src/b")).await;
    // A value written anew is no other lock.
    let stored = stage.direct.range(Keys::one(&*first.key)).await.unwrap().kvs.remove(0);
    stage.direct.txn(Txn::default().then(vec![Op::put(&*first.key, stored.value)])).await.unwrap();
    stage.fleet.release(&first).await.unwrap();
    stage.lock(&session, write("src/c")).await;
    stage.fleet.end(&session, Ending::Clean).await.unwrap();
    // Each of them a change of its own, but for the end, which takes both that are left.
    let mut counts = Vec::new();
    while counts.last() != Some(&0) {
        count.changed().await.unwrap();
        counts.push(count.locks());
    }
    assert_eq!(counts, [2, 2, 1, 2, 0]);
    assert!(count.changed().now_or_never().is_none(), "nothing is left to count");
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_watch_was_overtaken_by_compaction_says_so() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let (mut picture, mut follower) = Picture::of(&stage).await;
    // What it has not asked for yet is forgotten under it.
    for n in 0..5 {
        stage.lock(&session, write(&format!("f{n}"))).await;
    }
    let all = stage.fleet.overview().await.unwrap();
    stage.direct.compact(all.state.revision).await.unwrap();
    let (again, mut later) = Picture::of(&stage).await;
    assert_eq!(again.told(), fresh(&stage).await);
    assert!(later.changed().now_or_never().is_none(), "nothing is left to tell");
    // The old one either got all of it before, or fails; it never stands still short of the present.
    while picture.locks.len() < 5 {
        match follower.changed().await {
            Ok(moves) => picture.take_in(moves),
            Err(_) => return,
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

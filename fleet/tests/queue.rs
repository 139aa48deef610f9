//! Waiting: first come, first served (H34), what wakes a waiter, how a wait ends, and what a release costs when many wait
//! (H35). Time is virtual; what a waiter sleeps is free.

mod common;

use common::{PREFIX, Stage, glob, named, pass, path, read, replay, write};
use rr_core::scope::Claim;
use rr_core::time::Span;
use rr_fleet::{Answer, Ending, Released, WaitEnd};
use rr_store::faulty::{Call, Fault};
use rr_store::{Keys, Op, Store, Txn};

/// Enough to see what grows with the number of waiters; each costs a look at all the others.
const CROWD: u64 = 300;

fn lock_of(end: WaitEnd) -> rr_fleet::GrantedLock {
    match end {
        WaitEnd::Granted(mut grant) => grant.locks.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_request_never_overtakes_a_waiter_and_a_disjoint_one_passes() {
    let stage = Stage::new().await;
    let all = stage.sessions(5).await;
    let held = stage.lock(&all[0], write("src/a")).await;
    let folder = stage.queued(&all[1], &[write("src")]).await;
    // Free, but the folder's waiter would have to wait for it.
    let file = stage.queued(&all[2], &[write("src/b")]).await;
    let name = stage.granted(&all[3], &[write("doc"), Claim::exclusive(named("build"))]).await;
    let shared = stage.granted(&all[4], &[read("other"), Claim::exclusive(glob("doc2", "*.md"))]).await;
    assert!(name.revision > file.since() && shared.revision > file.since());
    stage.fleet.release(&held).await.unwrap();
    // Before the waiter has looked: nobody slips in.
    let barging = stage.queued(&all[3], &[write("src/a")]).await;
    let (file, barging) = (stage.wait(&all[2], file, 60), stage.wait(&all[3], barging, 60));
    pass(1_000).await;
    assert!(!file.is_finished() && !barging.is_finished());
    let folder = lock_of(stage.wait(&all[1], folder, 60).await.unwrap().unwrap());
    stage.fleet.release(&folder).await.unwrap();
    let (file, barging) = (file.await.unwrap().unwrap(), barging.await.unwrap().unwrap());
    assert!(lock_of(file).token > folder.token && lock_of(barging).token > folder.token);
    replay::check(&replay::events(&stage.embedded).await).unwrap();
}

#[tokio::test(start_paused = true)]
async fn readers_do_not_starve_a_writer_nor_each_other() {
    let stage = Stage::new().await;
    let all = stage.sessions(4).await;
    let first = stage.lock(&all[0], read("a")).await;
    let writer = stage.queued(&all[1], &[write("a")]).await;
    let late = stage.queued(&all[2], &[read("a")]).await;
    let late = stage.wait(&all[2], late, 60);
    let last = stage.queued(&all[3], &[read("a")]).await;
    let last = stage.wait(&all[3], last, 60);
    let writer = stage.wait(&all[1], writer, 60);
    stage.fleet.release(&first).await.unwrap();
    let writer = lock_of(writer.await.unwrap().unwrap());
    pass(1_000).await;
    assert!(!late.is_finished() && !last.is_finished());
    stage.fleet.release(&writer).await.unwrap();
    lock_of(late.await.unwrap().unwrap());
    lock_of(last.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn fifty_writers_are_served_in_the_order_they_came() {
    for seed in 0..5 {
        let stage = Stage::seeded(seed).await;
        let all = stage.sessions(51).await;
        let held = stage.lock(&all[0], write("dir/f")).await;
        let mut waits = Vec::new();
        for (at, session) in all[1..].iter().enumerate() {
            let scope = if at % 3 == 0 { "dir" } else { "dir/f" };
            let waiter = stage.queued(session, &[write(scope)]).await;
            let (fleet, session) = (stage.fleet.clone(), session.clone());
            let until = fleet.clock().now() + Span::from_secs(300);
            waits.push(tokio::spawn(async move {
                let lock = lock_of(fleet.wait(&session, waiter, until).await.unwrap());
                assert_eq!(fleet.release(&lock).await.unwrap(), Released::Yes);
                lock.token
            }));
        }
        stage.line.shuffle(true);
        stage.fleet.release(&held).await.unwrap();
        let mut tokens = Vec::new();
        for wait in waits {
            tokens.push(wait.await.unwrap());
        }
        assert!(tokens.is_sorted(), "seed {seed}: {tokens:?}");
        replay::check(&replay::events(&stage.embedded).await).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_by_release_force_release_end_and_expiry() {
    for how in ["release", "force", "end", "expiry", "cancel"] {
        let stage = Stage::new().await;
        let all = stage.sessions(3).await;
        let held = stage.lock(&all[0], write("a")).await;
        let ahead = stage.queued(&all[1], &[write("a")]).await;
        let waiter = if how == "cancel" {
            stage.fleet.release(&held).await.unwrap();
            stage.queued(&all[2], &[write("a")]).await
        } else {
            stage.fleet.cancel(&all[1], &ahead).await;
            stage.queued(&all[2], &[write("a")]).await
        };
        let waiting = stage.wait(&all[2], waiter, 600);
        pass(100).await;
        let before = stage.fleet.clock().now();
        match how {
            "release" => drop(stage.fleet.release(&held).await.unwrap()),
            "force" => drop(stage.fleet.force_release(&held.key, held.token).await.unwrap()),
            "end" => stage.fleet.end(&all[0], Ending::Died { gone: false }).await.unwrap(),
            "cancel" => stage.fleet.cancel(&all[1], &ahead).await,
            _ => {
                stage.advance(30).await;
                stage.fleet.keep_alive(&all[2]).await.unwrap();
                stage.advance(31).await;
            }
        }
        lock_of(waiting.await.unwrap().unwrap());
        let took = stage.fleet.clock().now().since(before);
        assert!(took.as_millis() < 100, "{how}: {took:?} is a poll, not a wake-up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_wait_as_busy_and_leaves_the_line() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let held = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    let before = stage.fleet.clock().now();
    let end = stage.wait(&all[1], waiter, 30).await.unwrap().unwrap();
    let WaitEnd::Busy(blockers) = end else { panic!("{end:?}") };
    assert_eq!(blockers[0].session(), &all[0].sid);
    assert_eq!(stage.fleet.clock().now().since(before).as_secs(), 30);
    assert!(stage.below("q/").await.is_empty());
    stage.fleet.release(&held).await.unwrap();
    stage.granted(&all[2], &[write("a")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_ends_and_a_waiter_whose_session_dies_is_lost() {
    let stage = Stage::new().await;
    let all = stage.sessions(4).await;
    stage.lock(&all[0], write("a")).await;
    let mut waits = Vec::new();
    for session in &all[1..] {
        let waiter = stage.queued(session, &[write("a")]).await;
        waits.push((waiter.clone(), stage.wait(session, waiter, 600)));
    }
    let (last, dead, cancelled) = (waits.remove(2), waits.remove(1), waits.remove(0));
    pass(100).await;
    stage.fleet.cancel(&all[1], &cancelled.0).await;
    stage.fleet.end(&all[2], Ending::Died { gone: true }).await.unwrap();
    assert_eq!(cancelled.1.await.unwrap().unwrap(), WaitEnd::Lost);
    assert_eq!(dead.1.await.unwrap().unwrap(), WaitEnd::Lost);
    assert!(!last.1.is_finished());
    assert_eq!(stage.below("q/").await.len(), 1);
}

/// Between a waiter's look and its grant its place is given up, and another takes the lock.
#[tokio::test(start_paused = true)]
async fn a_grant_under_way_does_not_outlive_its_place_in_line() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let held = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    stage.fleet.release(&held).await.unwrap();
    // The look passes; the grant takes its time.
    stage.fault(Call::Txn, 1, Fault::Delay(Span::from_millis(500)));
    let waiting = stage.wait(&all[1], waiter.clone(), 60);
    pass(100).await;
    stage.fleet.cancel(&all[1], &waiter).await;
    let other = stage.lock(&all[2], write("a/b")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), WaitEnd::Lost);
    assert_eq!(stage.below("x/").await.iter().map(|kv| &kv.key).collect::<Vec<_>>(), [&other.key]);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_not_answered_costs_no_place_in_line() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let held = stage.lock(&all[0], write("a")).await;
    let first = stage.queued(&all[1], &[write("a")]).await;
    let second = stage.queued(&all[2], &[write("a")]).await;
    let (first, second) = (stage.wait(&all[1], first, 60), stage.wait(&all[2], second, 60));
    pass(100).await;
    stage.faulty.cut_off(true);
    stage.faulty.end_watches();
    pass(3_000).await;
    stage.faulty.cut_off(false);
    stage.fleet.release(&held).await.unwrap();
    let first = lock_of(first.await.unwrap().unwrap());
    stage.fleet.release(&first).await.unwrap();
    lock_of(second.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn silent_broken_and_forgotten_watches_only_slow_a_waiter_down() {
    for fault in ["silent", "ended", "compacted", "refused"] {
        let stage = Stage::new().await;
        let all = stage.sessions(2).await;
        let held = stage.lock(&all[0], write("a")).await;
        let waiter = stage.queued(&all[1], &[write("a")]).await;
        match fault {
            "silent" => stage.faulty.silence_watches(true),
            "refused" => (0..4).for_each(|_| stage.faulty.plan(Call::Watch, Fault::Refused)),
            _ => {}
        }
        let waiting = stage.wait(&all[1], waiter, 600);
        pass(50).await;
        match fault {
            "ended" => stage.faulty.end_watches(),
            "compacted" => stage.direct.compact(stage.embedded.stats().revision).await.unwrap(),
            _ => {}
        }
        stage.fleet.release(&held).await.unwrap();
        let before = stage.fleet.clock().now();
        lock_of(waiting.await.unwrap().unwrap());
        assert!(stage.fleet.clock().now().since(before).as_secs() <= 5, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_waiters_a_release_costs_two_transactions() {
    let stage = Stage::new().await;
    let all = stage.sessions(CROWD + 1).await;
    let mut held = stage.lock(&all[0], write("a")).await;
    let mut waits = std::collections::VecDeque::new();
    for session in &all[1..] {
        let waiter = stage.queued(session, &[write("a")]).await;
        waits.push_back(stage.wait(session, waiter, 100_000));
    }
    pass(10).await;
    for round in 0..20 {
        let (before, sent) = (stage.embedded.stats().transactions, stage.line.sent());
        stage.fleet.release(&held).await.unwrap();
        held = lock_of(waits.pop_front().unwrap().await.unwrap().unwrap());
        pass(200).await;
        let cost = stage.embedded.stats().transactions - before;
        assert!(cost <= 2, "release {round} cost {cost} transactions");
        // The release, the look and the grant of the next in line, and a look of the one behind: its place has become a lock.
        assert_eq!(stage.line.sent() - sent, 4, "release {round}");
    }
    assert!(waits.iter().all(|wait| !wait.is_finished()));
}

/// In a long queue all who wait would read it again and again. That they do not is seen by an entry that nobody can read.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_nothing_woke_does_not_read_the_queue() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let held = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    let key = format!("{PREFIX}q/{}/{}.{}", common::repo(), all[0].sid, "0".repeat(32));
    stage.direct.txn(Txn::default().then(vec![Op::put(key, "{}")])).await.unwrap();
    let before = stage.line.sent();
    let waiting = stage.wait(&all[1], waiter, 60);
    pass(4_000).await;
    assert_eq!(stage.line.sent(), before, "the request has looked already");
    pass(8_000).await;
    assert_eq!(stage.line.sent(), before + 2, "twice a small look");
    assert!(!waiting.is_finished());
    stage.fleet.release(&held).await.unwrap();
    assert!(waiting.await.unwrap().is_err());
}

/// Waiters are read by a version that may know less: what it cannot read it must not step over.
#[tokio::test(start_paused = true)]
async fn an_unreadable_holder_or_waiter_grants_nothing() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let lock = stage.lock(&all[0], write("a")).await;
    stage.direct.txn(Txn::default().then(vec![Op::put(lock.key.clone(), "from another world")])).await.unwrap();
    assert!(stage.ask(&all[1], &[write("a")]).await.is_err());
    assert!(stage.below("q/").await.is_empty());
    let key = format!("{PREFIX}q/{}/{}.{}", common::repo(), all[0].sid, "0".repeat(32));
    stage.direct.txn(Txn::default().then(vec![Op::Delete(Keys::one(lock.key)), Op::put(key, "{}")])).await.unwrap();
    assert!(stage.ask(&all[1], &[Claim::exclusive(path("b"))]).await.is_err());
    assert!(stage.below("x/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiters_of_another_repository_are_no_concern() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    stage.lock(&all[0], write("a")).await;
    stage.queued(&all[1], &[write("a")]).await;
    let mut elsewhere = common::request(&[write("a")]);
    elsewhere.repo = rr_core::id::RepoId::parse("fedcba9876543210").unwrap();
    let before = stage.embedded.stats().transactions;
    assert!(matches!(stage.fleet.request(&all[1], elsewhere).await.unwrap(), Answer::Granted(_)));
    assert_eq!(stage.embedded.stats().transactions, before + 1, "the fast path");
}

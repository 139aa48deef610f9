//! Rings of waiters: each loses exactly its youngest entry (H33), to the one leader (H17), and only where there is a ring.

mod common;

use common::{Stage, pass, record, repo, request, write};
use rr_core::id::{HostId, RepoId};
use rr_core::limits::LOCKS_PER_FLEET_MAX;
use rr_fleet::{Answer, Ending, Fleet, FleetError, Leader, Released, Session, WaitEnd};

async fn leader(stage: &Stage) -> Leader {
    stage.fleet.campaign("watcher", &record(0).host).await.unwrap().expect("nobody else leads")
}

async fn tell(stage: &Stage, session: &Session, repo: &RepoId, file: &str) -> Answer {
    let request = rr_fleet::Request { repo: repo.clone(), ..request(&[write(file)]) };
    stage.fleet.request(session, request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rings_of_two_to_eight_are_broken_by_one_refusal_each() {
    for size in 2..=8u64 {
        let stage = Stage::new().await;
        let all = stage.sessions(size).await;
        let mut locks = Vec::new();
        for (at, session) in all.iter().enumerate() {
            locks.push(stage.lock(session, write(&format!("f{at}"))).await);
        }
        let leader = leader(&stage).await;
        let mut waits = Vec::new();
        for at in 0..all.len() {
            assert!(stage.fleet.break_rings(&leader).await.unwrap().is_empty(), "no ring yet");
            let waiter = stage.queued(&all[at], &[write(&format!("f{}", (at + 1) % all.len()))]).await;
            waits.push(stage.wait(&all[at], waiter, 600));
        }
        pass(10).await;
        let before = stage.embedded.stats().transactions;
        let broken = stage.fleet.break_rings(&leader).await.unwrap();
        assert_eq!(broken.len(), 1, "ring of {size}");
        assert!(broken[0].entry.contains(all.last().unwrap().sid.as_str()));
        assert_eq!(stage.embedded.stats().transactions, before + 1);
        assert!(stage.fleet.break_rings(&leader).await.unwrap().is_empty());
        assert_eq!(waits.pop().unwrap().await.unwrap().unwrap(), WaitEnd::Ring);
        // Who was refused gives up what it holds; then each of the others gets what it waits for.
        for (at, lock) in locks.iter().enumerate().skip(1).rev() {
            stage.fleet.release(lock).await.unwrap();
            let end = waits.pop().unwrap().await.unwrap().unwrap();
            assert!(matches!(end, WaitEnd::Granted(_)), "{at} of {size}: {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ring_through_two_repositories_is_one_and_equal_paths_of_two_are_none() {
    let (one, two) = (repo(), RepoId::parse("fedcba9876543210").unwrap());
    for ring in [true, false] {
        let stage = Stage::new().await;
        let all = stage.sessions(3).await;
        tell(&stage, &all[0], &one, "p").await;
        tell(&stage, &all[1], &two, "q").await;
        tell(&stage, &all[2], &two, "p").await;
        assert!(matches!(tell(&stage, &all[0], &two, "q").await, Answer::Queued(..)));
        // The second waits for the first in the one repository, or in the other for the third, whose path has the same name.
        let wanted = if ring { &one } else { &two };
        assert!(matches!(tell(&stage, &all[1], wanted, "p").await, Answer::Queued(..)));
        let leader = leader(&stage).await;
        assert_eq!(stage.fleet.break_rings(&leader).await.unwrap().len(), usize::from(ring));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_in_no_ring_is_not_refused_for_its_sessions_other_wait() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    for (session, file) in all.iter().zip(["a", "b", "c"]) {
        stage.lock(session, write(file)).await;
    }
    stage.queued(&all[0], &[write("b")]).await;
    let closing = stage.queued(&all[1], &[write("a")]).await;
    let innocent = stage.queued(&all[1], &[write("c")]).await;
    let leader = leader(&stage).await;
    assert_eq!(stage.fleet.break_rings(&leader).await.unwrap().len(), 1);
    let left: Vec<_> = stage.below("q/").await.iter().map(|kv| kv.create_revision).collect();
    assert!(left.contains(&innocent.since()) && !left.contains(&closing.since()));
}

#[tokio::test(start_paused = true)]
async fn there_is_one_leader_and_a_frozen_ones_late_refusal_is_refused() {
    let stage = Stage::new().await;
    let frozen = leader(&stage).await;
    assert!(stage.fleet.campaign("watcher", &record(0).host).await.unwrap().is_none());
    let all = stage.sessions(2).await;
    for (session, file) in all.iter().zip(["a", "b"]) {
        stage.lock(session, write(file)).await;
    }
    stage.queued(&all[0], &[write("b")]).await;
    stage.queued(&all[1], &[write("a")]).await;
    // Its refusal is under way while it freezes, its lease runs out, and another leads.
    stage.line.hold(1);
    assert!(stage.fleet.break_rings(&frozen).await.is_err());
    stage.advance(40).await;
    for session in &all {
        stage.fleet.keep_alive(session).await.unwrap();
    }
    stage.advance(21).await;
    let next = leader(&stage).await;
    assert_eq!(stage.line.deliver().await, 0);
    assert!(!stage.fleet.keep_leading(&frozen).await.unwrap());
    assert!(stage.fleet.break_rings(&frozen).await.unwrap().is_empty());
    assert_eq!(stage.below("q/").await.len(), 2);
    assert_eq!(stage.fleet.break_rings(&next).await.unwrap().len(), 1);
    stage.fleet.resign(&next).await;
    leader(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_campaign_leaves_no_leader() {
    use rr_store::faulty::{Call, Fault};
    for fault in [Fault::LostReply, Fault::Dropped] {
        let stage = Stage::new().await;
        stage.fault(Call::Txn, 0, fault);
        assert!(stage.fleet.campaign("watcher", &record(0).host).await.is_err());
        assert!(stage.below("leader/").await.is_empty());
        leader(&stage).await;
    }
}

/// The refusal is written for good: a grant that arrives late finds its operation's record there.
#[tokio::test(start_paused = true)]
async fn a_refused_waiter_is_not_granted_by_a_transaction_that_arrives_late() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let held = stage.lock(&all[0], write("a")).await;
    stage.lock(&all[1], write("b")).await;
    stage.queued(&all[0], &[write("b")]).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    let leader = leader(&stage).await;
    assert_eq!(stage.fleet.break_rings(&leader).await.unwrap().len(), 1);
    stage.fleet.release(&held).await.unwrap();
    assert_eq!(stage.wait(&all[1], waiter, 60).await.unwrap().unwrap(), WaitEnd::Ring);
    for session in &all {
        stage.fleet.end(session, Ending::Clean).await.unwrap();
    }
    assert!(stage.left_behind().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_fleet_grants_nothing_more_until_there_is_room_and_takes_back_all_the_same() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let (one, two) = (stage.session(1).await, stage.session(2).await);
    let lock = stage.lock(&one, write("a")).await;
    let early = stage.queued(&two, &[write("a")]).await;
    assert!(Fleet::is_full(LOCKS_PER_FLEET_MAX, false) && !Fleet::is_full(LOCKS_PER_FLEET_MAX - 1, false));
    assert!(Fleet::is_full(LOCKS_PER_FLEET_MAX - 1, true) && !Fleet::is_full(LOCKS_PER_FLEET_MAX / 2, true));

    assert!(stage.fleet.close(&leader, true).await.unwrap() && stage.fleet.is_closed().await.unwrap());
    let refused = stage.ask(&one, &[write("b")]).await.unwrap_err();
    assert!(matches!(refused, FleetError::Full { .. }), "{refused}");
    assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
    let waited = stage.wait(&two, early, 10).await.unwrap().unwrap();
    assert!(matches!(waited, WaitEnd::Granted(_)), "who was in line before is served: {waited:?}");

    stage.fleet.resign(&leader).await;
    assert!(!stage.fleet.close(&leader, false).await.unwrap(), "a former leader changes nothing");
    assert!(stage.fleet.is_closed().await.unwrap());
    let leader = stage.fleet.campaign("watcher", &record(0).host).await.unwrap().expect("nobody else leads");
    assert!(stage.fleet.close(&leader, false).await.unwrap());
    stage.lock(&one, write("b")).await;
}

#[tokio::test(start_paused = true)]
async fn an_office_of_an_earlier_life_is_vacated_by_its_own_host_and_by_no_other() {
    let stage = Stage::new().await;
    let dead = leader(&stage).await;
    assert!(!stage.fleet.vacate("watcher", &HostId::from_random([9; 16])).await.unwrap(), "it is another's");
    assert!(stage.fleet.campaign("watcher", &record(0).host).await.unwrap().is_none());
    assert!(stage.fleet.vacate("watcher", &record(0).host).await.unwrap());
    assert!(!stage.fleet.vacate("watcher", &record(0).host).await.unwrap(), "once");
    let next = stage.fleet.campaign("watcher", &record(0).host).await.unwrap().expect("nobody leads");
    // What the dead one had sent counts for nothing.
    stage.fleet.put_told(&dead, "late").await.unwrap_err();
    stage.fleet.put_told(&next, "now").await.unwrap();
}

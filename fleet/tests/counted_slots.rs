//! Counted slots: never more than there are, first come first served, gone with whoever had them, over lost answers too.

mod common;

use common::watching::host;
use common::{PREFIX, Stage, pass, replay_with, seeds};
use rr_core::time::Span;
use rr_fleet::{Fleet, FleetError, SLOT_LINE_MAX, Slot, SlotHeld, SlotHolder, SlotPlace, SlotTicket};
use rr_store::faulty::{Call, Fault};
use rr_store::{LeaseId, Op, Store as _, Txn};
use tokio::task::JoinHandle;

fn who(n: u64) -> SlotHolder {
    SlotHolder { who: format!("agent {n}"), ..SlotHolder::default() }
}

async fn lease(stage: &Stage) -> LeaseId {
    stage.direct.grant(Span::from_secs(60)).await.unwrap()
}

async fn take(stage: &Stage, n: u64, lease: LeaseId) -> Slot {
    stage.fleet.take_slot(&host(1), "build", 2, &who(n), lease).await.unwrap()
}

async fn taken(stage: &Stage, n: u64, lease: LeaseId) -> SlotHeld {
    match take(stage, n, lease).await {
        Slot::Taken(held) => held,
        other => panic!("not taken: {other:?}"),
    }
}

fn wait(fleet: &Fleet, n: u64, lease: LeaseId, secs: u64) -> JoinHandle<Result<Slot, FleetError>> {
    let (fleet, until) = (fleet.clone(), fleet.clock().now() + Span::from_secs(secs));
    tokio::spawn(async move { fleet.wait_slot(&host(1), "build", 2, &who(n), lease, until).await })
}

async fn holders(stage: &Stage) -> Vec<String> {
    let rows = stage.fleet.slots().await.unwrap();
    rows.into_iter().filter(|row| row.has_it).map(|row| row.holder.who).collect()
}

#[tokio::test(start_paused = true)]
async fn one_more_than_there_are_is_told_who_has_them_and_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let lease = lease(&stage).await;
    let first = taken(&stage, 1, lease).await;
    taken(&stage, 2, lease).await;
    match take(&stage, 3, lease).await {
        Slot::Busy { holders, ahead } => assert_eq!((holders, ahead), (vec![who(1), who(2)], 0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.below("count").await.len(), 2);
    // Another name and another host have lines of their own.
    let other = stage.fleet.take_slot(&host(1), "test", 1, &who(3), lease).await.unwrap();
    assert!(matches!(other, Slot::Taken(_)));
    let other = stage.fleet.take_slot(&host(2), "build", 1, &who(3), lease).await.unwrap();
    assert!(matches!(other, Slot::Taken(_)));
    stage.fleet.release_slot(&first).await.unwrap();
    stage.fleet.release_slot(&first).await.unwrap();
    taken(&stage, 3, lease).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_the_order_they_came_and_nobody_overtakes() {
    let stage = Stage::new().await;
    let lease = lease(&stage).await;
    let mut held = vec![taken(&stage, 1, lease).await, taken(&stage, 2, lease).await];
    let mut waiting = Vec::new();
    for n in 3..8 {
        waiting.push(wait(&stage.fleet, n, lease, 3_600));
        pass(50).await;
    }
    for task in waiting {
        stage.fleet.release_slot(&held.remove(0)).await.unwrap();
        let Slot::Busy { ahead, .. } = take(&stage, 99, lease).await else { panic!("it overtook") };
        assert!(ahead <= 4);
        match task.await.unwrap().unwrap() {
            Slot::Taken(slot) => held.push(slot),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(holders(&stage).await, ["agent 6", "agent 7"]);
}

#[tokio::test(start_paused = true)]
async fn who_dies_is_out_of_line_with_its_lease_and_the_next_has_the_slot() {
    let stage = Stage::new().await;
    let (mortal, kept) = (lease(&stage).await, lease(&stage).await);
    taken(&stage, 1, mortal).await;
    taken(&stage, 2, kept).await;
    let dead = wait(&stage.fleet, 3, mortal, 3_600);
    pass(50).await;
    let next = wait(&stage.fleet, 4, kept, 3_600);
    pass(50).await;
    stage.direct.revoke(mortal).await.unwrap();
    assert!(matches!(next.await.unwrap().unwrap(), Slot::Taken(_)));
    assert!(matches!(dead.await.unwrap().unwrap(), Slot::Lost));
    assert_eq!(holders(&stage).await, ["agent 2", "agent 4"]);
    assert!(matches!(take(&stage, 5, mortal).await, Slot::Busy { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_and_one_that_is_dropped_leaves_the_line() {
    let stage = Stage::new().await;
    let lease = lease(&stage).await;
    taken(&stage, 1, lease).await;
    taken(&stage, 2, lease).await;
    let dropped = wait(&stage.fleet, 3, lease, 3_600);
    pass(50).await;
    let late = wait(&stage.fleet, 4, lease, 60);
    pass(50).await;
    assert_eq!(stage.below("count/").await.len(), 4);
    dropped.abort();
    assert!(matches!(late.await.unwrap().unwrap(), Slot::Busy { ahead: 0, .. }));
    assert_eq!(stage.below("count/").await.len(), 2);
}

/// Whoever is told that it has a slot is, as long as it has it, among at most two.
#[tokio::test(start_paused = true)]
async fn over_lost_answers_and_late_copies_there_are_never_too_many_and_none_is_left_over() {
    let test = "over_lost_answers_and_late_copies_there_are_never_too_many_and_none_is_left_over";
    for seed in seeds(200) {
        let stage = Stage::seeded(seed).await;
        let story = replay_with(seed, test);
        let lease = lease(&stage).await;
        stage.faulty.chances(seed, &[(Fault::LostReply, 100), (Fault::Dropped, 100), (Fault::Refused, 50)]);
        let mut held: Vec<SlotHeld> = Vec::new();
        for n in 0..20 {
            if stage.random.one_in(4) {
                stage.line.hold(0);
            }
            match stage.fleet.take_slot(&host(1), "build", 2, &who(n), lease).await {
                Ok(Slot::Taken(slot)) => held.push(slot),
                Ok(Slot::Lost) => panic!("{story}: its lease is alive"),
                Ok(Slot::Busy { .. }) | Err(_) => {}
            }
            assert!(held.len() <= 2, "{story}");
            if !held.is_empty() && stage.random.one_in(2) && stage.fleet.release_slot(&held[0]).await.is_ok() {
                held.remove(0);
            }
            if stage.random.one_in(3) {
                stage.line.deliver().await;
            }
        }
        stage.faulty.chances(0, &[]);
        for slot in held.drain(..) {
            stage.fleet.release_slot(&slot).await.unwrap();
        }
        // What could not be said then is said now, and copies that come after that change nothing.
        pass(10_000).await;
        stage.line.deliver().await;
        assert_eq!(stage.below("count/").await.len(), 0, "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_a_slot_all_the_same() {
    let stage = Stage::new().await;
    let lease = lease(&stage).await;
    stage.fault(Call::Txn, 0, Fault::LostReply);
    taken(&stage, 1, lease).await;
    assert_eq!(stage.below("count/").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_has_an_end_a_name_is_checked_and_garbage_keeps_its_place() {
    let stage = Stage::new().await;
    let lease = lease(&stage).await;
    let bad = stage.fleet.take_slot(&host(1), "a/b", 1, &who(1), lease).await;
    assert!(matches!(bad, Err(FleetError::BadName { .. })), "{bad:?}");
    let put = |n: usize| Op::put(format!("{PREFIX}count/{}/build/{n:032x}", host(1)), "garbage");
    let all: Vec<Op> = (0..SLOT_LINE_MAX).map(put).collect();
    for part in all.chunks(100) {
        stage.direct.txn(Txn::default().then(part.to_vec())).await.unwrap();
    }
    assert!(matches!(take(&stage, 1, lease).await, Slot::Busy { ahead: 254, .. }));
    let full = wait(&stage.fleet, 1, lease, 60).await.unwrap();
    assert!(matches!(full, Err(FleetError::TooMany { .. })), "{full:?}");
    assert!(stage.fleet.slots().await.unwrap().is_empty());
}

async fn joined(stage: &Stage, n: u64) -> SlotTicket {
    stage.fleet.join_line(&host(1), "build", 2, &who(n)).await.unwrap()
}

async fn looked(stage: &Stage, ticket: &SlotTicket) -> SlotPlace {
    stage.fleet.stay_in_line(ticket, 2, stage.fleet.clock().now()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_place_is_found_again_by_its_ticket_and_lasts_as_long_as_somebody_comes_back() {
    let stage = Stage::new().await;
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| joined(&stage, n));
    let (one, two) = (one.await, two.await);
    let (three, four) = (three.await, four.await);
    assert_eq!((looked(&stage, &one).await, looked(&stage, &two).await), (SlotPlace::HasIt, SlotPlace::HasIt));
    let before = |ahead| SlotPlace::Waits { holders: vec![who(1), who(2)], ahead };
    assert_eq!((looked(&stage, &three).await, looked(&stage, &four).await), (before(0), before(1)));
    // Only three and four come back.
    for _ in 0..3 {
        stage.advance(30).await;
        looked(&stage, &three).await;
        looked(&stage, &four).await;
    }
    assert_eq!(looked(&stage, &one).await, SlotPlace::Gone);
    assert_eq!(looked(&stage, &three).await, SlotPlace::HasIt);
    stage.fleet.leave_line(&three).await.unwrap();
    stage.fleet.leave_line(&three).await.unwrap();
    assert_eq!(looked(&stage, &three).await, SlotPlace::Gone);
    assert_eq!(holders(&stage).await, ["agent 4"]);
    stage.fleet.empty_line(&host(1), "build").await.unwrap();
    assert_eq!(looked(&stage, &four).await, SlotPlace::Gone);
}

#[tokio::test(start_paused = true)]
async fn who_stays_in_line_is_told_as_soon_as_it_has_a_slot() {
    let stage = Stage::new().await;
    let (one, _two, three) = (joined(&stage, 1).await, joined(&stage, 2).await, joined(&stage, 3).await);
    let (fleet, until) = (stage.fleet.clone(), stage.fleet.clock().now() + Span::from_secs(5));
    let waiting = tokio::spawn(async move { fleet.stay_in_line(&three, 2, until).await.unwrap() });
    pass(50).await;
    stage.fleet.leave_line(&one).await.unwrap();
    assert_eq!(waiting.await.unwrap(), SlotPlace::HasIt);
    assert!(stage.fleet.clock().now() < until);
}

/// A place that was joined while answers are lost is one place, or none.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_no_ticket_that_nobody_knows() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        let stage = Stage::new().await;
        stage.faulty.plan(Call::Txn, fault);
        let joined = stage.fleet.join_line(&host(1), "build", 2, &who(1)).await;
        let tickets = stage.below("count/").await.len();
        assert_eq!(tickets, usize::from(joined.is_ok()), "{joined:?}");
        if let Ok(ticket) = joined {
            stage.fleet.leave_line(&ticket).await.unwrap();
        }
        stage.advance(120).await;
        assert!(stage.below("count/").await.is_empty());
    }
}

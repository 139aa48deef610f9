//! Sessions: one per slot (H12), unknown outcomes of registering, adoption by a later life of the sidecar, proof after a
//! fence. Locks appear here only as what a session owns.

mod common;

use std::sync::Arc;

use common::{PREFIX, Stage, open, read, record, repo, write};
use rr_core::session::DeathCause;
use rr_fleet::{Answer, Ending, Fleet, FleetError, Proof, Registered, Released, Session, WaitEnd};
use rr_store::faulty::{Call, Fault};
use rr_store::{KeepAlive, Keys, Op, Store, Txn};

const FAULTS: [Fault; 2] = [Fault::LostReply, Fault::Dropped];

async fn register(fleet: &Fleet, slot: u64) -> Result<Option<Session>, FleetError> {
    Ok(match fleet.register(&record(slot), "host").await? {
        Registered::New(session) => Some(session),
        Registered::SlotTaken { .. } => None,
    })
}

#[tokio::test(start_paused = true)]
async fn of_twenty_at_once_for_one_slot_exactly_one_registers() {
    for seed in 0..20 {
        let stage = Stage::seeded(seed).await;
        stage.line.shuffle(true);
        let tries = (0..20).map(|_| {
            let fleet = stage.fleet.clone();
            tokio::spawn(async move { register(&fleet, 1).await.unwrap() })
        });
        let mut won = Vec::new();
        for task in tries.collect::<Vec<_>>() {
            won.extend(task.await.unwrap());
        }
        assert_eq!(won.len(), 1, "seed {seed}");
        assert_eq!((stage.below("sess/").await.len(), stage.below("slot/").await.len()), (1, 1), "seed {seed}");
        // Those who lost have given their leases back: time passes and nothing happens.
        let before = stage.embedded.stats().revision;
        assert_eq!(stage.fleet.keep_alive(&won[0]).await.unwrap(), KeepAlive::Alive(stage.fleet.timing().lease));
        assert_eq!(stage.embedded.stats().revision, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_taken_slot_names_its_session_and_is_free_again_after_its_end() {
    let stage = Stage::new().await;
    let first = stage.session(1).await;
    match stage.fleet.register(&record(1), "host").await.unwrap() {
        Registered::SlotTaken { by, record: Some(found) } => {
            assert_eq!((by, found.agent_session.as_str()), (first.sid.clone(), "1"));
        }
        other => panic!("{other:?}"),
    }
    stage.fleet.end(&first, Ending::Clean).await.unwrap();
    let second = stage.session(1).await;
    assert!(second.created > first.created);
    stage.advance(61).await;
    assert!(stage.left_behind().await.is_empty());
    stage.session(1).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_registration_leaves_a_session_or_nothing_after_its_lease() {
    for call in [Call::Txn, Call::Range, Call::Grant, Call::Revoke] {
        for before in 0..3 {
            for fault in FAULTS {
                let stage = Stage::new().await;
                stage.fault(call, before, fault);
                if call != Call::Txn {
                    // Only after an unknown outcome are there reads and revocations to lose.
                    stage.fault(Call::Txn, 0, Fault::Dropped);
                }
                let outcome = register(&stage.fleet, 1).await;
                stage.calm().await;
                let story = format!("{call:?} {before} {fault:?}: {outcome:?}");
                match outcome {
                    Ok(Some(session)) => {
                        assert!(matches!(stage.fleet.prove(&session).await.unwrap(), Proof::Alive { .. }), "{story}");
                        stage.granted(&session, &[write("a")]).await;
                    }
                    Ok(None) => panic!("nobody else is there; {story}"),
                    Err(error) => {
                        assert!(error.is_outage(), "{story}");
                        stage.advance(61).await;
                        assert!(stage.left_behind().await.is_empty(), "{story}");
                        assert!(register(&stage.fleet, 1).await.unwrap().is_some(), "{story}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_arrives_late_takes_no_slot() {
    let stage = Stage::new().await;
    stage.line.hold(0);
    assert!(matches!(register(&stage.fleet, 1).await, Err(FleetError::Voided)));
    let next = stage.session(1).await;
    assert_eq!(stage.line.deliver().await, 0);
    assert!(matches!(stage.fleet.prove(&next).await.unwrap(), Proof::Alive { .. }));
    assert_eq!(stage.below("sess/").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_session_keeps_its_locks_and_numbers_on_above_them() {
    let stage = Stage::new().await;
    let before = stage.session(1).await;
    let kept = [stage.lock(&before, write("a")).await, stage.lock(&before, read("b")).await];
    let forced = stage.lock(&before, write("c")).await;
    stage.fleet.force_release(&forced.key, forced.token).await.unwrap();
    let after = stage.adopt(&before.sid).await.expect("it is alive");
    assert_eq!((after.created, after.generation, after.lease), (before.created, before.generation, before.lease));
    for lock in &kept {
        assert_eq!(stage.token(lock).await, Some(lock.token));
    }
    // A number that was used is not used again while anything is left of it.
    let new = stage.lock(&after, write("c")).await;
    assert_ne!(new.key, forced.key);
    for lock in kept.iter().chain([&new]) {
        assert_eq!(stage.fleet.release(lock).await.unwrap(), Released::Yes);
    }
    stage.fleet.end(&after, Ending::Clean).await.unwrap();
    assert!(stage.left_behind().await.is_empty());
    assert!(stage.adopt(&before.sid).await.is_none());
}

/// The life that waited is gone: its place would hold up all behind it for as long as the adopted session lives.
#[tokio::test(start_paused = true)]
async fn an_adopted_session_gives_its_places_in_the_queue_up() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let lock = stage.lock(&all[0], write("a")).await;
    stage.queued(&all[1], &[write("a")]).await;
    let third = stage.queued(&all[2], &[write("a")]).await;
    let third = stage.wait(&all[2], third, 60);
    stage.adopt(&all[1].sid).await.expect("it is alive");
    stage.fleet.release(&lock).await.unwrap();
    assert!(matches!(third.await.unwrap().unwrap(), WaitEnd::Granted(_)));
}

/// The adopted session numbers from the start again once all its locks are released; the key may then be the same.
#[tokio::test(start_paused = true)]
async fn a_release_from_an_earlier_life_does_not_delete_a_later_lock_of_the_same_key() {
    let stage = Stage::new().await;
    let before = stage.session(1).await;
    let old = stage.lock(&before, write("a")).await;
    assert_eq!(stage.fleet.release(&old).await.unwrap(), Released::Yes);
    let after = stage.adopt(&before.sid).await.expect("it is alive");
    let new = stage.lock(&after, write("a")).await;
    assert_eq!(new.key, old.key);
    assert_eq!(stage.fleet.release(&old).await.unwrap(), Released::WasLost);
    assert_eq!(stage.token(&new).await, Some(new.token));
    assert_eq!(stage.below("mark/").await.len(), 1);
}

/// At most fifty requests a second, after a second's worth at once; and a store of one machine is waited for by nobody (H39).
#[tokio::test(start_paused = true)]
async fn a_restarted_sidecar_takes_its_sessions_over_no_faster_than_the_store_can_bear() {
    let stage = Stage::new().await;
    stage.sessions(100).await;
    let began = tokio::time::Instant::now();
    let mut estate = stage.fleet.estate(&record(0).host).await.unwrap();
    let mut taken = Vec::new();
    while let Some(row) = estate.next().await {
        stage.fleet.adopt(&estate, &row.sid, "host").await.unwrap().expect("it is alive");
        taken.push(began.elapsed());
    }
    assert_eq!(taken.len(), 100);
    assert!(taken[24].is_zero(), "{taken:?}");
    let spacing = taken[26..].windows(2).all(|two| (two[1] - two[0]).as_millis() >= 40);
    assert!(spacing && taken[99].as_secs_f64() > 2.9, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn each_death_has_its_cause() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    stage.fleet.end(&all[0], Ending::Died { gone: true }).await.unwrap();
    assert_eq!(stage.fleet.prove(&all[0]).await.unwrap(), Proof::Dead(DeathCause::LeaseGone));
    let key = stage.below("sess/").await.into_iter().find(|kv| kv.key.ends_with(all[1].sid.as_str())).unwrap().key;
    stage.direct.txn(Txn::default().then(vec![Op::Delete(Keys::one(key))])).await.unwrap();
    assert_eq!(stage.fleet.prove(&all[1]).await.unwrap(), Proof::Dead(DeathCause::KeyGone));
    assert!(matches!(stage.fleet.prove(&all[2]).await.unwrap(), Proof::Alive { .. }));
    let rotate = Txn::default().then(vec![Op::put(format!("{PREFIX}meta/gen"), "another")]);
    stage.direct.txn(rotate).await.unwrap();
    assert_eq!(stage.fleet.prove(&all[2]).await.unwrap(), Proof::Dead(DeathCause::GenerationChanged));
    assert!(matches!(stage.ask(&all[2], &[write("a")]).await.unwrap(), Answer::Lost));
    assert!(stage.below("q/").await.is_empty() && stage.below("x/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_host_gets_no_lock_and_no_session() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let lock = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    let waiting = stage.wait(&all[1], waiter, 60);
    stage.direct.txn(Txn::default().then(vec![Op::put(format!("{PREFIX}deny/host"), "left")])).await.unwrap();
    assert!(matches!(register(&stage.fleet, 7).await, Err(FleetError::Denied(_))));
    assert!(matches!(stage.ask(&all[0], &[write("b")]).await.unwrap(), Answer::Lost));
    stage.fleet.release(&lock).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), WaitEnd::Lost);
    assert!(stage.below("q/").await.is_empty(), "its place would hold up others");
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_and_all_it_has_go_in_one_revision() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    stage.granted(&all[0], &[write("a"), read("b")]).await;
    stage.granted(&all[1], &[write("c")]).await;
    stage.queued(&all[0], &[write("c")]).await;
    stage.advance(59).await;
    stage.fleet.keep_alive(&all[1]).await.unwrap();
    let before = stage.embedded.stats().revision;
    stage.advance(2).await;
    assert_eq!(stage.embedded.stats().revision, before + 1);
    let left = stage.left_behind().await;
    assert!(left.iter().all(|key| key.contains("/mark/") || !key.contains(all[0].sid.as_str())), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn the_overview_shows_one_moment() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let lock = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a/b")]).await;
    let seen = stage.fleet.overview().await.unwrap();
    assert_eq!((seen.sessions.len(), seen.locks.len(), seen.waiters.len()), (2, 1, 1));
    assert_eq!((&seen.locks[0].key, seen.locks[0].token, &seen.locks[0].repo), (&lock.key, lock.token, &repo()));
    assert_eq!((seen.waiters[0].since, seen.waiters[0].shown.as_slice()), (waiter.since(), &["a/b".to_owned()][..]));
    assert!(!seen.state.is_paused());
    assert_eq!(seen.state.revision, stage.embedded.stats().revision);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_opened_once_and_another_layout_or_other_rules_are_refused() {
    let stage = Stage::new().await;
    let first = stage.below("").await;
    stage.fault(Call::Txn, 0, Fault::LostReply);
    open(stage.line.clone(), stage.random.clone()).await.unwrap();
    assert_eq!(stage.below("").await, first);
    for (schema, fits) in [("1", true), ("1.1", true), ("2.1", false), ("1.2", false), ("", false), ("one", false)] {
        let put = Op::put(format!("{PREFIX}meta/schema"), schema);
        stage.direct.txn(Txn::default().then(vec![put])).await.unwrap();
        let store: Arc<dyn Store> = stage.line.clone();
        match open(store, stage.random.clone()).await {
            Ok(_) => assert!(fits, "{schema:?}"),
            Err(FleetError::OtherSchema { found }) => assert!(!fits && found == schema, "{schema:?}"),
            Err(other) => panic!("{schema:?}: {other}"),
        }
    }
}

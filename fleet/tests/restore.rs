//! A restored store believes the past: nothing of it may be acted on, and no number of before may fit again.

mod common;

use common::{PREFIX, Stage, write};
use rr_core::id::Epoch;
use rr_core::session::DeathCause;
use rr_fleet::{Answer, Hold, HoldKind, PauseDone, Proof, Released, ResumeDone};
use rr_store::{Op, Store as _, Txn};

fn hold() -> Hold {
    Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who: "ann".to_owned(),
        reason: "restored from last night".to_owned(),
        hard: false,
        affected: None,
        since_unix_ms: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_nothing_of_before_counts_and_a_person_resumes() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let lock = stage.lock(&session, write("src/a")).await;
    let other = stage.session(2).await;
    let waiter = stage.queued(&other, &[write("src/a")]).await;
    let puts =
        [("join/ab", "x"), ("deny/h1", "{}"), ("commit/r/c", "{}")].map(|(k, v)| Op::put(format!("{PREFIX}{k}"), v));
    stage.direct.txn(Txn::default().then(puts.to_vec())).await.unwrap();

    let done = stage.fleet.post_restore(&hold()).await.unwrap();
    assert!(done.epoch > Epoch(1_000) && done.denied == ["h1"], "{done:?}");
    let all = stage.fleet.overview().await.unwrap();
    assert!(all.state.is_paused() && all.sessions.is_empty() && all.locks.is_empty() && all.waiters.is_empty());
    assert!(stage.below("join/").await.is_empty() && stage.below("op/").await.is_empty());
    assert_eq!(stage.below("commit/").await.len(), 1);
    assert_eq!(stage.below("mark/").await.len(), 1, "the next holder is told to look first");

    // Those who believe themselves alive find out, whatever they try.
    assert!(matches!(
        stage.fleet.prove(&session).await.unwrap(),
        Proof::Dead(DeathCause::GenerationChanged | DeathCause::KeyGone)
    ));
    assert!(matches!(stage.ask(&session, &[write("src/b")]).await.unwrap(), Answer::Lost));
    assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::WasLost);
    drop(waiter);

    assert!(matches!(stage.fleet.resume(Epoch(1), "bob", |_| true).await.unwrap(), ResumeDone::Refused(_)));
    assert!(matches!(stage.fleet.resume(done.epoch, "bob", |_| true).await.unwrap(), ResumeDone::Resumed { .. }));
    let again = stage.session(1).await;
    let grant = stage.granted(&again, &[write("src/a")]).await;
    assert!(grant.locks[0].token > lock.token && grant.must_cool());
}

#[tokio::test(start_paused = true)]
async fn a_new_start_whose_answer_is_lost_is_made_once_and_works_on_an_empty_store() {
    let stage = Stage::new().await;
    let PauseDone::Paused { epoch, .. } = stage.fleet.pause(&hold()).await.unwrap() else { panic!("it ran") };
    stage.fault(rr_store::faulty::Call::Txn, 1, rr_store::faulty::Fault::LostReply);
    let done = stage.fleet.post_restore(&hold()).await.unwrap();
    assert_eq!(done.epoch, Epoch(epoch.0 + 1_000));
    assert_eq!(stage.below("fleet/hold/").await.len(), 2, "the reason of before stays");

    stage.direct.txn(Txn::default().then(vec![Op::Delete(rr_store::Keys::prefix(PREFIX))])).await.unwrap();
    let done = stage.fleet.post_restore(&hold()).await.unwrap();
    assert!(stage.fleet.state().await.unwrap().is_paused());
    assert!(matches!(stage.fleet.resume(done.epoch, "bob", |_| true).await.unwrap(), ResumeDone::Resumed { .. }));
}

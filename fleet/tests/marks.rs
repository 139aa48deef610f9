//! Marks: what an unclean end leaves for the next holder to know, and when it is gone.

mod common;

use common::{Stage, named, read, write};
use rr_core::scope::Claim;
use rr_fleet::{Ending, Grant, Session, WaitEnd};

/// A session that held `a/b` and ended so.
async fn ended(stage: &Stage, how: Ending) -> (Session, Grant) {
    let session = stage.session(1).await;
    let grant = stage.granted(&session, &[write("a/b")]).await;
    stage.fleet.end(&session, how).await.unwrap();
    (session, grant)
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_leaves_nothing() {
    let stage = Stage::new().await;
    ended(&stage, Ending::Clean).await;
    assert!(stage.left_behind().await.is_empty());
    let next = stage.session(2).await;
    assert!(stage.granted(&next, &[write("a")]).await.unclean.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unclean_end_is_told_and_must_cool_unless_all_of_it_is_gone() {
    for gone in [false, true] {
        let stage = Stage::new().await;
        let (dead, grant) = ended(&stage, Ending::Died { gone }).await;
        let next = stage.session(2).await;
        assert!(stage.granted(&next, &[write("a/bc")]).await.unclean.is_empty());
        // Told below, at, and above the place, to writers and to readers.
        for claim in [write("a/b/c"), write("a/b"), write("a"), write("")] {
            for mode in [claim.clone(), Claim::shared(claim.scope)] {
                let told = stage.granted(&next, &[write("elsewhere"), mode.clone()]).await;
                assert_eq!(told.unclean.len(), 1, "{mode:?}");
                let left = &told.unclean[0];
                assert_eq!((&left.session, left.token), (&dead.sid, grant.locks[0].token));
                assert_eq!((left.shown.as_str(), told.must_cool()), ("a/b", !gone));
                for lock in &told.locks {
                    stage.fleet.release(lock).await.unwrap();
                }
            }
        }
        let told = stage.granted(&next, &[write("a/b")]).await;
        stage.fleet.clear_marks(&told.unclean).await.unwrap();
        stage.fleet.release(&told.locks[0]).await.unwrap();
        assert!(stage.granted(&next, &[write("a/b")]).await.unclean.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_leaves_its_marks_and_a_waiter_is_told() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    stage.granted(&all[0], &[write("a"), Claim::exclusive(named("build"))]).await;
    let waiter = stage.queued(&all[1], &[read("a"), Claim::exclusive(named("build"))]).await;
    let waiting = stage.wait(&all[1], waiter, 600);
    stage.advance(30).await;
    stage.fleet.keep_alive(&all[1]).await.unwrap();
    stage.advance(31).await;
    let end = waiting.await.unwrap().unwrap();
    let WaitEnd::Granted(grant) = end else { panic!("{end:?}") };
    let shown: Vec<_> = grant.unclean.iter().map(|left| left.shown.as_str()).collect();
    assert_eq!((shown, grant.must_cool()), (vec!["!build", "a"], true));
}

#[tokio::test(start_paused = true)]
async fn a_forced_release_leaves_the_mark_and_a_late_release_of_it_changes_nothing() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let old = stage.lock(&all[0], write("a")).await;
    stage.fleet.force_release(&old.key, old.token).await.unwrap();
    assert_eq!(stage.fleet.force_release(&old.key, old.token).await.unwrap(), rr_fleet::Released::WasLost);
    let told = stage.granted(&all[1], &[write("a")]).await;
    assert_eq!((told.unclean[0].token, told.must_cool()), (old.token, true));
    let before = stage.below("").await;
    assert_eq!(stage.fleet.release(&old).await.unwrap(), rr_fleet::Released::WasLost);
    assert_eq!(stage.below("").await, before);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_told_is_not_cleared_from_under_a_later_one() {
    let stage = Stage::new().await;
    ended(&stage, Ending::Died { gone: false }).await;
    let next = stage.session(2).await;
    let told = stage.granted(&next, &[write("a")]).await;
    stage.fleet.end(&next, Ending::Died { gone: false }).await.unwrap();
    stage.fleet.clear_marks(&told.unclean).await.unwrap();
    let third = stage.session(3).await;
    let left = stage.granted(&third, &[write("a")]).await.unclean;
    assert_eq!(left.iter().map(|left| &left.session).collect::<Vec<_>>(), [&next.sid]);
}

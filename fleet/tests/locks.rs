//! Locks without waiting: who is granted at once and who is not, all or none, tokens, release. The oracle of overlaps is
//! written out here as a table; whatever must hold at every revision is `common::replay`'s.

mod common;

use common::{Stage, glob, named, path, read, replay, write};
use rr_core::id::Token;
use rr_core::scope::{Claim, Scope};
use rr_fleet::{Answer, Ending, Released};

/// Pairs of scopes, and whether they share anything.
fn overlaps() -> Vec<(Scope, Scope, bool)> {
    vec![
        (path("src/a"), path("src/a"), true),
        (path("src/a"), path("SRC/A"), true),
        (path("src/a"), path("src"), true),
        (path("src/a"), path(""), true),
        (path("src/a"), path("src/a/b/c"), true),
        (path("src/a"), path("src/ab"), false),
        (path("src/a"), path("src/ab/c"), false),
        (path("src/a.rs"), path("src/a"), false),
        (path("a"), path("b"), false),
        (path("a/b"), path("b"), false),
        (glob("src", "*.rs"), path("src/a.rs"), true),
        (glob("src", "*.rs"), path("src"), true),
        (glob("src", "*.rs"), path(""), true),
        (glob("src", "*.rs"), path("src/a.ts"), false),
        (glob("src", "*.rs"), path("src/sub/a.rs"), false),
        (glob("src", "**/*.rs"), path("src/sub"), true),
        (glob("src", "*.rs"), glob("src", "a*"), true),
        (glob("src", "*.rs"), glob("src", "*.ts"), false),
        (glob("", "**/*.rs"), glob("src", "*.rs"), true),
        (named("build"), named("build"), true),
        (named("build"), named("migration"), false),
        (named("build"), path(""), true),
        (named("build"), path("build"), false),
        (named("build"), glob("", "**"), false),
    ]
}

/// One granted first, the other asked for while it is held.
async fn is_granted_beside(stage: &Stage, first: &Claim, second: &Claim) -> bool {
    let all = stage.sessions(2).await;
    stage.granted(&all[0], std::slice::from_ref(first)).await;
    let granted = match stage.ask(&all[1], std::slice::from_ref(second)).await.unwrap() {
        Answer::Granted(_) => true,
        Answer::Queued(_, blockers) => {
            assert_eq!(blockers.len(), 1);
            assert_eq!(blockers[0].session(), &all[0].sid);
            false
        }
        Answer::Lost => panic!("lost"),
    };
    for session in &all {
        stage.fleet.end(session, Ending::Clean).await.unwrap();
    }
    granted
}

#[tokio::test(start_paused = true)]
async fn what_overlaps_is_denied_and_what_does_not_is_granted_in_every_mode_and_order() {
    let stage = Stage::new().await;
    for (a, b, overlap) in overlaps() {
        for (a, b) in [(&a, &b), (&b, &a)] {
            for (mode_a, mode_b) in [(true, true), (true, false), (false, true), (false, false)] {
                let claim = |scope: &Scope, exclusive| {
                    if exclusive { Claim::exclusive(scope.clone()) } else { Claim::shared(scope.clone()) }
                };
                let (first, second) = (claim(a, mode_a), claim(b, mode_b));
                let granted = is_granted_beside(&stage, &first, &second).await;
                assert_eq!(granted, !overlap || !(mode_a || mode_b), "{first:?} and {second:?}");
            }
        }
    }
    assert!(stage.left_behind().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_free_costs_one_transaction() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    // Name-sakes of what is asked for are no reason to queue.
    stage.granted(&stage.session(2).await, &[write("ab"), write("b/cd"), write("b/c.rs")]).await;
    let deep = vec!["d"; 40].join("/");
    for claims in [vec![write("a")], vec![read("b/c")], vec![write(&deep)], vec![write("e"), read("f")]] {
        let before = stage.embedded.stats().transactions;
        stage.granted(&session, &claims).await;
        assert_eq!(stage.embedded.stats().transactions, before + 1, "{claims:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn several_scopes_are_granted_together_or_not_at_all() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let held = stage.lock(&all[0], write("b")).await;
    let many: Vec<Claim> = (0..16).map(|n| write(&format!("{}/{n}", vec!["d"; 30].join("/")))).collect();
    let mut blocked = many.clone();
    blocked[7] = write("b/inner");
    let waiter = stage.queued(&all[1], &blocked).await;
    assert!(stage.below("x/").await.iter().all(|kv| kv.key == held.key));
    stage.fleet.cancel(&all[1], &waiter).await;
    let grant = stage.granted(&all[1], &many).await;
    assert_eq!(grant.locks.len(), 16);
    assert!(grant.locks.iter().all(|lock| lock.token == grant.locks[0].token));
    assert!(stage.below("q/").await.is_empty());
    assert!(stage.ask(&all[1], &[many, vec![write("x")]].concat()).await.is_err(), "seventeen are too many");
}

#[tokio::test(start_paused = true)]
async fn tokens_rise_with_each_grant_and_are_the_holders_own() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let mut last = Token(0);
    for round in 0..5 {
        for (at, session) in all.iter().enumerate() {
            let lock = stage.lock(session, write("a")).await;
            // The next one waits: its place in line is older than its token will be.
            let next = &all[(at + 1) % 3];
            let waiter = stage.queued(next, &[write("a")]).await;
            let since = waiter.since();
            let waiting = stage.wait(next, waiter, 60);
            assert_eq!(stage.token(&lock).await, Some(lock.token));
            assert!(lock.token > last, "round {round}");
            assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
            let end = waiting.await.unwrap().unwrap();
            let rr_fleet::WaitEnd::Granted(grant) = end else { panic!("{end:?}") };
            let after = &grant.locks[0];
            assert_eq!(stage.token(after).await, Some(after.token));
            assert!(after.token > lock.token && after.token.0 > since);
            last = after.token;
            stage.fleet.release(after).await.unwrap();
        }
    }
    replay::check(&replay::events(&stage.embedded).await).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_in_its_own_way() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    stage.granted(&session, &[write("src/a")]).await;
    stage.granted(&session, &[write("src")]).await;
    stage.granted(&session, &[write("src/a/b"), read("src")]).await;
    stage.granted(&session, &[Claim::exclusive(glob("src", "*.rs"))]).await;
}

#[tokio::test(start_paused = true)]
async fn a_released_lock_leaves_no_key_and_records_do_not_pile_up() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    for n in 0..50 {
        let lock = stage.lock(&session, write(&format!("f{n}"))).await;
        assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
        assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::WasLost);
    }
    assert!(stage.below("x/").await.is_empty() && stage.below("mark/").await.is_empty());
    assert!(stage.below("op/").await.len() <= 1);
}

//! Unknown outcomes (H11): each call of a request fails in turn, in each way. What was answered is what is in the store; what
//! was not answered as granted is held by nobody; and nothing is left once the sessions end.

mod common;

use common::{PREFIX, Stage, glob, named, pass, read, replay, replay_with, seeds, write};
use rr_core::scope::Claim;
use rr_fleet::{Answer, Ending, Grant, Released, Session, WaitEnd};
use rr_store::faulty::{Call, Fault};
use rr_store::{Keys, Op, Store, Txn};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Dropped,
    Refused,
    /// Arrives after the answer; the second also after all debts are paid.
    Late,
    VeryLate,
    /// The reply is lost, and then nothing answers for longer than anybody tries.
    LostThenSilence,
    /// The same, but it had not arrived.
    DroppedThenSilence,
}

const FATES: [Fate; 7] = [
    Fate::Lost,
    Fate::Dropped,
    Fate::Refused,
    Fate::Late,
    Fate::VeryLate,
    Fate::LostThenSilence,
    Fate::DroppedThenSilence,
];

/// More transactions or reads than any one request sends before it gives up.
const CALLS: usize = 6;

fn plan(stage: &Stage, call: Call, before: usize, fate: Fate) {
    let fault = match fate {
        Fate::Lost | Fate::LostThenSilence => Fault::LostReply,
        Fate::Dropped | Fate::DroppedThenSilence => Fault::Dropped,
        Fate::Refused => Fault::Refused,
        Fate::Late | Fate::VeryLate => return stage.line.hold(before),
    };
    stage.fault(call, before, fault);
    if matches!(fate, Fate::LostThenSilence | Fate::DroppedThenSilence) {
        for _ in 0..40 {
            stage.faulty.plan(Call::Txn, Fault::Dropped);
            stage.faulty.plan(Call::Range, Fault::Refused);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Fast,
    Several,
    /// In the queue, and granted at once.
    Pattern,
    /// Blocked at first, granted when the holder is gone.
    Waits,
    /// Blocked until the deadline.
    Busy,
}

const WAYS: [Way; 5] = [Way::Fast, Way::Several, Way::Pattern, Way::Waits, Way::Busy];

fn claims(way: Way) -> Vec<Claim> {
    match way {
        Way::Fast | Way::Waits | Way::Busy => vec![write("a/b")],
        Way::Several => vec![write("a/b"), read("c"), Claim::exclusive(named("build"))],
        Way::Pattern => vec![Claim::exclusive(glob("a", "*.rs")), write("d")],
    }
}

/// What the session was told: locks, or none.
async fn ask(stage: &Stage, session: &Session, other: &Session, way: Way, faults: impl FnOnce()) -> Option<Grant> {
    let in_the_way = match way {
        Way::Waits | Way::Busy => Some(stage.lock(other, write("a")).await),
        _ => None,
    };
    faults();
    let waiter = match stage.ask(session, &claims(way)).await {
        Ok(Answer::Granted(grant)) => return Some(grant),
        Ok(Answer::Queued(waiter, _)) => waiter,
        Ok(Answer::Lost) | Err(_) => return None,
    };
    if matches!(way, Way::Waits) {
        // By another way than the one that fails.
        let held = in_the_way.expect("somebody is in the way");
        stage.direct.revoke(other.lease).await.unwrap();
        drop(held);
    }
    match stage.wait(session, waiter, 2).await.unwrap() {
        Ok(WaitEnd::Granted(grant)) => Some(grant),
        Ok(WaitEnd::Busy(_) | WaitEnd::Lost | WaitEnd::Ring) | Err(_) => None,
    }
}

async fn told_is_what_is_there(way: Way, call: Call, before: usize, fate: Fate) {
    let story = format!("{way:?}, {call:?} {before} {fate:?}");
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let told = ask(&stage, &all[0], &all[1], way, || plan(&stage, call, before, fate)).await;
    if fate == Fate::Late {
        stage.line.deliver().await;
    }
    stage.calm().await;
    stage.fleet.keep_alive(&all[0]).await.unwrap();
    stage.line.deliver().await;
    stage.fleet.end(&all[1], Ending::Clean).await.unwrap();
    let mut there: Vec<_> = stage.below("x/").await.into_iter().chain(stage.below("s/").await).collect();
    there.sort_by(|a, b| a.key.cmp(&b.key));
    let mut known: Vec<_> = told.iter().flat_map(|grant| &grant.locks).collect();
    known.sort_by(|a, b| a.key.cmp(&b.key));
    let there: Vec<_> = there.iter().map(|kv| (&kv.key, kv.create_revision)).collect();
    assert_eq!(there, known.iter().map(|lock| (&lock.key, lock.token.0)).collect::<Vec<_>>(), "{story}");
    let own = told.iter().flat_map(|grant| &grant.unclean).find(|left| left.session == all[0].sid);
    assert_eq!(own, None, "{story}: what it holds is nobody's left-over");
    assert!(stage.below("q/").await.is_empty(), "{story}");
    // Free, or held by somebody who knows.
    let answer = stage.ask(&all[2], &claims(way)).await.unwrap();
    assert_eq!(matches!(answer, Answer::Granted(_)), told.is_none(), "{story}");
    for session in &all {
        stage.fleet.end(session, Ending::Clean).await.unwrap();
    }
    if matches!(way, Way::Waits) {
        // What the one in the way left when its lease was revoked.
        stage.direct.txn(Txn::default().then(vec![Op::Delete(Keys::prefix(format!("{PREFIX}mark/")))])).await.unwrap();
    }
    assert_eq!(stage.left_behind().await, Vec::<String>::new(), "{story}");
    replay::check(&replay::events(&stage.embedded).await).unwrap_or_else(|why| panic!("{story}: {why}"));
}

#[tokio::test(start_paused = true)]
async fn whatever_call_of_a_request_fails_what_was_told_is_what_is_there() {
    for way in WAYS {
        for before in 0..CALLS {
            for fate in FATES {
                told_is_what_is_there(way, Call::Txn, before, fate).await;
            }
        }
    }
}

/// Reads fail only after a transaction has: two faults at once.
#[tokio::test(start_paused = true)]
async fn a_read_back_that_fails_leaves_no_entry_in_the_queue() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        for late in [false, true] {
            let stage = Stage::new().await;
            let all = stage.sessions(2).await;
            stage.lock(&all[0], write("a")).await;
            if late {
                stage.line.hold(1);
            } else {
                stage.fault(Call::Txn, 1, Fault::LostReply);
            }
            stage.faulty.plan(Call::Range, fault);
            assert!(stage.ask(&all[1], &[write("a")]).await.is_err());
            assert_eq!(stage.line.deliver().await, 0);
            assert!(stage.below("q/").await.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_grant_is_found_again_with_what_an_unclean_end_left() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    stage.granted(&all[0], &[write("a")]).await;
    stage.fleet.end(&all[0], Ending::Died { gone: false }).await.unwrap();
    stage.fault(Call::Txn, 0, Fault::LostReply);
    let grant = stage.granted(&all[1], &[write("a/b")]).await;
    assert_eq!(grant.unclean.iter().map(|left| &left.session).collect::<Vec<_>>(), [&all[0].sid]);
    assert!(grant.must_cool());
    assert_eq!(stage.token(&grant.locks[0]).await, Some(grant.locks[0].token));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_not_answered_is_made_up_for_with_the_next_keep_alive() {
    let stage = Stage::new().await;
    let all = stage.sessions(3).await;
    let held = stage.lock(&all[0], write("a")).await;
    let waiter = stage.queued(&all[1], &[write("a")]).await;
    stage.faulty.cut_off(true);
    stage.fleet.cancel(&all[1], &waiter).await;
    stage.faulty.cut_off(false);
    stage.fleet.release(&held).await.unwrap();
    let behind = stage.queued(&all[2], &[write("a")]).await;
    let behind = stage.wait(&all[2], behind, 60);
    pass(100).await;
    assert!(!behind.is_finished());
    stage.fleet.keep_alive(&all[1]).await.unwrap();
    assert!(matches!(behind.await.unwrap().unwrap(), WaitEnd::Granted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_release_is_reported_only_if_it_has_happened() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let lock = stage.lock(&session, write("a")).await;
    stage.fault(Call::Txn, 0, Fault::LostReply);
    assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
    assert!(stage.below("x/").await.is_empty() && stage.below("mark/").await.is_empty());
    let lock = stage.lock(&session, write("a")).await;
    stage.fault(Call::Txn, 0, Fault::Dropped);
    assert!(stage.fleet.release(&lock).await.unwrap_err().is_outage());
    assert_eq!(stage.token(&lock).await, Some(lock.token));
    assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
}

/// A release that was under way while its lock was taken away and given on.
#[tokio::test(start_paused = true)]
async fn a_release_that_comes_after_its_lock_was_given_on_deletes_nothing() {
    let test = "a_release_that_comes_after_its_lock_was_given_on_deletes_nothing";
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let mut current = all[0].clone();
    for seed in seeds(1_000) {
        let random = common::Seeded::new(seed);
        let place = *random.pick(&["a", "a/b", "c"]);
        let old = stage.lock(&current, write(place)).await;
        stage.line.hold(0);
        assert!(stage.fleet.release(&old).await.is_err());
        let forced = random.one_in(2);
        if forced {
            stage.fleet.force_release(&old.key, old.token).await.unwrap();
        } else {
            assert_eq!(stage.fleet.release(&old).await.unwrap(), Released::Yes);
        }
        // The next holder is another session, or a later life of the same that gives the same key.
        current = stage.adopt(&all[0].sid).await.expect("it is alive");
        let next = if random.one_in(2) { &all[1] } else { &current };
        let grant = stage.granted(next, &[write(place)]).await;
        let new = &grant.locks[0];
        let again = random.one_in(2);
        assert_eq!(stage.line.deliver().await, 0, "{}", replay_with(seed, test));
        if again {
            let late = stage.fleet.release(&old).await.unwrap();
            assert_eq!(late, Released::WasLost, "{}", replay_with(seed, test));
        }
        let kept = stage.token(new).await;
        assert_eq!(kept, Some(new.token), "{}", replay_with(seed, test));
        assert_eq!(stage.below("mark/").await.len(), 1 + usize::from(forced), "{}", replay_with(seed, test));
        stage.fleet.clear_marks(&grant.unclean).await.unwrap();
        assert_eq!(stage.fleet.release(new).await.unwrap(), Released::Yes);
    }
}

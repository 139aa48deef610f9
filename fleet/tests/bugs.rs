//! The judge is judged: each known bug, put in by its switch, is found by the promise it breaks, in a story made for it; and
//! without the bug the same story breaks none. Those that need other programs or a cluster are in `tests/tests/bugs.rs`.
#![cfg(debug_assertions)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::crowd::Crowd;
use common::{PREFIX, Stage, VirtualClock, glob, pass, path, record, request, write};
use futures::{FutureExt as _, StreamExt as _};
use rr_core::bugs::{Bug, plant};
use rr_core::limits::Timing;
use rr_core::scope::Claim;
use rr_core::time::{BootTime, Clock, Span};
use rr_fleet::{Answer, Grant, Hold, HoldKind, PauseDone, Session, WaitEnd};
use rr_history::{Behaviour, Client, Recorder, Registration, Rule, Violation, Watched, check};
use rr_runtime::clock::{ClockId, Timespec, since_boot};
use rr_store::faulty::{Call, Fault};
use rr_store::{Keys, Op, Options, Store as _, Txn};
use tokio::task::JoinHandle;

/// A fleet whose every call is recorded.
struct Ground {
    stage: Stage,
    client: Client,
    following: JoinHandle<()>,
}

impl Ground {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let clock = VirtualClock::start();
        let recorder = Recorder::begin(stage.direct.clone(), PREFIX, clock).await.unwrap();
        let following = recorder.clone();
        let following = tokio::spawn(async move { panic!("the recording broke: {}", following.follow().await) });
        let client = Client { fleet: stage.fleet.clone(), recorder };
        Self { stage, client, following }
    }

    async fn session(&self, n: u64) -> Session {
        match self.client.register(&record(n), "host").await.unwrap() {
            Registration::New(session) => session,
            Registration::Taken => panic!("slot {n} is taken"),
        }
    }

    async fn ask(&self, session: &Session, claim: Claim) -> Option<Grant> {
        self.client.acquire(session, request(&[claim]), Span::ZERO).await.unwrap()
    }

    async fn lock(&self, session: &Session, claim: Claim) -> Grant {
        self.ask(session, claim).await.expect("nothing is in the way")
    }

    /// Waits in the background, from when it is in the queue.
    async fn waiting(&self, session: &Session, claim: Claim) -> JoinHandle<()> {
        let before = self.stage.below("q/").await.len();
        let (client, session) = (self.client.clone(), session.clone());
        let task = tokio::spawn(async move {
            drop(client.acquire(&session, request(&[claim]), Span::from_secs(20)).await);
        });
        while self.stage.below("q/").await.len() == before {
            tokio::task::yield_now().await;
        }
        task
    }

    async fn judge(self) -> Result<(), Vec<Violation>> {
        pass(60_000).await;
        self.following.abort();
        let history = self.client.recorder.finish(Timing::default()).await.unwrap();
        check(&history).map(drop)
    }
}

/// Without the bug the story is fine; with it, it breaks this rule.
async fn is_found(bug: Bug, rule: Rule, story: impl AsyncFn(&Ground)) {
    let ground = Ground::new().await;
    story(&ground).await;
    ground.judge().await.expect("the story breaks nothing by itself");
    let planted = plant(bug);
    let ground = Ground::new().await;
    story(&ground).await;
    let broken = ground.judge().await.expect_err("it was not found");
    drop(planted);
    assert!(broken.iter().any(|violation| violation.rule == rule), "{bug:?} was found by other rules only: {broken:?}");
}

fn hold() -> Hold {
    let (id, who, reason) = (String::new(), "test".to_owned(), "a test".to_owned());
    Hold { id, kind: HoldKind::Person, who, reason, hard: false, affected: None, since_unix_ms: 0 }
}

/// A release that was thought lost arrives when its holder, adopted by a restarted sidecar, has the lock again.
#[tokio::test(start_paused = true)]
async fn b1_a_release_without_its_token_is_found() {
    is_found(Bug::B1, Rule::NotTaken, async |ground| {
        let session = ground.session(1).await;
        let first = ground.lock(&session, write("a")).await.locks.remove(0);
        ground.stage.line.hold(0);
        assert!(ground.client.release(&session, &first).await.is_err(), "held back");
        let _ = ground.client.release(&session, &first).await.unwrap();
        let adopted = ground.stage.adopt(&session.sid).await.expect("it lives");
        let again = ground.lock(&adopted, write("a")).await.locks.remove(0);
        assert_eq!(again.key, first.key, "numbers begin anew when nothing is left of the old ones");
        ground.stage.line.deliver().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b2_a_token_from_the_queue_is_found() {
    is_found(Bug::B2, Rule::Token, async |ground| {
        let (one, two) = (ground.session(1).await, ground.session(2).await);
        let held = ground.lock(&one, write("a")).await.locks.remove(0);
        let waiting = ground.waiting(&two, write("a/b")).await;
        ground.client.release(&one, &held).await.unwrap();
        waiting.await.unwrap();
    })
    .await;
}

/// Keep-alives are slow, then none is answered any more, while the permit can still be read.
#[tokio::test(start_paused = true)]
async fn b3_a_cut_off_counted_from_the_reply_is_found() {
    let story = async || {
        let quiet = Behaviour { deaths: 0, endings: 0, forces: 0, pauses: 0, ..Behaviour::default() };
        let crowd = Crowd::new(3, 1, &quiet).await;
        let line = &crowd.members[0].line;
        line.plan(Call::KeepAlive, Fault::Delay(Span::from_secs(4)));
        (0..100).for_each(|_| line.plan(Call::KeepAlive, Fault::Dropped));
        pass(80_000).await;
        for _ in 0..100 {
            drop(line.keep_alive(rr_store::LeaseId(1)).await);
        }
        crowd.judge().await
    };
    let (report, _) = story().await.expect("the story breaks nothing by itself");
    assert!(report.passes > 1_000, "{report:?}");
    let planted = plant(Bug::B3);
    let broken = story().await.expect_err("it was not found");
    drop(planted);
    assert!(broken.iter().any(|violation| violation.rule == Rule::CutOff), "{broken:?}");
}

/// A machine's clocks as its kernel has them: one counts the time it slept, one does not.
struct SleepingMachine {
    awake: Arc<VirtualClock>,
    slept: AtomicU64,
}

impl Clock for SleepingMachine {
    fn now(&self) -> BootTime {
        since_boot(|id| {
            let slept = if id == ClockId::Boottime { 0 } else { self.slept.load(Ordering::SeqCst) };
            let secs = i64::try_from(self.awake.now().as_millis() / 1_000 - slept).unwrap();
            Timespec { tv_sec: secs, tv_nsec: 0 }
        })
    }
}

/// A laptop is closed for longer than its lease, and its locks are another's when it is opened.
#[tokio::test(start_paused = true)]
async fn b4_a_clock_that_stands_still_during_sleep_is_found() {
    let story = async || {
        let claims = vec![write("a")];
        let lasting = Behaviour { claims, deaths: 0, endings: 0, forces: 0, pauses: 0, ..Behaviour::default() };
        let mut crowd = Crowd::new(4, 0, &lasting).await;
        let machine = Arc::new(SleepingMachine { awake: crowd.clock.clone(), slept: AtomicU64::new(0) });
        crowd.join(machine.clone(), &lasting).await;
        crowd.join(crowd.clock.clone(), &lasting).await;
        pass(20_000).await;
        crowd.members[0].halt.stop();
        pass(80_000).await;
        machine.slept.store(80, Ordering::SeqCst);
        crowd.members[0].halt.go_on();
        pass(20_000).await;
        crowd.judge().await
    };
    let (report, _) = story().await.expect("the story breaks nothing by itself");
    assert!(report.passes > 300 && report.grants > 100, "{report:?}");
    let planted = plant(Bug::B4);
    let broken = story().await.expect_err("it was not found");
    drop(planted);
    assert!(broken.iter().any(|violation| violation.rule == Rule::CutOff), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn b5_a_second_try_under_another_operation_is_found() {
    is_found(Bug::B5, Rule::NotDone, async |ground| {
        let session = ground.session(1).await;
        ground.stage.faulty.plan(Call::Txn, Fault::LostReply);
        ground.lock(&session, write("a")).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b7_a_watch_that_skips_what_was_compacted_is_found() {
    is_found(Bug::B7, Rule::WatchTellsAll, async |ground| {
        let (keys, from) =
            (ground.stage.fleet.keyspace().fleet(), ground.client.read_permit().await.unwrap().revision + 1);
        let mut watch = ground.stage.direct.watch(Keys::prefix(keys.clone()), from).await.unwrap();
        for _ in 0..3 {
            ground.client.pause(&hold()).await.unwrap();
        }
        let last = ground.client.read_permit().await.unwrap().revision;
        while ground.client.recorder.followed() < last {
            tokio::task::yield_now().await;
        }
        ground.stage.embedded.compact(last).await.unwrap();
        let mut told = Vec::new();
        while let Some(Some(Ok(event))) = watch.next().now_or_never() {
            told.push(event);
        }
        ground.client.recorder.watched(Watched { keys: Keys::prefix(keys), from, told });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b8_a_resume_of_whatever_pause_there_is_is_found() {
    is_found(Bug::B8, Rule::ResumeNamesItsPause, async |ground| {
        let Ok(PauseDone::Paused { epoch, .. }) = ground.client.pause(&hold()).await else { panic!("paused") };
        ground.client.resume(epoch).await.unwrap();
        ground.client.pause(&hold()).await.unwrap();
        // Typed when the first pause was on.
        drop(ground.client.resume(epoch).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b9_a_pause_that_writes_instead_of_deleting_is_found() {
    is_found(Bug::B9, Rule::Permit, async |ground| {
        ground.client.pause(&hold()).await.unwrap();
    })
    .await;
}

/// What the deletion is for.
#[tokio::test(start_paused = true)]
async fn b9_a_pause_that_needs_space_is_found_on_a_full_store() {
    let paused = async || {
        let stage = Stage::with(0, Options { data_bytes_max: 2_000, ..Options::default() }).await;
        let mut n = 0;
        let put = |n: u32| Txn::default().then(vec![Op::put(format!("fill/{n}"), "x")]);
        while stage.direct.txn(put(n)).await.is_ok() {
            n += 1;
        }
        stage.fleet.pause(&hold()).await.is_ok()
    };
    assert!(paused().await);
    let planted = plant(Bug::B9);
    assert!(!paused().await, "it was not found");
    drop(planted);
}

/// The store was restored, and of an earlier time: a session of before is still in it.
#[tokio::test(start_paused = true)]
async fn b10_a_grant_across_generations_is_found() {
    is_found(Bug::B10, Rule::Generation, async |ground| {
        let session = ground.session(1).await;
        let rotated = Op::put(format!("{PREFIX}meta/gen"), "another");
        ground.stage.direct.txn(Txn::default().then(vec![rotated])).await.unwrap();
        ground.ask(&session, write("a")).await;
    })
    .await;
}

/// Left-overs of the neighbour whose name begins alike.
#[tokio::test(start_paused = true)]
async fn b11_a_range_that_reaches_a_name_sake_is_found() {
    is_found(Bug::B11, Rule::LeftOvers, async |ground| {
        let (one, two) = (ground.session(1).await, ground.session(2).await);
        ground.lock(&one, write("src/ab")).await;
        ground.stage.faulty.expire(one.lease).await.unwrap();
        ground.lock(&two, write("src/a")).await;
    })
    .await;
}

/// Two patterns, one right after the other; the later one looks first.
#[tokio::test(start_paused = true)]
async fn b12_a_waiter_that_overlooks_the_one_before_it_is_found() {
    is_found(Bug::B12, Rule::FirstCome, async |ground| {
        let [holder, first, second] = [ground.session(1).await, ground.session(2).await, ground.session(3).await];
        let held = ground.lock(&holder, write("src")).await.locks.remove(0);
        let rs = || request(&[Claim::exclusive(glob("src", "*.rs"))]);
        let Answer::Queued(ahead, _) = ground.stage.fleet.request(&first, rs()).await.unwrap() else {
            panic!("queued")
        };
        let Answer::Queued(behind, _) = ground.stage.fleet.request(&second, rs()).await.unwrap() else {
            panic!("queued")
        };
        assert_eq!(behind.since(), ahead.since() + 1);
        ground.client.release(&holder, &held).await.unwrap();
        let soon = ground.stage.fleet.clock().now() + Span::from_secs(1);
        if let WaitEnd::Granted(grant) = ground.stage.fleet.wait(&second, behind, soon).await.unwrap() {
            ground.client.release(&second, &grant.locks[0]).await.unwrap();
        }
        ground.stage.fleet.cancel(&first, &ahead).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn b16_a_lock_taken_while_somebody_waits_is_found() {
    is_found(Bug::B16, Rule::FirstCome, async |ground| {
        let [holder, waiter, barger] = [ground.session(1).await, ground.session(2).await, ground.session(3).await];
        let held = ground.lock(&holder, write("a")).await.locks.remove(0);
        let waiting = ground.waiting(&waiter, write("a")).await;
        // The waiter sleeps on in this thread until somebody yields.
        let (released, barged) = futures::future::join(
            ground.client.release(&holder, &held),
            ground.client.acquire(&barger, request(&[Claim::shared(path("a"))]), Span::ZERO),
        )
        .await;
        released.unwrap();
        drop(barged.unwrap());
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    })
    .await;
}

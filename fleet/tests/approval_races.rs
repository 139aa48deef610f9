//! Approvals when everything happens at once and answers get lost: one decision stands, one use passes, and never one without
//! an approval.

mod common;

use std::sync::Arc;

use common::{Stage, pass, replay_with, seeds};
use rr_core::id::{ApprovalId, CallPrint};
use rr_core::limits::APPROVAL_WAIT;
use rr_fleet::{
    ApprovalAnswer, ApprovalRequest, Asked, Decide, Decided, Decision, Fleet, FleetError, Session, TooMany, Used,
};
use rr_store::faulty::{Call, Fault};

/// More calls of a kind than any one of these makes before it gives up.
const CALLS: usize = 5;

fn request(n: u64) -> ApprovalRequest {
    ApprovalRequest {
        repo: None,
        call_print: CallPrint::parse(&format!("{n:032x}")).unwrap(),
        tool: "Bash".into(),
        command: "terraform apply".into(),
        folder: "/w".into(),
        agent: "claude".into(),
        host_name: "box".into(),
        diff: Some("+a".into()),
        rule: "terraform apply".into(),
        because: String::new(),
        asked_unix_ms: 0,
        expires_unix_ms: APPROVAL_WAIT.as_millis(),
    }
}

async fn waiting(stage: &Stage, session: &Session, n: u64) -> ApprovalId {
    match stage.fleet.ask_approval(session, &request(n)).await.unwrap() {
        Asked::Waiting { id, .. } => id,
        other => panic!("not waiting: {other:?}"),
    }
}

async fn say(stage: &Stage, id: &ApprovalId, decision: Decision, who: &str) -> Decide {
    let rows = stage.fleet.approvals().await.unwrap();
    let revision = rows.iter().find(|row| row.id == *id).unwrap().revision;
    Decide { id: id.clone(), revision, decision, who: who.into(), reason: "r".into(), now_unix_ms: 0 }
}

async fn approved(stage: &Stage, session: &Session, n: u64) -> ApprovalId {
    let id = waiting(stage, session, n).await;
    let decide = say(stage, &id, Decision::Approve, "ann").await;
    assert_eq!(stage.fleet.decide_approval(&decide).await.unwrap(), Decided::Yes);
    id
}

#[tokio::test(start_paused = true)]
async fn of_ten_who_decide_at_once_one_wins_and_the_others_are_told_its_answer() {
    for seed in 0..50 {
        let stage = Stage::seeded(seed).await;
        let session = stage.session(1).await;
        let id = waiting(&stage, &session, 1).await;
        let mut orders = Vec::new();
        for n in 0..10 {
            let decision = if n % 2 == 0 { Decision::Approve } else { Decision::Reject };
            orders.push(say(&stage, &id, decision, &n.to_string()).await);
        }
        stage.line.shuffle(true);
        let tasks: Vec<_> = orders
            .into_iter()
            .map(|decide| {
                let fleet = stage.fleet.clone();
                tokio::spawn(async move { (decide.who.clone(), fleet.decide_approval(&decide).await.unwrap()) })
            })
            .collect();
        let (mut won, mut told) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                (who, Decided::Yes) => won.push(who),
                (_, Decided::Already(ApprovalAnswer::Approved { who, .. } | ApprovalAnswer::Rejected { who, .. })) => {
                    told.push(who);
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert_eq!((won.len(), told.len()), (1, 9), "seed {seed}");
        assert!(told.iter().all(|who| *who == won[0]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_ten_uses_at_once_one_passes() {
    for seed in 0..50 {
        let stage = Stage::seeded(seed).await;
        let session = stage.session(1).await;
        let id = approved(&stage, &session, 1).await;
        stage.line.shuffle(true);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (fleet, session, id) = (stage.fleet.clone(), session.clone(), id.clone());
                tokio::spawn(async move { fleet.use_approval(&session, &id).await.unwrap() })
            })
            .collect();
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.unwrap());
        }
        let passed = told.iter().filter(|used| matches!(used, Used::Yes { .. })).count();
        let refused = told.iter().filter(|used| **used == Used::Already).count();
        assert_eq!((passed, refused), (1, 9), "seed {seed}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_use_whose_answer_is_lost_is_read_back_and_passes_once() {
    for call in [Call::Txn, Call::Range] {
        for before in 0..CALLS {
            for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
                let stage = Stage::new().await;
                let session = stage.session(1).await;
                let id = approved(&stage, &session, 1).await;
                stage.fault(call, before, fault);
                let used = stage.fleet.use_approval(&session, &id).await.unwrap();
                assert_eq!(used, Used::Yes { by: "ann".into() }, "{call:?} {before} {fault:?}");
                stage.calm().await;
                assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Already);
            }
        }
    }
}

/// A use that nobody could settle is answered as an error: it passes nothing, and what arrives late does not either.
#[tokio::test(start_paused = true)]
async fn a_use_that_arrives_after_its_caller_gave_up_lets_nothing_pass_a_second_time() {
    for lost in [false, true] {
        let stage = Stage::new().await;
        let session = stage.session(1).await;
        let id = approved(&stage, &session, 1).await;
        if lost {
            stage.fault(Call::Txn, 1, Fault::LostReply);
        } else {
            // The look goes its way; the use is held back.
            stage.line.hold(1);
            stage.fault(Call::Txn, 0, Fault::Delay(rr_core::time::Span::ZERO));
        }
        for _ in 0..40 {
            stage.faulty.plan(Call::Txn, Fault::Dropped);
        }
        assert!(stage.fleet.use_approval(&session, &id).await.unwrap_err().is_outage());
        stage.calm().await;
        let delivered = stage.line.deliver().await;
        assert_eq!(delivered, usize::from(!lost), "it took effect late");
        assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Already);
        waiting(&stage, &session, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_use_of_one_approval_does_not_use_the_next_one_of_the_same_call() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let first = approved(&stage, &session, 1).await;
    // The look, then the use: that one is held back, and its caller sends it again.
    stage.line.hold(1);
    assert_eq!(stage.fleet.use_approval(&session, &first).await.unwrap(), Used::Yes { by: "ann".into() });
    let second = approved(&stage, &session, 1).await;
    assert_eq!(stage.line.deliver().await, 0);
    assert_eq!(stage.fleet.use_approval(&session, &second).await.unwrap(), Used::Yes { by: "ann".into() });
}

#[tokio::test(start_paused = true)]
async fn a_decision_whose_answer_is_lost_is_found_and_not_given_to_somebody_else() {
    for decision in [Decision::Approve, Decision::Reject] {
        for call in [Call::Txn, Call::Range, Call::Grant] {
            for before in 0..CALLS {
                for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
                    let stage = Stage::new().await;
                    let session = stage.session(1).await;
                    let id = waiting(&stage, &session, 1).await;
                    let (own, other) =
                        (say(&stage, &id, decision, "ann").await, say(&stage, &id, Decision::Reject, "bob").await);
                    stage.fault(call, before, fault);
                    let story = format!("{decision:?} {call:?} {before} {fault:?}");
                    assert_eq!(stage.fleet.decide_approval(&own).await.unwrap(), Decided::Yes, "{story}");
                    stage.calm().await;
                    let second = stage.fleet.decide_approval(&other).await.unwrap();
                    assert!(matches!(second, Decided::Already(_)), "{story}: {second:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_arrives_late_changes_nothing_that_came_after_it() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let first = waiting(&stage, &session, 1).await;
    let decide = say(&stage, &first, Decision::Approve, "ann").await;
    stage.line.hold(0);
    stage.faulty.plan(Call::Range, Fault::Delay(rr_core::time::Span::ZERO));
    for _ in 0..40 {
        stage.faulty.plan(Call::Range, Fault::Refused);
    }
    assert!(stage.fleet.decide_approval(&decide).await.is_err());
    stage.calm().await;
    stage.fleet.withdraw_approval(&session, &first).await.unwrap();
    let second = waiting(&stage, &session, 1).await;
    assert_eq!(stage.line.deliver().await, 0);
    assert_eq!(stage.fleet.use_approval(&session, &second).await.unwrap(), Used::Waiting);
}

#[tokio::test(start_paused = true)]
async fn asking_with_lost_answers_leaves_one_request() {
    for call in [Call::Txn, Call::Grant] {
        for before in 0..CALLS {
            for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
                let stage = Stage::new().await;
                let session = stage.session(1).await;
                stage.fault(call, before, fault);
                let id = waiting(&stage, &session, 1).await;
                stage.calm().await;
                assert_eq!(waiting(&stage, &session, 1).await, id, "{call:?} {before} {fault:?}");
                assert_eq!(stage.below("ask/").await.len(), 1);
                // It has the time it was given: no lease of a lost try was its.
                stage.advance(50).await;
                stage.fleet.keep_alive(&session).await.unwrap();
                assert_eq!(waiting(&stage, &session, 1).await, id, "{call:?} {before} {fault:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn asking_for_one_call_many_times_at_once_is_one_request() {
    for seed in 0..20 {
        let stage = Stage::seeded(seed).await;
        let session = stage.session(1).await;
        stage.line.shuffle(true);
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (fleet, session) = (stage.fleet.clone(), session.clone());
                tokio::spawn(async move { fleet.ask_approval(&session, &request(1)).await.unwrap() })
            })
            .collect();
        let mut ids = std::collections::BTreeSet::new();
        for task in tasks {
            let Asked::Waiting { id, .. } = task.await.unwrap() else { panic!("seed {seed}") };
            ids.insert(id);
        }
        assert_eq!((ids.len(), stage.below("ask/").await.len()), (1, 1), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_calls_that_ask_at_once_as_many_wait_as_may_and_the_others_are_told() {
    for seed in 0..10 {
        let stage = Stage::seeded(seed).await;
        let session = stage.session(1).await;
        stage.line.shuffle(true);
        let tasks: Vec<_> = (0..24)
            .map(|n| {
                let (fleet, session) = (stage.fleet.clone(), session.clone());
                tokio::spawn(async move { fleet.ask_approval(&session, &request(n)).await.unwrap() })
            })
            .collect();
        let (mut waiting, mut refused) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Asked::Waiting { .. } => waiting += 1,
                Asked::TooMany(TooMany::OfSession { .. }) => refused += 1,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert_eq!((waiting, refused, stage.below("ask/").await.len()), (16, 8, 16), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_sidecar_finds_and_uses_what_was_approved_before() {
    let stage = Stage::new().await;
    let before = stage.session(1).await;
    let id = approved(&stage, &before, 1).await;
    let after = stage.adopt(&before.sid).await.expect("it is alive");
    assert_eq!(stage.fleet.ask_approval(&after, &request(1)).await.unwrap(), Asked::Approved { id: id.clone() });
    assert_eq!(stage.fleet.use_approval(&after, &id).await.unwrap(), Used::Yes { by: "ann".into() });
    assert_eq!(stage.fleet.use_approval(&before, &id).await.unwrap(), Used::Already);
}

/// What the actors of one schedule were told.
#[derive(Debug, Default)]
struct Told {
    decided: Vec<(Decision, Result<Decided, FleetError>)>,
    used: Vec<Result<Used, FleetError>>,
}

/// Two who decide, three calls that retry, a withdrawal or an expiry, all at once, with lost and late answers.
async fn schedule(seed: u64) -> Told {
    let stage = Arc::new(Stage::seeded(seed).await);
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    let orders = [
        say(&stage, &id, Decision::Approve, "ann").await,
        say(&stage, &id, if stage.random.one_in(2) { Decision::Approve } else { Decision::Reject }, "bob").await,
    ];
    stage.line.shuffle(true);
    stage.line.late(100);
    stage.faulty.chances(seed, &[(Fault::LostReply, 60), (Fault::Dropped, 60), (Fault::Refused, 30)]);
    let deciders: Vec<_> = orders
        .map(|decide| {
            let (fleet, after) = (stage.fleet.clone(), stage.random.below(30));
            tokio::spawn(async move {
                pass(after).await;
                (decide.decision, fleet.decide_approval(&decide).await)
            })
        })
        .into();
    let users: Vec<_> = (0..3)
        .map(|_| {
            let (fleet, session, id, after) =
                (stage.fleet.clone(), session.clone(), id.clone(), stage.random.below(40));
            tokio::spawn(async move { uses(&fleet, &session, &id, after).await })
        })
        .collect();
    if stage.random.one_in(3) {
        pass(stage.random.below(60)).await;
        if stage.random.one_in(2) {
            stage.clock.advance(APPROVAL_WAIT);
        } else {
            let _ = stage.fleet.withdraw_approval(&session, &id).await;
        }
    }
    let mut told = Told::default();
    for task in deciders {
        told.decided.push(task.await.unwrap());
    }
    for task in users {
        told.used.extend(task.await.unwrap());
    }
    told
}

async fn uses(fleet: &Fleet, session: &Session, id: &ApprovalId, after: u64) -> Vec<Result<Used, FleetError>> {
    let mut told = Vec::new();
    for _ in 0..4 {
        pass(after).await;
        told.push(fleet.use_approval(session, id).await);
    }
    told
}

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_late_or_raced_one_decision_stands_and_one_use_passes() {
    let test = "whatever_is_lost_late_or_raced_one_decision_stands_and_one_use_passes";
    let (mut passed, mut refused) = (0, 0);
    for seed in seeds(600) {
        let told = schedule(seed).await;
        let story = || format!("{told:?}; {}", replay_with(seed, test));
        let won: Vec<Decision> =
            told.decided.iter().filter(|(_, d)| matches!(d, Ok(Decided::Yes))).map(|(d, _)| *d).collect();
        assert!(won.len() <= 1, "{}", story());
        let uses = told.used.iter().filter(|used| matches!(used, Ok(Used::Yes { .. }))).count();
        assert!(uses <= 1, "{}", story());
        if won == [Decision::Reject] {
            assert_eq!(uses, 0, "{}", story());
            refused += 1;
        }
        // Somebody who decided knows of it, or was told that the outcome is not known.
        let may_be_approved = told.decided.iter().any(|(decision, outcome)| {
            *decision == Decision::Approve && (matches!(outcome, Ok(Decided::Yes)) || outcome.is_err())
        });
        assert!(uses == 0 || may_be_approved, "{}", story());
        passed += uses;
    }
    let all = seeds(600).count();
    assert!(all == 1 || (passed > all / 3 && refused > all / 20), "too few got through: {passed}, {refused} of {all}");
}

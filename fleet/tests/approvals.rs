//! Requests for approval: asked once, decided once, used once; "no" when nobody answers, when the asker is gone, shut out or
//! restored away; bounded; and answers reach a follower.

mod common;

use std::collections::BTreeSet;

use common::{PREFIX, Stage, record};
use rr_core::id::{ApprovalId, CallPrint};
use rr_core::limits::{APPROVAL_USE_WITHIN, APPROVAL_WAIT, APPROVALS_PER_FLEET_MAX, APPROVALS_PER_SESSION_MAX};
use rr_fleet::{
    ApprovalAnswer, ApprovalRequest, ApprovalState, Asked, Decide, Decided, Decision, Denial, Ending, Hold, HoldKind,
    Registered, Session, TooMany, Used,
};
use rr_store::{Keys, Op, Store as _, Txn};

fn print(n: u64) -> CallPrint {
    CallPrint::parse(&format!("{n:064x}")).unwrap()
}

fn request(n: u64) -> ApprovalRequest {
    ApprovalRequest {
        repo: Some(common::repo()),
        call_print: print(n),
        tool: "Bash".into(),
        command: format!("npm publish --tag t{n}"),
        folder: "/w".into(),
        agent: "claude".into(),
        host_name: "box".into(),
        diff: None,
        rule: "npm publish".into(),
        because: "it cannot be taken back".into(),
        asked_unix_ms: 1_000,
        expires_unix_ms: 1_000 + APPROVAL_WAIT.as_millis(),
    }
}

async fn waiting(stage: &Stage, session: &Session, n: u64) -> ApprovalId {
    match stage.fleet.ask_approval(session, &request(n)).await.unwrap() {
        Asked::Waiting { id, .. } => id,
        other => panic!("not waiting: {other:?}"),
    }
}

async fn revision(stage: &Stage, id: &ApprovalId) -> u64 {
    stage.fleet.approvals().await.unwrap().into_iter().find(|row| row.id == *id).unwrap().revision
}

async fn say(stage: &Stage, id: &ApprovalId, decision: Decision, who: &str) -> Decide {
    let (id, revision) = (id.clone(), revision(stage, id).await);
    Decide { id, revision, decision, who: who.into(), reason: "because".into(), now_unix_ms: 7 }
}

async fn decided(stage: &Stage, id: &ApprovalId, decision: Decision) -> Decided {
    stage.fleet.decide_approval(&say(stage, id, decision, "ann").await).await.unwrap()
}

async fn approved(stage: &Stage, session: &Session, n: u64) -> ApprovalId {
    let id = waiting(stage, session, n).await;
    assert_eq!(decided(stage, &id, Decision::Approve).await, Decided::Yes);
    id
}

fn hold() -> Hold {
    Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who: "ann".into(),
        reason: "lunch".into(),
        hard: false,
        affected: None,
        since_unix_ms: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn an_approved_call_passes_exactly_once() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Waiting);
    assert_eq!(decided(&stage, &id, Decision::Approve).await, Decided::Yes);
    assert_eq!(stage.fleet.ask_approval(&session, &request(1)).await.unwrap(), Asked::Approved { id: id.clone() });
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Yes { by: "ann".into() });
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Already);
    assert!(stage.fleet.approvals().await.unwrap().is_empty());
    let again = waiting(&stage, &session, 1).await;
    assert_ne!(again, id, "the same call asks anew");
    assert_eq!(stage.fleet.use_approval(&session, &again).await.unwrap(), Used::Waiting);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_asked_once_and_an_approval_is_good_for_no_other_call_or_session() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let id = waiting(&stage, &all[0], 1).await;
    assert_eq!(waiting(&stage, &all[0], 1).await, id);
    assert_eq!(stage.fleet.approvals().await.unwrap().len(), 1);
    assert_eq!(decided(&stage, &id, Decision::Approve).await, Decided::Yes);
    assert_ne!(waiting(&stage, &all[0], 2).await, id);
    assert_ne!(waiting(&stage, &all[1], 1).await, id);
    assert_eq!(stage.fleet.use_approval(&all[1], &id).await.unwrap(), Used::Unknown);
    assert_eq!(stage.fleet.use_approval(&all[0], &id).await.unwrap(), Used::Yes { by: "ann".into() });
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_what_is_asked_in_the_order_it_was_asked() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let ids = [waiting(&stage, &all[0], 1).await, waiting(&stage, &all[1], 2).await, waiting(&stage, &all[0], 3).await];
    let rows = stage.fleet.approvals().await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
    assert!(rows.iter().all(rr_fleet::ApprovalRow::is_waiting));
    assert_eq!((rows[1].session.clone(), rows[1].request.clone()), (all[1].sid.clone(), request(2)));
    let asked = stage.fleet.ask_approval(&all[0], &request(3)).await.unwrap();
    assert_eq!(asked, Asked::Waiting { id: ids[2].clone(), ahead: 2 });
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_safe_to_show_and_cut() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let wild = ApprovalRequest {
        command: format!("a\u{1b}[2K{}", "x".repeat(10_000)),
        diff: Some("\u{202e}+".repeat(20_000)),
        expires_unix_ms: u64::MAX,
        ..request(1)
    };
    stage.fleet.ask_approval(&session, &wild).await.unwrap();
    let shown = stage.fleet.approvals().await.unwrap().remove(0).request;
    assert!(shown.command.starts_with("a\\u{1b}[2Kxx") && shown.command.ends_with("bytes more)"), "{}", shown.command);
    let diff = shown.diff.unwrap();
    assert!(diff.len() < (16 << 10) + 40 && !diff.contains('\u{202e}'), "{}", diff.len());
    assert_eq!(shown.expires_unix_ms, 1_000 + 24 * 3_600_000, "a day at most");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_stands_as_long_as_its_session_and_names_its_reason() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    assert_eq!(decided(&stage, &id, Decision::Reject).await, Decided::Yes);
    let no = Asked::Rejected { id: id.clone(), by: "ann".into(), reason: "because".into() };
    for _ in 0..80 {
        stage.advance(40).await;
        stage.fleet.keep_alive(&session).await.unwrap();
    }
    assert_eq!(stage.fleet.ask_approval(&session, &request(1)).await.unwrap(), no);
    let used = stage.fleet.use_approval(&session, &id).await.unwrap();
    assert_eq!(used, Used::Rejected { by: "ann".into(), reason: "because".into() });
    let late = Decide { revision: 1, ..say(&stage, &id, Decision::Approve, "bob").await };
    assert!(matches!(
        stage.fleet.decide_approval(&late).await.unwrap(),
        Decided::Already(ApprovalAnswer::Rejected { who, .. }) if who == "ann"
    ));
    stage.fleet.end(&session, Ending::Clean).await.unwrap();
    assert!(stage.below("ask/").await.is_empty() && stage.below("answer/").await.is_empty());
}

/// Lets time pass for the store without the session ending.
async fn live_on(stage: &Stage, session: &Session, secs: u64) {
    for _ in 0..secs.div_ceil(30) {
        stage.advance(30).await;
        stage.fleet.keep_alive(session).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_answers_means_no() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    let late = say(&stage, &id, Decision::Approve, "ann").await;
    live_on(&stage, &session, APPROVAL_WAIT.as_secs() + 30).await;
    assert_eq!(stage.fleet.ask_approval(&session, &request(1)).await.unwrap(), Asked::Expired { id: id.clone() });
    assert_eq!(stage.fleet.decide_approval(&late).await.unwrap(), Decided::Expired);
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Expired);
    let rows = stage.fleet.approvals().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.state.clone()).collect::<Vec<_>>(), [ApprovalState::Expired]);
    // Told and taken back: the agent may ask once more.
    stage.fleet.withdraw_approval(&session, &id).await.unwrap();
    let again = waiting(&stage, &session, 1).await;
    assert_ne!(again, id);
    assert_eq!(stage.fleet.decide_approval(&late).await.unwrap(), Decided::Unknown);
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_is_not_used_in_time_is_over() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    live_on(&stage, &session, APPROVAL_WAIT.as_secs() - 60).await;
    assert_eq!(decided(&stage, &id, Decision::Approve).await, Decided::Yes);
    live_on(&stage, &session, APPROVAL_USE_WITHIN.as_secs() - 60).await;
    assert_eq!(stage.fleet.ask_approval(&session, &request(1)).await.unwrap(), Asked::Approved { id: id.clone() });
    live_on(&stage, &session, 120).await;
    assert_eq!(stage.fleet.ask_approval(&session, &request(1)).await.unwrap(), Asked::Expired { id: id.clone() });
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_decision_on_an_older_request_of_the_same_call_is_refused() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    let now = say(&stage, &id, Decision::Approve, "ann").await;
    let older = Decide { revision: now.revision - 1, ..now.clone() };
    let changed = Decided::Changed { revision: now.revision };
    assert_eq!(stage.fleet.decide_approval(&older).await.unwrap(), changed);
    stage.fleet.withdraw_approval(&session, &id).await.unwrap();
    let second = waiting(&stage, &session, 1).await;
    assert_eq!(stage.fleet.decide_approval(&now).await.unwrap(), Decided::Unknown);
    let mixed = Decide { id: second.clone(), ..now };
    assert!(matches!(stage.fleet.decide_approval(&mixed).await.unwrap(), Decided::Changed { .. }));
    assert_eq!(stage.fleet.use_approval(&session, &second).await.unwrap(), Used::Waiting);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_decide_one_after_the_other_the_second_is_told_who_was_first() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    let (yes, no) = (say(&stage, &id, Decision::Approve, "ann").await, say(&stage, &id, Decision::Reject, "bob").await);
    assert_eq!(stage.fleet.decide_approval(&yes).await.unwrap(), Decided::Yes);
    let first = ApprovalAnswer::Approved { who: "ann".into(), reason: "because".into(), at_unix_ms: 7 };
    assert_eq!(stage.fleet.decide_approval(&no).await.unwrap(), Decided::Already(first));
    stage.fleet.use_approval(&session, &id).await.unwrap();
    let used = ApprovalAnswer::Used { who: "ann".into() };
    assert_eq!(stage.fleet.decide_approval(&no).await.unwrap(), Decided::Already(used));
}

#[tokio::test(start_paused = true)]
async fn what_a_session_asked_ends_with_it() {
    for how in [Ending::Clean, Ending::Died { gone: false }] {
        let stage = Stage::new().await;
        let session = stage.session(1).await;
        let (open, granted) = (waiting(&stage, &session, 1).await, approved(&stage, &session, 2).await);
        let late = say(&stage, &open, Decision::Approve, "ann").await;
        stage.fleet.end(&session, how).await.unwrap();
        assert!(stage.fleet.approvals().await.unwrap().is_empty());
        assert_eq!(stage.fleet.decide_approval(&late).await.unwrap(), Decided::AskerGone);
        assert_ne!(stage.fleet.use_approval(&session, &granted).await.unwrap(), Used::Yes { by: "ann".into() });
        assert_eq!(stage.fleet.ask_approval(&session, &request(3)).await.unwrap(), Asked::Lost);
        stage.advance(APPROVAL_USE_WITHIN.as_secs() + 1).await;
        assert!(stage.below("answer/").await.is_empty());
    }
}

/// The embedded store's own time decides; what a person's clock says does not.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_approves_nothing() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let past = ApprovalRequest { asked_unix_ms: u64::MAX - 1, expires_unix_ms: 0, ..request(1) };
    let Asked::Waiting { id, .. } = stage.fleet.ask_approval(&session, &past).await.unwrap() else { panic!("asked") };
    let decide = Decide { now_unix_ms: 0, ..say(&stage, &id, Decision::Approve, "ann").await };
    stage.advance(6).await;
    assert_eq!(stage.fleet.decide_approval(&decide).await.unwrap(), Decided::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_denied_host_asks_nothing_and_its_approvals_are_void() {
    let stage = Stage::new().await;
    let host = record(1).host;
    let Registered::New(session) = stage.fleet.register(&record(1), host.as_str()).await.unwrap() else { panic!() };
    let (open, granted) = (waiting(&stage, &session, 1).await, approved(&stage, &session, 2).await);
    let late = say(&stage, &open, Decision::Approve, "ann").await;
    // The denial alone, before its sessions are ended.
    let deny = Op::put(format!("{PREFIX}deny/{host}"), "{}");
    stage.direct.txn(Txn::default().then(vec![deny])).await.unwrap();
    assert_eq!(stage.fleet.decide_approval(&late).await.unwrap(), Decided::AskerGone);
    assert_eq!(stage.fleet.use_approval(&session, &granted).await.unwrap(), Used::Lost);
    assert_eq!(stage.fleet.ask_approval(&session, &request(3)).await.unwrap(), Asked::Lost);
    let denial = Denial { who: "kim".into(), reason: "stolen".into(), since_unix_ms: 9 };
    stage.fleet.deny(&host, &denial).await.unwrap();
    assert!(stage.fleet.approvals().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_paused_fleet_decides_but_uses_nothing_and_keeps_the_approval() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let id = waiting(&stage, &session, 1).await;
    let rr_fleet::PauseDone::Paused { epoch, .. } = stage.fleet.pause(&hold()).await.unwrap() else { panic!("it ran") };
    assert_eq!(decided(&stage, &id, Decision::Approve).await, Decided::Yes);
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Paused);
    stage.fleet.resume(epoch, "ann", |_| true).await.unwrap();
    assert_eq!(stage.fleet.use_approval(&session, &id).await.unwrap(), Used::Yes { by: "ann".into() });
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_nothing_is_asked_and_nothing_approved() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let (open, granted) = (waiting(&stage, &session, 1).await, approved(&stage, &session, 2).await);
    let late = say(&stage, &open, Decision::Approve, "ann").await;
    stage.fleet.post_restore(&hold()).await.unwrap();
    assert!(stage.below("ask/").await.is_empty() && stage.below("answer/").await.is_empty());
    assert_eq!(stage.fleet.decide_approval(&late).await.unwrap(), Decided::Unknown);
    assert_eq!(stage.fleet.use_approval(&session, &granted).await.unwrap(), Used::Unknown);
    assert_eq!(stage.fleet.ask_approval(&session, &request(3)).await.unwrap(), Asked::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_session_has_a_bounded_number_and_what_is_settled_makes_room() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let most = APPROVALS_PER_SESSION_MAX as u64;
    let mut ids = Vec::new();
    for n in 0..most {
        ids.push(waiting(&stage, &session, n).await);
    }
    let full = Asked::TooMany(TooMany::OfSession { max: APPROVALS_PER_SESSION_MAX });
    assert_eq!(stage.fleet.ask_approval(&session, &request(most)).await.unwrap(), full);
    assert_eq!(decided(&stage, &ids[3], Decision::Approve).await, Decided::Yes);
    assert_eq!(stage.fleet.ask_approval(&session, &request(most)).await.unwrap(), full, "it can still be used");
    for n in [9, 5] {
        assert_eq!(decided(&stage, &ids[n], Decision::Reject).await, Decided::Yes);
    }
    waiting(&stage, &session, most).await;
    let left: BTreeSet<_> = stage.fleet.approvals().await.unwrap().into_iter().map(|row| row.id).collect();
    assert!(left.len() == APPROVALS_PER_SESSION_MAX && !left.contains(&ids[5]) && left.contains(&ids[9]));
    live_on(&stage, &session, APPROVAL_WAIT.as_secs() + 30).await;
    waiting(&stage, &session, most + 1).await;
    assert_eq!(stage.below("ask/").await.len(), APPROVALS_PER_SESSION_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_has_a_bounded_number_and_those_of_the_dead_do_not_count() {
    let stage = Stage::new().await;
    let count = (APPROVALS_PER_FLEET_MAX / APPROVALS_PER_SESSION_MAX) as u64;
    let all = stage.sessions(count + 1).await;
    for session in &all[1..] {
        for n in 0..APPROVALS_PER_SESSION_MAX as u64 {
            waiting(&stage, session, n).await;
        }
    }
    let full = Asked::TooMany(TooMany::OfFleet { max: APPROVALS_PER_FLEET_MAX });
    assert_eq!(stage.fleet.ask_approval(&all[0], &request(1)).await.unwrap(), full);
    stage.fleet.end(&all[1], Ending::Died { gone: true }).await.unwrap();
    waiting(&stage, &all[0], 1).await;
    assert_eq!(stage.below("answer/").await.len(), APPROVALS_PER_FLEET_MAX - APPROVALS_PER_SESSION_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_answers_ends_where_a_fresh_reading_does() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let early = waiting(&stage, &all[0], 1).await;
    let mut follower = stage.fleet.follow_answers().await.unwrap();
    let seen = |follower: &rr_fleet::Answers, session: &Session| {
        follower
            .of(&session.sid)
            .map(|(call, id, answer)| (call.clone(), id.clone(), answer.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&follower, &all[0]), [(print(1), early.clone(), ApprovalAnswer::Waiting)]);
    assert!(seen(&follower, &all[1]).is_empty());

    let other = waiting(&stage, &all[1], 2).await;
    assert_eq!(decided(&stage, &early, Decision::Reject).await, Decided::Yes);
    stage.fleet.withdraw_approval(&all[1], &other).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(follower.changed().await.unwrap());
    }
    let no = ApprovalAnswer::Rejected { who: "ann".into(), reason: "because".into(), at_unix_ms: 7 };
    assert_eq!(told[0].now, Some((other, ApprovalAnswer::Waiting)));
    assert_eq!((&told[1].session, &told[1].now), (&all[0].sid, &Some((early.clone(), no.clone()))));
    assert_eq!((&told[2].call_print, &told[2].now), (&print(2), &None));
    assert_eq!(seen(&follower, &all[0]), [(print(1), early, no)]);
    let fresh = stage.fleet.follow_answers().await.unwrap();
    assert_eq!(seen(&follower, &all[0]), seen(&fresh, &all[0]));
    stage.faulty.end_watches();
    assert!(follower.changed().await.is_err(), "it says that it no longer follows");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_hides_nothing_and_approves_nothing() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let (good, bad) = (waiting(&stage, &all[0], 1).await, approved(&stage, &all[1], 2).await);
    let answer = stage.below(&format!("answer/{}/", all[1].sid)).await.remove(0);
    let garbage = Op::put_leased(answer.key, "garbage", answer.lease.unwrap());
    stage.direct.txn(Txn::default().then(vec![garbage])).await.unwrap();
    let rows = stage.fleet.approvals().await.unwrap();
    assert!(rows.iter().any(|row| row.id == good && row.is_waiting()));
    assert_eq!(stage.fleet.use_approval(&all[1], &bad).await.unwrap(), Used::Expired);
    stage.direct.txn(Txn::default().then(vec![Op::Delete(Keys::prefix(format!("{PREFIX}answer/")))])).await.unwrap();
    assert_eq!(stage.fleet.use_approval(&all[0], &good).await.unwrap(), Used::Expired);
}

//! Questions to sidecars: each host acts at most once whatever is lost, the asker knows who may have acted, and
//! nothing stays.

mod common;

use common::{Stage, pass, record, replay_with, seeds};
use rr_core::id::HostId;
use rr_core::time::{BootTime, Span};
use rr_fleet::{
    ANSWER_BYTES_MAX, Answered, Asking, Closed, Denial, FleetError, Heard, Hold, HoldKind, HowFar, LogHead,
    QUESTION_BYTES_MAX, QUESTIONS_MAX, Question, TakeUp, TakenUp,
};
use rr_store::faulty::{Call, Fault};

const TTL: Span = Span::from_secs(30);

fn host(n: u8) -> HostId {
    HostId::from_random([n; 16])
}

fn head(sequence: u64) -> LogHead {
    LogHead { sequence, chain: format!("{sequence:04x}"), host_name: "box".into(), at_unix_ms: 1 }
}

async fn ask(stage: &Stage, to: Option<&HostId>) -> Asking {
    stage.fleet.ask_hosts(to, b"what happened?".to_vec(), "kim", TTL).await.unwrap()
}

async fn only_question(stage: &Stage, of: &HostId) -> Question {
    let mut open = stage.fleet.open_questions(of).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

async fn take(stage: &Stage, question: &Question, of: &HostId) -> TakenUp {
    match stage.fleet.take_up(question, of).await.unwrap() {
        TakeUp::Taken(taken) => taken,
        other => panic!("not taken up: {other:?}"),
    }
}

fn soon(stage: &Stage) -> BootTime {
    stage.fleet.clock().now() + Span::from_secs(3)
}

async fn next(stage: &Stage, asking: &mut Asking) -> Option<Heard> {
    asking.next(soon(stage)).await.unwrap()
}

async fn nothing_is_left(stage: &Stage) {
    for part in ["fleet/question/", "reply/"] {
        let left: Vec<String> = stage.below(part).await.into_iter().map(|kv| kv.key).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_to_all_is_answered_by_each_host_and_leaves_nothing() {
    let stage = Stage::new().await;
    let mut watch = stage.fleet.watch(stage.fleet.keyspace().fleet(), 0).await.unwrap();
    let mut asking = ask(&stage, None).await;
    let event = futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
    let question = stage.fleet.question_in(&event).unwrap();
    assert_eq!(
        (question.question.as_slice(), question.who.as_str(), &question.to),
        (&b"what happened?"[..], "kim", &None)
    );
    assert_eq!(question, only_question(&stage, &host(1)).await, "the watch and the list say the same");
    for n in [1, 2] {
        let taken = take(&stage, &question, &host(n)).await;
        assert_eq!(next(&stage, &mut asking).await, Some(Heard::TakenUp { host: host(n) }));
        assert_eq!(asking.how_far(&host(n)), HowFar::TakenUp);
        let said = stage.fleet.answer(&taken, format!("host {n}").as_bytes()).await.unwrap();
        assert_eq!(said, Answered::Yes);
        let answer = format!("host {n}").into_bytes();
        assert_eq!(next(&stage, &mut asking).await, Some(Heard::Answered { host: host(n), answer }));
    }
    assert_eq!(next(&stage, &mut asking).await, None);
    assert_eq!((asking.how_far(&host(2)), asking.how_far(&host(3))), (HowFar::Answered, HowFar::NotTakenUp));
    asking.over().await;
    nothing_is_left(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn of_many_sidecars_of_one_host_one_acts() {
    for seed in seeds(30) {
        let stage = Stage::seeded(seed).await;
        let asking = ask(&stage, Some(&host(1))).await;
        let question = only_question(&stage, &host(1)).await;
        stage.line.shuffle(true);
        let tries: Vec<_> = (0..12)
            .map(|_| {
                let (fleet, question) = (stage.fleet.clone(), question.clone());
                tokio::spawn(
                    async move { matches!(fleet.take_up(&question, &host(1)).await.unwrap(), TakeUp::Taken(_)) },
                )
            })
            .collect();
        let mut taken = 0;
        for one in tries {
            taken += usize::from(one.await.unwrap());
        }
        assert_eq!(taken, 1, "{}", replay_with(seed, "of_many_sidecars_of_one_host_one_acts"));
        asking.over().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_starts_anew_does_not_act_a_second_time() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, Some(&host(1))).await;
    let question = only_question(&stage, &host(1)).await;
    // It dies after this.
    drop(take(&stage, &question, &host(1)).await);
    let again = only_question(&stage, &host(1)).await;
    assert!(matches!(stage.fleet.take_up(&again, &host(1)).await.unwrap(), TakeUp::Already));
    assert_eq!(asking.close().await.unwrap(), Closed::Settled);
    assert_eq!(asking.how_far(&host(1)), HowFar::TakenUp, "the asker must count with its having acted");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_makes_nobody_act_twice_and_nobody_forgotten() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        let stage = Stage::new().await;
        let mut asking = ask(&stage, None).await;
        let question = only_question(&stage, &host(1)).await;
        stage.fault(Call::Txn, 0, fault);
        let taken = take(&stage, &question, &host(1)).await;
        stage.fault(Call::Txn, 0, fault);
        assert_eq!(stage.fleet.answer(&taken, b"done").await.unwrap(), Answered::Yes, "{fault:?}");
        stage.fault(Call::Range, 0, fault);
        let answered = Heard::Answered { host: host(1), answer: b"done".to_vec() };
        assert_eq!(next(&stage, &mut asking).await, Some(answered), "{fault:?}");
        assert!(matches!(stage.fleet.take_up(&question, &host(1)).await.unwrap(), TakeUp::Already));
        asking.over().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_falls_silent_leaves_the_right_to_act_with_nobody() {
    for fault in [Fault::LostReply, Fault::Dropped] {
        let stage = Stage::new().await;
        let mut asking = ask(&stage, None).await;
        let question = only_question(&stage, &host(1)).await;
        stage.fault(Call::Txn, 0, fault);
        (0..7).for_each(|_| stage.faulty.plan(Call::Txn, Fault::Refused));
        assert!(stage.fleet.take_up(&question, &host(1)).await.unwrap_err().is_outage());
        stage.calm().await;
        let second = stage.fleet.take_up(&question, &host(1)).await.unwrap();
        assert_eq!(matches!(second, TakeUp::Already), fault == Fault::LostReply, "{second:?}");
        asking.close().await.unwrap();
        assert_eq!(asking.how_far(&host(1)), HowFar::TakenUp);
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_took_up_before_it_was_closed_nobody_ever_does() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, None).await;
    let question = only_question(&stage, &host(1)).await;
    // A sidecar's word that is under way while the asker gives up; the sidecar was never told that it arrived.
    stage.line.hold(0);
    (0..7).for_each(|_| stage.faulty.plan(Call::Txn, Fault::Refused));
    assert!(stage.fleet.take_up(&question, &host(1)).await.unwrap_err().is_outage());
    stage.calm().await;
    assert_eq!(asking.close().await.unwrap(), Closed::Settled);
    assert_eq!(asking.how_far(&host(1)), HowFar::NotTakenUp);
    assert_eq!(stage.line.deliver().await, 0, "too late");
    assert!(matches!(stage.fleet.take_up(&question, &host(2)).await.unwrap(), TakeUp::Over));
    assert!(stage.fleet.open_questions(&host(1)).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_taken_up_in_time_is_answered_after_the_close() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, Some(&host(1))).await;
    let taken = take(&stage, &only_question(&stage, &host(1)).await, &host(1)).await;
    assert_eq!(asking.close().await.unwrap(), Closed::Settled);
    assert_eq!(asking.close().await.unwrap(), Closed::Settled, "it may be asked again");
    assert_eq!(stage.fleet.answer(&taken, b"done").await.unwrap(), Answered::Yes);
    assert_eq!(next(&stage, &mut asking).await, Some(Heard::TakenUp { host: host(1) }));
    let answered = Heard::Answered { host: host(1), answer: b"done".to_vec() };
    assert_eq!(next(&stage, &mut asking).await, Some(answered));
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_putting_was_unclear_is_open_once_and_a_late_copy_opens_nothing() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        for before in 0..3 {
            let stage = Stage::new().await;
            stage.fault(Call::Txn, before, fault);
            let asking = ask(&stage, None).await;
            assert_eq!(stage.below("fleet/question/").await.len(), 1, "{fault:?} {before}");
            asking.over().await;
            nothing_is_left(&stage).await;
        }
    }
    let stage = Stage::new().await;
    // The one that puts it: the two before it look.
    stage.line.hold(2);
    let mut asking = ask(&stage, None).await;
    assert_eq!(stage.below("fleet/question/").await.len(), 1);
    asking.close().await.unwrap();
    assert_eq!(stage.line.deliver().await, 0, "the copy finds that it was put");
    assert!(stage.below("fleet/question/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_dies_leaves_nothing_and_its_answer_comes_too_late() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, None).await;
    let question = only_question(&stage, &host(1)).await;
    let taken = take(&stage, &question, &host(1)).await;
    stage.advance(TTL.as_secs() + 1).await;
    nothing_is_left(&stage).await;
    assert_eq!(stage.fleet.answer(&taken, &vec![7; 600 << 10]).await.unwrap(), Answered::TooLate);
    assert!(matches!(stage.fleet.take_up(&question, &host(2)).await.unwrap(), TakeUp::Over));
    nothing_is_left(&stage).await;
    // Had it not died, it could not tell who acted.
    assert_eq!(asking.close().await.unwrap(), Closed::Lapsed);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_dropped_is_withdrawn() {
    let stage = Stage::new().await;
    drop(ask(&stage, None).await);
    pass(10).await;
    nothing_is_left(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn an_asker_whose_watch_ends_or_falls_silent_hears_all_the_same() {
    for silent in [false, true] {
        let stage = Stage::new().await;
        let mut asking = ask(&stage, None).await;
        let question = only_question(&stage, &host(1)).await;
        let taken = take(&stage, &question, &host(1)).await;
        assert_eq!(next(&stage, &mut asking).await, Some(Heard::TakenUp { host: host(1) }));
        if silent {
            stage.faulty.silence_watches(true);
        } else {
            stage.faulty.end_watches();
        }
        stage.fleet.answer(&taken, b"done").await.unwrap();
        let (answered, begun) =
            (Heard::Answered { host: host(1), answer: b"done".to_vec() }, stage.fleet.clock().now());
        assert_eq!(next(&stage, &mut asking).await, Some(answered), "silent: {silent}");
        let waited = stage.fleet.clock().now().since(begun);
        assert!(waited < Span::from_secs(2), "not only at the end: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_shut_out_takes_nothing_up_and_answers_nothing() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, None).await;
    let question = only_question(&stage, &host(1)).await;
    let taken = take(&stage, &question, &host(1)).await;
    let denial = Denial { who: "kim".into(), reason: "stolen".into(), since_unix_ms: 9 };
    for n in [1, 2] {
        stage.fleet.deny(&host(n), &denial).await.unwrap();
    }
    let refused = stage.fleet.answer(&taken, b"nothing happened").await.unwrap_err();
    assert!(matches!(&refused, FleetError::Denied(why) if *why == denial), "{refused}");
    let refused = stage.fleet.take_up(&question, &host(2)).await.unwrap_err();
    assert!(matches!(&refused, FleetError::Denied(why) if *why == denial), "{refused}");
    asking.close().await.unwrap();
    assert_eq!(asking.taken_up().collect::<Vec<_>>(), [(&host(1), HowFar::TakenUp)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_start_after_a_restore_ends_all_questions() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, None).await;
    let question = only_question(&stage, &host(1)).await;
    let taken = take(&stage, &question, &host(1)).await;
    let hold = Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who: "kim".into(),
        reason: "restored".into(),
        hard: false,
        affected: None,
        since_unix_ms: 0,
    };
    stage.fleet.post_restore(&hold).await.unwrap();
    nothing_is_left(&stage).await;
    assert_eq!(stage.fleet.answer(&taken, b"done").await.unwrap(), Answered::TooLate);
    assert!(matches!(stage.fleet.take_up(&question, &host(2)).await.unwrap(), TakeUp::Over));
    assert_eq!(asking.close().await.unwrap(), Closed::Lapsed);
    nothing_is_left(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_at_once_only_so_many_questions_are_open() {
    let stage = Stage::new().await;
    stage.line.shuffle(true);
    let all: Vec<_> = (0..QUESTIONS_MAX + 20)
        .map(|_| {
            let fleet = stage.fleet.clone();
            tokio::spawn(async move { fleet.ask_hosts(None, b"?".to_vec(), "kim", TTL).await })
        })
        .collect();
    let mut open = Vec::new();
    for one in all {
        match one.await.unwrap() {
            Ok(asking) => open.push(asking),
            Err(FleetError::TooManyQuestions { max }) => assert_eq!(max, QUESTIONS_MAX),
            Err(error) => assert!(error.is_outage(), "{error}"),
        }
    }
    assert_eq!(stage.below("fleet/question/").await.len(), open.len());
    while open.len() < QUESTIONS_MAX {
        open.push(ask(&stage, None).await);
    }
    let refused = stage.fleet.ask_hosts(None, b"?".to_vec(), "kim", TTL).await.unwrap_err();
    assert!(matches!(refused, FleetError::TooManyQuestions { .. }), "{refused}");
    open.pop().unwrap().over().await;
    open.push(ask(&stage, None).await);
    assert_eq!(stage.fleet.open_questions(&host(1)).await.unwrap().len(), QUESTIONS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_comes_whole_and_a_longer_one_is_refused() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, Some(&host(1))).await;
    let question = only_question(&stage, &host(1)).await;
    assert_eq!(question.answer_bytes_max, ANSWER_BYTES_MAX);
    let taken = take(&stage, &question, &host(1)).await;
    assert_eq!(next(&stage, &mut asking).await, Some(Heard::TakenUp { host: host(1) }));
    let too_long = stage.fleet.answer(&taken, &vec![0; ANSWER_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(too_long, FleetError::TooLong { max: ANSWER_BYTES_MAX, .. }), "{too_long}");
    let answer: Vec<u8> = (0..ANSWER_BYTES_MAX).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_eq!(stage.fleet.answer(&taken, &answer).await.unwrap(), Answered::Yes);
    let heard = next(&stage, &mut asking).await.unwrap();
    assert!(matches!(heard, Heard::Answered { answer: got, .. } if got == answer), "not what was said");
    asking.over().await;
    nothing_is_left(&stage).await;

    let too_long = stage.fleet.ask_hosts(None, vec![0; QUESTION_BYTES_MAX + 1], "", TTL).await.unwrap_err();
    assert!(matches!(too_long, FleetError::TooLong { .. }), "{too_long}");
    nothing_is_left(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_one() {
    let stage = Stage::new().await;
    let mut asking = ask(&stage, None).await;
    let taken = take(&stage, &only_question(&stage, &host(1)).await, &host(1)).await;
    stage.fleet.answer(&taken, b"").await.unwrap();
    assert_eq!(next(&stage, &mut asking).await, Some(Heard::Answered { host: host(1), answer: vec![] }));
}

#[tokio::test(start_paused = true)]
async fn the_more_hosts_are_asked_the_less_each_may_say() {
    let stage = Stage::new().await;
    for n in 1..=8 {
        stage.fleet.record_log_head(&host(n), &head(1)).await.unwrap();
    }
    let asking = ask(&stage, None).await;
    assert_eq!(asking.hosts().len(), 8);
    assert_eq!(only_question(&stage, &host(1)).await.answer_bytes_max, ANSWER_BYTES_MAX / 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_to_one_host_is_no_other_hosts() {
    let stage = Stage::new().await;
    let asking = ask(&stage, Some(&host(1))).await;
    let question = only_question(&stage, &host(1)).await;
    assert!(stage.fleet.open_questions(&host(2)).await.unwrap().is_empty());
    assert!(matches!(stage.fleet.take_up(&question, &host(2)).await.unwrap(), TakeUp::NotAsked));
    asking.over().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_question_is_no_part_of_the_run_state() {
    let stage = Stage::new().await;
    let before = stage.fleet.state().await.unwrap();
    let asking = ask(&stage, None).await;
    only_question(&stage, &host(1)).await;
    let after = stage.fleet.state().await.unwrap();
    assert_eq!((after.permit, after.holds, after.generation), (before.permit, before.holds, before.generation));
    let overview = stage.fleet.overview().await.unwrap();
    assert!(overview.unreadable.is_empty() && !overview.state.is_paused(), "{overview:?}");
    assert!(!stage.fleet.state_for(&record(1).host).await.unwrap().0.is_paused());
    asking.over().await;
}

/// What happened to one question at one host, over all lives of its sidecar.
#[derive(Default)]
struct Deeds {
    acted: usize,
    answered: bool,
}

#[tokio::test(start_paused = true)]
async fn in_any_trouble_each_host_acts_at_most_once_and_the_asker_is_never_wrong_about_it() {
    for seed in seeds(150) {
        let stage = Stage::seeded(seed).await;
        stage.line.shuffle(true);
        stage.line.late(30);
        let chances = [(Fault::LostReply, 60), (Fault::Dropped, 60), (Fault::Refused, 40)];
        stage.faulty.chances(seed, &chances);
        let told =
            replay_with(seed, "in_any_trouble_each_host_acts_at_most_once_and_the_asker_is_never_wrong_about_it");
        let Ok(mut asking) = stage.fleet.ask_hosts(None, b"roll back".to_vec(), "kim", TTL).await else { continue };
        // Three hosts, each with two sidecars that come and go.
        let sidecars: Vec<_> =
            (0..6u8).map(|n| tokio::spawn(sidecar(stage.fleet.clone(), n / 2, stage.random.below(40)))).collect();
        let mut said = Vec::new();
        let until = stage.fleet.clock().now() + Span::from_millis(stage.random.below(60));
        while let Ok(Some(heard)) = asking.next(until).await {
            said.push(heard);
        }
        let closed = asking.close().await;
        let known: Vec<HowFar> = (0..3).map(|n| asking.how_far(&host(n))).collect();
        let mut deeds: [Deeds; 3] = Default::default();
        for (n, one) in sidecars.into_iter().enumerate() {
            let did = one.await.unwrap();
            deeds[n / 2].acted += did.acted;
            deeds[n / 2].answered |= did.answered;
        }
        for (n, did) in deeds.iter().enumerate() {
            assert!(did.acted <= 1, "host {n} acted {} times; {told}", did.acted);
            if matches!(closed, Ok(Closed::Settled)) && known[n] == HowFar::NotTakenUp {
                assert_eq!(did.acted, 0, "host {n} acted behind the asker's back; {told}");
            }
            let answer = said.iter().filter(
                |heard| matches!(heard, Heard::Answered { host: of, .. } if *of == host(u8::try_from(n).unwrap())),
            );
            assert!(answer.count() <= did.acted, "an answer of one who did not act; {told}");
            assert!(!did.answered || did.acted == 1, "{told}");
        }
        stage.faulty.chances(0, &[]);
        stage.line.late(0);
        asking.over().await;
        pass(300).await;
        stage.advance(TTL.as_secs() + 1).await;
        nothing_is_left(&stage).await;
    }
}

/// A sidecar that looks for questions a few times.
async fn sidecar(fleet: rr_fleet::Fleet, n: u8, begins: u64) -> Deeds {
    pass(begins).await;
    let mut deeds = Deeds::default();
    for _ in 0..6 {
        for question in fleet.open_questions(&host(n)).await.unwrap_or_default() {
            if let Ok(TakeUp::Taken(taken)) = fleet.take_up(&question, &host(n)).await {
                deeds.acted += 1;
                deeds.answered |= matches!(fleet.answer(&taken, b"done").await, Ok(Answered::Yes));
            }
        }
        pass(7).await;
    }
    deeds
}

#[tokio::test(start_paused = true)]
async fn a_journals_head_only_goes_on_and_what_contradicts_it_is_told() {
    let stage = Stage::new().await;
    let own = host(1);
    assert_eq!(stage.fleet.log_head(&own).await.unwrap(), None);
    use rr_fleet::HeadRecorded::{Contradicts, Unchanged, Written};
    assert_eq!(stage.fleet.record_log_head(&own, &head(10)).await.unwrap(), Written);
    let later = LogHead { at_unix_ms: 99, ..head(10) };
    assert_eq!(stage.fleet.record_log_head(&own, &later).await.unwrap(), Unchanged);
    assert_eq!(stage.fleet.record_log_head(&own, &head(12)).await.unwrap(), Written);
    assert_eq!(stage.fleet.record_log_head(&own, &head(11)).await.unwrap(), Contradicts(head(12)));
    let other = LogHead { chain: "ffff".into(), ..head(12) };
    assert_eq!(stage.fleet.record_log_head(&own, &other).await.unwrap(), Contradicts(head(12)));
    assert_eq!(stage.fleet.log_head(&own).await.unwrap(), Some(head(12)));
    stage.fleet.forget_log_head(&own, &head(10)).await.unwrap();
    assert_eq!(stage.fleet.log_head(&own).await.unwrap(), Some(head(12)), "another than was seen");
    stage.fleet.forget_log_head(&own, &head(12)).await.unwrap();
    assert_eq!(stage.fleet.record_log_head(&own, &head(1)).await.unwrap(), Written);
}

#[tokio::test(start_paused = true)]
async fn a_head_whose_recording_was_unclear_is_recorded() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        for before in 0..2 {
            let stage = Stage::new().await;
            stage.fault(Call::Txn, before, fault);
            let recorded = stage.fleet.record_log_head(&host(1), &head(3)).await.unwrap();
            assert!(!matches!(recorded, rr_fleet::HeadRecorded::Contradicts(_)), "{fault:?} {before}");
            assert_eq!(stage.fleet.log_head(&host(1)).await.unwrap(), Some(head(3)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_a_journal_a_session_or_came_to_work_is_asked() {
    let stage = Stage::new().await;
    stage.session(1).await;
    stage.fleet.record_log_head(&host(2), &head(3)).await.unwrap();
    for (n, role) in [(3, "agent"), (4, "operator")] {
        let invitation = rr_fleet::Invitation { role: role.into(), who: "kim".into(), expires_unix_ms: 5 };
        stage.fleet.invite(role, &invitation, TTL).await.unwrap();
        let name = format!("box-{n}");
        let applicant =
            rr_fleet::Applicant { host: host(n), name, key: "k".into(), token: role.into(), now_unix_ms: 7 };
        stage.fleet.join(&applicant).await.unwrap();
    }
    let denial = Denial { who: "kim".into(), reason: "stolen".into(), since_unix_ms: 9 };
    for n in [2, 5] {
        stage.fleet.deny(&host(n), &denial).await.unwrap();
    }
    let refused = stage.fleet.record_log_head(&host(2), &head(4)).await.unwrap_err();
    assert!(matches!(refused, FleetError::Denied(_)), "{refused}");
    let hosts = stage.fleet.journal_hosts().await.unwrap();
    let shown: Vec<_> =
        hosts.iter().map(|h| (h.host.clone(), h.name.as_str(), h.head.is_some(), h.denied.is_some())).collect();
    assert_eq!(
        shown,
        [(record(1).host, "host", false, false), (host(2), "box", true, true), (host(3), "box-3", false, false)]
    );
}

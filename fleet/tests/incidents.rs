//! Incidents, orders, the claim of a repair, findings and health: one leader writes, once, whatever answer is lost; and pauses for
//! an incident against people who pause and resume.

mod common;

use common::watching::{finding, host, incident, incident_id, leader, line, object, old_and_new};
use common::{PREFIX, Stage, replay_with, repo, seeds};
use rr_core::affected::Affected;
use rr_core::incident::{Incident, State};
use rr_core::overlap::{Finding, Level};
use rr_core::time::Span;
use rr_fleet::{
    Advanced, Deadline, Ending, FINDINGS_MAX, FindingChange, FleetError, HEALTH_RUNS_MAX, HandBy, Handed, HealthRun,
    Hold, HoldKind, IncidentFound, LineHealth, Opened, Order, OrderTaken, Ordered, PAST_INCIDENTS_MAX, PauseDone,
    Repair, RepairReleased, ResumedFor, Stored, TakenAsk,
};
use rr_store::faulty::{Call, Fault};
use rr_store::{Op, Store as _, Txn};

async fn opened(stage: &Stage, by: &rr_fleet::Leader, incident: &Incident) -> Stored {
    match stage.fleet.open_incident(by, incident).await.unwrap() {
        Opened::Yes(stored) => stored,
        Opened::Already(other) => panic!("already: {other:?}"),
    }
}

fn person() -> Hold {
    let (who, reason) = ("ann".to_owned(), "a look".to_owned());
    Hold { id: String::new(), kind: HoldKind::Person, who, reason, hard: false, affected: None, since_unix_ms: 0 }
}

fn run(n: u64) -> HealthRun {
    let (label, check, verdict) = (n.to_string(), "build".into(), "green".into());
    HealthRun { repo: repo(), label, tree: object(n), check, verdict, took_ms: 1, at_unix_ms: n, host: host(1) }
}

#[tokio::test(start_paused = true)]
async fn an_incident_goes_from_open_to_past_and_is_found_by_the_beginning_of_its_id() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let first = opened(&stage, &leader, &incident(1, "main")).await;
    let second = stage.fleet.open_incident(&leader, &incident(2, "main")).await.unwrap();
    assert_eq!(second, Opened::Already(first.clone()), "its line has one");
    opened(&stage, &leader, &incident(3, "dev")).await;
    assert_eq!(stage.fleet.open_incidents().await.unwrap().len(), 2);
    let next = Incident { state: State::Confirmed, ..first.incident.clone() };
    let Advanced::Yes(moved) = stage.fleet.advance(&leader, &first, &next).await.unwrap() else { panic!("not moved") };
    let stale = Incident { hindered: 7, ..next.clone() };
    let overtaken = stage.fleet.advance(&leader, &first, &stale).await.unwrap();
    assert_eq!(overtaken, Advanced::Overtaken(Some(moved.clone())));
    let found = stage.fleet.incident(incident_id(1).short()).await.unwrap();
    assert_eq!(found, IncidentFound::Open(moved.clone()));
    assert!(matches!(stage.fleet.close_incident(&leader, &moved, &next).await.unwrap(), Advanced::Yes(_)));
    assert!(
        matches!(stage.fleet.close_incident(&leader, &moved, &next).await.unwrap(), Advanced::Yes(_)),
        "said again"
    );
    assert_eq!(stage.fleet.advance(&leader, &moved, &stale).await.unwrap(), Advanced::Overtaken(None));
    assert!(matches!(stage.fleet.incident(incident_id(1).as_str()).await.unwrap(), IncidentFound::Past(_)));
    opened(&stage, &leader, &incident(4, "main")).await;
    assert_eq!(stage.fleet.past_incidents(5).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_write_of_the_leader_happens_once_whatever_answer_is_lost() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        for before in 0..3 {
            let stage = Stage::new().await;
            let leader = leader(&stage).await;
            stage.fault(Call::Txn, before, fault);
            let stored = opened(&stage, &leader, &incident(1, "main")).await;
            stage.calm().await;
            stage.fault(Call::Txn, before, fault);
            let next = Incident { hindered: 2, ..stored.incident.clone() };
            let moved = stage.fleet.advance(&leader, &stored, &next).await.unwrap();
            let Advanced::Yes(moved) = moved else { panic!("{fault:?} {before}") };
            stage.calm().await;
            stage.fleet.order(&incident_id(1), Order::Accept, "ann").await.unwrap();
            let revision = stage.fleet.orders().await.unwrap()[0].3;
            stage.fault(Call::Txn, before, fault);
            let taken = stage.fleet.take_order(&leader, &incident_id(1), revision).await.unwrap();
            assert_eq!(taken, OrderTaken::Yes, "{fault:?} {before}");
            stage.calm().await;
            stage.fault(Call::Txn, before, fault);
            let closed = stage.fleet.close_incident(&leader, &moved, &next).await.unwrap();
            assert!(matches!(closed, Advanced::Yes(_)), "{fault:?} {before}: {closed:?}");
            stage.calm().await;
            for n in 0..3 {
                stage.fault(Call::Txn, before, fault);
                stage.fleet.put_health_run(&leader, &run(n)).await.unwrap();
                stage.calm().await;
            }
            assert_eq!(stage.fleet.health_runs(&repo(), 9).await.unwrap().len(), 3, "{fault:?} {before}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_frozen_can_write_nothing_of_all_this() {
    let stage = Stage::new().await;
    let (old, new) = old_and_new(&stage).await;
    let stored = opened(&stage, &new, &incident(1, "main")).await;
    let (id, session) = (incident_id(1), stage.session(1).await);
    stage.fleet.order(&id, Order::Accept, "ann").await.unwrap();
    let order = stage.fleet.orders().await.unwrap()[0].3;
    stage.fleet.ask_health(&repo(), "ann").await.unwrap();
    let ask = stage.fleet.health_asked().await.unwrap().remove(0);
    let pause = stage.fleet.pause_for(&new, &id, "broken", None, 7).await.unwrap();
    let before = stage.below("").await;
    let fleet = &stage.fleet;
    let put = FindingChange::Put(Box::new(finding(1, Level::Conflict)));
    let refused: Vec<Option<FleetError>> = vec![
        fleet.open_incident(&old, &incident(2, "dev")).await.err(),
        fleet.advance(&old, &stored, &stored.incident).await.err(),
        fleet.close_incident(&old, &stored, &stored.incident).await.err(),
        fleet.start_deadline(&old, &id, Span::from_secs(900)).await.err(),
        fleet.take_order(&old, &id, order).await.err(),
        fleet.pause_for(&old, &incident_id(2), "broken", None, 7).await.err(),
        fleet.resume_for(&old, &pause, "watcher").await.err(),
        fleet.count_revert(&old, &id).await.err(),
        fleet.hand_repair(&old, &session.sid, &id).await.err(),
        fleet.put_findings(&old, &[put]).await.err(),
        fleet.put_told(&old, "{}").await.err(),
        fleet.put_plan(&old, &repo(), &1).await.err(),
        fleet.put_line_health(&old, &LineHealth::new(line("main"))).await.err(),
        fleet.put_health_run(&old, &run(1)).await.err(),
        fleet.take_health_ask(&old, &ask).await.err(),
    ];
    for (n, error) in refused.iter().enumerate() {
        assert!(matches!(error, Some(FleetError::NotLeading)), "{n}: {error:?}");
    }
    assert_eq!(stage.below("").await, before);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_taken_once_and_goes_with_its_incident() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let id = incident_id(1);
    assert_eq!(stage.fleet.order(&id, Order::Accept, "ann").await.unwrap(), Ordered::NoSuchIncident);
    let stored = opened(&stage, &leader, &incident(1, "main")).await;
    let resolve = Order::Resolve { reason: "by hand".into() };
    stage.fleet.order(&id, Order::Accept, "ann").await.unwrap();
    stage.fleet.order(&id, resolve.clone(), "ben").await.unwrap();
    let orders = stage.fleet.orders().await.unwrap();
    let said: Vec<_> = orders.iter().map(|(id, order, who, _)| (id.clone(), order.clone(), who.as_str())).collect();
    assert_eq!(said, [(id.clone(), Order::Accept, "ann"), (id.clone(), resolve, "ben")]);
    assert_eq!(stage.fleet.take_order(&leader, &id, orders[0].3).await.unwrap(), OrderTaken::Yes);
    assert_eq!(stage.fleet.take_order(&leader, &id, orders[0].3).await.unwrap(), OrderTaken::Already);
    assert_eq!(stage.fleet.orders().await.unwrap().len(), 1);
    stage.fleet.close_incident(&leader, &stored, &stored.incident).await.unwrap();
    assert!(stage.fleet.orders().await.unwrap().is_empty() && stage.below("order/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_incidents_time_runs_while_watchers_come_and_go_and_reverts_count_for_a_day() {
    let stage = Stage::new().await;
    let first = leader(&stage).await;
    let id = incident_id(1);
    assert!(!stage.fleet.deadline_over(&id).await.unwrap(), "one that never began is not over");
    stage.fleet.start_deadline(&first, &id, Span::from_secs(900)).await.unwrap();
    stage.fleet.count_revert(&first, &id).await.unwrap();
    stage.advance(600).await;
    let second = leader(&stage).await;
    stage.fleet.start_deadline(&second, &id, Span::from_secs(900)).await.unwrap();
    stage.fleet.count_revert(&second, &id).await.unwrap();
    assert_eq!(stage.fleet.deadline(&id).await.unwrap(), Deadline::Running);
    stage.advance(301).await;
    assert!(stage.fleet.deadline_over(&id).await.unwrap(), "the second start did not prolong it");
    assert_eq!(stage.fleet.reverts_counted().await.unwrap(), 1);
    stage.advance(24 * 60 * 60).await;
    assert_eq!(stage.fleet.reverts_counted().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_session_repairs_until_it_ends_and_no_later_pause_exempts_it() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let (id, all) = (incident_id(1), stage.sessions(2).await);
    assert_eq!(stage.fleet.claim_repair(&all[0], &id).await.unwrap(), Repair::NoSuchIncident);
    let stored = opened(&stage, &leader, &incident(1, "main")).await;
    let pause = stage.fleet.pause_for(&leader, &id, "broken", None, 7).await.unwrap();
    assert_eq!(stage.fleet.claim_repair(&all[0], &id).await.unwrap(), Repair::NotYet(State::Seen));
    let given_up = Incident { state: State::Escalated, ..stored.incident.clone() };
    assert!(matches!(stage.fleet.advance(&leader, &stored, &given_up).await.unwrap(), Advanced::Yes(_)));
    assert_eq!(stage.fleet.release_repair(&all[0]).await.unwrap(), RepairReleased::NotHeld);
    assert_eq!(stage.fleet.claim_repair(&all[0], &id).await.unwrap(), Repair::Yes);
    assert_eq!(stage.fleet.claim_repair(&all[1], &id).await.unwrap(), Repair::TakenBy(all[0].sid.clone()));
    assert_eq!(stage.fleet.release_repair(&all[1]).await.unwrap(), RepairReleased::NotHeld);
    assert_eq!(stage.fleet.release_repair(&all[0]).await.unwrap(), RepairReleased::Yes);
    assert_eq!(stage.fleet.claim_repair(&all[1], &id).await.unwrap(), Repair::Yes);
    assert_eq!(stage.fleet.hand_repair(HandBy::Person, &all[0].sid, &id).await.unwrap(), Handed::Yes);
    let record = stage.fleet.repair().await.unwrap().unwrap();
    assert!(record.exempts(&all[0].sid, &stage.fleet.state().await.unwrap()));
    assert!(!record.exempts(&all[1].sid, &stage.fleet.state().await.unwrap()));
    stage.fleet.pause(&person()).await.unwrap();
    assert!(!record.exempts(&all[0].sid, &stage.fleet.state().await.unwrap()), "a person's hold stops everybody");
    stage.fleet.resume(pause.epoch, "ann", |_| true).await.unwrap();
    stage.fleet.pause_for(&leader, &incident_id(2), "again", None, 7).await.unwrap();
    assert!(!record.exempts(&all[0].sid, &stage.fleet.state().await.unwrap()), "another pause");
    assert_eq!(stage.fleet.hand_repair(HandBy::Person, &all[1].sid, &id).await.unwrap(), Handed::Yes);
    stage.fleet.end(&all[1], Ending::Clean).await.unwrap();
    assert_eq!(stage.fleet.repair().await.unwrap(), None);
    assert_eq!(stage.fleet.hand_repair(&leader, &all[1].sid, &id).await.unwrap(), Handed::NoSuchSession);
}

#[tokio::test(start_paused = true)]
async fn a_pause_for_an_incident_is_made_once_and_let_go_without_touching_a_persons() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let id = incident_id(1);
    let pause = stage.fleet.pause_for(&leader, &id, "broken", None, 7).await.unwrap();
    assert_eq!(stage.fleet.pause_for(&leader, &id, "broken", None, 7).await.unwrap(), pause);
    assert!(stage.fleet.has_hold(&pause).await.unwrap());
    stage.fleet.pause(&person()).await.unwrap();
    let held = stage.fleet.resume_for(&leader, &pause, "watcher").await.unwrap();
    assert!(matches!(&held, ResumedFor::StillHeld { by } if by.len() == 1 && by[0].contains("ann")), "{held:?}");
    assert!(stage.fleet.state().await.unwrap().is_paused() && !stage.fleet.has_hold(&pause).await.unwrap());
    stage.fleet.resume(pause.epoch, "ann", |_| true).await.unwrap();
    let over = stage.fleet.resume_for(&leader, &pause, "watcher").await.unwrap();
    assert!(matches!(over, ResumedFor::Running { .. } | ResumedFor::AlreadyOver), "{over:?}");
    // A person who resumes over the watcher's hold has the last word.
    let second = stage.fleet.pause_for(&leader, &incident_id(2), "broken", None, 7).await.unwrap();
    stage.fleet.resume(second.epoch, "ann", |_| true).await.unwrap();
    assert_eq!(stage.fleet.pause_for(&leader, &incident_id(2), "broken", None, 7).await.unwrap(), second);
    assert!(!stage.fleet.has_hold(&second).await.unwrap() && !stage.fleet.state().await.unwrap().is_paused());
    assert_eq!(stage.fleet.resume_for(&leader, &second, "watcher").await.unwrap(), ResumedFor::AlreadyOver);
}

#[tokio::test(start_paused = true)]
async fn a_pause_spares_somebody_only_where_every_hold_of_it_says_so() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let some = |folder: &str| Some(Affected::new(repo(), [folder.to_owned()]));
    assert_eq!(stage.fleet.state().await.unwrap().affected(), None, "it runs");
    let first = stage.fleet.pause_for(&leader, &incident_id(1), "broken", some("a"), 7).await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected(), Some(vec![some("a").unwrap()]));
    stage.fleet.pause_for(&leader, &incident_id(2), "broken too", some("b"), 7).await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected().map(|both| both.len()), Some(2));
    let third = stage.fleet.pause_for(&leader, &incident_id(3), "all", None, 7).await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected(), None, "one that spares nobody is enough");
    stage.fleet.resume_for(&leader, &third, "watcher").await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected().map(|both| both.len()), Some(2));
    let mine = stage.fleet.pause(&person()).await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected(), None, "a person's stops everybody: {mine:?}");
    stage.fleet.resume_for(&leader, &first, "watcher").await.unwrap();
    assert_eq!(stage.fleet.state().await.unwrap().affected(), None);
}

/// Calls take turns in an order that the seed decides, answers are lost, copies come late.
#[tokio::test(start_paused = true)]
async fn a_persons_pause_is_never_undone_by_the_watcher_and_its_own_never_stays() {
    let test = "a_persons_pause_is_never_undone_by_the_watcher_and_its_own_never_stays";
    let (mut running, mut held, mut over) = (0, 0, 0);
    for seed in seeds(400) {
        let stage = Stage::seeded(seed).await;
        let story = replay_with(seed, test);
        let leader = leader(&stage).await;
        stage.faulty.chances(seed, &[(Fault::LostReply, 60), (Fault::Dropped, 60)]);
        stage.line.late(30);
        stage.line.shuffle(true);
        let (fleet, ann) = (stage.fleet.clone(), stage.fleet.clone());
        let resumes = stage.random.one_in(2);
        let watcher = tokio::spawn(async move {
            let id = incident_id(1);
            let pause = loop {
                match fleet.pause_for(&leader, &id, "broken", None, 7).await {
                    Ok(pause) => break pause,
                    Err(error) => assert!(error.is_outage(), "{error:?}"),
                }
            };
            loop {
                match fleet.resume_for(&leader, &pause, "watcher").await {
                    Ok(resumed) => break (pause, resumed),
                    Err(error) => assert!(error.is_outage(), "{error:?}"),
                }
            }
        });
        let person = tokio::spawn(async move {
            let (mut epoch, mut hold) = (None, String::new());
            while epoch.is_none() {
                if let Ok(PauseDone::Paused { epoch: at, hold: id } | PauseDone::Already { epoch: at, hold: id }) =
                    ann.pause(&person()).await
                {
                    (epoch, hold) = (Some(at), id);
                }
            }
            if resumes {
                let own = hold.clone();
                let _ = ann.resume(epoch.unwrap(), "ann", move |held| held.id == own).await;
            }
            hold
        });
        let ((pause, resumed), hold) = (watcher.await.unwrap(), person.await.unwrap());
        stage.line.shuffle(false);
        stage.line.late(0);
        stage.faulty.chances(0, &[]);
        stage.line.deliver().await;
        let state = stage.fleet.state().await.unwrap();
        assert!(!state.holds.iter().any(|held| held.id == pause.hold), "{story}: {state:?}");
        let anns = state.holds.iter().any(|held| held.id == hold);
        if resumes {
            assert!(state.is_paused() || state.holds.is_empty(), "{story}: {state:?}");
        } else {
            assert!(state.is_paused() && anns, "{story}: {resumed:?} {state:?}");
        }
        match resumed {
            ResumedFor::Running { .. } => running += 1,
            ResumedFor::StillHeld { .. } => held += 1,
            ResumedFor::AlreadyOver => over += 1,
        }
    }
    if std::env::var("RR_SEED").is_err() {
        assert!(running > 10 && held > 10, "every end is tried: {running} {held} {over}");
    }
}

#[tokio::test(start_paused = true)]
async fn findings_are_followed_the_worst_are_kept_and_what_was_told_outlives_its_leader() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let put = |n, level| FindingChange::Put(Box::new(finding(n, level)));
    stage.fleet.put_findings(&leader, &[put(1, Level::Conflict)]).await.unwrap();
    let mut follower = stage.fleet.follow_findings().await.unwrap();
    assert_eq!(follower.all().cloned().collect::<Vec<_>>(), [finding(1, Level::Conflict)]);
    stage.fleet.put_findings(&leader, &[FindingChange::Clear(finding(1, Level::Shared).id)]).await.unwrap();
    assert_eq!(follower.next().await.unwrap(), [FindingChange::Clear(finding(1, Level::Shared).id)]);
    assert_eq!(follower.all().count(), 0);
    let many_paths = (0..5_000).map(|n| format!("src/some/folder/file_{n}.rs").as_str().into()).collect();
    let long = Finding { paths: many_paths, ..finding(7, Level::Conflict) };
    stage.fleet.put_findings(&leader, &[FindingChange::Put(Box::new(long))]).await.unwrap();
    let kept = stage.fleet.findings().await.unwrap().remove(0);
    assert!((100..5_000).contains(&kept.paths.len()) && kept.excerpt == "a hunk", "{}", kept.paths.len());
    let mut many: Vec<_> = (0..FINDINGS_MAX as u64).map(|n| put(n, Level::Shared)).collect();
    many.push(put(9_000, Level::Broken));
    let kept = stage.fleet.put_findings(&leader, &many).await.unwrap();
    assert_eq!((kept.kept, kept.left_out), (FINDINGS_MAX, 1));
    let found = stage.fleet.findings().await.unwrap();
    assert!(found.len() == FINDINGS_MAX && found.iter().any(|f| f.level == Level::Broken));
    stage.direct.txn(Txn::default().then(vec![Op::put(format!("{PREFIX}finding/{:016x}", 3), "{")])).await.unwrap();
    assert_eq!(stage.fleet.findings().await.unwrap().len(), FINDINGS_MAX - 1);
    assert_eq!(stage.fleet.told().await.unwrap(), None);
    stage.fleet.put_told(&leader, "{\"a\":1}").await.unwrap();
    stage.fleet.resign(&leader).await;
    assert_eq!(stage.fleet.told().await.unwrap().as_deref(), Some("{\"a\":1}"));
}

#[tokio::test(start_paused = true)]
async fn health_is_kept_by_line_runs_are_a_ring_and_a_request_is_taken_once() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    let main = LineHealth { note: "new".into(), ..LineHealth::new(line("main")) };
    stage.fleet.put_line_health(&leader, &main).await.unwrap();
    stage.fleet.put_line_health(&leader, &LineHealth::new(line("dev"))).await.unwrap();
    assert_eq!(stage.fleet.line_health(&line("main")).await.unwrap(), Some(main));
    assert_eq!(stage.fleet.line_health(&line("other")).await.unwrap(), None);
    assert_eq!(stage.fleet.line_healths().await.unwrap().len(), 2);
    stage.fleet.forget_line_health(&leader, &line("dev")).await.unwrap();
    assert_eq!(stage.fleet.line_health(&line("dev")).await.unwrap(), None);
    assert_eq!(stage.fleet.line_healths().await.unwrap().len(), 1);
    for n in 0..HEALTH_RUNS_MAX as u64 + 5 {
        stage.fleet.put_health_run(&leader, &run(n)).await.unwrap();
    }
    let runs = stage.fleet.health_runs(&repo(), 1_000).await.unwrap();
    assert_eq!((runs.len(), runs[0].at_unix_ms), (HEALTH_RUNS_MAX, HEALTH_RUNS_MAX as u64 + 4));
    stage.fleet.ask_health(&repo(), "ann").await.unwrap();
    stage.fleet.ask_health(&repo(), "ben").await.unwrap();
    let asks = stage.fleet.health_asked().await.unwrap();
    assert_eq!(asks.len(), 1);
    assert_eq!(stage.fleet.take_health_ask(&leader, &asks[0]).await.unwrap(), TakenAsk::Yes);
    assert_eq!(stage.fleet.take_health_ask(&leader, &asks[0]).await.unwrap(), TakenAsk::Gone);
    stage.fleet.put_plan(&leader, &repo(), &vec![1, 2]).await.unwrap();
    assert_eq!(stage.fleet.plan::<Vec<u32>>(&repo()).await.unwrap(), Some(vec![1, 2]));
    assert!(stage.fleet.trusted_plan(&repo()).await.unwrap().is_none());
    stage.fleet.trust_plan(&repo(), "abc", "ann").await.unwrap();
    assert!(stage.fleet.trusted_plan(&repo()).await.unwrap().is_some_and(|t| t.hash == "abc"));
}

#[tokio::test(start_paused = true)]
async fn past_incidents_are_so_many() {
    let stage = Stage::new().await;
    let leader = leader(&stage).await;
    for n in 0..PAST_INCIDENTS_MAX + 3 {
        let new = incident(u8::try_from(n).unwrap(), "main");
        let stored = opened(&stage, &leader, &new).await;
        stage.fleet.close_incident(&leader, &stored, &new).await.unwrap();
    }
    let past = stage.fleet.past_incidents(usize::MAX).await.unwrap();
    assert_eq!((past.len(), past[0].incident.id.clone()), (PAST_INCIDENTS_MAX, incident_id(202)));
}

/// Its last write was under way when it was frozen, and arrives when another leads.
#[tokio::test(start_paused = true)]
async fn what_a_frozen_leader_had_sent_changes_nothing_when_another_leads() {
    for way in 0..5 {
        let stage = Stage::new().await;
        let old = leader(&stage).await;
        let pause = stage.fleet.pause_for(&old, &incident_id(9), "broken", None, 7).await.unwrap();
        stage.line.hold(1);
        stage.fault(Call::Txn, 1, Fault::Refused);
        (0..40).for_each(|_| stage.faulty.plan(Call::Txn, Fault::Refused));
        let fleet = &stage.fleet;
        let error = match way {
            0 => fleet.put_told(&old, "{}").await.err(),
            1 => fleet.open_incident(&old, &incident(1, "main")).await.err(),
            2 => fleet.pause_for(&old, &incident_id(1), "broken", None, 7).await.err(),
            3 => fleet.resume_for(&old, &pause, "watcher").await.err(),
            _ => fleet.put_health_run(&old, &run(1)).await.err(),
        };
        assert!(error.is_some_and(|error| error.is_outage()), "{way}");
        stage.calm().await;
        stage.advance(61).await;
        let new = leader(&stage).await;
        let before = stage.below("").await;
        assert_eq!(stage.line.deliver().await, 0, "{way}");
        assert_eq!(stage.below("").await, before, "{way}");
        stage.fleet.resign(&new).await;
    }
}

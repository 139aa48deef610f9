//! Pause and resume (H18): absence is the pause, holds keep it, an epoch orders it; on a full store (H9) and through a store
//! that loses answers.

mod common;

use common::{PREFIX, Stage, pass, replay, replay_with, seeds};
use rr_core::id::Epoch;
use rr_core::permit::{Permit, ResumeRefusal};
use rr_fleet::{AckRecord, AckState, Ending, FleetError, Hold, HoldKind, PauseDone, ResumeDone};
use rr_store::faulty::{Call, Fault};
use rr_store::{Change, Op, Options, Store, StoreError, Txn};

fn hold(kind: HoldKind, who: &str) -> Hold {
    let reason = "a test".to_owned();
    Hold { id: String::new(), kind, who: who.to_owned(), reason, hard: false, affected: None, since_unix_ms: 0 }
}

fn person(who: &str) -> Hold {
    hold(HoldKind::Person, who)
}

fn by_people(hold: &Hold) -> bool {
    hold.kind == HoldKind::Person
}

async fn paused(stage: &Stage, by: &Hold) -> (Epoch, String) {
    match stage.fleet.pause(by).await.unwrap() {
        PauseDone::Paused { epoch, hold } | PauseDone::Already { epoch, hold } => (epoch, hold),
        PauseDone::PausedWithoutRecord { .. } => panic!("there is room"),
    }
}

async fn resume(stage: &Stage, epoch: Epoch, lift: fn(&Hold) -> bool) -> ResumeDone {
    stage.fleet.resume(epoch, "me", lift).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_starts_running_pauses_and_resumes_by_its_epoch() {
    let stage = Stage::new().await;
    assert_eq!(stage.fleet.state().await.unwrap().permit, Permit::Run(Epoch(1)));
    let (epoch, id) = paused(&stage, &Hold { hard: true, ..person("ann") }).await;
    let state = stage.fleet.state().await.unwrap();
    assert_eq!((state.permit.clone(), epoch), (Permit::Paused(Epoch(2)), Epoch(2)));
    assert_eq!((state.holds[0].id.as_str(), state.is_hard()), (id.as_str(), true));
    assert_eq!(resume(&stage, epoch, |_| true).await, ResumeDone::Resumed { epoch: Epoch(3) });
    let state = stage.fleet.state().await.unwrap();
    assert_eq!((state.permit, state.holds.len()), (Permit::Run(Epoch(3)), 0));
    let refusal = ResumeRefusal::AlreadyRunning { present: Epoch(3) };
    assert_eq!(resume(&stage, Epoch(3), |_| true).await, ResumeDone::Refused(refusal));
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_names_an_older_pause_is_refused() {
    let stage = Stage::new().await;
    let (old, _) = paused(&stage, &person("ann")).await;
    resume(&stage, old, |_| true).await;
    let (new, _) = paused(&stage, &person("ben")).await;
    assert!(new > old);
    for epoch in [Epoch(1), old, Epoch(old.0 + 1), Epoch(new.0 + 1)] {
        let refused = ResumeDone::Refused(ResumeRefusal::OtherEpoch { present: new });
        assert_eq!(resume(&stage, epoch, |_| true).await, refused);
    }
    assert_eq!(stage.fleet.state().await.unwrap().holds.len(), 1, "the newer hold is not touched");
}

#[tokio::test(start_paused = true)]
async fn two_pauses_are_two_holds_and_a_person_does_not_lift_the_watchers() {
    let stage = Stage::new().await;
    let (epoch, _) = paused(&stage, &person("ann")).await;
    let second = stage.fleet.pause(&hold(HoldKind::Watcher, "watcher")).await.unwrap();
    assert!(matches!(second, PauseDone::Already { epoch: same, .. } if same == epoch));
    assert_eq!(stage.fleet.state().await.unwrap().holds.len(), 2);
    let ResumeDone::Refused(ResumeRefusal::Held { by }) = resume(&stage, epoch, by_people).await else {
        panic!("the watcher holds it")
    };
    assert!(by.len() == 1 && by[0].contains("watcher"), "{by:?}");
    assert!(stage.fleet.state().await.unwrap().is_paused());
    assert!(matches!(resume(&stage, epoch, |h| !by_people(h)).await, ResumeDone::Resumed { .. }));
}

/// Until not the smallest value finds room: in memory by new keys, on the disk by writing one again and again.
async fn fill(stage: &Stage, new_keys: bool) {
    let mut n = 0;
    for size in [60_000, 1_000, 10, 0] {
        while n < 100_000 {
            n += 1;
            let key = format!("fill/{}", if new_keys { n } else { 0 });
            match stage.direct.txn(Txn::default().then(vec![Op::put(key, vec![7; size])])).await {
                Err(StoreError::NoSpace(_)) => break,
                other => drop(other.unwrap()),
            }
        }
    }
    assert!(n < 100_000, "never full");
}

#[tokio::test(start_paused = true)]
async fn a_full_store_pauses_by_deleting_and_resumes_when_there_is_room() {
    for limited in ["data", "disk"] {
        let data_bytes_max = if limited == "data" { 2_000 } else { 64 << 20 };
        let stage = Stage::with(0, Options { data_bytes_max, ..Options::default() }).await;
        if limited == "disk" {
            stage.disk.fill();
        }
        fill(&stage, limited == "data").await;
        let first = stage.fleet.pause(&person("ann")).await.unwrap();
        assert_eq!(first, PauseDone::PausedWithoutRecord { epoch: Epoch(1) }, "{limited}");
        assert!(stage.fleet.state().await.unwrap().is_paused());
        let second = stage.fleet.pause(&person("ben")).await.unwrap();
        assert_eq!(second, PauseDone::PausedWithoutRecord { epoch: Epoch(1) }, "{limited}");
        if limited == "disk" {
            assert!(stage.fleet.resume(Epoch(1), "me", |_| true).await.unwrap_err().is_outage());
            assert!(stage.fleet.state().await.unwrap().is_paused());
        } else {
            let free = Txn::default().then(vec![Op::Delete(rr_store::Keys::prefix("fill/"))]);
            stage.direct.txn(free).await.unwrap();
            assert!(matches!(resume(&stage, Epoch(1), |_| true).await, ResumeDone::Resumed { .. }));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_call_of_a_pause_fails_success_means_paused() {
    for call in [Call::Txn, Call::Range] {
        for before in 0..6 {
            for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
                for already in [false, true] {
                    let stage = Stage::new().await;
                    if already {
                        paused(&stage, &hold(HoldKind::Watcher, "watcher")).await;
                    }
                    stage.fault(call, before, fault);
                    let story = format!("{call:?} {before} {fault:?} {already}");
                    let (epoch, id) = paused(&stage, &person("ann")).await;
                    stage.calm().await;
                    let state = stage.fleet.state().await.unwrap();
                    assert_eq!((state.permit, epoch), (Permit::Paused(Epoch(2)), Epoch(2)), "{story}");
                    assert_eq!(state.holds.iter().filter(|h| h.who == "ann").count(), 1, "{story}");
                    assert!(state.holds.iter().any(|h| h.id == id), "{story}");
                }
            }
        }
    }
    let stage = Stage::new().await;
    stage.faulty.cut_off(true);
    assert!(stage.fleet.pause(&person("ann")).await.unwrap_err().is_outage());
}

#[tokio::test(start_paused = true)]
async fn whatever_call_of_a_resume_fails_success_means_running() {
    for call in [Call::Txn, Call::Range] {
        for before in 0..6 {
            for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
                let stage = Stage::new().await;
                let (epoch, _) = paused(&stage, &person("ann")).await;
                stage.fault(call, before, fault);
                let done = stage.fleet.resume(epoch, "me", |_| true).await;
                stage.calm().await;
                let story = format!("{call:?} {before} {fault:?}: {done:?}");
                let running = !stage.fleet.state().await.unwrap().is_paused();
                match done {
                    Ok(ResumeDone::Resumed { .. }) => assert!(running, "{story}"),
                    Ok(ResumeDone::Refused(_)) => panic!("nothing refuses it; {story}"),
                    Err(error) => assert!(error.is_outage() && (fault == Fault::LostReply || !running), "{story}"),
                }
            }
        }
    }
}

/// A resume that was under way while another resumed, somebody paused, and the hold of that pause was lifted without a resume.
#[tokio::test(start_paused = true)]
async fn a_resume_that_arrives_late_does_not_end_a_later_pause() {
    let stage = Stage::new().await;
    let (old, _) = paused(&stage, &person("ann")).await;
    // The first transaction lifts the hold; the second is the one that is late.
    stage.line.hold(2);
    assert!(matches!(stage.fleet.resume(old, "late", |_| true).await, Err(FleetError::Voided)));
    assert!(matches!(resume(&stage, old, |_| true).await, ResumeDone::Resumed { .. }));
    let (new, _) = paused(&stage, &person("ben")).await;
    stage.fault(Call::Txn, 2, Fault::Dropped);
    assert!(stage.fleet.resume(new, "me", |_| true).await.is_err());
    assert!(stage.fleet.state().await.unwrap().holds.is_empty());
    assert_eq!(stage.line.deliver().await, 0);
    let state = stage.fleet.state().await.unwrap();
    assert_eq!((state.permit, state.epoch), (Permit::Paused(new), new));
}

#[tokio::test(start_paused = true)]
async fn a_resume_from_before_a_restore_does_not_run_the_restored_fleet() {
    let stage = Stage::new().await;
    let (epoch, _) = paused(&stage, &person("ann")).await;
    stage.line.hold(2);
    assert!(stage.fleet.resume(epoch, "late", |_| true).await.is_err());
    let rotate = Txn::default().then(vec![Op::put(format!("{PREFIX}meta/gen"), "restored")]);
    stage.direct.txn(rotate).await.unwrap();
    assert_eq!(stage.line.deliver().await, 0);
    assert!(stage.fleet.state().await.unwrap().is_paused());
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_arrives_late_does_not_hold_up_a_later_pause() {
    let stage = Stage::new().await;
    let (first, _) = paused(&stage, &person("ann")).await;
    stage.line.hold(1);
    // Its second try finds its way.
    paused(&stage, &person("ben")).await;
    resume(&stage, first, |_| true).await;
    let (second, _) = paused(&stage, &person("cat")).await;
    assert_eq!(stage.line.deliver().await, 0);
    assert!(matches!(resume(&stage, second, |h| h.who == "cat").await, ResumeDone::Resumed { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_of_the_present_epoch_and_goes_with_its_session() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let (epoch, _) = paused(&stage, &person("ann")).await;
    let ack = |epoch, state| AckRecord { epoch, state, in_flight: 1 };
    stage.fleet.acknowledge(&session, &ack(epoch, AckState::Seen)).await.unwrap();
    stage.fleet.acknowledge(&session, &ack(Epoch(epoch.0 - 1), AckState::Drained)).await.unwrap();
    let acks = stage.fleet.overview().await.unwrap().acks;
    assert_eq!(acks, [(session.sid.clone(), ack(epoch, AckState::Seen))]);
    stage.fleet.end(&session, Ending::Died { gone: true }).await.unwrap();
    assert!(stage.fleet.overview().await.unwrap().acks.is_empty());
}

/// Two that pause and two that resume what they saw, at once, through a store that loses some answers.
async fn race(stage: &Stage, seed: u64) -> Vec<(Epoch, String)> {
    stage.line.reseed(seed);
    stage.faulty.chances(seed, &[(Fault::LostReply, 60), (Fault::Dropped, 60)]);
    stage.line.shuffle(true);
    stage.line.late(40);
    let pauses = ["ann", "watcher"].map(|who| {
        let fleet = stage.fleet.clone();
        let kind = if who == "ann" { HoldKind::Person } else { HoldKind::Watcher };
        tokio::spawn(async move { fleet.pause(&hold(kind, who)).await })
    });
    let resumes = [true, false].map(|people| {
        let fleet = stage.fleet.clone();
        tokio::spawn(async move {
            for _ in 0..4 {
                let Ok(state) = fleet.state().await else { continue };
                let _ = fleet.resume(state.epoch, "me", |h| by_people(h) == people).await;
            }
        })
    });
    let mut acknowledged = Vec::new();
    for task in pauses {
        if let Ok(PauseDone::Paused { epoch, hold } | PauseDone::Already { epoch, hold }) = task.await.unwrap() {
            acknowledged.push((epoch, hold));
        }
    }
    for task in resumes {
        task.await.unwrap();
    }
    pass(300).await;
    stage.faulty.chances(0, &[]);
    stage.line.shuffle(false);
    stage.line.late(0);
    let state = stage.fleet.state().await.unwrap();
    if state.is_paused() {
        assert!(matches!(resume(stage, state.epoch, |_| true).await, ResumeDone::Resumed { .. }));
    }
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn no_run_follows_an_acknowledged_pause_but_by_a_resume_that_names_it_or_a_later_one() {
    let test = "no_run_follows_an_acknowledged_pause_but_by_a_resume_that_names_it_or_a_later_one";
    let stage = Stage::new().await;
    let mut acknowledged = Vec::new();
    for seed in seeds(1_000) {
        acknowledged.extend(race(&stage, seed).await.into_iter().map(|(epoch, hold)| (seed, epoch, hold)));
    }
    let events = replay::events(&stage.embedded).await;
    // Never running while held, and the epoch rises at each change.
    replay::check(&events).unwrap();
    let run = format!("{PREFIX}fleet/run");
    let runs: Vec<(u64, u64)> = events
        .iter()
        .flat_map(|event| event.changes.iter().map(|change| (event.revision, change)))
        .filter_map(|(revision, change)| match change {
            Change::Put(kv) if kv.key == run => {
                let record: serde_json::Value = serde_json::from_slice(&kv.value).unwrap();
                Some((revision, record["epoch"].as_u64().unwrap()))
            }
            _ => None,
        })
        .collect();
    assert!(acknowledged.len() > 1_000 || std::env::var("RR_SEED").is_ok(), "only {} pauses", acknowledged.len());
    for (seed, epoch, id) in acknowledged {
        let made = replay::made_at(&events, &format!("{PREFIX}fleet/hold/{id}"));
        // Twice if somebody ended the pause before its answer had arrived: it was then made again.
        let at = *made.last().unwrap_or_else(|| panic!("hold {id} was never made; {}", replay_with(seed, test)));
        let bad = runs.iter().find(|(revision, run)| *revision > at && *run <= epoch.0);
        assert_eq!(bad, None, "paused at {at} with {epoch}; {}", replay_with(seed, test));
    }
}

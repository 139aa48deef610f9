//! Hosts let in and shut out: an invitation works once however many come with it and whatever answers are lost, an id stays
//! with its key, and a denied host has nothing and gets nothing (H40).

mod common;

use common::{Stage, record, write};
use rr_core::id::HostId;
use rr_core::session::DeathCause;
use rr_core::time::Span;
use rr_fleet::{Answer, Applicant, Denial, FleetError, Invitation, Join, Proof, Registered, Session};
use rr_store::faulty::{Call, Fault};

const TTL: Span = Span::from_secs(900);

fn invitation() -> Invitation {
    Invitation { role: "agent".into(), who: "kim".into(), expires_unix_ms: 5 }
}

fn applicant(n: u8, token: &str) -> Applicant {
    let host = HostId::from_random([n; 16]);
    Applicant { host, name: format!("box-{n}"), key: format!("key-{n}"), token: token.into(), now_unix_ms: 7 }
}

fn denial(reason: &str) -> Denial {
    Denial { who: "kim".into(), reason: reason.into(), since_unix_ms: 9 }
}

fn own() -> HostId {
    record(1).host
}

async fn session(stage: &Stage, slot: u64) -> Session {
    match stage.fleet.register(&record(slot), own().as_str()).await.unwrap() {
        Registered::New(session) => session,
        Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_twenty_with_one_token_exactly_one_joins() {
    for seed in 0..20 {
        let stage = Stage::seeded(seed).await;
        stage.fleet.invite("t1", &invitation(), TTL).await.unwrap();
        stage.line.shuffle(true);
        // Half of them are one machine that asks ten times.
        let tries = (0..20).map(|n: u8| {
            let (fleet, applicant) = (stage.fleet.clone(), applicant(n.max(10), "t1"));
            tokio::spawn(async move { fleet.join(&applicant).await.unwrap() })
        });
        let mut done = 0;
        for task in tries.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Join::Done(with) => {
                    assert_eq!(with, invitation());
                    done += 1;
                }
                Join::NoInvitation { used_by: Some(record) } => assert_eq!(record.token, "t1"),
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert_eq!(
            (done, stage.below("host/").await.len(), stage.below("join/").await.len()),
            (1, 1, 0),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_whose_answer_is_lost_is_found_done_and_not_done_twice() {
    for fault in [Fault::LostReply, Fault::Dropped] {
        for before in 0..3 {
            let stage = Stage::new().await;
            stage.fleet.invite("t1", &invitation(), TTL).await.unwrap();
            stage.fault(Call::Txn, before, fault);
            let joined = stage.fleet.join(&applicant(1, "t1")).await.unwrap();
            assert!(matches!(&joined, Join::Done(with) if with.role == "agent"), "{fault:?} {before}: {joined:?}");
            let again = stage.fleet.join(&applicant(2, "t1")).await.unwrap();
            assert!(matches!(again, Join::NoInvitation { used_by: Some(_) }), "{again:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_invitation_ends_by_itself_and_one_that_never_was_lets_nobody_in() {
    let stage = Stage::new().await;
    stage.fleet.invite("t1", &invitation(), Span::from_secs(60)).await.unwrap();
    stage.advance(61).await;
    for token in ["t1", "t2", ""] {
        let refused = stage.fleet.join(&applicant(1, token)).await.unwrap();
        assert_eq!(refused, Join::NoInvitation { used_by: None }, "{token:?}");
    }
    assert!(stage.below("host/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_invitation_whose_recording_was_unclear_is_none() {
    let stage = Stage::new().await;
    stage.fault(Call::Txn, 0, Fault::LostReply);
    assert!(stage.fleet.invite("t1", &invitation(), TTL).await.is_err());
    assert!(stage.below("join/").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_id_stays_with_the_key_it_came_with() {
    let stage = Stage::new().await;
    for token in ["t1", "t2", "t3"] {
        stage.fleet.invite(token, &invitation(), TTL).await.unwrap();
    }
    assert!(matches!(stage.fleet.join(&applicant(1, "t1")).await.unwrap(), Join::Done(_)));
    let thief = Applicant { key: "another".into(), ..applicant(1, "t2") };
    let refused = stage.fleet.join(&thief).await.unwrap();
    assert!(matches!(&refused, Join::OtherKey(of) if of.name == "box-1"), "{refused:?}");
    // The token was not spent by the attempt, and the machine itself can come again.
    assert!(matches!(stage.fleet.join(&applicant(1, "t2")).await.unwrap(), Join::Done(_)));
    stage.fleet.deny(&applicant(1, "").host, &denial("stolen")).await.unwrap();
    assert_eq!(stage.fleet.join(&applicant(1, "t3")).await.unwrap(), Join::Denied(denial("stolen")));
    assert_eq!(stage.below("join/").await.len(), 1, "a denied host spends no token");
}

#[tokio::test(start_paused = true)]
async fn a_denied_hosts_sessions_end_at_once_with_all_their_locks() {
    let stage = Stage::new().await;
    let (one, two) = (session(&stage, 1).await, session(&stage, 2).await);
    let lock = stage.lock(&one, write("a")).await;
    stage.lock(&two, write("b")).await;
    let done = stage.fleet.deny(&own(), &denial("stolen")).await.unwrap();
    assert_eq!((done.already, done.sessions_ended), (None, 2));
    assert_eq!(stage.token(&lock).await, None);
    assert!(stage.below("sess/").await.is_empty() && stage.below("x/").await.is_empty());
    assert_eq!(stage.below("mark/").await.len(), 2, "the next holder is told to look first");

    let refused = stage.fleet.register(&record(3), own().as_str()).await.unwrap_err();
    assert!(matches!(&refused, FleetError::Denied(why) if *why == denial("stolen")), "{refused}");
    assert!(refused.to_string().contains("by kim: stolen"), "{refused}");
    assert!(matches!(stage.ask(&one, &[write("c")]).await.unwrap(), Answer::Lost));
    assert!(stage.adopt_as(&one.sid, own().as_str()).await.is_none());

    let again = stage.fleet.deny(&own(), &denial("also lazy")).await.unwrap();
    assert_eq!((again.already, again.sessions_ended), (Some(denial("stolen")), 0));
    assert!(stage.fleet.allow(&own()).await.unwrap());
    assert!(!stage.fleet.allow(&own()).await.unwrap());
    session(&stage, 3).await;
}

/// The denial came from elsewhere, and whoever made it died before it could end the sessions.
#[tokio::test(start_paused = true)]
async fn a_denied_session_that_still_lives_is_found_dead_at_its_next_proof_and_gets_nothing() {
    let stage = Stage::new().await;
    let one = session(&stage, 1).await;
    let key = format!("{}deny/{}", common::PREFIX, own());
    use rr_store::{Op, Store as _, Txn};
    stage.direct.txn(Txn::default().then(vec![Op::put(key, "no JSON")])).await.unwrap();
    assert_eq!(stage.fleet.prove(&one).await.unwrap(), Proof::Dead(DeathCause::Denied));
    assert!(matches!(stage.ask(&one, &[write("c")]).await.unwrap(), Answer::Lost));
    let (_, found) = stage.fleet.state_for(&own()).await.unwrap();
    assert_eq!(found.unwrap().reason, "no reason is recorded");
    assert!(stage.adopt_as(&one.sid, own().as_str()).await.is_none());
    assert!(stage.below("sess/").await.is_empty(), "its next life does not carry it on");
}

#[tokio::test(start_paused = true)]
async fn denying_and_registering_at_once_leaves_no_session() {
    for seed in 0..50 {
        let stage = Stage::seeded(seed).await;
        stage.line.shuffle(true);
        let tries = (0..4).map(|slot| {
            let fleet = stage.fleet.clone();
            tokio::spawn(async move { fleet.register(&record(slot), own().as_str()).await.map(|_| ()) })
        });
        let tries: Vec<_> = tries.collect();
        stage.fleet.deny(&own(), &denial("stolen")).await.unwrap();
        for task in tries {
            match task.await.unwrap() {
                Ok(()) | Err(FleetError::Denied(_)) => {}
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        assert!(stage.below("sess/").await.is_empty(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_whose_answer_is_lost_is_our_own() {
    let stage = Stage::new().await;
    stage.fault(Call::Txn, 0, Fault::LostReply);
    assert_eq!(stage.fleet.deny(&own(), &denial("stolen")).await.unwrap().already, None);
    assert_eq!(stage.fleet.denial(own().as_str()).await.unwrap(), Some(denial("stolen")));
}

#[tokio::test(start_paused = true)]
async fn the_list_of_hosts_has_those_that_joined_those_at_work_and_those_shut_out() {
    let stage = Stage::new().await;
    stage.fleet.invite("t1", &invitation(), TTL).await.unwrap();
    stage.fleet.join(&applicant(7, "t1")).await.unwrap();
    session(&stage, 1).await;
    let stranger = HostId::from_random([9; 16]);
    stage.fleet.deny(&stranger, &denial("never")).await.unwrap();
    let hosts = stage.fleet.hosts().await.unwrap();
    let shown: Vec<_> = hosts.iter().map(|h| (h.name.as_str(), h.record.is_some(), h.denied.is_some())).collect();
    assert_eq!(shown, [("host", false, false), ("box-7", true, false), ("", false, true)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_host_reads_of_the_fleet_is_the_same_state_and_the_same_life_of_the_store() {
    let stage = Stage::new().await;
    let (seen, none) = stage.fleet.state_for(&own()).await.unwrap();
    assert_eq!((&seen.generation, none.is_none()), (&stage.fleet.state().await.unwrap().generation, true));
    assert!(seen.generation.revision > 0 && !seen.generation.id.is_empty());
}

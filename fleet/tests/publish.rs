//! Verdicts on commits: a commit is judged by who had its paths when it was made, at one revision of the store; the first
//! verdict stays, whatever is lost or answered late; none is taken from before a restore or from a revoked host.

mod common;

use common::{PREFIX, Stage, glob, repo, write};
use rr_core::id::{CommitId, Token};
use rr_core::path::RepoPath;
use rr_core::scope::Claim;
use rr_core::time::Span;
use rr_fleet::{
    Changed, CommitRecord, Ending, GrantedLock, Overtaken, Recorded, Released, Right, Session, VERDICTS_KEPT_FOR,
    Verdict,
};
use rr_store::faulty::{Call, Fault};
use rr_store::{Op, Store as _, Txn};

fn commit(n: usize) -> CommitId {
    CommitId::parse(&format!("{n:040x}")).unwrap()
}

fn place(path: &str) -> RepoPath {
    RepoPath::parse(path.as_bytes()).unwrap()
}

fn held(path: &str, lock: &GrantedLock) -> Changed {
    Changed { path: place(path), right: Right::Held { key: lock.key.clone(), token: lock.token } }
}

fn with(path: &str, right: Right) -> Changed {
    Changed { path: place(path), right }
}

fn record(session: &Session, verdict: Verdict) -> CommitRecord {
    CommitRecord {
        session: Some(session.sid.clone()),
        agent_session: "one".into(),
        held: vec![],
        verdict,
        at_unix_ms: 1_000,
    }
}

async fn verdict(stage: &Stage, session: &Session, changes: &[Changed]) -> Verdict {
    let paths: Vec<RepoPath> = changes.iter().map(|c| c.path.clone()).collect();
    stage.fleet.standing(&repo(), &paths).await.unwrap().judge(session, changes)
}

fn overtaken(verdict: Verdict) -> Vec<Overtaken> {
    match verdict {
        Verdict::Overtaken { paths, more: 0 } => paths,
        other => panic!("not overtaken: {other:?}"),
    }
}

/// Judges one commit and writes it down.
async fn judge(stage: &Stage, session: &Session, id: &CommitId, changes: &[Changed]) -> Recorded {
    let paths: Vec<RepoPath> = changes.iter().map(|c| c.path.clone()).collect();
    let standing = stage.fleet.standing(&repo(), &paths).await.unwrap();
    let records = [(id.clone(), record(session, standing.judge(session, changes)))];
    let lease = stage.fleet.verdicts_lease().await.unwrap();
    stage.fleet.record_commits(session, &standing, lease, &records).await.unwrap()
}

async fn known(stage: &Stage, id: &CommitId) -> Option<Verdict> {
    let found = stage.fleet.commit_records(std::slice::from_ref(id)).await.unwrap().remove(0);
    found.map(|record| record.verdict)
}

#[tokio::test(start_paused = true)]
async fn what_is_held_when_a_commit_is_judged_is_fenced_whatever_becomes_of_the_lock() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let lock = stage.lock(&all[0], write("src/a")).await;
    assert_eq!(judge(&stage, &all[0], &commit(1), &[held("src/a", &lock)]).await, Recorded::Yes);
    assert_eq!(stage.fleet.release(&lock).await.unwrap(), Released::Yes);
    stage.lock(&all[1], write("src/a")).await;
    assert_eq!(known(&stage, &commit(1)).await, Some(Verdict::Fenced));
    assert_eq!(known(&stage, &commit(2)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lock_is_found_out_with_both_tokens_and_the_one_who_has_it_now() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let lock = stage.lock(&all[0], write("src/a")).await;
    stage.fleet.force_release(&lock.key, lock.token).await.unwrap();
    let nobody = overtaken(verdict(&stage, &all[0], &[held("src/a", &lock)]).await);
    assert_eq!(nobody, [Overtaken { path: "src/a".into(), own: Some(lock.token), by: None }]);
    let theirs = stage.lock(&all[1], write("src/a")).await;
    let found = overtaken(verdict(&stage, &all[0], &[held("src/a", &lock)]).await);
    assert_eq!(found[0].by, Some((all[1].sid.clone(), theirs.token)));
    assert!(theirs.token > lock.token);
    // The same session's next grant is another one.
    stage.fleet.release(&theirs).await.unwrap();
    let again = stage.lock(&all[0], write("src/a")).await;
    assert_eq!(overtaken(verdict(&stage, &all[0], &[held("src/a", &lock)]).await).len(), 1);
    assert_eq!(verdict(&stage, &all[0], &[held("src/a", &again)]).await, Verdict::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_held_nothing() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let lock = stage.lock(&session, write("src/a")).await;
    stage.fleet.end(&session, Ending::Died { gone: true }).await.unwrap();
    assert_eq!(overtaken(verdict(&stage, &session, &[held("src/a", &lock)]).await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_may_be_changed_until_somebody_else_has_it() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let free = [with("src/a", Right::Free)];
    assert_eq!(verdict(&stage, &all[0], &free).await, Verdict::Fenced);
    let theirs = stage.lock(&all[1], write("src")).await;
    let found = overtaken(verdict(&stage, &all[0], &free).await);
    assert_eq!(found, [Overtaken { path: "src/a".into(), own: None, by: Some((all[1].sid.clone(), theirs.token)) }]);
    assert_eq!(verdict(&stage, &all[0], &[with("src/a", Right::Allowed)]).await, Verdict::Fenced);
    let lost = overtaken(verdict(&stage, &all[0], &[with("b", Right::Lost { token: Some(Token(7)) })]).await);
    assert_eq!(lost, [Overtaken { path: "b".into(), own: Some(Token(7)), by: None }]);
    // Readers are in nobody's way, and a name-sake is another file.
    stage.lock(&all[1], common::read("c")).await;
    assert_eq!(verdict(&stage, &all[0], &[with("c", Right::Free), with("srcs", Right::Free)]).await, Verdict::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_lock_on_a_folder_or_a_pattern_covers_its_files_and_case_makes_no_other_file() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let folder = stage.lock(&all[0], write("src")).await;
    let pattern = stage.lock(&all[0], Claim::exclusive(glob("gen", "*.rs/**"))).await;
    let changes = [held("src/deep/a", &folder), held("gen/x.rs", &pattern)];
    assert_eq!(verdict(&stage, &all[0], &changes).await, Verdict::Fenced);
    let others = [with("SRC/Deep/A", Right::Free), with("gen/X.rs", Right::Free), with("gen/x.ts", Right::Free)];
    assert_eq!(overtaken(verdict(&stage, &all[1], &others).await).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn five_thousand_paths_are_judged_in_one_look() {
    let stage = Stage::new().await;
    let all = stage.sessions(2).await;
    let folder = stage.lock(&all[0], write("gen")).await;
    let theirs = stage.lock(&all[1], write("other/4999")).await;
    let mut changes: Vec<Changed> = (0..5_000).map(|n| held(&format!("gen/{n}"), &folder)).collect();
    changes.extend((0..4_999).map(|n| with(&format!("other/{n}"), Right::Free)));
    let before = stage.line.sent();
    assert_eq!(verdict(&stage, &all[0], &changes).await, Verdict::Fenced);
    assert_eq!(stage.line.sent() - before, 1);
    changes.push(with("other/4999", Right::Free));
    assert_eq!(overtaken(verdict(&stage, &all[0], &changes).await)[0].by, Some((all[1].sid.clone(), theirs.token)));
    stage.fleet.force_release(&folder.key, folder.token).await.unwrap();
    let Verdict::Overtaken { paths, more } = verdict(&stage, &all[0], &changes).await else { panic!("lost") };
    assert_eq!(paths.len() + more, 5_001);
    assert!(paths.len() < 50, "a record stays small");
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_takes_no_verdict_from_before() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    let lock = stage.lock(&session, write("a")).await;
    let standing = stage.fleet.standing(&repo(), &[place("a")]).await.unwrap();
    let lease = stage.fleet.verdicts_lease().await.unwrap();
    let records = [(commit(1), record(&session, standing.judge(&session, &[held("a", &lock)])))];
    let rotated = Txn::default().then(vec![Op::put(format!("{PREFIX}meta/gen"), "another")]);
    stage.embedded.txn(rotated).await.unwrap();
    let done = stage.fleet.record_commits(&session, &standing, lease, &records).await.unwrap();
    assert_eq!(done, Recorded::OutOfDate);
    assert_eq!(known(&stage, &commit(1)).await, None);
    // The key is still there with its token; the session is of another generation all the same.
    assert_eq!(overtaken(verdict(&stage, &session, &[held("a", &lock)]).await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_host_records_nothing() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    stage.embedded.txn(Txn::default().then(vec![Op::put(format!("{PREFIX}deny/host"), "{}")])).await.unwrap();
    assert_eq!(judge(&stage, &session, &commit(1), &[with("a", Right::Free)]).await, Recorded::OutOfDate);
    assert_eq!(known(&stage, &commit(1)).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_first_verdict_stays_through_lost_answers_and_a_second_judge() {
    for fault in [Fault::LostReply, Fault::Dropped, Fault::Refused] {
        let stage = Stage::new().await;
        let all = stage.sessions(2).await;
        let lock = stage.lock(&all[0], write("a")).await;
        // The look, the reading of what is known, then the write.
        stage.fault(Call::Txn, 2, fault);
        assert_eq!(judge(&stage, &all[0], &commit(1), &[held("a", &lock)]).await, Recorded::Yes, "{fault:?}");
        assert_eq!(known(&stage, &commit(1)).await, Some(Verdict::Fenced), "{fault:?}");
        stage.calm().await;
        let lost = [with("a", Right::Lost { token: None })];
        assert_eq!(judge(&stage, &all[1], &commit(1), &lost).await, Recorded::Yes);
        assert_eq!(known(&stage, &commit(1)).await, Some(Verdict::Fenced), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebase_of_three_hundred_commits_is_recorded_whole_beside_what_is_known() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    judge(&stage, &session, &commit(7), &[with("a", Right::Lost { token: None })]).await;
    let standing = stage.fleet.standing(&repo(), &[place("a")]).await.unwrap();
    let lease = stage.fleet.verdicts_lease().await.unwrap();
    let records: Vec<_> = (0..300).map(|n| (commit(n), record(&session, Verdict::Fenced))).collect();
    stage.fleet.record_commits(&session, &standing, lease, &records).await.unwrap();
    let ids: Vec<CommitId> = (0..300).map(commit).collect();
    let found = stage.fleet.commit_records(&ids).await.unwrap();
    let fenced = found.iter().flatten().filter(|r| r.verdict == Verdict::Fenced).count();
    assert_eq!((found.len(), fenced), (300, 299), "the one that was judged before keeps its verdict");
}

#[tokio::test(start_paused = true)]
async fn a_person_answers_for_what_was_overtaken_or_never_seen() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    judge(&stage, &session, &commit(1), &[with("a", Right::Lost { token: None })]).await;
    stage.fleet.vouch(&[commit(1), commit(2)], "ann", "looked at both", 5).await.unwrap();
    let vouched = Verdict::Vouched { who: "ann".into(), reason: "looked at both".into() };
    let found = stage.fleet.commit_records(&[commit(1), commit(2)]).await.unwrap();
    let first = found[0].as_ref().unwrap();
    assert_eq!((&first.verdict, &first.session), (&vouched, &Some(session.sid.clone())), "whose it was is kept");
    assert_eq!(found[1].as_ref().unwrap().verdict, vouched);
    // What is judged late does not take a person's word back.
    judge(&stage, &session, &commit(2), &[with("a", Right::Lost { token: None })]).await;
    assert_eq!(known(&stage, &commit(2)).await, Some(vouched));
}

#[tokio::test(start_paused = true)]
async fn verdicts_go_after_two_weeks_by_their_lease_or_by_hand() {
    let stage = Stage::new().await;
    let session = stage.session(1).await;
    judge(&stage, &session, &commit(1), &[with("a", Right::Free)]).await;
    assert_eq!(stage.fleet.forget_commits(1_000).await.unwrap(), 0, "not older than that");
    assert_eq!(stage.fleet.forget_commits(1_001).await.unwrap(), 1);
    assert_eq!(known(&stage, &commit(1)).await, None);
    judge(&stage, &session, &commit(2), &[with("a", Right::Free)]).await;
    stage.advance(VERDICTS_KEPT_FOR.as_secs() - 10).await;
    assert!(known(&stage, &commit(2)).await.is_some());
    stage.advance(Span::from_secs(60).as_secs()).await;
    assert_eq!(known(&stage, &commit(2)).await, None);
    assert!(stage.below("commit/").await.is_empty());
}

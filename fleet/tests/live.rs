//! Change sets: whole or not there, under a lease that one life of a sidecar has, followed over everything that can happen to a
//! watch; and which contents are wanted and sent.

mod common;

use common::watching::{host, leader, object, old_and_new, set, tree};
use common::{PREFIX, Stage, pass, replay_with, seeds};
use rr_core::live::{ChangeSet, TreeKey};
use rr_fleet::{FleetError, LIVE_BYTES_MAX, LiveChange, LiveFollower, TREES_PER_HOST_MAX};
use rr_store::faulty::{Call, Fault};
use rr_store::{Op, Store as _, Txn};

async fn all(stage: &Stage) -> Vec<(TreeKey, ChangeSet)> {
    stage.fleet.live().await.unwrap().0
}

fn is_whole(found: &ChangeSet) -> bool {
    let odd = found.files.first().is_some_and(|file| file.binary);
    found.files.iter().all(|file| file.binary == odd)
}

async fn next(follower: &mut LiveFollower) -> Vec<LiveChange> {
    let said = tokio::time::timeout(std::time::Duration::from_secs(600), follower.next()).await;
    said.expect("it says something").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_change_set_reads_back_and_goes_when_it_is_dropped_or_its_lease_ends() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    for name in ["a", "b"] {
        stage.fleet.put_live(&mut live, &tree(1, name), &set(1, 3, 2)).await.unwrap();
    }
    stage.fleet.sent_live(&mut live, &tree(1, "a"), &object(1)).await.unwrap();
    assert_eq!(all(&stage).await, [(tree(1, "a"), set(1, 3, 2)), (tree(1, "b"), set(1, 3, 2))]);
    assert_eq!(live.keys().cloned().collect::<Vec<_>>(), [tree(1, "a"), tree(1, "b")]);
    assert_eq!(stage.fleet.sent().await.unwrap(), [(tree(1, "a"), object(1))]);
    stage.fleet.drop_live(&mut live, &tree(1, "a")).await.unwrap();
    assert_eq!(all(&stage).await, [(tree(1, "b"), set(1, 3, 2))]);
    assert!(stage.fleet.sent().await.unwrap().is_empty());
    stage.advance(61).await;
    assert!(all(&stage).await.is_empty());
    let late = stage.fleet.put_live(&mut live, &tree(1, "b"), &set(2, 3, 2)).await;
    assert!(matches!(late, Err(FleetError::NotLive)), "{late:?}");
    assert!(!stage.fleet.renew_live(&mut live).await.unwrap(), "and says so when asked");
}

#[tokio::test(start_paused = true)]
async fn renewing_asks_the_store_only_when_that_is_due_and_keeps_the_lease() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    stage.fleet.put_live(&mut live, &tree(1, "a"), &set(1, 1, 0)).await.unwrap();
    let sent = stage.line.sent();
    for _ in 0..14 {
        pass(1_000).await;
        assert!(stage.fleet.renew_live(&mut live).await.unwrap());
    }
    assert_eq!(stage.line.sent(), sent, "too early to ask");
    for _ in 0..100 {
        pass(1_000).await;
        stage.advance(1).await;
        assert!(stage.fleet.renew_live(&mut live).await.unwrap());
    }
    assert_eq!(all(&stage).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn twenty_thousand_files_fit_with_what_was_left_out_counted() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    stage.fleet.put_live(&mut live, &tree(1, "a"), &set(1, 20_000, 3)).await.unwrap();
    let found = all(&stage).await.remove(0).1;
    assert_eq!(found.files.len() + found.left_out, 20_000);
    assert!(found.files.len() > 2_000 && found.left_out > 0, "{}", found.files.len());
    assert!(found.files.iter().all(|file| file.symbols.is_empty() && file.ranges.len() == 1));
    let bytes: usize = stage.below("live/").await.iter().map(|kv| kv.value.len()).sum();
    assert!(bytes > LIVE_BYTES_MAX / 2 && bytes < LIVE_BYTES_MAX + (64 << 10), "{bytes}");
    // A smaller one leaves no part of it behind.
    stage.fleet.put_live(&mut live, &tree(1, "a"), &set(2, 1, 3)).await.unwrap();
    assert_eq!((all(&stage).await, stage.below("live/").await.len()), (vec![(tree(1, "a"), set(2, 1, 3))], 1));
}

#[tokio::test(start_paused = true)]
async fn details_go_before_files_and_those_of_the_largest_first() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    let mut large = set(1, 1_500, 2);
    large.files.extend((0..40).map(|n| common::watching::file(90_000 + n, 200)));
    stage.fleet.put_live(&mut live, &tree(1, "a"), &large).await.unwrap();
    let found = all(&stage).await.remove(0).1;
    assert_eq!((found.files.len(), found.left_out), (1_540, 0));
    let with = found.files.iter().filter(|file| !file.symbols.is_empty()).count();
    assert!((1_500..1_525).contains(&with), "{with}");
    assert!(found.files.iter().skip(1_500).take(15).all(|file| file.symbols.is_empty()), "the largest lose theirs");
}

/// Sets of different sizes and contents in turn; readers list and follow all the while.
#[tokio::test(start_paused = true)]
async fn no_reader_ever_sees_a_half_set() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    let (mut follower, fleet) = (stage.fleet.follow_live().await.unwrap(), stage.fleet.clone());
    let writer = tokio::spawn(async move {
        for n in 1..=12 {
            let files = if n % 3 == 0 { 5 } else { 400 * n };
            pass(1).await;
            fleet.put_live(&mut live, &tree(1, "a"), &set(n, files, 0)).await.unwrap();
        }
    });
    let (mut seen, mut last) = (0, None);
    while last != Some(object(12)) {
        for (_, found) in all(&stage).await {
            assert!(is_whole(&found));
        }
        for change in next(&mut follower).await {
            let LiveChange::Put(_, found) = change else { panic!("it was never gone: {change:?}") };
            assert!(is_whole(&found));
            (seen, last) = (seen + 1, Some(found.tree));
        }
    }
    writer.await.unwrap();
    assert!(seen > 3, "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_second_life_takes_over_and_the_first_can_write_nothing_any_more() {
    let stage = Stage::new().await;
    let mut old = stage.fleet.keep_live(&host(1)).await.unwrap();
    stage.fleet.put_live(&mut old, &tree(1, "a"), &set(1, 1, 0)).await.unwrap();
    stage.fleet.put_live(&mut old, &tree(1, "b"), &set(1, 1, 0)).await.unwrap();
    let mut new = stage.fleet.keep_live(&host(1)).await.unwrap();
    stage.fleet.put_live(&mut new, &tree(1, "a"), &set(2, 2, 0)).await.unwrap();
    for late in [
        stage.fleet.put_live(&mut old, &tree(1, "a"), &set(3, 1, 0)).await,
        stage.fleet.drop_live(&mut old, &tree(1, "a")).await,
        stage.fleet.sent_live(&mut old, &tree(1, "a"), &object(3)).await,
    ] {
        assert!(matches!(late, Err(FleetError::NotLive)), "{late:?}");
    }
    stage.fleet.drop_live(&mut new, &tree(1, "b")).await.unwrap();
    assert_eq!(all(&stage).await, [(tree(1, "a"), set(2, 2, 0))], "also what only the first life told");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_write_the_last_one_that_was_told_of_stands() {
    let test = "whatever_happens_to_a_write_the_last_one_that_was_told_of_stands";
    for seed in seeds(100) {
        let stage = Stage::seeded(seed).await;
        let story = replay_with(seed, test);
        let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
        stage.faulty.chances(seed, &[(Fault::LostReply, 150), (Fault::Dropped, 150)]);
        let mut told = None;
        for n in 1..20 {
            if stage.random.one_in(3) {
                // It arrives when later writes have been made.
                stage.line.hold(0);
            }
            if stage.fleet.put_live(&mut live, &tree(1, "a"), &set(n, 2, 0)).await.is_ok() {
                told = Some(n);
            } else {
                told = None;
            }
            if stage.random.one_in(4) {
                stage.line.deliver().await;
            }
        }
        stage.line.deliver().await;
        stage.faulty.chances(0, &[]);
        if let Some(n) = told {
            assert_eq!(all(&stage).await, [(tree(1, "a"), set(n, 2, 0))], "{story}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_whose_write_was_not_answered_is_among_the_keys_and_can_be_dropped() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    for _ in 0..8 {
        stage.faulty.plan(Call::Txn, Fault::LostReply);
    }
    assert!(stage.fleet.put_live(&mut live, &tree(1, "a"), &set(1, 1, 0)).await.is_err());
    stage.calm().await;
    assert_eq!((all(&stage).await.len(), live.keys().count()), (1, 1));
    stage.fleet.drop_live(&mut live, &tree(1, "a")).await.unwrap();
    assert_eq!((all(&stage).await.len(), live.keys().count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_follower_goes_on_over_ended_watches_silence_compaction_and_a_store_that_is_away() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    let mut follower = stage.fleet.follow_live().await.unwrap();
    assert_eq!(next(&mut follower).await, [], "an empty list is said too");
    let put = |n| LiveChange::Put(tree(1, "a"), Box::new(set(n, 1, 0)));
    stage.fleet.put_live(&mut live, &tree(1, "a"), &set(1, 1, 0)).await.unwrap();
    assert_eq!(next(&mut follower).await, [put(1)]);

    stage.faulty.end_watches();
    stage.fleet.put_live(&mut live, &tree(1, "a"), &set(2, 1, 0)).await.unwrap();
    assert_eq!(next(&mut follower).await, [put(2)]);

    stage.faulty.silence_watches(true);
    stage.fleet.drop_live(&mut live, &tree(1, "a")).await.unwrap();
    assert_eq!(next(&mut follower).await, [LiveChange::Gone(tree(1, "a"))]);
    stage.faulty.silence_watches(false);

    // What was missed cannot be replayed any more.
    stage.faulty.cut_off(true);
    stage.faulty.end_watches();
    let away = tokio::time::timeout(std::time::Duration::from_secs(30), follower.next()).await;
    assert!(away.is_err(), "it waits: {away:?}");
    stage.faulty.cut_off(false);
    stage.fleet.put_live(&mut live, &tree(1, "b"), &set(3, 1, 0)).await.unwrap();
    let head = stage.embedded.range(rr_store::Keys::one("x")).await.unwrap().revision;
    stage.embedded.compact(head).await.unwrap();
    assert_eq!(next(&mut follower).await, [LiveChange::Put(tree(1, "b"), Box::new(set(3, 1, 0)))]);
}

#[tokio::test(start_paused = true)]
async fn one_set_that_cannot_be_read_does_not_stop_the_others() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    for name in ["a", "b"] {
        stage.fleet.put_live(&mut live, &tree(1, name), &set(1, 1, 0)).await.unwrap();
    }
    let key = format!("{PREFIX}live/{}/{}/a", common::repo(), host(1));
    stage.direct.txn(Txn::default().then(vec![Op::put(key, "{}")])).await.unwrap();
    assert_eq!(all(&stage).await, [(tree(1, "b"), set(1, 1, 0))]);
    let mut follower = stage.fleet.follow_live().await.unwrap();
    let first = next(&mut follower).await;
    assert!(first.contains(&LiveChange::Gone(tree(1, "a"))) && first.len() == 2, "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_has_so_many_trees_of_legal_names_and_no_other_hosts() {
    let stage = Stage::new().await;
    let mut live = stage.fleet.keep_live(&host(1)).await.unwrap();
    for bad in [tree(1, "a/b"), tree(1, ""), tree(2, "a")] {
        let refused = stage.fleet.put_live(&mut live, &bad, &set(1, 1, 0)).await;
        assert!(matches!(refused, Err(FleetError::BadName { .. })), "{refused:?}");
    }
    for n in 0..TREES_PER_HOST_MAX {
        stage.fleet.put_live(&mut live, &tree(1, &n.to_string()), &set(1, 0, 0)).await.unwrap();
    }
    let refused = stage.fleet.put_live(&mut live, &tree(1, "more"), &set(1, 0, 0)).await;
    assert!(matches!(refused, Err(FleetError::TooMany { .. })), "{refused:?}");
    stage.fleet.put_live(&mut live, &tree(1, "0"), &set(2, 0, 0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_said_by_the_leader_alone_and_followed_by_each_host() {
    let stage = Stage::new().await;
    let (old, new) = old_and_new(&stage).await;
    let mut follower = stage.fleet.follow_wanted(&host(1)).await.unwrap();
    assert!(follower.next().await.unwrap().is_empty());
    stage.fleet.want_live(&new, &[tree(1, "a"), tree(1, "b"), tree(2, "c")]).await.unwrap();
    assert_eq!(follower.next().await.unwrap(), ["a", "b"]);
    let late = stage.fleet.want_live(&old, &[]).await;
    assert!(matches!(late, Err(FleetError::NotLeading)), "{late:?}");
    let many: Vec<TreeKey> = (0..500).map(|n| tree(1, &format!("t{n}"))).collect();
    stage.fleet.want_live(&new, &many).await.unwrap();
    assert_eq!(stage.fleet.wanted(&host(1)).await.unwrap().len(), 500);
    stage.fleet.want_live(&new, &[tree(2, "c")]).await.unwrap();
    assert!(stage.fleet.wanted(&host(1)).await.unwrap().is_empty());
    stage.fleet.resign(&new).await;
    assert_eq!(stage.fleet.wanted(&host(2)).await.unwrap(), ["c"]);
    drop(leader(&stage).await);
}

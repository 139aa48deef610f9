//! The contract as tests, one per guarantee, for any engine: an engine hands in a [`Harness`] and calls
//! [`contract_suite!`](crate::contract_suite). What is checked here is all that callers may rely on.
//! It knows no engine. A failed check panics with the guarantee's number in the test's name.
//!
//! Bodies use their own keys only, and compare revisions with one another, but expect nobody else to write meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use rr_core::time::{BootTime, Clock, Span};

use crate::contract::{
    Change, Compare, KEY_BYTES_MAX, KeepAlive, KeyValue, Keys, LeaseId, Op, Relation, Revision, Store, StoreError,
    Subject, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, TxnReply, VALUE_BYTES_MAX, WatchEvent, WatchStream,
};

/// How a store is stopped before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Clean,
    /// As a crash leaves it; an engine that cannot do this stops cleanly.
    Crash,
}

/// One store under test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store as it is now: after a restart, another.
    fn store(&self) -> Arc<dyn Store>;

    /// Stops the store and starts it again on the same data.
    async fn restart(&self, stop: Stop);

    /// Lets this much of the store's time pass.
    async fn advance(&self, span: Span);

    /// The shortest time to live worth granting here.
    fn ttl(&self) -> Span;
}

/// Time that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    pub fn advance(&self, span: Span) {
        self.0.fetch_add(span.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> BootTime {
        BootTime::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// All of the suite as tests of the calling module; `$harness` is an async function that makes a [`Harness`].
#[macro_export]
macro_rules! contract_suite {
    ($harness:path) => {
        $crate::contract_suite!(@each $harness:
            g1_every_write_raises_the_revision_by_one g1_no_revision_is_given_twice
            g2_a_transaction_is_applied_whole_or_not_at_all g2_reads_see_earlier_writes_of_their_list
            g2_no_key_is_written_twice g2_concurrent_compare_and_write_has_one_winner
            g3_an_answered_write_survives_a_crash g4_versions_count_from_creation
            g5_range_compares_hold_for_every_key g6_keys_of_a_lease_vanish_together
            g6_a_kept_lease_does_not_end g6_a_key_written_without_its_lease_is_detached
            g6_a_missing_lease_is_refused g7_a_restart_gives_leases_their_full_time
            g8_a_watch_tells_each_change_once_in_order g8_a_watch_from_the_past_catches_up
            g8_a_compacted_past_is_told g8_a_watch_after_a_restart_skips_nothing
            g9_a_refused_request_changes_nothing g10_ranges_are_ordered_and_never_go_back g11_limits_are_refused
        );
    };
    (@each $harness:path: $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::suite::$name(&$harness().await).await;
            }
        )*
    };
}

/// How long a test waits for what must come before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two of them are more than the whole; what is left of it after one is a busy machine's, which has to be back in time.
fn part_of(ttl: Span) -> Span {
    Span::from_millis(ttl.as_millis() * 3 / 5)
}

fn put(key: &str, value: &str) -> Txn {
    Txn::default().then(vec![Op::put(key, value)])
}

fn delete(key: &str) -> Txn {
    Txn::default().then(vec![Op::Delete(Keys::one(key))])
}

async fn run(store: &Arc<dyn Store>, txn: Txn) -> TxnReply {
    store.txn(txn).await.expect("transaction")
}

async fn get(store: &Arc<dyn Store>, key: &str) -> Option<KeyValue> {
    store.range(Keys::one(key)).await.expect("range").kvs.pop()
}

async fn revision(store: &Arc<dyn Store>) -> Revision {
    store.range(Keys::one("g/none")).await.expect("range").revision
}

async fn holds(store: &Arc<dyn Store>, keys: Keys, relation: Relation, subject: Subject) -> bool {
    run(store, Txn::when(vec![Compare { keys, relation, subject }])).await.succeeded
}

/// The next event; an error or the watch's end fails the test.
async fn next_event(watch: &mut WatchStream) -> WatchEvent {
    let item = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time");
    item.expect("the watch goes on").expect("an event")
}

fn summary(event: &WatchEvent) -> (Revision, Vec<String>) {
    let changes = event.changes.iter().map(|change| match change {
        Change::Put(kv) => format!("{}={}", kv.key, String::from_utf8_lossy(&kv.value)),
        Change::Delete { key } => format!("{key} gone"),
    });
    (event.revision, changes.collect())
}

async fn gone(store: &Arc<dyn Store>, lease: LeaseId) {
    let wait = async {
        loop {
            match store.keep_alive(lease).await {
                Ok(KeepAlive::Gone) => return,
                Ok(KeepAlive::Alive(_)) => panic!("lease {lease} is alive"),
                Err(error) => assert!(error.is_retryable(), "keep-alive: {error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the lease ends in time");
}

pub async fn g1_every_write_raises_the_revision_by_one(harness: &dyn Harness) {
    let store = harness.store();
    let before = revision(&store).await;
    let first = run(&store, Txn::default().then(vec![Op::put("g1/a", "1"), Op::put("g1/b", "1")])).await;
    assert_eq!(first.revision, before + 1);
    assert_eq!(get(&store, "g1/a").await.unwrap().mod_revision, before + 1);
    assert_eq!(get(&store, "g1/b").await.unwrap().mod_revision, before + 1);
    // Nothing written, nothing raised: a read, a delete that finds nothing, a failed compare, a lease.
    assert_eq!(run(&store, Txn::default().then(vec![Op::Get(Keys::one("g1/a"))])).await.revision, before + 1);
    assert_eq!(run(&store, delete("g1/none")).await.revision, before + 1);
    let failed = run(&store, Txn::when(vec![Compare::exists("g1/none")]).then(vec![Op::put("g1/c", "1")])).await;
    assert_eq!((failed.succeeded, failed.revision), (false, before + 1));
    let lease = store.grant(harness.ttl()).await.unwrap();
    assert_eq!(store.revoke(lease).await.unwrap(), before + 1);
    assert_eq!(run(&store, delete("g1/a")).await.revision, before + 2);
    assert_eq!(revision(&store).await, before + 2);
}

pub async fn g1_no_revision_is_given_twice(harness: &dyn Harness) {
    let mut last = revision(&harness.store()).await;
    for (round, stop) in [Stop::Clean, Stop::Crash, Stop::Clean].into_iter().enumerate() {
        let store = harness.store();
        let written = run(&store, put("g1/twice", &round.to_string())).await.revision;
        assert_eq!(written, last + 1);
        // Deletions alone must be remembered, too.
        last = run(&store, delete("g1/twice")).await.revision;
        drop(store);
        harness.restart(stop).await;
        assert_eq!(revision(&harness.store()).await, last);
    }
}

pub async fn g2_a_transaction_is_applied_whole_or_not_at_all(harness: &dyn Harness) {
    let store = harness.store();
    let txn = |value: &str| {
        Txn::when(vec![Compare::absent(Keys::prefix("g2/a/"))])
            .then(vec![Op::put("g2/a/1", value), Op::put("g2/a/2", value)])
            .otherwise(vec![Op::Get(Keys::prefix("g2/a/")), Op::put("g2/lost", value)])
    };
    let won = run(&store, txn("first")).await;
    assert!(won.succeeded);
    let lost = run(&store, txn("second")).await;
    assert!(!lost.succeeded);
    let kvs = lost.replies[0].clone().into_keys();
    assert_eq!(kvs.iter().map(|kv| kv.value.as_slice()).collect::<Vec<_>>(), [b"first", b"first"]);
    assert!(kvs.iter().all(|kv| kv.mod_revision == won.revision));
    assert_eq!(get(&store, "g2/lost").await.unwrap().value, b"second");
    // One false compare of many is enough.
    let compares = vec![Compare::exists("g2/lost"), Compare::value_is("g2/lost", "other")];
    assert!(!run(&store, Txn::when(compares).then(vec![Op::put("g2/no", "")])).await.succeeded);
    assert_eq!(get(&store, "g2/no").await, None);
}

pub async fn g2_reads_see_earlier_writes_of_their_list(harness: &dyn Harness) {
    let store = harness.store();
    run(&store, put("g2/r/1", "old")).await;
    let all = || Op::Get(Keys::prefix("g2/r/"));
    let ops = vec![all(), Op::put("g2/r/2", "new"), all(), Op::Delete(Keys::one("g2/r/1")), all()];
    let reply = run(&store, Txn::default().then(ops)).await;
    let keys =
        |at: usize| -> Vec<String> { reply.replies[at].clone().into_keys().into_iter().map(|kv| kv.key).collect() };
    assert_eq!(keys(0), ["g2/r/1"]);
    assert_eq!(keys(2), ["g2/r/1", "g2/r/2"]);
    assert_eq!(keys(4), ["g2/r/2"]);
    assert_eq!(reply.replies[2].clone().into_keys()[1].mod_revision, reply.revision);
}

pub async fn g2_no_key_is_written_twice(harness: &dyn Harness) {
    let store = harness.store();
    let before = run(&store, put("g2/t/a", "1")).await.revision;
    let twice = vec![Op::put("g2/t/b", "1"), Op::put("g2/t/b", "2")];
    let covered = vec![Op::put("g2/t/b", "1"), Op::Delete(Keys::prefix("g2/t/"))];
    let covering = vec![Op::Delete(Keys::prefix("g2/t/")), Op::put("g2/t/b", "1")];
    for ops in [twice, covered, covering] {
        let refused = store.txn(Txn::default().then(ops)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(revision(&store).await, before);
    // Each list is for itself, and deletes may overlap.
    let either = Txn::when(vec![Compare::exists("g2/t/a")])
        .then(vec![Op::Delete(Keys::one("g2/t/a")), Op::Delete(Keys::prefix("g2/t/"))])
        .otherwise(vec![Op::put("g2/t/a", "2")]);
    let reply = run(&store, either).await;
    assert_eq!(reply.replies, [crate::OpReply::Delete(1), crate::OpReply::Delete(0)]);
}

pub async fn g2_concurrent_compare_and_write_has_one_winner(harness: &dyn Harness) {
    const CONTENDERS: usize = 20;
    let store = harness.store();
    for round in 0..5 {
        let key = format!("g2/one/{round}");
        let tries = (0..CONTENDERS).map(|who| {
            let txn = Txn::when(vec![Compare::absent(Keys::one(&key))])
                .then(vec![Op::put(&key, who.to_string())])
                .otherwise(vec![Op::Get(Keys::one(&key))]);
            let store = Arc::clone(&store);
            async move { (who, run(&store, txn).await) }
        });
        let done = futures::future::join_all(tries).await;
        let winners: Vec<_> = done.iter().filter(|(_, reply)| reply.succeeded).collect();
        assert_eq!(winners.len(), 1);
        let (winner, won) = winners[0];
        for (_, lost) in done.iter().filter(|(_, reply)| !reply.succeeded) {
            let seen = lost.replies[0].clone().into_keys();
            assert_eq!(seen[0].value, winner.to_string().as_bytes());
            assert_eq!(seen[0].create_revision, won.revision);
        }
    }
}

pub async fn g3_an_answered_write_survives_a_crash(harness: &dyn Harness) {
    for round in 0..3 {
        let key = format!("g3/{round}");
        let written = run(&harness.store(), put(&key, "kept")).await.revision;
        let lease = harness.store().grant(harness.ttl()).await.unwrap();
        harness.restart(Stop::Crash).await;
        let store = harness.store();
        let kv = get(&store, &key).await.expect("the answered write");
        assert_eq!((kv.value.as_slice(), kv.mod_revision), (&b"kept"[..], written));
        assert!(matches!(store.keep_alive(lease).await, Ok(KeepAlive::Alive(_))));
    }
}

pub async fn g4_versions_count_from_creation(harness: &dyn Harness) {
    let store = harness.store();
    let created = run(&store, put("g4", "1")).await.revision;
    let written = run(&store, put("g4", "2")).await.revision;
    let kv = get(&store, "g4").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (created, written, 2));
    run(&store, delete("g4")).await;
    for subject in [Subject::CreateRevision(0), Subject::ModRevision(0), Subject::Version(0)] {
        assert!(holds(&store, Keys::one("g4"), Relation::Equal, subject).await);
    }
    let again = run(&store, put("g4", "3")).await.revision;
    let kv = get(&store, "g4").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (again, again, 1));
}

pub async fn g5_range_compares_hold_for_every_key(harness: &dyn Harness) {
    let store = harness.store();
    let first = run(&store, put("g5/a", "x")).await.revision;
    let second = run(&store, put("g5/b", "x")).await.revision;
    run(&store, put("g5/b", "x")).await;
    let all = || Keys::prefix("g5/");
    assert!(holds(&store, all(), Relation::Greater, Subject::CreateRevision(first - 1)).await);
    assert!(!holds(&store, all(), Relation::Greater, Subject::CreateRevision(first)).await);
    assert!(holds(&store, all(), Relation::Less, Subject::CreateRevision(second + 1)).await);
    assert!(!holds(&store, all(), Relation::Equal, Subject::Version(2)).await);
    assert!(holds(&store, all(), Relation::NotEqual, Subject::Version(3)).await);
    assert!(holds(&store, all(), Relation::Equal, Subject::Value(b"x".to_vec())).await);
    assert!(!holds(&store, all(), Relation::Equal, Subject::CreateRevision(0)).await);
    // An empty range is an absent key: its numbers are 0, and of its value nothing holds.
    let none = || Keys::prefix("g5/none/");
    assert!(holds(&store, none(), Relation::Equal, Subject::CreateRevision(0)).await);
    assert!(holds(&store, none(), Relation::Less, Subject::ModRevision(1)).await);
    assert!(!holds(&store, none(), Relation::Greater, Subject::Version(0)).await);
    for relation in [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater] {
        assert!(!holds(&store, none(), relation, Subject::Value(b"x".to_vec())).await);
        assert!(!holds(&store, none(), relation, Subject::Value(Vec::new())).await);
    }
    // What starts alike is not beneath it.
    run(&store, put("g5b", "y")).await;
    assert!(holds(&store, all(), Relation::Equal, Subject::Value(b"x".to_vec())).await);
}

pub async fn g6_keys_of_a_lease_vanish_together(harness: &dyn Harness) {
    let store = harness.store();
    let (revoked, expired) = (store.grant(harness.ttl()).await.unwrap(), store.grant(harness.ttl()).await.unwrap());
    for (name, lease) in [("r", revoked), ("e", expired)] {
        let keys = (0..3).map(|n| Op::put_leased(format!("g6/{name}/{n}"), "", lease)).collect();
        run(&store, Txn::default().then(keys)).await;
    }
    run(&store, put("g6/kept", "")).await;
    let mut watch = store.watch(Keys::prefix("g6/"), 0).await.unwrap();
    let at = store.revoke(revoked).await.unwrap();
    let event = next_event(&mut watch).await;
    assert_eq!((event.revision, event.changes.len()), (at, 3));
    assert_eq!(store.revoke(revoked).await, Err(StoreError::LeaseNotFound(revoked)));
    harness.advance(harness.ttl() + Span::from_secs(5)).await;
    let event = next_event(&mut watch).await;
    assert_eq!((event.revision, event.changes.len()), (at + 1, 3));
    gone(&store, expired).await;
    let left = store.range(Keys::prefix("g6/")).await.unwrap();
    assert_eq!(left.kvs.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), ["g6/kept"]);
}

pub async fn g6_a_kept_lease_does_not_end(harness: &dyn Harness) {
    let store = harness.store();
    let lease = store.grant(harness.ttl()).await.unwrap();
    run(&store, Txn::default().then(vec![Op::put_leased("g6/alive", "", lease)])).await;
    let part = part_of(harness.ttl());
    for _ in 0..4 {
        harness.advance(part).await;
        let kept = store.keep_alive(lease).await.unwrap();
        assert!(matches!(kept, KeepAlive::Alive(ttl) if ttl >= harness.ttl()), "{kept:?}");
        assert!(get(&store, "g6/alive").await.is_some());
    }
}

pub async fn g6_a_key_written_without_its_lease_is_detached(harness: &dyn Harness) {
    let store = harness.store();
    let (one, two) = (store.grant(harness.ttl()).await.unwrap(), store.grant(harness.ttl()).await.unwrap());
    let leased = |key: &str, lease| Txn::default().then(vec![Op::put_leased(key, "", lease)]);
    run(&store, leased("g6/d/freed", one)).await;
    run(&store, leased("g6/d/moved", one)).await;
    run(&store, leased("g6/d/deleted", one)).await;
    run(&store, put("g6/d/freed", "")).await;
    run(&store, leased("g6/d/moved", two)).await;
    run(&store, delete("g6/d/deleted")).await;
    run(&store, put("g6/d/deleted", "")).await;
    let before = revision(&store).await;
    // None of its keys is left, so nothing is written.
    assert_eq!(store.revoke(one).await.unwrap(), before);
    assert_eq!(store.range(Keys::prefix("g6/d/")).await.unwrap().kvs.len(), 3);
    assert_eq!(get(&store, "g6/d/moved").await.unwrap().lease, Some(two));
    store.revoke(two).await.unwrap();
    assert_eq!(store.range(Keys::prefix("g6/d/")).await.unwrap().kvs.len(), 2);
}

pub async fn g6_a_missing_lease_is_refused(harness: &dyn Harness) {
    let store = harness.store();
    let lease = store.grant(harness.ttl()).await.unwrap();
    store.revoke(lease).await.unwrap();
    let before = revision(&store).await;
    let refused =
        store.txn(Txn::default().then(vec![Op::put("g6/m/a", ""), Op::put_leased("g6/m/b", "", lease)])).await;
    assert_eq!(refused, Err(StoreError::LeaseNotFound(lease)));
    assert_eq!(revision(&store).await, before);
    assert_eq!(get(&store, "g6/m/a").await, None);
    assert_eq!(store.keep_alive(lease).await, Ok(KeepAlive::Gone));
    // The list that is not run is not asked for its leases.
    let other = Txn::when(vec![Compare::exists("g6/m/a")]).then(vec![Op::put_leased("g6/m/b", "", lease)]);
    assert!(!run(&store, other).await.succeeded);
}

pub async fn g7_a_restart_gives_leases_their_full_time(harness: &dyn Harness) {
    let lease = harness.store().grant(harness.ttl()).await.unwrap();
    run(&harness.store(), Txn::default().then(vec![Op::put_leased("g7", "", lease)])).await;
    let part = part_of(harness.ttl());
    for stop in [Stop::Clean, Stop::Crash] {
        harness.advance(part).await;
        harness.restart(stop).await;
    }
    harness.advance(part).await;
    let store = harness.store();
    assert!(get(&store, "g7").await.is_some());
    assert!(matches!(store.keep_alive(lease).await, Ok(KeepAlive::Alive(_))));
    harness.advance(harness.ttl() + Span::from_secs(5)).await;
    gone(&store, lease).await;
    assert_eq!(get(&store, "g7").await, None);
}

pub async fn g8_a_watch_tells_each_change_once_in_order(harness: &dyn Harness) {
    let store = harness.store();
    let mut watch = store.watch(Keys::prefix("g8/w/"), 0).await.unwrap();
    let mut one = store.watch(Keys::one("g8/w/b"), 0).await.unwrap();
    let both = vec![Op::put("g8/w/a", "1"), Op::put("g8/x", "1"), Op::put("g8/w/b", "1")];
    let first = run(&store, Txn::default().then(both)).await.revision;
    run(&store, put("g8/wx", "not beneath")).await;
    let second = run(&store, delete("g8/w/a")).await.revision;
    let third = run(&store, put("g8/w/b", "2")).await.revision;
    assert_eq!(summary(&next_event(&mut watch).await), (first, vec!["g8/w/a=1".into(), "g8/w/b=1".into()]));
    assert_eq!(summary(&next_event(&mut watch).await), (second, vec!["g8/w/a gone".into()]));
    assert_eq!(summary(&next_event(&mut watch).await), (third, vec!["g8/w/b=2".into()]));
    assert_eq!(next_event(&mut one).await.revision, first);
    let event = next_event(&mut one).await;
    let Change::Put(kv) = &event.changes[0] else { panic!("{event:?}") };
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (first, third, 2));
}

pub async fn g8_a_watch_from_the_past_catches_up(harness: &dyn Harness) {
    const WRITES: u64 = 50;
    let store = harness.store();
    let first = run(&store, put("g8/p", "0")).await.revision;
    for n in 1..WRITES {
        run(&store, put("g8/p", &n.to_string())).await;
    }
    let mut watch = store.watch(Keys::one("g8/p"), first + 10).await.unwrap();
    let mut ahead = store.watch(Keys::one("g8/p"), first + WRITES + 2).await.unwrap();
    for n in WRITES..WRITES + 5 {
        run(&store, put("g8/p", &n.to_string())).await;
    }
    for n in 10..WRITES + 5 {
        assert_eq!(summary(&next_event(&mut watch).await), (first + n, vec![format!("g8/p={n}")]));
    }
    // A watch from the future keeps still until then.
    assert_eq!(next_event(&mut ahead).await.revision, first + WRITES + 2);
}

pub async fn g8_a_compacted_past_is_told(harness: &dyn Harness) {
    let store = harness.store();
    let first = run(&store, put("g8/c", "1")).await.revision;
    run(&store, put("g8/c", "2")).await;
    let last = run(&store, put("g8/c", "3")).await.revision;
    assert!(matches!(store.compact(last + 1).await, Err(StoreError::Invalid(_))));
    store.compact(last).await.unwrap();
    store.compact(first).await.unwrap();
    let mut watch = store.watch(Keys::one("g8/c"), first).await.unwrap();
    let item = tokio::time::timeout(PATIENCE, watch.next()).await.expect("told in time");
    assert_eq!(item, Some(Err(StoreError::Compacted { oldest: last })));
    assert_eq!(watch.next().await, None);
    let mut watch = store.watch(Keys::one("g8/c"), last).await.unwrap();
    assert_eq!(next_event(&mut watch).await.revision, last);
    // The present is not touched.
    assert_eq!(get(&store, "g8/c").await.unwrap().version, 3);
}

pub async fn g8_a_watch_after_a_restart_skips_nothing(harness: &dyn Harness) {
    let first = run(&harness.store(), put("g8/s", "1")).await.revision;
    let mut open = harness.store().watch(Keys::one("g8/s"), 0).await.unwrap();
    harness.restart(Stop::Crash).await;
    let store = harness.store();
    let second = run(&store, put("g8/s", "2")).await.revision;
    assert_eq!(second, first + 1);
    let mut watch = store.watch(Keys::one("g8/s"), first).await.unwrap();
    match tokio::time::timeout(PATIENCE, watch.next()).await.expect("told in time") {
        Some(Ok(event)) => {
            assert_eq!(event.revision, first);
            assert_eq!(next_event(&mut watch).await.revision, second);
        }
        Some(Err(StoreError::Compacted { oldest })) => assert!(oldest > first),
        other => panic!("{other:?}"),
    }
    // One opened before may have ended, or goes on; it may not skip.
    if let Ok(Some(Ok(event))) = tokio::time::timeout(PATIENCE, open.next()).await {
        assert_eq!(event.revision, second);
    }
}

pub async fn g9_a_refused_request_changes_nothing(harness: &dyn Harness) {
    let store = harness.store();
    let before = revision(&store).await;
    let never = LeaseId(i64::MAX);
    let requests = [
        Txn::default().then(vec![Op::put("g9", "1"), Op::put("", "2")]),
        Txn::default().then(vec![Op::put("g9", "1"), Op::put_leased("g9/b", "2", never)]),
        Txn::default().then(vec![Op::put("g9", "1"), Op::put("g9", "2")]),
    ];
    for request in requests {
        let error = store.txn(request).await.expect_err("refused");
        assert!(!error.is_unknown() && !error.is_retryable(), "{error}");
    }
    assert_eq!(store.revoke(never).await, Err(StoreError::LeaseNotFound(never)));
    assert_eq!(store.keep_alive(never).await, Ok(KeepAlive::Gone));
    assert_eq!((revision(&store).await, get(&store, "g9").await), (before, None));
}

pub async fn g10_ranges_are_ordered_and_never_go_back(harness: &dyn Harness) {
    let store = harness.store();
    let keys = ["g10/a", "g10/a/b", "g10/a0", "g10/ab", "g10/é"];
    for key in keys.iter().rev() {
        run(&store, put(key, "")).await;
    }
    let all = store.range(Keys::prefix("g10/")).await.unwrap();
    assert_eq!(all.kvs.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), keys);
    assert_eq!(store.range(Keys::prefix("g10/a/")).await.unwrap().kvs.len(), 1);
    let writing = async {
        for n in 0..50 {
            let written = run(&store, put("g10/n", &n.to_string())).await.revision;
            // What was answered is seen.
            assert!(store.range(Keys::one("g10/n")).await.unwrap().revision >= written);
        }
    };
    let reading = async {
        let mut last = 0;
        for _ in 0..500 {
            let now = store.range(Keys::one("g10/n")).await.unwrap();
            assert!(now.revision >= last);
            assert!(now.kvs.iter().all(|kv| kv.mod_revision <= now.revision));
            last = now.revision;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writing, reading);
}

pub async fn g11_limits_are_refused(harness: &dyn Harness) {
    let store = harness.store();
    let before = revision(&store).await;
    let compare = Compare::absent(Keys::one("g11/none"));
    let read = Op::Get(Keys::one("g11/none"));
    let big = |key: &str| Op::put(key, vec![7; VALUE_BYTES_MAX]);
    let refused = [
        Txn::when(vec![compare.clone(); TXN_OPS_MAX + 1]),
        Txn::default().then(vec![read.clone(); TXN_OPS_MAX + 1]),
        Txn::default().otherwise(vec![read.clone(); TXN_OPS_MAX + 1]),
        Txn::default().then(vec![Op::put("g11/v", vec![7; VALUE_BYTES_MAX + 1])]),
        Txn::default().then(vec![Op::put("k".repeat(KEY_BYTES_MAX + 1), "")]),
        Txn::default().then(vec![Op::Get(Keys::one(""))]),
        Txn::default().then(vec![big("g11/1"), Op::put("g11/2", vec![7; TXN_BYTES_MAX - VALUE_BYTES_MAX])]),
    ];
    for request in refused {
        let reply = store.txn(request).await;
        assert!(matches!(reply, Err(StoreError::Invalid(_))), "{reply:?}");
    }
    assert_eq!(revision(&store).await, before);
    let most = Txn::when(vec![compare; TXN_OPS_MAX]).then(vec![read; TXN_OPS_MAX]).otherwise(vec![big("g11/v")]);
    assert!(run(&store, most).await.succeeded);
    run(&store, Txn::default().then(vec![big("g11/v")])).await;
    assert_eq!(get(&store, "g11/v").await.unwrap().value.len(), VALUE_BYTES_MAX);
    run(&store, put(&"k".repeat(KEY_BYTES_MAX), "")).await;
    run(&store, Txn::default().then(vec![Op::Delete(Keys::one("k".repeat(KEY_BYTES_MAX)))])).await;
    assert!(store.range(Keys::prefix("")).await.is_ok());
}

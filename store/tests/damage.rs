//! A log that is not as it was written: cut at every byte, each bit turned, a crash in the middle of its last write.
//! What counts: a store that opens serves all that was answered; every other is kept aside and refused.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Embedded, SmallDisk};
use rr_core::time::Span;
use rr_store::suite::ManualClock;
use rr_store::{EmbeddedStore, KeyValue, Keys, Op, OpenError, Options, Revision, Store, Txn};

type Snapshot = (Revision, Vec<KeyValue>);

async fn snapshot(store: &EmbeddedStore) -> Snapshot {
    let all = store.range(Keys::prefix("")).await.unwrap();
    (all.revision, all.kvs)
}

async fn put(store: &EmbeddedStore, key: &str, value: Vec<u8>) {
    store.txn(Txn::default().then(vec![Op::put(key, value)])).await.unwrap();
}

/// A log with some of everything, its state, and where its last frame ends.
async fn written_log() -> (Vec<u8>, Snapshot, usize) {
    let harness = Embedded::new(Options::default());
    let store = harness.embedded();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    put(&store, "a", vec![0; 40]).await;
    store.txn(Txn::default().then(vec![Op::put_leased("b", "2", lease), Op::put("c", "3")])).await.unwrap();
    store.txn(Txn::default().then(vec![Op::Delete(Keys::one("c"))])).await.unwrap();
    // The last byte written is no zero, so the end can be found.
    put(&store, "d", b"last".to_vec()).await;
    let state = snapshot(&store).await;
    drop(store);
    harness.stop();
    let log = fs::read(harness.log()).unwrap();
    let end = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (log, state, end)
}

/// Opens a store on these bytes alone.
fn open(dir: &Path, log: &[u8], accept_fresh: bool) -> Result<Arc<EmbeddedStore>, OpenError> {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("store.log"), log).unwrap();
    let options = Options { accept_fresh, disk: SmallDisk::lazy(), ..Options::default() };
    EmbeddedStore::open(dir, options, Arc::new(ManualClock::default()))
}

/// Whole and served, or refused and kept as it was found.
async fn check(dir: &Path, log: &[u8], state: &Snapshot, what: &str) -> bool {
    let served = match open(dir, log, false) {
        Ok(store) => {
            assert_eq!(&snapshot(&store).await, state, "{what}: a wrong state was served");
            assert!(!store.fresh(), "{what}");
            true
        }
        Err(OpenError::Damaged { kept_at, .. }) => {
            assert!(fs::read(kept_at).unwrap() == log, "{what}: the damaged log was changed");
            assert!(!dir.join("store.log").exists(), "{what}");
            false
        }
        Err(OpenError::Newer { .. }) => {
            assert!(fs::read(dir.join("store.log")).unwrap() == log, "{what}: a newer log was changed");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    };
    fs::remove_dir_all(dir).unwrap();
    served
}

#[tokio::test]
async fn a_log_cut_at_any_byte_is_never_served_with_less() {
    let (log, state, end) = written_log().await;
    let root = tempfile::tempdir().unwrap();
    for len in (0..end + 64).chain([log.len() - 1]) {
        let served = check(&root.path().join("s"), &log[..len], &state, &format!("cut at {len} of {end}")).await;
        // Only zeros are missing, and a blank header is left behind the last frame.
        assert_eq!(served, len >= end.next_multiple_of(32) + 32, "cut at {len} of {end}");
    }
}

#[tokio::test]
async fn a_log_with_any_bit_turned_is_never_served_wrong() {
    let (log, state, end) = written_log().await;
    let root = tempfile::tempdir().unwrap();
    for at in 0..end + 64 {
        // One bit of each byte of header and snapshot, every bit of what was written last.
        let bits: Vec<_> = if at + 200 < end { vec![(at * 5 + 3) % 8] } else { (0..8).collect() };
        for bit in bits {
            let mut turned = log.clone();
            turned[at] ^= 1 << bit;
            let served = check(&root.path().join("s"), &turned, &state, &format!("bit {bit} of byte {at}")).await;
            // What stands where the next frame's header goes may have been one.
            assert_eq!(served, at >= end.next_multiple_of(32) + 32, "bit {bit} of byte {at}, end {end}");
        }
    }
}

/// A store whose last write fills several sectors; its log before and after that write.
async fn last_write_over_sectors() -> (Vec<u8>, Vec<u8>, Snapshot) {
    let harness = Embedded::new(Options::default());
    let store = harness.embedded();
    put(&store, "a", b"1".to_vec()).await;
    let state = snapshot(&store).await;
    let mut before = fs::read(harness.log()).unwrap();
    put(&store, "b", vec![0; 2_500]).await;
    let after = fs::read(harness.log()).unwrap();
    // The space ahead grows on its own time; what is not there yet is as good as zeros.
    before.resize(before.len().max(after.len()), 0);
    (before, after, state)
}

#[tokio::test]
async fn a_last_write_of_which_some_sectors_never_arrived_is_dropped() {
    let (before, after, state) = last_write_over_sectors().await;
    let changed: Vec<_> =
        (0..after.len() / 512).filter(|n| before[n * 512..][..512] != after[n * 512..][..512]).collect();
    assert!(changed.len() >= 5, "{changed:?}");
    let root = tempfile::tempdir().unwrap();
    for missing in 1..1_u32 << changed.len() {
        let mut log = after.clone();
        for (bit, sector) in changed.iter().enumerate().filter(|(bit, _)| missing & (1 << bit) != 0) {
            let _ = bit;
            let range = sector * 512..(sector + 1) * 512;
            log[range.clone()].copy_from_slice(&before[range]);
        }
        let what = format!("missing sectors {missing:b}");
        assert!(check(&root.path().join("s"), &log, &state, &what).await, "{what}");
    }
}

#[tokio::test]
async fn after_a_dropped_write_the_log_goes_on() {
    let (before, mut after, state) = last_write_over_sectors().await;
    let cut = before.iter().rposition(|byte| *byte != 0).unwrap() + 1_000;
    after[cut / 512 * 512..].fill(0);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &after, false).unwrap();
    assert_eq!(snapshot(&store).await, state);
    put(&store, "c", b"3".to_vec()).await;
    let state = snapshot(&store).await;
    drop(store);
    let store = EmbeddedStore::open(dir.path(), Options::default(), Arc::new(ManualClock::default())).unwrap();
    assert_eq!(snapshot(&store).await, state);
}

#[tokio::test]
async fn a_sector_lost_in_the_middle_is_damage() {
    let (_, _, _) = written_log().await;
    let (_, after, _) = last_write_over_sectors().await;
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("a"), &after, false).unwrap();
    put(&store, "c", b"3".to_vec()).await;
    drop(store);
    let mut log = fs::read(root.path().join("a/store.log")).unwrap();
    log[1_536..2_048].fill(0);
    let refused = open(&root.path().join("b"), &log, false);
    assert!(matches!(refused, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_damaged_store_starts_empty_only_when_asked_and_is_never_overwritten() {
    let (mut log, _, end) = written_log().await;
    log[end - 20] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    let kept = |n: u32| -> PathBuf { dir.path().join(format!("store.log.damaged-{n}")) };
    let Err(OpenError::Damaged { kept_at, .. }) = open(dir.path(), &log, false) else { panic!("served") };
    assert_eq!(kept_at, kept(1));
    // A second start does not take the missing file for a new store.
    let options = |accept_fresh| Options { accept_fresh, ..Options::default() };
    let clock = Arc::new(ManualClock::default());
    let again = EmbeddedStore::open(dir.path(), options(false), clock.clone());
    assert!(matches!(again, Err(OpenError::Damaged { kept_at, .. }) if kept_at == kept(1)));
    let store = EmbeddedStore::open(dir.path(), options(true), clock.clone()).unwrap();
    assert!(store.fresh());
    put(&store, "new", Vec::new()).await;
    drop(store);
    let store = EmbeddedStore::open(dir.path(), options(false), clock).unwrap();
    assert!(!store.fresh());
    assert_eq!(snapshot(&store).await.1.len(), 1);
    drop(store);
    assert!(matches!(open(dir.path(), &log, false), Err(OpenError::Damaged { kept_at, .. }) if kept_at == kept(2)));
    assert!(fs::read(kept(1)).unwrap() == log);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let (mut log, _, _) = written_log().await;
    log[8] = 2;
    let dir = tempfile::tempdir().unwrap();
    let refused = open(dir.path(), &log, true);
    assert!(matches!(refused, Err(OpenError::Newer { found: 2, known: 1 })));
    assert!(fs::read(dir.path().join("store.log")).unwrap() == log);
}

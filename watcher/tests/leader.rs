//! What the leader does, on a real store: two sessions that wait for each other are untied, a fleet at its cap is closed to
//! new locks. Only the leader does it.

use std::sync::Arc;
use std::time::Duration;

use rr_core::id::{Entropy, FleetName, HostId, RepoId};
use rr_core::limits::{LOCKS_PER_FLEET_MAX, Timing};
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{Clock, Span};
use rr_fleet::{
    Answer, Fleet, FleetError, Leader, Registered, Released, Request, Session, SessionRecord, WaitEnd, Waiter,
};
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::faulty::FaultyStore;
use rr_store::{EmbeddedStore, Keys, Op, Options, Store, Txn};
use tokio_util::sync::CancellationToken;

/// Far above what any step needs; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(60);

struct House {
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Options::default(), Arc::new(BootClock)).unwrap();
        Self { store, _folder: folder }
    }

    /// A handle as another program would have it.
    async fn fleet(&self, timing: Timing) -> Fleet {
        fleet_on(Arc::clone(&self.store), timing).await
    }
}

async fn fleet_on(store: Arc<dyn Store>, timing: Timing) -> Fleet {
    let name = FleetName::default();
    Fleet::open(store, &name, Arc::new(BootClock), Arc::new(OsEntropy), timing).await.unwrap()
}

fn host() -> HostId {
    HostId::from_random(OsEntropy.bits())
}

/// A leader's lease that runs out soon; everything else as usual.
fn hasty() -> Timing {
    Timing {
        lease: Span::from_secs(1),
        keep_alive: Span::from_millis(100),
        cut_off: Span::from_millis(500),
        ..Timing::default()
    }
}

async fn session(fleet: &Fleet, name: &str) -> Session {
    let record = SessionRecord {
        host: host(),
        host_name: "test".to_owned(),
        boot: "boot".to_owned(),
        pid: 1,
        start: 1,
        agent: "test".to_owned(),
        agent_session: name.to_owned(),
        workspace: format!("/{name}"),
        since_unix_ms: 0,
        task: String::new(),
        warning: String::new(),
    };
    match fleet.register(&record, "fingerprint").await.unwrap() {
        Registered::New(session) => session,
        Registered::SlotTaken { .. } => panic!("a new session's slot is free"),
    }
}

fn request(path: &str) -> Request {
    let scope = Scope::Path(RepoPath::parse(path.as_bytes()).unwrap());
    Request {
        repo: RepoId::parse("0123456789abcdef").unwrap(),
        claims: vec![Claim::exclusive(scope)],
        doing: "test".to_owned(),
        now_unix_ms: 0,
    }
}

/// Each of two sessions holds one file and waits for the other's.
struct Ring {
    older: (Session, Waiter),
    younger: (Session, Waiter),
    held_by_younger: rr_fleet::GrantedLock,
}

async fn ring(fleet: &Fleet) -> Ring {
    let (one, two) = (session(fleet, "one").await, session(fleet, "two").await);
    hold(fleet, &one, "a").await;
    let held_by_younger = hold(fleet, &two, "b").await;
    let older = queue(fleet, &one, "b").await;
    let younger = queue(fleet, &two, "a").await;
    Ring { older: (one, older), younger: (two, younger), held_by_younger }
}

async fn hold(fleet: &Fleet, session: &Session, path: &str) -> rr_fleet::GrantedLock {
    match fleet.request(session, request(path)).await.unwrap() {
        Answer::Granted(grant) => grant.locks.into_iter().next().unwrap(),
        other => panic!("{path} is free, got {other:?}"),
    }
}

async fn queue(fleet: &Fleet, session: &Session, path: &str) -> Waiter {
    match fleet.request(session, request(path)).await.unwrap() {
        Answer::Queued(waiter, _) => waiter,
        other => panic!("{path} is held, got {other:?}"),
    }
}

async fn end_of(fleet: &Fleet, (session, waiter): (Session, Waiter)) -> WaitEnd {
    let until = BootClock.now() + Span::from_secs(LONG.as_secs());
    fleet.wait(&session, waiter, until).await.unwrap()
}

async fn waiters(fleet: &Fleet) -> usize {
    fleet.overview().await.unwrap().waiters.len()
}

/// Campaigns until the office is won.
async fn elected(fleet: &Fleet) -> Leader {
    let win = async {
        loop {
            if let Some(leader) = fleet.campaign("watcher", &host()).await.unwrap() {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, win).await.expect("the office becomes free")
}

#[tokio::test]
async fn a_ring_of_two_is_broken_by_the_acting_leader_and_the_elder_gets_its_lock() {
    let house = House::new();
    let fleet = house.fleet(Timing::default()).await;
    let ring = ring(&fleet).await;
    let shutdown = CancellationToken::new();
    let watcher = tokio::spawn(rr_watcher::app::run(fleet.clone(), host(), shutdown.clone()));

    assert_eq!(end_of(&fleet, ring.younger).await, WaitEnd::Ring);
    assert_eq!(waiters(&fleet).await, 1, "the elder still waits");
    assert_eq!(fleet.release(&ring.held_by_younger).await.unwrap(), Released::Yes);
    assert!(matches!(end_of(&fleet, ring.older).await, WaitEnd::Granted(_)));

    shutdown.cancel();
    watcher.await.unwrap();
    assert!(fleet.campaign("watcher", &host()).await.unwrap().is_some(), "a watcher that stops leaves its office free");
}

#[tokio::test]
async fn a_frozen_leaders_late_write_is_refused() {
    let house = House::new();
    let (frozen_fleet, fleet) = (house.fleet(hasty()).await, house.fleet(Timing::default()).await);
    let frozen = elected(&frozen_fleet).await;
    let _ring = ring(&fleet).await;

    // It is not renewed, so its lease runs out and another one is elected.
    let acting = elected(&fleet).await;
    assert_eq!(frozen_fleet.break_rings(&frozen).await.unwrap(), []);
    assert!(!frozen_fleet.keep_leading(&frozen).await.unwrap());
    assert_eq!(waiters(&fleet).await, 2, "nobody was refused");

    assert_eq!(fleet.break_rings(&acting).await.unwrap().len(), 1);
    assert_eq!(waiters(&fleet).await, 1);
}

#[tokio::test]
async fn a_watcher_that_lost_its_office_while_cut_off_leads_again_afterwards() {
    let house = House::new();
    let line = FaultyStore::new(Arc::clone(&house.store));
    let own: Arc<dyn Store> = line.clone();
    let watching = fleet_on(own, hasty()).await;
    let fleet = house.fleet(Timing::default()).await;
    let shutdown = CancellationToken::new();
    let watcher = tokio::spawn(rr_watcher::app::run(watching, host(), shutdown.clone()));
    let first = ring(&fleet).await;
    assert_eq!(end_of(&fleet, first.younger).await, WaitEnd::Ring, "it leads");

    line.cut_off(true);
    let interim = elected(&fleet).await;
    line.cut_off(false);
    fleet.resign(&interim).await;

    let again = async {
        let (one, two) = (session(&fleet, "three").await, session(&fleet, "four").await);
        hold(&fleet, &one, "c").await;
        hold(&fleet, &two, "d").await;
        let _older = queue(&fleet, &one, "d").await;
        let younger = queue(&fleet, &two, "c").await;
        end_of(&fleet, (two, younger)).await
    };
    assert_eq!(again.await, WaitEnd::Ring, "it leads again");
    shutdown.cancel();
    watcher.await.unwrap();
}

/// Holders as many sessions would have them, written straight to the store: asking for each would take minutes.
async fn fill(store: &Arc<dyn Store>, like: &str, count: usize) {
    let (place, _) = like.rsplit_once("/@/").unwrap();
    let value = store.range(Keys::one(like)).await.unwrap().kvs.remove(0).value;
    let sid = rr_core::id::SessionId::from_random([9; 16]);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(rr_store::TXN_OPS_MAX) {
        let puts = chunk.iter().map(|n| Op::put(format!("{place}/{n}/@/{sid}.{n}"), value.clone()));
        store.txn(Txn::default().then(puts.collect())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_at_its_cap_is_closed_to_new_locks_until_some_are_gone() {
    let house = House::new();
    let fleet = house.fleet(Timing::default()).await;
    let session = session(&fleet, "one").await;
    let Answer::Granted(grant) = fleet.request(&session, request("a")).await.unwrap() else { panic!("free") };
    let key = &grant.locks[0].key;
    let (shutdown, runner) = (CancellationToken::new(), fleet.clone());
    let running = tokio::spawn(rr_watcher::app::run(runner, host(), shutdown.clone()));
    fill(&house.store, key, LOCKS_PER_FLEET_MAX - 1).await;
    let closed = async |wanted: bool| {
        let reached = async {
            while fleet.is_closed().await.unwrap() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, reached).await.expect("in time");
    };
    closed(true).await;
    assert!(matches!(fleet.request(&session, request("b")).await, Err(FleetError::Full { .. })));
    let (place, _) = key.rsplit_once("@/").unwrap();
    house.store.txn(Txn::default().then(vec![Op::Delete(Keys::prefix(format!("{place}1")))])).await.unwrap();
    closed(false).await;
    assert!(matches!(fleet.request(&session, request("b")).await.unwrap(), Answer::Granted(_)));
    shutdown.cancel();
    running.await.unwrap();
}

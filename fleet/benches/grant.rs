//! What the protocol adds to the store. A lock granted by `Fleet::request`, against one raw transaction of the same size
//! on the same store, in turns, from one caller to many; and how many transactions a release costs when thousands wait
//! for the same file (H35). One line a figure, with its bar. It judges by ratios and counts: absolute times are this disk's.
//! A word on the command line runs only the parts whose name holds it: `grant`, `handover_1000`, `handover_10000`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use rr_core::id::{Entropy, FleetName, HostId, RepoId};
use rr_core::limits::{Timing, WAIT_MAX};
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{BootTime, Clock};
use rr_fleet::{Answer, Fleet, Grant, Registered, Request, Session, SessionRecord, WaitEnd};
use rr_store::{Change, Compare, EmbeddedStore, Keys, LeaseId, Op, Options, Store, Txn};
use tokio::sync::{Barrier, mpsc};

/// From one agent alone to five times the fifty that the design speaks of.
const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Locks a caller takes before its turn is over.
const BURST: usize = 10;
/// Enough for a 99th percentile of twenty values.
const SAMPLES_MIN: usize = 2_000;
const TURNS_MIN: usize = 8;
const P50_MAX: f64 = 1.2;
const P99_MAX: f64 = 1.5;

/// As H35 has it.
const WAITERS: usize = 1_000;
/// Only when asked for by its name: each waiter reads all others as it comes, so that filling this queue takes minutes.
const WAITERS_MANY: usize = 10_000;
const HAND_OVERS: u32 = 100;
/// The release itself, and the transaction that turns the next entry into a lock.
const TRANSACTIONS_MAX: f64 = 2.0;
/// Requests under way at once while the queue is filled.
const FILLERS: usize = 64;

/// Stands still, so that no lease runs out however long the queue takes to fill.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> BootTime {
        BootTime::from_millis(1)
    }
}

struct Random;

impl Entropy for Random {
    fn bits(&self) -> [u8; 16] {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has randomness");
        bits
    }
}

/// One store and the fleet in it.
#[derive(Clone)]
struct Place {
    store: Arc<EmbeddedStore>,
    fleet: Fleet,
}

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start the runtime");
    if wanted("grant") {
        for callers in CALLERS {
            in_a_store(&runtime, |place| grants(place, callers));
        }
    }
    if wanted("handover_1000") {
        in_a_store(&runtime, |place| hand_overs(place, WAITERS));
    }
    if only.as_deref() == Some("handover_10000") {
        in_a_store(&runtime, |place| hand_overs(place, WAITERS_MANY));
    }
    runtime.shutdown_background();
}

fn in_a_store<Done: Future<Output = ()>>(runtime: &tokio::runtime::Runtime, run: impl FnOnce(Place) -> Done) {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("rr-fleet-bench-{}", std::process::id()));
    let place = runtime.block_on(open(&dir));
    runtime.block_on(run(place));
    std::fs::remove_dir_all(&dir).expect("remove the bench's folder");
}

async fn open(dir: &Path) -> Place {
    let clock: Arc<dyn Clock> = Arc::new(Standing);
    let store = EmbeddedStore::open(dir, Options::default(), clock.clone()).expect("open the store");
    let name = FleetName::default();
    let fleet = Fleet::open(store.clone(), &name, clock, Arc::new(Random), Timing::default()).await;
    Place { fleet: fleet.expect("open the fleet"), store }
}

impl Place {
    async fn session(&self, number: usize) -> Session {
        let record = SessionRecord {
            host: HostId::from_random([1; 16]),
            host_name: "bench".into(),
            boot: "0".into(),
            pid: 1,
            start: 1,
            agent: "claude".into(),
            agent_session: format!("bench-{number}"),
            workspace: "/home/u/p".into(),
            since_unix_ms: 0,
            task: String::new(),
            warning: String::new(),
        };
        match self.fleet.register(&record, "local").await.expect("register") {
            Registered::New(session) => session,
            Registered::SlotTaken { .. } => unreachable!("every session has a number of its own"),
        }
    }

    async fn sessions(&self, count: usize) -> Vec<Session> {
        stream::iter(0..count).map(|number| self.session(number)).buffered(FILLERS).collect().await
    }

    async fn grant(&self, session: &Session, file: &str) -> Grant {
        match self.fleet.request(session, request(file)).await.expect("ask for a lock") {
            Answer::Granted(grant) => grant,
            other => unreachable!("nobody else wants {file}: {other:?}"),
        }
    }

    async fn release(&self, grant: &Grant) {
        for lock in &grant.locks {
            self.fleet.release(lock).await.expect("release");
        }
    }
}

fn request(file: &str) -> Request {
    let path = RepoPath::parse(file.as_bytes()).expect("a legal path");
    Request {
        repo: RepoId::parse("0123456789abcdef").expect("legal"),
        claims: vec![Claim::exclusive(Scope::Path(path))],
        doing: "Edit".into(),
        now_unix_ms: 1_700_000_000_000,
    }
}

/// All callers at once take locks, then all at once do raw transactions, and so on in turns.
async fn grants(place: Place, callers: usize) {
    let raw = Arc::new(Raw::like_a_grant(&place).await);
    let together = Arc::new(Barrier::new(callers));
    let sessions = place.sessions(callers).await;
    let run = |(number, session)| {
        let caller = Caller { place: place.clone(), raw: raw.clone(), together: together.clone(), number, session };
        tokio::spawn(caller.run(TURNS_MIN.max(SAMPLES_MIN / (callers * BURST))))
    };
    let tasks: Vec<_> = sessions.into_iter().enumerate().map(run).collect();
    let (mut locks, mut raws) = (Vec::new(), Vec::new());
    for task in tasks {
        let (lock, raw) = task.await.expect("a caller");
        locks.extend(lock);
        raws.extend(raw);
    }
    let name = format!("fleet.grant_{callers}");
    ratio(&format!("{name}.p50_us"), percentile(&mut locks, 50), percentile(&mut raws, 50), P50_MAX);
    ratio(&format!("{name}.p99_us"), percentile(&mut locks, 99), percentile(&mut raws, 99), P99_MAX);
}

struct Caller {
    place: Place,
    raw: Arc<Raw>,
    together: Arc<Barrier>,
    number: usize,
    session: Session,
}

impl Caller {
    async fn run(self, turns: usize) -> (Vec<Duration>, Vec<Duration>) {
        let (mut locks, mut raws) = (Vec::new(), Vec::new());
        // The first turn only warms up.
        for turn in 0..=turns {
            self.together.wait().await;
            let mut held = Vec::new();
            for n in 0..BURST {
                let file = format!("src/c{:04}/f{n:02}.rs", self.number);
                let start = Instant::now();
                held.push(self.place.grant(&self.session, &file).await);
                locks.push(start.elapsed());
            }
            self.together.wait().await;
            for n in 0..BURST {
                let start = Instant::now();
                // Whoever sends a transaction puts its keys together first.
                let txn = self.raw.txn(&self.name(n), self.session.lease);
                assert!(self.place.store.txn(txn).await.expect("commit").succeeded);
                raws.push(start.elapsed());
            }
            self.together.wait().await;
            for grant in &held {
                self.place.release(grant).await;
            }
            for n in 0..BURST {
                self.place.store.txn(self.raw.undo(&self.name(n))).await.expect("clear");
            }
            if turn == 0 {
                locks.clear();
                raws.clear();
            }
        }
        (locks, raws)
    }

    fn name(&self, n: usize) -> String {
        format!("{:04}/{n:02}", self.number)
    }
}

/// A transaction with as many compares, reads and writes as a grant has, its keys and values as long.
struct Raw {
    compares: usize,
    reads: usize,
    /// Length of the key, the value, and whether the key goes with the session's lease.
    puts: Vec<(usize, Vec<u8>, bool)>,
}

impl Raw {
    /// Takes the writes from the store's own history of one grant.
    async fn like_a_grant(place: &Place) -> Self {
        let session = place.session(usize::MAX).await;
        let grant = place.grant(&session, "src/c0000/f00.rs").await;
        let mut history = place.store.watch(Keys::prefix(""), grant.revision).await.expect("watch");
        let event = history.next().await.expect("an event").expect("known");
        let put = |change| match change {
            Change::Put(kv) => (kv.key.len(), kv.value, kv.lease.is_some()),
            Change::Delete { key } => unreachable!("a grant deletes nothing, not even {key}"),
        };
        let puts = event.changes.into_iter().map(put).collect();
        place.release(&grant).await;
        // The root, two folders and the file: three ancestors in two trees, two ranges, and five guards; the marks of all.
        Self { compares: 2 * 3 + 2 + 5, reads: 3 + 1, puts }
    }

    fn txn(&self, name: &str, lease: LeaseId) -> Txn {
        let len = self.puts.first().map_or(0, |put| put.0);
        let compares = (0..self.compares).map(|n| Compare::absent(Keys::prefix(long(name, n, len)))).collect();
        let reads = (0..self.reads).map(|n| Op::Get(Keys::prefix(long(name, n, len))));
        let put = |(n, (len, value, leased)): (usize, &(usize, Vec<u8>, bool))| Op::Put {
            key: long(name, n, *len),
            value: value.clone(),
            lease: leased.then_some(lease),
        };
        Txn::when(compares).then(reads.chain(self.puts.iter().enumerate().map(put)).collect())
    }

    /// Deletes what the transaction of this name wrote.
    fn undo(&self, name: &str) -> Txn {
        let delete = |(n, (len, ..)): (usize, &(usize, Vec<u8>, bool))| Op::Delete(Keys::one(long(name, n, *len)));
        Txn::default().then(self.puts.iter().enumerate().map(delete).collect())
    }
}

/// A key of this length; as with a fleet's keys, what tells two apart stands near the end.
fn long(name: &str, n: usize, len: usize) -> String {
    let tail = format!("/{name}/{n}");
    format!("raw{tail:0>width$}", width = len.saturating_sub(3))
}

/// So many sessions wait for one file; it is released and handed on, again and again.
async fn hand_overs(place: Place, waiters: usize) {
    let mut sessions = place.sessions(waiters + 1).await;
    let mut held = place.grant(&sessions.remove(0), "src/wanted.rs").await;
    let (granted, mut next) = mpsc::channel(1);
    let start = Instant::now();
    let queued = stream::iter(sessions).map(|session| queue_up(&place, session, granted.clone()));
    queued.buffer_unordered(FILLERS).collect::<()>().await;
    let took = start.elapsed();
    println!("fleet.queue.waiters={waiters} filled_ms={}", took.as_millis());

    let before = place.store.stats().transactions;
    let mut times = Vec::new();
    for _ in 0..HAND_OVERS {
        let start = Instant::now();
        place.release(&held).await;
        held = next.recv().await.expect("somebody waits");
        times.push(start.elapsed());
    }
    let used = place.store.stats().transactions - before;
    #[allow(clippy::cast_precision_loss)] // a few hundred
    let each = used as f64 / f64::from(HAND_OVERS);
    let p50 = percentile(&mut times, 50).as_micros();
    println!(
        "fleet.handover.transactions={each:.2} waiters={waiters} bar={TRANSACTIONS_MAX} {} p50_us={p50}",
        verdict(each, TRANSACTIONS_MAX)
    );
}

/// Takes a place in the queue, and leaves the waiting to a task of its own.
async fn queue_up(place: &Place, session: Session, granted: mpsc::Sender<Grant>) {
    let waiter = match place.fleet.request(&session, request("src/wanted.rs")).await.expect("ask for a lock") {
        Answer::Queued(waiter, _) => waiter,
        other => unreachable!("the file is held: {other:?}"),
    };
    let (fleet, until) = (place.fleet.clone(), Standing.now() + WAIT_MAX);
    tokio::spawn(async move {
        if let Ok(WaitEnd::Granted(grant)) = fleet.wait(&session, waiter, until).await {
            // The bench has ended when nobody listens.
            let _ = granted.send(grant).await;
        }
    });
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn ratio(name: &str, value: Duration, floor: Duration, bar: f64) {
    let ratio = value.as_secs_f64() / floor.as_secs_f64();
    let (value, floor) = (value.as_micros(), floor.as_micros());
    println!("{name}={value} floor_us={floor} ratio={ratio:.2} bar={bar:.2} {}", verdict(ratio, bar));
}

fn verdict(value: f64, bar: f64) -> &'static str {
    if value <= bar { "ok" } else { "MISSED" }
}

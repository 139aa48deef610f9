//! What the fleet's tests share: a fleet on an embedded store in a folder of its own, with faults in between, and time that
//! is only as long as it has to be. Tasks run on one thread and in virtual time, and the store answers in place; so a seed
//! decides the order of everything. Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod crowd;
pub mod line;
pub mod replay;
pub mod watching;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::glob::Glob;
use rr_core::id::{Entropy, FleetName, HostId, RepoId, SessionId, Token};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Name, Scope};
use rr_core::time::{BootTime, Clock, Span};
use rr_fleet::{
    Answer, Fleet, FleetError, Grant, GrantedLock, Registered, Request, Session, SessionRecord, WaitEnd, Waiter,
};
use rr_store::embedded::{Disk, RealDisk};
use rr_store::faulty::{Call, Fault, FaultyStore};
use rr_store::suite::ManualClock;
use rr_store::{EmbeddedStore, KeyValue, Keys, Options, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use self::line::{Direct, Line};

pub const PREFIX: &str = "rr/v1/default/";

/// SplitMix64 (Steele, Lea, Flood 2014): the same on every machine.
#[derive(Debug)]
pub struct Seeded(Mutex<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(seed)))
    }

    pub fn reseed(&self, seed: u64) {
        *self.0.lock().unwrap() = seed;
    }

    pub fn number(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&self, n: u64) -> u64 {
        self.number() % n
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

impl Entropy for Seeded {
    fn bits(&self) -> [u8; 16] {
        (u128::from(self.number()) << 64 | u128::from(self.number())).to_be_bytes()
    }
}

/// Tokio's time, which a test can let pass at will.
pub struct VirtualClock(tokio::time::Instant);

impl VirtualClock {
    /// Now is its beginning.
    pub fn start() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> BootTime {
        BootTime::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// A disk that is as fast as memory, and full when told so. What is tested here is read back by no other process.
pub struct QuickDisk {
    left: AtomicU64,
}

impl Default for QuickDisk {
    fn default() -> Self {
        Self { left: AtomicU64::new(u64::MAX / 2) }
    }
}

impl QuickDisk {
    pub fn fill(&self) {
        self.left.store(0, Ordering::SeqCst);
    }
}

impl Disk for QuickDisk {
    fn overwrite(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        RealDisk.overwrite(file, bytes, at)
    }

    fn extend(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let len = bytes.len() as u64;
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(len));
        taken.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        RealDisk.extend(file, bytes, at)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn shorten(&self, file: &File, len: u64) -> io::Result<()> {
        RealDisk.shorten(file, len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.left.fetch_add(std::fs::metadata(path)?.len(), Ordering::SeqCst);
        RealDisk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
}

/// One fleet under test.
pub struct Stage {
    _dir: TempDir,
    /// The store's own time: leases run out by it.
    pub clock: Arc<ManualClock>,
    pub disk: Arc<QuickDisk>,
    pub embedded: Arc<EmbeddedStore>,
    /// The same without faults, and without giving virtual time a chance to pass.
    pub direct: Arc<Direct<EmbeddedStore>>,
    pub faulty: Arc<FaultyStore>,
    pub line: Arc<Line>,
    pub random: Arc<Seeded>,
    pub fleet: Fleet,
}

impl Stage {
    pub async fn new() -> Self {
        Self::seeded(0).await
    }

    pub async fn seeded(seed: u64) -> Self {
        Self::with(seed, Options::default()).await
    }

    pub async fn with(seed: u64, options: Options) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(QuickDisk::default()));
        let clock = Arc::new(ManualClock::default());
        // Long enough a history to replay all that a test does.
        let options = Options { disk: disk.clone(), history_changes_max: 1 << 20, ..options };
        let embedded = EmbeddedStore::open(&dir.path().join("store"), options, clock.clone()).unwrap();
        let direct = Arc::new(Direct(embedded.clone()));
        let faulty = FaultyStore::new(direct.clone());
        let random = Seeded::new(seed);
        let line = Line::new(faulty.clone(), direct.clone(), Seeded::new(!seed));
        let fleet = open(line.clone(), random.clone()).await.unwrap();
        Self { _dir: dir, clock, disk, embedded, direct, faulty, line, random, fleet }
    }

    pub async fn session(&self, n: u64) -> Session {
        match self.fleet.register(&record(n), "host").await.unwrap() {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot {n} is taken by {by}"),
        }
    }

    pub async fn sessions(&self, count: u64) -> Vec<Session> {
        let mut all = Vec::new();
        for n in 0..count {
            all.push(self.session(n).await);
        }
        all
    }

    /// What a restarted sidecar does; `None` if the session has ended.
    pub async fn adopt(&self, sid: &SessionId) -> Option<Session> {
        self.adopt_as(sid, "host").await
    }

    pub async fn adopt_as(&self, sid: &SessionId, fingerprint: &str) -> Option<Session> {
        let estate = self.fleet.estate(&record(0).host).await.unwrap();
        self.fleet.adopt(&estate, sid, fingerprint).await.unwrap()
    }

    pub async fn ask(&self, session: &Session, claims: &[Claim]) -> Result<Answer, FleetError> {
        self.fleet.request(session, request(claims)).await
    }

    pub async fn granted(&self, session: &Session, claims: &[Claim]) -> Grant {
        match self.ask(session, claims).await.unwrap() {
            Answer::Granted(grant) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub async fn lock(&self, session: &Session, claim: Claim) -> GrantedLock {
        self.granted(session, &[claim]).await.locks.remove(0)
    }

    /// The token that a lock's key has in the store now.
    pub async fn token(&self, lock: &GrantedLock) -> Option<Token> {
        self.fleet.stored_tokens(std::slice::from_ref(lock)).await.unwrap()[0]
    }

    pub async fn queued(&self, session: &Session, claims: &[Claim]) -> Waiter {
        match self.ask(session, claims).await.unwrap() {
            Answer::Queued(waiter, _) => waiter,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// Waits in the background, for so many virtual seconds.
    pub fn wait(&self, session: &Session, waiter: Waiter, secs: u64) -> JoinHandle<Result<WaitEnd, FleetError>> {
        let (fleet, session) = (self.fleet.clone(), session.clone());
        let until = fleet.clock().now() + Span::from_secs(secs);
        tokio::spawn(async move { fleet.wait(&session, waiter, until).await })
    }

    /// Lets the store's time pass, and what ends with it end.
    pub async fn advance(&self, secs: u64) {
        self.clock.advance(Span::from_secs(secs));
        // Whatever is written makes the store look at its leases first.
        self.direct.grant(Span::from_secs(1)).await.unwrap();
    }

    /// Everything in the store below a part of the fleet's keys.
    pub async fn below(&self, part: &str) -> Vec<KeyValue> {
        self.embedded.range(Keys::prefix(format!("{PREFIX}{part}"))).await.unwrap().kvs
    }

    /// The keys that must go with the sessions that wrote them, and marks.
    pub async fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        for part in ["sess/", "slot/", "x/", "s/", "q/", "op/", "mark/", "ack/"] {
            left.extend(self.below(part).await.into_iter().map(|kv| kv.key));
        }
        left
    }

    /// The call of this kind after `before` others has this fault.
    pub fn fault(&self, call: Call, before: usize, fault: Fault) {
        for _ in 0..before {
            self.faulty.plan(call, Fault::Delay(Span::ZERO));
        }
        self.faulty.plan(call, fault);
    }

    /// Takes back the faults that did not come to pass.
    pub async fn calm(&self) {
        for call in [Call::Txn, Call::Range, Call::Revoke, Call::KeepAlive, Call::Grant] {
            // A planned fault is used up by the next call of its kind.
            while self.faulty_left(call).await {}
        }
    }

    async fn faulty_left(&self, call: Call) -> bool {
        let before = self.faulty.faults_happened();
        match call {
            Call::Txn => drop(self.faulty.txn(rr_store::Txn::default()).await),
            Call::Range => drop(self.faulty.range(Keys::one("x")).await),
            Call::Revoke => drop(self.faulty.revoke(rr_store::LeaseId(1)).await),
            Call::KeepAlive => drop(self.faulty.keep_alive(rr_store::LeaseId(1)).await),
            Call::Grant => drop(self.faulty.grant(Span::from_secs(1)).await),
            Call::Watch | Call::Compact => {}
        }
        self.faulty.faults_happened() != before
    }
}

/// The seeds of a random test: so many, or the one that is to be replayed.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("RR_SEED").ok().map(|seed| seed.parse::<u64>().expect("RR_SEED is a number"));
    one.map_or(0..count, |seed| seed..seed + 1)
}

/// How to see a failure of one seed again.
pub fn replay_with(seed: u64, test: &str) -> String {
    format!("seed {seed}; again: RR_SEED={seed} cargo nextest run -p rr-fleet {test}")
}

pub async fn open(store: Arc<dyn Store>, entropy: Arc<dyn Entropy>) -> Result<Fleet, FleetError> {
    let clock = VirtualClock::start();
    Fleet::open(store, &FleetName::default(), clock, entropy, Timing::default()).await
}

/// Lets virtual time pass: all that can go on has gone on by then.
pub async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

pub fn record(n: u64) -> SessionRecord {
    SessionRecord {
        host: HostId::from_random([1; 16]),
        host_name: "host".into(),
        boot: "boot".into(),
        pid: 1,
        start: 1,
        agent: "test".into(),
        agent_session: n.to_string(),
        workspace: format!("/w/{n}"),
        since_unix_ms: 0,
        task: String::new(),
        warning: String::new(),
    }
}

pub fn repo() -> RepoId {
    RepoId::parse("0123456789abcdef").unwrap()
}

pub fn request(claims: &[Claim]) -> Request {
    Request { repo: repo(), claims: claims.to_vec(), doing: "test".into(), now_unix_ms: 0 }
}

pub fn path(text: &str) -> Scope {
    Scope::Path(RepoPath::parse(text.as_bytes()).unwrap())
}

pub fn glob(folder: &str, pattern: &str) -> Scope {
    Scope::Glob { folder: RepoPath::parse(folder.as_bytes()).unwrap(), glob: Glob::parse(pattern).unwrap() }
}

pub fn named(name: &str) -> Scope {
    Scope::Named(Name::parse(name).unwrap())
}

pub fn write(text: &str) -> Claim {
    Claim::exclusive(path(text))
}

pub fn read(text: &str) -> Claim {
    Claim::shared(path(text))
}

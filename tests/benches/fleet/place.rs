//! One store and the fleet in it: what the parts of this bench measure on. It knows no figures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use rr_core::id::{FleetName, HostId, RepoId};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::{BootTime, Clock};
use rr_fleet::{Answer, Fleet, Grant, Registered, Request, Session, SessionRecord};
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::{EmbeddedStore, EtcdOptions, EtcdStore, Options, Store};

/// Requests under way at once while sessions or a queue are made.
pub(crate) const FILLERS: usize = 64;

/// Sessions made so far: the parts of a run share a cluster, and an agent has one session.
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// Stands still, so that no lease runs out however long a part takes.
pub(crate) struct Standing;

impl Clock for Standing {
    fn now(&self) -> BootTime {
        BootTime::from_millis(1)
    }
}

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fleet: Fleet,
}

/// The embedded store, in a folder of its own.
pub(crate) async fn embedded(dir: &Path) -> (Place, Arc<EmbeddedStore>) {
    let clock: Arc<dyn Clock> = Arc::new(Standing);
    let store = EmbeddedStore::open(dir, Options::default(), clock.clone()).expect("open the store");
    (Place::of(store.clone(), clock).await, store)
}

/// A connection of its own to a cluster.
pub(crate) async fn etcd(endpoints: Vec<String>) -> Place {
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let options = EtcdOptions { endpoints, ..EtcdOptions::default() };
    let store = EtcdStore::connect(options, clock.clone()).await.expect("connect to etcd");
    Place::of(store, clock).await
}

impl Place {
    async fn of(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let name = FleetName::default();
        // An hour: what this bench holds does not end while it is measured.
        let timing = Timing { lease: rr_core::time::Span::from_secs(3_600), ..Timing::default() };
        let fleet = Fleet::open(store.clone(), &name, clock, Arc::new(OsEntropy), timing).await;
        Self { fleet: fleet.expect("open the fleet"), store }
    }

    pub(crate) async fn session(&self) -> Session {
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
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

    pub(crate) async fn sessions(&self, count: usize) -> Vec<Session> {
        stream::iter(0..count).map(|_| self.session()).buffered(FILLERS).collect().await
    }

    pub(crate) async fn grant(&self, session: &Session, file: &str) -> Grant {
        match self.fleet.request(session, request(file)).await.expect("ask for a lock") {
            Answer::Granted(grant) => grant,
            other => unreachable!("nobody else wants {file}: {other:?}"),
        }
    }

    pub(crate) async fn release(&self, grant: &Grant) {
        for lock in &grant.locks {
            self.fleet.release(lock).await.expect("release");
        }
    }
}

pub(crate) fn request(file: &str) -> Request {
    let path = RepoPath::parse(file.as_bytes()).expect("a legal path");
    Request {
        repo: RepoId::parse("0123456789abcdef").expect("legal"),
        claims: vec![Claim::exclusive(Scope::Path(path))],
        doing: "Edit".into(),
        now_unix_ms: 1_700_000_000_000,
    }
}

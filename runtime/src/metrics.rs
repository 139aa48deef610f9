//! What a program counts, and the page that shows it: `/metrics` in Prometheus' text, `/healthz`, `/readyz`. Every label has a
//! few known values: no name, path or id of anybody ever becomes one. Whoever knows a number sets it here by a method; the
//! library behind is known to this file only. Next: `page` serves it.

mod page;
mod watching;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use rr_store::StoreError;

pub use page::{Page, PageError};
pub use watching::{CheckWord, IncidentWord, RevertWord, WatchWord};

/// From a grant on the embedded store to a store that is about to lose its leader.
const SECONDS: [f64; 14] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// From a free slot to the longest build that somebody waits for.
const WAITED: [f64; 10] = [0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0];
/// Numbers that have to be looked up first are waited for no longer; the page then shows the last ones.
const LOOK_MAX: Duration = Duration::from_secs(2);

type Look = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The numbers of one program: a cheap handle.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    leader: IntGauge,
    terms: IntCounter,
    rings: IntCounter,
    sessions: IntGaugeVec,
    locks_held: IntGauge,
    slots_held: IntGauge,
    slots_waiting: IntGauge,
    slot_waits: Histogram,
    calls: IntCounterVec,
    requests: HistogramVec,
    watch_restarts: IntCounter,
    keep_alive_failures: IntCounterVec,
    paused: IntGauge,
    epoch: IntGauge,
    fleet_sessions: IntGauge,
    fleet_locks: IntGauge,
    fleet_waiters: IntGauge,
    approvals_waiting: IntGauge,
    decisions: IntCounterVec,
    watching: watching::Watching,
    looks: Mutex<Vec<Look>>,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionWord {
    Live,
    Suspect,
    Fenced,
    Dead,
    Closed,
}

/// What a tool call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallWord {
    Pass,
    Deny,
    DenyAndStop,
}

/// What came of a decision on a request for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionWord {
    Approved,
    Rejected,
    /// Somebody was faster.
    Already,
    /// Its time was over.
    Expired,
    /// The request, or whoever asked it, is no longer there.
    Gone,
}

/// How much there is of everything in a fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetSize {
    pub sessions: usize,
    pub locks: usize,
    pub waiters: usize,
}

impl SessionWord {
    const ALL: [Self; 5] = [Self::Live, Self::Suspect, Self::Fenced, Self::Dead, Self::Closed];

    const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Fenced => "fenced",
            Self::Dead => "dead",
            Self::Closed => "closed",
        }
    }
}

impl CallWord {
    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Deny => "deny",
            Self::DenyAndStop => "deny_and_stop",
        }
    }
}

impl DecisionWord {
    const fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Already => "already",
            Self::Expired => "expired",
            Self::Gone => "gone",
        }
    }
}

impl Metrics {
    #[must_use]
    pub fn of(program: &str) -> Self {
        let inner = Inner {
            registry: Registry::new(),
            leader: gauge("leader", "1 while this watcher leads the fleet, else 0"),
            terms: counter("leader_terms_total", "Times this watcher has become the leader"),
            rings: counter("rings_broken_total", "Rings of waiters that this watcher has untied"),
            sessions: gauges("sessions", "Sessions of this machine, by how they stand", &["state"]),
            locks_held: gauge("locks_held", "Locks that sessions of this machine hold"),
            slots_held: gauge("slots_held", "Counted slots that sessions of this machine have"),
            slots_waiting: gauge("slots_waiting", "Sessions of this machine that wait in line for a counted slot"),
            slot_waits: slot_waits(),
            calls: counters("calls_total", "Tool calls asked about, by answer", &["verdict"]),
            requests: latencies(),
            watch_restarts: counter("watch_restarts_total", "Watches of the store that ended before they were let go"),
            keep_alive_failures: counters("keep_alive_failures_total", "Leases not renewed, by why", &["outcome"]),
            paused: gauge("fleet_paused", "1 while the fleet is paused, else 0"),
            epoch: gauge("fleet_epoch", "Pauses and resumes of the fleet so far"),
            fleet_sessions: gauge("fleet_sessions", "Sessions of the whole fleet"),
            fleet_locks: gauge("fleet_locks", "Locks that are held in the whole fleet"),
            fleet_waiters: gauge("fleet_waiters", "Requests that wait for a lock in the whole fleet"),
            approvals_waiting: gauge(
                "approvals_waiting",
                "Requests that wait for a person's approval in the whole fleet",
            ),
            decisions: counters(
                "decisions_total",
                "Decisions on requests for approval, by what came of them",
                &["outcome"],
            ),
            watching: watching::Watching::new(),
            looks: Mutex::default(),
        };
        let build = gauges("build_info", "Always 1: which program this is, and its version", &["program", "version"]);
        build.with_label_values(&[program, env!("CARGO_PKG_VERSION")]).set(1);
        inner.register(build);
        inner.register_all();
        Self { inner: Arc::new(inner) }
    }

    pub fn leads(&self, leads: bool) {
        self.inner.leader.set(i64::from(leads));
        if leads {
            self.inner.terms.inc();
        }
    }

    pub fn rings_broken(&self, rings: usize) {
        self.inner.rings.inc_by(rings as u64);
    }

    /// The sessions of this machine at this moment, one word each, and how many locks they hold.
    pub fn sessions(&self, states: impl IntoIterator<Item = SessionWord>, locks: usize) {
        let states: Vec<SessionWord> = states.into_iter().collect();
        for word in SessionWord::ALL {
            let count = states.iter().filter(|state| **state == word).count();
            self.inner.sessions.with_label_values(&[word.word()]).set(whole(count));
        }
        self.inner.locks_held.set(whole(locks));
    }

    /// What the sessions of this machine have of counted slots, and how many places in line.
    pub fn slots(&self, held: usize, waiting: usize) {
        self.inner.slots_held.set(whole(held));
        self.inner.slots_waiting.set(whole(waiting));
    }

    /// Somebody has a slot, after so long in line.
    pub fn slot_wait(&self, waited: Duration) {
        self.inner.slot_waits.observe(waited.as_secs_f64());
    }

    pub fn call(&self, verdict: CallWord) {
        self.inner.calls.with_label_values(&[verdict.word()]).inc();
    }

    pub fn fleet_state(&self, paused: bool, epoch: u64) {
        self.inner.paused.set(i64::from(paused));
        self.inner.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    pub fn fleet_size(&self, size: FleetSize) {
        self.inner.fleet_sessions.set(whole(size.sessions));
        self.inner.fleet_locks.set(whole(size.locks));
        self.inner.fleet_waiters.set(whole(size.waiters));
    }

    pub fn approvals_waiting(&self, waiting: usize) {
        self.inner.approvals_waiting.set(whole(waiting));
    }

    pub fn decision(&self, decision: DecisionWord) {
        self.inner.decisions.with_label_values(&[decision.word()]).inc();
    }

    /// Has `look` set what nobody counts along the way, each time that somebody reads the page.
    pub fn look_first(&self, look: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    pub(crate) fn request(&self, operation: &'static str, took: Duration, error: Option<&StoreError>) {
        let outcome = error.map_or("ok", outcome);
        self.inner.requests.with_label_values(&[operation, outcome]).observe(took.as_secs_f64());
    }

    pub(crate) fn watch_ended(&self) {
        self.inner.watch_restarts.inc();
    }

    /// `None`: the store says that the lease is gone.
    pub(crate) fn not_renewed(&self, error: Option<&StoreError>) {
        self.inner.keep_alive_failures.with_label_values(&[error.map_or("gone", outcome)]).inc();
    }

    /// The page's text, after whatever has to be looked up for it.
    pub(crate) async fn text(&self) -> String {
        let looks: Vec<_> = {
            let looks = self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner);
            looks.iter().map(|look| look()).collect()
        };
        // Late: the page shows what was seen last.
        let _ = tokio::time::timeout(LOOK_MAX, futures::future::join_all(looks)).await;
        // Only names that were refused below could fail to be written.
        prometheus::TextEncoder::new().encode_to_string(&self.inner.registry.gather()).unwrap_or_default()
    }
}

impl Inner {
    fn register_all(&self) {
        self.register(self.leader.clone());
        self.register(self.terms.clone());
        self.register(self.rings.clone());
        self.register(self.sessions.clone());
        self.register(self.locks_held.clone());
        self.register(self.slots_held.clone());
        self.register(self.slots_waiting.clone());
        self.register(self.slot_waits.clone());
        self.register(self.calls.clone());
        self.register(self.requests.clone());
        self.register(self.watch_restarts.clone());
        self.register(self.keep_alive_failures.clone());
        self.register(self.paused.clone());
        self.register(self.epoch.clone());
        self.register(self.fleet_sessions.clone());
        self.register(self.fleet_locks.clone());
        self.register(self.fleet_waiters.clone());
        self.register(self.approvals_waiting.clone());
        self.register(self.decisions.clone());
        self.watching.register(self);
    }

    fn register(&self, collector: impl Collector + 'static) {
        let registered = self.registry.register(Box::new(collector));
        registered.expect("the names above are legal and each stands there once");
    }
}

/// What a request to the store came to: one of a few kinds of answer.
const fn outcome(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Unknown(_) => "unknown",
        StoreError::NoSpace(_) => "no_space",
        StoreError::Compacted { .. } => "compacted",
        StoreError::LeaseNotFound(_) => "lease_not_found",
        StoreError::Invalid(_) => "invalid",
        StoreError::Damaged(_) => "damaged",
        StoreError::WentBack { .. } => "went_back",
    }
}

const LEGAL: &str = "names and labels above are legal";

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("railroad")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::with_opts(options(name, help)).expect(LEGAL)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(options(name, help), labels).expect(LEGAL)
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::with_opts(options(name, help)).expect(LEGAL)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(options(name, help), labels).expect(LEGAL)
}

fn latencies() -> HistogramVec {
    let help = "How long a request to the store took, by what was asked and what came of it";
    let options = HistogramOpts::from(options("store_request_seconds", help)).buckets(SECONDS.to_vec());
    HistogramVec::new(options, &["operation", "outcome"]).expect(LEGAL)
}

fn slot_waits() -> Histogram {
    let help = "How long sessions of this machine stood in line until they had a counted slot";
    Histogram::with_opts(HistogramOpts::from(options("slot_wait_seconds", help)).buckets(WAITED.to_vec())).expect(LEGAL)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_shows_what_was_counted_in_words_of_a_known_set() {
        let metrics = Metrics::of("rr-sidecar");
        metrics.leads(true);
        metrics.leads(false);
        metrics.rings_broken(2);
        metrics.sessions([SessionWord::Live, SessionWord::Live, SessionWord::Fenced], 7);
        metrics.sessions([SessionWord::Live], 3);
        metrics.call(CallWord::Deny);
        metrics.slots(1, 4);
        metrics.slot_wait(Duration::from_secs(2));
        metrics.request("txn", Duration::from_millis(3), None);
        metrics.request("txn", Duration::from_millis(3), Some(&StoreError::Unavailable("host-a is gone".into())));
        metrics.not_renewed(None);
        metrics.fleet_state(true, 4);
        metrics.approvals_waiting(2);
        metrics.decision(DecisionWord::Rejected);
        let looked = metrics.clone();
        metrics.look_first(move || {
            let looked = looked.clone();
            Box::pin(async move { looked.fleet_size(FleetSize { sessions: 5, locks: 6, waiters: 7 }) })
        });
        let text = metrics.text().await;
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            &format!("railroad_build_info{{program=\"rr-sidecar\",version=\"{version}\"}} 1"),
            "railroad_leader 0",
            "railroad_leader_terms_total 1",
            "railroad_rings_broken_total 2",
            "railroad_sessions{state=\"live\"} 1",
            "railroad_sessions{state=\"fenced\"} 0",
            "railroad_locks_held 3",
            "railroad_slots_held 1",
            "railroad_slots_waiting 4",
            "railroad_slot_wait_seconds_bucket{le=\"1\"} 0",
            "railroad_slot_wait_seconds_count 1",
            "railroad_calls_total{verdict=\"deny\"} 1",
            "railroad_store_request_seconds_count{operation=\"txn\",outcome=\"ok\"} 1",
            "railroad_store_request_seconds_count{operation=\"txn\",outcome=\"unavailable\"} 1",
            "railroad_keep_alive_failures_total{outcome=\"gone\"} 1",
            "railroad_fleet_paused 1",
            "railroad_fleet_epoch 4",
            "railroad_fleet_waiters 7",
            "railroad_approvals_waiting 2",
            "railroad_decisions_total{outcome=\"rejected\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("host-a"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_that_cannot_be_looked_up_does_not_keep_the_page() {
        let metrics = Metrics::of("rr-watcher");
        metrics.look_first(|| Box::pin(std::future::pending()));
        assert!(metrics.text().await.contains("railroad_leader 0"));
    }
}

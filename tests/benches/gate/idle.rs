//! What a thousand sessions that do nothing cost the cluster: one real sidecar with all of them, and the cluster's own count
//! of what it was asked. The rule: a keep-alive a session every 15 s, a read of the permit every 5 s, nothing a lock.

use std::thread;
use std::time::{Duration, Instant};

use rr_tests::daemon::Sandbox;
use rr_tests::etcd::{EtcdCluster, EtcdSetup};
use rr_tests::programs::Program;
use serde_json::json;

use crate::hooked::Hooked;
use crate::product;
use crate::report::verdict;

/// As a team runs it.
const MEMBERS: usize = 3;
const SESSIONS: usize = 1_000;
/// Locks each tenth of them holds: what is held must cost nothing.
const LOCKS: usize = 10;
/// Several rounds of each period, so that where a round begins matters little.
const WATCHED: Duration = Duration::from_secs(90);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
const PERMIT_EVERY: Duration = Duration::from_secs(5);
/// A period's edge falls inside or outside of what is watched.
const SLACK: f64 = 1.1;

pub(crate) fn idle() {
    let cluster = &EtcdCluster::start(MEMBERS, EtcdSetup::default());
    product::build(&["rrctl", "rr-sidecar"]);
    let sandbox = Sandbox::new();
    sandbox.machine_config(&format!("store: {{ kind: etcd, endpoints: {} }}\n", json!(cluster.endpoints())));
    let sidecar = Program::start(&sandbox, "rr-sidecar", &[]).ready();
    // An estimate of nothing: the same sidecar with nobody in it.
    let (alone, alone_cpu) = busy(cluster, || asked(cluster, WATCHED / 3));
    for n in 0..SESSIONS {
        let mut agent = Hooked::start(&sandbox, &format!("idle-{n:04}"));
        if n % LOCKS == 0 {
            for file in 0..LOCKS {
                agent.write(&format!("s{n:04}/f{file}.rs"));
            }
        }
    }
    let ((keep_alives, others, took), cpu) = busy(cluster, || asked(cluster, WATCHED));
    let a_session = keep_alives / u32::try_from(SESSIONS).map_or(1.0, f64::from) * per(KEEP_ALIVE_EVERY, took);
    let a_sidecar = others * per(PERMIT_EVERY, took);
    let without = alone.1 * per(PERMIT_EVERY, alone.2);
    println!(
        "gate.idle_{SESSIONS}.keep_alives_a_session_15s={a_session:.2} bar=1 {}",
        verdict(a_session > 0.5 && a_session <= SLACK)
    );
    println!(
        "gate.idle_{SESSIONS}.others_a_sidecar_5s={a_sidecar:.2} without_sessions={without:.2} bar=1 {}",
        verdict(a_sidecar > 0.5 && a_sidecar <= SLACK)
    );
    println!("gate.idle_{SESSIONS}.cluster_cpu_percent={:.1} without_sessions={:.1}", cpu * 100.0, alone_cpu * 100.0);
    drop(sidecar);
}

/// The share of one core that all members used in a while.
fn busy<T>(cluster: &EtcdCluster, watch: impl FnOnce() -> T) -> (T, f64) {
    let used = || (0..cluster.len()).filter_map(|m| cluster.metric(m, "process_cpu_seconds_total")).sum::<f64>();
    let (began, before) = (Instant::now(), used());
    let seen = watch();
    (seen, (used() - before) / began.elapsed().as_secs_f64())
}

/// How often `period` is in `took`, turned over.
fn per(period: Duration, took: Duration) -> f64 {
    period.as_secs_f64() / took.as_secs_f64()
}

/// What the cluster was asked in a while: keep-alives of leases, all other requests, and how long the while was.
fn asked(cluster: &EtcdCluster, watched: Duration) -> (f64, f64, Duration) {
    let (began, before) = (Instant::now(), counted(cluster));
    thread::sleep(watched);
    let (after, took) = (counted(cluster), began.elapsed());
    (after.0 - before.0, after.1 - before.1, took)
}

/// Messages to the cluster so far.
fn counted(cluster: &EtcdCluster) -> (f64, f64) {
    let members = (0..cluster.len()).map(|member| cluster.requests(member).expect("the member tells its figures"));
    members.fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1))
}

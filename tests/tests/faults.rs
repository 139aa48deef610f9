//! The fault matrix: simulated sidecars lock, wait, pause and die on a real etcd of three members while it, their ways to it
//! and they themselves are hurt in each way there is. All of it is recorded, and judged by `rr_history`: no two conflicting grants at
//! any revision, no call after a cut-off or a pause, nothing acknowledged lost, nothing left behind.
//!
//! Short by default. `RAILROAD_FAULTS_SECS=3600` for long forms (`cargo xtask soak`), `RAILROAD_FAULTS_SEED` to choose as in an
//! earlier run; what a real cluster does between two choices no seed repeats.

#[path = "faults/clients.rs"]
mod clients;
#[path = "faults/members.rs"]
mod members;
#[path = "faults/restart.rs"]
mod restart;
#[path = "faults/slots.rs"]
mod slots;
#[path = "faults/store.rs"]
mod store;

use std::time::Duration;

use rr_tests::crowd::{Crowd, busy};
use rr_tests::etcd::EtcdCluster;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Printed, so that a failure names it.
fn seed() -> u64 {
    let seed = setting("RAILROAD_FAULTS_SEED", u64::from(std::process::id()));
    println!("RAILROAD_FAULTS_SEED={seed}");
    seed
}

/// Grants without which a history shows too little.
const ENOUGH: usize = 30;

/// How long trouble lasts.
fn trouble(short: u64) -> Duration {
    Duration::from_secs(setting("RAILROAD_FAULTS_SECS", short))
}

/// So many busy sidecars, not all at the same member.
async fn crowd(cluster: &EtcdCluster, count: usize) -> Crowd {
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    for n in 0..count {
        let mut endpoints = cluster.endpoints();
        endpoints.rotate_left(n % cluster.len());
        crowd.join(endpoints, busy()).await;
    }
    crowd
}

//! What the protocol adds to the store, and where a cluster ends. Each part prints both sides of its ratio with its bar; it
//! judges by ratios and counts, for absolute times are this machine's. A word on the command line runs only the parts
//! whose name holds it: `embedded_grant`, `handover_1000`, `handover_10000`, `etcd_grant`, `etcd_full`, `etcd_pause`.

mod callers;
mod full;
mod handover;
mod pause;
mod place;
mod raw;
#[path = "../gate/report.rs"]
mod report;

use std::path::{Path, PathBuf};

use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use crate::callers::CALLERS;
use crate::handover::{WAITERS, WAITERS_MANY};

/// As a team runs it.
const MEMBERS: usize = 3;

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start the runtime");
    if wanted("embedded_grant") {
        for callers in CALLERS {
            in_a_folder(|dir| {
                runtime.block_on(async {
                    callers::grants(place::embedded(dir).await.0, "embedded", callers).await;
                });
            });
        }
    }
    for (name, waiters) in [("handover_1000", WAITERS), ("handover_10000", WAITERS_MANY)] {
        let by_name = only.as_deref() == Some(name);
        if by_name || (waiters == WAITERS && wanted(name)) {
            in_a_folder(|dir| {
                runtime.block_on(async {
                    let (place, store) = place::embedded(dir).await;
                    handover::hand_overs(place, store, waiters).await;
                });
            });
        }
    }
    on_etcd(&runtime, wanted);
    runtime.shutdown_background();
}

fn on_etcd(runtime: &tokio::runtime::Runtime, wanted: impl Fn(&str) -> bool) {
    if wanted("etcd_grant") {
        let cluster = EtcdCluster::start(MEMBERS, EtcdSetup::default());
        for callers in CALLERS {
            runtime.block_on(async {
                callers::grants(place::etcd(cluster.endpoints()).await, "etcd", callers).await;
            });
        }
    }
    if wanted("etcd_full") {
        let cluster = EtcdCluster::start(MEMBERS, EtcdSetup::default());
        runtime.block_on(full::full(&cluster));
    }
    if wanted("etcd_pause") {
        let cluster = EtcdCluster::start(MEMBERS, EtcdSetup::default());
        runtime.block_on(pause::pauses(&cluster));
    }
}

fn in_a_folder(run: impl FnOnce(&Path)) {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("rr-fleet-bench-{}", std::process::id()));
    run(&dir);
    std::fs::remove_dir_all(&dir).expect("remove the bench's folder");
}

//! A fleet at its cap of locks against an empty one, on the same cluster: what a grant costs then.

use std::time::{Duration, Instant};

use rr_core::limits::LOCKS_PER_FLEET_MAX;
use rr_store::{Keys, Op, TXN_OPS_MAX, Txn};
use rr_tests::etcd::EtcdCluster;

use crate::place::{self, Place};
use crate::report::{percentile, ratio};

const SAMPLES: usize = 2_000;
const P99_MAX: f64 = 2.0;

pub(crate) async fn full(cluster: &EtcdCluster) {
    let place = place::etcd(cluster.endpoints()).await;
    // Warms up both the connection and the cluster.
    measure(&place).await;
    let empty = measure(&place).await;
    fill(&place).await;
    let full = measure(&place).await;
    ratio("etcd.full.grant_p50_us", percentile(&full, 50), "floor_us", percentile(&empty, 50), P99_MAX);
    ratio("etcd.full.grant_p99_us", percentile(&full, 99), "floor_us", percentile(&empty, 99), P99_MAX);
}

async fn measure(place: &Place) -> Vec<Duration> {
    let session = place.sessions(1).await.remove(0);
    let mut times = Vec::with_capacity(SAMPLES);
    for n in 0..SAMPLES {
        let file = format!("src/own/f{n}.rs");
        let start = Instant::now();
        let grant = place.grant(&session, &file).await;
        times.push(start.elapsed());
        place.release(&grant).await;
    }
    place.fleet.end(&session, rr_fleet::Ending::Clean).await.expect("end the session");
    times
}

/// Holders as sessions would have them, in 500 folders: as many as a fleet may have, but for the few that are measured.
async fn fill(place: &Place) {
    let session = place.sessions(1).await.remove(0);
    let model = place.grant(&session, "src/model.rs").await.locks.remove(0);
    let value = place.store.range(Keys::one(&model.key)).await.expect("read").kvs.remove(0).value;
    let numbers: Vec<usize> = (0..LOCKS_PER_FLEET_MAX - 10).collect();
    for chunk in numbers.chunks(TXN_OPS_MAX) {
        let key = |n: &usize| model.key.replace("src/model.rs", &format!("lib/d{}/f{n}.rs", n % 500));
        let puts = chunk.iter().map(|n| Op::put_leased(key(n), value.clone(), session.lease));
        place.store.txn(Txn::default().then(puts.collect())).await.expect("fill the store");
    }
}

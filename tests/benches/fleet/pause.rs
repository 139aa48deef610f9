//! A pause seen by a thousand connected sidecars, against one raw delivery of a watch to as many connections. A sidecar
//! has seen it when its view of the permit refuses: believed from the watch, read right after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use rr_core::permit::{Permit, PermitView};
use rr_core::time::Clock as _;
use rr_fleet::{Hold, HoldKind};
use rr_runtime::clock::BootClock;
use rr_store::{Keys, Op, Txn, WatchStream};
use rr_tests::etcd::EtcdCluster;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Barrier;

use crate::place::{self, FILLERS, Place};
use crate::report::{percentile, ratio};

const SIDECARS: usize = 1_000;
const ROUNDS: usize = 10;
const P99_MAX: f64 = 2.0;
const RAW: &str = "raw/delivery";

pub(crate) async fn pauses(cluster: &EtcdCluster) {
    allow_open_files();
    let endpoints = cluster.endpoints();
    let places: Vec<Place> =
        stream::iter(0..SIDECARS).map(|_| place::etcd(endpoints.clone())).buffer_unordered(FILLERS).collect().await;
    let orders = place::etcd(endpoints).await;
    let together = Arc::new(Barrier::new(SIDECARS + 1));
    let started = Arc::new(std::sync::Mutex::new(Instant::now()));
    let tasks: Vec<_> = places
        .into_iter()
        .map(|place| tokio::spawn(Sidecar { place, together: together.clone(), started: started.clone() }.run()))
        .collect();
    for _ in 0..ROUNDS {
        together.wait().await;
        *started.lock().expect("whole") = Instant::now();
        orders.store.txn(Txn::default().then(vec![Op::put(RAW, "x")])).await.expect("put");
        together.wait().await;
        *started.lock().expect("whole") = Instant::now();
        pause_and_resume(&orders, &together).await;
    }
    let (mut seen, mut raw) = (Vec::new(), Vec::new());
    for task in tasks {
        let (s, r) = task.await.expect("a sidecar");
        seen.extend(s);
        raw.extend(r);
    }
    for percent in [50, 99] {
        let (seen, raw) = (percentile(&seen, percent), percentile(&raw, percent));
        ratio(&format!("etcd.pause_{SIDECARS}.p{percent}_us"), seen, "floor_us", raw, P99_MAX);
    }
}

/// Each connection is an open file.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("open more files");
}

async fn pause_and_resume(orders: &Place, together: &Barrier) {
    let hold = Hold {
        id: String::new(),
        kind: HoldKind::Person,
        who: "bench".to_owned(),
        reason: "measured".to_owned(),
        hard: false,
        affected: None,
        since_unix_ms: 0,
    };
    orders.fleet.pause(&hold).await.expect("pause");
    // All have seen it.
    together.wait().await;
    let state = orders.fleet.state().await.expect("read");
    orders.fleet.resume(state.epoch, "bench", |_| true).await.expect("resume");
    together.wait().await;
}

struct Sidecar {
    place: Place,
    together: Arc<Barrier>,
    started: Arc<std::sync::Mutex<Instant>>,
}

impl Sidecar {
    async fn run(self) -> (Vec<Duration>, Vec<Duration>) {
        let (mut seen, mut raw) = (Vec::new(), Vec::new());
        let mut deliveries = self.place.store.watch(Keys::one(RAW), 0).await.expect("watch");
        let mut permit = self.place.fleet.watch(self.place.fleet.keyspace().fleet(), 0).await.expect("watch");
        for _ in 0..ROUNDS {
            self.together.wait().await;
            deliveries.next().await.expect("goes on").expect("an event");
            raw.push(self.since());
            self.together.wait().await;
            seen.push(self.pause_seen(&mut permit).await);
            self.together.wait().await;
            // The resume.
            permit.next().await.expect("goes on").expect("an event");
            self.together.wait().await;
        }
        (seen, raw)
    }

    async fn pause_seen(&self, permit: &mut WatchStream) -> Duration {
        let (clock, timing) = (BootClock, *self.place.fleet.timing());
        let mut view = PermitView::default();
        loop {
            let event = permit.next().await.expect("goes on").expect("an event");
            view.observe(clock.now(), Permit::Run(rr_core::id::Epoch(0)), event.revision - 1);
            if let Some(epoch) = self.place.fleet.pause_in(&event) {
                view.hint(Permit::Paused(epoch), event.revision);
            }
            if view.check(clock.now(), &timing).is_err() {
                let seen = self.since();
                assert!(self.place.fleet.state().await.expect("read").is_paused());
                return seen;
            }
        }
    }

    fn since(&self) -> Duration {
        self.started.lock().expect("whole").elapsed()
    }
}

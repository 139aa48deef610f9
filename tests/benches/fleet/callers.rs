//! A lock granted by `Fleet::request` against one raw transaction of the same size on the same store, in turns, from one
//! caller to many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_fleet::Session;
use tokio::sync::Barrier;

use crate::place::Place;
use crate::raw::Raw;
use crate::report::{percentile, ratio};

/// From one agent alone to five times the fifty that the design speaks of.
pub(crate) const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Locks a caller takes before its turn is over.
const BURST: usize = 10;
/// Enough for a 99th percentile of twenty values.
const SAMPLES_MIN: usize = 2_000;
const TURNS_MIN: usize = 8;
const P50_MAX: f64 = 1.2;
const P99_MAX: f64 = 1.5;

/// All callers at once take locks, then all at once do raw transactions, and so on in turns.
pub(crate) async fn grants(place: Place, name: &str, callers: usize) {
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
    let name = format!("{name}.grant_{callers}");
    ratio(&format!("{name}.p50_us"), percentile(&locks, 50), "floor_us", percentile(&raws, 50), P50_MAX);
    ratio(&format!("{name}.p99_us"), percentile(&locks, 99), "floor_us", percentile(&raws, 99), P99_MAX);
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

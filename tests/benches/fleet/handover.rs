//! How many transactions a release costs when thousands wait for the same file (H35), on the embedded store, which counts
//! them.

use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use rr_core::limits::WAIT_MAX;
use rr_core::time::Clock as _;
use rr_fleet::{Answer, Grant, Session, WaitEnd};
use rr_store::EmbeddedStore;
use tokio::sync::mpsc;

use crate::place::{FILLERS, Place, Standing, request};
use crate::report::{percentile, verdict};

/// As H35 has it.
pub(crate) const WAITERS: usize = 1_000;
/// Only when asked for by its name: each waiter reads all others as it comes, so that filling this queue takes minutes.
pub(crate) const WAITERS_MANY: usize = 10_000;
const HAND_OVERS: u32 = 100;
/// The release itself, and the transaction that turns the next entry into a lock.
const TRANSACTIONS_MAX: f64 = 2.0;

/// So many sessions wait for one file; it is released and handed on, again and again.
pub(crate) async fn hand_overs(place: Place, store: Arc<EmbeddedStore>, waiters: usize) {
    let mut sessions = place.sessions(waiters + 1).await;
    let mut held = place.grant(&sessions.remove(0), "src/wanted.rs").await;
    let (granted, mut next) = mpsc::channel(1);
    let start = Instant::now();
    let queued = stream::iter(sessions).map(|session| queue_up(&place, session, granted.clone()));
    queued.buffer_unordered(FILLERS).collect::<()>().await;
    let took = start.elapsed();
    println!("fleet.queue.waiters={waiters} filled_ms={}", took.as_millis());

    let before = store.stats().transactions;
    let mut times = Vec::new();
    for _ in 0..HAND_OVERS {
        let start = Instant::now();
        place.release(&held).await;
        held = next.recv().await.expect("somebody waits");
        times.push(start.elapsed());
    }
    let used = store.stats().transactions - before;
    #[allow(clippy::cast_precision_loss)] // a few hundred
    let each = used as f64 / f64::from(HAND_OVERS);
    let p50 = percentile(&times, 50).as_micros();
    println!(
        "fleet.handover.transactions={each:.2} waiters={waiters} bar={TRANSACTIONS_MAX} {} p50_us={p50}",
        verdict(each <= TRANSACTIONS_MAX)
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

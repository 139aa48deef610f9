//! The way to the store in tests. `Direct` answers in place, so that virtual time stands still while the store's thread
//! works. `Line` lets calls take turns in an order that a seed decides, and can hold a transaction back: its sender is told
//! that the outcome is unknown, and it arrives later. It knows nothing of what the transactions say.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream};
use rr_core::time::Span;
use rr_store::{
    KeepAlive, Keys, LeaseId, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

use super::Seeded;

/// How often a watch is looked at while calls take turns, unless told otherwise.
const LOOK: Duration = Duration::from_millis(3);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread. Only for those that some other thread finishes.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    // Tokio would have a task that did much give way now and then, which here nobody could wake.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub struct Direct<S>(pub Arc<S>);

#[async_trait]
impl<S: Store> Store for Direct<S> {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        finish(self.0.txn(txn))
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        finish(self.0.range(keys))
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        finish(self.0.grant(ttl))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        finish(self.0.keep_alive(lease))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        finish(self.0.revoke(lease))
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        finish(self.0.watch(keys, from))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        finish(self.0.compact(revision))
    }

    fn position(&self) -> Position {
        self.0.position()
    }

    fn accept_history(&self) {
        self.0.accept_history();
    }
}

struct Plan {
    look: Duration,
    /// For each transaction to come: whether it is held back.
    hold: VecDeque<bool>,
    held: Vec<Txn>,
    shuffled: bool,
    /// Of a thousand transactions, so many are held back and arrive by themselves.
    late_per_mille: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { look: LOOK, hold: VecDeque::new(), held: Vec::new(), shuffled: false, late_per_mille: 0 }
    }
}

pub struct Line {
    above: Arc<dyn Store>,
    /// Where what was held back arrives.
    below: Arc<dyn Store>,
    plan: Mutex<Plan>,
    random: Arc<Seeded>,
    sent: AtomicU64,
}

impl Line {
    pub fn new(above: Arc<dyn Store>, below: Arc<dyn Store>, random: Arc<Seeded>) -> Arc<Self> {
        Arc::new(Self { above, below, plan: Mutex::default(), random, sent: AtomicU64::new(0) })
    }

    /// Transactions so far, those that only read among them.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// From now on every call is delayed a little, so that tasks overtake one another.
    pub fn shuffle(&self, on: bool) {
        self.plan.lock().unwrap().shuffled = on;
    }

    /// Watches opened from now on are looked at this often: each look costs real time, however little virtual time it is.
    pub fn look_every(&self, look: Duration) {
        self.plan.lock().unwrap().look = look;
    }

    /// From now on the order of calls is this seed's.
    pub fn reseed(&self, seed: u64) {
        self.random.reseed(seed);
    }

    pub fn late(&self, per_mille: u64) {
        self.plan.lock().unwrap().late_per_mille = per_mille;
    }

    /// Holds back the transaction after `before` others. [`Line::deliver`] lets it arrive.
    pub fn hold(&self, before: usize) {
        let mut plan = self.plan.lock().unwrap();
        plan.hold.extend(std::iter::repeat_n(false, before));
        plan.hold.push_back(true);
    }

    /// What was held back arrives now. How many took effect.
    pub async fn deliver(&self) -> usize {
        let held = {
            let mut plan = self.plan.lock().unwrap();
            plan.hold.clear();
            std::mem::take(&mut plan.held)
        };
        let mut effective = 0;
        for txn in held {
            effective += usize::from(self.below.txn(txn).await.is_ok_and(|reply| reply.succeeded));
        }
        effective
    }

    async fn turn(&self) {
        if self.plan.lock().unwrap().shuffled {
            tokio::time::sleep(Duration::from_millis(self.random.below(4))).await;
        }
    }

    fn hold_back(&self, txn: &Txn) -> bool {
        let mut plan = self.plan.lock().unwrap();
        if plan.hold.pop_front() == Some(true) {
            plan.held.push(txn.clone());
            return true;
        }
        let late = plan.late_per_mille > 0 && self.random.below(1_000) < plan.late_per_mille;
        if late {
            let (below, txn) = (self.below.clone(), txn.clone());
            let after = Duration::from_millis(self.random.below(200));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                let _ = below.txn(txn).await;
            });
        }
        late
    }
}

/// Whoever is woken by another thread is woken in an order that no seed decides; so this one looks by itself.
fn in_turn(watch: WatchStream, look: Duration) -> WatchStream {
    Box::pin(stream::unfold(watch, move |mut watch| async move {
        loop {
            if let Some(item) = watch.next().now_or_never() {
                return item.map(|item| (item, watch));
            }
            tokio::time::sleep(look).await;
        }
    }))
}

#[async_trait]
impl Store for Line {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.turn().await;
        if self.hold_back(&txn) {
            return Err(StoreError::Unknown("held back (planned)".into()));
        }
        let reply = self.above.txn(txn).await;
        self.turn().await;
        reply
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        self.turn().await;
        let reply = self.above.range(keys).await;
        self.turn().await;
        reply
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        self.above.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        self.turn().await;
        self.above.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.turn().await;
        self.above.revoke(lease).await
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        let watch = self.above.watch(keys, from).await?;
        let (shuffled, look) = {
            let plan = self.plan.lock().unwrap();
            (plan.shuffled, plan.look)
        };
        Ok(if shuffled { in_turn(watch, look) } else { watch })
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.above.compact(revision).await
    }

    fn position(&self) -> Position {
        self.above.position()
    }

    fn accept_history(&self) {
        self.above.accept_history();
    }
}

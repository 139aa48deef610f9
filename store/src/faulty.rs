//! A store that fails on purpose, for tests of those who use one: replies get lost, requests never arrive, watches end
//! or fall silent, leases end early, the store is cut off. What fails and when is planned, or drawn from a seed.
//! It wraps any engine and keeps no data: whatever was applied, was applied by the engine below.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use rr_core::time::Span;
use tokio::sync::watch;

use crate::contract::{
    KeepAlive, Keys, LeaseId, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

/// Which calls a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Txn,
    Range,
    Grant,
    KeepAlive,
    Revoke,
    Watch,
    Compact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request waits this long (on tokio's clock), then goes its way.
    Delay(Span),
    /// Applied, and the caller is told that the outcome is unknown.
    LostReply,
    /// Not applied, and the caller is told that the outcome is unknown.
    Dropped,
    /// Not applied, and the caller is told so.
    Refused,
}

#[derive(Debug, Default)]
struct Plan {
    planned: VecDeque<(Option<Call>, Fault)>,
    chances: Vec<(Fault, u32)>,
    random: u64,
    /// Faults that took place.
    happened: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    cut_off: bool,
    watches_silent: bool,
    /// Watches opened under an older number have ended.
    watch_generation: u64,
}

pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    line: watch::Sender<Line>,
}

impl FaultyStore {
    /// No faults until some are asked for.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        let (line, _) = watch::channel(Line::default());
        Arc::new(Self { inner, plan: Mutex::new(Plan::default()), line })
    }

    /// The next call of this kind (`None`: of any kind) has this fault. Plans are used up in the order they were made.
    pub fn plan(&self, call: impl Into<Option<Call>>, fault: Fault) {
        self.locked().planned.push_back((call.into(), fault));
    }

    /// From now on each call that nothing is planned for has one of these faults with its chance in a thousand, drawn
    /// from the seed: the same calls in the same order fail alike. An empty list ends it.
    pub fn chances(&self, seed: u64, chances: &[(Fault, u32)]) {
        let mut plan = self.locked();
        plan.random = seed;
        plan.chances = chances.to_vec();
    }

    /// While cut off every call is refused and watches are silent.
    pub fn cut_off(&self, cut_off: bool) {
        self.line.send_modify(|line| line.cut_off = cut_off);
    }

    /// Silent watches neither deliver nor end; what they missed comes when they speak again.
    pub fn silence_watches(&self, silent: bool) {
        self.line.send_modify(|line| line.watches_silent = silent);
    }

    /// Ends all watches that are open now.
    pub fn end_watches(&self) {
        self.line.send_modify(|line| line.watch_generation += 1);
    }

    /// Ends a lease before its time, as a store that lost track of it would.
    pub async fn expire(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.inner.revoke(lease).await
    }

    #[must_use]
    pub fn faults_happened(&self) -> u64 {
        self.locked().happened
    }

    fn locked(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.line.borrow().cut_off {
            return Err(StoreError::Unavailable("cut off (planned)".into()));
        }
        let fault = self.locked().draw(call);
        match fault {
            None => request.await,
            Some(Fault::Delay(span)) => {
                tokio::time::sleep(span.as_std()).await;
                request.await
            }
            Some(Fault::LostReply) => match request.await {
                Ok(_) => Err(StoreError::Unknown("reply lost (planned)".into())),
                Err(error) => Err(error),
            },
            Some(Fault::Dropped) => Err(StoreError::Unknown("request dropped (planned)".into())),
            Some(Fault::Refused) => Err(StoreError::Unavailable("refused (planned)".into())),
        }
    }
}

impl Plan {
    fn draw(&mut self, call: Call) -> Option<Fault> {
        let planned = self.planned.iter().position(|(wanted, _)| wanted.is_none_or(|wanted| wanted == call));
        let fault = match planned {
            Some(at) => self.planned.remove(at).map(|(_, fault)| fault),
            None => self.draw_by_chance(),
        };
        self.happened += u64::from(fault.is_some());
        fault
    }

    fn draw_by_chance(&mut self) -> Option<Fault> {
        if self.chances.is_empty() {
            return None;
        }
        let mut drawn = u32::try_from(self.next_random() % 1_000).unwrap_or(0);
        for (fault, chance) in &self.chances {
            if drawn < *chance {
                return Some(*fault);
            }
            drawn -= chance;
        }
        None
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): enough to spread faults, and the same on every machine.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        self.call(Call::Txn, self.inner.txn(txn)).await
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        self.call(Call::Range, self.inner.range(keys)).await
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        self.call(Call::Grant, self.inner.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        self.call(Call::KeepAlive, self.inner.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.call(Call::Revoke, self.inner.revoke(lease)).await
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        let inner = self.call(Call::Watch, self.inner.watch(keys, from)).await?;
        let mut line = self.line.subscribe();
        let generation = line.borrow_and_update().watch_generation;
        Ok(Box::pin(stream::unfold((inner, line), move |(mut inner, mut line)| async move {
            let item = next_item(&mut inner, &mut line, generation).await?;
            Some((item, (inner, line)))
        })))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.call(Call::Compact, self.inner.compact(revision)).await
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn accept_history(&self) {
        self.inner.accept_history();
    }
}

type Item = <WatchStream as stream::Stream>::Item;

async fn next_item(inner: &mut WatchStream, line: &mut watch::Receiver<Line>, generation: u64) -> Option<Item> {
    loop {
        let now = *line.borrow_and_update();
        if now.watch_generation != generation {
            return None;
        }
        if now.cut_off || now.watches_silent {
            line.changed().await.ok()?;
            continue;
        }
        tokio::select! {
            // A fault set before an event hides the event.
            biased;
            changed = line.changed() => changed.ok()?,
            item = inner.next() => return item,
        }
    }
}

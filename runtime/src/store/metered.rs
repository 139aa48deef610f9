//! A store that has the time of its requests taken, and the ends of its watches and its failed renewals counted. It changes
//! nothing of what is asked or answered.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use rr_core::time::Span;
use rr_store::{
    KeepAlive, Keys, LeaseId, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

use crate::metrics::Metrics;

pub struct Metered {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Metered {
    #[must_use]
    pub fn over(store: Arc<dyn Store>, metrics: Metrics) -> Arc<dyn Store> {
        Arc::new(Self { store, metrics })
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let answer = request.await;
        self.metrics.request(operation, start.elapsed(), answer.as_ref().err());
        answer
    }
}

#[async_trait]
impl Store for Metered {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        self.timed("txn", self.store.txn(txn)).await
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        self.timed("range", self.store.range(keys)).await
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        self.timed("grant", self.store.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        let answer = self.timed("keep_alive", self.store.keep_alive(lease)).await;
        match &answer {
            Ok(KeepAlive::Alive(_)) => {}
            Ok(KeepAlive::Gone) => self.metrics.not_renewed(None),
            Err(error) => self.metrics.not_renewed(Some(error)),
        }
        answer
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.timed("revoke", self.store.revoke(lease)).await
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        let events = self.timed("watch", self.store.watch(keys, from)).await?;
        Ok(counted(events, self.metrics.clone()))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.timed("compact", self.store.compact(revision)).await
    }

    fn position(&self) -> Position {
        self.store.position()
    }

    fn accept_history(&self) {
        self.store.accept_history();
    }
}

/// The same events; one that is let go before its end was no loss and is not counted.
fn counted(events: WatchStream, metrics: Metrics) -> WatchStream {
    let next = move |events: Option<WatchStream>| {
        let metrics = metrics.clone();
        async move {
            let mut events = events?;
            match events.next().await {
                Some(Ok(event)) => Some((Ok(event), Some(events))),
                ended => {
                    metrics.watch_ended();
                    // Nothing comes after an error.
                    ended.map(|error| (error, None))
                }
            }
        }
    };
    stream::unfold(Some(events), next).fuse().boxed()
}

#[cfg(test)]
mod tests {
    use rr_store::WatchEvent;

    use super::*;

    fn event(revision: u64) -> Result<WatchEvent, StoreError> {
        Ok(WatchEvent { revision, changes: vec![] })
    }

    async fn ends(events: Vec<Result<WatchEvent, StoreError>>, read: usize) -> String {
        let metrics = Metrics::of("test");
        let mut counted = counted(stream::iter(events).boxed(), metrics.clone());
        for _ in 0..read {
            counted.next().await;
        }
        let text = metrics.text().await;
        let line = text.lines().find(|l| l.starts_with("railroad_watch_restarts_total")).unwrap();
        line.split(' ').next_back().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_watch_that_breaks_or_ends_is_counted_once_and_one_let_go_is_not() {
        assert_eq!(ends(vec![event(1), event(2)], 2).await, "0");
        assert_eq!(ends(vec![event(1)], 2).await, "1");
        assert_eq!(ends(vec![event(1), Err(StoreError::Unknown("x".into()))], 4).await, "1");
    }
}

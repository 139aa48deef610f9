//! A store for programs that keep nothing of what they read: when the one behind it went back (G10), it says so once and goes
//! on with the history that is there. A sidecar must not use it: it holds what other hosts rely on.

use std::sync::Arc;

use async_trait::async_trait;
use rr_core::time::Span;

use crate::contract::{
    KeepAlive, Keys, LeaseId, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};

pub struct Forgetful(Arc<dyn Store>);

impl Forgetful {
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self(store))
    }

    fn told<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::WentBack { .. }) = &answer {
            self.0.accept_history();
        }
        answer
    }
}

#[async_trait]
impl Store for Forgetful {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        self.told(self.0.txn(txn).await)
    }

    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        self.told(self.0.range(keys).await)
    }

    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        self.told(self.0.grant(ttl).await)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        self.told(self.0.keep_alive(lease).await)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.told(self.0.revoke(lease).await)
    }

    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        self.told(self.0.watch(keys, from).await)
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.told(self.0.compact(revision).await)
    }

    fn position(&self) -> Position {
        self.0.position()
    }

    fn accept_history(&self) {
        self.0.accept_history();
    }
}

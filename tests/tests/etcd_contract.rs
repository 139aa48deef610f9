//! The contract suite on the etcd engine, against real etcd: one member and three. The store object lives through the
//! restarts of its cluster, so that its own recovery is checked along with etcd's.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rr_core::time::Span;
use rr_runtime::clock::BootClock;
use rr_store::suite::{Harness, Stop};
use rr_store::{EtcdOptions, EtcdStore, Store};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

struct Etcd {
    cluster: Mutex<EtcdCluster>,
    store: Arc<EtcdStore>,
}

impl Etcd {
    async fn new(members: usize) -> Self {
        let cluster = EtcdCluster::start(members, EtcdSetup::default());
        let options = EtcdOptions { endpoints: cluster.endpoints(), ..EtcdOptions::default() };
        let store = EtcdStore::connect(options, Arc::new(BootClock)).await.unwrap();
        Self { cluster: Mutex::new(cluster), store }
    }
}

#[async_trait]
impl Harness for Etcd {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn restart(&self, stop: Stop) {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).restart_all(stop == Stop::Clean);
    }

    /// etcd's time is the real one.
    async fn advance(&self, span: Span) {
        tokio::time::sleep(span.as_std()).await;
    }

    /// Two fifths of it are what a restarted cluster has to be back in on a busy machine.
    fn ttl(&self) -> Span {
        Span::from_secs(10)
    }
}

mod one_member {
    use super::*;

    async fn harness() -> Etcd {
        Etcd::new(1).await
    }

    rr_store::contract_suite!(harness);
}

mod three_members {
    use super::*;

    async fn harness() -> Etcd {
        Etcd::new(3).await
    }

    rr_store::contract_suite!(harness);
}

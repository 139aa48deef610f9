//! The etcd engine against real etcd that is hurt: members killed, frozen, full, compacted, put back to an earlier state,
//! behind TLS and passwords. What every engine must do without faults is in `etcd_contract`.

#[path = "etcd_store/access.rs"]
mod access;
#[path = "etcd_store/endpoints.rs"]
mod endpoints;
#[path = "etcd_store/faults.rs"]
mod faults;
#[path = "etcd_store/history.rs"]
mod history;
#[path = "etcd_store/leases.rs"]
mod leases;
#[path = "etcd_store/watches.rs"]
mod watches;

use std::sync::Arc;
use std::time::Duration;

use rr_runtime::clock::BootClock;
use rr_store::etcd::TlsFiles;
use rr_store::{
    EtcdOptions, EtcdStore, Keys, Op, Position, RangeReply, Revision, Store, StoreError, Txn, WatchEvent, WatchStream,
};
use rr_tests::etcd::EtcdCluster;

/// Only a hang reaches it: an election under load takes a few seconds.
const SOON: Duration = Duration::from_secs(60);

fn options(cluster: &EtcdCluster) -> EtcdOptions {
    EtcdOptions { endpoints: cluster.endpoints(), ..EtcdOptions::default() }
}

async fn connect(cluster: &EtcdCluster) -> Arc<EtcdStore> {
    connect_with(options(cluster)).await
}

async fn connect_with(options: EtcdOptions) -> Arc<EtcdStore> {
    EtcdStore::connect(options, Arc::new(BootClock)).await.unwrap()
}

async fn connect_from(cluster: &EtcdCluster, seen: Position) -> Arc<EtcdStore> {
    EtcdStore::connect_from(options(cluster), seen, Arc::new(BootClock)).await.unwrap()
}

fn tls_files(dir: &std::path::Path, name: &str) -> TlsFiles {
    TlsFiles { ca: dir.join("ca.pem"), cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Txn {
    Txn::default().then(vec![Op::put(key, value)])
}

async fn write(store: &EtcdStore, key: &str, value: impl Into<Vec<u8>>) -> Revision {
    store.txn(put(key, value)).await.unwrap().revision
}

async fn read(store: &EtcdStore, key: &str) -> Result<RangeReply, StoreError> {
    store.range(Keys::one(key)).await
}

/// Asks again until the answer is as wanted; errors that may pass are no answer.
async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.is_retryable() || error.is_unknown(), "{what}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(|_| panic!("waited {SOON:?} in vain: {what}"))
}

/// The next item; none if the watch has ended.
async fn next(watch: &mut WatchStream) -> Option<Result<WatchEvent, StoreError>> {
    let item = tokio::time::timeout(SOON, futures::StreamExt::next(watch)).await;
    item.unwrap_or_else(|_| panic!("waited {SOON:?} in vain for a watch"))
}

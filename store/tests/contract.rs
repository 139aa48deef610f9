//! The contract suite on the embedded engine: as it is, with a log that is rewritten all the time, and behind a faulty
//! store that has no faults planned.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::Embedded;
use rr_core::time::Span;
use rr_store::faulty::FaultyStore;
use rr_store::suite::{Harness, Stop};
use rr_store::{Options, Store};

mod embedded {
    use super::*;

    async fn harness() -> Embedded {
        tokio::task::yield_now().await;
        Embedded::new(Options::default())
    }

    rr_store::contract_suite!(harness);
}

mod embedded_rewriting_its_log {
    use super::*;

    async fn harness() -> Embedded {
        tokio::task::yield_now().await;
        Embedded::new(Options { log_growth_max: 1, ..Options::default() })
    }

    rr_store::contract_suite!(harness);
}

mod faulty_without_faults {
    use super::*;

    struct Wrapped(Embedded);

    #[async_trait]
    impl Harness for Wrapped {
        fn store(&self) -> Arc<dyn Store> {
            FaultyStore::new(self.0.store())
        }

        async fn restart(&self, stop: Stop) {
            self.0.restart(stop).await;
        }

        async fn advance(&self, span: Span) {
            self.0.advance(span).await;
        }

        fn ttl(&self) -> Span {
            self.0.ttl()
        }
    }

    async fn harness() -> Wrapped {
        tokio::task::yield_now().await;
        Wrapped(Embedded::new(Options::default()))
    }

    rr_store::contract_suite!(harness);
}

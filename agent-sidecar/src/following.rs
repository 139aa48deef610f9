//! Following the fleet: who is here and who holds what, from the store's watches and never by asking again. It keeps the view
//! up to date that texts are made from, and notices at once when a lock of ours was taken away (X10).

use std::sync::Arc;
use std::time::Duration;

use rr_core::lock::LockEvent;
use rr_fleet::{FleetError, Follower, GrantedLock, Moved, Now};
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::table::AgentSession;

/// Pause before a store that did not answer is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

impl Service {
    /// Follows the fleet until shutdown.
    pub(crate) async fn follow_work(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.begin_to_follow().await {
                Ok(follower) => {
                    // What went before the watch began is found by asking.
                    for who in self.all() {
                        self.notice_lost(&who).await;
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = self.follow_with(follower) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "follow the fleet");
                }
            }
            let _ = tokio::time::timeout(RETRY_EVERY, shutdown.cancelled()).await;
        }
    }

    async fn begin_to_follow(&self) -> Result<Follower, FleetError> {
        let revision = self.view.begin(&self.fleet).await?;
        self.fleet.follow_work(revision).await
    }

    /// Until a watch ends.
    async fn follow_with(&self, mut follower: Follower) {
        while let Ok(moves) = follower.changed().await {
            for moved in &moves.moved {
                if let Moved::Lock { key, now: Now::Gone, .. } = moved {
                    self.key_gone(key);
                }
            }
            self.view.take_in(moves);
        }
    }

    fn key_gone(&self, key: &str) {
        for who in self.all() {
            for lock in who.lock().locks.iter_mut().filter(|l| l.grant.key == key) {
                lock.state = lock.state.on(LockEvent::KeyGone);
            }
        }
    }

    async fn notice_lost(&self, who: &AgentSession) {
        let held: Vec<GrantedLock> = who.lock().locks.iter().map(|l| l.grant.clone()).collect();
        let Ok(stored) = self.fleet.stored_tokens(&held).await else { return };
        for (lock, stored) in held.iter().zip(stored) {
            if stored != Some(lock.token) {
                self.key_gone(&lock.key);
            }
        }
    }
}

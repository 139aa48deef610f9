//! Following the fleet: who is here and who holds what, from the store's watches and never by asking again. It draws the view
//! that texts are made from, and notices at once when a lock of ours was taken away (X10).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_core::lock::LockEvent;
use rr_fleet::{Follower, GrantedLock};
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::table::AgentSession;
use crate::view;

/// A burst of changes is drawn at once.
const SETTLE: Duration = Duration::from_millis(50);
/// And drawing takes at most one part in so many of a core, however large the fleet.
const REST_PER_DRAW: u32 = 20;
/// Pause before a store that did not answer is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

impl Service {
    /// Follows the fleet until shutdown.
    pub(crate) async fn follow_work(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.fleet.follow_work().await {
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

    /// Until a watch ends.
    async fn follow_with(&self, mut follower: Follower) {
        let mut rest = SETTLE;
        let mut draw_at = Some(tokio::time::Instant::now());
        loop {
            let drawn = async {
                match draw_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = follower.changed() => {
                    let Ok(gone) = changed else { return };
                    gone.iter().for_each(|key| self.key_gone(key));
                    draw_at = draw_at.or_else(|| Some(tokio::time::Instant::now() + rest));
                }
                () = drawn => {
                    draw_at = None;
                    let began = Instant::now();
                    match follower.overview() {
                        Ok(all) => view::show(&self.view, all),
                        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "draw the fleet"),
                    }
                    rest = SETTLE.max(began.elapsed() * REST_PER_DRAW);
                }
            }
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

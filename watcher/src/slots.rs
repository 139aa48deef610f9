//! This host's slots for checks: counted in the store like everybody else's, so that two watchers or daemons of one host never run
//! more checks than one would. Without the store's word no check begins, and one whose slot is lost is ended. How urgent a check is,
//! and where it runs, is `workshop`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rr_core::id::HostId;
use rr_core::time::Span;
use rr_fleet::{Fleet, FleetError, SlotHolder, SlotPlace, SlotTicket};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::CHECKS_SLOT;
use rr_runtime::trouble::Trouble;
use tokio_util::sync::CancellationToken;

/// The longest that one look at the line takes: the place's lease is renewed with each.
const LOOK: Span = Span::from_secs(5);

/// Checks that one host runs at a time.
pub(crate) struct HostSlots {
    fleet: Fleet,
    host: HostId,
    of: usize,
    shutdown: CancellationToken,
    /// What an earlier life of this process has left in the line is still to be cleared. Only where nobody else can be in it.
    leftovers: AtomicBool,
}

/// The right to run one check; given back when dropped.
pub(crate) struct HostSlot {
    _place: Arc<Place>,
    /// Cancelled when the slot is lost, and at shutdown: the check is ended then.
    pub(crate) over: CancellationToken,
    keeping: tokio::task::AbortHandle,
}

/// A place in line that is given up when it is dropped.
struct Place {
    fleet: Fleet,
    ticket: SlotTicket,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Outside of a runtime everything ends, and the lease with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (fleet, ticket) = (self.fleet.clone(), self.ticket.clone());
        runtime.spawn(async move {
            if let Err(error) = fleet.leave_line(&ticket).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a slot for checks is left to its lease");
            }
        });
    }
}

impl Drop for HostSlot {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl HostSlots {
    /// `is_alone`: nobody else can have this store open.
    pub(crate) fn new(fleet: Fleet, host: HostId, of: usize, is_alone: bool, shutdown: CancellationToken) -> Self {
        Self { fleet, host, of, shutdown, leftovers: AtomicBool::new(is_alone) }
    }

    /// Waits for a slot, however long that takes. Dropped, it leaves the line.
    pub(crate) async fn take(&self) -> HostSlot {
        let mut trouble = Trouble::with("wait for a slot for a check");
        loop {
            match self.try_take().await {
                Ok(Some(slot)) => return slot,
                // Its lease ran out while it waited: to the back of the line.
                Ok(None) => trouble.worked(),
                Err(error) => {
                    let wait = trouble.failed(&rr_runtime::errors::chain(&error));
                    tokio::time::sleep(wait.as_std()).await;
                }
            }
        }
    }

    async fn try_take(&self) -> Result<Option<HostSlot>, FleetError> {
        if self.leftovers.load(Ordering::Relaxed) {
            self.fleet.empty_line(&self.host, CHECKS_SLOT).await?;
            self.leftovers.store(false, Ordering::Relaxed);
        }
        let who = format!("the watcher (pid {})", std::process::id());
        let holder = SlotHolder { who, since_unix_ms: unix_ms(), ..SlotHolder::default() };
        let Some(place) = self.join(holder).await? else { return Ok(None) };
        let place = Arc::new(place);
        loop {
            let until = self.fleet.clock().now() + LOOK;
            match self.fleet.stay_in_line(&place.ticket, self.of, until).await? {
                SlotPlace::HasIt => return Ok(Some(self.kept(place))),
                SlotPlace::Waits { .. } => {}
                SlotPlace::Gone => return Ok(None),
            }
        }
    }

    /// Stands in line, in a task of its own: whoever gives up while the store is being asked has a place by then, or will have one, and
    /// nobody else would leave it before its lease ends.
    async fn join(&self, holder: SlotHolder) -> Result<Option<Place>, FleetError> {
        let (fleet, host, of) = (self.fleet.clone(), self.host.clone(), self.of);
        let joining = tokio::spawn(async move {
            let ticket = fleet.join_line(&host, CHECKS_SLOT, of, &holder).await?;
            Ok(Place { fleet, ticket })
        });
        // A runtime that ends takes its tasks along.
        joining.await.map_or(Ok(None), |joined| joined.map(Some))
    }

    fn kept(&self, place: Arc<Place>) -> HostSlot {
        let over = self.shutdown.child_token();
        let keeping = tokio::spawn(keep(place.clone(), self.of, over.clone())).abort_handle();
        HostSlot { _place: place, over, keeping }
    }
}

/// Renews a slot's lease. When it cannot be known any more that it is held, the check is over.
async fn keep(place: Arc<Place>, of: usize, over: CancellationToken) {
    let timing = *place.fleet.timing();
    let mut proven = place.fleet.clock().now();
    loop {
        tokio::time::sleep(timing.keep_alive.as_std()).await;
        let sent = place.fleet.clock().now();
        match place.fleet.stay_in_line(&place.ticket, of, sent).await {
            Ok(SlotPlace::HasIt) => proven = sent,
            Ok(SlotPlace::Waits { .. } | SlotPlace::Gone) => break,
            Err(_) if place.fleet.clock().now().since(proven) < timing.cut_off => {}
            Err(_) => break,
        }
    }
    tracing::warn!(slot = place.ticket.name, "the slot of a check was lost: the check is ended");
    over.cancel();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rr_core::id::{Entropy as _, FleetName};
    use rr_core::limits::Timing;
    use rr_runtime::clock::BootClock;
    use rr_runtime::entropy::OsEntropy;
    use rr_store::faulty::{Fault, FaultyStore};
    use rr_store::{EmbeddedStore, Options, Store};
    use tokio::time::timeout;

    use super::*;

    /// Far above what any step needs; only a failing test waits for it.
    const LONG: Duration = Duration::from_secs(30);

    async fn within<T>(what: impl Future<Output = T>) -> T {
        timeout(LONG, what).await.expect("it happens")
    }

    fn hasty() -> Timing {
        let (lease, keep_alive) = (Span::from_secs(60), Span::from_millis(20));
        Timing { lease, keep_alive, cut_off: Span::from_millis(200), ..Timing::default() }
    }

    async fn slots(store: Arc<dyn Store>, host: &HostId, is_alone: bool) -> HostSlots {
        let fleet = Fleet::open(store, &FleetName::default(), Arc::new(BootClock), Arc::new(OsEntropy), hasty()).await;
        HostSlots::new(fleet.expect("opens"), host.clone(), 1, is_alone, CancellationToken::new())
    }

    fn store() -> (Arc<EmbeddedStore>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("folder");
        (EmbeddedStore::open(folder.path(), Options::default(), Arc::new(BootClock)).expect("store"), folder)
    }

    #[tokio::test]
    async fn two_watchers_of_one_host_take_turns_and_another_host_has_its_own() {
        let (store, _folder) = store();
        let host = HostId::from_random(OsEntropy.bits());
        let (one, two) = (slots(store.clone(), &host, false).await, slots(store.clone(), &host, false).await);
        let first = within(one.take()).await;
        let elsewhere = slots(store, &HostId::from_random(OsEntropy.bits()), false).await;
        drop(within(elsewhere.take()).await);
        let mut waiting = std::pin::pin!(two.take());
        // In line, which the store says, and not yet served.
        let in_line = async {
            while one.fleet.slots().await.expect("listed").len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut waiting => panic!("two at once"),
            () = in_line => {}
        }
        drop(first);
        let second = within(waiting).await;
        assert!(!second.over.is_cancelled());
    }

    #[tokio::test]
    async fn who_gives_up_at_any_moment_leaves_nothing_in_line() {
        let (store, _folder) = store();
        let host = HostId::from_random(OsEntropy.bits());
        let slots = slots(store, &host, false).await;
        // At each of these moments it is dropped once: before it asks, while the store is asked, in line, and served.
        for moment in 0..40 {
            {
                let mut taken = std::pin::pin!(slots.take());
                for _ in 0..moment {
                    tokio::select! {
                        biased;
                        _ = &mut taken => break,
                        () = tokio::time::sleep(Duration::from_micros(200)) => {}
                    }
                }
            }
            // Long before any lease ends the next one has it.
            drop(within(slots.take()).await);
        }
        within(async {
            while !slots.fleet.slots().await.expect("listed").is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn who_is_put_out_of_line_ends_its_check_or_stands_in_line_again() {
        let (store, _folder) = store();
        let host = HostId::from_random(OsEntropy.bits());
        let slots = slots(store, &host, false).await;
        let held = within(slots.take()).await;
        let waiting = async {
            let next = slots.take().await;
            let rows = slots.fleet.slots().await.expect("listed");
            assert!(rows.iter().any(|row| row.has_it), "a slot that the store knows of: {rows:?}");
            drop(next);
        };
        let put_out = async {
            while slots.fleet.slots().await.expect("listed").len() < 2 {
                tokio::task::yield_now().await;
            }
            slots.fleet.empty_line(&host, CHECKS_SLOT).await.expect("emptied");
            held.over.cancelled().await;
        };
        within(async { tokio::join!(waiting, put_out) }).await;
    }

    #[tokio::test]
    async fn without_the_stores_word_no_check_begins_and_a_running_one_is_ended() {
        let (store, _folder) = store();
        let faulty = FaultyStore::new(store);
        let host = HostId::from_random(OsEntropy.bits());
        let slots = slots(faulty.clone(), &host, false).await;
        let held = within(slots.take()).await;
        faulty.chances(1, &[(Fault::Refused, 1_000)]);
        within(held.over.cancelled()).await;
        drop(held);
        let mut waiting = std::pin::pin!(slots.take());
        let refused = async {
            let before = faulty.faults_happened();
            while faulty.faults_happened() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = &mut waiting => panic!("a check without the store's word"),
            () = within(refused) => {}
        }
        faulty.chances(1, &[]);
        slots.fleet.empty_line(&host, CHECKS_SLOT).await.expect("emptied");
        drop(within(waiting).await);
    }

    #[tokio::test]
    async fn what_an_earlier_life_has_left_is_cleared_where_nobody_else_can_be() {
        let (store, _folder) = store();
        let host = HostId::from_random(OsEntropy.bits());
        let earlier = slots(store.clone(), &host, true).await;
        // As a process leaves it that was killed: nothing is given back.
        std::mem::forget(within(earlier.take()).await);
        let now = slots(store, &host, true).await;
        drop(within(now.take()).await);
    }
}

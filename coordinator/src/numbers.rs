//! The fleet's size and state for the metrics page, read from the store when somebody reads the page: a coordinator that nobody
//! looks at reads nothing.

use std::sync::Arc;
use std::time::Duration;

use rr_fleet::{Fleet, FleetError, Overview};
use rr_runtime::errors::chain;
use rr_runtime::metrics::{FleetSize, Metrics};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A picture this old still will do: several pages, or an impatient reader, cost one read of the fleet.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn show(metrics: &Metrics, fleet: Fleet) {
    let (target, looked) = (metrics.clone(), Arc::new(Mutex::new(None::<Instant>)));
    metrics.look_first(move || {
        let (target, looked, fleet) = (target.clone(), Arc::clone(&looked), fleet.clone());
        Box::pin(async move {
            let mut looked = looked.lock().await;
            if looked.is_some_and(|at| at.elapsed() < LOOK_AT_MOST_EVERY) {
                return;
            }
            match look(&fleet).await {
                Ok((all, waiting)) => set(&target, &all, waiting),
                Err(error) => tracing::warn!(error = %chain(&error), "count the fleet"),
            }
            *looked = Some(Instant::now());
        })
    });
}

async fn look(fleet: &Fleet) -> Result<(Overview, usize), FleetError> {
    let asked = fleet.approvals().await?;
    Ok((fleet.overview().await?, asked.iter().filter(|row| row.is_waiting()).count()))
}

fn set(metrics: &Metrics, all: &Overview, approvals_waiting: usize) {
    metrics.approvals_waiting(approvals_waiting);
    let Overview { state, sessions, locks, waiters, .. } = all;
    metrics.fleet_state(state.is_paused(), state.epoch.0);
    metrics.fleet_size(FleetSize { sessions: sessions.len(), locks: locks.len(), waiters: waiters.len() });
}

//! A pause of the show: `rrctl pause-all --wait`, some time, `rrctl resume`. Owns the proof that nothing was written meanwhile:
//! the files are compared over the time in which all agents were drained.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ledger::Picture;
use super::place::Place;
use super::play::millis;
use crate::exit::Failure;

/// The pause is kept up this long: several times what an agent thinks.
const PAUSE: Duration = Duration::from_millis(600);

/// The pause as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pause {
    /// All agents were known to be drained, until resuming was asked for.
    from_unix_ms: u64,
    until_unix_ms: u64,
    pub(crate) lasted_ms: u64,
    pub(crate) files_changed: usize,
}

impl Pause {
    pub(crate) fn covers(&self, unix_ms: u64) -> bool {
        (self.from_unix_ms + 1..self.until_unix_ms).contains(&unix_ms)
    }
}

pub(crate) async fn pause(place: Place) -> Result<Pause, Failure> {
    let look = || Picture::of(place.repo()).map_err(|e| Failure::at("look at the files", &e));
    let paused = place.rrctl(&["pause-all", "--reason", "demo", "--wait", "20"]).await?;
    let (from_unix_ms, start, before) = (rr_runtime::clock::unix_ms(), Instant::now(), look()?);
    sleep(PAUSE).await;
    let files_changed = look()?.changed_since(&before);
    let until_unix_ms = rr_runtime::clock::unix_ms();
    place.rrctl(&["resume", "--epoch", &paused["epoch"].to_string()]).await?;
    Ok(Pause { from_unix_ms, until_unix_ms, lasted_ms: millis(start.elapsed()), files_changed })
}

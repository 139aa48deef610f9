//! Waiting for a condition in another process, which can only be asked again and again.
//!
//! Tests wait with this instead of sleeping: it returns as soon as the condition holds and names
//! what did not happen when it never does.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Between two looks: far below the start of a process, far above the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Returns once `holds` says so; an error that names `what` after `limit`.
pub async fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            bail!("waited {limit:?} and this did not happen: {what}");
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

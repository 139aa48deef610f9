//! Waiting for a condition in another process, which can only be asked again and again.
//!
//! Tests wait with this instead of sleeping: it returns as soon as the condition holds and names
//! what did not happen when it never does.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};
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

/// Returns when somebody wants this program to end: Ctrl-C, SIGTERM, a closed terminal.
pub async fn asked_to_end() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hang_up.recv() => {} }
    Ok(())
}

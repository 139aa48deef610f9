//! Room for locks: the leader counts them as they come and go, and closes the fleet to new ones at its cap (H27). It decides
//! nothing about any one lock. Next: `rr_fleet`'s `fill`.

use std::convert::Infallible;
use std::time::Duration;

use rr_fleet::{Fleet, FleetError, Leader};
use tokio::time::{Instant, sleep_until};

use rr_runtime::trouble::Trouble;

/// How often they are counted: what is granted meanwhile may overshoot the cap.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Counts for as long as it is not dropped: that ends with the term.
pub(crate) async fn mind(fleet: &Fleet, leader: &Leader) -> Infallible {
    let mut trouble = Trouble::with("count the fleet's locks");
    loop {
        let Err(error) = count(fleet, leader, &mut trouble).await;
        let wait = trouble.failed(&rr_runtime::errors::chain(&error));
        tokio::time::sleep(wait.as_std()).await;
    }
}

async fn count(fleet: &Fleet, leader: &Leader, trouble: &mut Trouble) -> Result<Infallible, FleetError> {
    let mut count = fleet.count_locks().await?;
    let mut closed = fleet.is_closed().await?;
    trouble.worked();
    loop {
        let full = Fleet::is_full(count.locks(), closed);
        if full != closed && fleet.close(leader, full).await? {
            tracing::warn!(locks = count.locks(), full, "the fleet's room for locks changed");
            closed = full;
        }
        let next = Instant::now() + COUNT_EVERY;
        loop {
            tokio::select! {
                changed = count.changed() => changed?,
                () = sleep_until(next) => break,
            }
        }
    }
}

//! The worst of the show: etcd loses its leader, and one host is cut off until the fleet has given up its agents. Owns when
//! the cut ends and what was right and wrong meanwhile; the cut itself is `cables`', the kill `cluster`'s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::place::Place;
use super::stage::{CUT_OFF, Network};
use crate::exit::{Failure, Kind};

/// A lease (13 s), which a new leader may count from the beginning, and some more.
const GIVE_UP_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A call that was let through in the last moment is made and noted within this.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The cut as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub(crate) from_unix_ms: u64,
    pub(crate) until_unix_ms: u64,
    pub(crate) lasted: Duration,
}

impl Cut {
    pub(crate) fn covers(&self, unix_ms: u64) -> bool {
        (self.from_unix_ms..self.until_unix_ms).contains(&unix_ms)
    }

    /// Nothing may be written any more on the host that is cut off.
    pub(crate) fn forbids(&self, unix_ms: u64) -> bool {
        let grace = u64::try_from((CUT_OFF + LAST_CALL).as_millis()).unwrap_or(u64::MAX);
        (self.from_unix_ms.saturating_add(grace)..self.until_unix_ms).contains(&unix_ms)
    }
}

/// Kills the leader; which member it was.
pub(crate) async fn kill_leader(network: &Network) -> Result<usize, Failure> {
    network.cluster.kill_leader().await
}

/// Cuts a host off until `other` sees none of the sessions of its agents any more.
pub(crate) async fn cut(network: Arc<Network>, host: usize, pids: BTreeSet<u32>, other: Place) -> Result<Cut, Failure> {
    let (from_unix_ms, start) = (rr_runtime::clock::unix_ms(), Instant::now());
    network.cables[host].cut();
    let given_up = async {
        while sees(&other, &pids).await {
            sleep(LOOK_EVERY).await;
        }
    };
    let ended = timeout(GIVE_UP_MAX, given_up).await;
    let until_unix_ms = rr_runtime::clock::unix_ms();
    network.cables[host].heal();
    let held = || Failure::new(Kind::Failed, format!("host {} was cut off and its sessions stayed", host + 1));
    ended.map_err(|_| held())?;
    Ok(Cut { from_unix_ms, until_unix_ms, lasted: start.elapsed() })
}

/// An order that fails is no sight of anything: a new leader may just be on its way.
async fn sees(place: &Place, pids: &BTreeSet<u32>) -> bool {
    let Ok(status) = place.rrctl(&["status"]).await else { return true };
    let pid = |s: &serde_json::Value| s["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    status["sessions"].as_array().into_iter().flatten().filter_map(pid).any(|pid| pids.contains(&pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_cut_off_and_a_moment_nothing_may_be_written_until_the_cut_is_healed() {
        let cut = Cut { from_unix_ms: 1_000, until_unix_ms: 20_000, lasted: Duration::from_secs(19) };
        let forbidden = [999, 4_999, 5_000, 19_999, 20_000].map(|at| cut.forbids(at));
        assert_eq!(forbidden, [false, false, true, true, false]);
        assert!(cut.covers(1_000) && !cut.covers(20_000));
    }
}

//! The etcd cluster, where one is configured: each member's version, room and alarms, whether there is a leader, and how long
//! a durable write takes. It only looks; the one thing it writes is a lease that it ends at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_core::time::Span;
use rr_runtime::clock::BootClock;
use rr_runtime::config::{MachineConfig, StoreKind};
use rr_runtime::store::etcd_options;
use rr_store::etcd::{EtcdStore, Member, MemberStatus};
use rr_store::{Store as _, StoreError};

use super::Row;

/// Below these, releases lose data or leases under conditions that a fleet meets (lock-protocol §6); for each line of
/// releases the first that does not.
const FLOORS: [(u64, u64, u64); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];
/// A database this full leaves no time to act.
const FULL_PERCENT: u64 = 80;
const WRITES: usize = 5;
/// etcd asks for disks that sync in 10 ms; a lock granted over three members then takes a few of those.
const WRITE_SLOW: Duration = Duration::from_millis(100);

pub(super) async fn cluster() -> Vec<Row> {
    const CHECK: &str = "etcd";
    let Ok(config) = MachineConfig::load() else { return vec![] };
    if config.store.kind != StoreKind::Etcd {
        return vec![];
    }
    let options = match etcd_options(&config) {
        Ok(options) => options,
        Err(error) => {
            return vec![Row::fail(CHECK, rr_runtime::errors::chain(&error), "correct `store` in config.yaml")];
        }
    };
    let store = match EtcdStore::connect(options, Arc::new(BootClock)).await {
        Ok(store) => store,
        Err(error) => {
            return vec![Row::fail(
                CHECK,
                error.to_string(),
                "start etcd, or correct `store` and `tls` in config.yaml",
            )];
        }
    };
    let members = store.members().await;
    let mut rows: Vec<Row> = members.iter().map(member).collect();
    rows.push(whole(&members));
    rows.push(speed(&store).await);
    rows
}

fn member(member: &Member) -> Row {
    const CHECK: &str = "etcd member";
    let name = &member.endpoint;
    match &member.status {
        Err(why) => Row::warn(
            CHECK,
            format!("{name}: {why}"),
            "the others serve without it; bring it back before one more fails",
        ),
        Ok(status) => judged(name, status),
    }
}

fn judged(name: &str, status: &MemberStatus) -> Row {
    const CHECK: &str = "etcd member";
    let MemberStatus { version, db_bytes, quota_bytes, alarms, is_learner, .. } = status;
    let size = db_bytes >> 20;
    let found = format!("{name}: {version}, {size} MiB{}", if status.is_leader() { ", leader" } else { "" });
    if !alarms.is_empty() {
        let todo =
            "NOSPACE: compact, defragment, disarm (rrctl pause-all works all the same); CORRUPT: restore that member";
        return Row::fail(CHECK, format!("{found}, alarms: {}", alarms.join("; ")), todo);
    }
    if *is_learner {
        return Row::warn(CHECK, format!("{found}, a learner"), "promote it, or take it out of store.endpoints");
    }
    if let Some(floor) = too_old(version) {
        return Row::warn(CHECK, found, format!("update it to {floor} or later"));
    }
    match quota_bytes {
        Some(quota) if *quota > 0 && db_bytes * 100 / quota >= FULL_PERCENT => Row::warn(
            CHECK,
            format!("{found} of {} MiB", quota >> 20),
            "compact and defragment, or raise --quota-backend-bytes",
        ),
        _ => Row::ok(CHECK, found),
    }
}

/// The least release of its line, for one below it. A version that cannot be read is not judged.
fn too_old(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let first = FLOORS[0];
    let floor = FLOORS.iter().find(|f| (f.0, f.1) == (major, minor));
    let floor = floor.or(((major, minor) < (first.0, first.1)).then_some(&first))?;
    ((major, minor, patch) < *floor).then(|| format!("{}.{}.{}", floor.0, floor.1, floor.2))
}

/// How many fail until nobody serves.
fn whole(members: &[Member]) -> Row {
    const CHECK: &str = "etcd cluster";
    let up: Vec<&MemberStatus> = members.iter().filter_map(|m| m.status.as_ref().ok()).collect();
    let found = format!("{} of {} members answer", up.len(), members.len());
    if !up.iter().any(|status| status.leader.is_some()) {
        return Row::fail(
            CHECK,
            format!("{found}, and there is no leader"),
            "bring back members until more than half run",
        );
    }
    if members.len() < 3 {
        return Row::warn(CHECK, found, "with fewer than three members the first failure stops the fleet");
    }
    Row::ok(CHECK, found)
}

async fn speed(store: &EtcdStore) -> Row {
    const CHECK: &str = "etcd speed";
    match writes(store).await {
        Ok(time) if time < WRITE_SLOW => Row::ok(CHECK, format!("a durable write takes {time:.1?}")),
        Ok(time) => Row::warn(
            CHECK,
            format!("a durable write takes {time:.1?}"),
            "give its disks to etcd alone; look at wal_fsync_duration",
        ),
        Err(error) => Row::fail(CHECK, error.to_string(), "no lock is granted like this: look at the members"),
    }
}

/// The median of a few.
async fn writes(store: &EtcdStore) -> Result<Duration, StoreError> {
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let start = Instant::now();
        let lease = store.grant(Span::from_secs(10)).await?;
        times.push(start.elapsed());
        store.revoke(lease).await?;
    }
    times.sort_unstable();
    Ok(times[WRITES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::doctor::State;

    fn status(version: &str) -> MemberStatus {
        MemberStatus {
            version: version.to_owned(),
            cluster_id: 1,
            member_id: 2,
            leader: Some(2),
            is_learner: false,
            raft_term: 3,
            raft_index: 4,
            raft_applied: 4,
            db_bytes: 10 << 20,
            db_bytes_in_use: 1 << 20,
            quota_bytes: Some(100 << 20),
            alarms: vec![],
        }
    }

    #[test]
    fn releases_below_the_floor_of_their_line_are_told_with_the_one_to_take() {
        for (version, floor) in [
            ("3.4.23", Some("3.5.33")),
            ("3.5.32", Some("3.5.33")),
            ("3.5.33", None),
            ("3.6.13", Some("3.6.14")),
            ("3.6.15", None),
            ("3.7.0", Some("3.7.1")),
            ("3.7.0-rc.1", Some("3.7.1")),
            ("3.7.2", None),
            ("3.8.0", None),
            ("4.0.0", None),
            ("unknown", None),
        ] {
            assert_eq!(too_old(version).as_deref(), floor, "{version}");
            let row = judged("a", &status(version));
            assert_eq!(row.state, if floor.is_some() { State::Warn } else { State::Ok }, "{row:?}");
        }
    }

    #[test]
    fn alarms_learners_and_a_full_database_are_told() {
        let alarmed = MemberStatus { alarms: vec!["alarm:NOSPACE".to_owned()], ..status("3.7.2") };
        assert_eq!(judged("a", &alarmed).state, State::Fail);
        let learner = MemberStatus { is_learner: true, ..status("3.7.2") };
        assert_eq!(judged("a", &learner).state, State::Warn);
        let full = MemberStatus { db_bytes: 80 << 20, ..status("3.7.2") };
        assert!(judged("a", &full).found.contains("80 MiB, leader of 100 MiB"), "{:?}", judged("a", &full));
        let told_nothing = MemberStatus { quota_bytes: None, db_bytes: 80 << 20, ..status("3.5.34") };
        assert_eq!(judged("a", &told_nothing).state, State::Ok);
    }

    #[test]
    fn a_cluster_without_a_leader_fails_and_one_that_survives_nothing_warns() {
        let up = |n: usize| vec![Member { endpoint: "a".to_owned(), status: Ok(status("3.7.2")) }; n];
        assert_eq!(whole(&up(3)).state, State::Ok);
        assert_eq!(whole(&up(1)).state, State::Warn);
        let lost = Member { endpoint: "a".to_owned(), status: Ok(MemberStatus { leader: None, ..status("3.7.2") }) };
        assert_eq!(whole(&[lost]).state, State::Fail);
        let down = Member { endpoint: "b".to_owned(), status: Err("refused".to_owned()) };
        assert_eq!(member(&down).state, State::Warn);
    }
}

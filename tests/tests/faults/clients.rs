//! Clients cut off, each way, from all members and from one; and stopped for longer than their lease, like a laptop that was
//! closed (H1, H4, H5). While history is forgotten behind them, so that watches cannot go on where they were (H8).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rr_core::time::Span;
use rr_history::{Behaviour, Recorder};
use rr_store::{EtcdStore, Store as _};
use rr_tests::crowd::{Crowd, busy};
use rr_tests::etcd::{CLIENT_PORT, EtcdCluster, EtcdSetup};
use rr_tests::hosts::{Apart, Direction, Host, Machines, play};
use tokio::runtime::Handle;

use super::{ENOUGH, seed, setting};

const COMPACT_EVERY: Duration = Duration::from_millis(100);

/// Forgets all that the recorder has seen, again and again.
pub(super) async fn compact(store: Arc<EtcdStore>, recorder: Arc<Recorder>) {
    loop {
        tokio::time::sleep(COMPACT_EVERY).await;
        // Not answered, or forgotten already: the next one will do.
        let _ = store.compact(recorder.followed()).await;
    }
}

/// A crowd of which some reach the cluster by wires that can be cut.
struct Stage {
    crowd: Crowd,
    hosts: Vec<Host>,
    cluster: EtcdCluster,
    _machines: Machines,
}

async fn stage(apart: Apart) -> Stage {
    let cluster = EtcdCluster::start(3, EtcdSetup::default());
    let machines = Machines::new(apart, 2, 0).expect("machines");
    let servers: Vec<_> = (0..3).map(|member| SocketAddr::new(cluster.ip(member), CLIENT_PORT)).collect();
    let hosts = machines.hosts(&servers).expect("hosts");
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    let lasting = || Behaviour { endings: 0, deaths: 0, ..busy() };
    for host in &hosts {
        let wires = host.endpoints().iter().map(|wire| format!("http://{wire}")).collect();
        crowd.join(wires, lasting()).await;
    }
    for _ in 0..3 {
        crowd.join(cluster.endpoints(), busy()).await;
    }
    Stage { crowd, hosts, cluster, _machines: machines }
}

#[test]
fn a_client_cut_off_each_way_harms_nobody_while_history_is_forgotten() {
    play(Apart::Links, |apart| Handle::current().block_on(cuts(apart)));
}

async fn cuts(apart: Apart) {
    let Stage { crowd, hosts, cluster, _machines } = stage(apart).await;
    let compacting = tokio::spawn(compact(crowd.store.clone(), crowd.recorder.clone()));
    let long = setting("RAILROAD_FAULTS_CUT_SECS", 15) as f64;
    crowd.pass(1.0).await;
    for direction in [Direction::Up, Direction::Down] {
        // Longer than its cut-off, shorter than its lease.
        hosts[0].cut(direction);
        hosts[1].cut_from(cluster.leader(), direction);
        crowd.pass(4.0).await;
        hosts.iter().for_each(Host::heal);
        crowd.pass(1.0).await;
    }
    hosts[0].cut(Direction::Both);
    crowd.pass(long).await;
    hosts[0].heal();
    crowd.pass(2.0).await;
    crowd.until_granted(ENOUGH).await;
    compacting.abort();
    let report = crowd.judge(0).await;
    assert!(report.grants > 15 && report.unknown > 2 && report.passes > 100, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_stopped_for_longer_than_its_lease_passes_nothing_on_what_it_had() {
    let cluster = EtcdCluster::start(3, EtcdSetup::default());
    let crowd = super::crowd(&cluster, 5).await;
    let stopped = setting("RAILROAD_FAULTS_STOP_SECS", 16) as f64;
    crowd.pass(2.0).await;
    // One for less than the lease: its locks are its own still.
    crowd.members[1].stop_while_asking().await;
    crowd.members[0].stop_while_asking().await;
    crowd.pass(7.0).await;
    crowd.members[1].halt.go_on();
    crowd.pass(stopped - 7.0).await;
    crowd.members[0].halt.go_on();
    crowd.pass(3.0).await;
    crowd.until_granted(ENOUGH).await;
    let (history, report) = crowd.history(0).await;
    let longest = history.calls.iter().filter_map(|call| Some(call.answered?.since(call.invoked))).max();
    assert!(longest > Some(Span::from_secs(6)), "nothing was under way when they were stopped: {longest:?}");
    assert!(report.grants > 15 && report.passes > 100, "{report:?}");
}

//! The etcd cluster that other tests stand on: it starts, can be hurt in each way it offers, recovers, and leaves nothing
//! behind. What the engine makes of such faults is in `etcd_store`.

use std::net::TcpStream;

use rr_tests::etcd::{CLIENT_PORT, EtcdCluster, EtcdSetup};

#[test]
fn three_members_survive_a_killed_leader_and_a_frozen_follower() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    assert_eq!(cluster.endpoints().len(), 3);
    let first = cluster.leader();
    cluster.kill(first);
    let second = cluster.leader();
    assert_ne!(first, second);
    cluster.restart(first);
    cluster.wait_healthy();
    let follower = cluster.follower();
    cluster.stop(follower);
    assert!(!cluster.is_healthy(follower), "a frozen member does not answer");
    assert!(cluster.is_healthy(cluster.leader()));
    cluster.cont(follower);
    cluster.wait_healthy();
    assert!((0..3).all(|member| cluster.is_healthy(member)));
}

#[test]
fn clusters_run_side_by_side_and_nothing_is_left_of_them() {
    let one = EtcdCluster::start(1, EtcdSetup::default());
    let two = EtcdCluster::start(
        1,
        EtcdSetup { flags: vec!["--quota-backend-bytes=4194304".into()], ..EtcdSetup::default() },
    );
    assert_ne!(one.endpoints(), two.endpoints());
    assert_eq!(two.metric(0, "etcd_server_quota_backend_bytes"), Some(4_194_304.0));
    let (ip, folder) = (one.ip(0), one.data_dir(0));
    drop(one);
    assert!(TcpStream::connect((ip, CLIENT_PORT)).is_err(), "nothing listens any more");
    assert!(!folder.exists());
    assert!(two.is_healthy(0));
}

#[test]
fn an_earlier_moment_can_be_put_back() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let backup = cluster.backup();
    cluster.restart_all(true);
    let applied = cluster.metric(0, "etcd_server_proposals_applied_total").expect("a figure");
    cluster.restore(&backup);
    assert!(cluster.metric(0, "etcd_server_proposals_applied_total").expect("a figure") < applied);
}

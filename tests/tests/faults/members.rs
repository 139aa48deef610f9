//! Members killed and frozen, leaders first (H3, H5).

use rr_tests::etcd::{EtcdCluster, EtcdSetup};
use tokio::time::Instant;

use super::{ENOUGH, crowd, setting, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_killed_under_load_lose_nothing() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let crowd = crowd(&cluster, 6).await;
    let every = setting("RAILROAD_FAULTS_KILL_SECS", 4) as f64;
    let until = Instant::now() + trouble(12);
    let mut kills = 0;
    while Instant::now() < until {
        crowd.pass(every / 2.0).await;
        let leader = cluster.leader();
        cluster.kill(leader);
        kills += 1;
        crowd.pass(every / 2.0).await;
        cluster.restart(leader);
    }
    cluster.wait_healthy();
    crowd.until_granted(ENOUGH).await;
    let report = crowd.judge(2 * kills).await;
    assert!(kills > 1 && report.grants > 15 && report.waits > 20 && report.passes > 100, "{kills} kills, {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_leaders_and_followers_lose_nothing() {
    let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
    let crowd = crowd(&cluster, 6).await;
    let until = Instant::now() + trouble(12);
    let mut frozen = 0;
    while Instant::now() < until {
        let member = if frozen % 2 == 0 { cluster.leader() } else { cluster.follower() };
        cluster.stop(member);
        frozen += 1;
        crowd.pass(4.0).await;
        cluster.cont(member);
        crowd.pass(1.0).await;
    }
    cluster.wait_healthy();
    crowd.until_granted(ENOUGH).await;
    let report = crowd.judge(2 * frozen).await;
    assert!(frozen > 1 && report.grants > 15 && report.waits > 20 && report.passes > 100, "{frozen}, {report:?}");
}

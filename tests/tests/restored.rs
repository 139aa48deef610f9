//! A cluster put back to an earlier state behind the backs of its hosts (H7): nothing passes until a person has looked and
//! made a new start, also after a restart of the daemon, and what was held before counts for nothing then.

use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

/// As promised: a permit may be this old, and is read again every five seconds.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn on_a_restored_store_nothing_passes_until_a_person_makes_a_new_start() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = Sandbox::new();
    let endpoints = cluster.endpoints().join(", ");
    sandbox.machine_config(&format!("store: {{ kind: etcd, endpoints: [{endpoints}] }}\n"));
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    let backup = cluster.backup();
    until("the daemon works after the pause of the backup", || one.write("b.txt", "1\n").passed());
    // What is known of the permit may be from before the backup, and too old before it is read again.
    for n in 0..100 {
        until("and goes on", || one.write(&format!("many/{n}.txt"), "1\n").passed());
    }

    let restored = Instant::now();
    cluster.restore(&backup);
    let mut last_pass = None;
    until("the restore is noticed", || {
        // By when it was asked for: neither the cluster's start nor a busy machine's answer can move that.
        let asked = restored.elapsed();
        let said = one.write("b.txt", "2\n");
        if said.passed() {
            last_pass = Some(asked);
        }
        said.denied()
    });
    until("and its reason is said", || {
        one.write("b.txt", "2\n").reason.is_some_and(|r| r.contains("rrctl post-restore"))
    });
    assert!(last_pass.is_none_or(|asked| asked < STOPPED_WITHIN), "a call passed {last_pass:?} after the restore");
    one.write("a.txt", "2\n").must_be_denied(&["put back to an earlier state"]);

    // Not forgotten with the process either.
    daemon.stop();
    let _daemon = Daemon::start(&sandbox);
    until("the new life knows it too", || {
        one.write("a.txt", "2\n").reason.is_some_and(|r| r.contains("put back to an earlier state"))
    });

    let done = sandbox.json(&["post-restore", "--reason", "the disk was lost"]);
    until("the pause of the new start is seen", || {
        one.write("a.txt", "2\n").reason.is_some_and(|r| r.contains("the disk was lost"))
    });
    assert!(
        sandbox.json(&["sessions"])["sessions"].as_array().is_some_and(|all| all.len() <= 1),
        "nobody of before is left"
    );
    let epoch = done["epoch"].to_string();
    assert_eq!(sandbox.json(&["resume", "--epoch", &epoch])["resumed"], true);
    // What it had read was forgotten with the daemon.
    until("a new session goes on", || one.read("a.txt").passed() && one.write("a.txt", "3\n").passed());
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
}

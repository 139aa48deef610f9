//! What the store takes of a sidecar's 40 MiB: 5,000 locks of three keys, taken one by one, in a process of its own.

mod common;

use std::process::Command;

use common::{Embedded, SmallDisk};
use rr_core::time::Span;
use rr_store::{Op, Options, Store, Txn};

const CHILD: &str = "RR_STORE_MEMORY_CHILD";
const LOCKS: usize = 5_000;
const RESIDENT_KIB_MAX: u64 = 40 << 10;

/// Not a test by itself: the child's body.
#[tokio::test]
async fn child_holds_the_locks() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let harness = Embedded::new(Options { disk: SmallDisk::lazy(), ..Options::default() });
    let store = harness.embedded();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    let path = "src/notifications/delivery/channels/deep/enough/to/be/like/a/real/repository";
    for n in 0..LOCKS {
        let keys = ["x", "mark", "op"].map(|kind| {
            Op::put_leased(format!("rr/v1/default/{kind}/0f3a9d/{path}/file-{n}.rs/@/1"), vec![7; 200], lease)
        });
        store.txn(Txn::default().then(keys.into())).await.unwrap();
    }
    // The most it ever was, the rewriting of the log included.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    println!("peak {}", peak.split_whitespace().nth(1).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn five_thousand_locks_stay_below_the_sidecars_memory() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_holds_the_locks", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let peak = said.split("peak ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let peak: u64 = peak.expect(&said).parse().unwrap();
    println!("peak resident {peak} KiB");
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
}

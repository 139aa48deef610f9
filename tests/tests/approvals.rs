//! Approvals on a real etcd, over several connections as several hosts have them: one decision, one use, "no" by etcd's own
//! time; and `rrctl` straight on the cluster, with no coordinator. The rules in all orders and with faults are proven in
//! `rr_fleet`'s tests, on the embedded store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rr_core::id::{ApprovalId, CallPrint, FleetName, HostId};
use rr_core::limits::Timing;
use rr_fleet::{
    ApprovalAnswer, ApprovalRequest, Asked, Decide, Decided, Decision, Ending, Fleet, Registered, Session,
    SessionRecord, Used,
};
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::entropy::OsEntropy;
use rr_tests::crowd::connect;
use rr_tests::daemon::Sandbox;
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

/// Far above what any of this takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);
const HOSTS: u8 = 5;

async fn fleet(cluster: &EtcdCluster) -> Fleet {
    let (name, clock) = (FleetName::default(), Arc::new(BootClock));
    let store = connect(cluster.endpoints()).await;
    Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("a fleet")
}

async fn session(fleet: &Fleet, n: u8) -> Session {
    let record = SessionRecord {
        host: HostId::from_random([n; 16]),
        host_name: format!("box-{n}"),
        boot: "b".into(),
        pid: 1,
        start: 1,
        agent: "claude".into(),
        agent_session: n.to_string(),
        workspace: "/w".into(),
        since_unix_ms: 0,
        task: String::new(),
        warning: String::new(),
    };
    match fleet.register(&record, record.host.as_str()).await.expect("registers") {
        Registered::New(session) => session,
        Registered::SlotTaken { by, .. } => panic!("taken by {by}"),
    }
}

fn request(n: u64, wait_ms: u64) -> ApprovalRequest {
    ApprovalRequest {
        repo: None,
        call_print: CallPrint::parse(&format!("{n:064x}")).expect("legal"),
        tool: "Bash".into(),
        command: format!("terraform apply -target=t{n}"),
        folder: "/w".into(),
        agent: "claude".into(),
        host_name: "box".into(),
        diff: Some("+a\n".repeat(4_000)),
        rule: "terraform apply".into(),
        because: String::new(),
        asked_unix_ms: unix_ms(),
        expires_unix_ms: unix_ms() + wait_ms,
    }
}

async fn waiting(fleet: &Fleet, session: &Session, request: &ApprovalRequest) -> ApprovalId {
    match fleet.ask_approval(session, request).await.expect("asks") {
        Asked::Waiting { id, .. } => id,
        other => panic!("not waiting: {other:?}"),
    }
}

async fn say(fleet: &Fleet, id: &ApprovalId, decision: Decision, who: String) -> Decide {
    let rows = fleet.approvals().await.expect("a list");
    let revision = rows.iter().find(|row| row.id == *id).expect("it is asked").revision;
    Decide { id: id.clone(), revision, decision, who, reason: "r".into(), now_unix_ms: unix_ms() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_hosts_that_decide_at_once_one_wins_and_of_all_uses_one_passes() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let hosts = join_all((0..HOSTS).map(|_| fleet(&cluster))).await;
    let asker = session(&hosts[0], 1).await;
    for n in 0..20 {
        let id = waiting(&hosts[0], &asker, &request(n, 900_000)).await;
        let order = say(&hosts[1], &id, Decision::Approve, String::new()).await;
        let decisions = join_all(hosts.iter().enumerate().map(async |(host, fleet)| {
            fleet.decide_approval(&Decide { who: host.to_string(), ..order.clone() }).await.expect("answers")
        }));
        let decided = decisions.await;
        let won: Vec<usize> = (0..decided.len()).filter(|host| decided[*host] == Decided::Yes).collect();
        assert_eq!(won.len(), 1, "{n}: {decided:?}");
        let by_winner = |d: &Decided| matches!(d, Decided::Already(ApprovalAnswer::Approved { who, .. }) if *who == won[0].to_string());
        assert!(decided.iter().all(|d| *d == Decided::Yes || by_winner(d)), "{n}: {decided:?}");
        let used =
            join_all(hosts.iter().map(async |fleet| fleet.use_approval(&asker, &id).await.expect("answers"))).await;
        assert_eq!(used.iter().filter(|used| matches!(used, Used::Yes { .. })).count(), 1, "{n}: {used:?}");
        assert_eq!(used.iter().filter(|used| **used == Used::Already).count(), usize::from(HOSTS) - 1, "{n}: {used:?}");
    }
    assert!(hosts[2].approvals().await.expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_heard_on_the_asking_host_and_what_nobody_answers_is_a_no() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let (own, other) = (fleet(&cluster).await, fleet(&cluster).await);
    let asker = session(&own, 1).await;
    let mut answers = own.follow_answers().await.expect("follows");
    // Both are said before the first one's time is over, which a busy machine has to be done with till then.
    let slow = waiting(&own, &asker, &request(1, 0)).await;
    let late = say(&other, &slow, Decision::Approve, "ann".into()).await;
    let id = waiting(&own, &asker, &request(2, 900_000)).await;
    let no = say(&other, &id, Decision::Reject, "bob".into()).await;
    assert_eq!(other.decide_approval(&no).await.expect("answers"), Decided::Yes);
    let heard = async {
        let (mut rejected, mut gone) = (false, false);
        while !(rejected && gone) {
            for change in answers.changed().await.expect("follows") {
                rejected |= matches!(&change.now, Some((found, ApprovalAnswer::Rejected { .. })) if *found == id);
                gone |= change.now.is_none() && change.call_print == request(1, 0).call_print;
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.expect("both are heard");
    assert_eq!(other.decide_approval(&late).await.expect("answers"), Decided::Expired);
    assert_eq!(own.ask_approval(&asker, &request(1, 0)).await.expect("answers"), Asked::Expired { id: slow });
    own.end(&asker, Ending::Clean).await.expect("ends");
    assert!(other.approvals().await.expect("a list").is_empty());
}

#[test]
fn rrctl_lists_and_decides_straight_on_the_cluster() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = Sandbox::new();
    let endpoints = cluster.endpoints().join(", ");
    sandbox.machine_config(&format!("store: {{ kind: etcd, endpoints: [{endpoints}] }}\n"));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let (fleet, asker, id) = runtime.block_on(async {
        let fleet = fleet(&cluster).await;
        let asker = session(&fleet, 1).await;
        let id = waiting(&fleet, &asker, &request(1, 900_000)).await;
        (fleet, asker, id)
    });
    let listed = sandbox.json(&["approvals"]);
    assert_eq!(listed["approvals"][0]["id"], id.as_str(), "{listed}");
    let start = Instant::now();
    assert_eq!(sandbox.json(&["approve", id.short()])["decided"], "approved");
    assert!(start.elapsed() < SOON);
    let used = runtime.block_on(fleet.use_approval(&asker, &id)).expect("answers");
    assert!(matches!(used, Used::Yes { .. }), "{used:?}");
    let refused = sandbox.rrctl(&["reject", id.short(), "--reason", "late"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
}

//! Who is who: one live session a slot, however many ask at once (H12), and a slot that is free as soon as its session is over.

use rr_core::id::HostId;
use rr_fleet::{Ending, SessionRecord};
use rr_history::Registration;
use rr_tests::crowd::{Crowd, connect, open};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};

use super::seed;

fn record() -> SessionRecord {
    SessionRecord {
        host: HostId::from_random([3; 16]),
        host_name: "host".into(),
        boot: "boot".into(),
        pid: 1,
        start: 1,
        agent: "test".into(),
        agent_session: "one".into(),
        workspace: "/w".into(),
        since_unix_ms: 0,
        task: String::new(),
        warning: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_at_once_on_one_slot_one_registers() {
    let cluster = EtcdCluster::start(3, EtcdSetup::default());
    let crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut endpoints = cluster.endpoints();
        endpoints.rotate_left(n % 3);
        clients.push(open(connect(endpoints).await, &crowd.recorder, &crowd.dice).await);
    }
    for round in 0..5 {
        let record = record();
        let all = clients.iter().map(|client| client.register(&record, "host"));
        let all: Vec<_> = futures::future::join_all(all).await;
        let mut won = all.into_iter().filter_map(|done| match done.expect("an answer") {
            Registration::New(session) => Some(session),
            Registration::Taken => None,
        });
        let (one, none) = (won.next().expect("one of them"), won.next());
        assert!(none.is_none(), "round {round}: two have the slot");
        clients[0].end(&one, Ending::Clean).await.expect("ended");
    }
    let report = crowd.judge(0).await;
    assert_eq!((report.sessions, report.unknown), (5, 0));
}

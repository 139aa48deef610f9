//! Sidecars that start again at the same moment, as after a power cut or an update (H39): each takes its session over with its
//! lock, they spread, and those who were at work all the time notice little of it. Two hundred; a thousand in the long form,
//! which needs the speed of a release build: all of them live in this process.

use std::sync::Arc;
use std::time::Duration;

use rr_core::id::{Entropy as _, HostId};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::time::Span;
use rr_fleet::{Request, Session, SessionRecord};
use rr_history::{Behaviour, Client, Dice, Outcome, Registration};
use rr_tests::crowd::{Crowd, busy, connect, open_with};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};
use tokio::time::Instant;

use super::{seed, setting};

/// Sidecars that share one way to the store: only to spare this machine connections.
const PER_WAY: usize = 25;

struct Machine {
    client: Client,
    record: SessionRecord,
}

impl Machine {
    fn new(client: Client, n: usize) -> Self {
        let host = HostId::from_random(Dice::new(n as u64).bits());
        let record = SessionRecord {
            host,
            host_name: format!("host-{n}"),
            boot: "boot".into(),
            pid: 1,
            start: 1,
            agent: "test".into(),
            agent_session: n.to_string(),
            workspace: "/w".into(),
            since_unix_ms: 0,
            task: String::new(),
            warning: String::new(),
        };
        Self { client, record }
    }

    async fn begin(&self, n: usize) -> Session {
        let Ok(Registration::New(session)) = self.client.register(&self.record, "host").await else {
            panic!("host {n} is not registered")
        };
        let path = RepoPath::parse(format!("f/{n}").as_bytes()).expect("a legal path");
        let claims = vec![Claim::exclusive(Scope::Path(path))];
        let repo = rr_core::id::RepoId::parse("0123456789abcdef").expect("legal");
        let request = Request { repo, claims, doing: "test".into(), now_unix_ms: 0 };
        self.client.acquire(&session, request, Span::ZERO).await.expect("an answer").expect("nothing is in the way");
        session
    }

    /// What `rr-sidecar` does when it starts. How long it took, and how many requests it made for it.
    async fn start_again(&self) -> (Duration, Option<Session>) {
        let began = Instant::now();
        let mut estate = self.client.fleet.estate(&self.record.host).await.expect("an answer");
        let row = estate.next().await.expect("it left a session");
        let session = self.client.fleet.adopt(&estate, &row.sid, "host").await.expect("an answer");
        if let Some(session) = &session {
            self.client.beat(session).await.expect("an answer");
        }
        (began.elapsed(), session)
    }
}

async fn in_parallel<T: Send + 'static>(deeds: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = deeds.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("without a panic"));
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_that_start_again_at_once_all_take_over_what_they_left() {
    let count = usize::try_from(setting("RAILROAD_FAULTS_SIDECARS", 200)).expect("a number");
    let cluster = EtcdCluster::start(3, EtcdSetup::default());
    let mut crowd = Crowd::gather(cluster.endpoints(), seed()).await;
    let mut machines = Vec::new();
    for way in 0..count.div_ceil(PER_WAY) {
        let mut endpoints = cluster.endpoints();
        endpoints.rotate_left(way % 3);
        let client = open_with(connect(endpoints).await, &crowd.recorder, &crowd.dice, Timing::default()).await;
        machines.extend((0..PER_WAY).map(|n| Arc::new(Machine::new(client.clone(), way * PER_WAY + n))));
    }
    machines.truncate(count);
    // In groups: the fleet did not come to be in one moment.
    for (group, some) in machines.chunks(100).enumerate() {
        let deeds = some.iter().cloned().enumerate();
        let deeds = deeds.map(|(n, machine)| async move { machine.begin(group * 100 + n).await }).collect();
        in_parallel(deeds).await;
    }
    let witness = Behaviour { pauses: 0, deaths: 0, ..busy() };
    crowd.join(cluster.endpoints(), witness).await;
    let began = crowd.recorder.now();
    let taken = in_parallel(machines.iter().cloned().map(|m| async move { m.start_again().await }).collect()).await;
    let ended = crowd.recorder.now();
    let slowest = taken.iter().map(|(took, _)| *took).max().unwrap_or_default();
    let over = taken.iter().filter(|(_, session)| session.is_some()).count();
    println!("{over} of {count} taken over in {:?}, the last after {slowest:?}", ended.since(began));
    assert_eq!(over, count, "a session was lost: its lease was over before it was taken over");
    let (history, report) = crowd.history(0).await;
    assert_eq!(report.unknown, 0, "{report:?}");
    let reads = history
        .calls
        .iter()
        .filter(|call| matches!(call.outcome, Outcome::Read { .. }) && call.invoked >= began && call.invoked <= ended);
    let worst = reads.filter_map(|call| Some(call.answered?.since(call.invoked))).max();
    println!("the witness's slowest permit read meanwhile: {worst:?}");
    assert!(worst.is_some_and(|worst| worst < Span::from_secs(2)), "{worst:?}: a permit read failed meanwhile");
}

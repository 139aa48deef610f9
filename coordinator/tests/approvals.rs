//! Approvals as a client sees them, over a real unix socket on the embedded store: listed, watched, decided once, counted. What
//! the fleet's transactions promise is proven in `rr_fleet`; who may ask what over a network, in `over_tls`.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rr_coordinator::app::{Open, ServeError};
use rr_core::id::{CallPrint, FleetName, HostId, RepoId};
use rr_core::limits::Timing;
use rr_fleet::{ApprovalRequest, Asked, Ending, Fleet, Registered, Session, SessionRecord, Used};
use rr_proto::v1;
use rr_proto::v1::approvals_client::ApprovalsClient;
use rr_proto::v1::decide_reply::Outcome;
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::metrics::{Metrics, Page};
use rr_runtime::readiness::Readiness;
use rr_store::embedded::{EmbeddedStore, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Far above what any answer here takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);

struct Desk {
    dir: tempfile::TempDir,
    fleet: Fleet,
    metrics: Metrics,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Desk {
    async fn open() -> Self {
        let (dir, clock) = (tempfile::tempdir().expect("folder"), Arc::new(BootClock));
        let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).expect("store");
        let name = FleetName::default();
        let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("fleet");
        let (metrics, shutdown) = (Metrics::of("test"), CancellationToken::new());
        let open = Open::at(&dir.path().join("api.sock"), None).await.expect("listens").counting(&metrics);
        let served = tokio::spawn(open.serve(fleet.clone(), None, shutdown.clone()));
        Self { dir, fleet, metrics, shutdown, served }
    }

    async fn client(&self) -> ApprovalsClient<Channel> {
        let socket = self.dir.path().join("api.sock");
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://railroad.local");
        ApprovalsClient::new(endpoint.connect_with_connector(connector).await.expect("somebody listens"))
    }

    async fn agent(&self) -> Session {
        let record = SessionRecord {
            host: HostId::from_random([9; 16]),
            host_name: "box".into(),
            boot: "b".into(),
            pid: 4_242,
            start: 7,
            agent: "claude".into(),
            agent_session: "one".into(),
            workspace: "/work".into(),
            since_unix_ms: 1,
            task: String::new(),
            warning: String::new(),
        };
        match self.fleet.register(&record, "fp").await.expect("registers") {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
        }
    }

    async fn asks(&self, session: &Session, n: u8) -> Asked {
        let request = ApprovalRequest {
            repo: Some(RepoId::parse("0123456789abcdef").expect("legal")),
            call_print: CallPrint::parse(&format!("{n:064x}")).expect("legal"),
            tool: "Bash".into(),
            command: format!("npm publish {n}"),
            folder: "/w".into(),
            agent: "claude".into(),
            host_name: "box".into(),
            diff: Some("-a\n+b".into()),
            rule: "npm publish".into(),
            because: "for all to see".into(),
            asked_unix_ms: 1_000,
            expires_unix_ms: 61_000,
        };
        self.fleet.ask_approval(session, &request).await.expect("asks")
    }

    async fn listed(&self) -> Vec<v1::Approval> {
        self.client().await.list(v1::ListApprovalsRequest {}).await.expect("answers").into_inner().approvals
    }

    async fn close(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.served).await.expect("in time").expect("no panic").expect("a clean end");
    }
}

fn decide(asked: &v1::Approval, approve: bool, reason: &str) -> v1::DecideRequest {
    let (id, revision) = (asked.id.clone(), asked.revision);
    v1::DecideRequest { id, revision, approve, who: "kim".into(), reason: reason.into() }
}

#[tokio::test]
async fn what_is_asked_is_listed_whole_and_a_decision_reaches_the_asker() {
    let desk = Desk::open().await;
    let agent = desk.agent().await;
    let Asked::Waiting { id, .. } = desk.asks(&agent, 1).await else { panic!("asked") };
    let asked = desk.listed().await.remove(0);
    assert_eq!(
        (asked.id.as_str(), asked.state.as_str(), asked.session.as_str()),
        (id.as_str(), "waiting", agent.sid.as_str())
    );
    assert_eq!(
        (asked.command.as_str(), asked.diff.as_str(), asked.because.as_str()),
        ("npm publish 1", "-a\n+b", "for all to see")
    );
    assert_eq!(
        (asked.agent.as_str(), asked.host_name.as_str(), asked.repo.as_str()),
        ("claude", "box", "0123456789abcdef")
    );
    assert_eq!((asked.asked_unix_ms, asked.expires_unix_ms), (1_000, 61_000));

    let mut client = desk.client().await;
    let done = client.decide(decide(&asked, true, "")).await.expect("answers").into_inner().outcome;
    assert!(matches!(done, Some(Outcome::Decided(d)) if d.state == "approved"));
    assert_eq!(desk.fleet.use_approval(&agent, &id).await.expect("answers"), Used::Yes { by: "kim".into() });
    let second = client.decide(decide(&asked, false, "too late")).await.expect("answers").into_inner().outcome;
    assert!(matches!(second, Some(Outcome::Already(d)) if d.state == "used" && d.who == "kim"));
    assert!(desk.listed().await.is_empty());
    desk.close().await;
}

#[tokio::test]
async fn whatever_became_of_a_request_is_told_and_counted() {
    let desk = Desk::open().await;
    let agent = desk.agent().await;
    for n in 1..4 {
        desk.asks(&agent, n).await;
    }
    let all = desk.listed().await;
    let mut client = desk.client().await;
    let mut ask = async |request| client.decide(request).await.expect("answers").into_inner().outcome.expect("one");
    assert!(matches!(ask(decide(&all[0], false, "no")).await, Outcome::Decided(d) if d.reason == "no"));
    assert!(
        matches!(ask(decide(&all[0], true, "")).await, Outcome::Already(d) if d.state == "rejected" && d.reason == "no")
    );
    let older = v1::DecideRequest { revision: 1, ..decide(&all[1], true, "") };
    assert_eq!(ask(older).await, Outcome::ChangedRevision(all[1].revision));
    let unknown = v1::DecideRequest { id: "a".repeat(32), ..decide(&all[1], true, "") };
    assert_eq!(ask(unknown).await, Outcome::Unknown(true));
    desk.fleet.end(&agent, Ending::Clean).await.expect("ends");
    assert_eq!(ask(decide(&all[1], true, "")).await, Outcome::AskerGone(true));
    let page = page(&desk.metrics).await;
    for line in ["outcome=\"rejected\"} 1", "outcome=\"already\"} 1", "outcome=\"gone\"} 3"] {
        assert!(page.contains(&format!("railroad_decisions_total{{{line}")), "{line}: {page}");
    }
    desk.close().await;
}

async fn page(metrics: &Metrics) -> String {
    let any = "127.0.0.1:0".parse().expect("an address");
    let page = Page::open(any, 0, metrics.clone(), Readiness::default()).await.expect("listens");
    let (address, end) = (page.address, CancellationToken::new());
    let served = tokio::spawn(page.serve(end.clone()));
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("asks");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("answers");
    end.cancel();
    served.await.expect("no panic").expect("a clean end");
    text
}

#[tokio::test]
async fn a_decision_without_a_name_a_reason_or_a_request_is_refused_and_changes_nothing() {
    let desk = Desk::open().await;
    let agent = desk.agent().await;
    desk.asks(&agent, 1).await;
    let asked = desk.listed().await.remove(0);
    let mut client = desk.client().await;
    for request in [
        decide(&asked, false, " "),
        v1::DecideRequest { who: String::new(), ..decide(&asked, true, "") },
        v1::DecideRequest { id: "../ask".into(), ..decide(&asked, true, "") },
        decide(&asked, true, &"x".repeat(2_000)),
    ] {
        assert_eq!(client.decide(request).await.expect_err("refused").code(), Code::InvalidArgument);
    }
    assert_eq!(desk.listed().await, [asked]);
    desk.close().await;
}

#[tokio::test]
async fn a_watch_shows_requests_and_answers_as_they_come_and_ends_with_the_server() {
    let desk = Desk::open().await;
    let agent = desk.agent().await;
    let mut client = desk.client().await;
    let mut pictures = client.watch(v1::WatchApprovalsRequest {}).await.expect("opens").into_inner();
    let mut until = async |what: fn(&v1::ApprovalsReply) -> bool| {
        let shown = async { while !what(&pictures.message().await.expect("answers").expect("a picture")) {} };
        tokio::time::timeout(SOON, shown).await.expect("it is shown");
    };
    until(|all| all.approvals.is_empty()).await;
    desk.asks(&agent, 1).await;
    until(|all| all.approvals.iter().any(|a| a.state == "waiting")).await;
    let asked = desk.listed().await.remove(0);
    client.decide(decide(&asked, true, "")).await.expect("answers");
    until(|all| all.approvals.iter().any(|a| a.state == "approved" && a.who == "kim")).await;
    desk.fleet.end(&agent, Ending::Clean).await.expect("ends");
    until(|all| all.approvals.is_empty()).await;
    desk.close().await;
    let end = tokio::time::timeout(SOON, pictures.message()).await.expect("ends");
    assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
}

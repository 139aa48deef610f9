//! The coordinator as a client sees it: requests over a real unix socket, on the embedded store. What the fleet's
//! transactions promise is proven in `rr_fleet`; here it is that they are reached, checked and told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rr_coordinator::app::{Open, ServeError, serve};
use rr_core::id::{FleetName, HostId, RepoId};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Mode, Scope};
use rr_fleet::{AckRecord, AckState, Answer, Fleet, Registered, Request, Session, SessionRecord};
use rr_link::accept::{Door, ListenError, listen};
use rr_proto::v1;
use rr_proto::v1::fleet_client::FleetClient;
use rr_proto::v1::locks_client::LocksClient;
use rr_proto::v1::resume_reply::Outcome;
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Far above what any answer here takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);

/// A coordinator on a store and a socket of its own.
struct Desk {
    dir: tempfile::TempDir,
    fleet: Fleet,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Desk {
    async fn open() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let clock = Arc::new(BootClock);
        let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).expect("store");
        let fleet = Fleet::open(store, &FleetName::default(), clock, Arc::new(OsEntropy), Timing::default())
            .await
            .expect("fleet");
        let shutdown = CancellationToken::new();
        let socket = dir.path().join("api.sock");
        let (serving, token) = (fleet.clone(), shutdown.clone());
        let served = tokio::spawn(async move { serve(serving, &socket, token).await });
        Self { dir, fleet, shutdown, served }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    async fn channel(&self) -> Channel {
        connect(&self.socket()).await
    }

    async fn fleet_client(&self) -> FleetClient<Channel> {
        FleetClient::new(self.channel().await)
    }

    async fn agent(&self, name: &str) -> Session {
        let record = SessionRecord {
            host: HostId::from_random([9; 16]),
            host_name: "box".into(),
            boot: "b".into(),
            pid: 4_242,
            start: 7,
            agent: "claude".into(),
            agent_session: name.into(),
            workspace: "/work".into(),
            since_unix_ms: 1,
            task: "write the parser".into(),
            warning: "something it started still runs".into(),
        };
        match self.fleet.register(&record, "fp").await.expect("registers") {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
        }
    }

    async fn lock(&self, session: &Session, path: &str) {
        let scope = Scope::Path(RepoPath::parse(path.as_bytes()).expect("legal"));
        let request = Request {
            repo: RepoId::parse("0123456789abcdef").expect("legal"),
            claims: vec![Claim { scope, mode: Mode::Exclusive }],
            doing: "Edit".into(),
            now_unix_ms: 5,
        };
        let answer = self.fleet.request(session, request).await.expect("asks");
        assert!(matches!(answer, Answer::Granted(_)), "{answer:?}");
    }

    async fn close(self) {
        self.shutdown.cancel();
        let served = tokio::time::timeout(SOON, self.served).await.expect("ends in time");
        served.expect("no panic").expect("a clean end");
        assert!(!self.dir.path().join("api.sock").exists(), "the socket goes with its server");
    }
}

/// Tries until somebody listens.
async fn connect(socket: &Path) -> Channel {
    let endpoint = Endpoint::from_static("http://railroad.local");
    let connector = || {
        let socket = socket.to_owned();
        service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        })
    };
    let connected = async {
        loop {
            if let Ok(channel) = endpoint.connect_with_connector(connector()).await {
                return channel;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, connected).await.expect("somebody listens")
}

fn pause(reason: &str) -> v1::PauseRequest {
    v1::PauseRequest { who: "kim".into(), reason: reason.into(), hard: false }
}

fn resume(epoch: u64) -> v1::ResumeRequest {
    v1::ResumeRequest { epoch, who: "kim".into(), holds: vec![] }
}

#[tokio::test]
async fn status_shows_who_holds_what() {
    let desk = Desk::open().await;
    let agent = desk.agent("one").await;
    desk.lock(&agent, "src/a.rs").await;
    let status = desk.fleet_client().await.status(v1::StatusRequest {}).await.expect("answers").into_inner();
    let run = status.run.expect("a run state");
    assert!(!run.paused && run.epoch == 1 && run.holds.is_empty());
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    let (session, lock) = (&status.sessions[0], &status.locks[0]);
    assert_eq!((session.pid, session.agent.as_str(), session.pause.as_str()), (4_242, "claude", ""));
    assert_eq!(session.warning, "something it started still runs");
    assert_eq!((lock.lock.as_str(), lock.mode.as_str(), lock.doing.as_str()), ("src/a.rs", "exclusive", "Edit"));
    assert_eq!((&lock.session, &session.id), (&agent.sid.to_string(), &agent.sid.to_string()));
    desk.close().await;
}

#[tokio::test]
async fn a_pause_is_followed_session_by_session_and_ended_by_its_epoch_only() {
    let desk = Desk::open().await;
    let agent = desk.agent("one").await;
    let mut client = desk.fleet_client().await;
    let paused = client.pause(pause("the build is red")).await.expect("pauses").into_inner();
    assert_eq!((paused.epoch, paused.already), (2, false));

    let followed = |status: v1::StatusReply| status.sessions[0].pause.clone();
    assert_eq!(followed(client.status(v1::StatusRequest {}).await.expect("answers").into_inner()), "requested");
    for (state, word) in [(AckState::Seen, "seen"), (AckState::Drained, "drained")] {
        let ack = AckRecord { epoch: rr_core::id::Epoch(2), state, in_flight: 0 };
        desk.fleet.acknowledge(&agent, &ack).await.expect("acknowledges");
        assert_eq!(followed(client.status(v1::StatusRequest {}).await.expect("answers").into_inner()), word);
    }

    let again = client.pause(pause("me too")).await.expect("adds a reason").into_inner();
    assert!(again.already && again.epoch == 2);
    let wrong = client.resume(resume(1)).await.expect("answers").into_inner();
    assert_eq!(wrong.outcome, Some(Outcome::OtherEpoch(2)));
    let right = client.resume(resume(2)).await.expect("answers").into_inner();
    assert_eq!(right.outcome, Some(Outcome::ResumedEpoch(3)));
    let late = client.resume(resume(3)).await.expect("answers").into_inner();
    assert_eq!(late.outcome, Some(Outcome::AlreadyRunningEpoch(3)));
    desk.close().await;
}

#[tokio::test]
async fn a_hold_that_is_not_lifted_keeps_the_fleet_paused() {
    let desk = Desk::open().await;
    let mut client = desk.fleet_client().await;
    let first = client.pause(pause("one")).await.expect("pauses").into_inner();
    client.pause(pause("two")).await.expect("adds a reason");
    let named = v1::ResumeRequest { holds: vec![first.hold], ..resume(2) };
    let held = client.resume(named).await.expect("answers").into_inner();
    let Some(Outcome::Held(by)) = held.outcome else { panic!("{held:?}") };
    assert!(by.holds.len() == 1 && by.holds[0].contains("two"), "{by:?}");
    desk.close().await;
}

#[tokio::test]
async fn a_request_without_a_name_or_a_reason_is_refused_and_changes_nothing() {
    let desk = Desk::open().await;
    let mut client = desk.fleet_client().await;
    for request in [pause("  "), v1::PauseRequest { who: String::new(), ..pause("red") }, pause(&"x".repeat(1_001))] {
        let refused = client.pause(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert!(!desk.fleet.state().await.expect("reads").is_paused());
    desk.close().await;
}

#[tokio::test]
async fn a_lock_is_taken_away_with_a_reason_and_nothing_else_can_be_deleted_so() {
    let desk = Desk::open().await;
    let agent = desk.agent("one").await;
    desk.lock(&agent, "src/a.rs").await;
    let lock = desk.fleet.overview().await.expect("reads").locks.remove(0);
    let mut client = LocksClient::new(desk.channel().await);
    let order = |key: &str, token: u64, reason: &str| v1::ForceReleaseRequest {
        key: key.into(),
        token,
        who: "kim".into(),
        reason: reason.into(),
    };
    let refused = client.force_release(order(&lock.key, lock.token.0, "")).await.expect_err("no reason");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let other_grant = client.force_release(order(&lock.key, lock.token.0 + 1, "stuck")).await.expect("answers");
    assert!(!other_grant.into_inner().released);
    // The session's own key has a revision too; it is no lock.
    let session_key = format!("{}sess/{}", desk.fleet.keyspace().all(), agent.sid);
    let no_lock = client.force_release(order(&session_key, agent.created, "stuck")).await.expect("answers");
    assert!(!no_lock.into_inner().released);
    assert_eq!(desk.fleet.overview().await.expect("reads").sessions.len(), 1);

    let done = client.force_release(order(&lock.key, lock.token.0, "stuck")).await.expect("answers");
    assert!(done.into_inner().released);
    assert!(desk.fleet.overview().await.expect("reads").locks.is_empty());
    desk.close().await;
}

#[tokio::test]
async fn a_watch_shows_the_present_then_each_change_and_ends_with_the_server() {
    let desk = Desk::open().await;
    let mut client = desk.fleet_client().await;
    let mut pictures = client.watch(v1::WatchRequest {}).await.expect("opens").into_inner();
    let first = pictures.message().await.expect("answers").expect("a picture");
    assert!(first.sessions.is_empty());
    let agent = desk.agent("one").await;
    desk.lock(&agent, "src/a.rs").await;
    let shown = async {
        loop {
            let picture = pictures.message().await.expect("answers").expect("a picture");
            if picture.locks.len() == 1 && picture.sessions.len() == 1 {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, shown).await.expect("the change is shown");
    desk.close().await;
    let end = tokio::time::timeout(SOON, pictures.message()).await.expect("ends");
    assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_busy_fleet_is_shown_at_most_five_times_a_second() {
    let desk = Desk::open().await;
    let mut client = desk.fleet_client().await;
    let mut pictures = client.watch(v1::WatchRequest {}).await.expect("opens").into_inner();
    let agent = desk.agent("one").await;
    let start = std::time::Instant::now();
    for n in 0..100 {
        desk.lock(&agent, &format!("src/{n}.rs")).await;
    }
    let mut seen = 0;
    let all = async {
        loop {
            seen += 1;
            if pictures.message().await.expect("answers").expect("a picture").locks.len() == 100 {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, all).await.expect("all are shown");
    // What had been drawn before the first change, and one for each 200 ms since.
    let most = 4 + start.elapsed().as_millis() / 200;
    assert!(seen <= most, "{seen} pictures for 100 changes");
    desk.close().await;
}

#[tokio::test]
async fn a_second_coordinator_leaves_the_first_ones_socket_alone() {
    let desk = Desk::open().await;
    let mut client = desk.fleet_client().await;
    let second = serve(desk.fleet.clone(), &desk.socket(), CancellationToken::new()).await;
    assert!(matches!(second, Err(ServeError::Socket(rr_link::local::LocalError::Taken(_)))), "{second:?}");
    client.status(v1::StatusRequest {}).await.expect("the first one answers");
    desk.close().await;
}

#[tokio::test]
async fn a_program_one_minor_version_away_is_answered_and_another_is_refused_clearly() {
    let desk = Desk::open().await;
    let ask = async |version: Option<&'static str>| {
        let mut request = tonic::Request::new(v1::StatusRequest {});
        if let Some(version) = version {
            request.metadata_mut().insert(rr_proto::VERSION_KEY, version.parse().expect("text"));
        }
        desk.fleet_client().await.status(request).await
    };
    for near in [None, Some("0.1.0"), Some("0.2.7"), Some("0.0.9")] {
        let answer = ask(near).await.expect("answered");
        assert_eq!(answer.metadata().get(rr_proto::VERSION_KEY).expect("it says"), rr_proto::VERSION, "{near:?}");
    }
    for far in ["0.3.0", "1.0.0", "rubbish"] {
        let refused = ask(Some(far)).await.expect_err(far);
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(&format!("the program that asks is version {far}")), "{refused}");
        assert_eq!(refused.metadata().get(rr_proto::VERSION_KEY).expect("it says"), rr_proto::VERSION);
    }
    desk.close().await;
}

#[tokio::test]
async fn an_address_serves_programs_of_this_machine_and_no_other_is_listened_on() {
    let dir = tempfile::tempdir().expect("folder");
    let any = "127.0.0.1:0".parse().expect("an address");
    let listener = listen(any, &Door::Loopback).await.expect("listens");
    let address = listener.local_addr().expect("has one");
    let open = Open::at(&dir.path().join("api.sock"), Some((listener, Door::Loopback))).await.expect("listens");
    let desk = Desk::open().await;
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(open.serve(desk.fleet.clone(), None, shutdown.clone()));
    let mut client = FleetClient::connect(format!("http://{address}")).await.expect("connects");
    assert_eq!(client.status(v1::StatusRequest {}).await.expect("answers").into_inner().version, rr_proto::VERSION);
    assert!(matches!(listen(address, &Door::Loopback).await, Err(ListenError::Bind { .. })), "taken");
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    assert!(matches!(listen(everywhere, &Door::Loopback).await, Err(ListenError::Open(_))));
    drop(client);
    shutdown.cancel();
    tokio::time::timeout(SOON, served).await.expect("ends in time").expect("no panic").expect("a clean end");
    desk.close().await;
}

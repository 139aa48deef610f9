//! What the coordinator asks sidecars, with sidecars that answer as they are told to: one log of many, nobody left
//! out without a word, a rollback at one host and nowhere else, and nothing said to be undone or left alone that is
//! not known to be. That a host acts at most once is proven in `rr_fleet`.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use rr_coordinator::app::serve;
use rr_coordinator::journal;
use rr_core::id::{FleetName, HostId, SessionId};
use rr_core::limits::Timing;
use rr_core::time::{BootTime, Clock, Span};
use rr_fleet::{Answered, Denial, Fleet, LogHead, Registered, Session, SessionRecord, TakeUp};
use rr_proto::v1::answer::What as Said;
use rr_proto::v1::ask::What;
use rr_proto::v1::journal_client::JournalClient;
use rr_proto::{pack, unpack, v1};
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use rr_store::{
    KeepAlive, Keys, LeaseId, Position, RangeReply, Revision, Store, StoreError, Txn, TxnReply, WatchStream,
};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that another thread finishes.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Answers in place, so that virtual time stands still while the store works.
struct InPlace(Arc<EmbeddedStore>);

#[async_trait]
impl Store for InPlace {
    async fn txn(&self, txn: Txn) -> Result<TxnReply, StoreError> {
        finish(self.0.txn(txn))
    }
    async fn range(&self, keys: Keys) -> Result<RangeReply, StoreError> {
        finish(self.0.range(keys))
    }
    async fn grant(&self, ttl: Span) -> Result<LeaseId, StoreError> {
        finish(self.0.grant(ttl))
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        finish(self.0.keep_alive(lease))
    }
    async fn revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        finish(self.0.revoke(lease))
    }
    async fn watch(&self, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
        finish(self.0.watch(keys, from))
    }
    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        finish(self.0.compact(revision))
    }
    fn position(&self) -> Position {
        self.0.position()
    }
    fn accept_history(&self) {
        self.0.accept_history();
    }
}

/// As tokio's.
struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn now(&self) -> BootTime {
        let ms = self.0.elapsed().as_millis();
        BootTime::from_millis(u64::try_from(ms).expect("a short test"))
    }
}

/// What a sidecar does with a question.
type Manner = Arc<dyn Fn(&What) -> Does + Send + Sync>;

enum Does {
    Answer(Said),
    /// Takes it up, and is heard of no more.
    Nothing,
}

/// All that the sidecars were asked, in order: who, and what.
type Asked = Arc<Mutex<Vec<(HostId, What)>>>;

struct Ground {
    _dir: tempfile::TempDir,
    fleet: Fleet,
    asked: Asked,
    sidecars: Vec<JoinHandle<()>>,
}

impl Ground {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let opened = EmbeddedStore::open(&dir.path().join("store"), Options::default(), Arc::new(BootClock));
        let store = Arc::new(InPlace(opened.expect("store")));
        let clock = Arc::new(VirtualClock(tokio::time::Instant::now()));
        Self::on(dir, store, clock).await
    }

    async fn on(dir: tempfile::TempDir, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let name = FleetName::default();
        let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default());
        Self { _dir: dir, fleet: fleet.await.expect("fleet"), asked: Asked::default(), sidecars: vec![] }
    }

    /// A host with a journal, so that it should answer.
    async fn host(&self, n: u8) -> HostId {
        let head = LogHead { sequence: 1, chain: "00".into(), host_name: format!("box-{n}"), at_unix_ms: 1 };
        self.fleet.record_log_head(&of(n), &head).await.expect("records");
        of(n)
    }

    /// The same with a sidecar.
    async fn sidecar(&mut self, n: u8, manner: impl Fn(&What) -> Does + Send + Sync + 'static) -> HostId {
        let host = self.host(n).await;
        let task = sidecar(self.fleet.clone(), host.clone(), Arc::new(manner), self.asked.clone());
        self.sidecars.push(tokio::spawn(task));
        host
    }

    async fn session(&self, n: u8, name: &str) -> Session {
        let record = SessionRecord {
            host: of(n),
            host_name: format!("box-{n}"),
            boot: "b".into(),
            pid: 4_242,
            start: 7,
            agent: "claude".into(),
            agent_session: name.into(),
            workspace: format!("/repos/{name}"),
            since_unix_ms: 1,
            task: String::new(),
            warning: String::new(),
        };
        match self.fleet.register(&record, of(n).as_str()).await.expect("registers") {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
        }
    }

    async fn log(&self, request: v1::LogRequest) -> Vec<v1::LogReply> {
        let lines = journal::log(self.fleet.clone(), request, "kim".into()).expect("understood");
        lines.try_collect().await.expect("answers")
    }

    async fn rollback(&self, request: v1::RollbackRequest) -> Result<v1::RollbackReply, Status> {
        journal::rollback(&self.fleet, request).await
    }

    /// The orders that hosts were given, those that only look left out.
    fn orders(&self) -> Vec<(HostId, v1::RollbackRequest)> {
        let asked = self.asked.lock().expect("whole");
        let orders = asked.iter().filter_map(|(host, what)| match what {
            What::Rollback(order) if !order.dry_run => Some((host.clone(), order.clone())),
            _ => None,
        });
        orders.collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.sidecars.iter().for_each(JoinHandle::abort);
    }
}

async fn sidecar(fleet: Fleet, host: HostId, manner: Manner, asked: Asked) {
    let mut changes = fleet.watch(fleet.keyspace().fleet(), 0).await.expect("watches");
    loop {
        for question in fleet.open_questions(&host).await.expect("reads") {
            let TakeUp::Taken(taken) = fleet.take_up(&question, &host).await.expect("answers") else { continue };
            let what = unpack::<v1::Ask>(&question.question).expect("a question").what.expect("something");
            let does = manner(&what);
            asked.lock().expect("whole").push((host.clone(), what));
            if let Does::Answer(said) = does {
                let answer = pack(&v1::Answer { what: Some(said) });
                assert_eq!(fleet.answer(&taken, &answer).await.expect("answers"), Answered::Yes);
            }
        }
        changes.next().await;
    }
}

fn of(n: u8) -> HostId {
    HostId::from_random([n; 16])
}

fn sid(n: u8) -> String {
    SessionId::from_random([n; 16]).to_string()
}

fn entries(times: &[u64]) -> Does {
    let entry = |(sequence, at): (u64, &u64)| v1::LogReply {
        sequence,
        entry: format!(r#"{{"sequence":{sequence},"at_unix_ms":{at}}}"#),
        ..Default::default()
    };
    let entries = (1..).zip(times).map(entry).collect();
    Does::Answer(Said::Log(v1::LogAnswer { entries, more: false }))
}

fn undone(session: &str, what: &What) -> Does {
    let What::Rollback(order) = what else { panic!("{what:?}") };
    let own = if order.dry_run { String::new() } else { sid(99) };
    let file = v1::UndoneFile { path: "src/a.rs".into(), what: "restored".into(), ..Default::default() };
    let reply =
        v1::RollbackReply { of: session.into(), session: own, files: vec![file], calls: 3, ..Default::default() };
    Does::Answer(Said::Rollback(reply))
}

fn not_here(_: &What) -> Does {
    Does::Answer(Said::NotHere("it knows no such session".into()))
}

fn order(session: &str) -> v1::RollbackRequest {
    v1::RollbackRequest { session: session.into(), who: "kim".into(), ..Default::default() }
}

/// Entries in their order, and who is missing.
fn told(lines: &[v1::LogReply]) -> (Vec<(&str, u64)>, Vec<&str>) {
    let (entries, notes): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.unreadable.is_empty());
    let entries = entries.into_iter().map(|line| (line.host_name.as_str(), line.sequence)).collect();
    (entries, notes.into_iter().map(|line| line.unreadable.as_str()).collect())
}

#[tokio::test(start_paused = true)]
async fn one_log_of_all_hosts_names_each_that_is_missing_from_it() {
    let mut ground = Ground::new().await;
    ground.sidecar(1, |_| entries(&[10, 30])).await;
    ground.sidecar(2, |_| entries(&[20, 40])).await;
    ground.sidecar(3, |_| Does::Nothing).await;
    ground.host(4).await;
    ground.host(5).await;
    let denial = Denial { who: "ann".into(), reason: "stolen".into(), since_unix_ms: 1 };
    ground.fleet.deny(&of(5), &denial).await.expect("denies");
    let lines = ground.log(v1::LogRequest::default()).await;
    let (entries, notes) = told(&lines);
    assert_eq!(entries, [("box-1", 1), ("box-2", 1), ("box-1", 2), ("box-2", 2)]);
    assert_eq!(notes.len(), 3, "{notes:?}");
    let expected = [
        "no sidecar of host box-4 (04040404) answers: start it there with `rrctl up`",
        "host box-5 (05050505) is shut out of the fleet by ann: stolen",
        "the sidecar of host box-3 (03030303) has not answered within 3 s",
    ];
    for why in expected {
        assert!(notes.iter().any(|note| note.starts_with(why)), "{why}: {notes:?}");
    }
    assert_eq!(lines[0].host, of(1).to_string());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_once_all_have_answered() {
    let mut ground = Ground::new().await;
    ground.sidecar(1, |_| entries(&[10])).await;
    let begun = ground.fleet.clock().now();
    assert_eq!(told(&ground.log(v1::LogRequest::default()).await), (vec![("box-1", 1)], vec![]));
    assert!(ground.fleet.clock().now().since(begun) < Span::from_secs(3));
    // What was asked arrives as it was asked.
    let request = v1::LogRequest { session: "0a0a".into(), limit: 1, newest_first: true, ..Default::default() };
    ground.log(request.clone()).await;
    assert_eq!(ground.asked.lock().expect("whole").last(), Some(&(of(1), What::Log(request))));
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_nobody_knew_of_is_heard_as_well() {
    let mut ground = Ground::new().await;
    let (fleet, asked) = (ground.fleet.clone(), ground.asked.clone());
    ground.sidecars.push(tokio::spawn(sidecar(fleet, of(7), Arc::new(|_: &What| entries(&[10])), asked)));
    let lines = ground.log(v1::LogRequest::default()).await;
    assert_eq!((lines.len(), lines[0].host.clone()), (1, of(7).to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_living_session_is_rolled_back_on_its_host_and_nobody_else_is_asked() {
    let mut ground = Ground::new().await;
    let session = ground.session(1, "mine").await.sid.to_string();
    let full = session.clone();
    ground.sidecar(1, move |what| undone(&full, what)).await;
    ground.sidecar(2, |_| panic!("it has nothing to do with it")).await;
    for name in [&session[..6], &session.to_uppercase()[..8], "mine"] {
        let reply = ground.rollback(v1::RollbackRequest { steps: 3, ..order(name) }).await.expect("rolls back");
        assert_eq!((reply.of, reply.calls, reply.session.as_str()), (session.clone(), 3, sid(99).as_str()), "{name}");
    }
    let asked = v1::RollbackRequest { steps: 3, ..order(&session) };
    assert_eq!(ground.orders(), vec![(of(1), asked); 3], "named in full, and no plan was needed to find it");
    assert_eq!(ground.asked.lock().expect("whole").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_has_ended_is_found_by_asking_and_rolled_back_where_it_was() {
    let mut ground = Ground::new().await;
    let session = sid(0x5e);
    let full = session.clone();
    ground.sidecar(1, not_here).await;
    ground.sidecar(2, move |what| undone(&full, what)).await;
    let dry = ground.rollback(v1::RollbackRequest { dry_run: true, ..order(&session[..8]) }).await.expect("plans");
    assert_eq!((dry.of, dry.session, ground.orders()), (session.clone(), String::new(), vec![]));
    let done = ground.rollback(order(&session[..8])).await.expect("rolls back");
    assert_eq!(done.session, sid(99));
    assert_eq!(ground.orders(), [(of(2), order(&session))]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_more_than_one_has_is_refused_with_who_they_are() {
    let mut ground = Ground::new().await;
    for n in [1, 2] {
        ground.sidecar(n, move |what| undone(&sid(n + 0x40), what)).await;
    }
    let refused = ground.rollback(order("fix-it")).await.expect_err("two");
    assert_eq!(refused.code(), Code::NotFound);
    for candidate in [format!("{} (on host box-1", sid(0x41)), format!("{} (on host box-2", sid(0x42))] {
        assert!(refused.message().contains(&candidate), "{refused}");
    }
    for n in [1, 2] {
        ground.session(n, "twice").await;
    }
    let refused = ground.rollback(order("twice")).await.expect_err("two that live");
    assert!(refused.code() == Code::NotFound && refused.message().contains("2 sessions are called twice"), "{refused}");
    assert!(ground.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_a_host_is_silent_only_a_whole_id_is_sure_to_mean_one_session() {
    let mut ground = Ground::new().await;
    let session = sid(0x5e);
    let full = session.clone();
    ground.sidecar(1, move |what| undone(&full, what)).await;
    ground.host(2).await;
    let refused = ground.rollback(order(&session[..8])).await.expect_err("the other may know one too");
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains(&session) && refused.message().contains("box-2"), "{refused}");
    assert!(ground.orders().is_empty());
    ground.rollback(order(&session)).await.expect("rolls back");
    assert_eq!(ground.orders().len(), 1);
    let refused = ground.rollback(order("abcd")).await.expect_err("unknown");
    assert!(refused.message().contains("knows session"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_no_host_knows_is_not_found_and_silent_hosts_are_named() {
    let mut ground = Ground::new().await;
    ground.sidecar(1, not_here).await;
    ground.host(2).await;
    let refused = ground.rollback(order("abcd")).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().starts_with("no host knows a session abcd; not all hosts have answered"), "{refused}");
    assert!(refused.message().contains("box-2"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_nobody_took_up_is_never_carried_out() {
    let mut ground = Ground::new().await;
    let session = ground.session(1, "mine").await.sid.to_string();
    let refused = ground.rollback(order(&session)).await.expect_err("nobody is there");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().ends_with("nothing was rolled back"), "{refused}");
    assert!(refused.message().contains("no sidecar of host box-1"), "{refused}");
    ground.sidecar(1, |what| panic!("too late for {what:?}")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(ground.fleet.open_questions(&of(1)).await.expect("reads").is_empty());
    assert!(ground.orders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_taken_up_and_not_answered_is_not_said_to_be_undone() {
    let mut ground = Ground::new().await;
    let session = ground.session(1, "mine").await.sid.to_string();
    ground.sidecar(1, |_| Does::Nothing).await;
    let begun = ground.fleet.clock().now();
    let unknown = ground.rollback(order(&session)).await.expect_err("no answer");
    assert_eq!(unknown.code(), Code::DeadlineExceeded);
    assert!(unknown.message().contains("it is not known what came of it"), "{unknown}");
    assert!(unknown.message().contains(&format!("`rrctl log --session {session}`")), "{unknown}");
    assert!(!unknown.message().contains("nothing was rolled back"), "{unknown}");
    let waited = ground.fleet.clock().now().since(begun);
    assert!(waited >= journal::ROLLBACK_WAIT && waited <= journal::ROLLBACK_WAIT + Span::from_secs(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_and_a_refusal_come_back_as_they_were_said() {
    let mut ground = Ground::new().await;
    let (here, there) = (sid(0x5e), ground.session(2, "mine").await.sid.to_string());
    let conflict = v1::RollbackReply {
        of: here.clone(),
        conflicts: vec![v1::UndoConflict { path: "a".into(), why: "both".into(), ..Default::default() }],
        ..Default::default()
    };
    let said = conflict.clone();
    let whose = here.clone();
    ground
        .sidecar(1, move |what| match what {
            What::Rollback(order) if order.session == whose => Does::Answer(Said::Rollback(said.clone())),
            other => not_here(other),
        })
        .await;
    ground
        .sidecar(2, |what| match what {
            What::Rollback(order) if order.dry_run => not_here(what),
            _ => Does::Answer(Said::Refused("it is running: pause it first".into())),
        })
        .await;
    assert_eq!(ground.rollback(order(&here)).await.expect("answers"), conflict);
    assert!(ground.orders().is_empty(), "a plan with a conflict is no order");
    let refused = ground.rollback(order(&there)).await.expect_err("it runs");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "host box-2 (02020202) refuses: it is running: pause it first");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let mut ground = Ground::new().await;
    ground.sidecar(1, |what| panic!("asked {what:?}")).await;
    let requests = [
        v1::RollbackRequest { who: String::new(), ..order("abcd") },
        order(" abc "),
        v1::RollbackRequest { steps: 1, to_checkpoint: true, ..order("abcd") },
        v1::RollbackRequest { path: "x".repeat(5_000), ..order("abcd") },
    ];
    for request in requests {
        let refused = ground.rollback(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    for (host, folder) in [("", "/work"), (of(1).as_str(), "")] {
        let request = v1::CheckpointRequest { host: host.into(), folder: folder.into(), why: String::new() };
        let refused = journal::checkpoint(&ground.fleet, request, "kim").await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let too_long = v1::LogRequest { path: "x".repeat(5_000), ..Default::default() };
    assert!(journal::log(ground.fleet.clone(), too_long, "kim".into()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_made_on_the_host_that_is_named() {
    let mut ground = Ground::new().await;
    ground.sidecar(1, |_| panic!("not here")).await;
    ground
        .sidecar(2, |what| match what {
            What::Checkpoint(request) if request.folder == "/work" => {
                let (commit, root) = ("c0ffee".to_owned(), "/work".to_owned());
                Does::Answer(Said::Checkpoint(v1::CheckpointReply { commit, root }))
            }
            _ => Does::Answer(Said::NotHere("no work tree".into())),
        })
        .await;
    let request =
        |folder: &str| v1::CheckpointRequest { host: of(2).to_string(), folder: folder.into(), why: "green".into() };
    let kept = journal::checkpoint(&ground.fleet, request("/work"), "kim").await.expect("kept");
    assert_eq!(kept.commit, "c0ffee");
    let refused = journal::checkpoint(&ground.fleet, request("/tmp"), "kim").await.expect_err("none");
    assert_eq!(refused.code(), Code::NotFound);
    let nobody = v1::CheckpointRequest { host: of(9).to_string(), ..request("/work") };
    let refused = journal::checkpoint(&ground.fleet, nobody, "kim").await.expect_err("nobody");
    assert!(refused.code() == Code::Unavailable && refused.message().ends_with("nothing was kept"), "{refused}");
}

fn connect(socket: &Path) -> Channel {
    let path = socket.to_owned();
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://railroad.local").connect_with_connector_lazy(connector)
}

#[tokio::test]
async fn it_is_asked_over_the_coordinators_socket() {
    let dir = tempfile::tempdir().expect("folder");
    let (socket, clock) = (dir.path().join("api.sock"), Arc::new(BootClock));
    let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).expect("store");
    let mut ground = Ground::on(dir, store, clock).await;
    let session = ground.session(1, "mine").await.sid.to_string();
    let full = session.clone();
    ground
        .sidecar(1, move |what| match what {
            What::Log(_) => entries(&[10, 20]),
            What::Rollback(_) => undone(&full, what),
            What::Checkpoint(_) => Does::Answer(Said::Refused("the disk is full".into())),
            What::Hold(asked) => Does::Answer(Said::Hold(v1::HoldReply {
                session: asked.session.clone(),
                held: !asked.lift,
                ..Default::default()
            })),
        })
        .await;
    let shutdown = CancellationToken::new();
    let (fleet, path, token) = (ground.fleet.clone(), socket.clone(), shutdown.clone());
    let served = tokio::spawn(async move { serve(fleet, &path, token).await });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    let mut client = JournalClient::new(connect(&socket));
    let lines = client.log(v1::LogRequest::default()).await.expect("answers").into_inner();
    let lines: Vec<v1::LogReply> = lines.try_collect().await.expect("reads");
    assert_eq!(told(&lines).0, [("box-1", 1), ("box-1", 2)]);
    let hold = v1::HoldRequest { session: "mine".into(), who: "ann".into(), ..Default::default() };
    let held = client.hold(hold).await.expect("holds").into_inner();
    assert_eq!((held.session.as_str(), held.held), (session.as_str(), true), "asked for by its whole id");
    let reply = client.rollback(order(&session)).await.expect("rolls back").into_inner();
    assert_eq!((reply.of, ground.orders()[0].1.who.as_str()), (session, "kim"));
    let request = v1::CheckpointRequest { host: of(1).to_string(), folder: "/work".into(), why: String::new() };
    let refused = client.checkpoint(request).await.expect_err("refused");
    assert!(refused.message().ends_with("refuses: the disk is full"), "{refused}");
    shutdown.cancel();
    served.await.expect("no panic").expect("a clean end");
}

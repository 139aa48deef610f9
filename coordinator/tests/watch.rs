//! Overlap, health and incidents as a client sees them, over a real unix socket on the embedded store: records that a
//! watcher left there are listed, explained, watched and ordered about. What the records promise is proven in
//! `rr_fleet`; who may ask what over a network, in `over_tls`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rr_coordinator::app::{self, ServeError};
use rr_core::culprit::{Build, Culprit, How, Nature, Proof, Run, Verdict};
use rr_core::id::{CommitId, Epoch, FleetName, HostId, IncidentId, ObjectId, RepoId};
use rr_core::incident::{Incident, Line, Note, Pause, Place, Revert, State, Suspect};
use rr_core::limits::Timing;
use rr_core::live::{ChangeSet, Entry, FileChange, Lines, Onto, Rest, TreeKey};
use rr_core::overlap::{Because, Finding, FindingId, Kind, Level};
use rr_fleet::{
    Advanced, FindingChange, Fleet, HealthRun, Leader, LineHealth, LiveLease, Opened, Registered, Session,
    SessionRecord, Slot, SlotHolder, Stored,
};
use rr_proto::v1;
use rr_proto::v1::health_client::HealthClient;
use rr_proto::v1::incidents_client::IncidentsClient;
use rr_proto::v1::order_incident_reply::Outcome;
use rr_proto::v1::order_incident_request::Order;
use rr_proto::v1::overlap_client::OverlapClient;
use rr_proto::v1::trust_plan_reply::Outcome as Trusted;
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Far above what any answer here takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);
const REPO: &str = "0123456789abcdef";

struct Desk {
    dir: tempfile::TempDir,
    fleet: Fleet,
    leader: Leader,
    live: Mutex<LiveLease>,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Desk {
    async fn open() -> Self {
        let (dir, clock) = (tempfile::tempdir().expect("folder"), Arc::new(BootClock));
        let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).expect("store");
        let name = FleetName::default();
        let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("fleet");
        let leader = fleet.campaign("watcher", &host()).await.expect("answers").expect("nobody else leads");
        let live = Mutex::new(fleet.keep_live(&host()).await.expect("begins"));
        let (shutdown, socket) = (CancellationToken::new(), dir.path().join("api.sock"));
        let served = {
            let (fleet, shutdown) = (fleet.clone(), shutdown.clone());
            tokio::spawn(async move { app::serve(fleet, &socket, shutdown).await })
        };
        Self { dir, fleet, leader, live, shutdown, served }
    }

    async fn channel(&self) -> Channel {
        let socket: PathBuf = self.dir.path().join("api.sock");
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://railroad.local");
        let until = tokio::time::Instant::now() + SOON;
        loop {
            match endpoint.connect_with_connector(connector.clone()).await {
                Ok(channel) => return channel,
                Err(error) if tokio::time::Instant::now() > until => panic!("nobody listens: {error}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn overlap(&self) -> OverlapClient<Channel> {
        OverlapClient::new(self.channel().await)
    }

    async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    async fn incidents(&self) -> IncidentsClient<Channel> {
        IncidentsClient::new(self.channel().await)
    }

    async fn agent(&self, task: &str) -> Session {
        let record = SessionRecord {
            host: host(),
            host_name: "box".into(),
            boot: "b".into(),
            pid: 4_242,
            start: 7,
            agent: "claude".into(),
            agent_session: task.into(),
            workspace: format!("/w/{task}"),
            since_unix_ms: 1,
            task: task.into(),
            warning: String::new(),
        };
        match self.fleet.register(&record, "fp").await.expect("registers") {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
        }
    }

    async fn tree(&self, name: &str, of: Option<&Session>) -> TreeKey {
        let key = TreeKey { host: host(), tree: name.into() };
        let set = ChangeSet {
            repo: repo(),
            root: format!("/w/{name}"),
            branch: name.into(),
            head: None,
            target: None,
            tree: object("a"),
            onto: Onto::Clean(object("b")),
            rest: Rest::Settled,
            writers: of.map(|session| session.sid.clone()).into_iter().collect(),
            remote: None,
            files: vec![file("src/a.rs"), file("src/other.rs")],
            committed: false,
            left_out: 0,
        };
        self.fleet.put_live(&mut *self.live.lock().await, &key, &set).await.expect("told");
        key
    }

    async fn found(&self, finding: &Finding) {
        let changes = [FindingChange::Put(Box::new(finding.clone()))];
        self.fleet.put_findings(&self.leader, &changes).await.expect("kept");
    }

    async fn opened(&self, incident: &Incident) -> Stored {
        match self.fleet.open_incident(&self.leader, incident).await.expect("answers") {
            Opened::Yes(stored) => stored,
            Opened::Already(_) => panic!("its line has one"),
        }
    }

    async fn close(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.served).await.expect("in time").expect("no panic").expect("a clean end");
    }
}

fn host() -> HostId {
    HostId::from_random([9; 16])
}

fn repo() -> RepoId {
    RepoId::parse(REPO).expect("legal")
}

fn object(digit: &str) -> ObjectId {
    ObjectId::parse(&digit.repeat(40)).expect("legal")
}

fn commit(digit: &str) -> CommitId {
    CommitId::parse(&digit.repeat(40)).expect("legal")
}

fn file(path: &str) -> FileChange {
    FileChange {
        path: path.into(),
        from: Some(Entry { mode: 0o100_644, id: object("a") }),
        to: Some(Entry { mode: 0o100_644, id: object("b") }),
        ranges: vec![Lines { start: 4, count: 2 }],
        binary: false,
        renamed_from: None,
        layout_only: false,
        symbols: vec![],
        uses: vec![],
        packages: vec![],
        by: vec![],
    }
}

fn finding(id: &str, a: &TreeKey, b: &TreeKey) -> Finding {
    Finding {
        id: FindingId::parse(&id.repeat(4)).expect("legal"),
        repo: repo(),
        level: Level::Conflict,
        kind: Kind::Merge,
        sides: [a.clone(), b.clone()],
        paths: vec!["src/a.rs".into()],
        places: vec![],
        excerpt: "<<<<<<< a".into(),
        yields: Some((1, Because::Smaller)),
    }
}

fn line(branch: &str) -> Line {
    Line { repo: repo(), place: Place::Clone { host: host(), root: "/w/main".into() }, branch: branch.into() }
}

/// A break of this branch, whose culprit is proven and whose revert is prepared.
fn incident(digit: u8, branch: &str) -> Incident {
    let suspect = |n: &str| Suspect {
        commit: commit(n),
        session: None,
        author: "kim".into(),
        subject: "change".into(),
        at_unix_s: 1,
        weight: 0.5,
    };
    let run = |n, verdict| Run { build: Build::Prefix(n), verdict };
    Incident {
        id: IncidentId::from_random([digit; 16]),
        line: line(branch),
        state: State::Escalated,
        check: "types".into(),
        command: "cargo check".into(),
        nature: Nature::Compile,
        green: commit("0"),
        red: commit("2"),
        suspects: vec![suspect("1"), suspect("2")],
        runs: vec![run(2, Verdict::Red), run(1, Verdict::Green)],
        output: "error".into(),
        files: vec![],
        pause: Some(Pause { epoch: Epoch(4), hold: "h".into() }),
        culprits: vec![1],
        revert: Some(Revert { tip: commit("2"), tree: object("3"), green: true, commit: None }),
        proven: Some(Culprit { suspects: vec![1], how: How::ByItself, proof: Proof { with: 0, without: 1 } }),
        kept: None,
        escalated: Some("only proposed so far".into()),
        accepted: false,
        drained: false,
        hindered: 0,
        tries: 0,
        opened_unix_ms: 5_000,
        paused_at_unix_ms: None,
        notes: vec![Note { at_unix_ms: 5_000, text: "red".into() }],
    }
}

#[tokio::test]
async fn work_trees_and_findings_are_listed_with_who_works_there_and_explained_whole() {
    let desk = Desk::open().await;
    let agent = desk.agent("parse").await;
    let (a, b) = (desk.tree("one", Some(&agent)).await, desk.tree("two", None).await);
    desk.found(&finding("1a2b", &a, &b)).await;
    let mut client = desk.overlap().await;
    let listed = client.list(v1::ListOverlapRequest {}).await.expect("answers").into_inner();
    let one = listed.trees.iter().find(|tree| tree.branch == "one").expect("there");
    assert_eq!((one.host_name.as_str(), one.root.as_str(), one.onto.as_str()), ("box", "/w/one", "clean"));
    let who = v1::Writer { session: agent.sid.to_string(), agent: "claude".into(), task: "parse".into() };
    assert_eq!((one.writers.as_slice(), one.files), ([who].as_slice(), 2));
    assert_eq!((listed.findings.len(), listed.findings[0].excerpt.as_str()), (1, ""), "hunks are not for lists");

    let id = "1a2b".repeat(4);
    let whole = client.explain(v1::ExplainRequest { id: id.clone() }).await.expect("answers").into_inner();
    let told = whole.finding.expect("there");
    assert_eq!((told.excerpt.as_str(), told.level, told.paths.len()), ("<<<<<<< a", 2, 1));
    let files: Vec<_> = whole.sides[0].files.iter().map(|f| (f.path.as_str(), f.lines[0].start)).collect();
    assert_eq!(files, [("src/a.rs", 5)], "only what it is about, lines from 1");

    desk.fleet.drop_live(&mut *desk.live.lock().await, &b).await.expect("gone");
    let half = client.explain(v1::ExplainRequest { id }).await.expect("answers").into_inner();
    assert_eq!(half.sides[1].tree.as_ref().map(|t| (t.tree.as_str(), t.root.as_str())), Some(("two", "")));
    for (id, code) in [("f".repeat(16), Code::NotFound), ("1a2b".to_owned(), Code::InvalidArgument)] {
        let refused = client.explain(v1::ExplainRequest { id }).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    desk.close().await;
}

#[tokio::test]
async fn a_watch_shows_findings_as_they_come_and_go_and_nothing_twice() {
    let desk = Desk::open().await;
    let (a, b) = (desk.tree("one", None).await, desk.tree("two", None).await);
    let mut client = desk.overlap().await;
    let mut pictures = client.watch(v1::WatchOverlapRequest {}).await.expect("opens").into_inner();
    let mut next = async || {
        let next = tokio::time::timeout(SOON, pictures.message()).await.expect("it is shown");
        next.expect("answers").expect("a picture").findings.len()
    };
    assert_eq!(next().await, 0);
    // What changes elsewhere wakes it, and is not another picture.
    desk.agent("elsewhere").await;
    desk.found(&finding("1a2b", &a, &b)).await;
    assert_eq!(next().await, 1);
    let id = FindingId::parse(&"1a2b".repeat(4)).expect("legal");
    desk.fleet.put_findings(&desk.leader, &[FindingChange::Clear(id)]).await.expect("cleared");
    assert_eq!(next().await, 0);
    desk.close().await;
}

#[tokio::test]
async fn two_incidents_are_listed_in_short_and_shown_whole_by_the_begin_of_their_ids() {
    let desk = Desk::open().await;
    desk.opened(&incident(0x1a, "main")).await;
    desk.opened(&incident(0x1b, "next")).await;
    let mut client = desk.incidents().await;
    let listed = client.list(v1::ListIncidentsRequest { past: 9 }).await.expect("answers").into_inner().incidents;
    let branches: Vec<_> = listed.iter().map(|i| i.line.as_ref().expect("a line").branch.as_str()).collect();
    assert_eq!(branches, ["main", "next"]);
    assert!(listed[0].suspects.is_empty() && listed[0].output.is_empty(), "in short");
    assert_eq!((listed[0].suspects_count, listed[0].culprit_commits[0].clone()), (2, "2".repeat(40)));

    let mut show = async |id: &str| client.show(v1::ShowIncidentRequest { id: id.into() }).await;
    let whole = show("1b1b").await.expect("answers").into_inner().incident.expect("there");
    assert_eq!((whole.builds[0].what.as_str(), whole.builds[0].of.as_slice()), ("prefix", [2].as_slice()));
    assert_eq!((whole.output.as_str(), whole.notes.len(), whole.culprits.as_slice()), ("error", 1, [1].as_slice()));
    assert_eq!(whole.pause.map(|p| p.epoch), Some(4));
    assert_eq!(whole.proof, Some(v1::CulpritProof { red: 1, green: 2, how: "by_itself".into() }));
    for unknown in ["ffff", "1a1b", "", "zz"] {
        assert_eq!(show(unknown).await.expect_err("none").code(), Code::NotFound, "{unknown:?}");
    }
    desk.close().await;
}

#[tokio::test]
async fn an_order_is_kept_once_and_told_until_it_is_taken() {
    let desk = Desk::open().await;
    let stored = desk.opened(&incident(0x1a, "main")).await;
    let id = stored.incident.id.clone();
    let (mut client, mut giver) = (desk.incidents().await, desk.incidents().await);
    let mut order = async |what| {
        let request = v1::OrderIncidentRequest { id: id.to_string(), who: "kim".into(), order: Some(what) };
        giver.order(request).await.expect("answers").into_inner().outcome.expect("one")
    };
    for _ in 0..2 {
        assert_eq!(order(Order::Resolve("mended by hand".into())).await, Outcome::Ordered(true));
    }
    let waiting = desk.fleet.orders().await.expect("answers");
    assert_eq!(waiting.len(), 1, "the same order twice is one: {waiting:?}");
    let shown = client.show(v1::ShowIncidentRequest { id: id.to_string() }).await.expect("answers").into_inner();
    let ordered = shown.incident.expect("there").ordered;
    assert!(ordered.contains("kim") && ordered.contains("mended by hand"), "{ordered}");
    desk.fleet.take_order(&desk.leader, &id, waiting[0].3).await.expect("taken");
    let shown = client.show(v1::ShowIncidentRequest { id: id.to_string() }).await.expect("answers").into_inner();
    assert_eq!(shown.incident.expect("there").ordered, "");
    assert_eq!(order(Order::Accept(true)).await, Outcome::Ordered(true), "a revert is prepared");
    desk.close().await;
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_its_reason_and_changes_nothing() {
    let desk = Desk::open().await;
    let agent = desk.agent("parse").await;
    let done = Incident { revert: None, culprits: vec![], ..incident(0x1a, "main") };
    let stored = desk.opened(&done).await;
    let over = desk.opened(&incident(0x1b, "next")).await;
    let last = Incident { state: State::Resumed, ..over.incident.clone() };
    let closed = desk.fleet.close_incident(&desk.leader, &over, &last).await.expect("closed");
    assert!(matches!(closed, Advanced::Yes(_)), "{closed:?}");
    let mut reverted = incident(0x1c, "third");
    reverted.revert = reverted.revert.map(|revert| Revert { commit: Some(commit("4")), ..revert });
    let landed = desk.opened(&reverted).await.incident.id;
    let mut client = desk.incidents().await;
    let mut order = async |id: &IncidentId, who: &str, what: Option<Order>| {
        let request = v1::OrderIncidentRequest { id: id.to_string(), who: who.into(), order: what };
        client.order(request).await.map(|reply| reply.into_inner().outcome.expect("one")).map_err(|s| s.code())
    };
    let (id, none) = (&stored.incident.id, IncidentId::from_random([7; 16]));
    let refused =
        |outcome: Result<Outcome, Code>, word: &str| matches!(outcome, Ok(Outcome::Refused(why)) if why.contains(word));
    assert!(refused(order(id, "kim", Some(Order::Accept(true))).await, "no revert"));
    assert!(refused(order(id, "kim", Some(Order::HandOver("a".repeat(32)))).await, "no session"));
    assert!(refused(order(&landed, "kim", Some(Order::Accept(true))).await, "is done"));
    assert_eq!(order(&over.incident.id, "kim", Some(Order::Accept(true))).await, Ok(Outcome::Over(true)));
    assert_eq!(order(&none, "kim", Some(Order::Accept(true))).await, Ok(Outcome::Unknown(true)));
    for bad in
        [Order::Resolve(" ".into()), Order::Dismiss(String::new()), Order::HandOver("x".into()), Order::Accept(false)]
    {
        assert_eq!(order(id, "kim", Some(bad.clone())).await, Err(Code::InvalidArgument), "{bad:?}");
    }
    assert_eq!(order(id, "kim", None).await, Err(Code::InvalidArgument));
    assert_eq!(order(id, "", Some(Order::Dismiss("r".into()))).await, Err(Code::InvalidArgument), "nobody is named");
    assert!(desk.fleet.orders().await.expect("answers").is_empty());
    assert_eq!(order(id, "kim", Some(Order::HandOver(agent.sid.to_string()))).await, Ok(Outcome::Ordered(true)));
    desk.close().await;
}

#[tokio::test]
async fn a_watch_follows_an_incident_until_its_end() {
    let desk = Desk::open().await;
    let first = Incident { state: State::Searching, ..incident(0x1a, "main") };
    let stored = desk.opened(&first).await;
    let mut client = desk.incidents().await;
    let request = v1::ShowIncidentRequest { id: "1a1a".into() };
    let mut pictures = client.watch(request).await.expect("opens").into_inner();
    let mut next = async || {
        let next = tokio::time::timeout(SOON, pictures.message()).await.expect("it is shown");
        next.expect("answers").expect("a picture").incident.expect("there").state
    };
    assert_eq!(next().await, "searching");
    let then = Incident { state: State::Reverting, ..first.clone() };
    let Advanced::Yes(stored) = desk.fleet.advance(&desk.leader, &stored, &then).await.expect("answers") else {
        panic!("overtaken")
    };
    assert_eq!(next().await, "reverting");
    let last = Incident { state: State::Resumed, ..first };
    desk.fleet.close_incident(&desk.leader, &stored, &last).await.expect("closed");
    assert_eq!(next().await, "resumed", "one that is over is still shown");
    desk.close().await;
}

#[tokio::test]
async fn health_is_shown_with_the_checks_and_what_is_proposed_is_trusted_by_its_hash() {
    let desk = Desk::open().await;
    let (green, red) = (Some(commit("1")), Some(commit("2")));
    let health = LineHealth {
        green,
        tip: red.clone(),
        red,
        check: "types".into(),
        at_unix_ms: 7_000,
        ..LineHealth::new(line("main"))
    };
    desk.fleet.put_line_health(&desk.leader, &health).await.expect("kept");
    let plan = |hash: &str| {
        let from = serde_json::json!({ "manifest": { "file": "Cargo.toml" } });
        let check = serde_json::json!({ "name": "types", "run": "cargo check", "when": "commit", "from": from });
        let trust = serde_json::json!({ "trust": "trusted", "median_ms": 2400 });
        let proposed = if hash.is_empty() { vec![] } else { vec![check.clone()] };
        serde_json::json!({
            "checks": [{ "check": check, "trust": trust }], "proposed": proposed, "proposed_hash": hash, "notes": ["n"],
        })
    };
    desk.fleet.put_plan(&desk.leader, &repo(), &plan(&"9a".repeat(32))).await.expect("kept");
    let mut client = desk.health().await;
    let shown = client.show(v1::ShowHealthRequest {}).await.expect("answers").into_inner();
    assert_eq!((shown.lines[0].red.clone(), shown.lines[0].at_unix_ms), ("2".repeat(40), 7_000));
    let check = &shown.plans[0].checks[0];
    assert_eq!(
        (check.from.as_str(), check.trust.as_str(), check.median_ms),
        ("usual for Cargo.toml", "trusted", 2_400)
    );
    assert_eq!((shown.plans[0].proposed.len(), shown.plans[0].notes.len()), (1, 1));
    assert!(shown.slots.is_empty(), "nobody has or wants one");
    let holder = SlotHolder { who: "types".into(), ..SlotHolder::default() };
    let slot =
        desk.fleet.take_slot(&host(), "check", 2, &holder, desk.live.lock().await.lease()).await.expect("answers");
    assert!(matches!(slot, Slot::Taken(_)), "{slot:?}");
    let slots = client.show(v1::ShowHealthRequest {}).await.expect("answers").into_inner().slots;
    assert_eq!((slots[0].name.as_str(), slots[0].used, slots[0].of, slots[0].waiting), ("check", 1, 2, 0));

    let mut trust = async |repo: &str, hash: &str| {
        let request = v1::TrustPlanRequest { repo: repo.into(), hash: hash.into(), who: "kim".into() };
        client.trust(request).await.expect("answers").into_inner().outcome.expect("one")
    };
    assert_eq!(trust(REPO, &"00".repeat(32)).await, Trusted::ChangedHash("9a".repeat(32)));
    assert_eq!(trust("fedcba9876543210", &"9a".repeat(32)).await, Trusted::Unknown(true));
    assert_eq!(trust(REPO, &"9a".repeat(32)).await, Trusted::Trusted(true));
    let trusted = desk.fleet.trusted_plan(&repo()).await.expect("answers").expect("one is");
    assert_eq!((trusted.hash, trusted.who.as_str()), ("9a".repeat(32), "kim"));
    desk.fleet.put_plan(&desk.leader, &repo(), &plan("")).await.expect("kept");
    assert_eq!(trust(REPO, &"9a".repeat(32)).await, Trusted::Unknown(true), "nothing is proposed");
    desk.close().await;
}

#[tokio::test]
async fn a_plan_that_nobody_can_read_hides_nothing_else() {
    let desk = Desk::open().await;
    let health = LineHealth::new(line("main"));
    desk.fleet.put_line_health(&desk.leader, &health).await.expect("kept");
    desk.fleet.put_plan(&desk.leader, &repo(), &serde_json::json!([1, 2])).await.expect("kept");
    let shown = desk.health().await.show(v1::ShowHealthRequest {}).await.expect("answers").into_inner();
    assert_eq!(shown.lines.len(), 1);
    assert!(shown.plans[0].notes[0].contains("cannot be read"), "{:?}", shown.plans);
    desk.close().await;
}

#[tokio::test]
async fn a_check_is_asked_for_once_and_runs_are_listed_the_newest_first() {
    let desk = Desk::open().await;
    let mut client = desk.health().await;
    let mut ask = async |repo: &str, who: &str| {
        client
            .run(v1::RunHealthRequest { repo: repo.into(), who: who.into() })
            .await
            .map(|reply| reply.into_inner().already)
    };
    assert!(!ask(REPO, "kim").await.expect("answers"));
    assert!(ask(REPO, "bob").await.expect("answers"), "nobody has begun with it");
    assert_eq!(ask("main", "kim").await.expect_err("refused").code(), Code::InvalidArgument);
    assert_eq!(ask(REPO, " ").await.expect_err("refused").code(), Code::InvalidArgument);
    let shown = client.show(v1::ShowHealthRequest {}).await.expect("answers").into_inner();
    assert_eq!(shown.asked, [REPO]);

    desk.agent("parse").await;
    for (n, verdict) in ["green", "red"].iter().enumerate() {
        let run = HealthRun {
            repo: repo(),
            label: "main".into(),
            tree: object("a"),
            check: "types".into(),
            verdict: (*verdict).into(),
            took_ms: 40,
            at_unix_ms: 1_000 + u64::try_from(n).expect("small"),
            host: host(),
        };
        desk.fleet.put_health_run(&desk.leader, &run).await.expect("kept");
    }
    let mut runs = async |repo: &str, limit| {
        let request = v1::HealthHistoryRequest { repo: repo.into(), limit };
        client.history(request).await.expect("answers").into_inner().runs
    };
    let all = runs(REPO, 0).await;
    let told: Vec<_> = all.iter().map(|run| (run.verdict.as_str(), run.host_name.as_str())).collect();
    assert_eq!(told, [("red", "box"), ("green", "box")]);
    assert_eq!(runs(REPO, 1).await, all[..1]);
    assert!(runs("", 0).await.is_empty(), "no branch of it is known");
    desk.tree("one", None).await;
    assert_eq!(runs("", 0).await, all);
    desk.close().await;
}

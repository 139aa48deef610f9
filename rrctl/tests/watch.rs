//! Overlap, health and incidents as a person types them: the real program before a coordinator whose store holds what a
//! watcher left there. No watcher runs, so that nothing changes but what a person orders.

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rr_core::culprit::{Build, Culprit, How, Nature, Proof, Run, Verdict};
use rr_core::id::{CommitId, Epoch, FleetName, HostId, IncidentId, ObjectId, RepoId};
use rr_core::incident::{Incident, Line, Note, Pause, Place, Revert, State, Suspect};
use rr_core::limits::Timing;
use rr_core::live::{ChangeSet, Entry, FileChange, GitPath, Lines, Onto, Rest, TreeKey};
use rr_core::overlap::{Because, Finding, FindingId, Kind, Level};
use rr_fleet::{
    FindingChange, Fleet, Leader, LineHealth, LiveLease, Opened, Order, Registered, Session, SessionRecord,
};
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use common::{Said, rrctl};

/// Only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);
/// What a hostile program puts into names.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r";

/// A person with a home and a repository of their own, and a coordinator to ask.
struct Person {
    home: TempDir,
    runtime: Runtime,
    fleet: Fleet,
    leader: Leader,
    live: Mutex<LiveLease>,
    shutdown: CancellationToken,
}

impl Person {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("folder");
        let made = Command::new("git").args(["init", "-q"]).arg(home.path().join("repo")).status().expect("git runs");
        assert!(made.success());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let (socket, shutdown) = (home.path().join("run/api.sock"), CancellationToken::new());
        std::fs::create_dir_all(home.path().join("run")).expect("made");
        let (fleet, leader, live) = runtime.block_on(async {
            let clock = Arc::new(BootClock);
            let store = EmbeddedStore::open(&home.path().join("state/store"), Options::default(), clock.clone());
            let (name, store) = (FleetName::default(), store.expect("store"));
            let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("fleet");
            let leader = fleet.campaign("watcher", &host()).await.expect("answers").expect("nobody else leads");
            let live = fleet.keep_live(&host()).await.expect("begins");
            (fleet, leader, Mutex::new(live))
        });
        runtime.spawn({
            let (fleet, shutdown, socket) = (fleet.clone(), shutdown.clone(), socket.clone());
            async move { rr_coordinator::app::serve(fleet, &socket, shutdown).await.expect("serves") }
        });
        let until = Instant::now() + SOON;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "nobody listens");
            std::thread::yield_now();
        }
        Self { home, runtime, fleet, leader, live, shutdown }
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn repo_id(&self) -> RepoId {
        rr_git::Worktree::discover(&self.repo()).expect("git runs").expect("a repository").repo_id(None)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = rrctl(self.home.path(), words);
        command.env("TZ", "UTC");
        command
    }

    fn types(&self, words: &[&str]) -> Said {
        let said = Said::of(self.command(words).output().expect("rrctl runs"));
        for text in [&said.out, &said.err] {
            assert!(!text.replace('\n', "").chars().any(char::is_control), "{words:?}: {text:?}");
        }
        said
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.types(&[&["--json"], words].concat());
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.json()
    }

    fn refused(&self, words: &[&str]) -> (i32, String) {
        let said = self.types(words);
        assert!(said.code != 0 && said.out.is_empty(), "{words:?}: {said:?}");
        (said.code, said.err)
    }

    fn agent(&self, name: &str, task: &str) -> Session {
        let record = SessionRecord {
            host: host(),
            host_name: "elsewhere".into(),
            boot: "b".into(),
            pid: 4_242,
            start: 7,
            agent: "claude".into(),
            agent_session: name.into(),
            workspace: format!("/w/{name}"),
            since_unix_ms: unix_ms(),
            task: task.into(),
            warning: String::new(),
        };
        match self.runtime.block_on(self.fleet.register(&record, "fp")).expect("registers") {
            Registered::New(session) => session,
            Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
        }
    }

    fn tree(&self, name: &str, of: Option<&Session>, onto: Onto) -> TreeKey {
        let key = TreeKey { host: host(), tree: name.into() };
        let entry = |digit| Some(Entry { mode: 0o100_644, id: object(digit) });
        let file = FileChange {
            path: "src/a.rs".into(),
            from: entry("a"),
            to: entry("b"),
            ranges: vec![Lines { start: 4, count: 2 }],
            binary: false,
            renamed_from: None,
            layout_only: false,
            symbols: vec![],
            uses: vec![],
            packages: vec![],
            by: vec![],
        };
        let set = ChangeSet {
            repo: self.repo_id(),
            root: format!("/w/{name}"),
            branch: name.into(),
            head: None,
            target: None,
            tree: object("a"),
            onto,
            rest: Rest::Settled,
            writers: of.map(|session| session.sid.clone()).into_iter().collect(),
            remote: None,
            files: vec![file],
            committed: false,
            left_out: 0,
        };
        let mut live = self.live.lock().expect("no panic");
        self.runtime.block_on(self.fleet.put_live(&mut live, &key, &set)).expect("told");
        key
    }

    fn found(&self, finding: &Finding) {
        let changes = [FindingChange::Put(Box::new(finding.clone()))];
        self.runtime.block_on(self.fleet.put_findings(&self.leader, &changes)).expect("kept");
    }

    fn finding(&self, id: &str, level: Level, a: &TreeKey, b: &TreeKey) -> Finding {
        Finding {
            id: FindingId::parse(&id.repeat(4)).expect("legal"),
            repo: self.repo_id(),
            level,
            kind: if level == Level::Shared { Kind::Files } else { Kind::Merge },
            sides: [a.clone(), b.clone()],
            paths: vec!["src/a.rs".into()],
            places: vec![],
            excerpt: format!("<<<<<<< a\nours{HOSTILE}\n=======\ntheirs\n>>>>>>> b"),
            yields: Some((1, Because::Smaller)),
        }
    }

    fn broken(&self, id: [u8; 16], branch: &str) -> Incident {
        let incident = incident(id, self.repo_id(), branch);
        let opened = self.runtime.block_on(self.fleet.open_incident(&self.leader, &incident)).expect("answers");
        assert!(matches!(opened, Opened::Yes(_)), "{opened:?}");
        incident
    }

    fn orders(&self) -> Vec<Order> {
        let orders = self.runtime.block_on(self.fleet.orders()).expect("answers");
        orders.into_iter().map(|(_, order, _, _)| order).collect()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn host() -> HostId {
    HostId::from_random([9; 16])
}

fn object(digit: &str) -> ObjectId {
    ObjectId::parse(&digit.repeat(40)).expect("legal")
}

fn commit(digit: &str) -> CommitId {
    CommitId::parse(&digit.repeat(40)).expect("legal")
}

fn incident(id: [u8; 16], repo: RepoId, branch: &str) -> Incident {
    let suspect = |n: &str, subject: String| Suspect {
        commit: commit(n),
        session: None,
        author: format!("kim{HOSTILE}"),
        subject,
        at_unix_s: 1,
        weight: 0.5,
    };
    let run = |n, verdict| Run { build: Build::Prefix(n), verdict };
    Incident {
        id: IncidentId::from_random(id),
        line: Line { repo, place: Place::Clone { host: host(), root: "/w/main".into() }, branch: branch.into() },
        state: State::Escalated,
        check: "types".into(),
        command: "cargo check".into(),
        nature: Nature::Compile,
        green: commit("0"),
        red: commit("2"),
        suspects: vec![suspect("1", "add a".into()), suspect("2", format!("{HOSTILE}{}", "x".repeat(3_000)))],
        runs: vec![run(2, Verdict::Red), run(1, Verdict::Green)],
        output: format!("error{HOSTILE}\n").repeat(100),
        files: vec![],
        pause: Some(Pause { epoch: Epoch(4), hold: "h".into() }),
        culprits: vec![1],
        revert: Some(Revert { tip: commit("2"), tree: object("3"), green: true, commit: None }),
        proven: Some(Culprit { suspects: vec![1], how: How::ByItself, proof: Proof { with: 0, without: 1 } }),
        kept: None,
        escalated: Some("reverts are only proposed so far".into()),
        accepted: false,
        drained: false,
        hindered: 0,
        tries: 0,
        opened_unix_ms: unix_ms(),
        paused_at_unix_ms: None,
        notes: vec![Note { at_unix_ms: 1_700_000_000_000, text: format!("red{HOSTILE}") }],
    }
}

#[test]
fn overlap_is_a_table_by_pair_and_with_what_nobody_is_told() {
    let person = Person::new();
    assert_eq!(person.types(&["overlap"]).out, "no overlap among 0 work trees\n");
    let agent = person.agent("first", &format!("write the parser{HOSTILE}"));
    let one = person.tree("one", Some(&agent), Onto::Alone);
    let two = person.tree("two", None, Onto::Alone);
    let three = person.tree("three", None, Onto::Stale(vec![GitPath::new(b"old\x1b[2J.rs".to_vec())]));
    let said = person.types(&["overlap"]).out;
    assert!(said.starts_with("no overlap among 3 work trees\n") && said.contains("rrctl overlap --all"), "{said}");

    person.found(&person.finding("1a2b", Level::Conflict, &one, &two));
    person.found(&person.finding("3c4d", Level::Shared, &one, &three));
    let said = person.types(&["overlap"]).out;
    let short = agent.sid.short();
    assert!(said.starts_with("ID        LEVEL       WHAT"), "{said}");
    assert!(said.contains(&format!("{short} (write the parser")) && said.contains("a person in two, /w/two"), "{said}");
    assert!(said.contains("two: smaller") && !said.contains("3c4d3c4d"), "{said}");
    let all = person.types(&["overlap", "--all"]).out;
    assert!(all.contains("3c4d3c4d  0 shared") && all.contains("STALE") && all.contains("old%1B[2J.rs"), "{all}");

    for pair in [["one", "two"], [short, "/w/two"], ["two", "one"]] {
        let found = person.json(&["overlap", "--pair", pair[0], pair[1]]);
        assert_eq!(found["findings"].as_array().map(Vec::len), Some(1), "{pair:?}: {found}");
    }
    assert_eq!(
        person.types(&["overlap", "--pair", "two", "three"]).out.lines().next(),
        Some("no overlap between two and three")
    );
    let (code, told) = person.refused(&["overlap", "--pair", "two", "four"]);
    assert!(code == 5 && told.contains("\"four\"") && told.contains("rrctl overlap"), "{told}");
    let json = person.json(&["overlap"]);
    let tree = &json["trees"].as_array().expect("a list").iter().find(|t| t["branch"] == "one").expect("there").clone();
    assert_eq!((&tree["sessions"][0]["agent"], &tree["onto"]), (&"claude".into(), &"alone".into()));
}

#[test]
fn a_finding_is_explained_by_the_begin_of_its_id_with_both_sides_and_the_next_command() {
    let person = Person::new();
    let agent = person.agent("first", "write the parser");
    let (one, two) = (person.tree("one", None, Onto::Alone), person.tree("two", Some(&agent), Onto::Alone));
    person.found(&person.finding("1a2b", Level::Conflict, &one, &two));
    person.found(&person.finding("1a2c", Level::Conflict, &one, &two));
    let said = person.types(&["conflicts", "explain", "1a2b1"]).out;
    let short = agent.sid.short();
    for part in [
        "1a2b1a2b1a2b1a2b  level 2 conflict: git cannot merge them\n",
        "A  a person in one, /w/one on elsewhere\n",
        &format!("B  {short} (write the parser)\n   two, /w/two on elsewhere\n   src/a.rs  changed; lines 5-6\n"),
        "    =======\n    theirs\n",
        "B should give way: its change is the smaller one.\n",
        &format!("    rrctl rollback --session {short} --path src/a.rs --dry-run\n"),
        &format!("    rrctl overlap --pair one {short} --watch\n"),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json = person.json(&["conflicts", "explain", "1a2c"]);
    assert_eq!((&json["id"], &json["both"][1]["changes"][0]["path"]), (&"1a2c1a2c1a2c1a2c".into(), &"src/a.rs".into()));
    for (id, word) in [("1a2", "at least 4 digits"), ("ffff", "rrctl overlap --all"), (HOSTILE, "no finding")] {
        let (code, told) = person.refused(&["conflicts", "explain", id]);
        assert!(code == 5 && told.contains(word), "{id:?}: {told}");
    }
}

#[test]
fn two_incidents_are_told_apart_shown_and_settled_by_a_person() {
    let person = Person::new();
    assert_eq!(person.types(&["incident", "list"]).out, "No incident is open.\n");
    let (mut low, mut high) = ([0x1a; 16], [0x1a; 16]);
    (low[2], high[2]) = (0x01, 0x02);
    person.broken(low, "main");
    person.broken(high, &format!("next{HOSTILE}"));
    let list = person.types(&["incident", "list"]).out;
    assert!(list.contains("1a1a011a  ") && list.contains("1a1a021a  ") && list.contains("main of /w/main"), "{list}");
    let (code, told) = person.refused(&["incident", "show", "1a1a"]);
    assert!(code == 5 && told.contains("2 incidents") && told.contains("1a1a021a1a"), "{told}");
    let (code, told) = person.refused(&["incident", "show", "ffff"]);
    assert!(code == 5 && told.contains("rrctl incident list"), "{told}");

    let shown = person.types(&["incident", "show", "1a1a01"]).out;
    for part in [
        "escalated: a person has to decide",
        "2 of about 4 builds",
        "Proof     red with it (build 1), green without it (build 2): it breaks the check by itself\n",
        "2023-11-14 22:13:20  red",
        "    … 60 more lines\n",
        "    rrctl incident resolve 1a1a011a --revert",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.len() < 6_000, "{}", shown.len());

    assert_eq!(person.types(&["incident", "resolve", "1a1a01"]).code, 2, "how it is settled has to be said");
    let done = person.json(&["incident", "resolve", "1a1a01", "--revert"]);
    assert_eq!((&done["ordered"], &done["state"]), (&"revert".into(), &"escalated".into()));
    let said = person.types(&["incident", "resolve", "1a1a02", "--reason", "mended"]).out;
    assert!(said.contains("rrctl incident show 1a1a021a --watch"), "{said}");
    assert_eq!(person.orders(), [Order::Accept, Order::Resolve { reason: "mended".into() }]);
    let json = person.json(&["incident", "show", "1a1a02"]);
    assert!(json["ordered"].as_str().is_some_and(|ordered| ordered.contains("mended")), "{json}");
    assert_eq!((&json["proof"]["green"], &json["builds_expected"]), (&2.into(), &4.into()));
}

#[test]
fn an_incident_is_handed_to_a_session_that_is_here_and_dismissed_with_a_reason() {
    let person = Person::new();
    let agent = person.agent("the-fixer", "mend it");
    person.broken([0x1a; 16], "main");
    let (code, told) = person.refused(&["incident", "hand-over", "1a1a", "--to", "nobody"]);
    assert!(code == 5 && told.contains("rrctl sessions"), "{told}");
    for name in ["the-fixer", agent.sid.short()] {
        assert_eq!(person.json(&["incident", "hand-over", "1a1a", "--to", name])["ordered"], "hand-over");
    }
    person.json(&["incident", "dismiss", "1a1a", "--reason", "a machine was full"]);
    let reason = "a machine was full".to_owned();
    assert_eq!(person.orders(), [Order::HandOver { to: agent.sid.clone() }, Order::Dismiss { reason }]);
}

#[test]
fn a_command_of_an_agent_settles_nothing_and_may_look() {
    let person = Person::new();
    person.broken([0x1a; 16], "main");
    let as_agent = |words: &[&str]| {
        Said::of(person.command(words).env("CLAUDE_CODE_SESSION_ID", "one").output().expect("rrctl runs"))
    };
    for words in [
        &["incident", "resolve", "1a1a", "--revert"][..],
        &["incident", "dismiss", "1a1a", "--reason", "r"],
        &["incident", "hand-over", "1a1a", "--to", "one"],
        &["health", "run"],
        &["health", "trust", "9a9a9a9a"],
    ] {
        let said = as_agent(words);
        assert!(said.code == 4 && said.err.contains("only a person"), "{words:?}: {said:?}");
    }
    for words in [&["incident", "show", "1a1a"][..], &["overlap"], &["health"], &["health", "history"]] {
        assert_eq!(as_agent(words).code, 0, "{words:?}");
    }
    assert!(person.orders().is_empty());
}

#[test]
fn health_shows_branches_and_checks_and_a_run_waits_for_its_answer() {
    let person = Person::new();
    assert_eq!(person.types(&["health"]).out, "No branch has been checked yet.\n");
    assert_eq!(person.types(&["health", "history"]).out, "No check has been run yet.\n");
    let health = |red: Option<CommitId>, at_unix_ms| LineHealth {
        green: Some(commit("1")),
        tip: Some(red.clone().unwrap_or_else(|| commit("1"))),
        red,
        check: format!("types{HOSTILE}"),
        at_unix_ms,
        ..LineHealth::new(incident([1; 16], person.repo_id(), "main").line)
    };
    let put = |health: LineHealth| {
        person.runtime.block_on(person.fleet.put_line_health(&person.leader, &health)).expect("kept");
    };
    put(health(None, unix_ms()));
    let plan = serde_json::json!({
        "checks": [
            { "check": { "name": "types", "run": "make", "from": "configured" }, "trust": { "trust": "flaky" } },
        ],
        "proposed": [{ "name": "types", "run": "make all", "from": "configured" }], "proposed_hash": "9a".repeat(32),
    });
    person.runtime.block_on(person.fleet.put_plan(&person.leader, &person.repo_id(), &plan)).expect("kept");
    let said = person.types(&["health"]).out;
    assert!(said.contains("main of /w/main  green") && said.contains("no: it is both on one tree"), "{said}");
    assert!(said.contains("rrctl health trust 9a9a9a9a\n"), "{said}");
    let (code, told) = person.refused(&["health", "trust", "00000000"]);
    assert!(code == 5 && told.contains("rrctl health"), "{told}");
    assert_eq!(person.json(&["health", "trust", "9a9a9a9a"])["trusted"], true);
    let trusted = person.runtime.block_on(person.fleet.trusted_plan(&person.repo_id())).expect("answers");
    assert_eq!(trusted.map(|trusted| trusted.hash), Some("9a".repeat(32)));

    assert_eq!(person.types(&["health", "run", "--wait", "0"]).code, 0);
    let (code, told) = person.refused_late(&["health", "run", "--wait", "1"]);
    assert!(code == 1 && told.contains("no watcher has begun"), "{told}");
    let waits = person.command(&["--json", "health", "run"]).stdout(Stdio::piped()).spawn().expect("starts");
    let asks = person.runtime.block_on(person.fleet.health_asked()).expect("answers");
    person.runtime.block_on(person.fleet.take_health_ask(&person.leader, &asks[0])).expect("taken");
    // It may have looked for the first time before or after this: a verdict that comes again is another.
    let answered = std::thread::scope(|scope| {
        let done = scope.spawn(|| Said::of(waits.wait_with_output().expect("ends")));
        let mut at = unix_ms();
        while !done.is_finished() {
            at += 1;
            put(health(Some(commit("2")), at));
            let asked = person.runtime.block_on(person.fleet.health_asked()).expect("answers");
            for ask in asked {
                person.runtime.block_on(person.fleet.take_health_ask(&person.leader, &ask)).expect("taken");
            }
        }
        done.join().expect("no panic")
    });
    assert_eq!(answered.code, 6, "{answered:?}");
    let json = answered.json();
    assert_eq!(json["lines"][0]["red"], "2".repeat(40));
}

impl Person {
    /// As `refused`, of a command that says something first.
    fn refused_late(&self, words: &[&str]) -> (i32, String) {
        let said = self.types(words);
        assert!(said.code != 0, "{words:?}: {said:?}");
        (said.code, said.err)
    }
}

#[test]
fn status_tells_of_a_break_and_of_work_that_cannot_go_together() {
    let person = Person::new();
    let calm = person.types(&["status"]).out;
    assert!(!calm.contains("BROKEN") && !calm.contains("Overlap"), "{calm}");
    let (one, two) = (person.tree("one", None, Onto::Alone), person.tree("two", None, Onto::Alone));
    person.found(&person.finding("1a2b", Level::Symbol, &one, &two));
    assert!(!person.types(&["status"]).out.contains("Overlap"), "nobody has to give way");
    person.found(&person.finding("3c4d", Level::Broken, &one, &two));
    person.broken([0x1a; 16], "main");
    let said = person.types(&["status"]).out;
    assert!(
        said.contains("\nBROKEN    incident 1a1a1a1a: types fails on main")
            && said.contains("rrctl incident show 1a1a1a1a\n"),
        "{said}"
    );
    assert!(said.contains("\nOverlap   1 finding says that work cannot go together: rrctl overlap\n"), "{said}");
    let json = person.json(&["status"]);
    assert_eq!((&json["incidents"][0], &json["serious_findings"]), (&"1a".repeat(16).into(), &1.into()));
}

#[test]
fn a_watch_shows_each_change_and_ends_with_the_incident() {
    use std::io::{BufRead as _, BufReader};
    let person = Person::new();
    let (one, two) = (person.tree("one", None, Onto::Alone), person.tree("two", None, Onto::Alone));
    let mut watch = person.command(&["--json", "overlap", "--watch"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("text")).expect("json");
    assert_eq!(next()["findings"], Value::Array(vec![]));
    person.found(&person.finding("1a2b", Level::Conflict, &one, &two));
    assert_eq!(next()["findings"][0]["level"], 2);
    watch.kill().expect("runs");
    watch.wait().expect("ends");

    let incident = person.broken([0x1a; 16], "main");
    let mut watch = person.command(&["--json", "incident", "show", "1a1a", "--watch"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("text")).expect("json");
    assert_eq!(next()["state"], "escalated");
    let last = Incident { state: State::Resumed, ..incident };
    person.runtime.block_on(async {
        let stored = person.fleet.open_incidents().await.expect("answers").remove(0);
        person.fleet.close_incident(&person.leader, &stored, &last).await.expect("closed");
    });
    assert_eq!(next()["state"], "resumed");
    assert_eq!(watch.wait().expect("ends").code(), Some(0), "there is nothing more to wait for");
}

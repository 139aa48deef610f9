//! `rrctl` as a person types it: the real program, its exit codes and its JSON, on folders of its own. Every daemon that
//! a test starts is stopped by it.

mod common;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rr_core::content::{BlobId, Content};
use rr_core::id::{FleetName, HostId, RepoId, SessionId};
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Mode, Scope};
use rr_fleet::{Answer, Fleet, Registered, Request, Session, SessionRecord};
use rr_journal::{Entry, Event, FileChange, Journal, Options as JournalOptions, RealDisk};
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::{self, OpenptFlags};
use rustix::termios;
use serde_json::Value;
use tempfile::TempDir;

use common::{Said, rrctl};

/// Only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);

/// A person with a home of their own.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        let person = Self { home: tempfile::tempdir().expect("folder") };
        let made = Command::new("git").args(["init", "-q"]).arg(person.repo()).status().expect("git runs");
        assert!(made.success());
        person
    }

    fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn writes(&self, file: &str, text: &str) {
        std::fs::write(self.repo().join(file), text).expect("write");
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        rrctl(self.home.path(), words)
    }

    /// What came of a command: its exit code, standard output and standard error.
    fn types(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().expect("rrctl runs"))
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.types(&[&["--json"], words].concat());
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.json()
    }

    fn starts_the_daemon(&self) -> u32 {
        let said = self.types(&["up", "--detach"]);
        assert_eq!(said.code, 0, "{said:?}");
        self.daemon().expect("a daemon runs")
    }

    fn daemon(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.home.path().join("run/daemon.pid")).ok()?;
        text.split(' ').next()?.parse().ok()
    }

    /// A fleet with agents of another host in it, as a daemon will find it in its store.
    fn finds(&self, agents: &[(&str, &[&str])]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let clock = Arc::new(BootClock);
            let store = EmbeddedStore::open(&self.state().join("store"), Options::default(), clock.clone());
            let (name, store) = (FleetName::default(), store.expect("store"));
            let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("fleet");
            for (agent, locks) in agents {
                let session = register(&fleet, agent).await;
                for lock in *locks {
                    take(&fleet, &session, lock).await;
                }
            }
        });
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if self.daemon().is_some() {
            let said = self.types(&["down", "--wait"]);
            assert!(said.code == 0 || std::thread::panicking(), "{said:?}");
        }
    }
}

async fn register(fleet: &Fleet, agent: &str) -> Session {
    let record = SessionRecord {
        host: HostId::from_random([9; 16]),
        host_name: "elsewhere".into(),
        boot: "b".into(),
        pid: 4_242,
        start: 7,
        agent: "claude".into(),
        agent_session: agent.into(),
        workspace: format!("/home/{agent}"),
        since_unix_ms: unix_ms(),
        task: format!("task of {agent}"),
        warning: String::new(),
    };
    match fleet.register(&record, "fp").await.expect("registers") {
        Registered::New(session) => session,
        Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
    }
}

async fn take(fleet: &Fleet, session: &Session, path: &str) {
    let (mode, path) = path.strip_prefix('~').map_or((Mode::Exclusive, path), |path| (Mode::Shared, path));
    let scope = Scope::Path(RepoPath::parse(path.as_bytes()).expect("legal"));
    let repo = RepoId::parse("0123456789abcdef").expect("legal");
    let claims = vec![Claim { scope, mode }];
    let request = Request { repo, claims, doing: "Edit".into(), now_unix_ms: unix_ms() };
    let answer = fleet.request(session, request).await.expect("asks");
    assert!(matches!(answer, Answer::Granted(_)), "{answer:?}");
}

/// What a refusal said, as JSON.
fn error(said: &Said) -> Value {
    serde_json::from_str::<Value>(&said.err).unwrap_or_else(|e| panic!("{e}: {said:?}"))["error"].clone()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(mut child: Child) -> Said {
    let start = Instant::now();
    while child.try_wait().expect("waits").is_none() {
        assert!(start.elapsed() < SOON, "still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    Said::of(child.wait_with_output().expect("ended"))
}

#[test]
fn without_a_daemon_a_question_ends_with_3_and_the_command_to_type() {
    let person = Person::new();
    for words in [&["status"][..], &["sessions"], &["locks"], &["release", "--force", "--reason", "r", "a"]] {
        let said = person.types(&[&["--json"], words].concat());
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
        assert_eq!(
            (&error(&said)["kind"], &error(&said)["hint"]),
            (&"unreachable".into(), &"rrctl up --detach".into())
        );
    }
    let plain = person.types(&["status"]);
    assert!(plain.err.starts_with("error: ") && plain.err.ends_with("hint:  rrctl up --detach\n"), "{plain:?}");
    assert_eq!(person.json(&["down"])["gone"], true, "nothing to stop is no failure");
}

#[test]
fn the_daemon_starts_in_the_background_once_answers_and_stops() {
    let person = Person::new();
    let pid = person.starts_the_daemon();
    let status = person.json(&["status"]);
    assert_eq!((&status["paused"], &status["mode"]), (&false.into(), &"cooperative".into()));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!(fields[3], pid.to_string(), "it leads a session of its own");
    assert_ne!(fields[1], std::process::id().to_string(), "and nobody of us is its parent");

    let second = person.types(&["--json", "up"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(error(&second)["message"].as_str().expect("text").contains(&format!("pid {pid}")), "{second:?}");
    assert_eq!(person.json(&["up", "--detach"])["started"], false);
    assert_eq!(person.daemon(), Some(pid));

    let down = person.json(&["down", "--wait"]);
    assert_eq!((&down["gone"], &down["pid"]), (&true.into(), &pid.into()));
    assert!(!PathBuf::from(format!("/proc/{pid}/stat")).exists() || person.daemon().is_none());
    assert_eq!(person.types(&["status"]).code, 3);
}

#[test]
fn of_two_daemons_started_at_once_one_runs_and_both_starters_are_content() {
    let person = Person::new();
    let spawn = || person.command(&["up", "--detach"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let starters = [spawn().expect("starts"), spawn().expect("starts"), spawn().expect("starts")];
    for starter in starters {
        let said = ended(starter);
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(person.json(&["status"])["paused"], false);
}

#[test]
fn a_hook_starts_the_daemon_without_a_word_and_without_waiting() {
    let person = Person::new();
    let mut starter = person.command(&["up", "--detach"]);
    let starter = starter.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let said = ended(starter);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    wait_until("the daemon answers", || person.types(&["status"]).code == 0);
}

#[test]
fn a_foreground_daemon_ends_in_order_when_it_is_told_to() {
    let person = Person::new();
    let child = person.command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    wait_until("the daemon answers", || person.types(&["status"]).code == 0);
    assert_eq!(person.json(&["down"])["pid"], child.id());
    let said = ended(child);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("the daemon ends"), "{said:?}");
    assert_eq!(person.daemon(), None, "its pid file is gone");
}

#[test]
fn a_pause_needs_no_daemon_survives_its_start_and_is_ended_by_its_epoch_only() {
    let person = Person::new();
    let paused = person.json(&["pause-all", "--reason", "the build is red"]);
    assert_eq!((&paused["epoch"], &paused["already"]), (&2.into(), &false.into()));
    assert_eq!(paused["resume"], "rrctl resume --epoch 2");
    assert_eq!(person.json(&["pause-all"])["already"], true);

    person.starts_the_daemon();
    let status = person.json(&["status"]);
    assert_eq!((&status["paused"], &status["epoch"]), (&true.into(), &2.into()));
    assert_eq!(status["holds"][0]["reason"].as_str().map(|r| r.contains("red") || r.contains("hand")), Some(true));
    assert!(person.types(&["status"]).out.contains("Resume with: rrctl resume --epoch 2"));

    let wrong = person.types(&["--json", "resume", "--epoch", "1"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(error(&wrong)["hint"].as_str().expect("text").ends_with("rrctl resume --epoch 2"), "{wrong:?}");
    assert_eq!(person.json(&["resume", "--epoch", "2"])["epoch"], 3);
    assert_eq!(person.json(&["status"])["paused"], false);
    assert_eq!(person.json(&["resume", "--epoch", "3"])["resumed"], false, "it runs already: no failure");
    let late = person.types(&["--json", "resume", "--epoch", "2"]);
    assert_eq!((late.code, &error(&late)["hint"]), (4, &"rrctl status".into()), "nothing is left to resume: {late:?}");
}

#[test]
fn a_resume_needs_no_daemon_either_and_holds_are_lifted_by_name() {
    let person = Person::new();
    let first = person.json(&["pause-all", "--reason", "one"])["hold"].as_str().expect("id").to_owned();
    let second = person.json(&["pause-all", "--reason", "two"])["hold"].as_str().expect("id").to_owned();
    let held = person.types(&["--json", "resume", "--epoch", "2", "--hold", &first]);
    assert_eq!(held.code, 4, "{held:?}");
    let hint = error(&held)["hint"].as_str().expect("text").to_owned();
    assert!(hint.ends_with(&format!("rrctl resume --epoch 2 --hold {second}")), "{hint}");
    assert_eq!(person.json(&["resume", "--epoch", "2", "--hold", &second])["resumed"], true);
}

#[test]
fn waiting_for_a_pause_names_who_has_not_stopped() {
    let person = Person::new();
    person.starts_the_daemon();
    let empty = person.json(&["pause-all", "--wait", "5"]);
    assert_eq!((&empty["drained"], &empty["waited"]), (&true.into(), &true.into()));
    person.json(&["down", "--wait"]);

    person.finds(&[("one", &[])]);
    person.starts_the_daemon();
    let session = person.json(&["sessions"])["sessions"][0].clone();
    assert_eq!(session["pause"], "requested");
    let late = person.types(&["--json", "pause-all", "--wait", "1"]);
    assert_eq!((late.code, &late.json()["drained"]), (1, &false.into()), "{late:?}");
    let short = &session["session"].as_str().expect("id")[..8];
    assert!(error(&late)["cause"].as_str().expect("text").contains(short), "{late:?}");
    assert_eq!(person.json(&["status"])["paused"], true, "the pause stands");
}

#[test]
fn locks_and_sessions_are_shown_and_a_lock_is_taken_away_with_a_reason() {
    let person = Person::new();
    person.finds(&[("one", &["src/a.rs", "~docs/x.md"]), ("two", &["src/b.rs", "~docs/x.md"])]);
    person.starts_the_daemon();

    let locks = person.json(&["locks"])["locks"].as_array().expect("a list").clone();
    assert_eq!(locks.len(), 4);
    let a = locks.iter().find(|l| l["lock"] == "src/a.rs").expect("held");
    assert_eq!((&a["pid"], &a["host"], &a["doing"]), (&4_242.into(), &"elsewhere".into(), &"Edit".into()));
    let table = person.types(&["locks"]).out;
    assert!(table.starts_with("LOCK") && table.lines().count() == 5, "{table}");
    let sessions = person.json(&["sessions"])["sessions"].as_array().expect("a list").clone();
    assert!(sessions.iter().all(|s| s["locks"] == 2 && s["pause"].is_null()), "{sessions:?}");

    let release = |lock: &str| person.types(&["--json", "release", "--force", "--reason", "it is stuck", lock]);
    let unknown = release("src/c.rs");
    assert_eq!(unknown.code, 5, "{unknown:?}");
    let ambiguous = release("docs/x.md");
    assert_eq!(ambiguous.code, 5, "{ambiguous:?}");
    assert_eq!(error(&ambiguous)["cause"].as_str().expect("text").lines().count(), 2);
    assert_eq!(release("./src/a.rs").json()["released"], true);
    let by_key = locks.iter().find(|l| l["lock"] == "src/b.rs").expect("held")["key"].as_str().expect("text");
    assert_eq!(release(by_key).json()["released"], true);
    assert_eq!(person.json(&["locks"])["locks"].as_array().map(Vec::len), Some(2));
    assert_eq!(person.types(&["release", "--force", "--reason", " ", "docs/x.md"]).code, 5);
    assert_eq!(person.types(&["release", "--reason", "r", "docs/x.md"]).code, 2, "without --force");
}

#[test]
fn a_watch_shows_locks_line_by_line_until_the_daemon_ends() {
    use std::io::{BufRead as _, BufReader};
    let person = Person::new();
    person.finds(&[("one", &["src/a.rs"])]);
    person.starts_the_daemon();
    let mut watch = person.command(&["--json", "locks", "--watch"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("text")).expect("json");
    assert_eq!(next()["locks"][0]["lock"], "src/a.rs");
    assert_eq!(person.types(&["release", "--force", "--reason", "r", "src/a.rs"]).code, 0);
    while next()["locks"].as_array().is_some_and(|l| !l.is_empty()) {}
    person.json(&["down", "--wait"]);
    assert_eq!(ended(watch).code, 3);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let person = Person::new();
    for words in [&["completions", "bash"][..], &["man"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let child = person.command(words).stdout(writer).stderr(Stdio::piped()).spawn().expect("starts");
        let said = ended(child);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}: {said:?}");
    }
}

#[test]
fn hooks_are_installed_found_by_the_doctor_and_taken_out_without_a_trace() {
    let person = Person::new();
    let rows = |said: &Said| said.json()["checks"].as_array().expect("a list").clone();
    let state = |said: &Said, check: &str| {
        let found = rows(said).into_iter().find(|row| row["check"] == check);
        found.unwrap_or_else(|| panic!("no row {check}: {said:?}"))["state"].as_str().expect("text").to_owned()
    };
    let before = person.types(&["--json", "doctor"]);
    assert_eq!(before.code, 6, "{before:?}");
    assert_eq!((state(&before, "hooks"), state(&before, "daemon")), ("fail".into(), "warn".into()));

    assert_eq!(person.json(&["install", "--user"])["scope"], "user");
    assert!(person.home.path().join("claude/settings.json").exists());
    assert_eq!(person.json(&["install", "--user"])["changed"], Value::Array(vec![]), "twice is once");
    person.starts_the_daemon();
    let healthy = person.types(&["--json", "doctor"]);
    assert_eq!(healthy.code, 0, "{healthy:?}");
    for check in
        ["hooks", "railroad.yaml", "sockets", "git", "config.yaml", "clock", "store", "daemon", "fleet", "mode"]
    {
        assert_eq!(state(&healthy, check), "ok", "{check}: {healthy:?}");
    }
    assert!(["ok", "warn"].contains(&state(&healthy, "hook").as_str()), "{healthy:?}");
    assert_eq!(healthy.json()["mode"], "cooperative");

    person.json(&["uninstall", "--user"]);
    assert!(!person.home.path().join("claude/settings.json").exists());
}

#[test]
fn a_damaged_store_is_told_with_the_place_where_it_is_kept() {
    let person = Person::new();
    person.json(&["pause-all"]);
    let store = person.state().join("store");
    for entry in std::fs::read_dir(&store).expect("there") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|e| e == "lock") {
            continue;
        }
        let len = std::fs::metadata(&path).expect("there").len();
        std::fs::write(&path, vec![0x5a; usize::try_from(len).expect("small")]).expect("written");
    }
    let said = person.types(&["--json", "up", "--detach"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(error(&said)["cause"].as_str().expect("text").contains("damaged"), "{said:?}");
    let pause = person.types(&["--json", "pause-all"]);
    assert_eq!(pause.code, 1, "never a success that is none: {pause:?}");
}

#[test]
fn manual_and_completions_come_from_the_same_definition() {
    let person = Person::new();
    let dir = person.home.path().join("man");
    assert_eq!(person.types(&["man", "--dir", dir.to_str().expect("text")]).code, 0);
    let page = std::fs::read_to_string(dir.join("rrctl-pause-all.1")).expect("a page");
    assert!(page.contains("hosts"), "{page}");
    assert!(person.types(&["completions", "zsh"]).out.contains("pause-all"));
    let typo = person.types(&["stauts"]);
    assert!(typo.code == 2 && typo.err.contains("status"), "{typo:?}");
}

#[test]
fn a_policy_is_checked_explained_and_held_to_a_list() {
    let person = Person::new();
    person.writes(
        "railroad.yaml",
        "blocklist:\n  - { match: npm publish, because: releases are made by CI }\napprove: [docker push]\n",
    );
    let checked = person.json(&["policy", "check"]);
    assert_eq!((&checked["blocklist"], &checked["approve"], &checked["shadow"]), (&1.into(), &1.into(), &false.into()));
    let explained = person.json(&["policy", "explain", "--", "sudo", "sh", "-c", "npm --tag x publish"]);
    assert_eq!((&explained["verdict"], &explained["hits"][0]["origin"]), (&"refuse".into(), &"railroad.yaml:2".into()));
    assert_eq!(explained["hits"][0]["because"], "releases are made by CI");
    let said = person.types(&["policy", "explain", "--", "rm", "-rf", "/"]);
    assert!(
        said.code == 0 && said.out.contains("default/remove-everything") && said.out.contains("instead:"),
        "{said:?}"
    );
    assert_eq!(person.json(&["policy", "explain", "--", "docker push x"])["verdict"], "ask");
    person.writes("list.txt", "refuse: npm publish\nask: docker push x\npass: npm test\n");
    assert_eq!(person.types(&["policy", "test", "list.txt"]).code, 0);
    person.writes("list.txt", "pass: npm publish\n");
    let said = person.types(&["policy", "test", "list.txt"]);
    assert!(said.code == 6 && said.out.contains("1: expected pass, found refuse"), "{said:?}");
}

#[test]
fn a_broken_policy_is_told_with_its_place_and_a_contradiction_with_its_line() {
    let person = Person::new();
    person.writes("railroad.yaml", "blocklist:\n  - { match: rm, becuase: x }\n");
    let said = person.types(&["policy", "check"]);
    assert!(
        said.code == 2 && said.err.contains("railroad.yaml:2:") && said.err.contains("did you mean `because`?"),
        "{said:?}"
    );
    person.writes("railroad.yaml", "blocklist: [npm publish]\nallow:\n  - npm publish --tag next\n");
    let said = person.types(&["policy", "check"]);
    assert!(said.code == 6 && said.out.contains("line 3") && said.out.contains("line 1 refuses it"), "{said:?}");
    assert_eq!(person.types(&["policy", "check", "none.yaml"]).code, 5);
}

const AT: u64 = 1_700_000_000_000;

impl Person {
    fn git(&self, words: &[&str]) -> String {
        let done = Command::new("git").arg("-C").arg(self.repo()).args(words).output().expect("git runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    /// A text as the journal names it; its bytes are git's.
    fn content(&self, text: &str) -> Content {
        self.writes("to-be-named", text);
        let name = self.git(&["hash-object", "-w", "to-be-named"]);
        let byte = |at: usize| u8::from_str_radix(&name[at * 2..at * 2 + 2], 16).expect("hex");
        Content::File { blob: BlobId(std::array::from_fn(byte)), mode: 0o644 }
    }

    /// Writes a journal in which each session makes one version of `a.txt` of the one before, a batch a call.
    fn journal(&self, versions: &[&str]) -> PathBuf {
        let dir = self.state().join("journal");
        let (journal, _) = Journal::open(&dir, &JournalOptions::default(), Arc::new(RealDisk)).expect("opened");
        let root = PathBuf::from(self.git(&["rev-parse", "--show-toplevel"]));
        for (n, pair) in (1..).zip(versions.windows(2)) {
            let session = Some(SessionId::from_random([n; 16]));
            let entry = |event| Entry {
                at_unix_ms: AT,
                session: session.clone(),
                agent_id: None,
                call: None,
                revision: 0,
                event,
            };
            let change = FileChange {
                root: root.clone(),
                path: RepoPath::parse(b"a.txt").expect("legal"),
                before: self.content(pair[0]),
                after: self.content(pair[1]),
                foreseen: true,
            };
            let started = Event::SessionStarted {
                agent: "claude".to_owned(),
                agent_session: format!("agent-{n}"),
                workspace: root.clone(),
                pid: 1,
                task: "".into(),
            };
            let done = Event::Done { ok: true, changes: vec![change] };
            let ended = Event::SessionEnded { how: "over".into() };
            journal.append_blocking(vec![entry(started), entry(done), entry(ended)]).expect("kept");
        }
        self.writes("a.txt", versions.last().expect("a version"));
        dir
    }
}

#[test]
fn what_the_journal_lost_is_said_where_it_matters_and_nowhere_else() {
    let person = Person::new();
    let dir = person.journal(&["old\n", "old\none\n", "old\none\ntwo\n", "old\none\ntwo\nthree\n"]);
    let blamed = || {
        let told = person.json(&["blame", "a.txt"]);
        let lines = told["lines"].as_array().cloned().expect("lines");
        let who = |line: &Value| line["session"].as_str().map_or("nobody", |id| &id[..2]).to_owned();
        lines.iter().map(|line| (who(line), line["uncertain"] == true)).collect::<Vec<_>>()
    };
    let lines = |all: [(&str, bool); 4]| all.map(|(who, uncertain)| (who.to_owned(), uncertain)).to_vec();
    assert_eq!(blamed(), lines([("nobody", false), ("01", false), ("02", false), ("03", false)]));
    let whole = person.types(&["blame", "a.txt"]);
    assert!(!whole.out.contains('?') && !whole.out.contains("damaged"), "{whole:?}");

    // What the second session did is spoiled: the batch that begins at the third multiple of 64 with a batch's name.
    let log = std::fs::read_dir(&dir).expect("there").map(|entry| entry.expect("named").path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).expect("a log");
    let mut bytes = std::fs::read(&log).expect("read");
    let batches: Vec<usize> = (0..bytes.len()).step_by(64).filter(|at| bytes[*at..].starts_with(b"RRjb")).collect();
    bytes[batches[1] + 70] ^= 1;
    std::fs::write(&log, bytes).expect("written");

    assert_eq!(blamed(), lines([("nobody", false), ("01", false), ("nobody", true), ("03", false)]));
    let told = person.types(&["blame", "a.txt"]);
    assert!(told.out.lines().any(|line| line.starts_with('?') && line.ends_with("two")), "{told:?}");
    assert!(told.out.contains("(after entry 3)") && told.out.contains("the line with `?` is not known"), "{told:?}");
    let log = person.types(&["log"]);
    assert!(log.out.contains("(after entry 3)") && log.out.contains("not among the rows"), "{log:?}");
    assert_eq!(person.json(&["log"])["damage"][0]["after"], 3);
    // Of whoever began before and ended behind it something may be missing; of the others nothing is.
    for session in ["01", "03"] {
        let played = person.types(&["replay", "--session", session]);
        assert!(played.code == 0 && !played.out.contains("may be missing"), "{played:?}");
        assert_eq!(person.json(&["replay", "--session", session])["damage"][0]["after"], 3);
    }
    let lost = person.types(&["replay", "--session", "02"]);
    assert!(lost.code == 5 && lost.err.contains("a part of the journal is not there any more"), "{lost:?}");
}

/// A terminal, and the side of whoever looks at it.
fn terminal() -> (std::fs::File, OwnedFd) {
    let looker = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    pty::grantpt(&looker).expect("granted");
    pty::unlockpt(&looker).expect("unlocked");
    let name = pty::ptsname(&looker, Vec::new()).expect("named");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("opened");
    (std::fs::File::from(looker), terminal)
}

#[test]
fn a_player_that_is_told_to_end_gives_the_terminal_back() {
    let person = Person::new();
    person.journal(&["old\n", "old\none\n"]);
    for signal in [Signal::TERM, Signal::HUP] {
        let (mut looker, terminal) = terminal();
        let modes = || {
            let now = termios::tcgetattr(&terminal).expect("its modes");
            (now.local_modes, now.input_modes, now.output_modes)
        };
        let before = modes();
        let stream = || Stdio::from(terminal.try_clone().expect("a copy"));
        let mut command = person.command(&["replay", "--session", "01"]);
        let mut player = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("rrctl runs");
        drop(command);
        wait_until("it takes the terminal", || modes() != before);
        rustix::process::kill_process(Pid::from_child(&player), signal).expect("told");
        wait_until("it ends", || player.try_wait().expect("waits").is_some());
        let ended = player.wait().expect("ended");
        assert_eq!(ended.signal(), Some(signal.as_raw()), "as one that was told to: {ended:?}");
        assert_eq!(modes(), before, "the terminal is as it was");
        drop(terminal);
        let mut shown = Vec::new();
        // With the last copy of the terminal gone its other side ends with an error.
        drop(looker.read_to_end(&mut shown));
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "with its cursor and its own screen: {shown:?}");
    }
}

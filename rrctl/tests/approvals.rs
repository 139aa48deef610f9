//! Approvals as a person types them: the real program on folders of its own, with requests of another host's agents in its
//! store. Every daemon that a test starts is stopped by it.

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rr_core::id::{CallPrint, FleetName, HostId, RepoId};
use rr_core::limits::Timing;
use rr_fleet::{ApprovalRequest, Asked, Fleet, Registered, Session, SessionRecord};
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::config::RepoConfig;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use serde_json::Value;
use tempfile::TempDir;

use common::{Said, rrctl};

/// A person with a home of their own, and a repository in it.
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

    fn repo_id(&self) -> RepoId {
        rr_git::Worktree::discover(&self.repo()).expect("git runs").expect("a repository").repo_id(None)
    }

    fn command(&self, words: &[&str]) -> Command {
        rrctl(self.home.path(), words)
    }

    fn types(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().expect("rrctl runs"))
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

    /// What agents of another host ask, as a daemon will find it in its store; then that daemon.
    fn is_asked(&self, commands: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (path, clock) = (self.home.path().join("state/store"), Arc::new(BootClock));
            let store = EmbeddedStore::open(&path, Options::default(), clock.clone()).expect("store");
            let name = FleetName::default();
            let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.expect("fleet");
            let session = register(&fleet).await;
            for (n, command) in commands.iter().enumerate() {
                let asked = fleet.ask_approval(&session, &self.request(n, command)).await.expect("asks");
                assert!(matches!(asked, Asked::Waiting { .. }), "{asked:?}");
            }
        });
        let said = self.types(&["up", "--detach"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn request(&self, n: usize, command: &str) -> ApprovalRequest {
        ApprovalRequest {
            repo: Some(self.repo_id()),
            call_print: CallPrint::parse(&format!("{n:064x}")).expect("legal"),
            tool: "Bash".into(),
            command: command.into(),
            folder: "/home/elsewhere/repo".into(),
            agent: "claude".into(),
            host_name: "elsewhere".into(),
            diff: Some("-version 1\n+version 2".into()),
            rule: "npm publish".into(),
            because: "it cannot be taken back".into(),
            asked_unix_ms: unix_ms(),
            expires_unix_ms: unix_ms() + 900_000,
        }
    }

    /// The ids of what waits, the oldest first.
    fn waiting(&self) -> Vec<String> {
        let listed = self.json(&["approvals"]);
        let all = listed["approvals"].as_array().expect("a list");
        all.iter().map(|a| a["id"].as_str().expect("text").to_owned()).collect()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let said = self.types(&["down", "--wait"]);
        assert!(said.code == 0 || std::thread::panicking(), "{said:?}");
    }
}

async fn register(fleet: &Fleet) -> Session {
    let record = SessionRecord {
        host: HostId::from_random([9; 16]),
        host_name: "elsewhere".into(),
        boot: "b".into(),
        pid: 4_242,
        start: 7,
        agent: "claude".into(),
        agent_session: "one".into(),
        workspace: "/home/elsewhere/repo".into(),
        since_unix_ms: unix_ms(),
        task: String::new(),
        warning: String::new(),
    };
    match fleet.register(&record, "fp").await.expect("registers") {
        Registered::New(session) => session,
        Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
    }
}

#[test]
fn what_waits_is_shown_and_answered_by_the_begin_of_its_id() {
    let person = Person::new();
    assert_eq!(person.types(&["approvals"]).code, 3, "nobody answers yet");
    person.is_asked(&["npm publish", "npm publish --tag next", "terraform apply"]);
    let ids = person.waiting();
    assert_eq!(ids.len(), 3);
    let first = person.json(&["approvals"])["approvals"][0].clone();
    assert_eq!(
        (&first["command"], &first["host"], &first["state"]),
        (&"npm publish".into(), &"elsewhere".into(), &"waiting".into())
    );
    let table = person.types(&["approvals", "--diff"]).out;
    assert!(table.starts_with("ID") && table.contains(&ids[0][..8]) && table.contains("    +version 2"), "{table}");

    let (code, text) = person.refused(&["approve", &ids[0][..3]]);
    assert!(code == 5 && text.contains("at least 4 digits"), "{text}");
    let (code, text) = person.refused(&["approve", "nothex"]);
    assert!(code == 5 && text.contains("rrctl approvals"), "{text}");

    let yes = person.json(&["approve", &ids[0][..8]]);
    assert_eq!(
        (&yes["decided"], &yes["already"], &yes["request"]["id"]),
        (&"approved".into(), &false.into(), &ids[0].as_str().into())
    );
    let no = person.types(&["reject", &ids[1][..8], "--reason", "not on a Friday"]);
    assert!(no.code == 0 && no.out.starts_with(&format!("Rejected {} of session", &ids[1][..8])), "{no:?}");
    assert_eq!(person.waiting(), [ids[2].clone()]);
    let all = person.json(&["approvals", "--all"])["approvals"].as_array().expect("a list").clone();
    let states: Vec<_> = all.iter().map(|a| a["state"].as_str().expect("text")).collect();
    assert_eq!(states, ["approved", "rejected", "waiting"]);
    assert_eq!(all[1]["reason"], "not on a Friday");

    let again = person.json(&["approve", &ids[0][..8]]);
    assert_eq!(again["already"], true, "the same word twice is no failure");
    let (code, text) = person.refused(&["approve", &ids[1][..8]]);
    assert!(code == 4 && text.contains("was rejected by") && text.contains("not on a Friday"), "{text}");
}

#[test]
fn a_command_of_an_agent_answers_nothing() {
    let person = Person::new();
    person.is_asked(&["npm publish"]);
    let id = person.waiting().remove(0);
    for words in [&["approve", &id][..], &["reject", &id, "--reason", "r"]] {
        let said = Said::of(person.command(words).env("CLAUDE_CODE_SESSION_ID", "one").output().expect("rrctl runs"));
        assert!(said.code == 4 && said.err.contains("only a person"), "{said:?}");
    }
    assert_eq!(person.waiting(), [id]);
}

/// While the repository's file knows no `allow` yet it stays as it is, and the line to add is told.
#[test]
fn always_writes_a_rule_that_is_understood_or_says_which() {
    let person = Person::new();
    person.is_asked(&["npm publish --tag next", "npm publish | tee log"]);
    let (ids, file) = (person.waiting(), person.repo().join("railroad.yaml"));
    let text = "# ours\nlocks: { cool: 1s } # short\n";
    std::fs::write(&file, text).expect("written");
    let done = person.json(&["approve", &ids[0], "--always"]);
    assert_eq!((&done["decided"], &done["always"]["entry"]), (&"approved".into(), &"npm publish --tag next".into()));
    let found = std::fs::read_to_string(&file).expect("there");
    if RepoConfig::parse("allow:\n  - make\n", &file).is_ok() {
        assert_eq!(found, format!("{text}allow:\n  - npm publish --tag next\n"));
        assert_eq!(done["always"]["written"], true);
    } else {
        assert_eq!(found, text);
        assert!(done["always"]["why"].as_str().is_some_and(|why| why.contains("after the change")), "{done}");
    }
    let wild = person.types(&["approve", &ids[1], "--always"]);
    assert!(wild.code == 0 && wild.out.contains("No rule was written"), "{wild:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), found);
}

#[test]
fn a_watch_shows_a_request_until_it_is_answered() {
    use std::io::{BufRead as _, BufReader};
    let person = Person::new();
    person.is_asked(&["npm publish"]);
    let mut watch = person.command(&["--json", "approvals", "--watch"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("text")).expect("json");
    let id = next()["approvals"][0]["id"].as_str().expect("text").to_owned();
    person.json(&["reject", &id, "--reason", "no"]);
    while next()["approvals"].as_array().is_some_and(|waiting| !waiting.is_empty()) {}
    person.json(&["down", "--wait"]);
    assert_eq!(watch.wait().expect("ends").code(), Some(3));
}

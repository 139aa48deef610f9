//! What tests of the watcher's part of the store share: leaders, change sets, incidents of made-up lines.

use rr_core::culprit::Nature;
use rr_core::id::{CommitId, HostId, IncidentId, ObjectId};
use rr_core::incident::{Incident, Line, Place, State};
use rr_core::live::{ChangeSet, Entry, FileChange, GitPath, Lines, Onto, Rest, SymbolChange, SymbolEdit, TreeKey};
use rr_core::overlap::{Finding, FindingId, Kind, Level};
use rr_fleet::Leader;

use super::{Stage, repo};

pub fn host(n: u8) -> HostId {
    HostId::from_random([n; 16])
}

pub async fn leader(stage: &Stage) -> Leader {
    stage.fleet.campaign("watch", &host(9)).await.unwrap().expect("nobody leads")
}

/// One that was frozen until its lease had ended, and the one that leads now.
pub async fn old_and_new(stage: &Stage) -> (Leader, Leader) {
    let old = leader(stage).await;
    stage.advance(61).await;
    (old, leader(stage).await)
}

pub fn tree(n: u8, name: &str) -> TreeKey {
    TreeKey { host: host(n), tree: name.to_owned() }
}

pub fn object(n: u64) -> ObjectId {
    ObjectId::parse(&format!("{n:040x}")).unwrap()
}

pub fn commit(n: u64) -> CommitId {
    CommitId::parse(&format!("{n:040x}")).unwrap()
}

pub fn file(n: u64, details: usize) -> FileChange {
    let symbol = |k: usize| SymbolChange {
        name: format!("a_rather_long_name_of_something_{n}_{k}"),
        container: String::new(),
        kind: "function".into(),
        change: SymbolEdit::Body,
    };
    FileChange {
        path: GitPath::from(format!("src/folder{}/some_file_{n}.rs", n % 97).as_str()),
        from: Some(Entry { mode: 0o100_644, id: object(n) }),
        to: Some(Entry { mode: 0o100_644, id: object(n + 1) }),
        ranges: (0..4).map(|k| Lines { start: k * 10, count: 2 }).collect(),
        binary: false,
        renamed_from: None,
        layout_only: false,
        symbols: (0..details).map(symbol).collect(),
        uses: vec![],
        packages: vec![],
        by: vec![],
    }
}

/// A set whose contents say which one it is: its tree, in each file.
pub fn set(n: u64, files: u64, details: usize) -> ChangeSet {
    ChangeSet {
        repo: repo(),
        root: "/w/a".into(),
        branch: "topic".into(),
        head: None,
        target: None,
        tree: object(n),
        onto: Onto::Alone,
        rest: Rest::Settled,
        writers: vec![],
        remote: None,
        files: (0..files).map(|k| FileChange { binary: n % 2 == 1, ..file(k, details) }).collect(),
        left_out: 0,
        committed: true,
    }
}

pub fn finding(n: u64, level: Level) -> Finding {
    Finding {
        id: FindingId::parse(&format!("{n:016x}")).unwrap(),
        repo: repo(),
        level,
        kind: Kind::Files,
        sides: [tree(1, "a"), tree(2, "b")],
        paths: vec![GitPath::from("src/a.rs")],
        places: vec![],
        excerpt: "a hunk".into(),
        yields: None,
    }
}

pub fn line(branch: &str) -> Line {
    let place = Place::Remote { url: "ssh://git.example/a.git".into() };
    Line { repo: repo(), place, branch: branch.into() }
}

pub fn incident_id(n: u8) -> IncidentId {
    IncidentId::from_random([n; 16])
}

pub fn incident(n: u8, branch: &str) -> Incident {
    Incident {
        id: incident_id(n),
        line: line(branch),
        state: State::Seen,
        check: "build".into(),
        command: "make".into(),
        nature: Nature::Compile,
        green: commit(1),
        red: commit(2),
        suspects: vec![],
        runs: vec![],
        output: String::new(),
        files: vec![],
        pause: None,
        culprits: vec![],
        proven: None,
        revert: None,
        kept: None,
        escalated: None,
        accepted: false,
        drained: false,
        hindered: 0,
        tries: 0,
        opened_unix_ms: u64::from(n),
        paused_at_unix_ms: None,
        notes: vec![],
    }
}

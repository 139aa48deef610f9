//! A writer killed at random points, many times over, on the same data: no answered write is lost, no revision given
//! twice, no lease's keys halved. The writer is this test binary, run again as a child that says what was answered.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rr_core::time::Span;
use rr_store::suite::ManualClock;
use rr_store::{EmbeddedStore, KeepAlive, Keys, LeaseId, Op, Options, Revision, Store, Txn};

const KILLS: u64 = 40;
const WRITERS: usize = 3;
/// Said lines before the kill, at most: from the first start-up to several rewrites of the log.
const LINES_MAX: u64 = 400;
const CHILD_DIR: &str = "RR_STORE_CRASH_DIR";
const CHILD_LIFE: &str = "RR_STORE_CRASH_LIFE";
/// How many leases a child holds before it revokes the oldest.
const LEASES_HELD: usize = 3;

fn options() -> Options {
    // So that many kills hit a log that is being rewritten.
    Options { log_growth_max: 24 << 10, ..Options::default() }
}

/// Not a test by itself: the child's body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let life = std::env::var(CHILD_LIFE).unwrap();
    let store = EmbeddedStore::open(Path::new(&dir), options(), Arc::new(ManualClock::default())).unwrap();
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer)));
    let all: Vec<_> = writers.chain([tokio::spawn(lease(store.clone(), life))]).collect();
    futures::future::join_all(all).await;
}

async fn write(store: Arc<EmbeddedStore>, writer: usize) {
    let key = format!("w/{writer}");
    let before = store.range(Keys::one(&key)).await.unwrap().kvs.pop();
    let mut n: u64 = before.map_or(0, |kv| text(&kv.value).trim_end_matches('.').parse().unwrap());
    loop {
        n += 1;
        // From a few bytes to some pages.
        let padding = ".".repeat(usize::try_from(n % 5).unwrap() * 2_000);
        let reply = store.txn(Txn::default().then(vec![Op::put(&key, format!("{n}{padding}"))])).await.unwrap();
        println!("wrote {writer} {n} {}", reply.revision);
    }
}

async fn lease(store: Arc<EmbeddedStore>, life: String) {
    let mut held = std::collections::VecDeque::new();
    for k in 0.. {
        let lease = store.grant(Span::from_secs(60)).await.unwrap();
        let keys = (0..3).map(|n| Op::put_leased(format!("l/{life}-{k}/{n}"), "", lease)).collect();
        let revision = store.txn(Txn::default().then(keys)).await.unwrap().revision;
        println!("leased {life}-{k} {} {revision}", lease.0);
        held.push_back((k, lease));
        if held.len() > LEASES_HELD {
            let (k, lease) = held.pop_front().unwrap();
            println!("revoking {life}-{k}");
            let revision = store.revoke(lease).await.unwrap();
            println!("revoked {life}-{k} {revision}");
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What the children said was answered.
#[derive(Default)]
struct Answered {
    revisions: HashSet<Revision>,
    highest: Revision,
    written: BTreeMap<String, (u64, Revision)>,
    leases: BTreeMap<String, (i64, Revoked)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Revoked {
    No,
    Perhaps,
    Yes,
}

impl Answered {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["wrote", writer, n, revision] => {
                let revision = self.revision(revision);
                self.written.insert(format!("w/{writer}"), (n.parse().unwrap(), revision));
            }
            ["leased", name, lease, revision] => {
                self.revision(revision);
                self.leases.insert(name.into(), (lease.parse().unwrap(), Revoked::No));
            }
            ["revoking", name] => self.leases.get_mut(name).unwrap().1 = Revoked::Perhaps,
            ["revoked", name, revision] => {
                self.revision(revision);
                self.leases.get_mut(name).unwrap().1 = Revoked::Yes;
            }
            // The test harness talks, too.
            _ => {}
        }
    }

    fn revision(&mut self, word: &str) -> Revision {
        let revision = word.parse().unwrap();
        assert!(self.revisions.insert(revision), "revision {revision} was given twice");
        self.highest = self.highest.max(revision);
        revision
    }

    async fn check(&mut self, store: &EmbeddedStore) {
        let now = store.range(Keys::prefix("")).await.unwrap();
        assert!(now.revision >= self.highest, "went back to {} from {}", now.revision, self.highest);
        for (key, (n, revision)) in &self.written {
            let kv = now.kvs.iter().find(|kv| kv.key == *key).expect("an answered key");
            let found: u64 = text(&kv.value).trim_end_matches('.').parse().unwrap();
            // The one write that was under way may have arrived.
            assert!(found == *n || found == n + 1, "{key} is {found}, answered was {n}");
            assert!(found > *n || kv.mod_revision == *revision);
        }
        for (name, (lease, revoked)) in &mut self.leases {
            let prefix = format!("l/{name}/");
            let keys = now.kvs.iter().filter(|kv| kv.key.starts_with(&prefix)).count();
            let alive = matches!(store.keep_alive(LeaseId(*lease)).await, Ok(KeepAlive::Alive(_)));
            match revoked {
                Revoked::No => assert_eq!((keys, alive), (3, true), "{name}"),
                Revoked::Yes => assert_eq!((keys, alive), (0, false), "{name}"),
                Revoked::Perhaps => assert!([(3, true), (0, false)].contains(&(keys, alive)), "{name}: {keys} {alive}"),
            }
            if !alive {
                *revoked = Revoked::Yes;
            }
        }
        let leased = now.kvs.iter().filter(|kv| kv.lease.is_some()).count();
        assert_eq!(leased % 3, 0, "a lease has lost a part of its keys");
        // What the state had reached counts as given, answered or not.
        self.highest = now.revision;
        self.revisions.retain(|revision| *revision <= now.revision);
        self.revisions.insert(now.revision);
    }
}

#[tokio::test]
async fn no_answered_write_is_lost_when_the_writer_is_killed() {
    let seed: u64 = std::env::var("RR_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    println!("replay with RR_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut answered = Answered::default();
    let mut random = seed | 1;
    for life in 0..KILLS {
        // Xorshift (Marsaglia 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        run_and_kill(&store, life, random % LINES_MAX, &mut answered);
        let reopened = EmbeddedStore::open(&store, options(), Arc::new(ManualClock::default())).unwrap();
        assert!(!reopened.fresh(), "life {life}");
        answered.check(&reopened).await;
    }
    assert!(answered.highest > KILLS * LINES_MAX / 8, "the children wrote too little to prove anything");
}

/// The kill comes while the child goes on writing, so where it strikes is left to chance.
fn run_and_kill(store: &Path, life: u64, lines: u64, answered: &mut Answered) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD_DIR, store)
        .env(CHILD_LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = said.by_ref().take(usize::try_from(lines).unwrap() + 8);
    for line in first {
        answered.hear(&line.unwrap());
    }
    child.kill().unwrap();
    for line in said.map_while(Result::ok) {
        answered.hear(&line);
    }
    child.wait().unwrap();
}

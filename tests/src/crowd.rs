//! A crowd of simulated sidecars on a real cluster, each with its own way to it, and a recorder with a way that no fault
//! touches: what they did, what they were told and what the store went through is judged in the end.
//!
//! Owns how they begin and end. What they do is `rr_history`'s, what befalls them the test's.

use std::sync::Arc;
use std::time::Duration;

use rr_core::glob::Glob;
use rr_core::id::FleetName;
use rr_core::limits::Timing;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Name, Scope};
use rr_core::time::Span;
use rr_fleet::Fleet;
use rr_history::{Behaviour, Call, Client, Dice, Halt, History, Outcome, Recorder, Report, Sidecar, check};
use rr_runtime::clock::BootClock;
use rr_store::{EtcdOptions, EtcdStore};
use tokio::task::JoinHandle;

/// The fleet's part of the store.
pub const PREFIX: &str = "rr/v1/default/";
/// As fast as the relations between the timings allow.
pub const QUICK: Timing = Timing {
    lease: Span::from_secs(13),
    keep_alive: Span::from_secs(1),
    cut_off: Span::from_secs(3),
    permit_fresh: Span::from_secs(3),
    permit_poll: Span::from_millis(500),
    cool: Span::from_secs(1),
    idle_release: Span::from_secs(600),
    claim_window: Span::from_secs(60),
};
/// Until a cluster that was hurt answers again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what a sidecar is doing.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What an expired lease waits besides: etcd looks every half second, and has its end agreed on.
const EXPIRY: Span = Span::from_secs(3);

/// One sidecar and the hands on it.
pub struct Member {
    pub sidecar: Arc<Sidecar>,
    /// Stops it as SIGSTOP does.
    pub halt: Halt,
    pub store: Arc<EtcdStore>,
    task: JoinHandle<()>,
}

impl Member {
    /// Stops it in the middle of a request.
    ///
    /// # Panics
    /// If it makes none.
    pub async fn stop_while_asking(&self) {
        let stopped = async {
            loop {
                self.halt.stop();
                // What runs at this moment comes to its next rest first.
                tokio::time::sleep(LOOK_EVERY).await;
                if self.sidecar.is_asking() {
                    return;
                }
                self.halt.go_on();
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, stopped).await.expect("it asks for something");
    }
}

pub struct Crowd {
    pub recorder: Arc<Recorder>,
    pub members: Vec<Member>,
    /// The recorder's way.
    pub store: Arc<EtcdStore>,
    pub dice: Arc<Dice>,
    following: JoinHandle<()>,
    rings: JoinHandle<()>,
}

/// # Panics
/// If the cluster cannot be reached; so below.
pub async fn connect(endpoints: Vec<String>) -> Arc<EtcdStore> {
    let options = EtcdOptions { endpoints, ..EtcdOptions::default() };
    EtcdStore::connect(options, Arc::new(BootClock)).await.unwrap_or_else(|e| panic!("connect to etcd: {e}"))
}

/// A fleet in a store, and what records it.
pub async fn open(store: Arc<EtcdStore>, recorder: &Arc<Recorder>, dice: &Arc<Dice>) -> Client {
    open_with(store, recorder, dice, QUICK).await
}

/// The same with other timings.
pub async fn open_with(store: Arc<EtcdStore>, recorder: &Arc<Recorder>, dice: &Arc<Dice>, timing: Timing) -> Client {
    let (name, clock) = (FleetName::default(), Arc::new(BootClock));
    let fleet = Fleet::open(store, &name, clock, dice.clone(), timing).await.unwrap_or_else(|e| panic!("open: {e:?}"));
    Client { fleet, recorder: recorder.clone() }
}

/// What the crowd asks for: few places, so that they meet.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let path = |text: &str| RepoPath::parse(text.as_bytes()).expect("a legal path");
    let glob = |text: &str| Scope::Glob { folder: path("a"), glob: Glob::parse(text).expect("a legal pattern") };
    let paths =
        ["a", "a/b", "a/b.rs", "ab", "a/c/d", "e", "e/f.md", "g", "h", "i", "j/k"].map(|p| Scope::Path(path(p)));
    let build = Scope::Named(Name::parse("build").expect("a legal name"));
    let scopes: Vec<Scope> = paths.into_iter().chain([glob("*.rs"), glob("*.md"), build]).collect();
    let exclusive = scopes.iter().cloned().map(Claim::exclusive);
    let shared = scopes.iter().take(5).cloned().map(Claim::shared);
    // The whole repository only now and then: it excludes everybody.
    exclusive.clone().chain(exclusive).chain(shared).chain([Claim::exclusive(Scope::Path(RepoPath::root()))]).collect()
}

/// One that is busy, and neither dies nor pauses unless a test wants it to.
#[must_use]
pub fn busy() -> Behaviour {
    let (rest, patience) = (Span::from_millis(60), Span::from_millis(800));
    Behaviour { rest, patience, claims: claims(), deaths: 2, endings: 20, forces: 20, pauses: 3 }
}

impl Crowd {
    /// Nobody yet: `endpoints` are the recorder's own way.
    pub async fn gather(endpoints: Vec<String>, seed: u64) -> Self {
        let store = connect(endpoints).await;
        let recorder = Recorder::begin(store.clone(), PREFIX, Arc::new(BootClock)).await.expect("begin to record");
        let following = recorder.clone();
        let following = tokio::spawn(async move { panic!("the recording broke: {}", following.follow().await) });
        let dice = Arc::new(Dice::new(seed));
        let rings = tokio::spawn(break_rings(open(store.clone(), &recorder, &dice).await));
        Self { recorder, members: vec![], store, dice, following, rings }
    }

    /// A sidecar on its own connection.
    pub async fn join(&mut self, endpoints: Vec<String>, behaviour: Behaviour) -> &Member {
        let store = connect(endpoints).await;
        let dice = Arc::new(Dice::new(self.dice.number()));
        let client = open(store.clone(), &self.recorder, &dice).await;
        let (sidecar, halt) = (Sidecar::new(client, behaviour, dice), Halt::default());
        let task = tokio::spawn(halt.hold(sidecar.clone().run()));
        self.members.push(Member { sidecar, halt, store, task });
        self.members.last().expect("just pushed")
    }

    /// A client of its own for what a test does by hand.
    pub async fn client(&self) -> Client {
        open(self.store.clone(), &self.recorder, &self.dice).await
    }

    pub async fn pass(&self, secs: f64) {
        tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    }

    /// Lets them go on until so many of their requests were granted: a busy machine takes longer for as much.
    ///
    /// # Panics
    /// If they come to a stand.
    pub async fn until_granted(&self, enough: usize) {
        let granted = async {
            loop {
                let is_grant = |call: &&Call| matches!(call.outcome, Outcome::Granted { .. });
                if self.recorder.so_far().0.iter().filter(is_grant).count() >= enough {
                    return;
                }
                self.pass(0.2).await;
            }
        };
        tokio::time::timeout(PATIENCE, granted).await.expect("they go on");
    }

    /// Everybody comes to an end; then what everybody did is judged. `elections`: each may have made every lease whole again.
    ///
    /// # Panics
    /// Naming each broken promise.
    pub async fn judge(self, elections: u64) -> Report {
        self.history(elections).await.1
    }

    /// As [`Crowd::judge`], with what was judged.
    ///
    /// # Panics
    /// As [`Crowd::judge`].
    pub async fn history(self, elections: u64) -> (History, Report) {
        let history = self.end(elections).await;
        let report = check(&history).unwrap_or_else(|broken| {
            let all: Vec<String> = broken.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"))
        });
        println!("{report:?}");
        (history, report)
    }

    /// Nobody does anything any more; nothing is judged.
    pub fn abandon(self) {
        self.members.iter().for_each(|member| member.task.abort());
        self.rings.abort();
        self.following.abort();
    }

    /// Everybody comes to an end.
    ///
    /// # Panics
    /// If somebody does not.
    pub async fn end(self, elections: u64) -> History {
        self.members.iter().for_each(|member| member.sidecar.stop());
        self.members.iter().for_each(|member| member.halt.go_on());
        for member in self.members {
            tokio::time::timeout(PATIENCE, member.task).await.expect("it comes to its end").expect("without a panic");
            // A cluster that was only just healed may not answer at once; its lease then runs out by itself.
            drop(tokio::time::timeout(PATIENCE, member.sidecar.farewell()).await.expect("in time"));
        }
        self.rings.abort();
        let mut history = finish(&self.recorder).await;
        self.following.abort();
        history.grace = QUICK.cool + EXPIRY + (QUICK.lease + EXPIRY) * elections;
        history
    }
}

async fn finish(recorder: &Recorder) -> History {
    let began = tokio::time::Instant::now();
    loop {
        match recorder.finish(QUICK).await {
            Ok(history) => return history,
            Err(error) if error.is_retryable() && began.elapsed() < PATIENCE => tokio::task::yield_now().await,
            Err(error) => panic!("the recording cannot be finished: {error}"),
        }
    }
}

async fn break_rings(client: Client) {
    let me = rr_core::id::HostId::from_random([9; 16]);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Ok(Some(leader)) = client.fleet.campaign("watcher", &me).await else { continue };
        let _ = client.fleet.break_rings(&leader).await;
        client.fleet.resign(&leader).await;
    }
}

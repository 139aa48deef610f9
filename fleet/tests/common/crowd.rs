//! A crowd of simulated sidecars on one embedded store, in virtual time, with everything that can befall them: cut off,
//! stopped, unanswered, overtaken by compaction. What they did and what the store went through is handed to the judge.

use std::sync::Arc;
use std::time::Duration;

use rr_core::id::FleetName;
use rr_core::limits::Timing;
use rr_core::scope::Claim;
use rr_core::time::{Clock, Span};
use rr_fleet::Fleet;
use rr_history::{Behaviour, Client, Dice, Halt, History, Recorder, Report, Sidecar, Violation, check};
use rr_store::faulty::{Fault, FaultyStore};
use rr_store::{Options, Store as _};
use tokio::task::JoinHandle;

use super::{PREFIX, Stage, VirtualClock, glob, named, pass, path, record};

/// The store's clock goes in steps of this: leases end a little late, which they may.
const STEP_MS: u64 = 250;

/// One sidecar and the hands on it.
pub struct Member {
    pub sidecar: Arc<Sidecar>,
    /// Its own line to the store.
    pub line: Arc<FaultyStore>,
    pub halt: Halt,
    task: JoinHandle<()>,
}

pub struct Crowd {
    pub stage: Stage,
    pub recorder: Arc<Recorder>,
    pub dice: Dice,
    pub members: Vec<Member>,
    /// The true time.
    pub clock: Arc<VirtualClock>,
    seed: u64,
    background: Vec<JoinHandle<()>>,
}

/// What the crowd asks for: few places, so that they meet.
pub fn claims() -> Vec<Claim> {
    let scopes = [
        path("a"),
        path("a/b"),
        path("a/b.rs"),
        path("ab"),
        path("a/c/d"),
        path("e"),
        path("e/f.md"),
        glob("a", "*.rs"),
        glob("a", "*.md"),
        named("build"),
    ];
    let exclusive = scopes.iter().cloned().map(Claim::exclusive);
    let shared = scopes.iter().take(5).cloned().map(Claim::shared);
    // The whole repository only now and then: it excludes everybody.
    exclusive.clone().chain(exclusive).chain(shared).chain([Claim::exclusive(path(""))]).collect()
}

impl Crowd {
    pub async fn new(seed: u64, count: u64, behaviour: &Behaviour) -> Self {
        let stage = Stage::with(seed, Options::default()).await;
        stage.line.shuffle(true);
        stage.line.look_every(Duration::from_millis(50));
        let clock = VirtualClock::start();
        let recorder = Recorder::begin(stage.direct.clone(), PREFIX, clock.clone()).await.unwrap();
        let (following, ticking) = (recorder.clone(), Ticking::of(&stage));
        let background = vec![
            tokio::spawn(async move { panic!("the recording broke: {}", following.follow().await) }),
            tokio::spawn(ticking.tick()),
            tokio::spawn(break_rings(stage.fleet.clone())),
        ];
        let mut crowd = Self { stage, recorder, dice: Dice::new(!seed), members: vec![], clock, seed, background };
        for _ in 0..count {
            crowd.join(crowd.clock.clone(), behaviour).await;
        }
        crowd
    }

    /// One more, whose own clock is this.
    pub async fn join(&mut self, clock: Arc<dyn Clock>, behaviour: &Behaviour) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.members.len() as u64);
        let line = FaultyStore::new(self.stage.line.clone());
        let dice = Arc::new(Dice::new(seed));
        let name = FleetName::default();
        let timing = Timing::default();
        let fleet = Fleet::open(line.clone(), &name, clock, dice.clone(), timing).await.unwrap();
        let client = Client { fleet, recorder: self.recorder.clone() };
        let (sidecar, halt) = (Sidecar::new(client, behaviour.clone(), dice), Halt::default());
        let task = tokio::spawn(halt.hold(sidecar.clone().run()));
        self.members.push(Member { sidecar, line, halt, task });
    }

    pub fn any(&self) -> &Member {
        self.dice.pick(&self.members)
    }

    /// Everybody comes to an end; then what everybody did is judged.
    pub async fn judge(self) -> Result<(Report, History), Vec<Violation>> {
        self.judge_by(Timing::default()).await
    }

    /// By other bounds than those they kept by their own clocks.
    pub async fn judge_by(self, timing: Timing) -> Result<(Report, History), Vec<Violation>> {
        self.stage.line.late(0);
        for member in &self.members {
            member.line.chances(0, &[]);
            member.line.cut_off(false);
            member.line.silence_watches(false);
            member.halt.go_on();
            member.sidecar.stop();
        }
        for member in self.members {
            member.task.await.unwrap();
            member.sidecar.farewell().await.unwrap();
        }
        // Sessions that nobody knows of end with their leases; what was held back arrives.
        pass(Timing::default().lease.as_millis() + 10_000).await;
        self.background.iter().for_each(JoinHandle::abort);
        let history = self.recorder.finish(timing).await.unwrap();
        let report = check(&history)?;
        Ok((report, history))
    }
}

/// Store time follows virtual time.
struct Ticking {
    clock: Arc<rr_store::suite::ManualClock>,
    direct: Arc<super::line::Direct<rr_store::EmbeddedStore>>,
}

impl Ticking {
    fn of(stage: &Stage) -> Self {
        Self { clock: stage.clock.clone(), direct: stage.direct.clone() }
    }

    async fn tick(self) {
        // Whatever is written makes the store look at its leases first.
        let lease = self.direct.grant(Span::from_secs(1 << 30)).await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(STEP_MS)).await;
            self.clock.advance(Span::from_millis(STEP_MS));
            let look = rr_store::Op::put_leased("tick", "", lease);
            self.direct.txn(rr_store::Txn::default().then(vec![look])).await.unwrap();
        }
    }
}

async fn break_rings(fleet: Fleet) {
    loop {
        pass(300).await;
        let Ok(Some(leader)) = fleet.campaign("watcher", &record(0).host).await else { continue };
        let _ = fleet.break_rings(&leader).await;
        fleet.resign(&leader).await;
    }
}

/// Per mille of all calls.
const CHANCES: [(Fault, u32); 4] =
    [(Fault::LostReply, 25), (Fault::Dropped, 25), (Fault::Refused, 20), (Fault::Delay(Span::from_millis(30)), 60)];

/// So many blows, one every few virtual seconds, at anybody.
pub async fn trouble(crowd: &Crowd, blows: u64) {
    crowd.stage.line.late(15);
    for member in &crowd.members {
        member.line.chances(crowd.dice.number(), &CHANCES);
    }
    for _ in 0..blows {
        pass(crowd.dice.below(8_000)).await;
        let member = crowd.any();
        match crowd.dice.below(5) {
            0 => {
                member.halt.stop();
                pass(crowd.dice.below(80_000)).await;
                member.halt.go_on();
            }
            1 => {
                member.line.cut_off(true);
                pass(crowd.dice.below(80_000)).await;
                member.line.cut_off(false);
            }
            2 => {
                member.line.silence_watches(true);
                pass(crowd.dice.below(20_000)).await;
                crowd.stage.embedded.compact(crowd.recorder.followed()).await.unwrap();
                member.line.silence_watches(false);
            }
            3 => member.line.end_watches(),
            _ => crowd.stage.embedded.compact(crowd.recorder.followed()).await.unwrap(),
        }
    }
}

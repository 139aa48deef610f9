//! The fleet that the stories are about, and their clock: hosts with a sidecar each, and how a call's moment is noted.

use std::time::{Duration, Instant};

use rr_tests::agent::{Agent, Decision};
use rr_tests::hosts::{Apart, Host, Kind, Program, World};

/// The fleet's clock. Usually as short as the relations between the timings allow; as teams have it where
/// `RAILROAD_USUAL_TIMES` is set, as `cargo xtask soak` does.
pub(crate) struct Times {
    pub(crate) lease: Duration,
    pub(crate) cut_off: Duration,
    pub(crate) permit_fresh: Duration,
}

impl Times {
    pub(crate) fn now() -> Self {
        let seconds = Duration::from_secs;
        if is_usual() {
            return Self { lease: seconds(60), cut_off: seconds(50), permit_fresh: seconds(15) };
        }
        Self { lease: seconds(13), cut_off: seconds(3), permit_fresh: seconds(3) }
    }
}

fn is_usual() -> bool {
    std::env::var_os("RAILROAD_USUAL_TIMES").is_some()
}

/// For `config.yaml`.
pub(crate) fn quick() -> &'static str {
    if is_usual() {
        return "";
    }
    "timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, permit_poll: 500ms, permit_fresh: 3s, cool: 1s }\n"
}

/// With a late cut-off, so that only the permit's age can stop a host that is cut off.
pub(crate) fn with_a_late_cut_off() -> &'static str {
    if is_usual() {
        return "";
    }
    "timing: { lease: 40s, keep_alive: 1s, cut_off: 30s, permit_poll: 500ms, permit_fresh: 3s, cool: 1s }\n"
}

/// A moment more than what is waited for or counted from.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// A lease that a new leader counts from the beginning, a hand-over, and a busy machine.
pub(crate) const GIVEN_ON_MAX: Duration = Duration::from_secs(180);

/// Hosts with a sidecar each; nothing else runs on them.
pub(crate) struct Fleet {
    // The order in which they end.
    pub(crate) sidecars: Vec<Program>,
    pub(crate) world: World,
}

impl Fleet {
    #[track_caller]
    pub(crate) fn new(apart: Apart, hosts: u8, timing: &str) -> Self {
        let world = World::new(apart, hosts, timing).expect("a world");
        let sidecars = world.hosts.iter().map(|host| Program::start(host, Kind::Sidecar)).collect();
        Self { sidecars, world }
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        &self.world.hosts[index]
    }

    pub(crate) fn agent(&self, host: usize, name: &str) -> Agent {
        Agent::start(self.host(host), name).that_asks_once()
    }
}

/// One call: when it was asked for, when it was over, what came of it.
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) over: Instant,
    pub(crate) said: Decision,
}

/// Writes a line into a file of the agent's own clone, whatever the answer.
pub(crate) fn write(agent: &mut Agent, file: &str, text: &str) -> Asked {
    let at = Instant::now();
    let said = agent.write(file, text);
    Asked { at, over: Instant::now(), said }
}

/// Waits, longer than anything else here: for a lease.
#[track_caller]
pub(crate) fn in_time(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < GIVEN_ON_MAX, "waited {GIVEN_ON_MAX:?} and this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

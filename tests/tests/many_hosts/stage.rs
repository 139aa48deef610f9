//! The fleet that the stories are about, and their clock: hosts with a sidecar each, and how a call's moment is noted.

use std::time::{Duration, Instant};

use rr_tests::agent::{Agent, Decision};
use rr_tests::hosts::{Apart, Host, Kind, Program, World};

/// As short as the relations between the timings allow.
pub(crate) const LEASE: Duration = Duration::from_secs(13);
pub(crate) const CUT_OFF: Duration = Duration::from_secs(3);
pub(crate) const QUICK: &str =
    "timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, permit_poll: 500ms, permit_fresh: 3s, cool: 1s }\n";
/// From the decision over the tool's work to the note of it, on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// A lease that a new leader counts from the beginning, a hand-over, and a busy machine.
pub(crate) const GIVEN_ON_MAX: Duration = Duration::from_secs(60);

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
        Agent::start(self.host(host), name)
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

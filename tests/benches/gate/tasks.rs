//! Ten agents with a task each beside one with one: real agents, real hooks. An agent mostly thinks; that is what parallel ones share.

use std::thread;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};

use crate::product;
use crate::report::{percentile, ratio};

const AGENTS: usize = 10;
const STEPS: usize = 12;
const THINK: Duration = Duration::from_millis(60);
const ROUNDS: usize = 3;
/// In turns they would take ten times as long.
const RATIO_MAX: f64 = 1.5;

pub(crate) fn tasks() {
    product::build(&["rrctl"]);
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox);
    let (mut ones, mut tens) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ones.push(at_once(&sandbox, &format!("alone{round}"), 1));
        tens.push(at_once(&sandbox, &format!("crowd{round}"), AGENTS));
    }
    ratio("gate.ten_tasks_us", percentile(&tens, 50), "one_task_us", percentile(&ones, 50), RATIO_MAX);
    drop(daemon);
}

/// How long so many agents take, each for a task of its own.
fn at_once(sandbox: &Sandbox, name: &str, count: usize) -> Duration {
    let mut agents: Vec<Agent> = (0..count).map(|n| Agent::start(sandbox, &format!("{name}-{n}"))).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        for agent in &mut agents {
            scope.spawn(move || {
                for step in 0..STEPS {
                    thread::sleep(THINK);
                    agent.write(&format!("{}/{step}.txt", agent.name().to_owned()), "x").must_pass();
                }
                agent.stop();
            });
        }
    });
    began.elapsed()
}

//! The facts behind the advice: this machine, what the agents on it use, how long the checks take. Looks, decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rr_proto::v1;

use super::{Checks, Machine, Use};
use crate::view::FleetView;

/// What an agent uses where none runs to be measured: a program of its own with a tool or two at work.
const CORES_ASSUMED_MILLI: u64 = 500;
const MEMORY_ASSUMED: u64 = 1 << 30;
/// One that rests now will work.
const CORES_LEAST_MILLI: u64 = 100;
const MEMORY_LEAST: u64 = 256 << 20;
/// Ticks a second of `/proc/<pid>/stat`, the same on every machine.
const TICKS: u64 = 100;
/// The fields of `/proc/<pid>/stat` behind the program's name.
const PARENT: usize = 1;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START: usize = 19;

struct Process {
    parent: u32,
    ticks: u64,
    start: u64,
}

/// This machine, and what the agents use that run on it.
pub(crate) fn machine(agents: &[u32]) -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (all, free) = (kibibytes(&memory, "MemTotal:"), kibibytes(&memory, "MemAvailable:"));
    let (agent, used) = agents_use(agents);
    Machine { cores, memory_bytes: all, for_agents_bytes: free.saturating_add(used), agent }
}

/// The agents of a host, by their processes.
pub(crate) fn agents_on(view: &FleetView, host: &str) -> Vec<u32> {
    view.sessions.iter().filter(|session| session.host_id == host).map(|session| session.pid).collect()
}

/// What one of them uses, with everything that it has started, and all of them together.
fn agents_use(agents: &[u32]) -> (Use, u64) {
    let running = processes();
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let uptime: f64 = uptime.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_default();
    let (mut cores_milli, mut memory, mut measured_on) = (0, 0, 0);
    for agent in agents.iter().filter(|pid| running.contains_key(pid)) {
        let family = family(*agent, &running);
        let ticks: u64 = family.iter().filter_map(|pid| running.get(pid)).map(|process| process.ticks).sum();
        // Since the agent began: whole seconds are near enough, and never none.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an uptime in seconds fits")]
        let lived = (uptime as u64).saturating_sub(running[agent].start / TICKS).max(1);
        cores_milli += ticks * 1_000 / TICKS / lived;
        memory += family.iter().map(|pid| resident(*pid)).sum::<u64>();
        measured_on += 1;
    }
    let each = match u64::from(measured_on) {
        0 => Use { cores_milli: CORES_ASSUMED_MILLI, memory_bytes: MEMORY_ASSUMED, measured_on },
        n => Use {
            cores_milli: (cores_milli / n).max(CORES_LEAST_MILLI),
            memory_bytes: (memory / n).max(MEMORY_LEAST),
            measured_on,
        },
    };
    (each, memory)
}

fn processes() -> BTreeMap<u32, Process> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: u32::try_from(number(PARENT)?).ok()?,
        ticks: number(USER_TICKS)? + number(SYSTEM_TICKS)?,
        start: number(START)?,
    })
}

fn family(root: u32, running: &BTreeMap<u32, Process>) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let before = family.len();
        let children = running.iter().filter(|(_, process)| family.contains(&process.parent)).map(|(pid, _)| *pid);
        family.extend(children.collect::<Vec<_>>());
        if family.len() == before {
            return family;
        }
    }
}

fn resident(pid: u32) -> u64 {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmRSS:")
}

/// A line of `/proc` as `Name:   123 kB`, in bytes; 0: it is not there.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() << 10
}

/// What is known of a repository's checks; `slots`: of the watcher's, on this host.
pub(crate) fn checks(health: &v1::HealthReply, repo: &str, change_every_ms: u64) -> Checks {
    let plan = health.plans.iter().find(|plan| plan.repo == repo);
    let medians: Vec<u64> = plan.into_iter().flat_map(|plan| &plan.checks).map(|check| check.median_ms).collect();
    let is_known = !medians.is_empty() && medians.iter().all(|ms| *ms > 0);
    Checks { took_ms: is_known.then(|| medians.iter().sum()), slots: 1, change_every_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_this_very_process_are_measured() {
        let nobody = machine(&[]);
        assert!(nobody.cores >= 1 && nobody.memory_bytes >= nobody.for_agents_bytes && nobody.for_agents_bytes > 0);
        assert_eq!(nobody.agent.measured_on, 0);
        let me = machine(&[std::process::id(), u32::MAX]).agent;
        assert_eq!(me.measured_on, 1, "one that is gone counts for nothing");
        assert!(me.memory_bytes >= MEMORY_LEAST && me.cores_milli >= CORES_LEAST_MILLI);
        assert!(resident(std::process::id()) > 0);
    }

    #[test]
    fn checks_are_known_when_all_of_them_are() {
        let check = |median_ms| v1::Check { median_ms, ..Default::default() };
        let health = |medians: &[u64]| v1::HealthReply {
            plans: vec![v1::Plan {
                repo: "r".into(),
                checks: medians.iter().copied().map(check).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(checks(&health(&[100, 200]), "r", 1).took_ms, Some(300));
        assert_eq!(checks(&health(&[100, 0]), "r", 1).took_ms, None);
        assert_eq!(checks(&health(&[100]), "other", 1).took_ms, None);
    }
}

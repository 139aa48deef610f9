//! The gate as an agent meets it: the built daemon, the hook carried in it, whole processes. What a verdict costs beside a
//! hook that is answered at once, what a new lock costs beside a disk's sync, and what fifty sessions with five thousand
//! locks change. Both sides of a ratio are measured in turns. One line a figure, with its bar.
//! A word on the command line runs only the parts whose name holds it: `verdict`, `lock`, `change`, `many`, `calls`, `full`, `tasks`, `idle`
//! (on etcd).

#[path = "gate/floor.rs"]
mod floor;
#[path = "gate/hooked.rs"]
mod hooked;
#[path = "gate/idle.rs"]
mod idle;
#[path = "gate/many.rs"]
mod many;
#[path = "gate/product.rs"]
mod product;
#[path = "gate/report.rs"]
mod report;
#[path = "../../hook/static_build.rs"]
mod static_build;
#[path = "gate/tasks.rs"]
mod tasks;

use std::path::Path;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

use floor::{Disk, Instantly};
use hooked::{Hooked, timed};
use report::{percentile, ratio, verdict};

/// Enough for a 99th percentile of ten values.
const ROUNDS: usize = 1_000;
/// First calls fault in the programs' pages and the daemon's.
const WARM_UP: usize = 30;
const FILES: usize = 50;

/// New locks measured; a turn ends before one session would have too many.
const NEW_LOCKS: usize = 600;
const LOCKS_A_TURN: usize = 100;

const SESSIONS: usize = 50;
const LOCKS_A_SESSION: usize = 100;
/// The design's bar for the daemon's memory.
const RSS_KIB_MAX: u64 = 40 * 1024;
/// And for the hook program.
const SIZE_MAX: u64 = 1024 * 1024;
/// Verdicts that must leave the store as it is.
const QUIET_CALLS: usize = 100;

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if wanted("idle") {
        idle::idle();
    }
    if wanted("tasks") {
        tasks::tasks();
    }
    if ["verdict", "lock", "change", "many", "calls", "full"].iter().any(|name| wanted(name)) {
        on_one_machine(wanted);
    }
}

fn on_one_machine(wanted: impl Fn(&str) -> bool) {
    product::build(&["rrctl"]);
    let sandbox = machine();
    let daemon = Daemon::start(&sandbox);
    let mut bench = Hooked::start(&sandbox, "bench");
    // A file tool may only change what its agent has read.
    for file in ["src/f00.rs", "src/f02.rs"] {
        bench.read(file);
    }
    if wanted("verdict") {
        verdicts(&mut bench);
    }
    if wanted("lock") {
        new_locks(&sandbox, &mut bench);
    }
    if wanted("change") {
        changing_calls(&sandbox, &mut bench);
    }
    if wanted("many") {
        many::many(&sandbox);
    }
    if wanted("calls") {
        store_calls(&sandbox, &mut bench);
    }
    if wanted("full") {
        full_house(&mut bench);
    }
    drop(daemon);
}

fn machine() -> Sandbox {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..FILES).map(|n| format!("src/f{n:02}.rs")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "fn main() {}\n")).collect();
    sandbox.commit(&files);
    sandbox
}

/// Reading a file, and editing one whose lock is held, against `/bin/true`, against the hook itself answered at once, and
/// against a program that only exchanges the bytes.
fn verdicts(bench: &mut Hooked<'_>) {
    bench.edit("src/f00.rs");
    let at_once = Instantly::start(bench);
    let floor = at_once.build_floor();
    let (mut read, mut edit) = (Vec::new(), Vec::new());
    let mut floors = [const { Vec::new() }; 3];
    for round in 0..WARM_UP + ROUNDS {
        let (input, call) = bench.before("Read", &json!({"file_path": bench.path("src/f01.rs")}));
        let took = timed(&mut bench.command(), &input).0;
        read.push(took);
        let others = [&mut bench.starts(Path::new("/bin/true")), &mut at_once.hook(bench), &mut floor.command(bench)];
        for (times, command) in floors.iter_mut().zip(others) {
            times.push(timed(command, &input).0);
        }
        bench.after(&call);
        edit.push(bench.edit("src/f00.rs"));
        if round + 1 == WARM_UP {
            read.clear();
            edit.clear();
            floors.iter_mut().for_each(Vec::clear);
        }
    }
    let [nothing, same, bare] = floors;
    for (name, times) in [("read", read), ("edit_held", edit)] {
        let at = |percent| percentile(&times, percent);
        ratio(&format!("gate.{name}.p50_us"), at(50), "true_us", percentile(&nothing, 50), 1.0);
        ratio(&format!("gate.{name}.p50_us"), at(50), "same_hook_us", percentile(&same, 50), 1.3);
        ratio(&format!("gate.{name}.p99_us"), at(99), "same_hook_us", percentile(&same, 99), 2.0);
        ratio(&format!("gate.{name}.p50_us"), at(50), "floor_us", percentile(&bare, 50), 1.3);
        ratio(&format!("gate.{name}.p99_us"), at(99), "floor_us", percentile(&bare, 99), 2.0);
    }
    let size = std::fs::metadata(&bench.program).expect("look at the hook").len();
    println!("gate.hook.size_bytes={size} linkage={:?} bar={SIZE_MAX} {}", floor.linkage, verdict(size <= SIZE_MAX));
}

/// The first write of a path, its lock durable when the hook returns, against a write on a held lock and one sync of a disk.
fn new_locks(sandbox: &Sandbox, bench: &mut Hooked<'_>) {
    let disk = Disk::new(&sandbox.state);
    let (mut fresh, mut held, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..NEW_LOCKS {
        if round % LOCKS_A_TURN == 0 {
            bench.event("Stop", &json!({"stop_hook_active": false, "background_tasks": []}));
            bench.edit("src/f00.rs");
        }
        fresh.push(bench.write(&format!("new/{round:04}.rs")));
        syncs.push(disk.sync(round));
        held.push(bench.edit("src/f00.rs"));
    }
    let floor = percentile(&held, 50) + percentile(&syncs, 50);
    ratio("gate.new_lock.p50_us", percentile(&fresh, 50), "held_and_sync_us", floor, 1.5);
    let sync = percentile(&syncs, 50).as_micros();
    println!("gate.new_lock.p99_us={} sync_us={sync}", percentile(&fresh, 99).as_micros());
    bench.event("Stop", &json!({"stop_hook_active": false, "background_tasks": []}));
}

/// A call that changes a file for true, written down and what stood before it kept when the hook returns, against a verdict that
/// waits for no disk and one sync.
fn changing_calls(sandbox: &Sandbox, bench: &mut Hooked<'_>) {
    let disk = Disk::new(&sandbox.state);
    let (mut changing, mut reading, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let input = json!({"file_path": bench.path("src/f02.rs"), "old_string": "a", "new_string": "b"});
        let (asked, call) = bench.before("Edit", &input);
        let (took, said) = timed(&mut bench.command(), &asked);
        assert!(!said.contains("\"deny\""), "it should have passed: {said}");
        std::fs::write(sandbox.repo.join("src/f02.rs"), format!("fn main() {{ {round} }}\n")).expect("change the file");
        bench.after(&call);
        changing.push(took);
        reading.push(bench.read("src/f01.rs"));
        syncs.push(disk.sync(round));
        if round + 1 == WARM_UP {
            [&mut changing, &mut reading, &mut syncs].into_iter().for_each(Vec::clear);
        }
    }
    let floor = percentile(&reading, 50) + percentile(&syncs, 50);
    ratio("gate.change.p50_us", percentile(&changing, 50), "read_and_sync_us", floor, 1.5);
    let sync = percentile(&syncs, 50).as_micros();
    println!("gate.change.p99_us={} sync_us={sync}", percentile(&changing, 99).as_micros());
}

/// Verdicts from the table leave the store's revision alone: held paths, and what was denied before.
fn store_calls(sandbox: &Sandbox, bench: &mut Hooked<'_>) {
    let revision = || sandbox.json(&["status"])["revision"].as_u64().expect("a revision");
    bench.edit("src/f00.rs");
    let before = revision();
    for _ in 0..QUIET_CALLS {
        bench.edit("src/f00.rs");
    }
    let used = revision() - before;
    println!("gate.held.revisions={used} calls={QUIET_CALLS} bar=0 {}", verdict(used == 0));

    let mut other = Agent::start(sandbox, "other");
    let mut ask = || other.pre("Edit", &json!({"file_path": "src/f00.rs", "old_string": "a", "new_string": "b"}));
    assert!(ask().denied(), "it is held");
    let before = revision();
    (0..QUIET_CALLS).for_each(|_| assert!(ask().denied(), "it is held"));
    let used = revision() - before;
    println!("gate.denied.revisions={used} calls={QUIET_CALLS} bar=0 {}", verdict(used == 0));
}

/// Fifty agents hold a hundred files each: the daemon's memory, and its verdicts beside those of a daemon without them.
fn full_house(empty: &mut Hooked<'_>) {
    let sandbox = machine();
    let daemon = Daemon::start(&sandbox);
    let before = rss_kib(daemon.pid());
    let mut agents: Vec<Agent> = (0..SESSIONS).map(|n| Agent::start(&sandbox, &format!("agent-{n:02}"))).collect();
    for n in 0..LOCKS_A_SESSION {
        for (who, agent) in agents.iter_mut().enumerate() {
            agent.pre("Write", &json!({"file_path": format!("s{who:02}/f{n:03}.rs"), "content": "x"})).must_pass();
        }
    }
    let mut full = Hooked::start(&sandbox, "bench");
    let (mut crowded, mut alone) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        crowded.push(full.read("src/f01.rs"));
        alone.push(empty.read("src/f01.rs"));
        if round + 1 == WARM_UP {
            crowded.clear();
            alone.clear();
        }
    }
    let locks = sandbox.json(&["status"])["locks"].as_u64().unwrap_or_default();
    let rss = rss_kib(daemon.pid());
    let ok = verdict(rss <= RSS_KIB_MAX);
    println!("gate.full.rss_kib={rss} empty_kib={before} sessions={SESSIONS} locks={locks} bar={RSS_KIB_MAX} {ok}");
    ratio("gate.full.read_p50_us", percentile(&crowded, 50), "empty_us", percentile(&alone, 50), 2.0);
    ratio("gate.full.read_p99_us", percentile(&crowded, 99), "empty_us", percentile(&alone, 99), 2.0);
}

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has one");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

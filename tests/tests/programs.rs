//! Story: sidecar, coordinator and watcher as programs of their own, on a real etcd. Each can be missing, stuck or told to end,
//! and what the others promise still holds; a configuration that cannot work ends each at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use rr_tests::etcd::{EtcdCluster, EtcdSetup};
use rr_tests::programs::{Program, program};
use rustix::process::Signal;
use serde_json::json;

/// No call passes later than this after a pause is in the store.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The programs' own limit on a drain.
const DRAIN_MAX: Duration = Duration::from_secs(8);

fn on_etcd(cluster: &EtcdCluster, more: &str) -> String {
    format!("store: {{ kind: etcd, endpoints: {} }}\n{more}", json!(cluster.endpoints()))
}

/// A machine whose file names the cluster.
fn machine(cluster: &EtcdCluster, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.machine_config(&on_etcd(cluster, more));
    sandbox
}

fn all_three(sandbox: &Sandbox) -> [Program; 3] {
    let started = ["rr-sidecar", "rr-coordinator", "rr-watcher"].map(|name| Program::start(sandbox, name, &[]));
    started.map(Program::ready)
}

fn resumed(sandbox: &Sandbox) {
    let epoch = sandbox.json(&["status"])["epoch"].to_string();
    let said = sandbox.rrctl(&["resume", "--epoch", &epoch]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// Pauses and waits until the agent is denied: in time, or the test fails.
fn pause_stops(sandbox: &Sandbox, agent: &mut Agent) {
    let said = sandbox.json(&["pause-all", "--reason", "story"]);
    assert_eq!(said["paused"], true, "{said}");
    let paused = Instant::now();
    until("the agent is denied", || agent.read("README.md").denied());
    assert!(paused.elapsed() < PAUSE_MAX, "after {:?}", paused.elapsed());
    agent.write("a.txt", "paused\n").must_be_denied(&["paused"]);
    // Who and why are read after the pause itself is believed.
    until("the reason is told", || agent.read("README.md").reason.is_some_and(|why| why.contains("story")));
}

fn page(program: &Program, path: &str) -> String {
    let address = program.logged("metrics are served", "address=");
    let mut stream = TcpStream::connect(&address).expect("the page answers");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn three_programs_gate_an_agent_and_show_it_with_their_numbers() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "listen: { metrics: \"127.0.0.1:0\" }\n");
    let [sidecar, coordinator, watcher] = all_three(&sandbox);
    let (mut one, mut two) = (Agent::start(&sandbox, "one"), Agent::start(&sandbox, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("a.txt", "2\n").must_be_denied(&["a.txt"]);
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
    let text = String::from_utf8(sandbox.rrctl(&["status"]).stdout).expect("text");
    let host = sandbox.sessions()[0]["host"].as_str().expect("a host").to_owned();
    assert!(text.contains("HOST") && text.contains(&host), "{text}");

    let numbers = page(&sidecar, "/metrics");
    for line in
        ["railroad_sessions{state=\"live\"} 2", "railroad_calls_total{verdict=\"deny\"} 1", "railroad_fleet_paused 0"]
    {
        assert!(numbers.contains(line), "{line} is not in: {numbers}");
    }
    assert!(numbers.contains("railroad_store_request_seconds_count{operation=\"txn\",outcome=\"ok\"}"), "{numbers}");
    let of_all = page(&coordinator, "/metrics");
    assert!(of_all.contains("\nrailroad_fleet_sessions 2\n"), "{of_all}");
    until("the watcher leads", || page(&watcher, "/metrics").contains("\nrailroad_leader 1\n"));
    for each in [&sidecar, &coordinator, &watcher] {
        assert!(
            page(each, "/readyz").starts_with("HTTP/1.1 200 ") && page(each, "/healthz").starts_with("HTTP/1.1 200 ")
        );
    }
}

#[test]
fn with_the_coordinator_dead_agents_go_on_and_a_pause_still_stops_them() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "");
    let [_sidecar, mut coordinator, _watcher] = all_three(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    coordinator.kill9();
    one.write("a.txt", "2\n").must_pass();
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"), "rrctl looks at the store itself");
    pause_stops(&sandbox, &mut one);
    let drained = sandbox.json(&["pause-all", "--wait", "20", "--reason", "and wait"]);
    assert_eq!((&drained["already"], &drained["drained"]), (&json!(true), &json!(true)), "{drained}");
    resumed(&sandbox);
    until("it goes on", || one.write("a.txt", "3\n").passed());
    let _again = Program::start(&sandbox, "rr-coordinator", &[]).ready();
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"), "over the new one's socket");
}

#[test]
fn a_pause_steps_over_a_coordinator_that_is_stuck() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "");
    let [_sidecar, coordinator, _watcher] = all_three(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    coordinator.tell(Signal::STOP);
    pause_stops(&sandbox, &mut one);
    resumed(&sandbox);
    coordinator.tell(Signal::CONT);
    until("it goes on", || one.write("a.txt", "1\n").passed());
}

#[test]
fn rrctl_on_a_machine_without_programs_reaches_the_coordinators_in_turn() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "listen: { coordinator: \"127.0.0.1:0\" }\n");
    let [_sidecar, coordinator, _watcher] = all_three(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    let address = coordinator.logged("the coordinator listens address", "address=");
    let elsewhere = Sandbox::new();
    // Port 1 is nobody's.
    elsewhere.machine_config(&format!("coordinators: [\"http://127.0.0.1:1\", \"http://{address}\"]\n"));
    assert_eq!(elsewhere.holder("a.txt").as_deref(), Some("one"));
    let said = elsewhere.json(&["pause-all", "--reason", "from elsewhere"]);
    assert_eq!(said["sessions"].as_array().map(Vec::len), Some(1), "{said}");
    until("the agent is denied", || one.read("README.md").denied());
}

#[test]
fn a_program_waits_for_its_cluster_and_is_ready_only_then() {
    let mut cluster = EtcdCluster::start(1, EtcdSetup::default());
    cluster.kill(0);
    let sandbox = machine(&cluster, "listen: { metrics: \"127.0.0.1:0\" }\n");
    let [sidecar, coordinator, watcher] =
        ["rr-sidecar", "rr-coordinator", "rr-watcher"].map(|name| Program::start(&sandbox, name, &[]));
    for each in [&sidecar, &coordinator, &watcher] {
        until("it says what it waits for", || each.text().contains("reach the store"));
        let early = page(each, "/readyz");
        assert!(early.starts_with("HTTP/1.1 503 ") && early.contains("waiting for: "), "{early}");
        assert!(each.is_silent());
    }
    let status = sandbox.rrctl(&["status"]);
    assert_eq!(status.status.code(), Some(3), "{}", String::from_utf8_lossy(&status.stderr));
    cluster.restart(0);
    let [_sidecar, _coordinator, _watcher] = [sidecar, coordinator, watcher].map(Program::ready);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
}

#[test]
fn programs_told_to_end_say_so_and_leave_nothing_behind() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "listen: { metrics: \"127.0.0.1:0\" }\n");
    let other = machine(&cluster, "listen: { metrics: \"127.0.0.1:0\" }\ntiming: { keep_alive: 1s }\n");
    let [mut sidecar, mut coordinator, mut watcher] = all_three(&sandbox);
    let leads = |watcher: &Program| page(watcher, "/metrics").contains("\nrailroad_leader 1\n");
    until("the watcher leads", || leads(&watcher));
    let second = Program::start(&other, "rr-watcher", &[]).ready();
    assert!(!leads(&second), "one leads");
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    for each in [&mut sidecar, &mut coordinator, &mut watcher] {
        assert!(each.stop(DRAIN_MAX).success(), "{}", each.text());
        assert_eq!(each.heard(), "STOPPING=1");
    }
    for socket in ["hook.sock", "api.sock"] {
        assert!(!sandbox.runtime.join(socket).exists(), "{socket} is left behind");
    }
    // Long before its lease of a minute runs out.
    until("the other one leads: the office was given back", || leads(&second));
    let _sidecar = Program::start(&sandbox, "rr-sidecar", &[]).ready();
    until("the agent goes on with its lock", || one.read("a.txt").passed() && one.write("a.txt", "2\n").passed());
    assert_eq!(sandbox.holder("a.txt").as_deref(), Some("one"));
}

/// What came of running a program to its end.
fn ran(sandbox: &Sandbox, name: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let output = sandbox.command(program(name)).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_cannot_work_ends_a_program_at_once_with_a_code_and_what_to_do() {
    let sandbox = Sandbox::new();
    let etcd = "store: { kind: etcd, endpoints: [\"http://127.0.0.1:1\"]";
    for name in ["rr-sidecar", "rr-coordinator", "rr-watcher"] {
        for (config, code, words) in [
            ("", 4, &["store.kind: embedded", "has one owner", "rrctl up"][..]),
            ("store: { kind: etcd }\n", 2, &["config.yaml:1:", "needs the addresses"]),
            ("store: { kind: ectd }\n", 2, &["did you mean `etcd`?"]),
            ("store: { kind: etcd, endpoints: [\"http://a:1\", \"https://b:1\"] }\n", 2, &["mix http and https"]),
            (&format!("{etcd}, user: x, password_file: /nowhere }}\n"), 2, &["/nowhere", "store.password_file"]),
            (&format!("{etcd} }}\nlisten: {{ coordinator: \"0.0.0.0:1\" }}\n"), 2, &["other machines", "tls"]),
        ] {
            sandbox.machine_config(config);
            let (found, _, said) = ran(&sandbox, name, &[]);
            assert_eq!(found, Some(code), "{name} with {config:?}: {said}");
            for word in words {
                assert!(said.contains(word), "{word:?} is not in: {said}");
            }
        }
        assert_eq!(ran(&sandbox, name, &["--confg", "x"]).0, Some(2));
        assert_eq!(ran(&sandbox, name, &["--config", "/nowhere/config.yaml"]).0, Some(2));
        let (code, version, _) = ran(&sandbox, name, &["--version"]);
        assert!(code == Some(0) && version.starts_with(&format!("{name} ")), "{version}");
        assert!(ran(&sandbox, name, &["--help"]).1.contains("--dump-config"));
    }
}

#[test]
fn the_configuration_in_force_is_shown_with_its_origins_and_can_be_used_again() {
    let sandbox = Sandbox::new();
    sandbox.machine_config("store: { kind: etcd, endpoints: [\"http://127.0.0.1:1\"] }\nfleet: blue\n");
    assert_eq!(ran(&sandbox, "rr-sidecar", &["--check-config"]).0, Some(0));
    let mut command = sandbox.command(program("rr-sidecar"));
    let first = command.arg("--dump-config").env("RAILROAD_TIMING_COOL", "7s").output().expect("it runs").stdout;
    let first = String::from_utf8(first).expect("text");
    for line in ["config.yaml:2\n", "cool: 7s  # environment RAILROAD_TIMING_COOL\n", "lease: 1m  # default\n"] {
        assert!(first.contains(line), "{line:?} is not in: {first}");
    }
    let again = sandbox.path().join("again.yaml");
    std::fs::write(&again, &first).expect("write it");
    let second = ran(&sandbox, "rr-watcher", &["--dump-config", "--config", again.to_str().expect("text")]).1;
    let values = |text: &str| text.lines().map(|l| l.split("  #").next().unwrap_or(l).to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&second));
    let by_rrctl = String::from_utf8(sandbox.rrctl(&["config"]).stdout).expect("text");
    assert!(by_rrctl.contains("fleet: \"blue\"  # ") && by_rrctl.contains("cool: 5s  # default"), "{by_rrctl}");
    let keys = sandbox.json(&["config"])["keys"].as_array().map(Vec::len);
    assert_eq!(keys, Some(values(&first).iter().filter(|l| !l.ends_with(':')).count()));
}

#[test]
fn there_is_one_of_each_for_a_state_folder() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let sandbox = machine(&cluster, "");
    let sidecar = Program::start(&sandbox, "rr-sidecar", &[]).ready();
    let (code, _, said) = ran(&sandbox, "rr-sidecar", &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("rr-sidecar runs already (rr-sidecar, pid {})", sidecar.pid())), "{said}");
    let up = sandbox.rrctl(&["up"]);
    assert_eq!(up.status.code(), Some(4), "{}", String::from_utf8_lossy(&up.stderr));
    drop(sidecar);
    // What a hook types when nobody answers: it must not put another sidecar into the place of one that is coming back.
    let mut by_hook = sandbox.command(rr_tests::daemon::rrctl_program());
    by_hook.args(["up", "--detach"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert_eq!(by_hook.status().expect("rrctl runs").code(), Some(4));
    let _back = Program::start(&sandbox, "rr-sidecar", &[]).ready();
}

#[test]
fn all_in_one_process_serves_a_cluster_too() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let (sandbox, other) = (machine(&cluster, ""), machine(&cluster, ""));
    let mut daemon = Daemon::start(&sandbox);
    let _other = Daemon::start(&other);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    assert_eq!(other.holder("a.txt").as_deref(), Some("one"), "one fleet");
    let twice = sandbox.rrctl(&["up"]);
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(twice.status.code() == Some(4) && said.contains(&format!("runs already (pid {})", daemon.pid())), "{said}");
    daemon.stop();
    pause_is_seen_without(&sandbox, &other);
}

/// The one machine has no daemon any more: what it orders reaches the other.
fn pause_is_seen_without(sandbox: &Sandbox, other: &Sandbox) {
    assert_eq!(sandbox.json(&["pause-all", "--reason", "story"])["paused"], true);
    assert_eq!(other.json(&["status"])["paused"], true);
}

#[test]
fn a_repository_of_another_fleet_is_not_changed_here() {
    let sandbox = Sandbox::new();
    sandbox.machine_config("fleet: blue\n");
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    sandbox.put("railroad.yaml", "fleet: red\n");
    let words = ["names the fleet `red`", "serves `blue`", "fleet: red"];
    one.write("a.txt", "2\n").must_be_denied(&words);
    one.shell("echo x > b.txt").must_be_denied(&words);
    one.read("a.txt").must_pass();
    sandbox.put("railroad.yaml", "fleet: blue\n");
    one.write("a.txt", "3\n").must_pass();
}

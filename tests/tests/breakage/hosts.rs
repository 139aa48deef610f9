//! Breaks of a branch that three hosts push to: the acting watcher and the leader of etcd are killed in the middle of one, and the acting
//! watcher is frozen in the middle of another and comes back.

use std::fs;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, signal};
use rr_tests::hosts::{Apart, Host, World, play};
use rustix::process::Signal;
use serde_json::Value;

use super::stage::{
    Gate, QUICK_TIMES, config, in_state, incidents, is_paused, is_searched, lines, notes, over, until_long,
};

const LEADS: &str = "leading as the fleet's watcher";

/// Says by its daemon's word which host has the acting watcher: the one that took the office last.
fn acting(hosts: &[Host]) -> Option<usize> {
    let last = |host: &Host| {
        let said = fs::read_to_string(host.log()).unwrap_or_default();
        said.lines().rfind(|line| line.contains(LEADS)).and_then(|line| Some(line.split(' ').next()?.to_owned()))
    };
    (0..hosts.len()).filter_map(|n| Some((last(&hosts[n])?, n))).max().map(|(_, n)| n)
}

fn origin_head(host: &Host) -> String {
    host.git(&["ls-remote", "origin", "refs/heads/main"]).split('\t').next().unwrap_or_default().to_owned()
}

pub(super) fn is_green(host: &Host) -> bool {
    let head = origin_head(host);
    lines(host).iter().any(|line| line["url"].is_string() && line["green"] == head.as_str())
}

/// Commits a file and pushes it, behind whatever others have pushed meanwhile. What it is at the origin.
#[track_caller]
fn pushes(agent: &mut Agent, host: &Host, path: &str, content: &str) -> String {
    until_long("the agent may write", host, || agent.write(path, content).passed());
    let script =
        format!("git add {path} && git commit -q -m {path} && git pull -q --rebase && git push -q origin HEAD:main");
    // With a cluster of three and as many daemons on one busy machine a hook may not have its answer in time, and says to ask again.
    until_long("the agent may push", host, || {
        let said = agent.shell(&script);
        said.passed() && said.must_pass().passed()
    });
    agent.stop();
    host.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

struct Story {
    world: World,
    gate: Gate,
}

impl Story {
    /// The check is held at the trees for which this succeeds.
    fn held_at(apart: Apart, trees: &'static str) -> Self {
        let world = World::new(apart, 3, QUICK_TIMES).expect("a world");
        let first = &world.hosts[0];
        let gate = Gate::new(first, trees);
        let config = config(&gate.check(), "");
        first.commit(&[("src/one.txt", "one\n"), ("railroad.yaml", config.as_str())]);
        first.git(&["push", "-q", "origin", "HEAD:main"]);
        world.hosts[1..].iter().for_each(|host| drop(host.git(&["pull", "-q"])));
        Self { world, gate }
    }
}

/// Nothing that was pushed is missing, and the culprit's change alone is out.
#[track_caller]
fn nothing_is_lost(host: &Host, pushed: &[String], culprit: &str, incident: &Value) {
    assert_eq!(incident["culprit_commits"], serde_json::json!([culprit]), "{incident:#}");
    assert_eq!(incidents(host).len(), 1, "{:#?}", incidents(host));
    host.git(&["fetch", "-q", "origin"]);
    let there = host.git(&["log", "--format=%H", "origin/main"]);
    assert!(pushed.iter().all(|commit| there.contains(commit.as_str())), "{there} {pushed:#?}");
    let reverts = host.git(&["log", "--format=%H", "--grep=Railroad-Incident:", "origin/main"]);
    assert_eq!(reverts.lines().count(), 1, "{reverts} {}", notes(incident));
    let files = host.git(&["ls-tree", "-r", "--name-only", "origin/main", "src"]);
    let files: Vec<&str> = files.lines().collect();
    assert_eq!(files, ["src/good-0.txt", "src/good-2.txt", "src/one.txt"]);
}

pub(crate) fn another_ends_it_when_the_acting_watcher_and_the_leader_of_etcd_are_killed(apart: Apart) {
    let Story { mut world, gate } = Story::held_at(apart, "! [ -e src/bad.txt ]");
    let hosts = &world.hosts;
    let mut daemons: Vec<Daemon> = hosts.iter().map(|host| Daemon::start(host)).collect();
    let mut agents: Vec<Agent> = (0..3).map(|n| Agent::start(&hosts[n], &format!("agent-{n}"))).collect();
    until_long("the branch is known to be green", &hosts[0], || is_green(&hosts[0]));
    gate.close();
    let mut pushed = vec![pushes(&mut agents[0], &hosts[0], "src/good-0.txt", "good\n")];
    let culprit = pushes(&mut agents[1], &hosts[1], "src/bad.txt", "BROKEN\n");
    pushed.push(culprit.clone());
    pushed.push(pushes(&mut agents[2], &hosts[2], "src/good-2.txt", "good\n"));
    gate.open();

    until_long("the culprit is searched", &hosts[0], || is_searched(&hosts[0]));
    let dead = acting(hosts).expect("one leads");
    daemons[dead].kill9();
    let leader = world.etcd.leader();
    world.etcd.kill(leader);
    gate.release();
    let left = &hosts[(dead + 1) % 3];
    until_long("the break is dealt with", left, || over(left).is_some());
    until_long("the fleet goes on", left, || !is_paused(left));
    assert_ne!(acting(hosts), Some(dead));
    world.etcd.restart(leader);
    daemons[dead].restart();
    nothing_is_lost(left, &pushed, &culprit, &over(left).expect("one"));
    for (n, agent) in agents.iter_mut().enumerate() {
        until_long("it works again", &hosts[n], || {
            agent.prompt("go on");
            agent.write(&format!("after-{n}.txt"), "on\n").passed()
        });
    }
}

pub(crate) fn a_watcher_frozen_in_the_middle_comes_back_and_does_nothing_twice(apart: Apart) {
    let Story { world, gate } = Story::held_at(apart, "[ -e src/good-2.txt ] && ! [ -e src/bad.txt ]");
    let hosts = &world.hosts;
    let daemons: Vec<Daemon> = hosts.iter().map(|host| Daemon::start(host)).collect();
    let mut agents: Vec<Agent> = (0..3).map(|n| Agent::start(&hosts[n], &format!("agent-{n}"))).collect();
    until_long("the branch is known to be green", &hosts[0], || is_green(&hosts[0]));
    gate.close();
    let mut pushed = vec![pushes(&mut agents[0], &hosts[0], "src/good-0.txt", "good\n")];
    let culprit = pushes(&mut agents[1], &hosts[1], "src/bad.txt", "BROKEN\n");
    pushed.push(culprit.clone());
    pushed.push(pushes(&mut agents[2], &hosts[2], "src/good-2.txt", "good\n"));
    gate.open();

    until_long("the revert is about to be made", &hosts[0], || in_state(&hosts[0], "reverting").is_some());
    let frozen = acting(hosts).expect("one leads");
    signal(daemons[frozen].pid(), Signal::STOP);
    gate.release();
    let left = &hosts[(frozen + 1) % 3];
    until_long("another has ended it", left, || over(left).is_some());
    until_long("the fleet goes on", left, || !is_paused(left));
    let tip = origin_head(left);
    signal(daemons[frozen].pid(), Signal::CONT);
    let back = &hosts[frozen];
    until_long("it has seen that it no longer leads", back, || {
        fs::read_to_string(back.log()).unwrap_or_default().contains("no longer leading")
    });
    until_long("it sees the end as well", back, || over(back).is_some() && !is_paused(back));
    assert_eq!(origin_head(left), tip, "nothing is landed twice");
    nothing_is_lost(left, &pushed, &culprit, &over(left).expect("one"));
}

#[test]
fn a_break_over_three_hosts_is_ended_though_the_acting_watcher_and_the_leader_of_etcd_are_killed() {
    play(Apart::Namespaces, |apart| {
        another_ends_it_when_the_acting_watcher_and_the_leader_of_etcd_are_killed(apart);
    });
}

#[test]
fn a_watcher_frozen_in_the_middle_of_a_break_comes_back_and_nothing_is_done_twice() {
    play(Apart::Links, |apart| {
        a_watcher_frozen_in_the_middle_comes_back_and_does_nothing_twice(apart);
    });
}

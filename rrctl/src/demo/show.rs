//! Agents at work on a stage, and what befalls them: one is killed while it holds a lock, the fleet is paused, and on etcd its
//! leader is killed and a host cut off. Owns the order of these, and the account of what the agents tell; the verdict is
//! `play`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep_until};

use super::ledger::Wrote;
use super::news::News;
use super::pause::{Pause, pause};
use super::place::Place;
use super::roles::{Role, SHARED, broken_off, writes};
use super::rules::{self, Heard};
use super::script::Script;
use super::stage::{Network, Stage};
use super::storm::{self, Cut};
use crate::exit::{Failure, Kind};

/// A pause comes when this part of the work is done.
const PAUSE_AFTER_PERCENT: usize = 40;
/// The one that will be killed holds its lock until somebody wants it, but not longer.
const HOLD_MAX: Duration = Duration::from_millis(1_500);
/// Lines of agents that wait to be looked at: an agent that is quicker waits.
const TOLD_MAX: usize = 64;

/// What is heard while agents work.
enum Told {
    Line(String, Value),
    Ended(String),
}

/// What befalls the fleet beside the agents' work, when it is over.
enum Befell {
    /// The request's id.
    Approved(String),
    Paused(Pause),
    LeaderKilled(usize),
    Cut(Cut),
}

/// An agent that runs.
struct Playing {
    child: Child,
    host: usize,
}

/// What an agent was denied, and when.
struct Denied {
    host: usize,
    at_unix_ms: u64,
}

pub(crate) struct Show {
    places: Vec<Place>,
    network: Option<Arc<Network>>,
    pub(crate) news: News,
    playing: BTreeMap<String, Playing>,
    /// On which host each agent is or was.
    host_of: BTreeMap<String, usize>,
    pub(crate) wrote: Vec<Wrote>,
    pub(crate) held_back: usize,
    pub(crate) rules: Heard,
    pub(crate) killed_holding: Option<Vec<String>>,
    pub(crate) pause: Option<Pause>,
    is_paused: bool,
    denied: Vec<Denied>,
    leader_killed: Option<usize>,
    cut_host: Option<usize>,
    cut: Option<Cut>,
    befalling: JoinSet<Result<Befell, Failure>>,
}

impl Show {
    pub(crate) fn new(stage: &Stage, news: News) -> Self {
        Self {
            places: stage.places.clone(),
            network: stage.network.clone(),
            news,
            playing: BTreeMap::new(),
            host_of: BTreeMap::new(),
            wrote: vec![],
            held_back: 0,
            rules: Heard::default(),
            killed_holding: None,
            pause: None,
            is_paused: false,
            denied: vec![],
            leader_killed: None,
            cut_host: None,
            cut: None,
            befalling: JoinSet::new(),
        }
    }

    /// All roles at once, spread over the hosts. Returns how long it took until the last was done.
    pub(crate) async fn parallel(&mut self, roles: &[Role], victim: usize) -> Result<Duration, Failure> {
        let (tell, mut told) = mpsc::channel(TOLD_MAX);
        let (first, rest) = broken_off(&roles[victim]);
        let doomed = roles[victim].name.clone();
        let doomed_host = victim % self.places.len();
        let expected: usize = roles.iter().map(|r| writes(&r.script)).sum();
        let start = Instant::now();
        self.news.restart();
        for (n, role) in roles.iter().enumerate() {
            let script = if role.name == doomed { &first } else { &role.script };
            self.enter(&role.name, n % self.places.len(), script, &tell)?;
        }
        let mut kill_at: Option<Deadline> = None;
        while !self.playing.is_empty() || !self.befalling.is_empty() {
            tokio::select! {
                Some(heard) = told.recv() => {
                    let wanted = kill_at.is_some() && wants_shared(&heard);
                    if wants_to_be_killed(&heard, &doomed) {
                        kill_at = Some(Deadline::now() + HOLD_MAX);
                    } else if wanted {
                        kill_at = Some(Deadline::now());
                    }
                    self.hear(heard).await?;
                }
                () = sleep_until(kill_at.unwrap_or_else(Deadline::now)), if kill_at.is_some() => {
                    kill_at = None;
                    self.kill(&doomed).await?;
                    self.enter(&format!("{doomed}-2"), doomed_host, &rest, &tell)?;
                }
                Some(befell) = self.befalling.join_next() => {
                    self.note(befell.map_err(|e| Failure::at("let something befall the fleet", &e))??)?;
                }
            }
            self.let_befall(expected)?;
        }
        Ok(start.elapsed())
    }

    fn enter(&mut self, name: &str, host: usize, script: &Script, tell: &mpsc::Sender<Told>) -> Result<(), Failure> {
        let mut child = self.places[host].agent(name, script)?;
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        self.playing.insert(name.to_owned(), Playing { child, host });
        self.host_of.insert(name.to_owned(), host);
        if let Some(lines) = lines {
            tokio::spawn(listen(name.to_owned(), lines, tell.clone()));
        }
        Ok(())
    }

    async fn hear(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Line(name, line) => {
                let host = self.host_of.get(&name).copied().unwrap_or(0);
                self.news.agent(&name, &line, (self.places.len() > 1).then_some(host + 1))?;
                let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                match line["what"].as_str() {
                    Some("wrote") => self.wrote.push(Wrote {
                        agent: name,
                        path: text("path"),
                        line: text("line"),
                        count: text("count"),
                        at_unix_ms: line["wrote_at"].as_u64().unwrap_or(0),
                    }),
                    Some("refused" | "standstill") if Some(host) == self.cut_host => {
                        self.denied.push(Denied { host, at_unix_ms: line["at"].as_u64().unwrap_or(0) });
                    }
                    Some("blocked") => self.rules.refused += 1,
                    Some("asked_anew") => self.rules.asked_anew += 1,
                    Some("asked") => {
                        let place = self.places[host].clone();
                        self.befalling.spawn(async { rules::approve(place).await.map(Befell::Approved) });
                    }
                    // While the fleet is paused everybody is refused everything: those are no collisions.
                    Some("refused") if !self.is_paused => self.held_back += 1,
                    _ => {}
                }
                Ok(())
            }
            Told::Ended(name) => self.leave(&name).await,
        }
    }

    /// An agent that ended by itself has done all of its script, or the show has failed.
    async fn leave(&mut self, name: &str) -> Result<(), Failure> {
        let Some(mut playing) = self.playing.remove(name) else { return Ok(()) };
        let status = playing.child.wait().await.map_err(|e| Failure::at("wait for an agent", &e))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(Kind::Failed, format!("agent {name} did not finish its work ({status})")))
    }

    /// Kills an agent while it holds a lock, which nobody gives back for it.
    async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        let Some(mut playing) = self.playing.remove(name) else { return Ok(()) };
        let pid = playing.child.id();
        let locks = self.places[playing.host].rrctl(&["locks"]).await?;
        let rows = locks["locks"].as_array().into_iter().flatten();
        let held = rows.filter(|l| l["pid"].as_u64() == pid.map(u64::from) && l["mode"] == "exclusive");
        let held: Vec<String> = held.filter_map(|l| l["lock"].as_str().map(str::to_owned)).collect();
        playing.child.kill().await.map_err(|e| Failure::at("kill an agent", &e))?;
        self.news.line("you", &format!("kill -9 {name}, which holds {}", held.join(", ")))?;
        self.killed_holding = Some(held);
        Ok(())
    }

    /// One thing at a time, each in its turn: the pause, the leader's death, the cut.
    fn let_befall(&mut self, expected: usize) -> Result<(), Failure> {
        let enough = self.wrote.len() * 100 >= expected * PAUSE_AFTER_PERCENT && self.killed_holding.is_some();
        if !self.befalling.is_empty() || !enough {
            return Ok(());
        }
        if self.pause.is_none() {
            self.is_paused = true;
            self.news.line("you", "rrctl pause-all")?;
            let place = self.places[0].clone();
            self.befalling.spawn(async { pause(place).await.map(Befell::Paused) });
            return Ok(());
        }
        let Some(network) = self.network.clone() else { return Ok(()) };
        if self.leader_killed.is_none() {
            self.befalling.spawn(async move { storm::kill_leader(&network).await.map(Befell::LeaderKilled) });
        } else if self.cut_host.is_none() && self.places.len() > 1 && !self.playing.is_empty() {
            self.begin_cut(network)?;
        }
        Ok(())
    }

    /// The host on which most agents are still at work.
    fn begin_cut(&mut self, network: Arc<Network>) -> Result<(), Failure> {
        let at_work = |host: &usize| self.playing.values().filter(|p| p.host == *host).count();
        let Some(host) = (0..self.places.len()).max_by_key(at_work) else { return Ok(()) };
        let there = self.playing.values().filter(|p| p.host == host);
        let pids: BTreeSet<u32> = there.filter_map(|p| p.child.id()).collect();
        let other = self.places[(host + 1) % self.places.len()].clone();
        self.news
            .line("you", &format!("cut host {} off from etcd, with {} agents at work on it", host + 1, pids.len()))?;
        self.cut_host = Some(host);
        self.befalling.spawn(async move { storm::cut(network, host, pids, other).await.map(Befell::Cut) });
        Ok(())
    }

    fn note(&mut self, befell: Befell) -> Result<(), Failure> {
        let text = match befell {
            Befell::Paused(pause) => {
                self.is_paused = false;
                let text = format!(
                    "rrctl resume; {} files were changed in {} ms of pause",
                    pause.files_changed, pause.lasted_ms
                );
                self.pause = Some(pause);
                text
            }
            Befell::Approved(id) => {
                self.rules.approvals += 1;
                format!("rrctl approve {id}")
            }
            Befell::LeaderKilled(member) => {
                self.leader_killed = Some(member);
                format!("kill -9 member {member} of etcd, its leader; another one leads")
            }
            Befell::Cut(cut) => {
                let text = format!("heal the cut after {} s: the fleet had given its agents up", cut.lasted.as_secs());
                self.cut = Some(cut);
                text
            }
        };
        self.news.line("you", &text)
    }

    pub(crate) const fn leaders_killed(&self) -> usize {
        if self.leader_killed.is_some() { 1 } else { 0 }
    }

    pub(crate) fn cut_seconds(&self) -> u64 {
        self.cut.as_ref().map_or(0, |cut| cut.lasted.as_secs())
    }

    /// What agents of the host were refused while it was cut off.
    pub(crate) fn denied_while_cut(&self) -> usize {
        let Some(cut) = &self.cut else { return 0 };
        self.denied.iter().filter(|d| Some(d.host) == self.cut_host && cut.covers(d.at_unix_ms)).count()
    }

    /// What agents of the host wrote after its sidecar had to know that it is cut off.
    pub(crate) fn writes_while_cut(&self) -> usize {
        let Some(cut) = &self.cut else { return 0 };
        let there = |w: &&Wrote| self.host_of.get(&w.agent).copied() == self.cut_host;
        self.wrote.iter().filter(there).filter(|w| cut.forbids(w.at_unix_ms)).count()
    }
}

fn wants_to_be_killed(heard: &Told, doomed: &str) -> bool {
    matches!(heard, Told::Line(name, line) if name == doomed && line["what"] == "holding")
}

fn wants_shared(heard: &Told) -> bool {
    matches!(heard, Told::Line(_, line) if line["what"] == "refused" && line["path"] == SHARED)
}

/// Passes on what an agent tells, and that it has ended.
async fn listen(name: String, mut lines: Lines<BufReader<ChildStdout>>, tell: mpsc::Sender<Told>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(value) = serde_json::from_str(&line) else { continue };
        if tell.send(Told::Line(name.clone(), value)).await.is_err() {
            return;
        }
    }
    // Nobody listens any more: the show is over.
    let _ = tell.send(Told::Ended(name)).await;
}

//! The show: all agents at once, one of them killed while it holds a lock, the fleet paused in the middle; then the same
//! scripts one after the other in a second repository. Owns the order of events and the count; what was lost is for
//! `ledger` to say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep, sleep_until};

use super::ledger::{Picture, Wrote, lost};
use super::news::News;
use super::roles::{Dice, FILES, Role, SHARED, broken_off, cast, writes};
use super::script::Script;
use super::stage::{Place, Stage};
use crate::exit::{Failure, Kind};

/// The pause is kept up this long: several times what an agent thinks.
const PAUSE: Duration = Duration::from_millis(600);
/// A pause comes when this part of the work is done.
const PAUSE_AFTER_PERCENT: usize = 40;
/// The one that will be killed holds its lock until somebody wants it, but not longer.
const HOLD_MAX: Duration = Duration::from_millis(1_500);
/// Lines of agents that wait to be looked at: an agent that is quicker waits.
const TOLD_MAX: usize = 64;
/// A run that takes longer than this is stuck.
const RUN_MAX: Duration = Duration::from_secs(180);

/// What is to be shown.
pub(crate) struct Plan {
    pub(crate) agents: usize,
    pub(crate) seed: u64,
    pub(crate) keep: bool,
    pub(crate) silent: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) agents: usize,
    pub(crate) seed: u64,
    pub(crate) writes: usize,
    pub(crate) held_back: usize,
    pub(crate) lost_updates: usize,
    /// One sentence for each.
    pub(crate) lost: Vec<String>,
    pub(crate) killed: usize,
    /// What the killed one held in that moment.
    pub(crate) killed_holding: Vec<String>,
    pub(crate) paused_ms: u64,
    pub(crate) writes_while_paused: usize,
    pub(crate) parallel_ms: u64,
    pub(crate) sequential_ms: u64,
    /// The folders that stay, with `--keep`.
    pub(crate) kept: Vec<String>,
}

/// Plays the whole show. Dropping this ends everything it has started.
pub(crate) async fn play(plan: &Plan) -> Result<Outcome, Failure> {
    let mut dice = Dice::new(plan.seed);
    let roles = cast(plan.agents, &mut dice);
    let victim = dice.pick(roles.len());
    let news = News::new(plan.silent);
    news.say(&format!("{} agents, one repository, seed {}: all at once", plan.agents, plan.seed))?;
    let stage = Stage::set("demo", &FILES, plan.keep).await?;
    let mut show = Show::new(&stage.place, news);
    let parallel = within(show.parallel(&roles, victim)).await?;
    let lost = lost(&stage.place.repo(), &show.wrote);
    let pause = show.pause.take().unwrap_or_default();
    let landed = show.wrote.iter().filter(|w| pause.covers(w.at_unix_ms)).count();
    let mut kept: Vec<String> = stage.kept().map(|p| p.display().to_string()).into_iter().collect();
    let Show { mut news, held_back, wrote, killed_holding, .. } = show;
    stage.strike().await;

    news.restart();
    news.say("\nThe same work by one agent after the other, in a second repository")?;
    let stage = Stage::set("demo-seq", &FILES, plan.keep).await?;
    let sequential = within(in_sequence(&stage.place, &roles, &mut news)).await?;
    kept.extend(stage.kept().map(|p| p.display().to_string()));
    stage.strike().await;
    Ok(Outcome {
        agents: plan.agents,
        seed: plan.seed,
        writes: wrote.len(),
        held_back,
        lost_updates: lost.len(),
        lost,
        killed: usize::from(killed_holding.is_some()),
        killed_holding: killed_holding.unwrap_or_default(),
        paused_ms: pause.lasted_ms,
        writes_while_paused: landed.max(pause.files_changed),
        parallel_ms: millis(parallel),
        sequential_ms: millis(sequential),
        kept,
    })
}

async fn within<T>(run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let stuck = |_| Failure::new(Kind::Failed, format!("the demo did not end within {} s", RUN_MAX.as_secs()));
    tokio::time::timeout(RUN_MAX, run).await.map_err(stuck)?
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The pause as it was.
#[derive(Clone, Debug, Default)]
struct Pause {
    /// All agents were known to be drained, until resuming was asked for.
    from_unix_ms: u64,
    until_unix_ms: u64,
    lasted_ms: u64,
    files_changed: usize,
}

impl Pause {
    fn covers(&self, unix_ms: u64) -> bool {
        (self.from_unix_ms + 1..self.until_unix_ms).contains(&unix_ms)
    }
}

/// What is heard while agents work.
enum Told {
    Line(String, Value),
    Ended(String),
}

struct Show {
    place: Place,
    news: News,
    agents: BTreeMap<String, Child>,
    wrote: Vec<Wrote>,
    held_back: usize,
    killed_holding: Option<Vec<String>>,
    pause: Option<Pause>,
    is_paused: bool,
}

impl Show {
    fn new(place: &Place, news: News) -> Self {
        let place = place.clone();
        let (agents, wrote) = (BTreeMap::new(), Vec::new());
        Self { place, news, agents, wrote, held_back: 0, killed_holding: None, pause: None, is_paused: false }
    }

    /// All roles at once. Returns how long it took until the last was done.
    async fn parallel(&mut self, roles: &[Role], victim: usize) -> Result<Duration, Failure> {
        let (tell, mut told) = mpsc::channel(TOLD_MAX);
        let (first, rest) = broken_off(&roles[victim]);
        let doomed = roles[victim].name.clone();
        let expected: usize = roles.iter().map(|r| writes(&r.script)).sum();
        let start = Instant::now();
        self.news.restart();
        for role in roles {
            let script = if role.name == doomed { &first } else { &role.script };
            self.enter(&role.name, script, &tell)?;
        }
        let mut kill_at: Option<Deadline> = None;
        let mut pausing = JoinSet::new();
        while !self.agents.is_empty() || !pausing.is_empty() {
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
                    self.enter(&format!("{doomed}-2"), &rest, &tell)?;
                }
                Some(paused) = pausing.join_next() => {
                    self.resumed(paused.map_err(|e| Failure::at("pause the fleet", &e))??)?;
                }
            }
            if self.is_time_to_pause(expected) {
                self.is_paused = true;
                self.news.line("you", "rrctl pause-all")?;
                pausing.spawn(pause(self.place.clone()));
            }
        }
        Ok(start.elapsed())
    }

    fn enter(&mut self, name: &str, script: &Script, tell: &mpsc::Sender<Told>) -> Result<(), Failure> {
        let mut child = self.place.agent(name, script)?;
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        self.agents.insert(name.to_owned(), child);
        if let Some(lines) = lines {
            tokio::spawn(listen(name.to_owned(), lines, tell.clone()));
        }
        Ok(())
    }

    async fn hear(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Line(name, line) => {
                self.news.agent(&name, &line)?;
                let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                match line["what"].as_str() {
                    Some("wrote") => self.wrote.push(Wrote {
                        agent: name,
                        path: text("path"),
                        line: text("line"),
                        count: text("count"),
                        at_unix_ms: line["wrote_at"].as_u64().unwrap_or(0),
                    }),
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
        let Some(mut child) = self.agents.remove(name) else { return Ok(()) };
        let status = child.wait().await.map_err(|e| Failure::at("wait for an agent", &e))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(Kind::Failed, format!("agent {name} did not finish its work ({status})")))
    }

    /// Kills an agent while it holds a lock, which nobody gives back for it.
    async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        let Some(mut child) = self.agents.remove(name) else { return Ok(()) };
        let pid = child.id();
        let locks = self.place.rrctl(&["locks"]).await?;
        let rows = locks["locks"].as_array().into_iter().flatten();
        let held = rows.filter(|l| l["pid"].as_u64() == pid.map(u64::from) && l["mode"] == "exclusive");
        let held: Vec<String> = held.filter_map(|l| l["lock"].as_str().map(str::to_owned)).collect();
        child.kill().await.map_err(|e| Failure::at("kill an agent", &e))?;
        self.news.line("you", &format!("kill -9 {name}, which holds {}", held.join(", ")))?;
        self.killed_holding = Some(held);
        Ok(())
    }

    fn is_time_to_pause(&self, expected: usize) -> bool {
        let enough = self.wrote.len() * 100 >= expected * PAUSE_AFTER_PERCENT;
        !self.is_paused && self.pause.is_none() && enough && self.killed_holding.is_some()
    }

    fn resumed(&mut self, pause: Pause) -> Result<(), Failure> {
        self.is_paused = false;
        let changed = pause.files_changed;
        let text = format!("rrctl resume; {changed} files were changed in {} ms of pause", pause.lasted_ms);
        self.pause = Some(pause);
        self.news.line("you", &text)
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

/// `rrctl pause-all --wait`, some time, `rrctl resume`: the files are compared over the time in which all were drained.
async fn pause(place: Place) -> Result<Pause, Failure> {
    let look = || Picture::of(&place.repo()).map_err(|e| Failure::at("look at the files", &e));
    let paused = place.rrctl(&["pause-all", "--reason", "demo", "--wait", "20"]).await?;
    let (from_unix_ms, start, before) = (rr_runtime::clock::unix_ms(), Instant::now(), look()?);
    sleep(PAUSE).await;
    let files_changed = look()?.changed_since(&before);
    let until_unix_ms = rr_runtime::clock::unix_ms();
    place.rrctl(&["resume", "--epoch", &paused["epoch"].to_string()]).await?;
    Ok(Pause { from_unix_ms, until_unix_ms, lasted_ms: millis(start.elapsed()), files_changed })
}

/// One after the other, each with its whole script and the same time to think.
async fn in_sequence(place: &Place, roles: &[Role], news: &mut News) -> Result<Duration, Failure> {
    let start = Instant::now();
    for role in roles {
        let mut child = place.agent(&role.name, &role.script)?;
        if let Some(out) = child.stdout.take() {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(_)) = lines.next_line().await {}
        }
        let status = child.wait().await.map_err(|e| Failure::at("wait for an agent", &e))?;
        if !status.success() {
            return Err(Failure::new(Kind::Failed, format!("agent {} alone failed ({status})", role.name)));
        }
        news.line(&role.name, "is done")?;
    }
    Ok(start.elapsed())
}

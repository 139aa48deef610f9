//! The agents at work: all write what they have to, then commit it in a given order, each commit a call through the real hook. What
//! is refused while the fleet is paused is tried again until it passes. Owns the agents' processes; what the watcher does
//! meanwhile is `follow`'s to tell.

use std::process::ExitStatus;
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::sleep;

use super::follow::Course;
use super::shop::{AGENTS, DREAMER, Piece, unfinished};
use crate::demo::news::News;
use crate::demo::place::Place;
use crate::exit::{Failure, Kind};
use crate::watch::cut;

/// A refused agent looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const REASON_CHARS: usize = 90;

/// An agent's process, told what to do line by line.
pub(super) struct Steered {
    name: &'static str,
    /// Ends with this value.
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

/// A call as it went.
enum Went {
    Made(String),
    Refused(String),
}

impl Steered {
    fn enter(place: &Place, name: &'static str) -> Result<Self, Failure> {
        let mut child = place.steered_agent(name)?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| Failure::new(Kind::Failed, "an agent has no output"))?;
        Ok(Self { name, child, orders, answers: BufReader::new(answers).lines() })
    }

    async fn ask(&mut self, order: &Value) -> Result<Value, Failure> {
        let failed = |e| Failure::at("tell an agent what to do", &e);
        if let Some(orders) = &mut self.orders {
            orders.write_all(format!("{order}\n").as_bytes()).await.map_err(failed)?;
        }
        let answer = self.answers.next_line().await.map_err(failed)?;
        let gone = || Failure::new(Kind::Failed, format!("agent {} ended in the middle of its work", self.name));
        let answer: Value = serde_json::from_str(&answer.ok_or_else(gone)?)
            .map_err(|e| Failure::at("understand an agent's answer", &e))?;
        match answer["error"].as_str() {
            None => Ok(answer),
            Some(error) => Err(Failure::new(Kind::Failed, format!("agent {} fails", self.name)).because(error)),
        }
    }

    async fn event(&mut self, name: &str, fields: Value) -> Result<(), Failure> {
        self.ask(&json!({"event": name, "fields": fields})).await.map(drop)
    }

    async fn tool(&mut self, tool: &str, input: Value) -> Result<Went, Failure> {
        let answer = self.ask(&json!({"tool": {"tool": tool, "input": input}})).await?;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        if answer["decision"] != "pass" {
            if answer["stop"] == true {
                self.begin_again().await?;
            }
            return Ok(Went::Refused(text("reason")));
        }
        if answer["ok"] == true {
            return Ok(Went::Made(text("output")));
        }
        Err(Failure::new(Kind::Failed, format!("agent {}: {tool} fails", self.name)).because(text("output")))
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.event("Stop", json!({"stop_hook_active": false, "background_tasks": []})).await
    }

    /// An agent that was stopped goes on when its person says so.
    async fn begin_again(&mut self) -> Result<(), Failure> {
        self.stop().await?;
        self.event("UserPromptSubmit", json!({"prompt": "go on"})).await
    }

    async fn leave(mut self) -> Result<ExitStatus, Failure> {
        self.stop().await?;
        self.event("SessionEnd", json!({"reason": "other"})).await?;
        self.orders = None;
        self.child.wait().await.map_err(|e| Failure::at("wait for an agent", &e))
    }
}

/// Starts all agents.
pub(super) async fn enter(place: &Place, news: &mut News) -> Result<Vec<Steered>, Failure> {
    let mut agents = Vec::new();
    for (name, prompt) in AGENTS {
        let mut agent = Steered::enter(place, name)?;
        agent.event("SessionStart", json!({"source": "startup"})).await?;
        agent.event("UserPromptSubmit", json!({"prompt": prompt})).await?;
        news.agent(name, &json!({"what": "started", "pid": agent.child.id(), "prompt": prompt}), None)?;
        agents.push(agent);
    }
    Ok(agents)
}

/// A commit that was made.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) commit: String,
    pub(super) at_unix_ms: u64,
}

pub(super) struct Team<'a> {
    agents: Vec<Steered>,
    news: &'a News,
    /// Calls that were let through while everything must stand still.
    pub(super) writes_while_paused: usize,
}

impl<'a> Team<'a> {
    pub(super) fn of(agents: Vec<Steered>, news: &'a News) -> Self {
        Self { agents, news, writes_while_paused: 0 }
    }

    fn agent(&mut self, name: &str) -> Result<&mut Steered, Failure> {
        let nobody = || Failure::new(Kind::Failed, format!("there is no agent {name}"));
        self.agents.iter_mut().find(|agent| agent.name == name).ok_or_else(nobody)
    }

    /// Everybody writes what they have to, all at once.
    pub(super) async fn write(&mut self, pieces: &[Piece]) -> Result<(), Failure> {
        let news = self.news;
        let work = self.agents.iter_mut().map(|agent| async move {
            let mine = pieces.iter().filter(|piece| piece.agent == agent.name);
            let mut texts: Vec<(&str, String)> = mine.map(|piece| (piece.path, piece.text.clone())).collect();
            if agent.name == DREAMER {
                texts.extend(unfinished());
            }
            for (path, text) in texts {
                change(agent, path, &text).await?;
                news.line(agent.name, &format!("writes {path}"))?;
            }
            Ok(())
        });
        try_join_all(work).await.map(drop)
    }

    /// Commits the pieces in their order. `landed` is told of each.
    pub(super) async fn commit(&mut self, pieces: &[Piece], mut landed: impl FnMut(Landed)) -> Result<(), Failure> {
        for (n, piece) in pieces.iter().enumerate() {
            let count = format!("{} of {}", n + 1, pieces.len());
            let news = self.news;
            let commit = commit(self.agent(piece.agent)?, piece, news).await?;
            landed(Landed { commit: commit.clone(), at_unix_ms: rr_runtime::clock::unix_ms() });
            news.line(
                piece.agent,
                &format!("commits {}: {} ({count})", commit.get(..7).unwrap_or(&commit), piece.title),
            )?;
        }
        Ok(())
    }

    /// Everybody wants to go on while the fleet is paused, and again once it is not. Returns who has gone on.
    pub(super) async fn go_on(&mut self, mut course: watch::Receiver<Course>) -> Result<Vec<&'static str>, Failure> {
        let _ = course.wait_for(|course| *course != Course::Running).await;
        if *course.borrow() == Course::Paused {
            for agent in &mut self.agents {
                match next(agent).await? {
                    Went::Refused(reason) => self.news.line(agent.name, &held_back(&reason))?,
                    // The pause may be over by now: then it may.
                    Went::Made(_) if *course.borrow() == Course::Paused => {
                        self.writes_while_paused += 1;
                    }
                    Went::Made(_) => {}
                }
            }
        }
        let _ = course.wait_for(|course| *course == Course::Over).await;
        let mut gone_on = Vec::new();
        for agent in &mut self.agents {
            match next(agent).await? {
                Went::Made(_) => {
                    self.news.line(agent.name, "goes on")?;
                    gone_on.push(agent.name);
                }
                Went::Refused(reason) => self.news.line(agent.name, &held_back(&reason))?,
            }
        }
        Ok(gone_on)
    }

    pub(super) async fn leave(self) -> Result<(), Failure> {
        for agent in self.agents {
            let name = agent.name;
            let status = agent.leave().await?;
            if !status.success() {
                return Err(Failure::new(Kind::Failed, format!("agent {name} did not end well ({status})")));
            }
        }
        Ok(())
    }
}

/// Reads a file and writes it anew, as an agent does.
async fn change(agent: &mut Steered, path: &str, text: &str) -> Result<(), Failure> {
    if agent_knows(path) {
        until_made(agent, "Read", json!({"file_path": path}), None).await?;
    }
    until_made(agent, "Write", json!({"file_path": path, "content": text}), None).await.map(drop)
}

fn agent_knows(path: &str) -> bool {
    !super::shop::before(path).is_empty()
}

async fn commit(agent: &mut Steered, piece: &Piece, news: &News) -> Result<String, Failure> {
    let (name, path, title) = (piece.agent, piece.path, piece.title);
    let author = format!("{name} <{name}@example.invalid>");
    let command =
        format!("git add {path} && git commit -q --author='{author}' -m '{title}' -- {path} && git rev-parse HEAD");
    let made = until_made(agent, "Bash", json!({"command": command}), Some(news)).await?;
    Ok(made.trim().to_owned())
}

/// The next work of an agent, on a file of its own.
async fn next(agent: &mut Steered) -> Result<Went, Failure> {
    let path = next_path(agent.name);
    agent.tool("Write", json!({"file_path": path, "content": next_text(agent.name)})).await
}

pub(super) fn next_path(name: &str) -> String {
    format!("next/{name}.md")
}

pub(super) fn next_text(name: &str) -> String {
    format!("what {name} does next\n")
}

/// Makes a call as often as it takes: what holds it back ends. Told once.
async fn until_made(agent: &mut Steered, tool: &str, input: Value, news: Option<&News>) -> Result<String, Failure> {
    let mut told = false;
    loop {
        match agent.tool(tool, input.clone()).await? {
            Went::Made(output) => return Ok(output),
            Went::Refused(reason) => {
                if let Some(news) = news.filter(|_| !told) {
                    news.line(agent.name, &held_back(&reason))?;
                }
                told = true;
                sleep(LOOK_AGAIN).await;
            }
        }
    }
}

fn held_back(reason: &str) -> String {
    format!("HELD BACK: {}", cut(reason.split(". ").next().unwrap_or_default(), REASON_CHARS))
}

//! The whole evening: all agents at once, and what befalls them (`show`); then, on one host, the same scripts one after the
//! other in a second repository. Owns the plan and the outcome; what was lost is for `ledger` to say.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::ledger::lost;
use super::news::News;
use super::place::Place;
use super::roles::{Dice, FILES, Role, cast};
use super::rules::{self, APPROVED, REFUSED};
use super::show::Show;
use super::stage::{Base, Scenery, Stage};
use super::undo::{Undone, undo};
use crate::exit::{Failure, Kind};

/// A run that takes longer than this is stuck.
const RUN_MAX: Duration = Duration::from_secs(180);

/// What is to be shown.
pub(crate) struct Plan {
    pub(crate) agents: usize,
    pub(crate) seed: u64,
    pub(crate) base: Base,
    pub(crate) keep: bool,
    pub(crate) silent: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) agents: usize,
    pub(crate) hosts: usize,
    pub(crate) store: &'static str,
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
    /// Leaders of etcd.
    pub(crate) leader_killed: usize,
    pub(crate) cut_seconds: u64,
    pub(crate) denied_while_cut: usize,
    pub(crate) writes_while_cut: usize,
    /// On one host only.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) guarded: Option<Guarded>,
    pub(crate) parallel_ms: u64,
    /// On one host only: elsewhere the wait for a lease is most of the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequential_ms: Option<u64>,
    /// The folders that stay, with `--keep`.
    pub(crate) kept: Vec<String>,
}

/// What the policy, a person and a rollback did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Guarded {
    pub(crate) refused_by_policy: usize,
    /// Refused commands that ran all the same.
    pub(crate) refused_runs: usize,
    pub(crate) approvals: usize,
    /// How often the command ran that was approved once.
    pub(crate) approved_runs: usize,
    /// After that the same call had to ask again.
    pub(crate) asked_anew: usize,
    pub(crate) replayed_calls: usize,
    pub(crate) rolled_back_lines: usize,
    pub(crate) others_lines_lost: usize,
    /// One sentence for each.
    pub(crate) others_lost: Vec<String>,
}

/// Plays the whole show. Dropping this ends everything it has started.
pub(crate) async fn play(plan: &Plan) -> Result<Outcome, Failure> {
    let mut dice = Dice::new(plan.seed);
    let roles = cast(plan.agents, &mut dice);
    let victim = dice.pick(roles.len());
    let news = News::new(plan.silent);
    news.say(&opening(plan))?;
    let stage = Stage::set(&scenery("demo"), &plan.base, plan.keep).await?;
    let mut show = Show::new(&stage, news);
    let mut at_once = roles.clone();
    if plan.base == Base::Embedded {
        rules::deal(&mut at_once, victim);
    }
    let parallel = within(show.parallel(&at_once, victim)).await?;
    let mut outcome = account(plan, &show, &stage, parallel);
    if plan.base == Base::Embedded {
        show.news.say("\nWhat one agent did, and its last steps taken out again")?;
        let undone = within(undo(stage.first(), &show.wrote, &show.news)).await?;
        outcome.guarded = Some(guarded(&show, &stage, undone));
    }
    let mut news = show.news;
    stage.strike().await;
    if plan.base == Base::Embedded {
        outcome.sequential_ms = Some(millis(alone(plan, &roles, &mut news, &mut outcome.kept).await?));
    }
    Ok(outcome)
}

fn opening(plan: &Plan) -> String {
    let hosts = match plan.base.hosts() {
        1 => "one repository".to_owned(),
        hosts => format!("{hosts} hosts, one work tree"),
    };
    format!("{} agents, {hosts}, seed {}: all at once", plan.agents, plan.seed)
}

fn account(plan: &Plan, show: &Show, stage: &Stage, parallel: Duration) -> Outcome {
    let lost = lost(stage.first().repo(), &show.wrote);
    let pause = show.pause.clone().unwrap_or_default();
    let landed = show.wrote.iter().filter(|w| pause.covers(w.at_unix_ms)).count();
    Outcome {
        agents: plan.agents,
        hosts: plan.base.hosts(),
        store: plan.base.name(),
        seed: plan.seed,
        writes: show.wrote.len(),
        held_back: show.held_back,
        lost_updates: lost.len(),
        lost,
        killed: usize::from(show.killed_holding.is_some()),
        killed_holding: show.killed_holding.clone().unwrap_or_default(),
        paused_ms: pause.lasted_ms,
        writes_while_paused: landed.max(pause.files_changed),
        leader_killed: show.leaders_killed(),
        cut_seconds: show.cut_seconds(),
        denied_while_cut: show.denied_while_cut(),
        writes_while_cut: show.writes_while_cut(),
        guarded: None,
        parallel_ms: millis(parallel),
        sequential_ms: None,
        kept: stage.kept().map(|p| p.display().to_string()).into_iter().collect(),
    }
}

fn guarded(show: &Show, stage: &Stage, undone: Undone) -> Guarded {
    let place = stage.first();
    Guarded {
        refused_by_policy: show.rules.refused,
        refused_runs: rules::runs(&place.tools(), REFUSED),
        approvals: show.rules.approvals,
        approved_runs: rules::runs(&place.tools(), APPROVED),
        asked_anew: show.rules.asked_anew,
        replayed_calls: undone.replayed,
        rolled_back_lines: undone.lines,
        others_lines_lost: undone.lost.len(),
        others_lost: undone.lost,
    }
}

/// The same work by one agent after the other, for the time.
async fn alone(plan: &Plan, roles: &[Role], news: &mut News, kept: &mut Vec<String>) -> Result<Duration, Failure> {
    news.restart();
    news.say("\nThe same work by one agent after the other, in a second repository")?;
    let stage = Stage::set(&scenery("demo-seq"), &plan.base, plan.keep).await?;
    let sequential = within(in_sequence(stage.first(), roles, news)).await?;
    kept.extend(stage.kept().map(|p| p.display().to_string()));
    stage.strike().await;
    Ok(sequential)
}

fn scenery(title: &'static str) -> Scenery<'static> {
    Scenery { title, files: &FILES, programs: &[] }
}

pub(crate) async fn within<T>(run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let stuck = |_| Failure::new(Kind::Failed, format!("the demo did not end within {} s", RUN_MAX.as_secs()));
    tokio::time::timeout(RUN_MAX, run).await.map_err(stuck)?
}

/// By Ctrl-C, or as a terminal ends what runs in it.
pub(crate) fn was_ended() -> Failure {
    Failure::new(Kind::Failed, "the demo was ended")
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
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

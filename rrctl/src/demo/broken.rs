//! `rrctl demo --break`: four agents commit to one branch, one of them breaks the others' build, and the watcher of the real daemon
//! pauses the fleet, finds out which commit it was, proves it, reverts it, and lets the fleet go on. Owns the plan of that
//! evening and its outcome; stage, agents and news are those of `play`. Next: `team` works, `follow` looks, `losses` counts.

mod follow;
mod losses;
mod shop;
mod team;
mod toolchain;

use std::pin::pin;

use serde::Serialize;
use tokio::sync::watch;

pub(crate) use self::follow::seconds;
use self::follow::{Course, Follower, Seen};
use self::losses::{Losses, Made};
use self::shop::{AGENTS, FILES, Piece, pieces};
use self::team::{Landed, Team};
use super::news::News;
use super::place::Place;
use super::play::{was_ended, within};
use super::roles::Dice;
use super::stage::{Base, Scenery, Stage};
use crate::exit::Failure;

pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) keep: bool,
    pub(crate) silent: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) agents: usize,
    pub(crate) seed: u64,
    pub(crate) commits: usize,
    pub(crate) culprit_expected: String,
    pub(crate) culprits_found: Vec<String>,
    /// Commits that the search went through.
    pub(crate) suspects: usize,
    pub(crate) builds: usize,
    /// Since the broken commit landed.
    pub(crate) time_to_pause_ms: Option<u64>,
    pub(crate) time_to_proof_ms: Option<u64>,
    pub(crate) paused_ms: Option<u64>,
    pub(crate) writes_while_paused: usize,
    /// The branch and the work tree are without it.
    pub(crate) reverted: bool,
    pub(crate) revert_commit: Option<String>,
    pub(crate) kept_branch: Option<String>,
    pub(crate) others_commits_lost: usize,
    pub(crate) uncommitted_bytes_lost: usize,
    /// One sentence for each.
    pub(crate) lost: Vec<String>,
    /// The fleet runs again, and every agent's next call was let through.
    pub(crate) resumed: bool,
    /// Why a person has to decide, if so.
    pub(crate) escalated: Option<String>,
    /// The folder that stays, with `--keep`.
    pub(crate) kept: Vec<String>,
}

/// Plays the whole show, or ends it when it is `ended`. Either way the daemon ends in order: killed in the middle of a check, it
/// would leave the check behind.
pub(crate) async fn play(plan: &Plan, ended: impl Future<Output = ()>) -> Result<Outcome, Failure> {
    let programs = [toolchain::folder().await?];
    let (pieces, at) = pieces(&mut Dice::new(plan.seed));
    let mut news = News::new(plan.silent);
    news.say(&format!("{} agents, one branch, seed {}: one of them breaks the build", AGENTS.len(), plan.seed))?;
    let scenery = Scenery { title: "break", files: &FILES, programs: &programs };
    let mut ended = pin!(ended);
    let stage = tokio::select! {
        stage = Stage::set(&scenery, &Base::Embedded, plan.keep) => stage?,
        () = &mut ended => return Err(was_ended()),
    };
    let played = tokio::select! {
        played = within(show(stage.first(), &mut news, &pieces)) => played,
        () = &mut ended => Err(was_ended()),
    };
    let outcome = match &played {
        Ok(played) => account(plan, &stage, &pieces, at, played).await,
        Err(failure) => Err(failure.clone()),
    };
    stage.strike().await;
    outcome
}

/// What there was to see and to do.
struct Played {
    /// In the order of the pieces.
    landed: Vec<Landed>,
    seen: Seen,
    /// Agents whose next call was let through afterwards.
    gone_on: Vec<&'static str>,
    writes_while_paused: usize,
}

async fn show(place: &Place, news: &mut News, pieces: &[Piece]) -> Result<Played, Failure> {
    news.restart();
    let agents = team::enter(place, news).await?;
    let mut team = Team::of(agents, news);
    let mut follower = Follower::at(place, news).await?;
    let head = place.git(&["rev-parse", "main"]).await?;
    let (written, green) = tokio::join!(team.write(pieces), follower.until_green(head.trim()));
    written.and(green)?;
    let (course, stands) = watch::channel(Course::Running);
    let mut landed = Vec::new();
    let work = async {
        team.commit(pieces, |one| landed.push(one)).await?;
        team.go_on(stands).await
    };
    let (gone_on, seen) = tokio::try_join!(work, follower.follow(&course))?;
    let writes_while_paused = team.writes_while_paused;
    team.leave().await?;
    Ok(Played { landed, seen, gone_on, writes_while_paused })
}

async fn account(plan: &Plan, stage: &Stage, pieces: &[Piece], at: usize, played: &Played) -> Result<Outcome, Failure> {
    let (place, Played { landed, seen, gone_on, .. }) = (stage.first(), played);
    let incident = &seen.incident;
    let broken = &landed[at];
    let made = pieces.iter().zip(landed).map(|(piece, landed)| (piece, landed.commit.as_str()));
    let others: Vec<Made<'_>> = made.filter(|(_, commit)| *commit != broken.commit).collect();
    let Losses { commits, files, bytes } = losses::count(place, &others, gone_on).await?;
    let guilty = |at: &u32| Some(incident.suspects.get(usize::try_from(*at).ok()?)?.commit.clone());
    let revert_commit = incident.revert.as_ref().map(|r| r.commit.clone()).filter(|commit| !commit.is_empty());
    let since = |then: Option<u64>| then.map(|then| then.saturating_sub(broken.at_unix_ms));
    let pause = seen.paused_at_unix_ms.zip(seen.resumed_at_unix_ms);
    Ok(Outcome {
        agents: AGENTS.len(),
        seed: plan.seed,
        commits: landed.len(),
        culprit_expected: broken.commit.clone(),
        culprits_found: incident.culprits.iter().filter_map(guilty).collect(),
        suspects: incident.suspects.len(),
        builds: incident.builds.len(),
        time_to_pause_ms: since(seen.paused_at_unix_ms),
        time_to_proof_ms: since(seen.proven_at_unix_ms),
        paused_ms: pause.map(|(from, until)| until.saturating_sub(from)),
        writes_while_paused: played.writes_while_paused,
        reverted: match &revert_commit {
            Some(by) => losses::is_out(place, &pieces[at], by).await?,
            None => false,
        },
        revert_commit,
        kept_branch: (!incident.kept.is_empty()).then(|| incident.kept.clone()),
        others_commits_lost: commits.len(),
        uncommitted_bytes_lost: bytes,
        lost: commits.into_iter().chain(files).collect(),
        resumed: seen.resumed_at_unix_ms.is_some() && gone_on.len() == AGENTS.len(),
        escalated: (!incident.escalated.is_empty()).then(|| incident.escalated.clone()),
        kept: stage.kept().map(|p| p.display().to_string()).into_iter().collect(),
    })
}

//! `rrctl health`: whether the branches that everybody builds on are whole, how that is known, and a check of them now.

use std::path::Path;
use std::time::Duration;

use rr_git::Worktree;
use rr_proto::v1;
use rr_proto::v1::trust_plan_reply::Outcome;
use rr_runtime::config::{REPO_FILE, RepoConfig};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::table::plain;
use crate::watch::health::{line_view, run_view, runs, show, state, view};
use crate::watch::{incident, only_a_person};

/// A verdict that just came is seen within this.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest check that a team runs before a merge, and room for its turn in the queue.
const WAIT_SECS_DEFAULT: u64 = 30 * 60;
/// What fits a screen.
const RUNS_DEFAULT: u32 = 20;
/// Digits of a hash that cannot be typed by chance.
const HASH_DIGITS_MIN: usize = 8;

/// Show whether the branches that everybody builds on are whole, and each check with where its command comes from
///
/// A check is believed after it passed twice on the branch. Where its command has changed since, a person says with
/// `rrctl health trust` that the new one may be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Run(Run),
    History(History),
    Trust(Trust),
}

/// Ask for a check of the branch as it stands now, and wait for the answer
///
/// Of the repository of this folder. Ends with 6 if the branch is red.
#[derive(Debug, clap::Args)]
struct Run {
    /// Wait at most this many seconds for the answer; 0: do not wait
    #[arg(long, value_name = "SECS", default_value_t = WAIT_SECS_DEFAULT)]
    wait: u64,
}

/// List the last runs of checks, the newest first
#[derive(Debug, clap::Args)]
struct History {
    /// How many
    #[arg(long, value_name = "N", default_value_t = RUNS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Put the checks in force that `rrctl health` shows as found or written since
#[derive(Debug, clap::Args)]
struct Trust {
    /// Their hash, as `rrctl health` shows it, or the begin of it: eight digits at least
    hash: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    match &args.what {
        None => {
            let reply = Door::to_look(&hand.dirs).await?.health().await?;
            hand.answer(&view(&reply), || show(&reply, out::columns()))
        }
        Some(What::Run(args)) => run_now(args, hand).await,
        Some(What::History(args)) => history(args, hand).await,
        Some(What::Trust(args)) => trust(args, hand).await,
    }
}

async fn history(args: &History, hand: &Hand) -> Result<(), Failure> {
    let request = v1::HealthHistoryRequest { repo: String::new(), limit: args.limit };
    let reply = Door::to_look(&hand.dirs).await?.health_history(request).await?;
    let views: Vec<_> = reply.runs.iter().map(run_view).collect();
    hand.answer(&json!({ "runs": views, "now_unix_ms": reply.now_unix_ms }), || runs(&reply, out::columns()))
}

async fn trust(args: &Trust, hand: &Hand) -> Result<(), Failure> {
    only_a_person("say that checks may be trusted")?;
    let mut door = Door::to_look(&hand.dirs).await?;
    let health = door.health().await?;
    let plan = pick(&health.plans, &args.hash)?;
    let (repo, hash) = (plan.repo.clone(), plan.hash.clone());
    let request = v1::TrustPlanRequest { repo: repo.clone(), hash: hash.clone(), who: hand.who() };
    match door.trust_plan(request).await?.outcome {
        Some(Outcome::Trusted(_)) => {}
        Some(Outcome::ChangedHash(_)) => {
            return Err(
                Failure::new(Kind::Refused, "other checks are proposed since these were shown").hint("rrctl health")
            );
        }
        Some(Outcome::Unknown(_)) | None => {
            return Err(
                Failure::new(Kind::NotFound, "nothing is proposed for that repository any more").hint("rrctl health")
            );
        }
    }
    hand.answer(&json!({ "repo": repo, "hash": hash, "trusted": true }), || {
        "They are in force as soon as whoever leads the watch has seen it; rrctl health shows them then.\n".to_owned()
    })
}

fn pick<'a>(plans: &'a [v1::Plan], wanted: &str) -> Result<&'a v1::Plan, Failure> {
    if wanted.len() < HASH_DIGITS_MIN {
        let what = format!("{wanted:?} is too short for the hash of checks");
        return Err(Failure::new(Kind::NotFound, what).hint(format!("name at least {HASH_DIGITS_MIN} digits of it")));
    }
    let begin = wanted.to_lowercase();
    let found: Vec<&v1::Plan> = plans.iter().filter(|plan| plan.hash.starts_with(&begin)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(Kind::NotFound, format!("no proposed checks have the hash {wanted}"))
            .because("they are in force, other ones by now, or were never found")
            .hint("rrctl health")),
        many => {
            let repos: Vec<String> = many.iter().map(|plan| plain(&plan.repo)).collect();
            let what = format!("the checks of {} repositories have a hash that begins with {wanted}", many.len());
            Err(Failure::new(Kind::NotFound, what).because(repos.join("\n")).hint("name more digits of it"))
        }
    }
}

async fn run_now(args: &Run, hand: &Hand) -> Result<(), Failure> {
    only_a_person("ask for a check of the branch")?;
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let mut door = Door::to_look(&hand.dirs).await?;
    let before = door.health().await?;
    let repo = repo_here(&here).map_or_else(|| only_one(&before), Ok)?;
    let reply = door.run_health(v1::RunHealthRequest { repo: repo.clone(), who: hand.who() }).await?;
    if !hand.wants_json() {
        let first = if reply.already { "It was asked for before; " } else { "Asked; " };
        out::text(&format!("{first}whoever leads the watch begins when a place is free.\n"))?;
    }
    if args.wait == 0 {
        return if hand.wants_json() {
            out::json(&json!({ "repo": repo, "already": reply.already, "lines": [] }))
        } else {
            Ok(())
        };
    }
    let answer = wait(&mut door, &before, &repo, Duration::from_secs(args.wait)).await?;
    let views: Vec<_> = answer.iter().map(line_view).collect();
    hand.answer(&json!({ "repo": repo, "already": reply.already, "lines": views }), || {
        answer
            .iter()
            .fold(String::new(), |text, l| text + &format!("{}: {}\n", incident::line(l.line.as_ref()), state(l)))
    })?;
    if answer.iter().all(|line| line.red.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(Kind::Findings, "the branch is red").told())
}

/// The repository of a folder, as the fleet names it.
fn repo_here(here: &Path) -> Option<String> {
    let found = Worktree::discover(here).ok().flatten()?;
    let text = std::fs::read_to_string(found.root.join(REPO_FILE)).ok();
    let configured = text.and_then(|text| RepoConfig::parse(&text, Path::new(REPO_FILE)).ok()?.repo);
    Some(found.repo_id(configured.as_deref()).to_string())
}

/// Outside of any repository only one can be meant.
fn only_one(health: &v1::HealthReply) -> Result<String, Failure> {
    let lines = health.lines.iter().filter_map(|l| Some(l.line.as_ref()?.repo.clone()));
    let mut repos: Vec<String> = lines.chain(health.plans.iter().map(|plan| plan.repo.clone())).collect();
    repos.sort();
    repos.dedup();
    match repos.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Failure::new(Kind::NotFound, "this folder is in no repository").hint("go to the one that is meant")),
    }
}

async fn wait(
    door: &mut Door,
    before: &v1::HealthReply,
    repo: &str,
    at_most: Duration,
) -> Result<Vec<v1::LineHealth>, Failure> {
    let until = Instant::now() + at_most;
    loop {
        let now = door.health().await?;
        let answer = answered(before, &now, repo);
        if !answer.is_empty() {
            return Ok(answer);
        }
        if Instant::now() >= until {
            let begun = !now.asked.iter().any(|asked| asked == repo);
            let cause = if begun { "it was begun with and has no answer yet" } else { "no watcher has begun with it" };
            return Err(Failure::new(Kind::Failed, format!("no answer within {} s", at_most.as_secs()))
                .because(cause)
                .hint("rrctl health history, rrctl doctor"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The repository's branches that were judged since, once the request was taken up.
fn answered(before: &v1::HealthReply, now: &v1::HealthReply, repo: &str) -> Vec<v1::LineHealth> {
    if now.asked.iter().any(|asked| asked == repo) {
        return Vec::new();
    }
    let is_judged = |l: &v1::LineHealth| !l.red.is_empty() || (!l.green.is_empty() && l.green == l.tip);
    let is_new = |l: &v1::LineHealth| {
        let earlier = before.lines.iter().find(|earlier| earlier.line == l.line);
        earlier.is_none_or(|earlier| earlier.at_unix_ms != l.at_unix_ms)
    };
    let is_meant = |l: &v1::LineHealth| l.line.as_ref().is_some_and(|line| line.repo == repo);
    now.lines.iter().filter(|l| is_meant(l) && is_new(l) && is_judged(l)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::health::tests::health;

    const REPO: &str = "0123456789abcdef";

    #[test]
    fn an_answer_is_a_later_verdict_after_the_request_was_taken_up() {
        let (before, mut now) = (health(), health());
        assert!(answered(&before, &now, REPO).is_empty(), "nothing has changed");
        now.lines[0].at_unix_ms += 1;
        now.asked = vec![REPO.into()];
        assert!(answered(&before, &now, REPO).is_empty(), "that was another look");
        now.asked.clear();
        assert_eq!(answered(&before, &now, REPO).len(), 1);
        assert!(answered(&before, &now, "fedcba9876543210").is_empty(), "of another repository");
        now.lines[0].tip = "b".repeat(40);
        assert!(answered(&before, &now, REPO).is_empty(), "the tip is still being checked");
        now.lines[0].red = "b".repeat(40);
        assert_eq!(answered(&before, &now, REPO)[0].red, "b".repeat(40));
    }

    #[test]
    fn checks_are_trusted_by_a_hash_that_was_looked_at() {
        let plans = health().plans;
        assert!(pick(&plans, &"9".repeat(8)).is_ok());
        assert!(pick(&plans, "9999999").expect_err("short").text().contains("at least 8 digits"));
        assert!(pick(&plans, "88888888").expect_err("none").text().contains("rrctl health"));
        let two = [plans[0].clone(), plans[0].clone()];
        assert!(pick(&two, "99999999").expect_err("two").text().contains("2 repositories"));
    }

    #[test]
    fn outside_of_a_repository_only_one_can_be_meant() {
        assert_eq!(only_one(&health()), Ok(REPO.to_owned()));
        let mut two = health();
        two.plans[0].repo = "fedcba9876543210".into();
        assert_eq!(only_one(&two).expect_err("two").kind, Kind::NotFound);
        assert_eq!(only_one(&v1::HealthReply::default()).expect_err("none").kind, Kind::NotFound);
    }
}

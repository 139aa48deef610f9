//! `rrctl publish`: what the publish gate would say, and a person's word for commits that it refuses.

use rr_git::{Commit, History};
use serde_json::json;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::publish::{self, Pusher};

/// Check commits before they are published, or vouch for them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say whether commits may be published: those of HEAD that no remote has, if none are named
    Check {
        /// Commits or ranges, as git names them
        commits: Vec<String>,
    },
    /// Answer for commits that the gate refuses: they may be published then
    Vouch {
        /// Commits or ranges, as git names them
        #[arg(required = true)]
        commits: Vec<String>,
        /// Why: it is recorded
        #[arg(long)]
        reason: String,
    },
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let history = History::at(&here);
    match &args.what {
        What::Check { commits } => check(hand, &listed(&history, commits)?).await,
        What::Vouch { commits, reason } => vouch(hand, &listed(&history, commits)?, reason).await,
    }
}

fn listed(history: &History, named: &[String]) -> Result<Vec<Commit>, Failure> {
    let asked = |e| Failure::at("find the commits", &e);
    if named.is_empty() {
        let head = history.named(&["HEAD".to_owned()]).map_err(asked)?;
        let published = history.published().map_err(asked)?;
        return publish::commits(history, &rr_git::Tips::named(head), &[&published]);
    }
    let ids = history.named(named).map_err(|e| Failure::new(Kind::NotFound, "no such commits").because(e))?;
    history.each(&ids).map_err(asked)
}

async fn check(hand: &Hand, commits: &[Commit]) -> Result<(), Failure> {
    let judged = publish::decide(commits, publish::known(hand, commits).await?);
    let refused = judged.objections.len();
    let json = json!({ "commits": commits.len(), "refused": refused });
    hand.answer(&json, || match judged.text() {
        text if text.is_empty() => format!("{} commits, all of which may be published.\n", commits.len()),
        text => text,
    })?;
    if refused == 0 { Ok(()) } else { Err(Failure::new(Kind::Findings, "some may not be published").told()) }
}

async fn vouch(hand: &Hand, commits: &[Commit], reason: &str) -> Result<(), Failure> {
    if let Pusher::Agent { session } = Pusher::of_environment() {
        let refused = Failure::new(Kind::Refused, "only a person can vouch for commits");
        return Err(refused.because(format!("this is a command of agent session {session}")));
    }
    let ids: Vec<String> = commits.iter().map(|c| c.id.clone()).collect();
    Door::open(&hand.dirs).await?.vouch(&ids, &hand.who(), reason).await?;
    hand.answer(&json!({ "vouched": ids }), || format!("Recorded: {} answers for {} commits.\n", hand.who(), ids.len()))
}

//! `rrctl plan`: how many agents fit here, what they can work on side by side, and what is one owner's. What is advised is
//! `crate::plan`'s.

use std::fmt::Write as _;
use std::time::Duration;

use rr_git::Worktree;
use rr_runtime::config::{REPO_FILE, RepoConfig};
use rr_runtime::host;
use serde_json::json;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::plan::areas::{self, Areas};
use crate::plan::{Advice, REVIEW_MAX, advise, facts, when};
use crate::table::{plain, table};
use crate::view::FleetView;

/// An agent's change is some minutes of work.
const CHANGE_EVERY: &str = "15m";

/// Advise how many agents to run here, and what they can work on side by side
///
/// From this machine (cores, memory, what running agents use), the checks (how long they take), people (review), and the last
/// 90 days of this repository (which folders change together, which files everybody edits). Every number is told with its
/// reason and its source.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Agents whose work is reviewed well here
    #[arg(long, value_name = "N", default_value_t = REVIEW_MAX, value_parser = clap::value_parser!(u32).range(1..))]
    review: u32,
    /// How often one agent has a change to be checked
    #[arg(long, value_name = "TIME", default_value = CHANGE_EVERY, value_parser = super::run::duration)]
    change_every: Duration,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find this folder", &e))?;
    let tree = Worktree::discover(&here).map_err(|e| Failure::at("find the repository around this folder", &e))?;
    let Some(tree) = tree else {
        return Err(Failure::new(Kind::NotFound, "this folder is in no repository").hint("go to the one that is meant"));
    };
    let past = tree.past(areas::DAYS).map_err(|e| Failure::at("read the repository's history", &e))?;
    let areas = areas::read(&past, &rr_symbols::is_lock_file);
    let change_every_ms = u64::try_from(args.change_every.as_millis()).unwrap_or(u64::MAX);
    // Without a daemon nobody runs, and no check is known: the rest is said all the same.
    let (mut agents, mut health) = (Vec::new(), rr_proto::v1::HealthReply::default());
    if let Ok(mut door) = Door::to_look(&hand.dirs).await {
        let view = FleetView::of(door.status().await?);
        let host = host::host_id(&hand.dirs).map_err(|e| Failure::at("find this machine's id", &e))?;
        agents = facts::agents_on(&view, host.as_str());
        health = door.health().await.unwrap_or_default();
    }
    let text = std::fs::read_to_string(tree.root.join(REPO_FILE)).ok();
    let configured = text.and_then(|text| RepoConfig::parse(&text, REPO_FILE.as_ref()).ok()?.repo);
    let repo = tree.repo_id(configured.as_deref()).to_string();
    let machine = facts::machine(&agents);
    let checks = facts::checks(&health, &repo, change_every_ms);
    let advice = advise(&machine, &checks, &areas, args.review);
    let (side_by_side, one_by_one) = when(&areas);
    let value = json!({
        "agents": advice.agents, "running": agents.len(), "limits": advice.limits, "machine": machine, "checks": checks, "areas": areas,
        "side_by_side": side_by_side, "one_by_one": one_by_one,
    });
    hand.answer(&value, || {
        let mut text = as_text(&advice, &areas, agents.len(), out::columns());
        for (heading, rows) in [("Side by side:", &side_by_side), ("One after the other:", &one_by_one)] {
            let _ = writeln!(text, "\n{heading}");
            rows.iter().for_each(|row| text.push_str(&format!("  - {}\n", plain(row))));
        }
        text
    })
}

fn as_text(advice: &Advice, areas: &Areas, running: usize, columns: Option<u16>) -> String {
    let mut text = format!("Up to {} agent(s) at a time here; {running} run now.\n\n", advice.agents);
    let row = |l: &crate::plan::Limit| vec![l.what.to_owned(), l.agents.to_string(), l.why.clone(), l.source.clone()];
    text.push_str(&table(&["LIMIT", "AGENTS", "WHY", "SOURCE"], advice.limits.iter().map(row), columns));
    if !areas.apart.is_empty() {
        text.push('\n');
        let row = |g: &areas::Group| vec![g.folders.join(", "), g.commits.to_string()];
        text.push_str(&table(&["APART FROM THE OTHERS", "COMMITS"], areas.apart.iter().map(row), columns));
    }
    if !areas.shared.is_empty() {
        text.push('\n');
        let row = |f: &areas::SharedFile| vec![f.path.clone(), f.commits.to_string()];
        text.push_str(&table(&["EDITED BY EVERYBODY: ONE OWNER", "COMMITS"], areas.shared.iter().map(row), columns));
    }
    text
}

//! `rrctl checkpoint`: keeps the work tree of the present folder as it stands, or lists what was kept. It is made by
//! this host's sidecar; how and where is not known here.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use rr_proto::v1;
use rr_runtime::host::host_id;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::when;
use crate::out;
use crate::table::table;
use crate::view::short;

/// The newest of this host that are looked at: older ones are in its journal.
const LISTED_MAX: u32 = 500;

/// Keep the whole work tree of the present folder as it stands now, or list what was kept
///
/// Checkpoints are also made every few minutes and at each green check. `rrctl rollback --to-checkpoint` goes back to
/// the last.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it is good for: it is recorded
    #[arg(long, value_name = "TEXT", conflicts_with = "list")]
    why: Option<String>,
    /// Show the checkpoints of this work tree, the newest first
    #[arg(long)]
    list: bool,
}

/// One checkpoint, as the journal has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    at_unix_ms: u64,
    root: String,
    commit: String,
    #[serde(default)]
    why: String,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let host = host_id(&hand.dirs).map_err(|e| Failure::at("find this machine's id", &e))?.to_string();
    let mut door = Door::to_look(&hand.dirs).await?;
    if args.list {
        return list(&mut door, hand, &host, &here).await;
    }
    let folder = here.to_string_lossy().into_owned();
    let request = v1::CheckpointRequest { host, folder, why: args.why.clone().unwrap_or_default() };
    let kept = door.checkpoint(request, &hand.who()).await?;
    let json = json!({ "commit": kept.commit, "root": kept.root });
    hand.answer(&json, || format!("Kept {} as it stands now: {}.\n", kept.root, short(&kept.commit)))
}

async fn list(door: &mut Door, hand: &Hand, host: &str, here: &Path) -> Result<(), Failure> {
    let kinds = vec!["checkpoint".to_owned()];
    let request = v1::LogRequest { kinds, limit: LISTED_MAX, newest_first: true, ..Default::default() };
    let mut lines = door.log(request, &hand.who()).await?;
    let root = root_of(here)?;
    let mut found = Vec::new();
    while let Some(line) = lines.next().await? {
        if line.host != host {
            continue;
        }
        if !line.unreadable.is_empty() && line.entry.is_empty() {
            return Err(Failure::new(Kind::Failed, "could not read this host's journal").because(line.unreadable));
        }
        found.extend(kept_in(&line.entry, &root));
    }
    hand.answer(&json!({ "checkpoints": found }), || as_text(&found, &TimeZone::system(), out::columns()))
}

fn root_of(here: &Path) -> Result<PathBuf, Failure> {
    let tree = rr_git::Worktree::discover(here).map_err(|e| Failure::at("look for a repository", &e))?;
    tree.map(|tree| tree.root).ok_or_else(|| Failure::new(Kind::NotFound, "the present folder is in no work tree"))
}

/// The checkpoint that an entry tells of, if it is one of this work tree.
fn kept_in(entry: &str, root: &Path) -> Option<Kept> {
    let kept: Kept = serde_json::from_str(entry).ok()?;
    (Path::new(&kept.root) == root).then_some(kept)
}

fn as_text(found: &[Kept], zone: &TimeZone, columns: Option<u16>) -> String {
    if found.is_empty() {
        return "No checkpoints of this work tree.\n".to_owned();
    }
    let row = |kept: &Kept| vec![when::show(kept.at_unix_ms, zone), short(&kept.commit).to_owned(), kept.why.clone()];
    table(&["TIME", "CHECKPOINT", "WHY"], found.iter().map(row), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_of_this_work_tree_are_listed() {
        let entry = |root: &str, why: &str| {
            let commit = "c0ffee00".repeat(5);
            let entry = json!({
                "at_unix_ms": 1_700_000_000_000_u64, "kind": "checkpoint", "root": root, "commit": commit, "why": why,
            });
            entry.to_string()
        };
        let entries =
            [entry("/repo", "green"), entry("/repo/other", "x"), "rubbish".to_owned(), entry("/repo", "every 5 min")];
        let found: Vec<Kept> = entries.iter().filter_map(|entry| kept_in(entry, Path::new("/repo"))).collect();
        let expected = "\
TIME                 CHECKPOINT  WHY
2023-11-14 22:13:20  c0ffee00    green
2023-11-14 22:13:20  c0ffee00    every 5 min
";
        assert_eq!(as_text(&found, &TimeZone::UTC, None), expected);
        assert_eq!(as_text(&[], &TimeZone::UTC, None), "No checkpoints of this work tree.\n");
    }
}

//! `rrctl uninstall`: takes out what `install` put in. How is in `crate::install`.

use serde_json::json;

use super::install::{lines, paths, word};
use crate::exit::Failure;
use crate::hand::Hand;
use crate::install;

/// Take the hooks out of the settings of Claude Code again
///
/// State and store stay: delete the state folder to remove them too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those of this user instead of this repository's
    #[arg(long)]
    user: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let site = super::site()?;
    let scope = super::scope(args.user);
    let report = install::uninstall(&site, scope).map_err(|e| Failure::at("take the hooks out", &e))?;
    let json = json!({ "scope": word(scope), "changed": paths(&report) });
    hand.answer(&json, || match report.as_slice() {
        [] => "There are no hooks of ours to take out.\n".to_owned(),
        edits => lines(edits),
    })
}

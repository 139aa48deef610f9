//! `rrctl install`: the hook program to its place, the hooks into the agents' settings. How is in `crate::install`.

use clap::ValueEnum;
use serde_json::json;

use crate::exit::Failure;
use crate::hand::Hand;
use crate::install::{Edit, Options, Scope};
use crate::{hookbin, install};

/// Put the hooks into the settings of Claude Code, for this repository
///
/// `rrctl uninstall` takes them out again, exactly. The daemon is started by the first call of a hook.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For every session of this user instead of this repository's
    #[arg(long)]
    user: bool,
    /// What becomes of a changing call when no daemon can be started
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnUnavailable::Deny)]
    on_unavailable: OnUnavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnUnavailable {
    Deny,
    Allow,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let site = super::site()?;
    hand.dirs.prepare().map_err(|e| Failure::at("prepare this user's folders", &e))?;
    let hook_path = hookbin::place(&hand.dirs.bin_dir()).map_err(|e| Failure::at("place the hook program", &e))?;
    let daemon_path = std::env::current_exe().map_err(|e| Failure::at("find this program's file", &e))?;
    let options = Options {
        hook_path,
        daemon_path,
        allow_when_unavailable: args.on_unavailable == OnUnavailable::Allow,
        scope: super::scope(args.user),
    };
    let report = install::install(&site, &options).map_err(|e| Failure::at("install the hooks", &e))?;
    let json = json!({ "scope": word(options.scope), "hook": options.hook_path, "changed": paths(&report) });
    hand.answer(&json, || {
        let next =
            "Running sessions take them up at once; /hooks shows them there. Take them out with: rrctl uninstall\n";
        match report.as_slice() {
            [] => "The hooks are in place already.\n".to_owned(),
            edits => format!("{}{next}", lines(edits)),
        }
    })
}

pub(super) fn paths(edits: &[Edit]) -> Vec<String> {
    edits.iter().map(|e| e.path.display().to_string()).collect()
}

pub(super) fn lines(edits: &[Edit]) -> String {
    edits.iter().map(|edit| format!("{edit}\n")).collect()
}

pub(super) const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::ProjectLocal => "project",
        Scope::User => "user",
    }
}

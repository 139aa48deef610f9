//! What can be typed. Definitions only: the text of each command is the doc comment of its `Args` in `cmd`, from which help,
//! completions and man pages are made. Next: `cmd`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::cmd;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Coordinates the coding agents that work on one repository at the same time.
///
/// Start with `rrctl install` (once) and `rrctl up --detach`; then `rrctl locks` shows who holds what, and
/// `rrctl pause-all` stops every agent.
///
/// Exit codes: 0 done, 1 failed, 2 not understood, 3 no daemon answers, 4 refused, 5 not found or ambiguous, 6 findings.
#[derive(Debug, Parser)]
#[command(name = "rrctl", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    /// Answer with one line of JSON (fields: docs/json.md)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(cmd::up::Args),
    Down(cmd::down::Args),
    Status(cmd::status::Args),
    Sessions(cmd::sessions::Args),
    Locks(cmd::locks::Args),
    Slots(cmd::slots::Args),
    Run(cmd::run::Args),
    Plan(cmd::plan::Args),
    Overlap(cmd::overlap::Args),
    Conflicts(cmd::conflicts::Args),
    Health(cmd::health::Args),
    Incident(cmd::incident::Args),
    Bisect(cmd::bisect::Args),
    Release(cmd::release::Args),
    Log(cmd::log::Args),
    Replay(cmd::replay::Args),
    Blame(cmd::blame::Args),
    Rollback(cmd::rollback::Args),
    Recover(cmd::recover::Args),
    Checkpoint(cmd::checkpoint::Args),
    PauseAll(cmd::pause_all::Args),
    Resume(cmd::resume::Args),
    PostRestore(cmd::post_restore::Args),
    Ca(cmd::ca::Args),
    JoinToken(cmd::join_token::Args),
    Join(cmd::join::Args),
    Hosts(cmd::hosts::Args),
    Deny(cmd::deny::Args),
    Allow(cmd::allow::Args),
    Etcd(cmd::etcd::Args),
    Install(cmd::install::Args),
    Uninstall(cmd::uninstall::Args),
    Config(cmd::config::Args),
    Doctor(cmd::doctor::Args),
    Demo(cmd::demo::Args),
    Publish(cmd::publish::Args),
    Approvals(cmd::approvals::Args),
    Approve(cmd::approve::Args),
    Reject(cmd::reject::Args),
    Policy(cmd::policy::Args),
    #[command(hide = true)]
    GitHook(cmd::git_hook::Args),
    #[command(hide = true)]
    SlotKeeper(cmd::slot_keeper::Args),
    #[command(hide = true)]
    DemoAgent(cmd::demo_agent::Args),
    #[command(hide = true)]
    DemoLink(cmd::demo_link::Args),
    Completions(cmd::completions::Args),
    Man(cmd::man::Args),
}

/// Does what was typed.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that is gone does not matter here either.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.code()));
        }
    };
    let json = cli.json;
    match Hand::new(json).and_then(|hand| dispatch(cli.command, &hand)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure, json);
            ExitCode::from(failure.kind.code())
        }
    }
}

fn dispatch(command: Command, hand: &Hand) -> Result<(), Failure> {
    match command {
        Command::Up(args) => cmd::up::run(&args, hand),
        Command::Down(args) => cmd::down::run(&args, hand),
        Command::Status(_) => hand.wait_for(cmd::status::run(hand)),
        Command::Sessions(_) => hand.wait_for(cmd::sessions::run(hand)),
        Command::Locks(args) => hand.wait_for(cmd::locks::run(&args, hand)),
        Command::Slots(args) => hand.wait_for(cmd::slots::run(&args, hand)),
        Command::Run(args) => cmd::run::run(&args, hand),
        Command::Plan(args) => hand.wait_for(cmd::plan::run(&args, hand)),
        Command::SlotKeeper(args) => cmd::slot_keeper::run(&args, hand),
        Command::Overlap(args) => hand.wait_for(cmd::overlap::run(&args, hand)),
        Command::Conflicts(args) => hand.wait_for(cmd::conflicts::run(&args, hand)),
        Command::Health(args) => hand.wait_for(cmd::health::run(&args, hand)),
        Command::Incident(args) => hand.wait_for(cmd::incident::run(&args, hand)),
        Command::Bisect(args) => cmd::bisect::run(&args, hand),
        Command::Release(args) => hand.wait_for(cmd::release::run(&args, hand)),
        Command::Log(args) => cmd::log::run(&args, hand),
        Command::Replay(args) => cmd::replay::run(&args, hand),
        Command::Blame(args) => cmd::blame::run(&args, hand),
        Command::Rollback(args) => hand.wait_for(cmd::rollback::run(&args, hand)),
        Command::Recover(args) => hand.wait_for(cmd::recover::run(&args, hand)),
        Command::Checkpoint(args) => hand.wait_for(cmd::checkpoint::run(&args, hand)),
        Command::PauseAll(args) => hand.wait_for(cmd::pause_all::run(&args, hand)),
        Command::Resume(args) => hand.wait_for(cmd::resume::run(&args, hand)),
        Command::PostRestore(args) => hand.wait_for(cmd::post_restore::run(&args, hand)),
        Command::Ca(args) => cmd::ca::run(&args, hand),
        Command::JoinToken(args) => hand.wait_for(cmd::join_token::run(&args, hand)),
        Command::Join(args) => hand.wait_for(cmd::join::run(&args, hand)),
        Command::Hosts(_) => hand.wait_for(cmd::hosts::run(hand)),
        Command::Deny(args) => hand.wait_for(cmd::deny::run(&args, hand)),
        Command::Allow(args) => hand.wait_for(cmd::allow::run(&args, hand)),
        Command::Etcd(args) => hand.wait_for(cmd::etcd::run(&args, hand)),
        Command::Install(args) => cmd::install::run(&args, hand),
        Command::Uninstall(args) => cmd::uninstall::run(&args, hand),
        Command::Config(_) => cmd::config::run(hand),
        Command::Doctor(_) => hand.wait_for(cmd::doctor::run(hand)),
        Command::Demo(args) => hand.wait_for(cmd::demo::run(&args, hand)),
        Command::Publish(args) => hand.wait_for(cmd::publish::run(&args, hand)),
        Command::Approvals(args) => hand.wait_for(cmd::approvals::run(&args, hand)),
        Command::Approve(args) => hand.wait_for(cmd::approve::run(&args, hand)),
        Command::Reject(args) => hand.wait_for(cmd::reject::run(&args, hand)),
        Command::Policy(args) => cmd::policy::run(&args, hand),
        Command::GitHook(args) => cmd::git_hook::run(&args, hand),
        Command::DemoAgent(args) => cmd::demo_agent::run(&args, hand),
        Command::DemoLink(args) => hand.wait_for(cmd::demo_link::run(&args)),
        Command::Completions(args) => cmd::completions::run(&args),
        Command::Man(args) => cmd::man::run(&args),
    }
}

/// The definition that completions and man pages are made of.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

fn tell(failure: &Failure, json: bool) {
    use std::io::Write as _;
    if failure.is_told || failure.kind == Kind::Unread {
        return;
    }
    let text = if json { failure.json() } else { failure.text() };
    // There is nobody left to tell that standard error is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_has_a_help_text() {
        let definition = definition();
        definition.clone().debug_assert();
        for command in definition.get_subcommands() {
            assert!(command.get_about().is_some(), "{} has none", command.get_name());
        }
    }

    #[test]
    fn a_misspelt_command_is_answered_with_the_right_one() {
        let refused = Cli::try_parse_from(["rrctl", "pause"]).expect_err("no such command");
        assert!(refused.to_string().contains("pause-all"), "{refused}");
        assert_eq!(refused.exit_code(), i32::from(Kind::Usage.code()));
    }

    #[test]
    fn a_rejection_needs_a_reason_and_an_approval_none() {
        assert!(Cli::try_parse_from(["rrctl", "reject", "1a2b"]).is_err());
        assert!(Cli::try_parse_from(["rrctl", "reject", "1a2b", "--reason", "r"]).is_ok());
        assert!(Cli::try_parse_from(["rrctl", "approve", "1a2b"]).is_ok());
    }

    #[test]
    fn an_incident_is_settled_by_a_revert_or_a_reason_and_not_by_both_or_neither() {
        let typed = |words: &[&str]| Cli::try_parse_from(["rrctl", "incident"].iter().chain(words)).is_ok();
        assert!(typed(&["resolve", "1a2b", "--revert"]) && typed(&["resolve", "1a2b", "--reason", "mended"]));
        assert!(!typed(&["resolve", "1a2b"]) && !typed(&["resolve", "1a2b", "--revert", "--reason", "r"]));
        assert!(!typed(&["hand-over", "1a2b"]) && typed(&["hand-over", "1a2b", "--to", "3c4d"]));
        assert!(!typed(&["claim"]) && typed(&["claim", "1a2b"]) && typed(&["give-back", "1a2b"]));
        assert!(!typed(&["dismiss", "1a2b"]) && typed(&["dismiss", "1a2b", "--reason", "r"]));
    }

    #[test]
    fn a_pair_is_two() {
        assert!(Cli::try_parse_from(["rrctl", "overlap", "--pair", "a", "b"]).is_ok());
        assert!(Cli::try_parse_from(["rrctl", "overlap", "--pair", "a"]).is_err());
    }

    #[test]
    fn taking_a_lock_away_needs_force_and_a_reason() {
        for words in [&["release", "a"][..], &["release", "--force", "a"], &["release", "--reason", "r", "a"]] {
            let words = ["rrctl"].iter().chain(words);
            assert!(Cli::try_parse_from(words).is_err());
        }
        assert!(Cli::try_parse_from(["rrctl", "release", "--force", "--reason", "r", "!build"]).is_ok());
    }
}

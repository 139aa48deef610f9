//! `rrctl run`: a command in a counted slot of this machine. The slot is stood in line for and looked after by a keeper
//! (`crate::slots`); then the command takes this program's place.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rr_core::policy::SlotSource;
use rr_git::Worktree;
use rr_runtime::config::{REPO_FILE, RepoConfig};

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::slots::{GAVE_UP, HAS_IT, Wanted};

/// A build or two of others.
const WAIT_DEFAULT: &str = "10m";
/// Of the command, as others read who has the slot: its arguments may hold a secret.
const WHAT_WORDS_MAX: usize = 2;

/// Run a command in a slot of this machine, waiting in line for it first
///
/// The slots are those of railroad.yaml (`slots`). Who has it, and how many are ahead, is told on standard error. The command
/// has this program's streams, signals and exit code; the slot is given back when it has ended. Without a slot nothing is
/// run: ends with 4.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which slot
    #[arg(long, value_name = "NAME")]
    slot: String,
    /// How long to wait in line (as 30s, 10m, 1h)
    #[arg(long, value_name = "TIME", default_value = WAIT_DEFAULT, value_parser = duration)]
    wait: Duration,
    /// Do not wait
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// The command and its words, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let (root, slot) = slot_here(&args.slot)?;
    let wait = if args.no_wait { Duration::ZERO } else { args.wait };
    let wanted = Wanted {
        slot: slot.name,
        of: u32::try_from(slot.of).unwrap_or(u32::MAX),
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        pid: std::process::id(),
        who: format!("{} (pid {}): {}", hand.who(), std::process::id(), shown(&args.command)),
        root: root.display().to_string(),
    };
    stand_in_line(&wanted)?;
    let error = Command::new(&args.command[0]).args(&args.command[1..]).exec();
    let what = format!("run {}", args.command[0].to_string_lossy());
    Err(Failure::at(what, &error).of_kind(Kind::NotFound))
}

/// The slot as the repository around this folder has it.
fn slot_here(name: &str) -> Result<(PathBuf, SlotSource), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find this folder", &e))?;
    let tree = Worktree::discover(&here).map_err(|e| Failure::at("find the repository around this folder", &e))?;
    let Some(tree) = tree else {
        let what = "this folder is in no repository, so no railroad.yaml says what slots there are";
        return Err(Failure::new(Kind::NotFound, what));
    };
    let file = tree.root.join(REPO_FILE);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Failure::at(format!("read {}", file.display()), &e)),
    };
    let config = RepoConfig::parse(&text, &file)
        .map_err(|e| Failure::new(Kind::Usage, format!("{REPO_FILE} cannot be used")).because(e))?;
    let known: Vec<String> = config.slots.iter().map(|slot| slot.name.clone()).collect();
    match config.slots.into_iter().find(|slot| slot.name == name) {
        Some(slot) => Ok((tree.root.clone(), slot)),
        None => {
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            let hint = format!("add to it: slots: {{ {name}: {{ of: 1 }} }}");
            Err(Failure::new(Kind::NotFound, format!("{REPO_FILE} has no slot `{name}`")).because(known).hint(hint))
        }
    }
}

/// Has a keeper stand in line for this process. Returns with the slot.
fn stand_in_line(wanted: &Wanted) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::at("start the keeper of the slot", &e);
    let program = std::env::current_exe().map_err(failed)?;
    let mut keeper = Command::new(program);
    keeper.arg("slot-keeper").args(wanted.words()).stdin(Stdio::null()).stdout(Stdio::piped());
    // It is no part of what a session's commands do.
    keeper.env_remove("RAILROAD_SESSION").env_remove("CLAUDE_CODE_SESSION_ID");
    let mut keeper = keeper.spawn().map_err(failed)?;
    let said = keeper.stdout.take().map(BufReader::new);
    keeper.wait().map_err(failed)?;
    let mut line = String::new();
    if let Some(mut said) = said {
        said.read_line(&mut line).map_err(failed)?;
    }
    let line = line.trim_end();
    if line == HAS_IT {
        return Ok(());
    }
    let gave_up = line.strip_prefix(GAVE_UP).and_then(|code| code.parse::<u8>().ok());
    let kinds = [Kind::Usage, Kind::Unreachable, Kind::Refused, Kind::NotFound];
    match gave_up {
        Some(code) => {
            let kind = kinds.into_iter().find(|kind| kind.code() == code).unwrap_or(Kind::Failed);
            Err(Failure::new(kind, "no slot").told())
        }
        None => Err(Failure::new(Kind::Failed, "the keeper of the slot ended without a word").hint("rrctl doctor")),
    }
}

/// The program and what it is to do; no options and no operands after them.
fn shown(command: &[OsString]) -> String {
    let words = command.iter().take(WHAT_WORDS_MAX).map(|word| word.to_string_lossy());
    let plain = words.take_while(|word| !word.starts_with('-') && !word.contains('='));
    plain.collect::<Vec<_>>().join(" ")
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: a whole number and one of s, m, h (as 10m)");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for bad in ["", "10", "m", "1.5h", "-1s", "10x", "99999999999999999999h", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_to_others_names_no_argument() {
        let shown = |words: &[&str]| shown(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(shown(&["cargo", "test", "secret"]), "cargo test");
        assert_eq!(shown(&["curl", "--header=x"]), "curl");
        assert_eq!(shown(&["env", "TOKEN=x"]), "env");
    }
}

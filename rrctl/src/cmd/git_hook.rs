//! `rrctl git-hook`: what git's hooks call. A commit of an agent is named, and refused on a branch that is broken; a push, or what is
//! received, is judged. The rule is `crate::publish`'s; here is who asks, and what an uncertain answer means to them.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rr_git::{Commit, History, SESSION_TRAILER};

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::publish::closed::{self, By};
use crate::publish::refs::{self, Update};
use crate::publish::{self, Pusher};
use crate::sidecar;

/// Called by the git hooks that `rrctl install` puts in place
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, clap::Subcommand)]
enum Hook {
    /// Look at the branch, and name the agent's session in a commit's message
    PrepareCommitMsg(Message),
    /// Name it, once the message has been edited
    CommitMsg(Message),
    /// Judge what is about to be pushed
    PrePush { remote: Option<String>, url: Option<String> },
    /// Judge what is being received
    PreReceive,
}

#[derive(Debug, clap::Args)]
struct Message {
    file: PathBuf,
    /// Where the message comes from, as git says
    source: Option<String>,
    commit: Option<String>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    match &args.hook {
        Hook::PrepareCommitMsg(message) => {
            hand.wait_for(before_commit(hand, &here))?;
            // What git made of a template shall stay as it is until a person has edited it: git gives up if it does.
            if message.source.as_deref() == Some("template") { Ok(()) } else { name(&here, &message.file) }
        }
        Hook::CommitMsg(message) => name(&here, &message.file),
        Hook::PrePush { .. } => hand.wait_for(pre_push(hand, &here)),
        Hook::PreReceive => hand.wait_for(pre_receive(hand, &here)),
    }
}

/// No agent's commit comes on top of a break; this hook of git's is not passed over by `--no-verify`.
async fn before_commit(hand: &Hand, here: &Path) -> Result<(), Failure> {
    let history = History::at(here);
    match Pusher::of_environment() {
        Pusher::Agent { session } => refused("committed", closed::objection_to_commit(hand, &history, &session).await),
        Pusher::Person => {
            say(&closed::word_to_person(hand, &history).await.unwrap_or_default());
            Ok(())
        }
    }
}

fn name(here: &Path, file: &Path) -> Result<(), Failure> {
    let name = match Pusher::of_environment() {
        Pusher::Agent { session } => session,
        // What a person makes of an agent's commit is the person's; where no session is named nobody is.
        Pusher::Person if names_nobody(file) => return Ok(()),
        Pusher::Person => rr_git::PERSON.to_owned(),
    };
    let done = rr_git::name_session(here, file, &name);
    done.map(drop).map_err(|e| Failure::at("name the session in the commit's message", &e))
}

fn names_nobody(file: &Path) -> bool {
    let is_ours = |line: &[u8]| line.starts_with(format!("{SESSION_TRAILER}: ").as_bytes());
    std::fs::read(file).is_ok_and(|text| !text.split(|byte| *byte == b'\n').any(is_ours))
}

async fn pre_push(hand: &Hand, here: &Path) -> Result<(), Failure> {
    let pushed = refs::of_pre_push(&input()?);
    let history = History::at(here);
    let published = history.published().map_err(|e| Failure::at("read what is published already", &e))?;
    let commits = publish::commits(&history, &pushed.new, &[&pushed.old, &published])?;
    let pusher = Pusher::of_environment();
    if !commits.is_empty() {
        judge_own(hand, here, &commits, &pusher).await?;
    }
    match &pusher {
        Pusher::Agent { session } => open_to(hand, &history, &pushed.updates, By::Agent(session)).await,
        Pusher::Person => Ok(()),
    }
}

/// Commits of this machine, its sidecar asked first where an agent pushes.
async fn judge_own(hand: &Hand, here: &Path, commits: &[Commit], pusher: &Pusher) -> Result<(), Failure> {
    let looked = match pusher {
        Pusher::Agent { session } => sidecar::look(&hand.dirs.hook_socket(), session, here),
        Pusher::Person => Ok(()),
    };
    let judged = judge(hand, commits, pusher).await;
    if let (Err(why), Err(_)) = (&looked, &judged) {
        say(&format!("railroad: {why}\n"));
    }
    judged
}

async fn pre_receive(hand: &Hand, here: &Path) -> Result<(), Failure> {
    let pushed = refs::of_pre_receive(&input()?);
    let history = History::receiving(here);
    let known = history.all_refs().map_err(|e| Failure::at("read what is here already", &e))?;
    let commits = publish::commits(&history, &pushed.new, &[&pushed.old, &known])?;
    if !commits.is_empty() {
        // Who sends is not known here; what is sent says whose it is.
        judge(hand, &commits, &Pusher::Person).await?;
    }
    open_to(hand, &history, &pushed.updates, By::Commits).await
}

/// Refuses what goes to a branch that is broken.
async fn open_to(hand: &Hand, history: &History, updates: &[Update], by: By<'_>) -> Result<(), Failure> {
    refused("published", closed::objection(hand, history, updates, by).await)
}

/// Not `done`: if something is held against it, or if that cannot be known.
fn refused(done: &str, objection: Result<Option<String>, Failure>) -> Result<(), Failure> {
    match objection {
        Ok(None) => Ok(()),
        Ok(Some(why)) => {
            say(&why);
            Err(Failure::new(Kind::Refused, format!("not {done}")).told())
        }
        Err(failure) => {
            say(&format!("railroad: not {done}: it cannot be known now whether the branch is broken\n"));
            Err(failure)
        }
    }
}

async fn judge(hand: &Hand, commits: &[Commit], pusher: &Pusher) -> Result<(), Failure> {
    let judged = match publish::known(hand, commits).await {
        Ok(known) => publish::decide(commits, known),
        Err(failure) => return uncertain(commits, pusher, failure),
    };
    if judged.objections.is_empty() {
        return Ok(());
    }
    say(&judged.text());
    Err(Failure::new(Kind::Refused, "not published").told())
}

/// Nobody can say what is known. An agent does not publish then, and nobody publishes what an agent has made.
fn uncertain(commits: &[Commit], pusher: &Pusher, failure: Failure) -> Result<(), Failure> {
    let named = commits.iter().find_map(|c| c.session.as_deref());
    match (pusher, named) {
        (Pusher::Person, None) => {
            say("railroad: nobody could be asked, and no agent's commit is among these: published unchecked\n");
            Ok(())
        }
        _ => {
            say("railroad: not published: it cannot be known now how these commits were made\n");
            Err(failure)
        }
    }
}

/// What git tells on standard input.
fn input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|e| Failure::at("read what git pushes", &e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn say(text: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

//! `rrctl recover`: walks the recovery of sessions that have got into each other's way (G25). Each step is told with what undoes it.
//! Typed again after an interruption it goes on: holds stand, what was taken back is found again.

mod steps;

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::publish::Pusher;
use crate::recover::good::{self, LastGood};
use crate::recover::scopes::{self, Scope};
use crate::recover::work::{Work, alone, meeting};
use crate::repo_file;
use crate::table::plain;
use crate::view::{FleetView, short};
use steps::Steps;

/// Entries of one session that are looked at; a session that did more is taken back by `rrctl rollback`.
const ENTRIES_MAX: u32 = 2_000;

/// Stop sessions that got into each other's way, go back to the last good state, and bring back what does not collide
///
/// Stops exactly these sessions, keeps everything as it stands, takes their changes since the last good state out (the
/// others' edits stay; with a conflict nothing is written), brings back the files that only one of them had changed,
/// proposes scopes, or writes them into railroad.yaml, and lets them go on. Each step is told with what undoes it.
/// Typed again it goes on where it was interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A session: the begin of its id, or the agent's own name for it (two or more)
    #[arg(long = "session", value_name = "S", required_unless_present = "resume")]
    sessions: Vec<String>,
    /// Say what it would come to, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Write the proposed scopes into railroad.yaml of the work trees that are on this machine
    #[arg(long, conflicts_with = "dry_run")]
    write_scopes: bool,
    /// Let a session that was stopped go on, and do nothing else
    #[arg(long, value_name = "S", conflicts_with_all = ["sessions", "dry_run", "yes", "write_scopes"])]
    resume: Option<String>,
}

/// What is known before anything is done.
struct Picture {
    /// Since the last good state.
    works: Vec<Work>,
    good: LastGood,
    scopes: Vec<Scope>,
    /// What taking them back would come to, a host each.
    plans: Vec<v1::RollbackReply>,
    /// Work trees of theirs that are on this machine.
    here: Vec<PathBuf>,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    check(&Pusher::of_environment(), args)?;
    let mut door = Door::to_look(&hand.dirs).await?;
    if let Some(session) = &args.resume {
        return resume(&mut door, session, hand).await;
    }
    if args.sessions.len() < 2 {
        let what = "a recovery is of two sessions at least";
        return Err(Failure::new(Kind::Usage, what).hint("rrctl rollback takes one session back"));
    }
    let picture = look(&mut door, args, hand).await?;
    if !hand.wants_json() {
        out::text(&picture.text())?;
    }
    if picture.plans.iter().any(|plan| !plan.conflicts.is_empty()) {
        if hand.wants_json() {
            out::json(&picture.json(args.dry_run, &[]))?;
        }
        let what = "their changes cannot be told apart from somebody else's: nothing was done";
        return Err(Failure::new(Kind::Refused, what).hint("rrctl rollback --session S --path FILE, a file at a time"));
    }
    if args.dry_run {
        return if hand.wants_json() { out::json(&picture.json(true, &[])) } else { out::text("Nothing was done.\n") };
    }
    if args.write_scopes {
        picture.can_write_scopes().map_err(|why| {
            let failure = Failure::new(Kind::Refused, "the scopes cannot be written: nothing was done").because(why);
            failure.hint("without --write-scopes they are shown, to be added by hand")
        })?;
    }
    let mut writes_scopes = args.write_scopes;
    if !args.yes {
        go_on(hand)?;
        writes_scopes =
            writes_scopes || (picture.can_write_scopes().is_ok() && is_yes("Write these scopes as well? [y/N] ")?);
    }
    let mut steps = Steps::new(&mut door, hand);
    let done = steps.walk(&picture, writes_scopes).await;
    let told = steps.told();
    done?;
    if hand.wants_json() { out::json(&picture.json(false, &told)) } else { Ok(()) }
}

/// An agent may look; stopping others and taking their work back is a person's.
fn check(who: &Pusher, args: &Args) -> Result<(), Failure> {
    match who {
        Pusher::Agent { session } if !args.dry_run => Err(Failure::new(Kind::Refused, "only a person can do that")
            .because(format!("this is a command of agent session {session}"))
            .hint("--dry-run shows what it would come to")),
        Pusher::Agent { .. } | Pusher::Person => Ok(()),
    }
}

fn go_on(hand: &Hand) -> Result<(), Failure> {
    if hand.wants_json() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(Kind::Refused, "nobody is here to be asked: nothing was done").hint("--yes"));
    }
    if is_yes("Go on? [y/N] ")? { Ok(()) } else { Err(Failure::new(Kind::Refused, "nothing was done")) }
}

fn is_yes(question: &str) -> Result<bool, Failure> {
    out::text(question)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::at("read the answer", &e))?;
    Ok(matches!(line.trim(), "y" | "yes"))
}

async fn resume(door: &mut Door, session: &str, hand: &Hand) -> Result<(), Failure> {
    let lift = v1::HoldRequest { session: session.to_owned(), who: hand.who(), lift: true, ..Default::default() };
    let reply = door.hold(lift).await?;
    let text = || format!("Session {} may go on.\n", short(&reply.session));
    hand.answer(&json!({ "session": reply.session, "held": reply.held }), text)
}

async fn look(door: &mut Door, args: &Args, hand: &Hand) -> Result<Picture, Failure> {
    let mut works = Vec::new();
    for named in &args.sessions {
        let session = whole_id(door, named, hand).await?;
        if works.iter().any(|work: &Work| work.session == session) {
            return Err(Failure::new(Kind::Usage, format!("session {} is named twice", short(&session))));
        }
        works.push(Work::of(&session, &entries(door, &session, "done", hand).await?));
    }
    let greens = good::greens(&door.health().await?, &works);
    let good = LastGood::of(&works, greens, &entries(door, "", "checkpoint", hand).await?);
    let works: Vec<Work> = works.iter().map(|work| work.since(good.at_unix_ms())).collect();
    let view = FleetView::of(door.status().await?);
    let name = |work: &Work| {
        let live = view.sessions.iter().find(|session| session.session == work.session);
        live.map_or_else(|| short(&work.session).to_owned(), |session| session.agent_session.clone())
    };
    let named: Vec<String> = works.iter().map(name).collect();
    let scopes = scopes::propose(&works, &named);
    let mut plans = Vec::new();
    for request in steps::taking_back(&works, &good, hand) {
        plans.push(door.rollback(v1::RollbackRequest { dry_run: true, ..request }).await?);
    }
    let here = here(&works, hand)?;
    Ok(Picture { works, good, scopes, plans, here })
}

/// Their work trees on this machine: another's may have the same name.
fn here(works: &[Work], hand: &Hand) -> Result<Vec<PathBuf>, Failure> {
    let host = rr_runtime::host::host_id(&hand.dirs).map_err(|e| Failure::at("read which host this is", &e))?;
    let roots: BTreeSet<&str> = works.iter().filter(|work| work.host == host.as_str()).flat_map(Work::roots).collect();
    Ok(roots.into_iter().map(PathBuf::from).filter(|root| root.is_dir()).collect())
}

async fn whole_id(door: &mut Door, named: &str, hand: &Hand) -> Result<String, Failure> {
    let request =
        v1::RollbackRequest { session: named.to_owned(), dry_run: true, who: hand.who(), ..Default::default() };
    Ok(door.rollback(request).await?.of)
}

/// A journal that does not answer may have what matters: then nothing begins.
async fn entries(door: &mut Door, session: &str, kind: &str, hand: &Hand) -> Result<Vec<v1::LogReply>, Failure> {
    let request = v1::LogRequest {
        session: session.to_owned(),
        kinds: vec![kind.to_owned()],
        limit: ENTRIES_MAX,
        newest_first: true,
        ..Default::default()
    };
    let mut lines = door.log(request, &hand.who()).await?;
    let mut found = Vec::new();
    while let Some(line) = lines.next().await? {
        if !line.unreadable.is_empty() {
            return Err(Failure::new(Kind::Failed, "not every journal could be read").because(line.unreadable));
        }
        found.push(line);
    }
    Ok(found)
}

impl Picture {
    /// Why the scopes cannot be written, if they cannot.
    fn can_write_scopes(&self) -> Result<(), String> {
        if !scopes::are_any(&self.scopes) {
            return Err("there is nothing that one of them alone has changed".to_owned());
        }
        if self.here.is_empty() {
            return Err("none of their work trees is on this machine".to_owned());
        }
        let edit = |text: &str| scopes::written_into(text, &self.scopes, &self.works);
        self.here.iter().try_for_each(|root| repo_file::check(root, edit))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for work in &self.works {
            let paths: Vec<&str> = work.files.keys().map(|spot| spot.path.as_str()).collect();
            let what = if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") };
            text.push_str(&format!("Session {} has changed {what}.\n", short(&work.session)));
        }
        let met: Vec<String> = meeting(&self.works).into_iter().map(|spot| spot.path).collect();
        let met = if met.is_empty() { "in no file".to_owned() } else { format!("in {}", met.join(", ")) };
        text.push_str(&format!("They meet {met}. The last good state is {}.\n", self.good.words()));
        for plan in &self.plans {
            text.push_str(&format!("Taking them back changes {} files there.\n", plan.files.len()));
            for conflict in &plan.conflicts {
                text.push_str(&format!("Conflict: {}: {}\n", conflict.path, conflict.why));
            }
        }
        for work in &self.works {
            let back = alone(work, &self.works);
            if !back.is_empty() {
                text.push_str(&format!("Of session {} this comes back: {}.\n", short(&work.session), back.join(", ")));
            }
        }
        let shown = plain_lines(&text);
        format!("{shown}Proposed for railroad.yaml:\n{}", scopes::as_yaml(&self.scopes, &self.works))
    }

    fn json(&self, dry_run: bool, steps: &[Value]) -> Value {
        let paths = |work: &Work| work.files.keys().map(|spot| spot.path.clone()).collect::<Vec<_>>();
        let sessions = self.works.iter().map(
            |work| json!({ "session": work.session, "changed": paths(work), "comes_back": alone(work, &self.works) }),
        );
        let conflicts = self.plans.iter().flat_map(|plan| &plan.conflicts);
        let conflicts = conflicts.map(|c| json!({ "root": c.root, "path": c.path, "why": c.why }));
        json!({
            "dry_run": dry_run,
            "sessions": sessions.collect::<Vec<_>>(),
            "meet": meeting(&self.works).into_iter().map(|spot| spot.path).collect::<Vec<_>>(),
            "last_good": self.good.words(),
            "conflicts": conflicts.collect::<Vec<_>>(),
            "scopes": self.scopes.iter().map(|s| json!({ "session": s.session, "may": s.may })).collect::<Vec<_>>(),
            "steps": steps,
        })
    }
}

fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}

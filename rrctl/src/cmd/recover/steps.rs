//! The steps of a recovery, one after the other: stop, wait, keep, take back, bring back, write scopes if that is wanted, let go. Each is harmless twice.

use std::time::Duration;

use rr_proto::v1;
use serde_json::{Value, json};

use super::{Picture, entries, plain_lines};
use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::recover::good::LastGood;
use crate::recover::scopes::{self, Scope};
use crate::recover::work::{Work, alone, meeting};
use crate::repo_file::{self, Changed};
use crate::view::short;

/// How long calls that were let through before may go on: as long as `pause-all --wait` waits.
const DRAIN_LOOKS: u32 = 240;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const REASON: &str = "recovery: it and another session have got into each other's way";

pub(super) struct Steps<'a> {
    door: &'a mut Door,
    hand: &'a Hand,
    told: Vec<Value>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(door: &'a mut Door, hand: &'a Hand) -> Self {
        Self { door, hand, told: Vec::new() }
    }

    pub(super) fn told(&self) -> Vec<Value> {
        self.told.clone()
    }

    pub(super) async fn walk(&mut self, picture: &Picture, writes_scopes: bool) -> Result<(), Failure> {
        for work in &picture.works {
            self.stop(work).await?;
        }
        for work in &picture.works {
            self.drained(work).await?;
        }
        let kept = self.keep(&picture.works).await?;
        // Once more, now that nothing of theirs can come in between.
        let mut undoers = Vec::new();
        for request in taking_back(&picture.works, &picture.good, self.hand) {
            undoers.extend(self.take_back(request, &picture.works).await?);
        }
        let left_out = self.bring_back(&picture.works, &undoers).await?;
        // Before they go on: they are not to meet again.
        if writes_scopes {
            self.write_scopes(picture)?;
        }
        for (work, scope) in picture.works.iter().zip(&picture.scopes) {
            self.let_go(work, scope, picture, &kept, &undoers, &left_out).await?;
        }
        Ok(())
    }

    fn tell(&mut self, what: &str, undo: &str) -> Result<(), Failure> {
        let undo = Some(undo).filter(|undo| !undo.is_empty());
        self.told.push(json!({ "step": what, "undo": undo }));
        if self.hand.wants_json() {
            return Ok(());
        }
        let n = self.told.len();
        let undo = undo.map_or_else(String::new, |undo| format!("   To undo: {undo}\n"));
        out::text(&plain_lines(&format!("{n}. {what}\n{undo}")))
    }

    async fn stop(&mut self, work: &Work) -> Result<(), Failure> {
        let held = self.hold(work).await?;
        let session = short(&work.session).to_owned();
        if held.held {
            self.tell(&format!("Stopped session {session}."), &format!("rrctl recover --resume {session}"))
        } else {
            self.tell(&format!("Session {session} has ended: there is nothing to stop."), "")
        }
    }

    async fn hold(&mut self, work: &Work) -> Result<v1::HoldReply, Failure> {
        let (session, who, reason) = (work.session.clone(), self.hand.who(), REASON.to_owned());
        self.door.hold(v1::HoldRequest { session, who, reason, ..Default::default() }).await
    }

    /// Waits until nothing that the session was let through with is running any more.
    async fn drained(&mut self, work: &Work) -> Result<(), Failure> {
        for _ in 0..DRAIN_LOOKS {
            if self.hold(work).await?.in_flight == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let session = short(&work.session);
        let what = format!("session {session} is stopped, but a command of it still runs: nothing was taken back");
        Err(Failure::new(Kind::Failed, what).hint("wait for it or end it, then type the same again"))
    }

    /// Keeps every work tree of theirs as it stands. Answers the checkpoints.
    async fn keep(&mut self, works: &[Work]) -> Result<Vec<String>, Failure> {
        let mut roots: Vec<(&str, &str)> = works
            .iter()
            .flat_map(|work| work.files.keys().map(|spot| (spot.host.as_str(), spot.root.as_str())))
            .collect();
        roots.sort_unstable();
        roots.dedup();
        let mut kept = Vec::new();
        for (host, root) in roots {
            let (host, folder, why) = (host.to_owned(), root.to_owned(), "before a recovery".to_owned());
            let made = self.door.checkpoint(v1::CheckpointRequest { host, folder, why }, &self.hand.who()).await?;
            self.tell(&format!("Kept {} as it stands: checkpoint {}.", made.root, short(&made.commit)), "")?;
            kept.push(made.commit);
        }
        Ok(kept)
    }

    /// Takes the sessions of one host back, all of it or nothing. Answers the session of the rollback that did.
    async fn take_back(&mut self, request: v1::RollbackRequest, works: &[Work]) -> Result<Option<String>, Failure> {
        let reply = self.door.rollback(request).await?;
        if !reply.conflicts.is_empty() {
            let paths: Vec<&str> = reply.conflicts.iter().map(|conflict| conflict.path.as_str()).collect();
            let what = "somebody has changed the same meanwhile: nothing was taken back, and the sessions stay stopped";
            return Err(Failure::new(Kind::Refused, what)
                .because(paths.join(", "))
                .hint("rrctl recover --resume S lets each go on; or settle it and type the same again"));
        }
        if !reply.session.is_empty() {
            let by = reply.session.clone();
            self.tell(&format!("Took back {} files.", reply.files.len()), &format!("rrctl rollback --session {by}"))?;
            return Ok(Some(by));
        }
        let earlier = self.earlier(works).await?.filter(|_| reply.already_undone > 0);
        match &earlier {
            Some(by) => {
                let what = "An earlier run had taken their changes back already: it goes on from there.";
                self.tell(what, &format!("rrctl rollback --session {by}"))?;
            }
            None => self.tell("There is nothing to take back.", "")?,
        }
        Ok(earlier)
    }

    /// The last rollback of one of these sessions.
    async fn earlier(&mut self, works: &[Work]) -> Result<Option<String>, Failure> {
        let lines = entries(self.door, "", "rolled-back", self.hand).await?;
        let of_these = |entry: &Value| works.iter().any(|work| entry["of"] == work.session.as_str());
        let mut found = lines.iter().filter_map(|line| serde_json::from_str::<Value>(&line.entry).ok());
        Ok(found.find(of_these).and_then(|entry| entry["session"].as_str().map(str::to_owned)))
    }

    /// Brings back what only one of them has changed, file by file. Answers those that would not merge.
    async fn bring_back(&mut self, works: &[Work], undoers: &[String]) -> Result<Vec<String>, Failure> {
        let mut left_out = Vec::new();
        for work in works {
            for path in alone(work, works) {
                for by in undoers {
                    let (session, path, who) = (by.clone(), path.to_owned(), self.hand.who());
                    let request = v1::RollbackRequest { session, path, who, ..Default::default() };
                    let reply = self.door.rollback(request.clone()).await?;
                    if !reply.conflicts.is_empty() {
                        left_out.push(request.path.clone());
                        let what = format!("{} does not come back: it has changed since.", request.path);
                        self.tell(&what, "")?;
                    } else if !reply.session.is_empty() {
                        let undo = format!("rrctl rollback --session {}", reply.session);
                        self.tell(&format!("Brought back {}.", request.path), &undo)?;
                    }
                }
            }
        }
        Ok(left_out)
    }

    /// Where the file has changed since it was looked at, that is told, and they go on as they were.
    fn write_scopes(&mut self, picture: &Picture) -> Result<(), Failure> {
        for root in &picture.here {
            let edit = |text: &str| scopes::written_into(text, &picture.scopes, &picture.works);
            match repo_file::change(root, edit) {
                Ok(Changed::Written(file)) => {
                    let what = format!("Wrote the scopes into {}. Commit it to have them everywhere.", file.display());
                    self.tell(&what, &format!("take the lines `after-recovery-...` out of {}", file.display()))?;
                }
                Ok(Changed::Not(file)) => self.tell(&format!("{} had the scopes already.", file.display()), "")?,
                Err(why) => self.tell(&format!("The scopes were not written: {why}"), "")?,
            }
        }
        Ok(())
    }

    async fn let_go(
        &mut self,
        work: &Work,
        scope: &Scope,
        picture: &Picture,
        kept: &[String],
        undoers: &[String],
        left_out: &[String],
    ) -> Result<(), Failure> {
        let session = short(&work.session).to_owned();
        let told = told(work, scope, picture, kept, undoers, left_out, &self.hand.who());
        let lift = v1::HoldRequest {
            session: work.session.clone(),
            who: self.hand.who(),
            lift: true,
            told,
            ..Default::default()
        };
        self.door.hold(lift).await?;
        self.tell(&format!("Session {session} may go on; it is told what happened at its next call."), "")
    }
}

/// One request a host: the sessions that worked there, together.
pub(super) fn taking_back(works: &[Work], good: &LastGood, hand: &Hand) -> Vec<v1::RollbackRequest> {
    let mut hosts: Vec<&str> = works.iter().map(|work| work.host.as_str()).filter(|host| !host.is_empty()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let request = |host: &str| {
        let mut here = works.iter().filter(|work| work.host == host).map(|work| work.session.clone());
        let session = here.next().unwrap_or_default();
        let (since_unix_ms, who) = (good.at_unix_ms(), hand.who());
        v1::RollbackRequest { session, with: here.collect(), since_unix_ms, who, ..Default::default() }
    };
    hosts.into_iter().map(request).collect()
}

fn told(
    work: &Work,
    scope: &Scope,
    picture: &Picture,
    kept: &[String],
    undoers: &[String],
    left_out: &[String],
    who: &str,
) -> String {
    let met: Vec<String> = meeting(&picture.works).into_iter().map(|spot| spot.path).collect();
    let back: Vec<&str> =
        alone(work, &picture.works).into_iter().filter(|path| !left_out.iter().any(|left| left == path)).collect();
    let list = |paths: &[&str]| if paths.is_empty() { "none".to_owned() } else { paths.join(", ") };
    let met: Vec<&str> = met.iter().map(String::as_str).collect();
    let kept: Vec<&str> = kept.iter().map(|commit| short(commit)).collect();
    let by: Vec<&str> = undoers.iter().map(|by| short(by)).collect();
    format!(
        "This session and another had changed the same files, and {who} has taken both back to {}. Files of yours that stand as \
         you left them: {}. Files that are as they were before you both: {}. What stood there is kept (checkpoint {}; \
         rollback {}), and a person can bring it back. Read files again before changing them. Proposed for you alone: {}.",
        picture.good.words(),
        list(&back),
        list(&met),
        list(&kept),
        list(&by),
        list(&scope.may.iter().map(String::as_str).collect::<Vec<_>>()),
    )
}

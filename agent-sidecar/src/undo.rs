//! Rollback of one session (R18, X4): its changes are read from the journal, what taking them out comes to is planned on what
//! stands now (`rr_core::rollback`), and the plan is written under locks of a session of its own, journalled before and after.
//! So a rollback is seen, waited for and undone like anybody's work. Who may ask is the coordinator's to say.

mod changes;
mod locks;
mod plan;
mod target;
mod told;
mod within;
mod write;
mod wrote;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rr_core::content::Content;
use rr_core::rollback::{Change, Place, Plan, Request, Selection};
use rr_fleet::{Ending, Session};
use rr_proto::v1;
use rr_runtime::errors::chain;

use crate::asked::Declined;
use crate::processes::Snapshot;
use crate::repos::Repo;
use crate::service::Service;
use changes::not_all_written;
use locks::HeldBack;
pub(crate) use plan::Plans;
pub(crate) use target::Target;
use told::{Sides, reply, where_they_differ};
pub(crate) use wrote::Wrote;

/// Conflicts shown with both sides; of the rest the path and the reason.
const SIDES_SHOWN_MAX: usize = 20;
/// The agent of a session that a rollback works under.
const UNDOER: &str = "rollback";

impl Service {
    /// Takes a session's own changes out of what stands now. The text of an error is for the person who asked.
    pub(crate) async fn roll_back(
        self: &Arc<Self>,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, Declined> {
        // An end that took its hook too long is on its way to the journal, though its agent has stopped long since.
        self.ends.settled().await;
        let settled = self.journal.settled().await;
        let mut target = self.target(&asked.session)?;
        for further in &asked.with {
            target.add(self.target(further)?);
        }
        // A command that outlived an earlier sidecar may have ended a moment ago.
        let running = Snapshot::take();
        for who in &target.live {
            self.look_at_earlier(who, &running).await;
        }
        settled.map_err(|error| Declined::Refused(not_all_written(&error)))?;
        if target.live.is_empty() {
            let history = self.history_of(&target).await.map_err(Declined::Refused)?;
            target.live.extend(self.behind(&history, &target));
        }
        self.roll_back_target(asked, &target).await.map_err(Declined::Refused)
    }

    async fn roll_back_target(
        self: &Arc<Self>,
        asked: &v1::RollbackRequest,
        target: &Target,
    ) -> Result<v1::RollbackReply, String> {
        // What is only asked for stops nobody.
        let held_back = target.live.iter().filter(|_| !asked.dry_run).map(|who| HeldBack::hold(who));
        let _held_back = held_back.collect::<Result<Vec<_>, _>>()?;
        let history = self.history_of(target).await?;
        let request = self.request(asked, target, &history)?;
        let (first, sides) = self.planned(&history, &request).await?;
        if asked.dry_run || !first.conflicts.is_empty() || first.writes.is_empty() && first.settled.is_empty() {
            return Ok(reply(&target.sid, &first, &sides, None));
        }
        let repos = self.repos_of(&first)?;
        let undoer = self.undoer(&repos, target).await?;
        let done = self.under_locks(&undoer, &repos, target, &request, asked).await;
        if let Err(error) = self.fleet.end(&undoer, Ending::Clean).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "end a rollback's session; its lease runs out by itself"
            );
        }
        done
    }

    fn request(&self, asked: &v1::RollbackRequest, target: &Target, history: &[Change]) -> Result<Request, String> {
        let selection = match (asked.steps, asked.since_unix_ms, asked.to_checkpoint) {
            (0, 0, false) => Selection::All,
            (steps, 0, false) => Selection::Steps(usize::try_from(steps).unwrap_or(usize::MAX)),
            (0, since, false) => Selection::Since(since),
            (0, 0, true) => Selection::After(self.last_checkpoint(&target.sid)?),
            _ => return Err("Of steps, a time and the last checkpoint one can be named.".to_owned()),
        };
        if target.all.len() > 1 && !matches!(selection, Selection::All | Selection::Since(_)) {
            return Err("Several sessions together are taken back whole, or since a time.".to_owned());
        }
        let below = self.within(asked, target, history)?;
        Ok(Request { sessions: target.all.clone(), selection, below })
    }

    /// A plan, and both sides of its conflicts as text.
    async fn planned(&self, history: &[Change], request: &Request) -> Result<(Plan, Sides), String> {
        let (vault, history, request) = (self.snapshots.vault.clone(), history.to_vec(), request.clone());
        let planning = move || {
            let planned = rr_git::plan_rollback(&vault, &history, &request);
            let planned = planned.map_err(|error| format!("what stands now cannot be looked at: {}", chain(&error)))?;
            let text = |content: Content| {
                let bytes = content.blob().and_then(|blob| vault.bytes(blob).ok())?;
                String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))
            };
            let shown = planned.conflicts.iter().take(SIDES_SHOWN_MAX);
            let sides = shown.map(|c| where_they_differ(text(c.ours), text(c.theirs))).collect();
            Ok((planned, sides))
        };
        tokio::task::spawn_blocking(planning).await.unwrap_or_else(|_| Err("planning the rollback failed".to_owned()))
    }

    /// The work trees that a plan writes in.
    fn repos_of(&self, plan: &Plan) -> Result<BTreeMap<PathBuf, Arc<Repo>>, String> {
        let mut repos = BTreeMap::new();
        for write in &plan.writes {
            let root = &write.place.root;
            if repos.contains_key(root) {
                continue;
            }
            match self.repos.around(root) {
                Ok(Some(repo)) if repo.tree.root == *root => repos.insert(root.clone(), repo),
                _ => return Err(format!("{} is no work tree any more. Nothing was changed.", root.display())),
            };
        }
        Ok(repos)
    }

    async fn under_locks(
        self: &Arc<Self>,
        undoer: &Session,
        repos: &BTreeMap<PathBuf, Arc<Repo>>,
        target: &Target,
        request: &Request,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, String> {
        // What it did until now, also what was written down a moment ago.
        let history = self.history_of(target).await?;
        let (plan, _) = self.planned(&history, request).await?;
        let mut held = Vec::new();
        let locked = self.lock_for(undoer, repos, target, &plan, &mut held).await;
        let places: BTreeSet<Place> = plan.writes.iter().map(|w| w.place.clone()).collect();
        let done = match locked {
            Ok(()) => self.write_plan(undoer, target, request, &places, asked).await,
            Err(why) => Err(why),
        };
        for lock in &held {
            if let Err(error) = self.fleet.release(lock).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "give a rollback's lock back; it ends with its session"
                );
            }
        }
        done
    }
}

//! What a rollback needs before it may write: the locks on its files, like anybody, and the sessions at work that it concerns held back.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rr_core::path::RepoPath;
use rr_core::rollback::Plan;
use rr_core::scope::{Claim, Scope};
use rr_fleet::{Answer as Asked, GrantedLock, Session};
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;

use super::UNDOER;
use super::target::Target;
use crate::repos::{Repo, Shared};
use crate::service::Service;
use crate::table::AgentSession;

impl Service {
    /// The locks on all that is to be written, like anybody's. What the session itself holds is held back with it.
    pub(super) async fn lock_for(
        &self,
        undoer: &Session,
        repos: &BTreeMap<PathBuf, Arc<Repo>>,
        target: &Target,
        plan: &Plan,
        held: &mut Vec<GrantedLock>,
    ) -> Result<(), String> {
        for (root, repo) in repos {
            let mut claims = Vec::new();
            for write in plan.writes.iter().filter(|w| w.place.root == *root) {
                // No lock is given out for some names: nobody else can hold it either.
                let Ok(path) = RepoPath::parse(write.place.path.as_os_str().as_bytes()) else { continue };
                let claim = Claim::exclusive(Scope::Path(path));
                let own = target.live.iter().any(|who| who.lock().covering(repo, &claim).is_some());
                if !own {
                    claims.push(claim);
                }
            }
            let tree = Claim::shared(repo.shared(Shared::Tree));
            for some in claims.chunks(rr_core::limits::SCOPES_PER_REQUEST_MAX - 1) {
                let claims = some.iter().cloned().chain([tree.clone()]).collect();
                let asked = rr_fleet::Request {
                    repo: repo.id.clone(),
                    claims,
                    doing: UNDOER.to_owned(),
                    now_unix_ms: unix_ms(),
                };
                match self.fleet.request(undoer, asked).await {
                    Ok(Asked::Granted(grant)) => held.extend(grant.locks),
                    Ok(Asked::Queued(waiter, blockers)) => {
                        self.fleet.cancel(undoer, &waiter).await;
                        return Err(self.in_use(&blockers));
                    }
                    Ok(Asked::Lost) => {
                        return Err("The rollback's session was lost. Nothing was changed: try again.".to_owned());
                    }
                    Err(error) => {
                        return Err(format!(
                            "The store gave no clear answer about the locks: {}. Nothing was changed.",
                            chain(&error)
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn in_use(&self, blockers: &[rr_core::lock::Blocker]) -> String {
        let names: BTreeSet<String> = blockers.iter().map(|b| self.who(b.session(), None).session).collect();
        let names: Vec<String> = names.into_iter().collect();
        format!(
            "Session {} is at work on files that the rollback has to change. Nothing was changed: wait until its turn is over \
             (`rrctl locks`), or take only other files (`--path`).",
            names.join(", ")
        )
    }
}

/// A live session that may change nothing while it is rolled back.
pub(super) struct HeldBack<'a>(&'a AgentSession);

impl<'a> HeldBack<'a> {
    pub(super) fn hold(who: &'a AgentSession) -> Result<Self, String> {
        let mut inner = who.lock();
        if inner.held_back {
            return Err("A rollback of this session is under way already.".to_owned());
        }
        if inner.may_change_in_flight() > 0 {
            return Err(format!(
                "Session {} has a call under way. Nothing was changed: wait until it is over (`rrctl sessions`), or `rrctl pause-all` first.",
                who.sid().short()
            ));
        }
        inner.held_back = true;
        drop(inner);
        Ok(Self(who))
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.lock().held_back = false;
    }
}

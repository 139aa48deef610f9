//! What the watcher has found about this machine's work trees, told to whoever works there, each thing once. It decides nothing: what
//! is worth telling, the watcher has decided; the words are in `messages`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rr_core::id::SessionId;
use rr_core::live::TreeKey;
use rr_core::overlap::{Finding, FindingId, Kind, Level};
use rr_fleet::FindingChange;
use tokio_util::sync::CancellationToken;

use crate::messages::{self, Reader};
use crate::service::Service;
use crate::table::AgentSession;

/// Pause before a store that did not answer is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Findings as they were told here.
type Told = BTreeMap<FindingId, Finding>;

impl Service {
    /// Tells findings until shutdown.
    pub(crate) async fn follow_findings(self: Arc<Self>, shutdown: CancellationToken) {
        let mut told = None;
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.tell_findings(&mut told) => {}
            }
            let _ = tokio::time::timeout(RETRY_EVERY, shutdown.cancelled()).await;
        }
    }

    /// Until the store does not answer.
    async fn tell_findings(&self, told: &mut Option<Told>) {
        let Ok(mut follower) = self.fleet.follow_findings().await else { return };
        let standing = follower.all().map(|f| (f.id.clone(), f.clone())).collect::<Told>();
        match told {
            // What stood before this sidecar began was told by its earlier life.
            None => *told = Some(standing),
            Some(told) => {
                let gone: Vec<FindingId> = told.keys().filter(|id| !standing.contains_key(*id)).cloned().collect();
                gone.into_iter().for_each(|id| self.cleared(told, &id));
                standing.values().for_each(|finding| self.found(told, finding));
            }
        }
        let told = told.get_or_insert_with(Told::new);
        while let Ok(changes) = follower.next().await {
            for change in changes {
                match change {
                    FindingChange::Put(finding) => self.found(told, &finding),
                    FindingChange::Clear(id) => self.cleared(told, &id),
                }
            }
        }
    }

    fn found(&self, told: &mut Told, finding: &Finding) {
        let before = told.insert(finding.id.clone(), finding.clone());
        let is_worse = before.is_none_or(|before| before.level < finding.level);
        if finding.level == Level::Shared || !is_worse {
            return;
        }
        for (side, who) in self.concerned(finding).into_iter().filter(|(_, who)| is_for(finding, who.sid())) {
            if let Kind::Edits { check, command, whose } = &finding.kind {
                let others = whose.sessions().iter().filter(|sid| *sid != who.sid());
                let others: Vec<_> = others.map(|sid| self.who(sid, None)).collect();
                let reader = Reader { took_part: whose.sessions().contains(who.sid()), others: &others };
                who.notify(messages::broken_edits(finding, (check, command), whose, &reader));
                continue;
            }
            let other = &finding.sides[1 - side];
            let others: Vec<_> = self.at_work_on(other).iter().map(|sid| self.who(sid, None)).collect();
            who.notify(messages::overlap(finding, side, &others));
        }
    }

    fn cleared(&self, told: &mut Told, id: &FindingId) {
        let is_over = |f: &Finding| f.level >= Level::Conflict && !matches!(f.kind, Kind::Reverted { .. });
        let Some(finding) = told.remove(id).filter(is_over) else { return };
        for (_, who) in self.concerned(&finding) {
            who.notify(messages::overlap_cleared(&finding));
        }
    }

    /// Sessions of this machine that work in one of a finding's trees, with which of the two that is.
    fn concerned(&self, finding: &Finding) -> Vec<(usize, Arc<AgentSession>)> {
        let mut out = Vec::new();
        for who in self.all() {
            let workspace = who.lock().record.workspace.clone();
            let Ok(Some(repo)) = self.repos.around(workspace.as_ref()) else { continue };
            let mine = |key: &TreeKey| key.host == self.host && key.tree == repo.tag();
            if let Some(side) = finding.sides.iter().position(mine) {
                out.push((side, who));
            }
        }
        out
    }

    /// Who works in a tree, as far as this machine knows: its own sessions.
    fn at_work_on(&self, key: &TreeKey) -> Vec<SessionId> {
        let mine = |who: &Arc<AgentSession>| {
            let workspace = who.lock().record.workspace.clone();
            let repo = self.repos.around(workspace.as_ref()).ok().flatten();
            repo.is_some_and(|repo| key.host == self.host && repo.tag() == key.tree)
        };
        self.all().into_iter().filter(mine).map(|who| who.sid().clone()).collect()
    }
}

/// What is about one session's commit is that session's to read, whoever else works in the same folder.
fn is_for(finding: &Finding, sid: &SessionId) -> bool {
    !matches!(&finding.kind, Kind::Reverted { session, .. } if session != sid)
}

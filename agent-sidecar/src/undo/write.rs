//! Writing a plan, journalled before and after, under a session of its own, and telling whom it concerns. The plan on the disk is
//! `plan`'s, the bytes are `rr_git`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use rr_core::path::show;
use rr_core::rollback::{Place, Plan, Request};
use rr_fleet::{Registered, Session, SessionRecord};
use rr_git::{Applied, ApplyError, VaultError};
use rr_journal::{Does, Entry, Event as Fact, FileChange, Spot};
use rr_proto::v1;
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;

use super::UNDOER;
use super::target::Target;
use super::told::reply;
use crate::messages;
use crate::people::OwnHand;
use crate::record::kept;
use crate::repos::Repo;
use crate::service::Service;
use crate::snapshots::repo_path;

impl Service {
    /// A session that the rollback works under: seen and told of like any other.
    pub(super) async fn undoer(
        &self,
        repos: &BTreeMap<PathBuf, Arc<Repo>>,
        target: &Target,
    ) -> Result<Session, String> {
        let name = format!("{UNDOER}-{}-{}", target.sid.short(), unix_ms());
        let record = SessionRecord {
            host: self.host.clone(),
            host_name: self.host_name.clone(),
            boot: self.boot.clone(),
            pid: std::process::id(),
            start: 0,
            agent: UNDOER.to_owned(),
            agent_session: name.clone(),
            workspace: repos.keys().next().map(|root| root.display().to_string()).unwrap_or_default(),
            since_unix_ms: unix_ms(),
            task: target.in_words(),
            warning: String::new(),
        };
        match self.fleet.register(&record, self.host.as_str()).await {
            Ok(Registered::New(session)) => {
                self.journal.note(self.undo_entry(
                    &session,
                    None,
                    Fact::SessionStarted {
                        agent: UNDOER.to_owned(),
                        agent_session: name,
                        workspace: PathBuf::from(&record.workspace),
                        pid: record.pid,
                        task: record.task.as_str().into(),
                    },
                ));
                Ok(session)
            }
            Ok(Registered::SlotTaken { .. }) => Err("Another rollback has just begun here: try again.".to_owned()),
            Err(error) => {
                Err(format!("The store did not take the rollback's session: {}. Nothing was changed.", chain(&error)))
            }
        }
    }

    fn undo_entry(&self, session: &Session, call: Option<&str>, event: Fact) -> Entry {
        Entry {
            at_unix_ms: unix_ms(),
            session: Some(session.sid.clone()),
            agent_id: None,
            call: call.map(str::to_owned),
            revision: self.state().as_ref().map_or(0, |s| s.revision),
            event,
        }
    }

    /// Plans once more, now that nobody else may write, and writes.
    pub(super) async fn write_plan(
        self: &Arc<Self>,
        undoer: &Session,
        target: &Target,
        request: &Request,
        locked: &BTreeSet<Place>,
        asked: &v1::RollbackRequest,
    ) -> Result<v1::RollbackReply, String> {
        let history = self.history_of(target).await?;
        let (plan, sides) = self.planned(&history, request).await?;
        if !plan.conflicts.is_empty() {
            return Ok(reply(&target.sid, &plan, &sides, None));
        }
        if let Some(more) = plan.writes.iter().find(|w| !locked.contains(&w.place)) {
            return Err(format!("{} has changed meanwhile. Nothing was changed: try again.", show(&more.place.path)));
        }
        let call = format!("{UNDOER}-{}", unix_ms());
        let hands = self.own_hands(&plan).await;
        let number = self.begin_undo(undoer, &call, &plan).await?;
        let (service, writes) = (Arc::clone(self), plan.writes.clone());
        let planned = self.undo_entry(undoer, Some(&call), rolled_back(target, &plan, &as_planned(&plan)));
        let applied = tokio::task::spawn_blocking(move || {
            let kept = service.plans.keep(number, &planned);
            kept.map_err(|error| ApplyError::Disk {
                doing: "keep the plan in",
                path: service.plans.dir(),
                source: error,
            })?;
            rr_git::apply(&service.snapshots.vault, number, &writes)
        })
        .await;
        let applied = match applied {
            Ok(Ok(applied)) => applied,
            // Its call stays open in the journal, and its plan on the disk: the next start goes on with it.
            Ok(Err(error @ ApplyError::HalfWay { .. })) => {
                return Err(format!("{}: put that right, then roll back again", chain(&error)));
            }
            Ok(Err(error)) => {
                let fact = Fact::Done { ok: false, changes: Vec::new() };
                self.journal.note(self.undo_entry(undoer, Some(&call), fact));
                self.plans.forget(number);
                return Err(not_written(&error));
            }
            Err(_) => return Err("writing the rollback failed: `rrctl log` shows how far it came".to_owned()),
        };
        for (root, hand) in &hands {
            let here = applied.iter().filter(|a| a.place.root == *root);
            hand.wrote(here.map(|a| (a.place.path.clone(), a.after)), self.now());
        }
        let calls = self.all();
        let oldest = calls.iter().filter_map(|who| who.lock().in_flight.values().map(|call| call.started).min()).min();
        self.wrote.note(applied.iter().map(|a| a.place.root.join(&a.place.path)), self.now(), oldest);
        drop(hands);
        self.end_undo(undoer, &call, target, &plan, &applied).await?;
        self.plans.forget(number);
        self.tell_of_undo(target, &plan, &asked.who);
        Ok(reply(&target.sid, &plan, &sides, Some(&undoer.sid)))
    }

    /// What a rollback writes is nobody's save.
    async fn own_hands(&self, plan: &Plan) -> Vec<(PathBuf, OwnHand)> {
        let roots: BTreeSet<&PathBuf> = plan.writes.iter().map(|write| &write.place.root).collect();
        let mut hands = Vec::new();
        for root in roots {
            if let Ok(Some(repo)) = self.repos.around(root) {
                hands.push((root.clone(), self.people.own_hand(&repo).await));
            }
        }
        hands
    }

    async fn begin_undo(&self, undoer: &Session, call: &str, plan: &Plan) -> Result<u64, String> {
        let spots = plan
            .writes
            .iter()
            .filter_map(|w| Some(Spot { root: w.place.root.clone(), path: repo_path(&w.place.path)? }));
        let files = plan.writes.iter().filter_map(|w| Some(kept(&w.place.root, &repo_path(&w.place.path)?, w.expects)));
        let cwd = plan.writes.first().map(|w| w.place.root.clone()).unwrap_or_default();
        let facts = [
            Fact::Intent { tool: UNDOER.to_owned(), does: Does::Write(spots.collect()), cwd },
            Fact::Snapped { files: files.collect() },
            Fact::Started,
        ];
        let entries = facts.map(|fact| self.undo_entry(undoer, Some(call), fact));
        let number = self.journal.append(entries.into()).await;
        number.map_err(|error| format!("The journal cannot be written ({}), so nothing was changed.", chain(&error)))
    }

    async fn end_undo(
        &self,
        undoer: &Session,
        call: &str,
        target: &Target,
        plan: &Plan,
        applied: &[Applied],
    ) -> Result<(), String> {
        let fact = rolled_back(target, plan, applied);
        let entries = vec![
            self.undo_entry(undoer, Some(call), fact),
            self.undo_entry(undoer, None, Fact::SessionEnded { how: "done".into() }),
        ];
        let written = self.journal.append(entries).await;
        written.map(drop).map_err(|error| {
            format!(
                "The files are written, and the journal could not take that down ({}): `rrctl doctor`.",
                chain(&error)
            )
        })
    }

    /// Whoever has read one of the files learns that it has changed; so does the session itself.
    fn tell_of_undo(&self, target: &Target, plan: &Plan, by: &str) {
        let disks: Vec<PathBuf> = plan.writes.iter().map(|w| w.place.root.join(&w.place.path)).collect();
        for who in self.all() {
            let is_target = target.all.contains(who.sid());
            let files: Vec<String> = {
                let inner = who.lock();
                let read = |disk: &PathBuf| is_target || inner.reads.keys().any(|(_, p)| p == disk);
                disks.iter().filter(|disk| read(disk)).map(|disk| show(disk)).collect()
            };
            if !files.is_empty() {
                who.notify(messages::rolled_back(&files, is_target, &target.names(), by));
            }
        }
    }
}

/// Why nothing was written, and what helps.
fn not_written(error: &ApplyError) -> String {
    let helps = match error {
        ApplyError::Changed { .. } => return format!("{}. Nothing was changed: try again.", chain(error)),
        ApplyError::HardLinked { .. } => "remove the other name and roll back again",
        ApplyError::FolderInUse { .. } => "move them elsewhere and roll back again",
        ApplyError::Vault(VaultError::Missing { .. } | VaultError::Damaged { .. }) => "see what `rrctl doctor` says",
        ApplyError::Disk { source, .. } | ApplyError::Vault(VaultError::Disk { source, .. }) => match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "make it writable for this user and roll back again"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on that disk and roll back again",
            _ => "put that right and roll back again",
        },
        ApplyError::Vault(_) | ApplyError::HalfWay { .. } | ApplyError::LeftOver { .. } => {
            "put that right and roll back again"
        }
    };
    format!("{}. Nothing was changed: {helps}, or take only other files (`--path`).", chain(error))
}

/// A rollback as the journal has it.
fn rolled_back(target: &Target, plan: &Plan, applied: &[Applied]) -> Fact {
    let change = |place: &Place, before, after| {
        let path = repo_path(&place.path)?;
        Some(FileChange { root: place.root.clone(), path, before, after, foreseen: true })
    };
    let written = applied.iter().filter_map(|a| change(&a.place, a.before, a.after));
    let settled = plan.settled.iter().filter_map(|s| change(&s.place, s.stands, s.stands));
    let undone: BTreeSet<u64> = plan
        .writes
        .iter()
        .flat_map(|w| &w.undoes)
        .chain(plan.settled.iter().flat_map(|s| &s.undoes))
        .copied()
        .collect();
    Fact::RolledBack {
        of: target.sid.clone(),
        undone: undone.into_iter().collect(),
        changes: written.chain(settled).collect(),
        undoes: None,
    }
}

/// All of a plan, as if it were done.
fn as_planned(plan: &Plan) -> Vec<Applied> {
    let applied = |w: &rr_core::rollback::Write| Applied {
        place: w.place.clone(),
        before: w.expects,
        after: w.becomes,
        undoes: w.undoes.clone(),
    };
    plan.writes.iter().map(applied).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn who_cannot_write_is_told_what_stands_in_the_way_and_what_helps() {
        let disk = |kind: ErrorKind| {
            let (doing, path) = ("stage", PathBuf::from("/repo/closed/a.txt"));
            not_written(&ApplyError::Disk { doing, path, source: io::Error::from(kind) })
        };
        let closed = disk(ErrorKind::PermissionDenied);
        assert!(closed.starts_with("stage /repo/closed/a.txt: ") && closed.contains("make it writable"), "{closed}");
        assert!(closed.contains("Nothing was changed") && closed.contains("--path"), "{closed}");
        assert!(disk(ErrorKind::ReadOnlyFilesystem).contains("make it writable"));
        assert!(disk(ErrorKind::StorageFull).contains("make room"));
        let place = Place { root: "/repo".into(), path: "a.txt".into() };
        let changed = not_written(&ApplyError::Changed { place, is: rr_core::content::Content::Absent });
        assert!(changed.ends_with("Nothing was changed: try again."), "{changed}");
    }
}

//! What a save leads to: a session of whoever owns the file, an entry in the journal with what stood before and after, a lock if the
//! file is free, and a word to the agents that have read it. A person is never stopped by any of it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::content::Content;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Scope};
use rr_core::session::SessionState;
use rr_core::time::Span;
use rr_fleet::PERSON;
use rr_git::Dirty;
use rr_journal::{Does, Event as Fact, FileChange, Spot};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::People as Rules;
use rr_runtime::errors::chain;

use super::window::{Accounted, Window};
use super::{People, unaccounted};
use crate::aftermath::committed;
use crate::locking::{Doing, Got, Need};
use crate::messages;
use crate::processes::Process;
use crate::repos::{Repo, Shared};
use crate::service::Service;
use crate::snapshots::{Before, FOUND_MAX, repo_path};
use crate::table::{AgentKey, AgentSession};

/// More files than this at once are no saves of an editor's: a checkout, a generator. They are told in one entry and not locked.
const AT_ONCE_MAX: usize = 20;
/// What a person is at, for those who are denied.
const DOING: &str = "edited in an editor";
/// Digits of a repository's id in the name of a person's session.
const REPO_DIGITS: usize = 8;

/// How the files of one window came to change.
enum How {
    Saved,
    /// Many at once, or the last commit is another one since.
    AtOnce,
}

impl Service {
    /// Says whose the files are that no call accounts for, and sees to what follows. An error: it could not be said now.
    pub(super) async fn attribute(
        self: &Arc<Self>,
        window: &Window,
        before: &Before,
        accounted: &Accounted,
        now: &Dirty,
    ) -> Result<(), String> {
        let repo = &window.repo;
        let mut files = unaccounted(before, accounted, now, repo);
        let moved = head_moved(before, now, repo);
        match &moved {
            // Git's own log does not say who moved it: nobody is known.
            Moved::NobodyKnows => return Ok(()),
            Moved::ByLanding => files.retain(|file| now.contains(file.as_path())),
            Moved::To(changed) => files.extend(changed.iter().filter(|file| !accounts_for(accounted, file)).cloned()),
            Moved::No => {}
        }
        files.sort();
        files.dedup();
        if files.is_empty() {
            return Ok(());
        }
        if files.len() > FOUND_MAX {
            return self.too_many(repo, &files).await;
        }
        let changes = self.changes_of(before, accounted, files).await?;
        let at_once = changes.len() > AT_ONCE_MAX || matches!(moved, Moved::To(_));
        let how = if at_once { How::AtOnce } else { How::Saved };
        let mut saved = Vec::new();
        for (uid, changes) in by_owner(changes) {
            saved.push((self.person(repo, uid).await?, changes));
        }
        for (who, changes) in saved {
            let tool = match how {
                How::Saved => "saved".to_owned(),
                How::AtOnce => format!("a person changed {} files:", changes.len()),
            };
            self.write_down_save(&who, &repo.tree.root, tool, &changes).await?;
            self.people.last_save().insert(who.key.clone(), self.now());
            self.tell_of_save(&who, repo, &changes);
            if matches!(how, How::Saved) && repo.config().0.people.locks {
                self.lock_saved(&who, repo, &changes, now).await;
            }
        }
        Ok(())
    }

    /// More than can be kept one by one: told with their number alone. Git has what was committed, a checkpoint the rest.
    async fn too_many(self: &Arc<Self>, repo: &Repo, files: &[RepoPath]) -> Result<(), String> {
        let Some(uid) = files.first().and_then(|file| owner(&repo.tree.root.join(file.as_path()))) else {
            return Ok(());
        };
        let who = self.person(repo, uid).await?;
        let tool = format!("a person changed {} files", files.len());
        self.write_down_save(&who, &repo.tree.root, tool, &[]).await?;
        self.people.last_save().insert(who.key.clone(), self.now());
        Ok(())
    }

    async fn changes_of(
        &self,
        before: &Before,
        accounted: &Accounted,
        files: Vec<RepoPath>,
    ) -> Result<Vec<FileChange>, String> {
        let (snapshots, before, left) = (self.snapshots.clone(), before.clone(), accounted.left.clone());
        let compare = move || {
            let (since, whole): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|file| left.contains_key(file.as_path()));
            // What calls remember of the tree is theirs to note.
            let mut changes = snapshots.changes(&before, &whole, None);
            changes.extend(snapshots.changes_since(&before, &since, &left));
            // A person saves files: a folder around them is none more.
            changes.retain(|change| change.after != Content::Folder);
            changes
        };
        tokio::task::spawn_blocking(compare).await.map_err(|_| "comparing files failed".to_owned())
    }

    /// The session of a user in a repository, registered with the first save.
    async fn person(self: &Arc<Self>, repo: &Repo, uid: u32) -> Result<Arc<AgentSession>, String> {
        let user = rr_runtime::host::user_name_of(uid);
        let session = format!("{user}@{}", repo.id.as_str().get(..REPO_DIGITS).unwrap_or_default());
        let key = AgentKey { agent: PERSON.to_owned(), session };
        let _one_at_a_time = self.registering.lock().await;
        let known = self.sessions().get(&key).cloned();
        let is_over = |who: &Arc<AgentSession>| {
            let mut inner = who.lock();
            inner.ended || matches!(inner.heartbeat.look(self.now()), SessionState::Dead(_) | SessionState::Closed)
        };
        match known.filter(|who| !is_over(who)) {
            Some(who) => Ok(who),
            None => {
                // No process is a person's: it lives as long as this one sees to it.
                let own = Process::own().ok_or("this process does not find itself")?;
                self.register(key, own, &repo.tree.root, None).await
            }
        }
    }

    async fn write_down_save(
        &self,
        who: &AgentSession,
        root: &Path,
        tool: String,
        changes: &[FileChange],
    ) -> Result<(), String> {
        let spots = changes.iter().map(|change| Spot { root: change.root.clone(), path: change.path.clone() });
        let facts = [
            Fact::Intent { tool, does: Does::Write(spots.collect()), cwd: root.to_owned() },
            Fact::Started,
            Fact::Done { ok: true, changes: changes.to_vec() },
        ];
        let call = format!("{PERSON}-{}", unix_ms());
        let entries = facts.map(|fact| self.entry(who, None, Some(&call), fact));
        self.journal.append(entries.into()).await.map_err(|error| chain(&error))?;
        who.lock().unsaved.extend(changes.iter().map(|change| change.root.clone()));
        Ok(())
    }

    /// Whoever has read one of the files learns of it, and so does who holds it.
    fn tell_of_save(&self, who: &AgentSession, repo: &Arc<Repo>, changes: &[FileChange]) {
        for change in changes {
            let disk = change.root.join(change.path.as_path());
            self.note_change(who, None, repo, &change.path, &disk);
            let claim = Claim::exclusive(Scope::Path(change.path.clone()));
            for other in self.all().into_iter().filter(|other| other.sid() != who.sid()) {
                let has_not_read = {
                    let mut inner = other.lock();
                    inner.covering(repo, &claim).is_some() && !inner.reads.keys().any(|(_, path)| *path == disk)
                };
                if has_not_read {
                    other.notify(messages::saved_by_person(&change.path.to_string(), &self.who(who.sid(), None)));
                }
            }
        }
    }

    /// Locks what was saved and is not committed, where it is free. Who holds it otherwise goes on holding it.
    async fn lock_saved(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        repo: &Arc<Repo>,
        changes: &[FileChange],
        now: &Dirty,
    ) {
        for change in changes.iter().filter(|change| now.contains(change.path.as_path())) {
            let claim = Claim::exclusive(Scope::Path(change.path.clone()));
            let needs = [claim, Claim::shared(repo.shared(Shared::Tree))];
            let needs = needs.map(|claim| Need { repo: repo.clone(), claim, only_for: None });
            if let Got::Refused { .. } = self.need(who, &needs, Doing { words: DOING, call: None }).await {
                self.withdraw_requests(who).await;
            }
        }
    }

    /// What people have committed needs no lock any more.
    pub(super) async fn give_back_committed(&self, repo: &Repo, now: &Dirty) {
        for who in self.all().into_iter().filter(|who| who.is_person()) {
            let over = who.lock().take_locks(|lock| committed(lock, repo, now));
            self.give_back(&who, over).await;
        }
    }

    /// Ends the sessions of people who have not saved anything for long: their locks are free.
    pub(crate) async fn end_idle_people(self: &Arc<Self>) {
        let now = self.now();
        for who in self.all().into_iter().filter(|who| who.is_person()) {
            let last = *self.people.last_save().entry(who.key.clone()).or_insert(now);
            if now.since(last) >= self.idle_of(&who) {
                self.people.last_save().remove(&who.key);
                self.session_over(&who).await;
            }
        }
    }

    fn idle_of(&self, who: &AgentSession) -> Span {
        let workspace = PathBuf::from(&who.lock().record.workspace);
        let repo = self.repos.around(&workspace).ok().flatten();
        repo.map_or_else(|| Rules::default().idle, |repo| repo.config().0.people.idle)
    }
}

impl People {
    fn last_save(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<AgentKey, rr_core::time::BootTime>> {
        self.last_save.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What became of HEAD since a work tree was last looked at.
enum Moved {
    No,
    /// By the product's own hand: what is as committed now is its work.
    ByLanding,
    /// By a git command of somebody's; these differ between the two commits.
    To(Vec<RepoPath>),
    NobodyKnows,
}

fn head_moved(before: &Before, now: &Dirty, repo: &Repo) -> Moved {
    let then = before.tree.as_ref().and_then(|tree| tree.dirty.commit());
    let (Some(then), Some(new)) = (then, now.commit()) else { return Moved::No };
    if then == new {
        return Moved::No;
    }
    match repo.tree.was_landed_since(then) {
        None => Moved::NobodyKnows,
        Some(true) => Moved::ByLanding,
        Some(false) => match repo.tree.changed_between(then, new) {
            Ok(files) => Moved::To(files.iter().filter_map(|file| repo_path(file)).collect()),
            Err(_) => Moved::NobodyKnows,
        },
    }
}

fn accounts_for(accounted: &Accounted, file: &RepoPath) -> bool {
    accounted.named.contains(file.as_path())
}

/// Whose a file is; of one that is gone, whose the folder is that it was taken from.
fn owner(disk: &Path) -> Option<u32> {
    disk.ancestors().find_map(|path| path.symlink_metadata().ok()).map(|meta| meta.uid())
}

/// The changes of each owner. In a tree that is gone as a whole nobody is known.
fn by_owner(changes: Vec<FileChange>) -> BTreeMap<u32, Vec<FileChange>> {
    let mut all: BTreeMap<u32, Vec<FileChange>> = BTreeMap::new();
    for change in changes.into_iter().filter(|change| change.root.is_dir() && change.after != Content::Unkept) {
        if let Some(uid) = owner(&change.root.join(change.path.as_path())) {
            all.entry(uid).or_default().push(change);
        }
    }
    all
}

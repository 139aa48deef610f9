//! What the sidecar does for its own records beside calls: checkpoints of work trees every few minutes (G23), the journal's head
//! in the store once a minute, contents that only a work repository has taken over, and snapshots that no entry names any
//! more let go of.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rr_core::content::BlobId;
use rr_core::id::SessionId;
use rr_fleet::{HeadRecorded, LogHead};
use rr_journal::{Entry, Event as Fact, Filter, Kind, Order, Reader};
use rr_runtime::clock::unix_ms;
use rr_runtime::errors::chain;
use tokio_util::sync::CancellationToken;

use crate::repos::Repo;
use crate::service::Service;
use crate::table::AgentSession;

const EVERY: Duration = Duration::from_secs(60);
/// Of a session that has changed something since its last one: between the five and ten minutes that are promised.
const CHECKPOINT_ROUNDS: u64 = 5;
/// Snapshots are let go of this often.
const TIDY_ROUNDS: u64 = 6 * 60;
/// And only when they are at least this old: an entry that names one may still be on its way.
const TIDY_OLDER_THAN: Duration = Duration::from_secs(24 * 3_600);
/// Checkpoints stay this long.
const CHECKPOINTS_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Contents taken over at a time: a round must not keep the disk busy.
const ADOPT_MAX: usize = 1_000;
/// More entries than are written between a call and its contents being taken over.
const LATEST_MAX: usize = 2_000;

impl Service {
    pub(crate) async fn keep_records(self: Arc<Self>, shutdown: CancellationToken) {
        self.adopt_what_was_left().await;
        let (mut round, mut told) = (0u64, None);
        while tokio::time::timeout(EVERY, shutdown.cancelled()).await.is_err() {
            round += 1;
            self.tell_head(&mut told).await;
            self.adopt_contents().await;
            if round.is_multiple_of(CHECKPOINT_ROUNDS) {
                self.checkpoint_all().await;
            }
            if round.is_multiple_of(TIDY_ROUNDS) {
                self.let_go().await;
            }
        }
    }

    /// How far the journal goes, where this machine's own disk cannot take it back.
    async fn tell_head(&self, told: &mut Option<u64>) {
        let head = self.journal.head();
        if head.sequence == 0 || *told == Some(head.sequence) {
            return;
        }
        let record = LogHead {
            sequence: head.sequence,
            chain: head.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            host_name: self.host_name.clone(),
            at_unix_ms: unix_ms(),
        };
        match self.fleet.record_log_head(&self.host, &record).await {
            Ok(HeadRecorded::Written | HeadRecorded::Unchanged) => *told = Some(head.sequence),
            Ok(HeadRecorded::Contradicts(known)) => {
                *told = Some(head.sequence);
                tracing::error!(
                    here = head.sequence,
                    known = known.sequence,
                    "the journal of this machine goes less far than the store remembers: entries are missing"
                );
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "tell how far the journal goes"),
        }
    }

    /// What was found in a work repository alone is kept here from now on.
    pub(crate) async fn adopt_contents(&self) {
        let vault = self.snapshots.vault.clone();
        match tokio::task::spawn_blocking(move || vault.adopt(ADOPT_MAX)).await {
            Ok(Ok(adopted)) if adopted.lost > 0 => {
                tracing::warn!(lost = adopted.lost, "a repository let go of contents before they were taken over");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "take over contents"),
            Err(_) => {}
        }
    }

    /// What an earlier life had named in the journal and not taken over yet, when it ended.
    async fn adopt_what_was_left(&self) {
        let (snapshots, repos, reader) = (self.snapshots.clone(), self.last_roots(), self.journal.reader());
        let adopt = move || {
            repos.iter().for_each(|repo| snapshots.borrow(&repo.tree));
            snapshots.vault.adopt_these(latest(&reader))
        };
        match tokio::task::spawn_blocking(adopt).await {
            Ok(Ok(adopted)) => tracing::debug!(?adopted, "took over what an earlier life had left"),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "take over contents"),
            Err(_) => {}
        }
    }

    /// The work trees that the journal's last entries name.
    fn last_roots(&self) -> Vec<Arc<Repo>> {
        let mut roots = HashSet::new();
        for entry in latest_entries(&self.journal.reader()) {
            entry.event.for_each_path(|root, _| roots.extend(root.map(Path::to_owned)));
        }
        roots.iter().filter_map(|root| self.repos.around(root).ok().flatten()).collect()
    }

    async fn checkpoint_all(self: &Arc<Self>) {
        let mut due: BTreeMap<PathBuf, Vec<Arc<AgentSession>>> = BTreeMap::new();
        for who in self.all() {
            let roots = std::mem::take(&mut who.lock().unsaved);
            for root in roots {
                due.entry(root).or_default().push(who.clone());
            }
        }
        for (root, sessions) in due {
            let Ok(Some(repo)) = self.repos.around(&root) else { continue };
            for who in &sessions {
                if let Err(why) = self.checkpoint(&repo, Some(who), "every few minutes").await {
                    tracing::warn!(root = %root.display(), why, "keep a checkpoint");
                    who.lock().unsaved.insert(root.clone());
                }
            }
        }
    }

    /// Keeps a whole work tree: for one session, or for all that work there. Answers the commit.
    pub(crate) async fn checkpoint(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        whose: Option<&Arc<AgentSession>>,
        why: &str,
    ) -> Result<String, String> {
        let sessions = match whose {
            Some(who) => vec![who.clone()],
            None => self.all().into_iter().filter(|who| works_in(who, &repo.tree.root)).collect(),
        };
        let nobody = SessionId::from_random([0; 16]);
        let named = sessions.first().map_or(nobody, |who| who.sid().clone());
        let (vault, looked, reason) = (self.snapshots.vault.clone(), repo.clone(), why.to_owned());
        let made = tokio::task::spawn_blocking(move || vault.checkpoint(&looked.tree, &named, &reason)).await;
        let made = match made {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(chain(&error)),
            Err(_) => return Err("keeping a checkpoint failed".to_owned()),
        };
        let fact = || Fact::Checkpoint { root: repo.tree.root.clone(), commit: made.commit.clone(), why: why.into() };
        for who in &sessions {
            who.lock().unsaved.remove(&repo.tree.root);
            self.note(who, fact());
        }
        if sessions.is_empty() {
            let (at_unix_ms, event) = (unix_ms(), fact());
            self.journal.note(Entry { at_unix_ms, session: None, agent_id: None, call: None, revision: 0, event });
        }
        Ok(made.commit)
    }

    /// Lets go of snapshots that no entry of the journal names.
    async fn let_go(&self) {
        let (vault, reader) = (self.snapshots.vault.clone(), self.journal.reader());
        let tidy = move || {
            let over = (unix_ms() / 1_000).saturating_sub(CHECKPOINTS_KEPT_FOR.as_secs());
            let old = vault.checkpoints(None).unwrap_or_default().into_iter().filter(|c| c.at_unix_s < over);
            old.for_each(|checkpoint| drop(vault.forget_checkpoint(&checkpoint)));
            let named = named(&reader).ok_or("the journal is damaged, so everything is kept")?;
            vault.tidy(&|blob| named.contains(&blob), TIDY_OLDER_THAN).map_err(|_| "the snapshots could not be tidied")
        };
        match tokio::task::spawn_blocking(tidy).await {
            Ok(Ok(tidied)) => tracing::info!(?tidied, "let go of snapshots that nothing names"),
            Ok(Err(why)) => tracing::warn!(why, "tidy the snapshots"),
            Err(_) => {}
        }
    }
}

fn latest_entries(reader: &Reader) -> Vec<Entry> {
    let kinds = Some(vec![Kind::Snapped, Kind::Done]);
    let filter = Filter { kinds, limit: Some(LATEST_MAX), order: Order::NewestFirst, ..Filter::default() };
    reader.query(&filter).filter_map(Result::ok).map(|(_, entry)| entry).collect()
}

/// The contents that the journal's last entries name.
fn latest(reader: &Reader) -> HashSet<BlobId> {
    let mut all = HashSet::new();
    latest_entries(reader).iter().for_each(|entry| note_blobs(&entry.event, &mut all));
    all
}

fn note_blobs(fact: &Fact, all: &mut HashSet<BlobId>) {
    match fact {
        Fact::Snapped { files } => all.extend(files.iter().filter_map(|f| f.content.blob())),
        Fact::Done { changes, .. } | Fact::RolledBack { changes, .. } => {
            all.extend(changes.iter().flat_map(|c| [c.before, c.after]).filter_map(|content| content.blob()));
        }
        _ => {}
    }
}

/// Every content that the journal names. None if a part of it cannot be read: what that names must stay.
fn named(reader: &Reader) -> Option<HashSet<BlobId>> {
    let kinds = Some(vec![Kind::Snapped, Kind::Done, Kind::RolledBack]);
    let mut all = HashSet::new();
    for found in reader.query(&Filter { kinds, ..Filter::default() }) {
        note_blobs(&found.ok()?.1.event, &mut all);
    }
    Some(all)
}

fn works_in(who: &AgentSession, root: &Path) -> bool {
    Path::new(&who.lock().record.workspace).starts_with(root)
}

//! What the system tells of changes in work trees. Only folders that git knows are watched, so that builds and downloaded packages
//! cost nothing. Where watching is not possible, or something was missed, the answer is "not watched": then trees are looked at
//! by the clock. An event is only a wake-up; what changed, the look says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Folders that are watched in all: far below what a kernel gives one user.
const FOLDERS_MAX: usize = 30_000;

#[derive(Default)]
pub(super) struct Watching {
    watcher: Mutex<Option<RecommendedWatcher>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The watched folders of each root.
    roots: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    changed: BTreeSet<PathBuf>,
    /// Events were lost, or could not be had: nothing is known by watching any more.
    blind: BTreeSet<PathBuf>,
}

impl Watching {
    /// Watches these folders of a work tree from now on. `false`: it cannot be, the clock must do.
    pub(super) fn watch(&self, root: &Path, folders: &BTreeSet<PathBuf>) -> bool {
        if is_far(root) || self.count() + folders.len() > FOLDERS_MAX {
            return false;
        }
        let known = self.seen().roots.get(root).cloned().unwrap_or_default();
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() {
            *watcher = self.started();
        }
        let Some(watcher) = watcher.as_mut() else { return false };
        for gone in known.difference(folders) {
            let _ = watcher.unwatch(gone);
        }
        let mut whole = true;
        let mut fresh = false;
        for folder in folders.difference(&known) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => fresh = true,
                // Gone again since the look.
                Err(_) if !folder.is_dir() => {}
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "watch a folder; its tree is looked at by the clock");
                    whole = false;
                }
            }
        }
        let mut seen = self.seen();
        seen.roots.insert(root.to_owned(), folders.clone());
        if fresh {
            // What was written into a new folder before it was watched.
            seen.changed.insert(root.to_owned());
        }
        whole && !seen.blind.contains(root)
    }

    /// Nobody works there any more.
    pub(super) fn forget(&self, root: &Path) {
        let folders = self.seen().roots.remove(root).unwrap_or_default();
        if let Some(watcher) = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            for folder in folders {
                let _ = watcher.unwatch(&folder);
            }
        }
    }

    /// The trees in which something changed since the last time.
    pub(super) fn take_changed(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.seen().changed)
    }

    fn started(&self) -> Option<RecommendedWatcher> {
        let seen = self.seen.clone();
        let hear = move |event: notify::Result<Event>| seen.lock().unwrap_or_else(PoisonError::into_inner).hear(event);
        notify::recommended_watcher(hear)
            .inspect_err(
                |error| tracing::info!(%error, "the system tells of no changes; work trees are looked at by the clock"),
            )
            .ok()
    }

    fn count(&self) -> usize {
        self.seen().roots.values().map(BTreeSet::len).sum()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn hear(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.missed() };
        if event.need_rescan() {
            return self.missed();
        }
        // Being read changes nothing.
        if matches!(
            event.kind,
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(notify::event::MetadataKind::AccessTime))
        ) {
            return;
        }
        for path in &event.paths {
            let below = |folders: &BTreeSet<PathBuf>| {
                folders.contains(path) || path.parent().is_some_and(|p| folders.contains(p))
            };
            let roots = self.roots.iter().filter(|(_, folders)| below(folders));
            let found: Vec<PathBuf> = roots.map(|(root, _)| root.clone()).collect();
            self.changed.extend(found);
        }
    }

    /// Everything may have changed, and may go on being missed: a look now, and by the clock from then on.
    fn missed(&mut self) {
        let roots: Vec<PathBuf> = self.roots.keys().cloned().collect();
        self.changed.extend(roots.iter().cloned());
        self.blind.extend(roots);
    }
}

/// On a file system whose changes by other machines nobody tells us of.
fn is_far(root: &Path) -> bool {
    const FAR: [i64; 6] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x517b];
    rustix::fs::statfs(root).is_ok_and(|fs| FAR.contains(&fs.f_type))
}

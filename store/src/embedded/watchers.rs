//! Who watches which keys, so that a commit wakes those whose keys it changes, and nobody else: with thousands waiting in
//! one queue, each for the one before, a commit that woke all would cost thousands of looks.
//! It holds no change: a woken `watch` reads it from `history`, from the revision that was noted here first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::record::KeyChange;
use crate::contract::{Keys, Revision};

/// What the writer tells one watch.
#[derive(Debug)]
pub(super) struct Slot {
    /// The first revision that the watch has yet to look at; 0 if none of its keys changed since its last look. The writer
    /// sets it while it alone has the memory, the watch while it reads the memory: so neither misses the other.
    touched: AtomicU64,
    woken: Notify,
}

impl Slot {
    pub(super) fn touched(&self) -> Option<Revision> {
        match self.touched.load(Ordering::Acquire) {
            0 => None,
            revision => Some(revision),
        }
    }

    pub(super) fn look_again_from(&self, revision: Revision) {
        self.touched.store(revision, Ordering::Release);
    }

    /// All there is has been seen.
    pub(super) fn settle(&self) {
        self.touched.store(0, Ordering::Release);
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Also stands for a wait that has not begun.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }
}

type Slots = BTreeMap<u64, Arc<Slot>>;

#[derive(Debug, Default)]
struct Index {
    by_key: BTreeMap<String, Slots>,
    /// Few: a sidecar watches some folders of the key space, and waiters watch single keys.
    by_prefix: BTreeMap<String, Slots>,
    last_number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    index: Mutex<Index>,
    closed: AtomicBool,
}

/// A watch's entry; dropping it takes it out.
#[derive(Debug)]
pub(super) struct Registered {
    watchers: Arc<Watchers>,
    keys: Keys,
    number: u64,
    slot: Arc<Slot>,
}

impl Watchers {
    /// Begins with a look from `from`. To be called while nothing can be published.
    pub(super) fn register(self: &Arc<Self>, keys: Keys, from: Revision) -> Registered {
        let slot = Arc::new(Slot { touched: AtomicU64::new(from), woken: Notify::new() });
        let mut index = self.index();
        index.last_number += 1;
        let number = index.last_number;
        let (map, text) = index.map_of(&keys);
        map.entry(text.to_owned()).or_default().insert(number, Arc::clone(&slot));
        drop(index);
        Registered { watchers: Arc::clone(self), keys, number, slot }
    }

    /// Notes a revision's changes with all who watch them. They are for the caller to wake, once it holds no lock: to wake
    /// is to run what others have written.
    pub(super) fn touch(&self, revision: Revision, changes: &[KeyChange], woken: &mut Vec<Arc<Slot>>) {
        let index = self.index();
        for change in changes {
            let (KeyChange::Put(key, _) | KeyChange::Delete(key)) = change;
            let prefixes = index.by_prefix.iter().filter(|(prefix, _)| key.starts_with(prefix.as_str()));
            for slot in
                index.by_key.get(&**key).into_iter().chain(prefixes.map(|(_, slots)| slots)).flat_map(Slots::values)
            {
                // One that has older changes to look at was woken for those.
                if slot.touched().is_none() {
                    slot.look_again_from(revision);
                    woken.push(Arc::clone(slot));
                }
            }
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing more will be published.
    pub(super) fn close(&self) {
        // Before the list is read: who registers after that sees it.
        self.closed.store(true, Ordering::Release);
        let index = self.index();
        let all: Vec<_> =
            index.by_key.values().chain(index.by_prefix.values()).flat_map(Slots::values).cloned().collect();
        drop(index);
        all.iter().for_each(|slot| slot.wake());
    }

    /// Nothing panics while holding the lock; a poisoned one is whole.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn map_of<'k>(&mut self, keys: &'k Keys) -> (&mut BTreeMap<String, Slots>, &'k str) {
        match keys {
            Keys::One(key) => (&mut self.by_key, key),
            Keys::Prefix(prefix) => (&mut self.by_prefix, prefix),
        }
    }
}

impl Registered {
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut index = self.watchers.index();
        let (map, text) = index.map_of(&self.keys);
        if let Some(slots) = map.get_mut(text) {
            slots.remove(&self.number);
            if slots.is_empty() {
                map.remove(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken_by(watchers: &Watchers, revision: Revision, keys: &[&str]) -> usize {
        let changes: Vec<_> = keys.iter().map(|key| KeyChange::Delete((*key).into())).collect();
        let mut woken = Vec::new();
        watchers.touch(revision, &changes, &mut woken);
        woken.len()
    }

    fn settled(watchers: &Arc<Watchers>, keys: Keys) -> Registered {
        let registered = watchers.register(keys, 2);
        assert_eq!(registered.slot().touched(), Some(2), "a watch begins with a look");
        registered.slot().settle();
        registered
    }

    #[test]
    fn a_change_wakes_those_whose_keys_it_touches_and_nobody_else() {
        let watchers = Arc::new(Watchers::default());
        let [one, twin, other] = ["q/1", "q/1", "q/2"].map(|key| settled(&watchers, Keys::one(key)));
        let [folder, all, beside] = ["q/", "", "r/"].map(|prefix| settled(&watchers, Keys::prefix(prefix)));
        assert_eq!(woken_by(&watchers, 5, &["q/1"]), 4);
        for touched in [&one, &twin, &folder, &all] {
            assert_eq!(touched.slot().touched(), Some(5));
        }
        assert_eq!((other.slot().touched(), beside.slot().touched()), (None, None));
    }

    #[test]
    fn the_first_change_that_was_not_looked_at_is_the_one_kept() {
        let watchers = Arc::new(Watchers::default());
        let one = settled(&watchers, Keys::one("a"));
        assert_eq!(woken_by(&watchers, 5, &["a", "a"]), 1);
        assert_eq!(woken_by(&watchers, 6, &["a"]), 0);
        assert_eq!(one.slot().touched(), Some(5));
    }

    #[test]
    fn nothing_is_left_of_a_watch_that_was_dropped() {
        let watchers = Arc::new(Watchers::default());
        let [first, second] = [Keys::one("a"), Keys::one("a")].map(|keys| settled(&watchers, keys));
        let folder = settled(&watchers, Keys::prefix("a"));
        drop((first, folder));
        assert_eq!(woken_by(&watchers, 5, &["a"]), 1);
        drop(second);
        let index = watchers.index();
        assert!(index.by_key.is_empty() && index.by_prefix.is_empty());
    }
}

//! The recent past, for watches: the changes of each revision, bounded in count and bytes, oldest forgotten first.
//! It wakes nobody and knows no watch: `watch` comes and takes what lies after the revision it has seen.

use std::collections::VecDeque;

use super::record::KeyChange;
use crate::contract::{Change, Keys, Revision, StoreError, WatchEvent};

/// Some thousand locks taken and freed: a watch that lags further does better to list again.
pub(super) const HISTORY_CHANGES_MAX: usize = 16 << 10;
/// A tenth of what a sidecar may take.
pub(super) const HISTORY_BYTES_MAX: usize = 4 << 20;
/// What an entry costs beside its key and value.
const CHANGE_BYTES: usize = 96;

#[derive(Debug)]
struct Entry {
    revision: Revision,
    changes: Vec<KeyChange>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct History {
    /// Every change at this revision and after is here.
    known_from: Revision,
    entries: VecDeque<Entry>,
    changes: usize,
    bytes: usize,
    changes_max: usize,
}

impl History {
    pub(super) fn new(known_from: Revision, changes_max: usize) -> Self {
        Self { known_from, entries: VecDeque::new(), changes: 0, bytes: 0, changes_max }
    }

    pub(super) fn known_from(&self) -> Revision {
        self.known_from
    }

    pub(super) fn push(&mut self, revision: Revision, changes: Vec<KeyChange>) {
        let bytes = changes.iter().map(change_bytes).sum();
        self.changes += changes.len();
        self.bytes += bytes;
        self.entries.push_back(Entry { revision, changes, bytes });
    }

    /// Drops the oldest until the bounds hold; the newest always stays, so that a watch that keeps up gets it.
    pub(super) fn trim(&mut self) {
        while self.entries.len() > 1 && (self.changes > self.changes_max || self.bytes > HISTORY_BYTES_MAX) {
            let next = self.entries[1].revision;
            self.forget_below(next);
        }
    }

    pub(super) fn forget_below(&mut self, revision: Revision) {
        self.known_from = self.known_from.max(revision);
        while let Some(oldest) = self.entries.front()
            && oldest.revision < self.known_from
        {
            self.changes -= oldest.changes.len();
            self.bytes -= oldest.bytes;
            self.entries.pop_front();
        }
    }

    /// The first revision from `from` on that changes one of `keys`.
    pub(super) fn next(&self, from: Revision, keys: &Keys) -> Result<Option<WatchEvent>, StoreError> {
        if from < self.known_from {
            return Err(StoreError::Compacted { oldest: self.known_from });
        }
        let start = self.entries.partition_point(|entry| entry.revision < from);
        Ok(self.entries.range(start..).find_map(|entry| {
            let changes: Vec<_> = entry.changes.iter().filter_map(|change| to_change(change, keys)).collect();
            (!changes.is_empty()).then_some(WatchEvent { revision: entry.revision, changes })
        }))
    }
}

fn change_bytes(change: &KeyChange) -> usize {
    CHANGE_BYTES
        + match change {
            KeyChange::Put(key, stored) => key.len() + stored.value.len(),
            KeyChange::Delete(key) => key.len(),
        }
}

fn to_change(change: &KeyChange, keys: &Keys) -> Option<Change> {
    match change {
        KeyChange::Put(key, stored) => keys.contains(key).then(|| Change::Put(stored.to_key_value(key))),
        KeyChange::Delete(key) => keys.contains(key).then(|| Change::Delete { key: key.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(changes_max: usize, revisions: std::ops::RangeInclusive<Revision>) -> History {
        let mut history = History::new(1, changes_max);
        for revision in revisions {
            history.push(revision, vec![KeyChange::Delete(format!("k{revision}").into())]);
            history.trim();
        }
        history
    }

    #[test]
    fn what_was_dropped_for_space_is_compacted_and_not_skipped() {
        let history = filled(3, 2..=10);
        assert_eq!(history.known_from(), 8);
        let all = Keys::prefix("");
        assert_eq!(history.next(7, &all), Err(StoreError::Compacted { oldest: 8 }));
        assert_eq!(history.next(8, &all).unwrap().unwrap().revision, 8);
        assert_eq!(history.next(11, &all), Ok(None));
    }

    #[test]
    fn only_covered_keys_are_told() {
        let history = filled(100, 2..=10);
        assert_eq!(history.next(1, &Keys::one("k5")).unwrap().unwrap().revision, 5);
        assert_eq!(history.next(6, &Keys::one("k5")), Ok(None));
    }
}

//! Requests evaluated over a state without touching it: what a batch would write lies in a layer above, as records that
//! only count once they are durable. Thrown away, it leaves no trace; so a failed write needs no undoing.
//! It knows no file and no clock. `batch` turns its records into a frame, `state` applies them.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use rr_core::time::Span;

use super::record::{KeyChange, Record};
use super::state::{State, Stored};
use crate::contract::{
    Compare, KeyValue, Keys, LeaseId, Op, OpReply, Relation, Revision, StoreError, Subject, Txn, TxnReply,
};

pub(super) struct Draft<'a> {
    base: &'a State,
    revision: Revision,
    /// What the batch has written so far; `None` is a deleted key.
    keys: BTreeMap<Arc<str>, Option<Stored>>,
    /// Leases granted or (`None`) ended in this batch.
    leases: BTreeMap<LeaseId, Option<Span>>,
    /// Keys and values together, as they will be.
    bytes: usize,
    bytes_max: usize,
    records: Vec<Record>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a State, bytes_max: usize) -> Self {
        Self {
            base,
            revision: base.revision,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            bytes: base.bytes,
            bytes_max,
            records: Vec::new(),
        }
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn run(&mut self, txn: &Txn) -> Result<TxnReply, StoreError> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        self.check_puts(ops)?;
        let mut writes = Writes { revision: self.revision + 1, changes: Vec::new() };
        let replies = ops.iter().map(|op| self.apply(op, &mut writes)).collect();
        self.finish(writes);
        Ok(TxnReply { succeeded, revision: self.revision, replies })
    }

    pub(super) fn range(&self, keys: &Keys) -> Vec<KeyValue> {
        self.scan(keys).map(|(key, stored)| stored.to_key_value(key)).collect()
    }

    pub(super) fn grant(&mut self, lease: LeaseId, ttl: Span) {
        self.leases.insert(lease, Some(ttl));
        self.records.push(Record::Grant { lease, ttl });
    }

    /// Ends a lease and deletes its keys, all at one revision (G6).
    pub(super) fn end_lease(&mut self, lease: LeaseId) -> Result<Revision, StoreError> {
        if !self.has_lease(lease) {
            return Err(StoreError::LeaseNotFound(lease));
        }
        let mut writes = Writes { revision: self.revision + 1, changes: Vec::new() };
        for key in self.keys_of(lease) {
            self.delete(&key, &mut writes);
        }
        self.finish(writes);
        self.leases.insert(lease, None);
        self.records.push(Record::End { lease });
        Ok(self.revision)
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            let now = self.revision;
            return Err(StoreError::Invalid(format!("revision {revision} lies ahead of the store's {now}")));
        }
        self.records.push(Record::Compact { revision });
        Ok(())
    }

    pub(super) fn has_lease(&self, lease: LeaseId) -> bool {
        self.leases.get(&lease).map_or_else(|| self.base.leases.contains_key(&lease), Option::is_some)
    }

    fn keys_of(&self, lease: LeaseId) -> Vec<Arc<str>> {
        let before = self.base.leases.get(&lease).into_iter().flat_map(|held| &held.keys);
        let untouched = before.filter(|key| !self.keys.contains_key(*key));
        let written =
            self.keys.iter().filter(|(_, now)| now.as_ref().is_some_and(|stored| stored.lease == Some(lease)));
        untouched.chain(written.map(|(key, _)| key)).cloned().collect()
    }

    /// All that can refuse a list, before any of it is done: a transaction is applied whole or not at all.
    fn check_puts(&self, ops: &[Op]) -> Result<(), StoreError> {
        let mut grows = 0;
        for op in ops {
            let Op::Put { key, value, lease } = op else {
                continue;
            };
            if let Some(lease) = lease.filter(|lease| !self.has_lease(*lease)) {
                return Err(StoreError::LeaseNotFound(lease));
            }
            let before = self.get(key).map_or(0, |stored| key.len() + stored.value.len());
            grows += (key.len() + value.len()).saturating_sub(before);
        }
        if grows > 0 && self.bytes + grows > self.bytes_max {
            let max = self.bytes_max;
            return Err(StoreError::NoSpace(format!("the store holds {} of at most {max} bytes", self.bytes)));
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op, writes: &mut Writes) -> OpReply {
        match op {
            Op::Get(keys) => OpReply::Get(self.range(keys)),
            Op::Put { key, value, lease } => {
                self.put(key, value, *lease, writes);
                OpReply::Put
            }
            Op::Delete(keys) => {
                let found: Vec<_> = self.scan(keys).map(|(key, _)| Arc::clone(key)).collect();
                found.iter().for_each(|key| self.delete(key, writes));
                OpReply::Delete(found.len() as u64)
            }
        }
    }

    fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>, writes: &mut Writes) {
        let revision = writes.revision;
        let before = self.get(key).map(|old| (old.create_revision, old.version, key.len() + old.value.len()));
        let (create_revision, version, bytes) = before.unwrap_or((revision, 0, 0));
        self.bytes = self.bytes + key.len() + value.len() - bytes;
        let stored =
            Stored { value: Arc::from(value), create_revision, mod_revision: revision, version: version + 1, lease };
        // The text of a key is held once, however many maps name it.
        let key = self.base.keys.get_key_value(key).map_or_else(|| Arc::from(key), |(held, _)| Arc::clone(held));
        self.keys.insert(Arc::clone(&key), Some(stored.clone()));
        writes.changes.push(KeyChange::Put(key, stored));
    }

    fn delete(&mut self, key: &Arc<str>, writes: &mut Writes) {
        let Some(old) = self.get(key) else { return };
        self.bytes -= key.len() + old.value.len();
        self.keys.insert(Arc::clone(key), None);
        writes.changes.push(KeyChange::Delete(Arc::clone(key)));
    }

    fn finish(&mut self, mut writes: Writes) {
        if writes.changes.is_empty() {
            return;
        }
        self.revision = writes.revision;
        // They stay in the history for long.
        writes.changes.shrink_to_fit();
        self.records.push(Record::Commit { revision: writes.revision, changes: writes.changes });
    }

    fn get(&self, key: &str) -> Option<&Stored> {
        match self.keys.get(key) {
            Some(written) => written.as_ref(),
            None => self.base.keys.get(key),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut found = self.scan(&compare.keys).peekable();
        if found.peek().is_none() {
            return holds_for_absent(compare);
        }
        found.all(|(_, stored)| holds_for(compare, stored))
    }

    fn scan(&self, keys: &Keys) -> Scan<'_> {
        let (start, end) = bounds(keys);
        let range = (Bound::Included(start), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        Scan {
            base: self.base.keys.range::<str, _>(range).peekable(),
            written: self.keys.range::<str, _>(range).peekable(),
        }
    }
}

/// The writes of one transaction in the making.
struct Writes {
    revision: Revision,
    changes: Vec<KeyChange>,
}

/// From the first covered key to before the first that is not; without an end where every later key is covered.
fn bounds(keys: &Keys) -> (&str, Option<String>) {
    match keys {
        Keys::One(key) => (key, Some(format!("{key}\0"))),
        Keys::Prefix(prefix) => (prefix, after_prefix(prefix)),
    }
}

/// The least text above every text that starts with `prefix`: its last character raised (texts order as their characters
/// do), dropping characters that cannot be.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Between U+D7FF and U+E000 lie no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Keys of the state with the written layer above them, in order.
struct Scan<'a> {
    base: Peekable<Range<'a, Arc<str>, Stored>>,
    written: Peekable<Range<'a, Arc<str>, Option<Stored>>>,
}

impl<'a> Iterator for Scan<'a> {
    type Item = (&'a Arc<str>, &'a Stored);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((written_key, _)) = self.written.peek() else {
                return self.base.next();
            };
            match self.base.peek() {
                Some((key, _)) if key < written_key => return self.base.next(),
                Some((key, _)) if key == written_key => self.base.next(),
                _ => None,
            };
            if let Some((key, Some(stored))) = self.written.next() {
                return Some((key, stored));
            }
        }
    }
}

fn holds_for(compare: &Compare, stored: &Stored) -> bool {
    match &compare.subject {
        Subject::CreateRevision(given) => relates(compare.relation, &stored.create_revision, given),
        Subject::ModRevision(given) => relates(compare.relation, &stored.mod_revision, given),
        Subject::Version(given) => relates(compare.relation, &stored.version, given),
        Subject::Value(given) => relates(compare.relation, &*stored.value, given.as_slice()),
    }
}

fn holds_for_absent(compare: &Compare) -> bool {
    match &compare.subject {
        Subject::CreateRevision(given) | Subject::ModRevision(given) | Subject::Version(given) => {
            relates(compare.relation, &0, given)
        }
        Subject::Value(_) => false,
    }
}

fn relates<T: Ord + ?Sized>(relation: Relation, stored: &T, given: &T) -> bool {
    match relation {
        Relation::Equal => stored == given,
        Relation::NotEqual => stored != given,
        Relation::Less => stored < given,
        Relation::Greater => stored > given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_sibling() {
        assert_eq!(after_prefix("src/a/"), Some("src/a0".into()));
        assert_eq!(after_prefix("a\u{10ffff}"), Some("b".into()));
        assert_eq!(after_prefix("\u{d7ff}"), Some("\u{e000}".into()));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }

    #[test]
    fn a_batch_sees_its_own_writes_and_the_state_does_not() {
        let state = State::new();
        let mut draft = Draft::new(&state, 1 << 20);
        let first = draft.run(&Txn::default().then(vec![Op::put("a", "1"), Op::put("b", "2")])).unwrap();
        let second = draft.run(&Txn::default().then(vec![Op::Delete(Keys::one("a")), Op::Get(Keys::prefix(""))]));
        let second = second.unwrap();
        assert_eq!((first.revision, second.revision), (2, 3));
        let left: Vec<_> = second.replies[1].clone().into_keys().into_iter().map(|kv| kv.key).collect();
        assert_eq!(left, ["b"]);
        assert!(state.keys.is_empty());
    }

    #[test]
    fn a_refused_transaction_leaves_the_batch_as_it_was() {
        let state = State::new();
        let mut draft = Draft::new(&state, 10);
        let big = draft.run(&Txn::default().then(vec![Op::put("a", "1"), Op::put("b", "123456789")]));
        assert!(matches!(big, Err(StoreError::NoSpace(_))));
        let gone = LeaseId(4);
        let leased = draft.run(&Txn::default().then(vec![Op::put("a", "1"), Op::put_leased("b", "2", gone)]));
        assert_eq!(leased, Err(StoreError::LeaseNotFound(gone)));
        assert!(draft.range(&Keys::prefix("")).is_empty());
        assert!(draft.into_records().is_empty());
    }
}

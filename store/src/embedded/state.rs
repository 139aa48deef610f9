//! The keys and leases as they are at one revision, and the only way they change: by applying a durable record.
//! The same code applies a record just written and one read back at start, so that a restart ends where it began.
//! It reads no clock and no file; evaluating requests is `draft`'s, writing records `log`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rr_core::time::Span;

use super::record::{KeyChange, Record};
use crate::contract::{KeyValue, LeaseId, Revision};

/// As in etcd, a store without a single write is at revision 1, for 0 means "never".
pub(super) const FIRST_REVISION: Revision = 1;

/// What is held under one key. Cheap to copy: history and state share the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Arc<[u8]>,
    pub(super) create_revision: Revision,
    pub(super) mod_revision: Revision,
    pub(super) version: u64,
    pub(super) lease: Option<LeaseId>,
}

impl Stored {
    pub(super) fn to_key_value(&self, key: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: self.value.to_vec(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) ttl: Span,
    pub(super) keys: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) keys: BTreeMap<Arc<str>, Stored>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// Keys and values together.
    pub(super) bytes: usize,
}

impl State {
    pub(super) fn new() -> Self {
        Self { revision: FIRST_REVISION, keys: BTreeMap::new(), leases: BTreeMap::new(), bytes: 0 }
    }

    /// Applies one record; the error says why it cannot follow this state, which only happens to a log that lies.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Commit { revision, changes } => self.commit(*revision, changes),
            Record::Grant { lease, ttl } => self.grant(*lease, *ttl),
            Record::End { lease } => self.end(*lease),
            Record::Head { revision, .. } => {
                self.revision = *revision;
                Ok(())
            }
            Record::Key(key, stored) => self.put(key, stored),
            Record::Compact { .. } | Record::Tail { .. } => Ok(()),
        }
    }

    fn commit(&mut self, revision: Revision, changes: &[KeyChange]) -> Result<(), String> {
        if revision != self.revision + 1 {
            return Err(format!("revision {revision} after {}", self.revision));
        }
        self.revision = revision;
        for change in changes {
            match change {
                KeyChange::Put(key, stored) => self.put(key, stored)?,
                KeyChange::Delete(key) => self.delete(key)?,
            }
        }
        Ok(())
    }

    fn grant(&mut self, lease: LeaseId, ttl: Span) -> Result<(), String> {
        let entry = Lease { ttl, keys: BTreeSet::new() };
        match self.leases.insert(lease, entry) {
            None => Ok(()),
            Some(_) => Err(format!("lease {lease} granted twice")),
        }
    }

    fn end(&mut self, lease: LeaseId) -> Result<(), String> {
        match self.leases.remove(&lease) {
            Some(ended) if ended.keys.is_empty() => Ok(()),
            Some(ended) => Err(format!("lease {lease} ended before its {} keys", ended.keys.len())),
            None => Err(format!("lease {lease} ended without being granted")),
        }
    }

    fn put(&mut self, key: &Arc<str>, stored: &Stored) -> Result<(), String> {
        if let Some(lease) = stored.lease {
            let holder = self.leases.get_mut(&lease).ok_or_else(|| format!("lease {lease} of {key:?} is unknown"))?;
            holder.keys.insert(Arc::clone(key));
        }
        self.bytes += key.len() + stored.value.len();
        if let Some(old) = self.keys.insert(Arc::clone(key), stored.clone()) {
            self.bytes -= key.len() + old.value.len();
            if old.lease != stored.lease {
                self.detach(old.lease, key);
            }
        }
        Ok(())
    }

    fn delete(&mut self, key: &Arc<str>) -> Result<(), String> {
        let old = self.keys.remove(key).ok_or_else(|| format!("key {key:?} deleted but absent"))?;
        self.bytes -= key.len() + old.value.len();
        self.detach(old.lease, key);
        Ok(())
    }

    fn detach(&mut self, lease: Option<LeaseId>, key: &Arc<str>) {
        if let Some(held) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            held.keys.remove(key);
        }
    }
}

//! How far each host's journal goes (lock-protocol §3, `log/head/<host>`): its last sequence number and the hash over
//! all before it, kept where the host's own disk cannot take it back, so that a journal that was cut short is found
//! out. And, since only a host with a journal has one, who can be asked for what happened. What is in a journal is
//! not known here.

use std::collections::BTreeMap;

use rr_core::id::HostId;
use rr_store::{Compare, KeyValue, Keys, Op, OpReply, Txn};
use serde::{Deserialize, Serialize};

use crate::hosts::{Denial, HostRecord, denial_in};
use crate::records::{SessionRecord, decode, encode};
use crate::{Doing, Fleet, FleetError};

/// Tries while answers are lost; nobody else writes a host's own head.
const TRIES_MAX: usize = 8;
/// Whoever joined in this role came to work, and so will have a journal. The others may only look and decide.
const WORKING_ROLE: &str = "agent";

/// `log/head/<host>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// Of the last entry that is durable.
    pub sequence: u64,
    /// Hash over it and all entries before it, in hex.
    pub chain: String,
    /// For people only.
    #[serde(default)]
    pub host_name: String,
    pub at_unix_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadRecorded {
    Written,
    /// The store has the same one already.
    Unchanged,
    /// The store knows of more than the journal has, or of another last entry: it was cut short, put back or replaced.
    Contradicts(LogHead),
}

/// A host that has, or may have, something to say of what happened on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHost {
    pub host: HostId,
    pub name: String,
    /// As far as it was heard of.
    pub head: Option<LogHead>,
    pub denied: Option<Denial>,
}

impl Fleet {
    /// Records how far a host's journal goes. Never takes back what was recorded.
    ///
    /// # Errors
    /// If the host is shut out, or the store does not answer clearly: then it may be recorded again.
    pub async fn record_log_head(&self, host: &HostId, head: &LogHead) -> Result<HeadRecorded, FleetError> {
        let mut last = FleetError::Voided;
        for _ in 0..TRIES_MAX {
            match self.try_record_log_head(host, head).await {
                Ok(Some(recorded)) => return Ok(recorded),
                Ok(None) => {}
                Err(error) if error.is_outage() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// `None`: somebody was faster, look again.
    async fn try_record_log_head(&self, host: &HostId, head: &LogHead) -> Result<Option<HeadRecorded>, FleetError> {
        let (key, denied) = (self.keys.log_head(host), self.keys.denied(host.as_str()));
        let reads = [&key, &denied].map(|key| Op::Get(Keys::one(key.clone()))).to_vec();
        let found = self.store.txn(Txn::default().then(reads)).await.doing("read how far a journal goes")?;
        let found: Vec<KeyValue> = found.replies.into_iter().flat_map(OpReply::into_keys).collect();
        if let Some(kv) = found.iter().find(|kv| kv.key == denied) {
            return Err(FleetError::Denied(denial_in(kv)));
        }
        let known = found.iter().find(|kv| kv.key == key);
        // One that cannot be read contradicts nothing.
        if let Some(before) = known.and_then(|kv| decode::<LogHead>(kv).ok()) {
            if (before.sequence, &before.chain) == (head.sequence, &head.chain) {
                return Ok(Some(HeadRecorded::Unchanged));
            }
            if before.sequence >= head.sequence {
                return Ok(Some(HeadRecorded::Contradicts(before)));
            }
        }
        let same = known.map_or_else(
            || Compare::absent(Keys::one(key.clone())),
            |kv| Compare::modified_at(key.clone(), kv.mod_revision),
        );
        let txn = Txn::when(vec![same, Compare::absent(Keys::one(denied))]).then(vec![Op::put(key, encode(head))]);
        let reply = self.store.txn(txn).await.doing("record how far a journal goes")?;
        Ok(reply.succeeded.then_some(HeadRecorded::Written))
    }

    /// How far a host's journal was known to go.
    ///
    /// # Errors
    /// If the store does not answer, or the value cannot be read.
    pub async fn log_head(&self, host: &HostId) -> Result<Option<LogHead>, FleetError> {
        let found = self.get(&self.keys.log_head(host), "read how far a journal goes").await?;
        found.map(|kv| decode(&kv)).transpose()
    }

    /// Forgets how far a host's journal was known to go: a person has looked, and its journal begins anew.
    ///
    /// # Errors
    /// If the store does not answer clearly; it may be asked again.
    pub async fn forget_log_head(&self, host: &HostId, seen: &LogHead) -> Result<(), FleetError> {
        let key = self.keys.log_head(host);
        // Exactly the one that was seen.
        let txn = Txn::when(vec![Compare::value_is(key.clone(), encode(seen))]);
        self.insist(txn.then(vec![Op::Delete(Keys::one(key))]), "forget how far a journal goes").await.map(|_| ())
    }

    /// Every host that has a journal as far as is known, has a session, or joined to work.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn journal_hosts(&self) -> Result<Vec<JournalHost>, FleetError> {
        let prefixes = [self.keys.hosts(), self.keys.sessions(), self.keys.log_heads(), self.keys.denied("")];
        let reads = prefixes.iter().map(|prefix| Op::Get(Keys::prefix(prefix.clone()))).collect();
        let reply = self.insist(Txn::default().then(reads), "list the hosts that have a journal").await?;
        let [joined, sessions, heads, denied] = &prefixes;
        let (mut rows, mut names, mut out) = (BTreeMap::<HostId, JournalHost>::new(), BTreeMap::new(), BTreeMap::new());
        for kv in reply.replies.into_iter().flat_map(OpReply::into_keys) {
            let of = |prefix: &String| kv.key.strip_prefix(prefix).and_then(|id| HostId::parse(id).ok());
            if let (Some(host), Ok(record)) = (of(joined), decode::<HostRecord>(&kv)) {
                if record.role == WORKING_ROLE {
                    row(&mut rows, &host);
                }
                names.insert(host, record.name);
            } else if kv.key.starts_with(sessions) {
                let Ok(session) = decode::<SessionRecord>(&kv) else { continue };
                row(&mut rows, &session.host);
                names.entry(session.host).or_insert(session.host_name);
            } else if let Some(host) = of(heads) {
                let head = decode::<LogHead>(&kv).ok();
                if let Some(head) = &head {
                    names.entry(host.clone()).or_insert_with(|| head.host_name.clone());
                }
                row(&mut rows, &host).head = head;
            } else if let Some(host) = of(denied) {
                out.insert(host, denial_in(&kv));
            }
        }
        for row in rows.values_mut() {
            row.name = names.remove(&row.host).unwrap_or_default();
            row.denied = out.remove(&row.host);
        }
        Ok(rows.into_values().collect())
    }
}

fn row<'a>(rows: &'a mut BTreeMap<HostId, JournalHost>, host: &HostId) -> &'a mut JournalHost {
    let empty = || JournalHost { host: host.clone(), name: String::new(), head: None, denied: None };
    rows.entry(host.clone()).or_insert_with(empty)
}

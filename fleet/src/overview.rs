//! The whole fleet at one revision, for people and programs that look: sessions, locks, waiters, the run state.

use rr_core::id::{RepoId, SessionId, Token};
use rr_core::scope::{Claim, Mode};
use rr_store::{Keys, Op, Txn};

use crate::keys::Tree;
use crate::permit::FleetState;
use crate::records::{HolderRecord, QueueRecord, SessionRecord, decode};
use crate::{Doing, Fleet, FleetError};

#[derive(Clone, Debug)]
pub struct SessionRow {
    pub sid: SessionId,
    pub record: SessionRecord,
}

#[derive(Clone, Debug)]
pub struct LockRow {
    pub repo: RepoId,
    /// The path, pattern or `!name`, as it was given.
    pub shown: String,
    pub claim: Claim,
    pub mode: Mode,
    pub session: SessionId,
    pub token: Token,
    pub since_unix_ms: u64,
    pub doing: String,
    pub key: String,
}

#[derive(Clone, Debug)]
pub struct WaiterRow {
    pub repo: RepoId,
    pub shown: Vec<String>,
    pub session: SessionId,
    pub since: u64,
    pub since_unix_ms: u64,
}

#[derive(Clone, Debug)]
pub struct Overview {
    pub state: FleetState,
    pub sessions: Vec<SessionRow>,
    pub locks: Vec<LockRow>,
    pub waiters: Vec<WaiterRow>,
}

impl Fleet {
    /// Everything that is going on. Locks of a session are listed in key order, waiters in line order.
    ///
    /// # Errors
    /// If the store does not answer, or a value cannot be read.
    pub async fn overview(&self) -> Result<Overview, FleetError> {
        let prefixes = [
            self.keys.fleet(),
            self.keys.sessions(),
            self.keys.tree(Tree::Exclusive),
            self.keys.tree(Tree::Shared),
            self.keys.queues(),
        ];
        let reads = prefixes.into_iter().map(|p| Op::Get(Keys::prefix(p))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the overview")?;
        let kvs = reply.replies.into_iter().flat_map(rr_store::OpReply::into_keys);
        let (fleet, others): (Vec<_>, Vec<_>) = kvs.partition(|kv| kv.key.starts_with(&self.keys.fleet()));
        let state = self.decode_state(&fleet, reply.revision)?;
        let mut all = Overview { state, sessions: vec![], locks: vec![], waiters: vec![] };
        for kv in others {
            self.take_in(&mut all, &kv)?;
        }
        all.waiters.sort_by_key(|w| w.since);
        Ok(all)
    }

    fn take_in(&self, all: &mut Overview, kv: &rr_store::KeyValue) -> Result<(), FleetError> {
        if let Some(sid) = kv.key.strip_prefix(&self.keys.sessions()) {
            if let Ok(sid) = SessionId::parse(sid) {
                all.sessions.push(SessionRow { sid, record: decode(kv)? });
            }
        } else if let Some((repo, session, _)) = self.keys.parse_waiter(&kv.key) {
            let record: QueueRecord = decode(kv)?;
            let shown = record.claims.iter().map(|c| show(&c.shown, c.glob.as_deref())).collect();
            let since_unix_ms = record.since_unix_ms;
            all.waiters.push(WaiterRow { repo, shown, session, since: kv.create_revision, since_unix_ms });
        } else {
            let parsed = [Tree::Exclusive, Tree::Shared].iter().find_map(|t| self.keys.parse_holder(*t, &kv.key));
            let Some((repo, anchor, session, _)) = parsed else { return Ok(()) };
            let record: HolderRecord = decode(kv)?;
            let garbage = || FleetError::Garbage { key: kv.key.clone(), why: "its scope is unreadable".to_owned() };
            let claim = record.claim(&anchor).ok_or_else(garbage)?;
            all.locks.push(LockRow {
                repo,
                shown: show(&record.shown, record.glob.as_deref()),
                claim,
                mode: record.mode,
                session,
                token: Token(kv.create_revision),
                since_unix_ms: record.since_unix_ms,
                doing: record.doing,
                key: kv.key.clone(),
            });
        }
        Ok(())
    }
}

fn show(path: &str, glob: Option<&str>) -> String {
    match (path, glob) {
        ("", None) => ".".to_owned(),
        (path, None) => path.to_owned(),
        ("", Some(glob)) => glob.to_owned(),
        (path, Some(glob)) => format!("{path}/{glob}"),
    }
}

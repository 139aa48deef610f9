//! The whole fleet at one revision, for people and programs that look: sessions, locks, waiters, the run state. A value that
//! cannot be read is listed, and hides nothing else. `follow` tells what changes of it.

use rr_core::id::{RepoId, SessionId, Token};
use rr_core::scope::{Claim, Mode};
use rr_store::{KeyValue, Keys, Op, OpReply, Revision, Txn};

use crate::keys::HOLDERS;
use crate::permit::FleetState;
use crate::records::{AckRecord, HolderRecord, QueueRecord, SessionRecord, decode};
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
    /// How far each session has followed a pause.
    pub acks: Vec<(SessionId, AckRecord)>,
    /// Keys whose value cannot be read, each with the reason.
    pub unreadable: Vec<String>,
}

/// One key of the store as people see it.
pub(crate) enum Row {
    State(KeyValue),
    Session(SessionRow),
    Lock(LockRow),
    Waiter(WaiterRow),
    Ack(SessionId, AckRecord),
    Unreadable(String),
}

impl Fleet {
    /// Everything that is going on. Locks of a session are listed in key order, waiters in line order.
    ///
    /// # Errors
    /// If the store does not answer, or the run state cannot be read.
    pub async fn overview(&self) -> Result<Overview, FleetError> {
        let run = [self.keys.fleet(), self.keys.generation(), self.keys.acks()];
        let work =
            [self.keys.sessions(), self.keys.queues()].into_iter().chain(HOLDERS.map(|tree| self.keys.tree(tree)));
        let reads = run.into_iter().chain(work).map(|prefix| Op::Get(Keys::prefix(prefix))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the overview")?;
        let kvs = reply.replies.into_iter().flat_map(OpReply::into_keys);
        self.draw(kvs.filter_map(|kv| self.row(kv)), reply.revision)
    }

    /// What a key stands for. `None`: for nothing that is shown.
    pub(crate) fn row(&self, kv: KeyValue) -> Option<Row> {
        let read = if kv.key.starts_with(&self.keys.questions()) {
            Ok(None)
        } else if kv.key.starts_with(&self.keys.fleet()) || kv.key == self.keys.generation() {
            Ok(Some(Row::State(kv)))
        } else if let Some(sid) = kv.key.strip_prefix(&self.keys.sessions()) {
            let sid = SessionId::parse(sid).ok()?;
            decode(&kv).map(|record| Some(Row::Session(SessionRow { sid, record })))
        } else if let Some(sid) = kv.key.strip_prefix(&self.keys.acks()) {
            let sid = SessionId::parse(sid).ok()?;
            decode(&kv).map(|ack| Some(Row::Ack(sid, ack)))
        } else if kv.key.starts_with(&self.keys.queues()) {
            self.waiter_row(&kv).map(|row| row.map(Row::Waiter))
        } else {
            self.lock_row(&kv).map(|row| row.map(Row::Lock))
        };
        read.unwrap_or_else(|error| Some(Row::Unreadable(error.to_string())))
    }

    pub(crate) fn waiter_row(&self, kv: &KeyValue) -> Result<Option<WaiterRow>, FleetError> {
        let Some((repo, session, _)) = self.keys.parse_waiter(&kv.key) else { return Ok(None) };
        let record: QueueRecord = decode(kv)?;
        let shown = record.claims.iter().map(|c| show(&c.shown, c.glob.as_deref())).collect();
        let since_unix_ms = record.since_unix_ms;
        Ok(Some(WaiterRow { repo, shown, session, since: kv.create_revision, since_unix_ms }))
    }

    pub(crate) fn lock_row(&self, kv: &KeyValue) -> Result<Option<LockRow>, FleetError> {
        let parsed = HOLDERS.iter().find_map(|t| self.keys.parse_holder(*t, &kv.key));
        let Some((repo, anchor, session, _)) = parsed else { return Ok(None) };
        let record: HolderRecord = decode(kv)?;
        let garbage = || FleetError::Garbage { key: kv.key.clone(), why: "its scope is unreadable".to_owned() };
        let claim = record.claim(&anchor).ok_or_else(garbage)?;
        Ok(Some(LockRow {
            repo,
            shown: show(&record.shown, record.glob.as_deref()),
            claim,
            mode: record.mode,
            session,
            token: Token(kv.create_revision),
            since_unix_ms: record.since_unix_ms,
            doing: record.doing,
            key: kv.key.clone(),
        }))
    }

    fn draw(&self, rows: impl Iterator<Item = Row>, revision: Revision) -> Result<Overview, FleetError> {
        let (mut sessions, mut locks, mut waiters) = (vec![], vec![], vec![]);
        let (mut acks, mut unreadable, mut run) = (vec![], vec![], vec![]);
        for row in rows {
            match row {
                Row::State(kv) => run.push(kv),
                Row::Session(row) => sessions.push(row),
                Row::Lock(row) => locks.push(row),
                Row::Waiter(row) => waiters.push(row),
                Row::Ack(sid, ack) => acks.push((sid, ack)),
                Row::Unreadable(why) => unreadable.push(why),
            }
        }
        waiters.sort_by_key(|w| w.since);
        let state = self.decode_state(&run, revision)?;
        Ok(Overview { state, sessions, locks, waiters, acks, unreadable })
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

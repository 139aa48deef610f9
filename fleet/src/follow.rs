//! What moves in a fleet, as it moves: everything that is there, then each change as the watches tell it. Whoever looks often (a
//! sidecar at each call) keeps what it needs of that and does not ask the store. Here nothing is kept. It is a hint: what decides
//! is always the store's own answer.

use futures::StreamExt as _;
use futures::stream::{self, BoxStream, SelectAll};
use rr_core::id::{RepoId, SessionId};
use rr_store::{Change, KeyValue, Keys, Op, OpReply, Revision, StoreError, Txn, WatchEvent};

use crate::keys::{HOLDERS, Tree};
use crate::records::{SessionRecord, decode};
use crate::{Doing, Fleet, FleetError, LockRow, WaiterRow};

/// A part of the fleet's work. Each is told in the order of its revisions, and two of them in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Sessions,
    Waiters,
    /// Exclusive locks.
    Locks,
    SharedLocks,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Sessions, Self::Waiters, Self::Locks, Self::SharedLocks];
}

/// All there is of every part, at one revision.
pub struct Work {
    pub revision: Revision,
    fleet: Fleet,
    parts: Vec<Vec<KeyValue>>,
}

/// What changed in one part at a revision.
#[derive(Clone, Debug)]
pub struct Moves {
    pub part: Part,
    pub revision: Revision,
    pub moved: Vec<Moved>,
}

/// Something that came, changed or went.
#[derive(Clone, Debug)]
pub enum Moved {
    Session(SessionId, Now<SessionRecord>),
    /// Under its key, which tells the repository, where in it, and the holder.
    Lock {
        key: String,
        repo: RepoId,
        anchor: String,
        session: SessionId,
        now: Now<LockRow>,
    },
    /// Under its key.
    Waiter(String, Now<WaiterRow>),
}

/// What stands under a key.
#[derive(Clone, Debug)]
pub enum Now<T> {
    Is(T),
    /// Something, but this program cannot read it.
    Unreadable,
    Gone,
}

/// The changes from one revision on.
pub struct Follower {
    fleet: Fleet,
    changes: Changes,
}

/// How many locks there are, as they come and go.
pub struct LockCount {
    locks: usize,
    changes: Changes,
}

type Changes = SelectAll<BoxStream<'static, (Part, Result<WatchEvent, StoreError>)>>;

impl Fleet {
    /// Who is here, and who has or waits for what.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn work(&self) -> Result<Work, FleetError> {
        let (parts, revision) = self.all_of(&Part::ALL).await?;
        Ok(Work { revision, fleet: self.clone(), parts })
    }

    /// Whatever changes of it, after what [`Fleet::work`] told at this revision.
    ///
    /// # Errors
    /// If the store does not answer, or has forgotten that revision.
    pub async fn follow_work(&self, after: Revision) -> Result<Follower, FleetError> {
        Ok(Follower { fleet: self.clone(), changes: self.changes(&Part::ALL, after).await? })
    }

    /// Counts the fleet's locks, and goes on counting.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn count_locks(&self) -> Result<LockCount, FleetError> {
        let trees = [Part::Locks, Part::SharedLocks];
        let (parts, revision) = self.all_of(&trees).await?;
        Ok(LockCount { locks: parts.iter().map(Vec::len).sum(), changes: self.changes(&trees, revision).await? })
    }

    /// What lies in each of these parts, all at one revision.
    async fn all_of(&self, parts: &[Part]) -> Result<(Vec<Vec<KeyValue>>, Revision), FleetError> {
        let reads = parts.iter().map(|part| Op::Get(Keys::prefix(self.prefix_of(*part)))).collect();
        let reply = self.store.txn(Txn::default().then(reads)).await.doing("read the fleet's work")?;
        Ok((reply.replies.into_iter().map(OpReply::into_keys).collect(), reply.revision))
    }

    async fn changes(&self, parts: &[Part], after: Revision) -> Result<Changes, FleetError> {
        let mut all = SelectAll::new();
        for part in parts.iter().copied() {
            let keys = Keys::prefix(self.prefix_of(part));
            let watch = self.store.watch(keys, after + 1).await.doing("watch the fleet's work")?;
            // One that ends alone must be noticed: its part of the picture would stand still.
            let watch = watch.chain(stream::once(async { Err(ended()) }));
            all.push(watch.map(move |event| (part, event)).boxed());
        }
        Ok(all)
    }

    fn prefix_of(&self, part: Part) -> String {
        match part {
            Part::Sessions => self.keys.sessions(),
            Part::Waiters => self.keys.queues(),
            Part::Locks => self.keys.tree(Tree::Exclusive),
            Part::SharedLocks => self.keys.tree(Tree::Shared),
        }
    }

    /// `None`: under no key that this program knows.
    fn moved(&self, change: &Change) -> Option<Moved> {
        let key = change.key();
        if let Some(sid) = key.strip_prefix(&self.keys.sessions()) {
            return Some(Moved::Session(SessionId::parse(sid).ok()?, Now::of(change, |kv| decode(kv).ok())));
        }
        if key.starts_with(&self.keys.queues()) {
            self.keys.parse_waiter(key)?;
            return Some(Moved::Waiter(key.to_owned(), Now::of(change, |kv| self.waiter_row(kv).ok().flatten())));
        }
        let (repo, anchor, session, _) = HOLDERS.iter().find_map(|tree| self.keys.parse_holder(*tree, key))?;
        let now = Now::of(change, |kv| self.lock_row(kv).ok().flatten());
        Some(Moved::Lock { key: key.to_owned(), repo, anchor, session, now })
    }
}

impl Work {
    /// Part by part, sessions first. A row is read when it is asked for: thousands of them side by side are most of what a
    /// sidecar may take.
    pub fn rows(self) -> impl Iterator<Item = (Part, Moved)> {
        let Self { fleet, parts, .. } = self;
        let all = Part::ALL.into_iter().zip(parts).flat_map(|(part, kvs)| kvs.into_iter().map(move |kv| (part, kv)));
        all.filter_map(move |(part, kv)| Some((part, fleet.moved(&Change::Put(kv))?)))
    }
}

impl<T> Now<T> {
    fn of(change: &Change, read: impl Fn(&KeyValue) -> Option<T>) -> Self {
        match change {
            Change::Put(kv) => read(kv).map_or(Self::Unreadable, Self::Is),
            Change::Delete { .. } => Self::Gone,
        }
    }
}

impl Follower {
    /// The next changes, of one part at one revision. After an error nothing more comes: start again.
    ///
    /// # Errors
    /// If a watch ended, for whatever reason.
    pub async fn changed(&mut self) -> Result<Moves, FleetError> {
        let (part, event) = next(&mut self.changes).await?;
        let moved = event.changes.iter().filter_map(|change| self.fleet.moved(change)).collect();
        Ok(Moves { part, revision: event.revision, moved })
    }
}

impl LockCount {
    #[must_use]
    pub fn locks(&self) -> usize {
        self.locks
    }

    /// Takes in the next changes. After an error nothing more comes: start again.
    ///
    /// # Errors
    /// If a watch ended, for whatever reason.
    pub async fn changed(&mut self) -> Result<(), FleetError> {
        for change in next(&mut self.changes).await?.1.changes {
            match change {
                // Its first version: it was not there before.
                Change::Put(kv) if kv.version == 1 => self.locks += 1,
                Change::Put(_) => {}
                Change::Delete { .. } => self.locks = self.locks.saturating_sub(1),
            }
        }
        Ok(())
    }
}

async fn next(changes: &mut Changes) -> Result<(Part, WatchEvent), FleetError> {
    let (part, event) = changes.next().await.unwrap_or_else(|| (Part::Sessions, Err(ended())));
    Ok((part, event.doing("follow the fleet's work")?))
}

fn ended() -> StoreError {
    StoreError::Unavailable("a watch ended".to_owned())
}

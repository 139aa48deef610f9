//! What the sidecar knows of each session on this machine: its entitlement, its locks, what it has read, what it has under way.
//! Memory only: the store is the record, and what is lost here with the process costs a re-read, never a lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_core::id::{ApprovalId, CallPrint, Epoch, RepoId, SessionId, Token};
use rr_core::lock::{LockEvent, LockState};
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Mode, Scope};
use rr_core::session::Heartbeat;
use rr_core::time::BootTime;
use rr_fleet::{GrantedLock, Session, SessionRecord, Unclean, Waiter};
use rr_git::Tips;

use crate::earlier::FromBefore;
use crate::messages::Who;
use crate::processes::Process;
use crate::repos::Repo;
use crate::slots::Slots;
use crate::snapshots::Before;
use crate::versions::Version;

/// Notices kept for a session that does not come to fetch them: the newest count.
const NOTICES_MAX: usize = 20;
/// Stands for whatever an adopted session may have had under way when the sidecar's earlier life ended.
pub(crate) const EARLIER_CALL: &str = "?earlier";
/// Files whose seen version is remembered for a session.
const READS_MAX: usize = 4_096;

/// A request for a person's word, as far as its session has heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestAt {
    pub id: ApprovalId,
    pub stands: Stands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    Waiting,
    Approved,
    Rejected,
    /// Its time is over, and that was told and written down.
    Over,
}

/// Which agent session on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AgentKey {
    pub agent: String,
    pub session: String,
}

/// One registered session.
pub(crate) struct AgentSession {
    pub key: AgentKey,
    pub process: Process,
    pub session: Session,
    pub inner: Mutex<Inner>,
    /// Lock requests of one session go one after the other, so that it never asks twice for the same thing.
    pub acquiring: tokio::sync::Mutex<()>,
    /// So do looks at its commits.
    pub looking: tokio::sync::Mutex<()>,
}

pub(crate) struct Inner {
    pub heartbeat: Heartbeat,
    pub record: SessionRecord,
    pub locks: Vec<HeldLock>,
    pub waiting: Vec<Waiting>,
    pub slots: Slots,
    /// The version of each file as each sub-agent (or the agent itself) last saw it.
    pub reads: HashMap<(Option<String>, PathBuf), Version>,
    pub in_flight: HashMap<String, InFlight>,
    pub notices: Vec<String>,
    /// How often the same thing was refused in a row (X8).
    pub refusals: HashMap<String, u32>,
    /// The waiters this session has been told of.
    pub told_waiters: BTreeSet<u64>,
    /// The error of railroad.yaml that it knows of.
    pub told_fault: Option<String>,
    /// What the agent started, as far as seen.
    pub children: BTreeSet<Process>,
    /// Stopped by a hard pause, to be continued on resume.
    pub frozen: BTreeSet<Process>,
    pub keep_alive_sent: BootTime,
    /// The last pause acknowledgement written.
    pub acknowledged: Option<rr_fleet::AckRecord>,
    pub ended: bool,
    /// Locks the store could not be told to release: tried again.
    pub unreleased: Vec<GrantedLock>,
    /// What the last awareness text said, so that it is told again only when it changed.
    pub told_state: u64,
    /// The hooks were seen in the agent's settings once: their absence is then a finding (H41).
    pub hooks_seen: bool,
    /// It may have read files that we do not know of: before the sidecar's present life, or before its own.
    pub memory_gaps: bool,
    /// Where the branches stood when its commits were last looked at, for each work tree.
    pub tips: HashMap<PathBuf, Tips>,
    /// What it lost, or wrote while somebody else had it, and has not locked again since.
    pub lost: Vec<LostClaim>,
    /// The task that it was started for, by which scopes may name it.
    pub scope_task: Option<String>,
    /// Calls that a person was asked about.
    pub asked: BTreeMap<CallPrint, RequestAt>,
    /// Work trees that it has changed since they were last kept whole.
    pub unsaved: BTreeSet<PathBuf>,
    /// It is being rolled back: nothing of it may change anything meanwhile.
    pub held_back: bool,
    /// Counts turns: a release that waits for the end of one must not touch the next.
    pub turn: u64,
}

#[derive(Clone)]
pub(crate) struct HeldLock {
    pub grant: GrantedLock,
    pub state: LockState,
    pub repo: Arc<Repo>,
    pub touched: BootTime,
    /// When it was granted, by the wall clock: for display only.
    pub since_unix_ms: u64,
    pub cool_until: BootTime,
    /// Given on if not used by then: it was granted from the queue while its session did other things.
    pub claim_by: Option<BootTime>,
    /// Only for the call with this id.
    pub only_for: Option<String>,
    /// Calls that went on because of it, the one that took it among them.
    pub uses: u32,
    pub unclean: Vec<Unclean>,
}

/// Something that was not, or no longer, this session's when it was written: a commit of it is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostClaim {
    pub repo: RepoId,
    pub claim: Claim,
    /// The token of the lock that was lost; none if there never was one.
    pub token: Option<Token>,
}

/// A request in the store's queue on behalf of this session.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub waiter: Waiter,
    pub shown: String,
    pub since: BootTime,
}

/// A call that was let through and is not over yet.
#[derive(Clone)]
pub(crate) struct InFlight {
    pub agent_id: Option<String>,
    pub started: BootTime,
    pub may_change: bool,
    /// What stood before it, kept; with the tree where it may change more than it names.
    pub before: Before,
    /// What it changed is in the journal already, or somebody is about to write it down.
    pub recorded: bool,
    /// It began before this process did: [`EARLIER_CALL`] counts for it.
    pub earlier: Option<FromBefore>,
    pub commits: bool,
    /// It stages without committing: the index stays its session's until that has been done.
    pub stages: bool,
    /// It was let through during this pause: it is none of the calls that the pause waits for.
    pub in_spite_of: Option<Epoch>,
}

impl AgentSession {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sid(&self) -> &SessionId {
        &self.session.sid
    }

    /// Whether it stands for somebody's saves, and no agent.
    pub(crate) fn is_person(&self) -> bool {
        self.key.agent == rr_fleet::PERSON
    }

    pub(crate) fn notify(&self, text: String) {
        let mut inner = self.lock();
        if !inner.notices.contains(&text) {
            inner.notices.push(text);
        }
        let over = inner.notices.len().saturating_sub(NOTICES_MAX);
        inner.notices.drain(..over);
    }
}

impl Inner {
    pub(crate) fn new(heartbeat: Heartbeat, record: SessionRecord, now: BootTime) -> Self {
        Self {
            heartbeat,
            record,
            locks: Vec::new(),
            waiting: Vec::new(),
            slots: Slots::default(),
            reads: HashMap::new(),
            in_flight: HashMap::new(),
            notices: Vec::new(),
            refusals: HashMap::new(),
            told_waiters: BTreeSet::new(),
            told_fault: None,
            children: BTreeSet::new(),
            frozen: BTreeSet::new(),
            keep_alive_sent: now,
            acknowledged: None,
            ended: false,
            unreleased: Vec::new(),
            told_state: 0,
            hooks_seen: false,
            memory_gaps: false,
            tips: HashMap::new(),
            lost: Vec::new(),
            scope_task: None,
            asked: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            held_back: false,
            turn: 0,
        }
    }

    /// The lock that covers a claim in a repository, whatever its state.
    pub(crate) fn covering(&mut self, repo: &Repo, claim: &Claim) -> Option<&mut HeldLock> {
        self.locks
            .iter_mut()
            .find(|l| l.grant.repo == repo.id && !matches!(l.state, LockState::Lost(_)) && l.grant.claim.covers(claim))
    }

    /// The request in the queue that would bring this claim.
    pub(crate) fn waits_for(&self, claim: &Claim) -> Option<&Waiting> {
        let brings = |w: &&Waiting| w.waiter.claims().iter().any(|c| c.mode == Mode::Exclusive && c.covers(claim));
        self.waiting.iter().find(brings)
    }

    pub(crate) fn apply(&mut self, event: LockEvent) {
        for lock in &mut self.locks {
            lock.state = lock.state.on(event);
        }
    }

    /// Remembers the version of a file that an agent has seen.
    pub(crate) fn saw(&mut self, agent_id: Option<&String>, file: &Path, version: Version) {
        if self.reads.len() >= READS_MAX {
            // Forgetting costs a check, not a file: an unknown version is not stale.
            self.reads.clear();
        }
        self.reads.insert((agent_id.cloned(), file.to_owned()), version);
    }

    /// Assumes that something is under way until the session shows that it is not (H16).
    pub(crate) fn assume_busy(&mut self, now: BootTime) {
        let call = InFlight {
            agent_id: None,
            started: now,
            may_change: true,
            before: Before::default(),
            // Its own entry in the journal is looked up when it reports.
            recorded: true,
            earlier: None,
            commits: false,
            stages: false,
            in_spite_of: None,
        };
        self.in_flight.insert(EARLIER_CALL.to_owned(), call);
    }

    /// A call that is over, as it was before this was asked: whoever comes first writes down what it changed. A hook that has waited too
    /// long for that may be followed by the next event of its agent.
    pub(crate) fn over(&mut self, id: &str) -> Option<InFlight> {
        let known = self.in_flight.get_mut(id)?;
        let flight = known.clone();
        known.recorded = true;
        if flight.earlier.is_some() {
            self.in_flight.remove(id);
        }
        Some(flight)
    }

    pub(crate) fn may_change_in_flight(&self) -> usize {
        self.in_flight.values().filter(|c| c.may_change && c.earlier.is_none()).count()
    }

    /// Calls that may change something and were let through before this pause.
    pub(crate) fn in_flight_before(&self, pause: Epoch) -> usize {
        let is_from_before =
            |call: &&InFlight| call.may_change && call.earlier.is_none() && call.in_spite_of != Some(pause);
        self.in_flight.values().filter(is_from_before).count()
    }

    /// When a lock was granted, by the wall clock.
    pub(crate) fn granted_at(&self, token: Token) -> Option<u64> {
        self.locks.iter().find(|l| l.grant.token == token).map(|l| l.since_unix_ms)
    }

    /// What was staged is not committed yet: the index stays locked beyond its call.
    pub(crate) fn keep_index(&mut self, id: &str) {
        for lock in self.locks.iter_mut().filter(|l| l.only_for.as_deref() == Some(id)) {
            if lock.grant.claim.scope == lock.repo.shared(crate::repos::Shared::Index) {
                lock.only_for = None;
            }
        }
    }

    /// Remembers that something was lost, until it is locked again.
    pub(crate) fn note_lost(&mut self, lost: LostClaim) {
        if lost.claim.mode == Mode::Exclusive && !matches!(lost.claim.scope, Scope::Named(_)) {
            self.lost.retain(|l| l.repo != lost.repo || !lost.claim.covers(&l.claim));
            self.lost.push(lost);
        }
    }

    /// What is locked again is this session's again.
    pub(crate) fn regained(&mut self, lock: &GrantedLock) {
        self.lost.retain(|l| l.repo != lock.repo || !lock.claim.covers(&l.claim));
    }

    /// Locks that nothing needs any more: out of the table, to be given back to the store.
    pub(crate) fn take_locks(&mut self, over: impl Fn(&HeldLock) -> bool) -> Vec<GrantedLock> {
        let mut gone: Vec<GrantedLock> = self.locks.extract_if(.., |l| over(l)).map(|l| l.grant).collect();
        gone.extend(self.take_idle_shares());
        gone
    }

    /// Locks that one call alone has taken since `before`, for these claims, and that no other call counts on.
    pub(crate) fn take_new(&mut self, before: &BTreeSet<Token>, claims: &[Claim]) -> Vec<GrantedLock> {
        self.take_locks(|l| {
            l.uses == 1 && l.is_file() && !before.contains(&l.grant.token) && claims.contains(&l.grant.claim)
        })
    }

    /// A share of a work tree is held only as long as some file in it is.
    fn take_idle_shares(&mut self) -> Vec<GrantedLock> {
        let used: BTreeSet<PathBuf> = self
            .locks
            .iter()
            .filter(|l| l.grant.claim.mode == Mode::Exclusive)
            .map(|l| l.repo.tree.root.clone())
            .collect();
        let idle = |l: &mut HeldLock| l.grant.claim.mode == Mode::Shared && !used.contains(&l.repo.tree.root);
        self.locks.extract_if(.., idle).map(|l| l.grant).collect()
    }
}

impl HeldLock {
    pub(crate) fn shown(&self) -> String {
        crate::messages::scope(&self.grant.claim.scope)
    }

    pub(crate) fn as_lost(&self) -> LostClaim {
        LostClaim::of(&self.grant)
    }

    /// Whether people think of it as a file: not the index, not a work tree's share.
    pub(crate) fn is_file(&self) -> bool {
        !matches!(self.grant.claim.scope, Scope::Named(_))
    }
}

impl LostClaim {
    pub(crate) fn of(lock: &GrantedLock) -> Self {
        Self { repo: lock.repo.clone(), claim: lock.claim.clone(), token: Some(lock.token) }
    }
}

/// Who changed a path last, for the one who read it before (D7), and for the next holder (D6).
#[derive(Clone)]
pub(crate) struct Change {
    pub session: SessionId,
    /// In words, as of then: its session may be over when somebody asks.
    pub who: Who,
    pub at: BootTime,
    pub repo: Arc<Repo>,
    pub disk: PathBuf,
}

/// The last change of each path seen on this machine.
#[derive(Default)]
pub(crate) struct Changes {
    by_path: BTreeMap<(String, RepoPath), Change>,
}

impl Changes {
    pub(crate) fn note(&mut self, path: RepoPath, change: Change) {
        self.by_path.insert((change.repo.id.to_string(), path), change);
    }

    /// Those that were made since, the newest first.
    pub(crate) fn since(&self, at: BootTime, wanted: impl Fn(&Change) -> bool) -> Vec<(RepoPath, Change)> {
        let all = self.by_path.iter().filter(|(_, change)| change.at >= at && wanted(change));
        let mut found: Vec<_> = all.map(|((_, path), change)| (path.clone(), change.clone())).collect();
        found.sort_by_key(|(_, change)| std::cmp::Reverse(change.at));
        found
    }

    pub(crate) fn of(&self, repo: &Repo, path: &RepoPath) -> Option<&Change> {
        self.by_path.get(&(repo.id.to_string(), path.clone()))
    }
}

//! What callers, watches and the writer have in common: the durable state with its history, the leases' times, the
//! queue, and whether the store still works. Only the writer changes the state, and only to what is durable: whoever
//! reads here sees nothing that a crash could take back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::history::History;
use super::leases::Leases;
use super::queue::Queue;
use super::state::State;
use super::watchers::Watchers;
use crate::contract::{Revision, StoreError};

pub(super) struct Memory {
    pub(super) state: State,
    pub(super) history: History,
}

pub(super) struct Shared {
    memory: RwLock<Memory>,
    leases: Mutex<Leases>,
    pub(super) queue: Queue,
    /// Locked after the memory, never before it.
    pub(super) watchers: Arc<Watchers>,
    /// Why nothing more is served: the disk did not confirm a write.
    broken: OnceLock<String>,
    transactions: AtomicU64,
    commits: AtomicU64,
    pub(super) data_bytes_max: usize,
}

/// Counted since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that went through the writer: transactions that can write, grants, revocations, ended leases.
    pub transactions: u64,
    /// Batches made durable, one sync each.
    pub commits: u64,
    pub revision: Revision,
}

impl Shared {
    pub(super) fn new(memory: Memory, leases: Leases, data_bytes_max: usize) -> Self {
        Self {
            memory: RwLock::new(memory),
            leases: Mutex::new(leases),
            queue: Queue::default(),
            watchers: Arc::default(),
            broken: OnceLock::new(),
            transactions: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            data_bytes_max,
        }
    }

    // No code that holds one of these locks panics half-way through a change, so a poisoned lock is still whole.

    pub(super) fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.broken.get().map_or(Ok(()), |why| Err(StoreError::Damaged(why.clone())))
    }

    /// Stops serving for good. What is on the disk is found out at the next open.
    pub(super) fn mark_broken(&self, why: &str) {
        // The first reason is the one that counts.
        let _ = self.broken.set(format!("{why}; open the store again to find out what is on the disk"));
        self.watchers.close();
    }

    pub(super) fn count(&self, transactions: usize, commits: u64) {
        self.transactions.fetch_add(transactions as u64, Ordering::Relaxed);
        self.commits.fetch_add(commits, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            transactions: self.transactions.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            revision: self.memory().state.revision,
        }
    }
}

//! How far the cluster's history has been seen, and what happens when an answer lies before that: the store was put back
//! (hazard H7). It compares what linearizable answers say, nothing else; who may go on with another history is its
//! caller's to decide.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::contract::{Position, StoreError};

/// The highest position answered so far, and a latch.
#[derive(Debug, Default)]
pub(super) struct Highest {
    revision: AtomicU64,
    raft_term: AtomicU64,
    fenced: AtomicBool,
    /// Guards the change from one history to another; not taken by a request unless the store went back.
    history: Mutex<History>,
    /// Which history requests are sent in: an answer to one of an earlier history proves nothing about this one.
    number: AtomicU64,
}

#[derive(Debug, Default)]
struct History {
    went_back: Option<(Position, Position)>,
}

/// What had been seen when a request was sent: its answer may not lie before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub seen: Position,
    pub history: u64,
}

/// Where an answer stands to what had been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ahead,
    /// Not behind in revision, but from a lower term: a restored store that has been written to since, or a member that
    /// took the state over in one piece and has applied nothing after it (etcd counts terms by what it applies).
    InOlderTerm,
    Back,
}

impl Highest {
    pub(super) fn starting_at(seen: Position) -> Self {
        let highest = Self::default();
        highest.raise(seen);
        highest
    }

    pub(super) fn seen(&self) -> Position {
        let of = |number: &AtomicU64| number.load(Ordering::Acquire);
        Position { revision: of(&self.revision), raft_term: of(&self.raft_term) }
    }

    /// To be taken before a request is sent; none is sent to a store that went back.
    pub(super) fn mark(&self) -> Result<Mark, StoreError> {
        let history = self.number.load(Ordering::Acquire);
        if self.fenced.load(Ordering::Acquire)
            && let Some((seen, now)) = self.locked().went_back
        {
            return Err(StoreError::WentBack { seen, now });
        }
        Ok(Mark { seen: self.seen(), history })
    }

    /// Takes in where a linearizable answer stands. Concurrent answers may overtake one another, so it is held against
    /// what was known when its request was sent.
    pub(super) fn answered(&self, mark: Mark, now: Position) -> Standing {
        if now.revision < mark.seen.revision {
            return Standing::Back;
        }
        self.raise(now);
        if now.raft_term < mark.seen.raft_term { Standing::InOlderTerm } else { Standing::Ahead }
    }

    /// Goes on with the history that the store has now. Whatever was known of the earlier one no longer holds.
    pub(super) fn accept(&self) {
        let mut history = self.locked();
        if let Some((_, now)) = history.went_back.take() {
            self.number.fetch_add(1, Ordering::AcqRel);
            self.revision.store(now.revision, Ordering::Release);
            self.raft_term.store(now.raft_term, Ordering::Release);
            self.fenced.store(false, Ordering::Release);
        }
    }

    /// The store went back: nothing is sent to it any more.
    pub(super) fn fence(&self, mark: Mark, now: Position) -> Result<(), StoreError> {
        let mut history = self.locked();
        if mark.history != self.number.load(Ordering::Acquire) {
            return Ok(());
        }
        let (seen, now) = *history.went_back.get_or_insert((mark.seen, now));
        self.fenced.store(true, Ordering::Release);
        Err(StoreError::WentBack { seen, now })
    }

    /// For what is known to be part of this history.
    pub(super) fn raise(&self, now: Position) {
        for (known, new) in [(&self.revision, now.revision), (&self.raft_term, now.raft_term)] {
            // Most answers are newer in revision and equal in term: do not fight over what does not change.
            if known.load(Ordering::Acquire) < new {
                known.fetch_max(new, Ordering::AcqRel);
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64, raft_term: u64) -> Position {
        Position { revision, raft_term }
    }

    #[test]
    fn a_store_that_went_back_gets_no_request_until_its_history_is_accepted() {
        let highest = Highest::starting_at(at(10, 3));
        let mark = highest.mark().unwrap();
        assert_eq!(highest.answered(mark, at(9, 3)), Standing::Back);
        let went_back = Err(StoreError::WentBack { seen: at(10, 3), now: at(9, 3) });
        assert_eq!(highest.fence(mark, at(9, 3)), went_back);
        assert_eq!(highest.mark().map(drop), went_back);
        highest.accept();
        let mark = highest.mark().unwrap();
        assert_eq!(mark.seen, at(9, 3));
        assert_eq!(highest.answered(mark, at(9, 3)), Standing::Ahead);
    }

    #[test]
    fn a_lower_term_is_noticed_at_any_revision() {
        for revision in [10, 1_000_000] {
            let highest = Highest::starting_at(at(10, 3));
            let mark = highest.mark().unwrap();
            assert_eq!(highest.answered(mark, at(revision, 2)), Standing::InOlderTerm);
            assert_eq!(highest.seen(), at(revision, 3), "the term is not forgotten");
        }
    }

    #[test]
    fn answers_that_overtake_one_another_are_no_alarm() {
        let highest = Highest::starting_at(at(10, 3));
        let (slow, fast) = (highest.mark().unwrap(), highest.mark().unwrap());
        assert_eq!(highest.answered(fast, at(12, 3)), Standing::Ahead);
        assert_eq!(highest.answered(slow, at(11, 3)), Standing::Ahead);
        assert_eq!(highest.seen(), at(12, 3));
    }

    #[test]
    fn a_late_answer_of_the_old_history_does_not_fence_the_new_one() {
        let highest = Highest::starting_at(at(10, 3));
        let (first, late) = (highest.mark().unwrap(), highest.mark().unwrap());
        assert!(highest.fence(first, at(5, 3)).is_err());
        highest.accept();
        assert_eq!(highest.fence(late, at(6, 3)), Ok(()));
        assert!(highest.mark().is_ok());
    }
}

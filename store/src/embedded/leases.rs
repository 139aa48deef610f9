//! When each lease ends. Kept in memory alone: a keep-alive costs no disk, and a restart gives every lease its full time
//! again (G7). That a lease exists, and its end, are records (`state`); here is only the time until then.

use std::collections::HashMap;

use rr_core::time::{BootTime, Span};

use crate::contract::LeaseId;

#[derive(Debug)]
struct Term {
    ttl: Span,
    ends_at: BootTime,
    /// Its end was decided: no keep-alive brings it back, even if the record of it is still to be written.
    ending: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Renewed(Span),
    /// Its time is over; it is gone once that is durable.
    Ending,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    terms: HashMap<LeaseId, Term>,
    /// No lease ends before this, so that most batches need not look at each. Keep-alives only push ends away.
    none_before: BootTime,
}

impl Leases {
    pub(super) fn start(&mut self, lease: LeaseId, ttl: Span, now: BootTime) {
        let ends_at = now + ttl;
        self.none_before = if self.terms.is_empty() { ends_at } else { self.none_before.min(ends_at) };
        self.terms.insert(lease, Term { ttl, ends_at, ending: false });
    }

    pub(super) fn renew(&mut self, lease: LeaseId, now: BootTime) -> Renewal {
        let Some(term) = self.terms.get_mut(&lease) else {
            return Renewal::Unknown;
        };
        if term.ending || term.ends_at <= now {
            term.ending = true;
            return Renewal::Ending;
        }
        term.ends_at = now + term.ttl;
        Renewal::Renewed(term.ttl)
    }

    /// The leases whose time is over. They are told again until `forget`.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<LeaseId> {
        if now < self.none_before {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (lease, term) in &mut self.terms {
            if term.ending || term.ends_at <= now {
                term.ending = true;
                due.push(*lease);
            }
        }
        let next = self.terms.values().map(|term| term.ends_at).min();
        self.none_before = next.unwrap_or_default();
        // In the order of their names: the same leases end at the same revisions in every run.
        due.sort_unstable();
        due
    }

    pub(super) fn forget(&mut self, lease: LeaseId) {
        self.terms.remove(&lease);
    }

    pub(super) fn contains(&self, lease: LeaseId) -> bool {
        self.terms.contains_key(&lease)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: LeaseId = LeaseId(5);
    const TTL: Span = Span::from_millis(100);

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    #[test]
    fn a_renewed_lease_lasts_its_time_from_the_renewal() {
        let mut leases = Leases::default();
        leases.start(LEASE, TTL, at(0));
        assert_eq!(leases.renew(LEASE, at(99)), Renewal::Renewed(TTL));
        assert!(leases.take_due(at(198)).is_empty());
        assert_eq!(leases.take_due(at(199)), [LEASE]);
    }

    #[test]
    fn a_lease_found_over_is_never_renewed_again() {
        let mut leases = Leases::default();
        leases.start(LEASE, TTL, at(0));
        assert_eq!(leases.renew(LEASE, at(100)), Renewal::Ending);
        assert_eq!(leases.renew(LEASE, at(100)), Renewal::Ending);
        assert_eq!(leases.take_due(at(100)), [LEASE]);
        leases.forget(LEASE);
        assert_eq!(leases.renew(LEASE, at(100)), Renewal::Unknown);
    }

    #[test]
    fn a_short_lease_after_a_long_one_is_due_first() {
        let mut leases = Leases::default();
        leases.start(LeaseId(1), Span::from_secs(60), at(0));
        leases.start(LEASE, TTL, at(10));
        assert_eq!(leases.take_due(at(110)), [LEASE]);
    }
}

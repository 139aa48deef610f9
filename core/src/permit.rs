//! May the fleet run? The run permit is a key: present means yes, absent means paused (D11). A sidecar's view of it grows old,
//! and an old view is a no: that is how a pause reaches a host that nobody can reach (lock-protocol §5).

use crate::id::Epoch;
use crate::limits::Timing;
use crate::time::{BootTime, Span};

/// What the last successful read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    Run(Epoch),
    /// Absent. The epoch is the fleet's counter at that time, for `resume --epoch`.
    Paused(Epoch),
}

/// Why a call may not pass now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standstill {
    Paused(Epoch),
    /// The last read was sent this long ago: too old to rely on.
    Stale(Span),
    NeverRead,
    /// The store was put back to an earlier state: what it says is of the past until a person has looked (H7).
    StoreWentBack,
}

impl Standstill {
    /// Of a pause: which.
    #[must_use]
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Paused(epoch) => Some(epoch),
            Self::Stale(_) | Self::NeverRead | Self::StoreWentBack => None,
        }
    }
}

/// One sidecar's view of the permit.
#[derive(Clone, Debug, Default)]
pub struct PermitView {
    last: Option<(BootTime, Permit, u64)>,
    went_back: bool,
}

impl PermitView {
    /// Takes in a read that was **sent** at `sent` and saw the store at `revision`. Answers that saw an older store than
    /// one already taken in are refused (D19): a slow answer must not undo a pause.
    pub fn observe(&mut self, sent: BootTime, permit: Permit, revision: u64) {
        if let Some((last_sent, _, last_revision)) = &self.last {
            if revision < *last_revision {
                return;
            }
            let sent = sent.max(*last_sent);
            self.last = Some((sent, permit, revision));
        } else {
            self.last = Some((sent, permit, revision));
        }
    }

    /// The store was put back: nothing passes, whatever it shows, until a new history begins.
    pub fn store_went_back(&mut self) {
        *self = Self { last: None, went_back: true };
    }

    /// A person has made a new start: revisions begin anew, and so does what is known.
    pub fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// A watch showed a change at `revision`. It changes what is known, not how fresh the knowledge is.
    pub fn hint(&mut self, permit: Permit, revision: u64) {
        if let Some((_, last, last_revision)) = &mut self.last
            && revision >= *last_revision
        {
            *last = permit;
            *last_revision = revision;
        }
    }

    /// # Errors
    /// Says why nothing may pass at `now`.
    pub fn check(&self, now: BootTime, timing: &Timing) -> Result<Epoch, Standstill> {
        if self.went_back {
            return Err(Standstill::StoreWentBack);
        }
        let Some((sent, permit, _)) = &self.last else { return Err(Standstill::NeverRead) };
        // A pause is believed however old it is; only a "run" has to be fresh.
        match permit {
            Permit::Paused(epoch) => Err(Standstill::Paused(*epoch)),
            Permit::Run(_) if now.since(*sent) >= timing.permit_fresh => Err(Standstill::Stale(now.since(*sent))),
            Permit::Run(epoch) => Ok(*epoch),
        }
    }

    /// Whether what is known is as young as what lets a call pass must be.
    #[must_use]
    pub fn is_fresh(&self, now: BootTime, timing: &Timing) -> bool {
        !self.went_back && self.last.as_ref().is_some_and(|(sent, ..)| now.since(*sent) < timing.permit_fresh)
    }

    /// What the last read found, however old.
    #[must_use]
    pub fn last(&self) -> Option<&Permit> {
        self.last.as_ref().map(|(_, permit, _)| permit)
    }
}

/// What a resume may do, from what the store shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// The epoch named is not the present one: somebody paused or resumed since.
    OtherEpoch {
        present: Epoch,
    },
    /// Other reasons to stay paused.
    Held {
        by: Vec<String>,
    },
    AlreadyRunning {
        present: Epoch,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> BootTime {
        BootTime::from_millis(5_000) + Span::from_secs(s)
    }

    #[test]
    fn a_permit_counts_for_15_s_from_the_send_of_its_read() {
        let mut v = PermitView::default();
        let t = Timing::default();
        assert_eq!(v.check(at(0), &t), Err(Standstill::NeverRead));
        v.observe(at(0), Permit::Run(Epoch(1)), 10);
        assert_eq!(v.check(at(14), &t), Ok(Epoch(1)));
        assert_eq!(v.check(at(15), &t), Err(Standstill::Stale(Span::from_secs(15))));
    }

    #[test]
    fn an_overtaken_answer_does_not_undo_a_pause() {
        let mut v = PermitView::default();
        v.observe(at(5), Permit::Paused(Epoch(2)), 20);
        v.observe(at(6), Permit::Run(Epoch(1)), 19);
        assert_eq!(v.check(at(6), &Timing::default()), Err(Standstill::Paused(Epoch(2))));
        v.hint(Permit::Run(Epoch(1)), 18);
        assert_eq!(v.check(at(6), &Timing::default()), Err(Standstill::Paused(Epoch(2))));
    }

    #[test]
    fn a_watch_pauses_at_once_but_never_freshens() {
        let mut v = PermitView::default();
        let t = Timing::default();
        v.observe(at(0), Permit::Run(Epoch(1)), 10);
        v.hint(Permit::Run(Epoch(1)), 11);
        assert_eq!(v.check(at(15), &t), Err(Standstill::Stale(Span::from_secs(15))));
        v.hint(Permit::Paused(Epoch(2)), 12);
        assert_eq!(v.check(at(1), &t), Err(Standstill::Paused(Epoch(2))));
    }

    #[test]
    fn an_old_pause_stays_a_pause() {
        let mut v = PermitView::default();
        v.observe(at(0), Permit::Paused(Epoch(2)), 10);
        assert_eq!(v.check(at(3_600), &Timing::default()), Err(Standstill::Paused(Epoch(2))));
    }

    #[test]
    fn a_store_that_went_back_stops_all_until_a_new_start() {
        let mut v = PermitView::default();
        let t = Timing::default();
        v.observe(at(0), Permit::Run(Epoch(1)), 10);
        v.store_went_back();
        assert_eq!(v.check(at(0), &t), Err(Standstill::StoreWentBack));
        v.observe(at(1), Permit::Run(Epoch(1)), 11);
        v.hint(Permit::Run(Epoch(1)), 12);
        assert_eq!(v.check(at(1), &t), Err(Standstill::StoreWentBack), "what it shows does not count");
        v.begin_anew();
        assert_eq!(v.check(at(2), &t), Err(Standstill::NeverRead));
        v.observe(at(2), Permit::Run(Epoch(2)), 3);
        assert_eq!(v.check(at(2), &t), Ok(Epoch(2)), "and lower revisions count again");
    }
}

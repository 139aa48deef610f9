//! One term of a leader, as plain data: what is due now, and until when the leader may act at all. It reads no clock and
//! talks to no store; `app` does what is due. The store's own guard (the leader key in every write) does not depend on it:
//! this only keeps a leader that is cut off from trying.

use rr_core::limits::Timing;
use rr_core::time::{BootTime, Span};

/// How often the leader looks for rings: a ring costs its members at most this on top of the store's answers (H33).
pub(crate) const RINGS_EVERY: Span = Span::from_secs(2);
/// A renewal that found no answer is tried again after this (lock-protocol §2, T_KA).
const RENEW_AGAIN: Span = Span::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Not renewed within the cut-off: somebody else may be leading by now.
    Over,
    Renew,
    LookForRings,
    Nothing {
        until: BootTime,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    keep_alive: Span,
    /// The right to act ends here.
    over_at: BootTime,
    cut_off: Span,
    renew_at: BootTime,
    look_at: BootTime,
}

impl Term {
    /// A term won by a request that was **sent** at `sent`.
    pub(crate) fn won(sent: BootTime, timing: &Timing) -> Self {
        Self {
            keep_alive: timing.keep_alive,
            over_at: sent + timing.cut_off,
            cut_off: timing.cut_off,
            renew_at: sent + timing.keep_alive,
            look_at: sent,
        }
    }

    /// Renewing goes before acting: acting needs the right to.
    pub(crate) fn due(&self, now: BootTime) -> Due {
        if now >= self.over_at {
            Due::Over
        } else if now >= self.renew_at {
            Due::Renew
        } else if now >= self.look_at {
            Due::LookForRings
        } else {
            Due::Nothing { until: self.renew_at.min(self.look_at).min(self.over_at) }
        }
    }

    /// What is left of the right to act.
    pub(crate) fn left(&self, now: BootTime) -> Span {
        self.over_at.since(now)
    }

    /// The store acknowledged a renewal that was sent at `sent`.
    pub(crate) fn renewed(&mut self, sent: BootTime) {
        self.over_at = sent + self.cut_off;
        self.renew_at = sent + self.keep_alive;
    }

    pub(crate) fn not_renewed(&mut self, now: BootTime) {
        self.renew_at = now + RENEW_AGAIN.min(self.keep_alive);
    }

    pub(crate) fn looked(&mut self, now: BootTime) {
        self.look_at = now + RINGS_EVERY;
    }

    pub(crate) fn look_later(&mut self, now: BootTime, wait: Span) {
        self.look_at = now + wait.max(RINGS_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1_000)
    }

    fn term() -> Term {
        Term::won(at(100), &Timing::default())
    }

    #[test]
    fn a_new_leader_looks_at_once_and_then_every_two_seconds() {
        let mut term = term();
        assert_eq!(term.due(at(100)), Due::LookForRings);
        term.looked(at(100));
        assert_eq!(term.due(at(101)), Due::Nothing { until: at(102) });
        assert_eq!(term.due(at(102)), Due::LookForRings);
    }

    #[test]
    fn renewing_goes_before_acting() {
        assert_eq!(term().due(at(115)), Due::Renew);
    }

    #[test]
    fn the_right_to_act_ends_at_the_cut_off_after_the_last_acknowledged_send() {
        let mut term = term();
        term.renewed(at(115));
        assert_eq!(term.left(at(120)), Span::from_secs(45));
        for tried in [130, 140, 150, 160] {
            assert_eq!(term.due(at(tried)), Due::Renew);
            term.not_renewed(at(tried));
        }
        term.looked(at(160));
        assert_eq!(term.due(at(164)), Due::Renew);
        assert_eq!(term.due(at(165)), Due::Over);
        assert_eq!(term.due(at(9_999)), Due::Over, "after a long sleep of the machine");
        assert_eq!(term.left(at(9_999)), Span::ZERO);
    }

    #[test]
    fn waiting_never_reaches_beyond_the_end_of_the_term() {
        let timing = Timing { keep_alive: Span::from_secs(60), ..Timing::default() };
        let mut term = Term::won(at(100), &timing);
        term.look_later(at(100), Span::from_secs(500));
        assert_eq!(term.due(at(101)), Due::Nothing { until: at(150) });
    }
}

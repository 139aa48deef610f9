//! Is this session still entitled to act? A machine without I/O: keep-alive answers and looks at the clock go in, the state
//! comes out (lock-protocol §5). The cut-off counts from the **send** time of the last acknowledged keep-alive, because the
//! store may have started counting right then (H1, H4).

use crate::limits::{STOP_GAP, SUSPECT_AFTER, Timing};
use crate::time::BootTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    Live,
    /// No answer for a while: still entitled, told to people.
    Suspect,
    /// Not entitled until proven alive: every call is denied.
    Fenced(FenceCause),
    /// The lease, the key or the generation is gone: its locks are lost, a new session is needed.
    Dead(DeathCause),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceCause {
    CutOff,
    /// The process or the machine was stopped for longer than [`STOP_GAP`].
    WokeUp,
    /// The store answered with an older revision than seen before.
    StoreWentBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    LeaseGone,
    KeyGone,
    GenerationChanged,
    /// Its host was shut out of the fleet.
    Denied,
}

/// One session's entitlement over time.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    state: SessionState,
    /// Send time of the last keep-alive that was acknowledged.
    acknowledged: BootTime,
    /// The last time anybody looked: a jump from here is a stop.
    looked: BootTime,
    timing: Timing,
}

impl Heartbeat {
    /// A session registered by a request sent at `sent`.
    #[must_use]
    pub fn registered(sent: BootTime, timing: Timing) -> Self {
        Self { state: SessionState::Live, acknowledged: sent, looked: sent, timing }
    }

    /// Looks at the clock and answers the state at `now`. Every decision starts with this.
    pub fn look(&mut self, now: BootTime) -> &SessionState {
        let gap = now.since(self.looked);
        self.looked = self.looked.max(now);
        if matches!(self.state, SessionState::Live | SessionState::Suspect) {
            self.state = self.state_at(now, gap);
        }
        &self.state
    }

    fn state_at(&self, now: BootTime, gap: crate::time::Span) -> SessionState {
        let silent = now.since(self.acknowledged);
        if silent >= self.timing.cut_off {
            SessionState::Fenced(FenceCause::CutOff)
        } else if gap > STOP_GAP {
            SessionState::Fenced(FenceCause::WokeUp)
        } else if silent >= SUSPECT_AFTER {
            SessionState::Suspect
        } else {
            SessionState::Live
        }
    }

    /// The store acknowledged a keep-alive sent at `sent`. It renews the lease, but it does not lift a fence.
    pub fn acknowledge(&mut self, sent: BootTime) {
        self.acknowledged = self.acknowledged.max(sent);
    }

    pub fn store_went_back(&mut self) {
        if matches!(self.state, SessionState::Live | SessionState::Suspect) {
            self.state = SessionState::Fenced(FenceCause::StoreWentBack);
        }
    }

    /// Proven: a keep-alive sent at `sent` found the lease alive, and a read after it found the session's key with its own create
    /// revision and the same generation.
    pub fn proven(&mut self, sent: BootTime, now: BootTime) {
        if matches!(self.state, SessionState::Fenced(_)) {
            self.acknowledge(sent);
            self.looked = self.looked.max(now);
            self.state = self.state_at(now, crate::time::Span::ZERO);
        }
    }

    pub fn died(&mut self, cause: DeathCause) {
        if self.state != SessionState::Closed {
            self.state = SessionState::Dead(cause);
        }
    }

    pub fn close(&mut self) {
        self.state = SessionState::Closed;
    }

    /// The state as last looked at.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        &self.state
    }
}

impl SessionState {
    /// Whether a call may pass in this state.
    #[must_use]
    pub fn is_entitled(&self) -> bool {
        matches!(self, Self::Live | Self::Suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn at(s: u64) -> BootTime {
        BootTime::from_millis(1_000_000) + Span::from_secs(s)
    }

    fn beat() -> Heartbeat {
        Heartbeat::registered(at(0), Timing::default())
    }

    /// Looks once a second, as the sidecar does.
    fn run(beat: &mut Heartbeat, from: u64, to: u64) {
        for s in from..=to {
            beat.look(at(s));
        }
    }

    #[test]
    fn silence_makes_suspect_at_20_s_and_fenced_at_50_s() {
        let mut b = beat();
        run(&mut b, 1, 19);
        assert_eq!(b.state(), &SessionState::Live);
        run(&mut b, 20, 49);
        assert_eq!(b.state(), &SessionState::Suspect);
        run(&mut b, 50, 50);
        assert_eq!(b.state(), &SessionState::Fenced(FenceCause::CutOff));
    }

    #[test]
    fn the_cut_off_counts_from_the_send_of_the_answered_keep_alive() {
        let mut b = beat();
        run(&mut b, 1, 14);
        // Sent at 5, answered only at 14: the lease may have been renewed at 5 and no later.
        b.acknowledge(at(5));
        run(&mut b, 15, 54);
        assert!(b.state().is_entitled());
        run(&mut b, 55, 55);
        assert_eq!(b.state(), &SessionState::Fenced(FenceCause::CutOff));
    }

    #[test]
    fn a_stop_of_more_than_five_seconds_fences_before_any_answer() {
        let mut b = beat();
        b.look(at(1));
        assert!(b.look(at(6)).is_entitled(), "five seconds are not a stop");
        assert_eq!(b.look(at(12)), &SessionState::Fenced(FenceCause::WokeUp));
        b.acknowledge(at(12));
        assert!(!b.look(at(13)).is_entitled(), "an acknowledgement alone does not lift a fence");
        b.proven(at(13), at(13));
        assert!(b.look(at(14)).is_entitled());
    }

    #[test]
    fn a_proof_that_is_itself_too_old_lifts_nothing() {
        let mut b = beat();
        run(&mut b, 1, 60);
        b.proven(at(5), at(61));
        assert!(!b.look(at(61)).is_entitled());
    }

    #[test]
    fn the_dead_and_the_closed_stay_so() {
        let mut b = beat();
        b.died(DeathCause::LeaseGone);
        b.proven(at(1), at(1));
        b.acknowledge(at(1));
        assert_eq!(b.look(at(2)), &SessionState::Dead(DeathCause::LeaseGone));
        b.close();
        b.died(DeathCause::KeyGone);
        assert_eq!(b.look(at(3)), &SessionState::Closed);
    }

    #[test]
    fn a_store_that_went_back_fences() {
        let mut b = beat();
        b.store_went_back();
        assert_eq!(b.look(at(1)), &SessionState::Fenced(FenceCause::StoreWentBack));
    }
}

//! When a work tree may be judged: whether somebody is in the middle of a change, by what looks at it and calls in it tell. Pure; who
//! looks, and when, is the sidecar's.

use super::Rest;

/// What is known at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// No changed file has more errors than before.
    pub parses: bool,
    /// As at the look before.
    pub same: bool,
    /// A call that may change something is under way.
    pub busy: bool,
    /// A call has ended since the look before.
    pub call_over: bool,
}

/// What is remembered between looks at one tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resting {
    /// It changed while a call was under way that is not known to have ended: a pause of that call is no end of its work.
    in_a_call: bool,
}

impl Resting {
    pub fn step(&mut self, seen: Seen) -> Rest {
        self.in_a_call = seen.busy && !seen.call_over && (self.in_a_call || !seen.same);
        let is_still = if seen.busy { seen.same && !self.in_a_call } else { seen.same || seen.call_over };
        if seen.parses && is_still { Rest::Settled } else { Rest::InFlux }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rest::{InFlux, Settled};

    const WROTE: Seen = Seen { parses: true, same: false, busy: false, call_over: false };

    #[test]
    fn a_call_that_wrote_and_pauses_is_not_done() {
        let mut tree = Resting::default();
        let busy = Seen { busy: true, ..WROTE };
        assert_eq!(tree.step(busy), InFlux);
        assert_eq!(tree.step(Seen { same: true, ..busy }), InFlux, "however long it pauses");
        assert_eq!(tree.step(Seen { same: true, call_over: true, ..WROTE }), Settled);
        assert_eq!(tree.step(Seen { same: true, ..busy }), Settled, "the next call has written nothing");
    }

    #[test]
    fn what_no_call_wrote_must_be_seen_twice() {
        let mut tree = Resting::default();
        assert_eq!(tree.step(WROTE), InFlux);
        assert_eq!(tree.step(Seen { same: true, ..WROTE }), Settled);
    }

    #[test]
    fn the_end_of_a_call_settles_at_once_unless_another_is_under_way() {
        let over = Seen { call_over: true, ..WROTE };
        assert_eq!(Resting::default().step(over), Settled);
        let mut two = Resting::default();
        assert_eq!(two.step(Seen { busy: true, ..over }), InFlux);
        assert_eq!(two.step(Seen { busy: true, same: true, ..WROTE }), Settled);
    }

    #[test]
    fn what_does_not_parse_is_never_settled() {
        for bits in 0..8_u8 {
            let [same, busy, call_over] = [1, 2, 4].map(|bit| bits & bit != 0);
            assert_eq!(Resting::default().step(Seen { parses: false, same, busy, call_over }), InFlux);
        }
    }
}

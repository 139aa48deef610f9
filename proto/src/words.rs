//! Words on the wire, each defined once: both ends spell and read them here. Next: the coordinator writes them, `rrctl`
//! shows them.

use std::fmt;

use rr_core::scope::Mode;

/// How far a session has followed the present pause (`Session.pause`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Followed {
    /// The fleet runs: there is nothing to follow.
    Running,
    /// Paused; its sidecar has not answered yet.
    Requested,
    /// Its sidecar denies new calls; earlier ones still run.
    Seen,
    /// Nothing that was authorised before the pause runs any more.
    Drained,
}

impl Followed {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "",
            Self::Requested => "requested",
            Self::Seen => "seen",
            Self::Drained => "drained",
        }
    }

    /// Reads a word from the wire. One from a newer peer counts as [`Followed::Requested`]: never as stopped.
    #[must_use]
    pub fn read(word: &str) -> Self {
        match word {
            "" => Self::Running,
            "seen" => Self::Seen,
            "drained" => Self::Drained,
            _ => Self::Requested,
        }
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// `Lock.mode`.
#[must_use]
pub const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_an_unknown_one_is_never_taken_for_stopped() {
        for state in [Followed::Running, Followed::Requested, Followed::Seen, Followed::Drained] {
            assert_eq!(Followed::read(state.word()), state);
        }
        assert_eq!(Followed::read("frozen"), Followed::Requested);
    }
}

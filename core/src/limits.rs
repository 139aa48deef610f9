//! Every number of the protocol, with its reason (lock-protocol §2). What a team may change is a field of [`Timing`];
//! what it may not is a constant.

use crate::time::Span;

/// Locks one session may hold: far above any real edit, low enough that one run-away agent cannot fill the store (H27).
pub const LOCKS_PER_SESSION_MAX: usize = 256;
/// Locks one fleet may have: what its programs keep in memory and read at their start stays small (H27).
pub const LOCKS_PER_FLEET_MAX: usize = 50_000;
/// Scopes in one request: with 40 parts each, their compares still fit the store's transaction limit on the fast path or go slow.
pub const SCOPES_PER_REQUEST_MAX: usize = 16;
/// Bytes of a repository path, as common file systems' practical limits; keys stay short.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Parts of a path: bounds the compares of one grant (2 × depth + 2).
pub const PATH_PARTS_MAX: usize = 40;
/// Bytes of one part: NAME_MAX of every common file system.
pub const PART_BYTES_MAX: usize = 255;
/// Bytes of a glob pattern.
pub const GLOB_BYTES_MAX: usize = 512;
/// What a hook may hand over in total: an agent's largest write, with room.
pub const HOOK_INPUT_BYTES_MAX: usize = 16 << 20;
/// One frame on the hook's socket: bounds what an unread frame costs.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// Connections one user may have open on the sidecar's socket (H29).
pub const CONNECTIONS_MAX: usize = 64;
/// The longest wait of one request in the queue.
pub const WAIT_MAX: Span = Span::from_secs(300);
/// The longest wait while the waiter holds something itself: bounds what a ring of waiters can cost (H33).
pub const WAIT_HOLDING_MAX: Span = Span::from_secs(30);
/// A jump of the clock between two looks that means "this process or machine was stopped" (H1, H2).
pub const STOP_GAP: Span = Span::from_secs(5);
/// No keep-alive answer for this long makes a session suspect.
pub const SUSPECT_AFTER: Span = Span::from_secs(20);

/// Requests for approval that one session may have standing: more than a person looks at for one agent.
pub const APPROVALS_PER_SESSION_MAX: usize = 16;
/// Requests for approval that may wait in one fleet: what a person can still go through, and a list that is small to read.
pub const APPROVALS_PER_FLEET_MAX: usize = 256;
/// How long a request waits for a person before it means "no", unless a repository says otherwise.
pub const APPROVAL_WAIT: Span = Span::from_secs(15 * 60);
/// A request that leaves a person less time than this could not be answered.
pub const APPROVAL_WAIT_MIN: Span = Span::from_secs(5);
/// The longest a repository may let one wait: a working day and a night.
pub const APPROVAL_WAIT_MAX: Span = Span::from_secs(24 * 3_600);
/// How long an approval may stay unused: it was given for what the agent was about to do.
pub const APPROVAL_USE_WITHIN: Span = Span::from_secs(15 * 60);
/// Bytes of a command as it is shown to whoever approves it.
pub const APPROVAL_COMMAND_BYTES_MAX: usize = 4 << 10;
/// Bytes of the diff that is shown with it.
pub const APPROVAL_DIFF_BYTES_MAX: usize = 16 << 10;
/// Bytes of every other text of a request or an answer.
pub const APPROVAL_TEXT_BYTES_MAX: usize = 1 << 10;

/// The timings of one fleet. [`Timing::check`] holds the relations that make them safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time to live of a session's lease: the 60-second heartbeat.
    pub lease: Span,
    /// How often the lease is renewed.
    pub keep_alive: Span,
    /// Local cut-off, counted from the send time of the last acknowledged keep-alive.
    pub cut_off: Span,
    /// The oldest permit read that still lets a call pass.
    pub permit_fresh: Span,
    /// How often the permit is read besides the watch.
    pub permit_poll: Span,
    /// Wait before a lock that its last holder lost uncleanly may be used.
    pub cool: Span,
    /// A lock not touched for this long is given back (D6).
    pub idle_release: Span,
    /// A lock granted to a waiter that does not come back for it is given on after this long.
    pub claim_window: Span,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Span::from_secs(60),
            keep_alive: Span::from_secs(15),
            cut_off: Span::from_secs(50),
            permit_fresh: Span::from_secs(15),
            permit_poll: Span::from_secs(5),
            cool: Span::from_secs(5),
            idle_release: Span::from_secs(600),
            claim_window: Span::from_secs(60),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    #[error("cut-off must be at least 10 s below the lease's time to live")]
    CutOffTooLate,
    #[error("three keep-alive periods must fit into the cut-off")]
    KeepAliveTooRare,
    #[error("two permit polls and one request time-out (2 s) must fit into the permit's freshness")]
    PollTooRare,
    #[error("the cooling wait must be at most 60 s")]
    CoolTooLong,
}

impl Timing {
    /// # Errors
    /// Names the relation that does not hold.
    pub fn check(&self) -> Result<(), TimingError> {
        if self.cut_off + Span::from_secs(10) > self.lease {
            return Err(TimingError::CutOffTooLate);
        }
        if self.keep_alive * 3 > self.cut_off {
            return Err(TimingError::KeepAliveTooRare);
        }
        if self.permit_poll * 2 + Span::from_secs(2) > self.permit_fresh {
            return Err(TimingError::PollTooRare);
        }
        if self.cool > Span::from_secs(60) {
            return Err(TimingError::CoolTooLong);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_safe_and_each_unsafe_relation_is_named() {
        assert_eq!(Timing::default().check(), Ok(()));
        let with = |f: fn(&mut Timing)| {
            let mut t = Timing::default();
            f(&mut t);
            t.check()
        };
        assert_eq!(with(|t| t.cut_off = Span::from_secs(51)), Err(TimingError::CutOffTooLate));
        assert_eq!(with(|t| t.keep_alive = Span::from_secs(17)), Err(TimingError::KeepAliveTooRare));
        assert_eq!(with(|t| t.permit_poll = Span::from_secs(7)), Err(TimingError::PollTooRare));
        assert_eq!(with(|t| t.cool = Span::from_secs(61)), Err(TimingError::CoolTooLong));
    }
}

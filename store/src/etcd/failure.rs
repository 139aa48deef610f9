//! What a request that has no good answer tells: whether it may have been applied, whether another endpoint may do
//! better, and whether the connection is to blame. Only what etcd is known to say before it proposes a write counts as
//! "not applied"; whatever is not in this file's lists is taken for lost (G9).

use std::error::Error;
use std::time::Duration;

use etcd_client::Error as EtcdError;
use tonic::{Code, ConnectError, Status};

use crate::contract::{LeaseId, StoreError};

/// All of etcd's own messages begin so; what the client library or a proxy says does not.
const ETCD: &str = "etcdserver: ";

const TOKEN_OVER: &str = "etcdserver: invalid auth token";

/// Said before anything is proposed (`rpctypes/error.go`; the interceptor of `require_leader`; `raft.ErrProposalDropped`;
/// the check of a token), so another endpoint may be asked with the same request.
const NOT_PROPOSED: [&str; 7] = [
    "etcdserver: no leader",
    "raft proposal dropped",
    "etcdserver: too many requests",
    TOKEN_OVER,
    "etcdserver: revision of auth store is old",
    "etcdserver: rpc not supported for learner",
    "etcdserver: not capable",
];

/// What is known of a request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub fate: Fate,
    pub blames: Blames,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It never left, or was refused before it was proposed.
    NotApplied,
    /// Applied or not.
    Lost,
    /// Not sent: the endpoint is of another cluster than the `first` that answered.
    Foreign { first: String },
    /// The cluster's own answer; no endpoint has a better one.
    Final(StoreError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blames {
    Nobody,
    /// The member answers, but cannot serve now.
    Member,
    /// No word of the member in time; the connection may be sound.
    Silence,
    /// The connection is of no use any more, or there is none.
    Connection,
}

impl Failure {
    pub(super) fn not_sent(why: impl Into<String>) -> Self {
        Self { fate: Fate::NotApplied, blames: Blames::Connection, why: why.into() }
    }

    pub(super) fn lost(why: impl Into<String>) -> Self {
        Self { fate: Fate::Lost, blames: Blames::Connection, why: why.into() }
    }

    pub(super) fn late(within: Duration) -> Self {
        Self { fate: Fate::Lost, blames: Blames::Silence, why: format!("no answer within {within:?}") }
    }

    pub(super) fn of(error: &EtcdError) -> Self {
        match error {
            EtcdError::GRpcStatus(status) => Self::of_status(status),
            // The library does not tell its cause.
            EtcdError::TransportError(error) => Self::lost(chain(error)),
            other => Self::lost(chain(other)),
        }
    }

    pub(super) fn of_status(status: &Status) -> Self {
        let message = status.message();
        let unsent = |source| sources(source).any(<dyn Error>::is::<ConnectError>);
        if status.source().is_some_and(unsent) {
            return Self::not_sent(chain(status));
        }
        if NOT_PROPOSED.contains(&message) {
            return Self { fate: Fate::NotApplied, blames: Blames::Member, why: message.into() };
        }
        if !message.starts_with(ETCD) {
            return Self::lost(chain(status));
        }
        let why = message.to_owned();
        match final_answer(status) {
            Some(answer) => Self { fate: Fate::Final(answer), blames: Blames::Nobody, why },
            None => Self { fate: Fate::Lost, blames: Blames::Member, why },
        }
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.fate == Fate::NotApplied && self.blames == Blames::Connection
    }

    pub(super) fn is_token_over(&self) -> bool {
        self.why == TOKEN_OVER
    }

    /// For what changes nothing: it did not happen, and may be tried again.
    pub(super) fn into_read_error(self, at: &str) -> StoreError {
        match self.fate {
            Fate::Final(error) => error,
            Fate::NotApplied | Fate::Foreign { .. } | Fate::Lost => {
                StoreError::Unavailable(format!("{at}: {}", self.why))
            }
        }
    }

    pub(super) fn into_write_error(self, at: &str) -> StoreError {
        match self.fate {
            Fate::Lost => StoreError::Unknown(format!("{at}: {}", self.why)),
            _ => self.into_read_error(at),
        }
    }
}

/// What etcd says after it looked at the request, by what it means here.
fn final_answer(status: &Status) -> Option<StoreError> {
    let message = status.message();
    let invalid = || StoreError::Invalid(message.trim_start_matches(ETCD).to_owned());
    match status.code() {
        Code::ResourceExhausted if message.contains("space exceeded") => Some(StoreError::NoSpace(message.to_owned())),
        Code::DataLoss => Some(StoreError::Damaged(message.to_owned())),
        // Which lease, the caller knows.
        Code::NotFound if message.contains("lease not found") => Some(StoreError::LeaseNotFound(LeaseId(0))),
        Code::OutOfRange if message.contains("has been compacted") => Some(StoreError::Compacted { oldest: 0 }),
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::NotFound
        | Code::AlreadyExists => Some(invalid()),
        _ => None,
    }
}

/// An error with its causes. The libraries below repeat themselves, each text is kept once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => error.to_string(),
    };
    for cause in sources(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> Fate {
        Failure::of_status(&Status::new(code, message)).fate
    }

    #[test]
    fn only_what_is_said_before_proposing_counts_as_not_applied() {
        for message in NOT_PROPOSED {
            assert_eq!(of(Code::Unavailable, message), Fate::NotApplied, "{message}");
        }
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Cancelled, "etcdserver: request cancelled"),
            (Code::Unavailable, "keep-alive timed out"),
            (Code::Unavailable, "no leader"),
            (Code::Unknown, "transport error"),
            (Code::Cancelled, "operation was canceled"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::OutOfRange, "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes"),
            (Code::Internal, "h2 protocol error: error reading a body from connection"),
            (Code::Unknown, "etcdserver: something new"),
        ] {
            assert_eq!(of(code, message), Fate::Lost, "{message}");
        }
    }

    #[test]
    fn what_etcd_refuses_for_good_is_told_by_its_class() {
        for (code, message, class) in [
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "NoSpace"),
            (Code::DataLoss, "etcdserver: corrupt cluster", "Damaged"),
            (Code::NotFound, "etcdserver: requested lease not found", "LeaseNotFound"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", "Compacted"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", "Invalid"),
            (Code::InvalidArgument, "etcdserver: request is too large", "Invalid"),
            (Code::InvalidArgument, "etcdserver: user name is empty", "Invalid"),
            (Code::PermissionDenied, "etcdserver: permission denied", "Invalid"),
        ] {
            let Fate::Final(error) = of(code, message) else { panic!("{message}") };
            assert!(format!("{error:?}").starts_with(class), "{message}: {error:?}");
        }
    }

    #[test]
    fn a_read_that_was_lost_may_be_tried_again_and_a_write_may_not() {
        let lost = || Failure::lost("no answer");
        assert!(lost().into_read_error("http://a:1").is_retryable());
        let error = lost().into_write_error("http://a:1");
        assert!(error.is_unknown() && error.to_string().contains("http://a:1"), "{error}");
        assert!(Failure::not_sent("refused").into_write_error("http://a:1").is_retryable());
    }
}

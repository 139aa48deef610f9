//! Every refusal of the coordinator: which code it has, and what the caller should do next. It knows no request.

use rr_fleet::FleetError;
use rr_runtime::errors::chain;
use rr_store::StoreError;
use tonic::{Code, Status};

/// Turns what the fleet says into a code and a message that ends in what to do.
pub(crate) fn from_fleet(error: &FleetError) -> Status {
    let (code, next) = match error {
        FleetError::Store { source, .. } => from_store(source),
        FleetError::OtherSchema { .. } => (Code::FailedPrecondition, "update railroad where it is older"),
        FleetError::Garbage { .. } => {
            (Code::FailedPrecondition, "a person must look: `rrctl doctor` says where the store is")
        }
        FleetError::Full { .. } => (Code::ResourceExhausted, "rrctl locks shows who has them"),
        FleetError::TooManyScopes { .. } => (Code::InvalidArgument, "ask for fewer at a time"),
        FleetError::Denied(_) => (Code::PermissionDenied, "an admin can let it in again: `rrctl allow`"),
        FleetError::TooLong { .. } => (Code::InvalidArgument, "ask for less at a time"),
        FleetError::TooManyQuestions { .. } => (Code::ResourceExhausted, "try again in a minute"),
        FleetError::NotLeading | FleetError::NotLive => (Code::Aborted, "another has taken over"),
        FleetError::TooMany { .. } => (Code::ResourceExhausted, "try again when some of them are gone"),
        FleetError::BadName { .. } => (Code::InvalidArgument, "give it another name"),
        FleetError::Voided => (Code::Unavailable, "try again"),
    };
    let message = format!("{}; {next}", chain(error));
    match code {
        // Somebody has to look at these; the others pass by themselves or are the caller's own.
        Code::FailedPrecondition | Code::Internal => {
            tracing::error!(error = %chain(error), "refused a request");
        }
        _ => tracing::warn!(error = %chain(error), "refused a request"),
    }
    Status::new(code, message)
}

fn from_store(error: &StoreError) -> (Code, &'static str) {
    match error {
        StoreError::Unavailable(_) => (Code::Unavailable, "nothing was changed: try again"),
        StoreError::Unknown(_) => (Code::Unavailable, "it may have happened: look with `rrctl status`, then try again"),
        StoreError::NoSpace(_) => (
            Code::Unavailable,
            "it may have happened: make room for the store, look with `rrctl status`, then try again",
        ),
        StoreError::Compacted { .. } => (Code::Unavailable, "try again"),
        StoreError::Invalid(_) => (Code::InvalidArgument, "the request can not work as it is"),
        StoreError::Damaged(_) => {
            (Code::FailedPrecondition, "nothing is served until a person has looked: run `rrctl doctor`")
        }
        StoreError::WentBack { .. } => {
            (Code::FailedPrecondition, "no agent can act until a person has typed `rrctl post-restore --reason ...`")
        }
        StoreError::LeaseNotFound(_) => (Code::Internal, "please report this"),
    }
}

pub(crate) fn bad(what: impl Into<String>) -> Status {
    Status::invalid_argument(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_from_what_a_person_must_look_at() {
        let store = |source| FleetError::Store { doing: "read the run permit", source };
        let code = |e: FleetError| from_fleet(&e).code();
        assert_eq!(code(store(StoreError::Unavailable("gone".into()))), Code::Unavailable);
        assert_eq!(code(store(StoreError::Unknown("late".into()))), Code::Unavailable);
        assert_eq!(code(FleetError::Voided), Code::Unavailable);
        assert_eq!(code(store(StoreError::Damaged("torn".into()))), Code::FailedPrecondition);
        assert_eq!(code(FleetError::OtherSchema { found: "9.1".to_owned() }), Code::FailedPrecondition);
        assert_eq!(code(FleetError::Garbage { key: "k".into(), why: "x".into() }), Code::FailedPrecondition);
        assert_eq!(code(store(StoreError::Invalid("long".into()))), Code::InvalidArgument);
    }

    #[test]
    fn an_uncertain_outcome_says_to_look_first() {
        let error = FleetError::Store { doing: "pause the fleet", source: StoreError::Unknown("late".into()) };
        let message = from_fleet(&error).message().to_owned();
        assert_eq!(
            message,
            "pause the fleet: outcome unknown: late; it may have happened: look with `rrctl status`, then try again"
        );
    }
}

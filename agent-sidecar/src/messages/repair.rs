//! What comes of asking for the repair of a broken branch. Who may have it is the store's to say.

use rr_core::id::IncidentId;
use rr_core::incident::State;

use super::{Who, quote};

pub(crate) fn repair_claimed(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "The repair of incident {id} is yours: your calls pass although the watcher has paused the fleet. Mend the branch and commit; when its \
         check passes, the fleet goes on by itself. A person's pause stops you too. If you cannot mend it: rrctl incident give-back {id}"
    )
}

pub(crate) fn repair_taken(incident: &IncidentId, by: &Who) -> String {
    format!(
        "Incident {} is being repaired already, by {}. Wait: the fleet goes on when the branch passes its check again.",
        incident.short(),
        by.named()
    )
}

pub(crate) fn repair_not_yet(incident: &IncidentId, state: State) -> String {
    let doing = match state {
        State::Seen | State::Confirmed => "it is looking whether the branch is broken at all",
        State::Paused | State::Searching => "it is looking for the commit that did it",
        State::Reverting | State::Verifying => "it is taking out the commit that did it",
        State::Resumed => "it is over",
        State::Escalated => "a person has just asked it to go on",
    };
    format!("Incident {} is not to be repaired by others yet: the watcher is at it, {doing}. Wait.", incident.short())
}

pub(crate) fn repair_given_back(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "The repair of incident {id} is anybody's again, and you stand still as all others do while the fleet is paused."
    )
}

pub(crate) fn repair_not_held(incident: &IncidentId) -> String {
    format!("You do not have the repair of incident {}: nothing was given back.", incident.short())
}

pub(crate) fn repair_unclear() -> String {
    "The store did not say clearly what came of it: nothing passes on the strength of this. Type it again.".to_owned()
}

pub(crate) fn repair_without_session() -> String {
    "This session is no longer valid in the store, so it cannot have a repair: its next call registers it anew. Then type it again.".to_owned()
}

pub(crate) fn no_such_incident(id: &str) -> String {
    format!("No incident {} is open: the branch may be whole again.", quote(id))
}

pub(crate) fn incident_over(incident: &IncidentId) -> String {
    format!("Incident {} is over: there is nothing to repair.", incident.short())
}

pub(crate) fn several_incidents(ids: &[&str]) -> String {
    format!("Several incidents begin so: {}. Type more of its id.", ids.join(", "))
}

pub(crate) fn no_such_session() -> String {
    "the sidecar of this machine knows no such session here".to_owned()
}

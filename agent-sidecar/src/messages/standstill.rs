//! Why nothing of a session may run now, and what brings it back: a pause, a person's word, a host shut out, a store that is away.
//! Whether it is so is decided elsewhere.

use rr_core::id::{FleetName, IncidentId};
use rr_fleet::Denial;

use super::{ERROR_CHARS_MAX, Who, cut, quote};

pub(crate) fn session_lost(locks: &str) -> String {
    format!(
        "This session's lease ran out and it was registered anew. These locks were lost with it: {locks}. Read those files again before writing."
    )
}

pub(crate) fn paused(epoch: u64, reasons: &str) -> String {
    format!(
        "The fleet is paused (epoch {epoch}{reasons}). No tool may run in any session until a person resumes it with `rrctl resume --epoch {epoch}`. Nothing of yours is lost; your locks stay yours."
    )
}

/// What is added to [`paused`] where not everything is stopped.
pub(crate) fn affected(folders: &str) -> String {
    format!(
        "It concerns {}. Reading goes on, and so does what certainly changes only other files: the file tools, and commands whose changes \
         are known beforehand. What is committed or staged in this repository waits.",
        cut(folders, ERROR_CHARS_MAX)
    )
}

/// What is added to [`paused`] where the watcher alone holds the fleet.
pub(crate) fn may_be_claimed(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "If the watcher leaves the repair to others, one session may take it up and go on working: it types `rrctl incident claim {id}`, \
         that command alone."
    )
}

pub(crate) fn under_repair(incident: &IncidentId, who: &Who) -> String {
    format!("Incident {} is being repaired by {}; it alone goes on.", incident.short(), who.named())
}

pub(crate) fn shut_out(denial: &Denial) -> String {
    format!(
        "This host was shut out of the fleet by {}: {}. Its locks are gone and no tool may run here until an admin lets it in again with `rrctl allow`. Stop and tell the person you work for.",
        quote(&denial.who),
        quote(&denial.reason)
    )
}

/// A person has stopped this one session (G25).
pub(crate) fn stopped_by_person(who: &str, reason: &str, session: &str) -> String {
    format!(
        "This session was stopped by {} ({}). No tool may run in it until a person lets it go on (`rrctl recover --resume {session}`). \
         Nothing of its work is lost. Stop here and wait.",
        quote(who),
        quote(reason)
    )
}

pub(crate) fn goes_on(who: &str) -> String {
    format!("{} has let this session go on. Files may have changed meanwhile: read them again.", quote(who))
}

pub(crate) fn stop_file(path: &str) -> String {
    format!("Stopped by {path}: while that file exists no tool may run here. A person removes it to go on.")
}

pub(crate) fn other_fleet(named: &FleetName, ours: &FleetName) -> String {
    format!(
        "railroad.yaml of this repository names the fleet `{named}`, and the sidecar of this machine serves `{ours}`: agents of \
         `{named}` would not see a lock taken here, so no change is let through. A person sets `fleet: {named}` in this \
         machine's config.yaml, or corrects railroad.yaml. Reading is possible."
    )
}

pub(crate) fn not_connected(why: &str) -> String {
    format!(
        "Railroad cannot vouch for this call, so it was not let through: {why}. It is tried again at your next call; `rrctl status` shows the state."
    )
}

pub(crate) fn store_went_back() -> String {
    "The store of this fleet was put back to an earlier state, so nobody can say who holds what. No tool may run until a person has looked \
     and typed `rrctl post-restore --reason ...`."
        .to_owned()
}

pub(crate) fn foreign_session(pid: u32) -> String {
    format!(
        "This session id belongs to another running process (pid {pid}); a call under a foreign name is not let through."
    )
}

/// `own`: it is told to the session whose changes they were.
pub(crate) fn rolled_back(files: &[String], own: bool, session: &str, by: &str) -> String {
    let shown = cut(&files.join(", "), ERROR_CHARS_MAX);
    let whose = if own { "Your changes".to_owned() } else { format!("Changes of session {session}") };
    format!("{whose} to {shown} were taken back by {} (a rollback). Read those files again before going on.", quote(by))
}

pub(crate) fn held_back() -> String {
    "This session is being rolled back by a person at this moment: try again in a few seconds, and read the files again first."
        .to_owned()
}

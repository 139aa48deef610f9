//! An agent's own word about the repair of a broken branch (X13): `rrctl incident claim ID` and `give-back`, typed in its shell, act for the
//! session they run in. Owns that question, its answers, and which command is let through for it while the watcher's pause stops
//! everybody. Who may go on is `rr_fleet`'s to say, and `gate` asks it.

use rr_core::id::{Epoch, IncidentId};
use rr_fleet::{FleetError, IncidentFound, Repair, RepairReleased};

use crate::call::{Action, ToolCall};
use crate::hosts::Output;
use crate::messages;
use crate::service::Service;
use crate::socket::Question;
use crate::table::AgentSession;

/// How `rrctl` names itself where an agent's hook names its agent.
pub(crate) const REPAIR: &str = "repair";
/// Of an incident's id, as many digits as all may be named by.
const ID_DIGITS: std::ops::RangeInclusive<usize> = 4..=32;

/// What is asked: a word, and the incident as it was typed.
enum Asked<'a> {
    Claim(&'a str),
    GiveBack(&'a str),
}

impl<'a> Asked<'a> {
    fn of(input: &'a [u8]) -> Option<Self> {
        match std::str::from_utf8(input).ok()?.split_once(' ')? {
            ("claim", id) => Some(Self::Claim(id)),
            ("give-back", id) => Some(Self::GiveBack(id)),
            _ => None,
        }
    }
}

impl Service {
    pub(crate) async fn asked_for_repair(&self, question: &Question) -> Output {
        let done = match (self.caller(question), Asked::of(&question.input)) {
            (None, _) => Err(messages::no_such_session()),
            (_, None) => Err("that is no question about a repair".to_owned()),
            (Some(who), Some(Asked::Claim(id))) => self.claim(&who, id).await,
            (Some(who), Some(Asked::GiveBack(id))) => self.give_back_repair(&who, id).await,
        };
        match done {
            Ok(said) => Output { stdout: format!("{said}\n").into_bytes(), ..Output::default() },
            Err(why) => Output { stderr: format!("{why}\n").into_bytes(), exit: 1, ..Output::default() },
        }
    }

    async fn claim(&self, who: &AgentSession, id: &str) -> Result<String, String> {
        let id = self.incident_named(id).await?;
        let claimed = self.fleet.claim_repair(&who.session, &id).await.map_err(|e| unclear(&e))?;
        let said = match claimed {
            Repair::Yes => messages::repair_claimed(&id),
            Repair::TakenBy(other) => return Err(messages::repair_taken(&id, &self.who(&other, None))),
            Repair::NoSuchIncident => return Err(messages::no_such_incident(id.short())),
            Repair::NotYet(state) => return Err(messages::repair_not_yet(&id, state)),
            Repair::Lost => return Err(messages::repair_without_session()),
        };
        tracing::warn!(sid = %who.sid(), incident = id.short(), "an agent took up a repair");
        // Its next call may come before the watch does.
        self.read_permit().await;
        Ok(said)
    }

    async fn give_back_repair(&self, who: &AgentSession, id: &str) -> Result<String, String> {
        let id = self.incident_named(id).await?;
        let held = self.fleet.repair().await.map_err(|e| unclear(&e))?;
        if held.is_none_or(|held| held.sid != *who.sid() || held.incident != id) {
            return Err(messages::repair_not_held(&id));
        }
        let released = self.fleet.release_repair(&who.session).await.map_err(|e| unclear(&e))?;
        self.read_permit().await;
        match released {
            RepairReleased::Yes => Ok(messages::repair_given_back(&id)),
            RepairReleased::NotHeld => Err(messages::repair_not_held(&id)),
        }
    }

    async fn incident_named(&self, id: &str) -> Result<IncidentId, String> {
        match self.fleet.incident(id).await.map_err(|e| unclear(&e))? {
            IncidentFound::Open(stored) => Ok(stored.incident.id),
            IncidentFound::Past(stored) => Err(messages::incident_over(&stored.incident.id)),
            IncidentFound::None => Err(messages::no_such_incident(id)),
            IncidentFound::Several(ids) => {
                Err(messages::several_incidents(&ids.iter().map(IncidentId::short).collect::<Vec<_>>()))
            }
        }
    }

    /// Whether this call only asks for a repair while the watcher's own pause of this epoch stops everybody. A person's pause stops it too.
    pub(crate) fn only_claims_repair(&self, epoch: Epoch, call: &ToolCall) -> bool {
        let is_watchers =
            self.state().as_ref().is_some_and(|state| state.epoch == epoch && state.is_paused_by_watcher_alone());
        is_watchers && self.permit().is_fresh(self.now(), &self.timing) && is_claim(&call.action)
    }

    /// What a session that the watcher's pause stops may do about it.
    pub(crate) fn way_to_repair(&self) -> Option<String> {
        let (state, repair) = (self.state().clone()?, self.repair().clone());
        if !state.is_paused_by_watcher_alone() {
            return None;
        }
        if let Some(repair) = repair.filter(|repair| repair.exempts(&repair.sid, &state)) {
            return Some(messages::under_repair(&repair.incident, &self.who(&repair.sid, None)));
        }
        let incident = state.holds.iter().find_map(rr_fleet::Hold::incident)?;
        Some(messages::may_be_claimed(&incident))
    }
}

/// Exactly that command: four words of letters and digits leave no room for anything that a shell would read into them.
fn is_claim(action: &Action) -> bool {
    let Action::Shell { command } = action else { return false };
    let ["rrctl", "incident", "claim", id] = command.trim_matches(' ').split(' ').collect::<Vec<_>>()[..] else {
        return false;
    };
    ID_DIGITS.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn unclear(error: &FleetError) -> String {
    tracing::warn!(error = error as &dyn std::error::Error, "settle who repairs");
    messages::repair_unclear()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(command: &str) -> bool {
        is_claim(&Action::Shell { command: command.into() })
    }

    #[test]
    fn nothing_passes_with_a_claim() {
        assert!(claims("rrctl incident claim 1a2b3c4d") && claims(" rrctl incident claim 1a2b "));
        for command in [
            "rrctl incident claim 1a2b; rm x",
            "rrctl incident claim 1a2b && rm x",
            "rrctl incident claim 1a2b > x",
            "rrctl incident claim 1a2b\nrm x",
            "rrctl\nincident claim 1a2b",
            "rrctl incident claim $(rm)",
            "rrctl incident claim `rm`",
            "rrctl incident claim 1a2b &",
            "rrctl incident claim 1a2b extra",
            "cd x && rrctl incident claim 1a2b",
            "PATH=. rrctl incident claim 1a2b",
            "./rrctl incident claim 1a2b",
            "sudo rrctl incident claim 1a2b",
            "rrctl incident show 1a2b",
            "rrctl incident resolve 1a2b --revert",
            "rrctl resume --epoch 4",
            "rrctl incident claim --help",
            "rrctl incident claim ",
            "rrctl incident claim 1a",
        ] {
            assert!(!claims(command), "{command:?}");
        }
        assert!(!is_claim(&Action::Harmless));
        assert!(!is_claim(&Action::Unknown { paths: vec![] }));
    }
}

//! Calls that go on though the watcher has paused the fleet: where it says which folders a break concerns, whoever changes nothing, or only
//! what certainly lies elsewhere, is not stopped (ADR 27). Everything uncertain is: another hold beside it, a state that is not fresh, a
//! command of which not all effects are foreseen, and what a repository has only one of. Next: `rr_core::affected`.

use rr_core::affected::Affected;
use rr_core::id::Epoch;
use rr_core::scope::Scope;
use rr_shell::{Certainty, Target};

use crate::call::{Action, Event, ToolCall};
use crate::effects::Effects;
use crate::messages;
use crate::service::Service;

impl Service {
    /// Whether this pause does not concern this call.
    pub(crate) fn is_elsewhere(&self, epoch: Epoch, event: &Event, call: &ToolCall) -> bool {
        let affected = match &*self.state() {
            Some(state) if state.epoch == epoch => state.affected(),
            _ => None,
        };
        let Some(affected) = affected else { return false };
        if !self.permit().is_fresh(self.now(), &self.timing) {
            return false;
        }
        match call.action {
            Action::Read(_) | Action::Harmless => true,
            Action::Write { .. } | Action::Shell { .. } => {
                self.effects(event, call).is_ok_and(|found| lies_outside(&found, &affected))
            }
            Action::Unknown { .. } => false,
        }
    }

    /// What a denial adds, where only some stand still.
    pub(crate) fn what_is_affected(&self) -> Option<String> {
        let affected = self.state().as_ref()?.affected()?;
        Some(messages::affected(&affected.iter().map(Affected::shown).collect::<Vec<_>>().join(", ")))
    }
}

fn lies_outside(found: &Effects, affected: &[Affected]) -> bool {
    let is_foreseen = found.analysis.as_ref().is_none_or(|analysis| {
        matches!(analysis.certainty, Certainty::ReadOnly | Certainty::Foreseen)
            && !analysis.writes.iter().any(|write| write.target == Target::Unknown)
    });
    let single = found.writes.iter().map(|place| (&place.repo.id, Scope::Path(place.path.clone())));
    let wide = found.claims.iter().map(|(repo, claim)| (&repo.id, claim.scope.clone()));
    let is_reached = |(repo, scope): (_, Scope)| affected.iter().any(|one| one.reaches(repo, &scope));
    let is_whole_tree = found.trees.iter().any(|tree| affected.iter().any(|one| one.repo == tree.repo.id));
    is_foreseen && found.skips_hooks.is_none() && !is_whole_tree && !single.chain(wide).any(is_reached)
}

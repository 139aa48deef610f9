//! The locks that a call needs, taken before anything of it is looked at. How a lock is had is `locking`'s.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::id::Token;
use rr_core::scope::{Claim, Scope};
use rr_runtime::config::LockMode;

use crate::call::{Action, Answer, ToolCall};
use crate::effects::Effects;
use crate::locking::{Doing, Got, Need};
use crate::repos::{Place, Shared};
use crate::service::Service;
use crate::table::AgentSession;

/// Of a command, as far as a secret that begins in its first eighty characters may go.
const SECRET_CHARS_MAX: usize = 1_000;

impl Service {
    pub(super) async fn lock_all(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        call: &ToolCall,
        found: &Effects,
        mut facts: Vec<String>,
    ) -> Answer {
        let needs = self.needs(call, found);
        if needs.is_empty() {
            if let Action::Read(_) = call.action {
                self.lock_on_read(who, call, found).await;
            }
            return Answer::with(facts);
        }
        let doing = doing(call);
        let elsewhere = needs.iter().filter_map(|n| self.landed_elsewhere(who, &n.repo, n)).collect::<Vec<_>>();
        match self.need(who, &needs, Doing { words: &doing, call: Some(&call.id) }).await {
            Got::All(more) => {
                facts.extend(more);
                facts.extend(elsewhere);
                Answer::with(facts)
            }
            Got::Refused { what, reason } => Answer { context: facts, ..self.refuse(who, &what, reason) },
        }
    }

    /// The locks a call needs: its files, a share of their work trees, and what its git commands use.
    pub(super) fn needs(&self, call: &ToolCall, found: &Effects) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        for place in found.writes.iter().filter(|place| !found.made.contains(&place.disk)) {
            let only_for = self.only_for_call(call, place);
            let claim = Claim::exclusive(Scope::Path(place.path.clone()));
            needs.push(Need { repo: place.repo.clone(), claim, only_for });
        }
        for (repo, claim) in &found.claims {
            let only_for = matches!(claim.scope, Scope::Named(_)).then(|| call.id.clone());
            needs.push(Need { repo: repo.clone(), claim: claim.clone(), only_for });
        }
        let trees: Vec<_> =
            needs.iter().filter(|n| !matches!(n.claim.scope, Scope::Named(_))).map(|n| n.repo.clone()).collect();
        for repo in trees {
            let claim = Claim::shared(repo.shared(Shared::Tree));
            let only_for = needs.iter().find(|n| n.claim.scope != claim.scope).and_then(|n| n.only_for.clone());
            let whole = needs.iter().any(|n| n.claim.scope == claim.scope);
            if !whole {
                needs.push(Need { repo, claim, only_for });
            }
        }
        dedup(needs)
    }

    /// In optimistic mode a lock lasts for its call, but for the files that are always exclusive.
    pub(super) fn only_for_call(&self, call: &ToolCall, place: &Place) -> Option<String> {
        let config = place.repo.config().0;
        let always = config.locks.exclusive.iter().any(|g| g.matches(place.path.key_parts()));
        (config.locks.mode == LockMode::Optimistic && !always).then(|| call.id.clone())
    }

    /// In `pessimistic_read` mode a reader takes the lock if it is free; if not, it reads all the same (R23).
    pub(super) async fn lock_on_read(self: &Arc<Self>, who: &Arc<AgentSession>, call: &ToolCall, found: &Effects) {
        let wants = |p: &&Place| p.repo.config().0.locks.mode == LockMode::PessimisticRead;
        let free = |p: &&Place| self.view.holder(&p.repo.id, &p.path, who.sid()).is_none();
        for place in found.reads.iter().filter(wants).filter(free) {
            let claim = Claim::exclusive(Scope::Path(place.path.clone()));
            let need = Need { repo: place.repo.clone(), claim, only_for: None };
            let doing = Doing { words: &doing(call), call: Some(&call.id) };
            if let Got::Refused { .. } = self.need(who, &[need], doing).await {
                self.withdraw_requests(who).await;
            }
        }
    }

    /// The locks that this call has just taken.
    pub(super) async fn give_back_new(
        &self,
        who: &AgentSession,
        call: &ToolCall,
        found: &Effects,
        held: &BTreeSet<Token>,
    ) {
        let claims: Vec<Claim> = self.needs(call, found).into_iter().map(|need| need.claim).collect();
        let new = who.lock().take_new(held, &claims);
        self.give_back(who, new).await;
    }
}

/// One need per claim, the lasting one where a call and a turn both want it.
fn dedup(needs: Vec<Need>) -> Vec<Need> {
    let mut out: Vec<Need> = Vec::new();
    for need in needs {
        if !out.iter().any(|n| Arc::ptr_eq(&n.repo, &need.repo) && n.claim.covers(&need.claim)) {
            out.push(need);
        }
    }
    out
}

fn doing(call: &ToolCall) -> String {
    match &call.action {
        Action::Shell { command } => {
            // Others read it, in the store of the whole fleet. What is longer than a secret is not looked through.
            let begin: String = command.chars().take(SECRET_CHARS_MAX).collect();
            format!("{}: {}", call.tool, rr_journal::redact(&begin).chars().take(80).collect::<String>())
        }
        _ => call.tool.clone(),
    }
}

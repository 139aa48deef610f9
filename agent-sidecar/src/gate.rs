//! Before a call, in this order: stop file, permit, session, lost locks told, which files, guard's own files, locks, and under the
//! locks: versions current, nobody's work swept along. A call whose locks are held asks the store nothing.

mod held;
mod known;
mod locks;
mod standstill;

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::id::Token;

use crate::call::{Action, Answer, Event, ToolCall, Verdict};
use crate::effects::Effects;
use crate::guarded::Objection;
use crate::repos::Repo;
use crate::service::Service;
use crate::table::AgentSession;
use crate::{effects, messages};

/// The same refusal this often in a row: the agent is told that asking again is useless.
const SPINNING_AFTER: u32 = 3;
/// And this often: it is stopped (X8).
const STOPPED_AFTER: u32 = 8;

/// Why a call does not pass although its locks are held.
enum Stop {
    Refused(Answer),
    /// What it would change, or that it would, cannot be kept. The text is for the agent.
    NotKept(String),
}

impl Service {
    pub(crate) async fn before(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) -> Answer {
        let facts = self.pending(who);
        let mut answer = match self.standstill(who, event, call) {
            Some(reason) => self.refuse(who, "a call", reason),
            None => self.judge(who, event, call).await,
        };
        if answer.verdict == Verdict::Pass {
            // The world may have changed while locks were asked for: no pass after a cut-off or a pause, nor into a rollback that began
            // meanwhile. One that begins from here on finds the call under way.
            let standstill = self.standstill(who, event, call).or_else(|| self.unfit(who));
            if let Some(reason) = standstill.or_else(|| held_back(who, call)) {
                self.came_to_nothing(who, &call.id);
                answer = Answer::deny(reason);
            } else if call.action.may_change() {
                who.lock().refusals.clear();
            }
        }
        if answer.verdict != Verdict::Pass {
            self.call_over(who, &call.id).await;
        }
        self.note_verdict(who, event, call, &answer);
        answer.context.splice(0..0, facts);
        answer
    }

    async fn judge(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) -> Answer {
        if call.action.may_change() {
            if let Some(reason) = self.unfit(who).or_else(|| self.unguarded(who)) {
                return Answer::deny(reason);
            }
            if let Some(answer) = self.tell_losses(who) {
                return answer;
            }
            if let Some(reason) = held_back(who, call) {
                return Answer::deny(reason);
            }
            self.forget_unfinished(who, event, call).await;
        }
        let mut found = match self.effects(event, call) {
            Ok(found) => found,
            Err(objection) => {
                let by_rule = self.refused_by_rule(who, event, call);
                return by_rule.unwrap_or_else(|| self.object(who, objection));
            }
        };
        if call.action.may_change()
            && let Some(reason) = self.other_fleet(&found)
        {
            return self.refuse(who, "a call", reason);
        }
        if let Some(stop) = stop_file_of(&found) {
            return self.refuse(who, "a call", messages::stop_file(&stop.display().to_string()));
        }
        let cleared = match self.put_to_policy(who, event, call, &found).await {
            Ok(cleared) => cleared,
            Err(answer) => return answer,
        };
        let slots = self.take_slots(who, event, call, &mut found).await;
        if slots.verdict != Verdict::Pass {
            return slots;
        }
        self.see_saves_of(who, event, &found).await;
        self.let_settle(who, &found).await;
        let facts = self.under_edit(who, &found);
        let held: BTreeSet<Token> = who.lock().locks.iter().map(|l| l.grant.token).collect();
        let mut answer = self.lock_all(who, call, &found, facts).await;
        if answer.verdict == Verdict::Pass {
            // Only under the lock does a look at the files stay true until the write.
            match self.look_under_lock(who, event, call, &found, cleared).await {
                Ok(note) => answer.context.extend(note),
                Err(Stop::Refused(refused)) => answer = Answer { context: answer.context, ..refused },
                Err(Stop::NotKept(why)) => {
                    // It will not be tried before somebody has made room: nobody need wait for it till then.
                    self.give_back_new(who, call, &found, &held).await;
                    answer = Answer { context: answer.context, ..Answer::deny(why) };
                }
            }
        }
        answer
    }

    /// A repository that belongs to another fleet is not locked in this one: agents of that fleet would not see it.
    fn other_fleet(&self, found: &Effects) -> Option<String> {
        let repos = repos_of(found).chain(&found.compare).chain(found.trees.iter().map(|t| &t.repo));
        let mut named = repos.filter_map(|repo| repo.config().0.fleet.clone());
        named.find(|fleet| *fleet != self.name).map(|fleet| messages::other_fleet(&fleet, &self.name))
    }

    pub(crate) fn effects(&self, event: &Event, call: &ToolCall) -> Result<Effects, Objection> {
        // Parsing and a few looks at the disk: short, and on the path of one call only.
        let look = || effects::of(&call.action, &event.cwd, &self.repos, &self.guarded);
        match call.action {
            // A few looks at the disk are quicker than handing this thread's other work to another one.
            Action::Read(_) | Action::Write { .. } | Action::Harmless => look(),
            Action::Shell { .. } | Action::Unknown { .. } => tokio::task::block_in_place(look),
        }
    }

    fn object(&self, who: &AgentSession, objection: Objection) -> Answer {
        match objection {
            Objection::Place(error) => {
                let why = error.to_string();
                self.refuse(who, &why.clone(), messages::refused_place(&why))
            }
            Objection::Unparsable(why) => self.refuse(who, "that command", messages::unparsable(&why)),
            Objection::Protected(what) => self.refuse(who, &what.clone(), messages::protected(&what)),
            Objection::PastTheGate(what) => self.refuse(who, &what.clone(), messages::past_the_gate(&what)),
        }
    }

    /// A denial, counted: the third in a row says that asking again is useless, the eighth stops the agent (X8).
    pub(crate) fn refuse(&self, who: &AgentSession, what: &str, reason: String) -> Answer {
        let times = {
            let mut inner = who.lock();
            let times = inner.refusals.entry(what.to_owned()).or_default();
            *times += 1;
            *times
        };
        match times {
            STOPPED_AFTER.. => {
                let reason = format!("{} {reason}", messages::stopped(what, times));
                Answer { verdict: Verdict::DenyAndStop(reason), ..Answer::default() }
            }
            SPINNING_AFTER.. => Answer::deny(format!("{reason} {}", messages::spinning(what, times))),
            _ => Answer::deny(reason),
        }
    }

    /// An agent makes its changing calls one after the other: one that never reported its end (refused by its user, cut off)
    /// is over when the next one comes.
    async fn forget_unfinished(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, call: &ToolCall) {
        let old: Vec<String> = {
            let inner = who.lock();
            let same = inner
                .in_flight
                .iter()
                .filter(|(id, f)| **id != call.id && f.may_change && f.agent_id == event.agent_id);
            same.map(|(id, _)| id.clone()).collect()
        };
        for id in old {
            self.call_over(who, &id).await;
        }
    }
}

/// What a session is told that is being rolled back.
fn held_back(who: &AgentSession, call: &ToolCall) -> Option<String> {
    (call.action.may_change() && who.lock().held_back).then(messages::held_back)
}

fn stop_file_of(found: &Effects) -> Option<std::path::PathBuf> {
    repos_of(found).map(|r| r.stop_file()).find(|f| f.exists())
}

/// The repositories that a call would change something in.
fn repos_of(found: &Effects) -> impl Iterator<Item = &Arc<Repo>> {
    found.writes.iter().map(|p| &p.repo).chain(found.claims.iter().map(|(repo, _)| repo))
}

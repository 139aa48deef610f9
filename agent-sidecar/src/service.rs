//! The sidecar as one thing: what it shares between calls, and the way from a hook's question to its answer. The steps are in
//! `gate` (before a call), `aftermath` (after it), `turns` (sessions and turns), `locking` (asking the store).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_core::id::{FleetName, HostId, SessionId};
use rr_core::limits::Timing;
use rr_core::permit::PermitView;
use rr_core::session::SessionState;
use rr_core::time::{BootTime, Clock};
use rr_fleet::{Denial, Fleet, FleetState, RepairRecord};
use rr_journal::Journal;
use rr_runtime::metrics::{CallWord, Metrics, SessionWord};

use crate::asked::Met;
use crate::call::{Answer, Event, Kind, Verdict};
use crate::earlier::Earlier;
use crate::ends::Ends;
use crate::guarded::Guarded;
use crate::history::History;
use crate::holds::Holds;
use crate::hosts::{Output, claude};
use crate::live::{Live, Telling};
use crate::memory::Memory;
use crate::messages::{self, Who};
use crate::people::People;
use crate::publish::{GIT_HOOK, VerdictsLease};
use crate::repair::REPAIR;
use crate::repos::Repos;
use crate::snapshots::Snapshots;
use crate::socket::Question;
use crate::table::{AgentKey, AgentSession, Changes};
use crate::undo::{Plans, Wrote};
use crate::view::{View, in_words};

pub(crate) struct Service {
    pub fleet: Fleet,
    /// The fleet's name.
    pub name: FleetName,
    pub host: HostId,
    pub host_name: String,
    pub boot: String,
    pub timing: Timing,
    pub clock: Arc<dyn Clock>,
    pub repos: Repos,
    pub guarded: Guarded,
    pub view: View,
    pub tasks: tokio_util::task::TaskTracker,
    sessions: Mutex<HashMap<AgentKey, Arc<AgentSession>>>,
    /// One registration at a time: hooks of a new session come in bursts.
    pub registering: tokio::sync::Mutex<()>,
    permit: Mutex<PermitView>,
    state: Mutex<Option<FleetState>>,
    /// Who may work on a break while the fleet stands still because of it, as far as was read.
    repair: Mutex<Option<RepairRecord>>,
    /// This host is shut out of the fleet.
    denial: Mutex<Option<Denial>>,
    history: Mutex<History>,
    changes: Mutex<Changes>,
    metrics: Metrics,
    pub verdicts: VerdictsLease,
    pub memory: Memory,
    pub telling: Telling,
    pub journal: Journal,
    pub snapshots: Snapshots,
    pub earlier: Earlier,
    pub met: Met,
    pub live: Live,
    pub people: People,
    pub holds: Holds,
    /// Where the mirrors of repositories are kept.
    pub mirrors: PathBuf,
    pub plans: Plans,
    /// By rollbacks.
    pub wrote: Wrote,
    /// Of calls, being written down.
    pub ends: Ends,
}

/// What is a sidecar's own, beside the fleet.
pub(crate) struct Belongings {
    pub name: FleetName,
    pub host: HostId,
    pub guarded: Guarded,
    pub history: History,
    pub metrics: Metrics,
    pub memory: Memory,
    pub telling: Telling,
    pub journal: Journal,
    pub snapshots: Snapshots,
    pub earlier: Earlier,
    pub mirrors: PathBuf,
    pub holds: Holds,
    pub plans: Plans,
}

impl Service {
    pub(crate) fn new(fleet: Fleet, own: Belongings) -> Self {
        let Belongings {
            name,
            host,
            guarded,
            history,
            metrics,
            memory,
            telling,
            journal,
            snapshots,
            earlier,
            mirrors,
            holds,
            plans,
        } = own;
        Self {
            name,
            host,
            host_name: rr_runtime::host::host_name(),
            boot: rr_runtime::host::boot_id(),
            timing: *fleet.timing(),
            clock: fleet.clock().clone(),
            fleet,
            repos: Repos::default(),
            guarded,
            view: View::default(),
            tasks: tokio_util::task::TaskTracker::new(),
            sessions: Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            permit: Mutex::default(),
            state: Mutex::default(),
            repair: Mutex::default(),
            denial: Mutex::default(),
            history: Mutex::new(history),
            changes: Mutex::default(),
            metrics,
            verdicts: VerdictsLease::default(),
            memory,
            telling,
            journal,
            snapshots,
            earlier,
            met: Met::default(),
            live: Live::default(),
            people: People::default(),
            holds,
            mirrors,
            plans,
            wrote: Wrote::default(),
            ends: Ends::default(),
        }
    }

    /// Has the numbers that nobody counts along the way counted whenever somebody reads them.
    pub(crate) fn count(self: Arc<Self>) {
        let metrics = self.metrics.clone();
        metrics.look_first(move || {
            let service = Arc::clone(&self);
            Box::pin(async move { service.count_now() })
        });
    }

    fn count_now(&self) {
        let (mut locks, mut slots, mut waits) = (0, 0, 0);
        let states: Vec<SessionWord> = self
            .all()
            .iter()
            .map(|who| {
                let mut inner = who.lock();
                locks += inner.locks.len();
                slots += inner.slots.held.len();
                waits += inner.slots.waits.len();
                match inner.heartbeat.look(self.now()) {
                    SessionState::Live => SessionWord::Live,
                    SessionState::Suspect => SessionWord::Suspect,
                    SessionState::Fenced(_) => SessionWord::Fenced,
                    SessionState::Dead(_) => SessionWord::Dead,
                    SessionState::Closed => SessionWord::Closed,
                }
            })
            .collect();
        self.metrics.sessions(states, locks);
        self.metrics.slots(slots, waits);
        if let Some(state) = &*self.state() {
            self.metrics.fleet_state(state.is_paused(), state.epoch.0);
        }
        self.metrics.fleet_size(self.view.sizes());
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn now(&self) -> BootTime {
        self.clock.now()
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, HashMap<AgentKey, Arc<AgentSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sessions at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<AgentSession>> {
        self.sessions().values().cloned().collect()
    }

    /// A session in words. Those of this machine are known at first hand, others from the view.
    pub(crate) fn who(&self, sid: &SessionId, since_unix_ms: Option<u64>) -> Who {
        let local = self.all().into_iter().find(|s| s.sid() == sid).map(|s| s.lock().record.clone());
        in_words(sid, local.or_else(|| self.view.session(sid)).as_ref(), since_unix_ms)
    }

    pub(crate) fn permit(&self) -> MutexGuard<'_, PermitView> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Option<FleetState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn repair(&self) -> MutexGuard<'_, Option<RepairRecord>> {
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn denial(&self) -> MutexGuard<'_, Option<Denial>> {
        self.denial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hook's question in, what it prints out.
    pub(crate) async fn answer(self: Arc<Self>, question: Question) -> Output {
        if question.agent == GIT_HOOK {
            return self.look_before_push(&question).await;
        }
        if question.agent == REPAIR {
            return self.asked_for_repair(&question).await;
        }
        let event = if question.too_large {
            Err(claude::Misread { text: messages::too_large(), gates_a_tool: true })
        } else {
            claude::decode(&question.input)
        };
        let event = match event {
            Ok(event) => event,
            Err(misread) => {
                tracing::warn!(why = misread.text, "a hook's input was not understood");
                if misread.gates_a_tool {
                    self.metrics.call(CallWord::Deny);
                }
                return claude::encode_misread(&misread);
            }
        };
        let answer = self.dispatch(&question, &event).await;
        if let Kind::Before(_) = event.kind {
            self.metrics.call(match answer.verdict {
                Verdict::Pass => CallWord::Pass,
                Verdict::Deny(_) => CallWord::Deny,
                Verdict::DenyAndStop(_) => CallWord::DenyAndStop,
            });
        }
        if let Verdict::Deny(reason) | Verdict::DenyAndStop(reason) = &answer.verdict {
            tracing::info!(session = event.session, reason, "denied");
        }
        claude::encode(&event.kind, &answer)
    }

    async fn dispatch(self: &Arc<Self>, question: &Question, event: &Event) -> Answer {
        if let Kind::SettingsChanged { file } = &event.kind {
            return self.settings_changed(question, file.as_deref());
        }
        let who = match self.session_of(question, event).await {
            Ok(who) => who,
            Err(why) => return self.without_session(event, why),
        };
        match &event.kind {
            Kind::SessionStart { resumed } => self.session_started(&who, question, event, *resumed),
            Kind::Prompt { text } => self.prompted(&who, event, text).await,
            Kind::Before(call) => self.before(&who, event, call).await,
            Kind::After { call, ok } => self.after(&who, event, call, *ok).await,
            Kind::BatchOver { ids } => self.batch_over(&who, ids).await,
            Kind::TurnOver { busy } => self.turn_over(&who, *busy).await,
            Kind::SessionOver => self.session_over(&who).await,
            Kind::SubagentOver | Kind::SettingsChanged { .. } | Kind::Other => Answer::default(),
        }
    }

    /// No session, no right to change anything; reading goes on with a note (D4), but not on a host that is shut out.
    fn without_session(&self, event: &Event, why: String) -> Answer {
        match &event.kind {
            Kind::Before(call) if call.action.may_change() || self.denial().is_some() => Answer::deny(why),
            Kind::Before(_) => Answer::with(vec![why]),
            _ => Answer::default(),
        }
    }

    /// Hooks that stand in the settings keep standing there (H41): a change that would drop them is blocked.
    fn settings_changed(&self, question: &Question, file: Option<&Path>) -> Answer {
        let project = question.env("CLAUDE_PROJECT_DIR").map(Path::new);
        if crate::guard::drops_the_hooks(file, project) {
            return Answer::deny(messages::settings_kept());
        }
        Answer::default()
    }
}

//! Sessions and their turns: registered with the first event, told what goes on, their locks given back when a turn ends
//! (D6), ended when the agent ends or its process does (D4b).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use rr_core::session::{Heartbeat, SessionState};
use rr_fleet::{Ending, FleetError, Registered, Session, SessionRecord};
use rr_runtime::clock::unix_ms;

use crate::call::{Answer, Event};
use crate::guard::{Gate, gate};
use crate::messages;
use crate::processes::{Process, agent_in, chain};
use crate::service::Service;
use crate::socket::Question;
use crate::table::{AgentKey, AgentSession, Inner, LostClaim};
use crate::view::Other;

/// Others named in one awareness text: the rest is counted.
const OTHERS_SHOWN_MAX: usize = 8;
/// Files named for each of them.
const FILES_SHOWN_MAX: usize = 6;
/// Longest piece of a prompt that others see as "what it is at".
const TASK_CHARS_MAX: usize = 160;

impl Service {
    /// The session an event belongs to; registers it if this is the first we hear of it (R21). The text of an error is for the
    /// agent.
    pub(crate) async fn session_of(
        self: &Arc<Self>,
        question: &Question,
        event: &Event,
    ) -> Result<Arc<AgentSession>, String> {
        let key = AgentKey { agent: question.agent.clone(), session: event.session.clone() };
        let last = self.sessions().get(&key).map(|found| found.process);
        if let Some(known) = self.known(&key, &chain(question.pid, last))? {
            return Ok(known);
        }
        let chain = chain(question.pid, None);
        let named = question.env("CLAUDE_PID").and_then(|p| p.parse().ok());
        let _one_at_a_time = self.registering.lock().await;
        if let Some(known) = self.known(&key, &chain)? {
            return Ok(known);
        }
        let Some(agent) = agent_in(&chain, named) else {
            return Err(messages::not_connected("the calling process is already gone"));
        };
        let project = question.env("CLAUDE_PROJECT_DIR").map_or_else(|| event.cwd.clone(), Into::into);
        self.register(key, agent, &project, crate::judged::task_of(question)).await
    }

    /// A session that may go on under this name: same process, entitled to act. An id that belongs to another running process
    /// is refused (H21).
    fn known(&self, key: &AgentKey, chain: &[(Process, String)]) -> Result<Option<Arc<AgentSession>>, String> {
        let Some(found) = self.sessions().get(key).cloned() else { return Ok(None) };
        if !chain.iter().any(|(p, _)| *p == found.process) {
            if found.process.is_alive() {
                return Err(messages::foreign_session(found.process.pid));
            }
            return Ok(None);
        }
        let over = {
            let mut inner = found.lock();
            inner.ended || matches!(inner.heartbeat.look(self.now()), SessionState::Dead(_) | SessionState::Closed)
        };
        Ok((!over).then_some(found))
    }

    /// Registers a session in the store and here. The text of an error is for whoever it is for.
    pub(crate) async fn register(
        self: &Arc<Self>,
        key: AgentKey,
        agent: Process,
        project: &Path,
        scope_task: Option<String>,
    ) -> Result<Arc<AgentSession>, String> {
        let lost = self.bury_old(&key).await;
        let record = SessionRecord {
            host: self.host.clone(),
            host_name: self.host_name.clone(),
            boot: self.boot.clone(),
            pid: agent.pid,
            start: agent.start,
            agent: key.agent.clone(),
            agent_session: key.session.clone(),
            workspace: project.display().to_string(),
            since_unix_ms: unix_ms(),
            task: String::new(),
            warning: String::new(),
        };
        let sent = self.now();
        let session = match self.fleet.register(&record, self.host.as_str()).await {
            Ok(Registered::New(session)) => session,
            Ok(Registered::SlotTaken { by, record }) => {
                let pid = record.map_or(0, |r| r.pid);
                tracing::warn!(%by, pid, "an agent's slot is taken");
                return Err(messages::foreign_session(pid));
            }
            Err(FleetError::Denied(denial)) => {
                let told = messages::shut_out(&denial);
                self.note_denial(Some(denial)).await;
                return Err(told);
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "register a session");
                return Err(messages::not_connected("its session could not be registered in the store"));
            }
        };
        let mut inner = Inner::new(Heartbeat::registered(sent, self.timing), record, sent);
        inner.memory_gaps = lost.is_some();
        inner.scope_task = scope_task;
        let (lost, claims) = lost.unzip();
        let earlier = self.memory.lost_by(&key, &[]);
        inner.memory_gaps |= !earlier.is_empty();
        claims.into_iter().flatten().chain(earlier).for_each(|claim| inner.note_lost(claim));
        let started = crate::record::started(&inner.record);
        let who = self.enrol(key, agent, session, inner);
        self.note(&who, started);
        if let Some(lost) = lost.filter(|l| !l.is_empty()) {
            who.notify(messages::session_lost(&lost));
        }
        self.view.refresh(&self.fleet).await;
        Ok(who)
    }

    /// Puts a session into the table and watches its process.
    pub(crate) fn enrol(
        self: &Arc<Self>,
        key: AgentKey,
        process: Process,
        session: Session,
        inner: Inner,
    ) -> Arc<AgentSession> {
        tracing::info!(sid = %session.sid, agent = key.agent, session = key.session, pid = process.pid, "session registered");
        let (acquiring, looking) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        let who =
            Arc::new(AgentSession { key: key.clone(), process, session, inner: inner.into(), acquiring, looking });
        self.sessions().insert(key, who.clone());
        if who.is_person() {
            return who;
        }
        let (service, watched) = (self.clone(), who.clone());
        self.tasks.spawn(async move { service.watch_process(&watched).await });
        who
    }

    /// An earlier session under this name that is over: ended in the store, and what it held is named. `None`: there was none.
    async fn bury_old(&self, key: &AgentKey) -> Option<(String, Vec<LostClaim>)> {
        let old = self.sessions().remove(key)?;
        let (lost, ended) = {
            let mut inner = old.lock();
            let mut lost: Vec<String> =
                inner.locks.iter().filter(|l| l.is_file()).map(super::table::HeldLock::shown).collect();
            lost.extend(inner.slots.held.iter().map(|held| messages::slot(&held.name)));
            let mut claims = inner.lost.clone();
            claims.extend(inner.locks.iter().map(super::table::HeldLock::as_lost));
            ((lost.join(", "), claims), std::mem::replace(&mut inner.ended, true))
        };
        if !ended {
            self.end(&old, Ending::Died { gone: !old.process.is_alive() }).await;
        }
        Some(lost)
    }

    pub(crate) async fn end(&self, who: &AgentSession, how: Ending) {
        who.lock().heartbeat.close();
        if let Err(error) = self.fleet.end(&who.session, how).await {
            tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "end a session; its lease runs out by itself");
        }
        let word = match how {
            Ending::Clean => "ended",
            Ending::Died { .. } => "its agent is gone",
        };
        self.note(who, rr_journal::Event::SessionEnded { how: word.into() });
        tracing::info!(sid = %who.sid(), ?how, "session ended");
    }

    pub(crate) fn session_started(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        question: &Question,
        event: &Event,
        resumed: bool,
    ) -> Answer {
        if let Some(file) = question.env("CLAUDE_ENV_FILE") {
            mark_environment(Path::new(file), &who.key.session);
        }
        who.lock().memory_gaps |= resumed;
        let project = who.lock().record.workspace.clone();
        who.lock().hooks_seen = gate(Path::new(&project)) == Gate::On;
        let mut facts = vec![self.surroundings(who, event)];
        facts.extend(self.without_scope(who, event));
        let fault = self.config_fault(event);
        who.lock().told_fault.clone_from(&fault);
        facts.extend(fault);
        facts.extend(self.pending(who));
        Answer::with(facts)
    }

    pub(crate) async fn prompted(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, text: &str) -> Answer {
        // A background task's report is no new task.
        if !text.starts_with("<task-notification>") {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            // It is read by all of the fleet: a person may have told the agent a secret.
            let task: String = rr_journal::redact(&words).chars().take(TASK_CHARS_MAX).collect();
            let record = {
                let mut inner = who.lock();
                inner.record.task = task;
                inner.turn += 1;
                inner.refusals.clear();
                inner.record.clone()
            };
            if let Err(error) = self.fleet.describe(&who.session, &record).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "describe a session");
            }
        }
        let mut facts = self.pending(who);
        facts.extend(self.new_config_fault(who, event));
        facts.extend(self.news(who, event));
        Answer::with(facts)
    }

    /// An error that railroad.yaml has had since this agent was told of it last: told once, in the middle of a session too.
    fn new_config_fault(&self, who: &AgentSession, event: &Event) -> Option<String> {
        let fault = self.config_fault(event);
        let mut inner = who.lock();
        let known = std::mem::replace(&mut inner.told_fault, fault.clone());
        fault.filter(|now| known.as_ref() != Some(now))
    }

    /// The awareness text, if it says something else than last time (R9).
    pub(crate) fn news(&self, who: &AgentSession, event: &Event) -> Option<String> {
        let text = self.surroundings(who, event);
        let mut hasher = DefaultHasher::new();
        text.split(" since ").next().unwrap_or_default().hash(&mut hasher);
        text.len().hash(&mut hasher);
        let fingerprint = hasher.finish();
        let mut inner = who.lock();
        (std::mem::replace(&mut inner.told_state, fingerprint) != fingerprint).then_some(text)
    }

    /// Who else is here, on what, holding which files.
    fn surroundings(&self, who: &AgentSession, event: &Event) -> String {
        let Ok(Some(repo)) = self.repos.around(&event.cwd) else {
            return "Railroad is active. This folder is in no git repository, so nothing is coordinated here."
                .to_owned();
        };
        let root = repo.tree.root.display().to_string();
        let others = self.view.others(&repo.id, &root, who.sid());
        let me = who.sid().short();
        if others.is_empty() {
            return format!(
                "Railroad coordinates the agents in this repository (you are session {me}). Nobody else is at work here now."
            );
        }
        let mut text = format!("Railroad coordinates the agents in this repository (you are session {me}). Also here:");
        for Other { session, record, held } in others.iter().take(OTHERS_SHOWN_MAX) {
            let task = if record.task.is_empty() { String::new() } else { format!(" on \"{}\"", record.task) };
            let files = held[..held.len().min(FILES_SHOWN_MAX)].join(", ");
            let more = held.len().saturating_sub(FILES_SHOWN_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let files = if held.is_empty() { "holds no file".to_owned() } else { format!("holds {files}{more}") };
            let agent = record.person().map_or_else(|| record.agent.clone(), |user| format!("{user}, a person"));
            text.push_str(&format!("\n- session {} ({agent}, {}){task}: {files}", session.short(), record.host_name));
        }
        if others.len() > OTHERS_SHOWN_MAX {
            text.push_str(&format!("\n- and {} more (rrctl sessions)", others.len() - OTHERS_SHOWN_MAX));
        }
        text.push_str("\nA file that another session holds cannot be written; reading is always possible.");
        text
    }

    fn config_fault(&self, event: &Event) -> Option<String> {
        let (config, fault) = self.repos.around(&event.cwd).ok().flatten()?.config();
        let fault = fault.map(|(why, kept)| messages::config_broken(&why, kept));
        fault
            .or_else(|| config.fleet.clone().filter(|f| *f != self.name).map(|f| messages::other_fleet(&f, &self.name)))
    }

    /// What has been waiting to be told.
    pub(crate) fn pending(&self, who: &AgentSession) -> Vec<String> {
        let mut facts = std::mem::take(&mut who.lock().notices);
        facts.extend(self.findings_for(who));
        facts.iter().for_each(|text| self.note(who, rr_journal::Event::Told { text: text.as_str().into() }));
        facts
    }

    pub(crate) async fn batch_over(self: &Arc<Self>, who: &Arc<AgentSession>, ids: &[String]) -> Answer {
        for id in ids {
            self.call_over(who, id).await;
        }
        Answer::default()
    }

    /// The end of a turn: what was locked for it is given back, unless something of it still works in the background.
    pub(crate) async fn turn_over(self: &Arc<Self>, who: &Arc<AgentSession>, busy: bool) -> Answer {
        if busy {
            return Answer::default();
        }
        self.calls_over(who).await;
        let turn = {
            let mut inner = who.lock();
            inner.turn += 1;
            inner.turn
        };
        self.withdraw_requests(who).await;
        self.leave_lines(who).await;
        if self.still_running(who).is_empty() {
            self.release_all(who).await;
            return Answer::default();
        }
        // What a command left running may still write (D4b): the locks stay until it is gone, or the next turn ends.
        let (service, who) = (self.clone(), who.clone());
        self.tasks.spawn(async move {
            service.until_quiet(&who).await;
            let idle = { who.lock().turn == turn && who.lock().in_flight.is_empty() };
            if idle {
                service.release_all(&who).await;
            }
        });
        Answer::default()
    }

    /// Every call that a session has under way has ended.
    pub(crate) async fn calls_over(self: &Arc<Self>, who: &Arc<AgentSession>) {
        let ids: Vec<String> = who.lock().in_flight.keys().cloned().collect();
        for id in ids {
            self.call_over(who, &id).await;
        }
    }

    async fn release_all(&self, who: &AgentSession) {
        self.look_everywhere(who).await;
        let over = who.lock().take_locks(|_| true);
        self.give_back(who, over).await;
    }

    pub(crate) async fn session_over(self: &Arc<Self>, who: &Arc<AgentSession>) -> Answer {
        self.withdraw_requests(who).await;
        self.leave_lines(who).await;
        if self.still_running(who).is_empty() {
            self.farewell(who).await;
        } else {
            let (service, who) = (self.clone(), who.clone());
            self.tasks.spawn(async move {
                service.until_quiet(&who).await;
                service.farewell(&who).await;
            });
        }
        Answer::default()
    }

    async fn farewell(self: &Arc<Self>, who: &Arc<AgentSession>) {
        let first = !std::mem::replace(&mut who.lock().ended, true);
        if first {
            self.calls_over(who).await;
            self.look_everywhere(who).await;
            self.forget(who);
            self.end(who, Ending::Clean).await;
        }
    }

    /// Takes a session out of the table, unless its name has gone to another by now.
    pub(crate) fn forget(&self, who: &Arc<AgentSession>) {
        let mut sessions = self.sessions();
        if sessions.get(&who.key).is_some_and(|s| Arc::ptr_eq(s, who)) {
            sessions.remove(&who.key);
            self.telling.forget(&who.key);
        }
    }
}

/// Lets what the agent starts carry its session's name, so that left-overs are found when the agent is gone.
fn mark_environment(file: &Path, session: &str) {
    let line = format!("export RAILROAD_SESSION={}\n", crate::publish::session_name(session));
    let written = std::fs::OpenOptions::new().append(true).create(true).open(file);
    if let Err(error) = written.and_then(|mut f| std::io::Write::write_all(&mut f, line.as_bytes())) {
        tracing::debug!(%error, "mark an agent's environment");
    }
}

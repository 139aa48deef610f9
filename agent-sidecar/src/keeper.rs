//! What goes on without calls: leases renewed, fences lifted only on proof, locks that rest or idle moved on, dead agents
//! cleaned up after with everything they started (D4b), switched-off gates noticed (H41).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rr_core::id::SessionId;
use rr_core::lock::{LockEvent, LockState};
use rr_core::session::{DeathCause, Heartbeat, SessionState};
use rr_core::time::Span;
use rr_fleet::{Beat, Denial, Ending, GrantedLock, Proof};
use rr_runtime::config::OnAgentDeath;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::guard::{Gate, gate};
use crate::messages;
use crate::processes::{Process, Snapshot, describe, survivors};
use crate::service::Service;
use crate::table::{AgentKey, AgentSession, EARLIER_CALL, HeldLock, Inner};

/// The keeper looks at every session this often: well below the gap that fences.
const TICK: Duration = Duration::from_secs(1);
/// Settings files are looked at every so many ticks: a switched-off gate is flagged well within 60 s.
const GUARD_TICKS: u64 = 10;
/// How a warning about a gate that was taken away begins.
pub(crate) const UNGUARDED: &str = "unguarded";
/// Left-overs that are to be ended get this long after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(5);

impl Service {
    /// Keeps all sessions until shutdown.
    pub(crate) async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let mut ticks = 0u64;
        while !shutdown.is_cancelled() {
            let all = self.all();
            let busy = all.iter().any(|who| who.lock().may_change_in_flight() > 0);
            let running = busy.then(Snapshot::take).map(Arc::new);
            let looks = all.into_iter().map(|who| {
                let (service, running) = (self.clone(), running.clone());
                async move { service.look_after(&who, ticks, running.as_deref()).await }
            });
            futures::future::join_all(looks).await;
            self.follow_state().await;
            self.memory.keep(&self);
            ticks += 1;
            let _ = tokio::time::timeout(TICK, shutdown.cancelled()).await;
        }
        // What was stopped must not stay stopped without us.
        self.all().iter().for_each(|who| super::pause::thaw(who));
    }

    async fn look_after(self: &Arc<Self>, who: &Arc<AgentSession>, ticks: u64, running: Option<&Snapshot>) {
        let state = who.lock().heartbeat.look(self.now()).clone();
        match state {
            SessionState::Live | SessionState::Suspect => self.renew(who).await,
            // What a store of the past says proves nothing.
            SessionState::Fenced(_) if self.has_store_gone_back() => return,
            SessionState::Fenced(_) => self.prove(who).await,
            SessionState::Dead(_) | SessionState::Closed => return,
        }
        self.move_locks_on(who).await;
        if !who.lock().slots.held.is_empty() {
            self.settle_slots(who).await;
        }
        let busy = who.lock().may_change_in_flight() > 0;
        if let Some(running) = running.filter(|_| busy) {
            let children = running.below(who.process);
            {
                let mut inner = who.lock();
                if children.is_empty() {
                    inner.in_flight.remove(EARLIER_CALL);
                }
                inner.children.retain(|p| p.is_alive());
                inner.children.extend(children);
            }
            self.look_at_earlier(who, running).await;
        }
        if ticks.is_multiple_of(GUARD_TICKS) && !who.is_person() {
            // It may have been put back.
            self.look_at_gate(who).await;
        }
    }

    async fn renew(&self, who: &AgentSession) {
        let now = self.now();
        {
            let mut inner = who.lock();
            if now.since(inner.keep_alive_sent) < self.timing.keep_alive {
                return;
            }
            inner.keep_alive_sent = now;
        }
        match self.fleet.beat(&who.session).await {
            Ok(Beat::Acknowledged { sent }) => who.lock().heartbeat.acknowledge(sent),
            Ok(Beat::Gone) => lose(who, DeathCause::LeaseGone),
            Err(error) => {
                tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "renew a session's lease");
                self.soon_again(who);
            }
        }
    }

    /// After a failed keep-alive the next one comes within two seconds.
    fn soon_again(&self, who: &AgentSession) {
        let early = self.now() + Span::from_secs(2);
        who.lock().keep_alive_sent = early - self.timing.keep_alive;
    }

    /// Lifts a fence if the store proves that the session and each lock are still what they were (H1, H2).
    async fn prove(&self, who: &AgentSession) {
        who.lock().apply(LockEvent::SessionFenced);
        match self.fleet.prove(&who.session).await {
            Ok(Proof::Alive { sent }) => {
                if let Err(error) = self.prove_locks(who).await {
                    tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "prove a session's locks");
                    return;
                }
                let now = self.now();
                let mut inner = who.lock();
                inner.heartbeat.proven(sent, now);
                tracing::info!(sid = %who.sid(), "a fenced session was proven alive");
                inner.keep_alive_sent = sent;
            }
            Ok(Proof::Dead(cause)) => lose(who, cause),
            Err(error) => tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "prove a session"),
        }
    }

    /// What the last read says of this host (H40): shut out, its sessions are over here and in the store.
    pub(crate) async fn note_denial(&self, denial: Option<Denial>) {
        let before = std::mem::replace(&mut *self.denial(), denial.clone());
        if before == denial {
            return;
        }
        let Some(denial) = denial else {
            return tracing::warn!("this host was let into the fleet again");
        };
        tracing::warn!(who = denial.who, reason = denial.reason, "this host was shut out of the fleet");
        for who in self.all() {
            lose(&who, DeathCause::Denied);
            if let Err(error) = self.fleet.end(&who.session, Ending::Died { gone: false }).await {
                tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "end a session; its lease runs out by itself");
            }
        }
    }

    async fn prove_locks(&self, who: &AgentSession) -> Result<(), rr_fleet::FleetError> {
        let held: Vec<GrantedLock> = who.lock().locks.iter().map(|l| l.grant.clone()).collect();
        let stored = self.fleet.stored_tokens(&held).await?;
        let mut inner = who.lock();
        for (proven, stored) in held.iter().zip(stored) {
            for lock in inner.locks.iter_mut().filter(|l| l.grant.key == proven.key) {
                lock.state = lock.state.on(LockEvent::Proven { stored });
            }
        }
        Ok(())
    }

    /// Cooling over, not claimed, not touched, not yet given back, taken away by force.
    async fn move_locks_on(self: &Arc<Self>, who: &Arc<AgentSession>) {
        let now = self.now();
        let (over, lapsed, cooled, again) = {
            let mut inner = who.lock();
            let again = std::mem::take(&mut inner.unreleased);
            let mut cooled = Vec::new();
            for lock in
                inner.locks.iter_mut().filter(|l| matches!(l.state, LockState::Cooling(_)) && now >= l.cool_until)
            {
                lock.state = lock.state.on(LockEvent::CoolingOver);
                cooled.append(&mut lock.unclean);
            }
            let lapsed = inner.take_locks(|l| l.claim_by.is_some_and(|by| now >= by));
            let busy = inner.may_change_in_flight() > 0;
            let idle = |l: &HeldLock| !busy && now.since(l.touched) >= idle_release(l, self.timing.idle_release);
            let over = inner.locks.iter().any(|l| l.claim_by.is_none() && l.is_file() && idle(l));
            (over, lapsed, cooled, again)
        };
        let over = if over { self.take_idle(who).await } else { Vec::new() };
        for lock in lapsed.iter().filter(|l| matches!(l.claim.mode, rr_core::scope::Mode::Exclusive)) {
            who.notify(messages::claim_lapsed(&messages::scope(&lock.claim.scope)));
        }
        for locks in [over, lapsed, again] {
            self.give_back(who, locks).await;
        }
        if let Err(error) = self.fleet.clear_marks(&cooled).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "clear left-over marks");
        }
    }

    /// Files that nothing was done with for long, once what was committed of them is recorded.
    async fn take_idle(&self, who: &AgentSession) -> Vec<GrantedLock> {
        self.look_everywhere(who).await;
        let now = self.now();
        let mut inner = who.lock();
        let busy = inner.may_change_in_flight() > 0;
        let idle = |l: &HeldLock| !busy && now.since(l.touched) >= idle_release(l, self.timing.idle_release);
        inner.take_locks(|l| l.claim_by.is_none() && l.is_file() && idle(l))
    }

    /// Says in the session's record when its hooks are gone from the settings while it runs.
    pub(crate) async fn look_at_gate(&self, who: &AgentSession) {
        let (project, seen, warned) = {
            let inner = who.lock();
            (inner.record.workspace.clone(), inner.hooks_seen, inner.record.warning.clone())
        };
        let warning = match gate(Path::new(&project)) {
            Gate::Off => "unguarded: hooks are switched off in its settings",
            Gate::NotFound if seen => "unguarded: the hooks are gone from its settings",
            Gate::NotFound => "",
            Gate::On => {
                who.lock().hooks_seen = true;
                ""
            }
        };
        let about_this = warned.is_empty() || warned.starts_with(UNGUARDED);
        if warned != warning && about_this {
            self.warn(who, warning).await;
        }
    }

    pub(crate) async fn warn(&self, who: &AgentSession, warning: &str) {
        let record = {
            let mut inner = who.lock();
            warning.clone_into(&mut inner.record.warning);
            inner.record.clone()
        };
        tracing::warn!(sid = %who.sid(), warning, "a session's guard changed");
        if let Err(error) = self.fleet.describe(&who.session, &record).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "describe a session");
        }
    }

    /// Waits for an agent's process to end, then for what it started, and ends its session (D4b).
    pub(crate) async fn watch_process(self: &Arc<Self>, who: &Arc<AgentSession>) {
        who.process.gone().await;
        if who.lock().ended {
            return;
        }
        let left = self.left_by(who);
        if !left.is_empty() {
            self.outlive(who, left).await;
        }
        let first = !std::mem::replace(&mut who.lock().ended, true);
        if first {
            self.calls_over(who).await;
            self.look_everywhere(who).await;
            self.forget(who);
            self.withdraw_requests(who).await;
            self.leave_lines(who).await;
            self.end(who, Ending::Died { gone: true }).await;
        }
    }

    fn left_by(&self, who: &AgentSession) -> Vec<Process> {
        let marks =
            [format!("RAILROAD_SESSION={}", who.key.session), format!("CLAUDE_CODE_SESSION_ID={}", who.key.session)];
        let known = who.lock().children.clone();
        survivors(&known, who.process, &marks).into_iter().collect()
    }

    /// What the agent's shell commands left running while the agent lives on. Only they carry our mark: its servers do not.
    pub(crate) fn still_running(&self, who: &AgentSession) -> Vec<Process> {
        let mark = format!("RAILROAD_SESSION={}", who.key.session);
        survivors(&BTreeSet::new(), who.process, &[mark]).into_iter().collect()
    }

    /// Waits until nothing of a session's shell commands runs any more.
    pub(crate) async fn until_quiet(&self, who: &AgentSession) {
        let mut left = self.still_running(who);
        if left.is_empty() {
            return;
        }
        let names: Vec<String> = left.iter().map(|p| describe(*p)).collect();
        self.warn(who, &format!("its turn is over; still running: {}", names.join(", "))).await;
        while !left.is_empty() {
            for process in &left {
                process.gone().await;
            }
            left = self.still_running(who);
        }
        self.warn(who, "").await;
    }

    /// Keeps a dead agent's locks until what it started is gone too: it may still be writing.
    async fn outlive(&self, who: &AgentSession, mut left: Vec<Process>) {
        let names: Vec<String> = left.iter().map(|p| describe(*p)).collect();
        self.warn(who, &format!("agent gone; still running: {}", names.join(", "))).await;
        let end = self.repos.around(Path::new(&who.lock().record.workspace.clone())).ok().flatten();
        let end = end.is_some_and(|repo| repo.config().0.locks.on_agent_death == OnAgentDeath::End);
        while !left.is_empty() {
            if end {
                left.iter().for_each(|p| p.signal(Signal::TERM));
                let all_gone = futures::future::join_all(left.iter().map(|p| p.gone()));
                if tokio::time::timeout(TERM_GRACE, all_gone).await.is_err() {
                    left.iter().for_each(|p| p.signal(Signal::KILL));
                }
            }
            for process in &left {
                process.gone().await;
            }
            left = self.left_by(who);
        }
    }

    /// Takes over the sessions of this sidecar's earlier life. One whose agent has died meanwhile is watched out like any other:
    /// what it started may still run.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Result<(), rr_fleet::FleetError> {
        let mut estate = self.fleet.estate(&self.host).await?;
        while let Some(row) = estate.next().await {
            let is_person = row.record.person().is_some();
            let recorded = Process { pid: row.record.pid, start: row.record.start };
            // A person's goes on with this life.
            let agent = Process::own().filter(|_| is_person).unwrap_or(recorded);
            if row.record.boot != self.boot {
                // Another boot: nothing of it can run any more.
                self.bury(&row.sid).await;
                continue;
            }
            let sent = self.now();
            let Some(session) = self.fleet.adopt(&estate, &row.sid, self.host.as_str()).await? else { continue };
            let key = AgentKey { agent: row.record.agent.clone(), session: row.record.agent_session.clone() };
            let mut inner = Inner::new(Heartbeat::registered(sent, self.timing), row.record.clone(), sent);
            inner.slots.held = self.adopted_slots(&session).await?;
            inner.locks = self.adopted_locks(&row.sid, &estate.locks, Path::new(&row.record.workspace));
            let lost = self.memory.lost_by(&key, &inner.locks);
            lost.into_iter().for_each(|claim| inner.note_lost(claim));
            tracing::info!(sid = %row.sid, locks = inner.locks.len(), "took over a session of an earlier life");
            inner.hooks_seen = !is_person
                && (row.record.warning.starts_with(UNGUARDED) || gate(Path::new(&row.record.workspace)) == Gate::On);
            inner.memory_gaps = true;
            if !is_person {
                inner.assume_busy(sent);
            }
            inner.in_flight.extend(self.earlier_calls(&row.sid));
            self.enrol(key, agent, session, inner);
        }
        let running = Snapshot::take();
        for who in self.all() {
            self.look_at_earlier(&who, &running).await;
        }
        self.settle_earlier();
        // Whoever asks from now on finds it.
        if let Err(error) = self.journal.settled().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "write down what calls of an earlier life did");
        }
        Ok(())
    }

    async fn bury(&self, sid: &SessionId) {
        match self.fleet.bury(sid).await {
            Ok(()) => tracing::info!(%sid, "ended a session whose agent is gone"),
            Err(error) => {
                tracing::warn!(%sid, error = &error as &dyn std::error::Error, "end a dead session; its lease runs out");
            }
        }
    }

    fn adopted_locks(&self, sid: &SessionId, all: &[rr_fleet::LockRow], workspace: &Path) -> Vec<HeldLock> {
        let now = self.now();
        let Ok(Some(repo)) = self.repos.around(workspace) else { return vec![] };
        let mine = all.iter().filter(|l| l.session == *sid && l.repo == repo.id);
        mine.map(|row| {
            let grant = GrantedLock {
                repo: row.repo.clone(),
                claim: row.claim.clone(),
                token: row.token,
                key: row.key.clone(),
            };
            HeldLock {
                grant,
                state: LockState::Usable(row.token),
                repo: repo.clone(),
                touched: now,
                since_unix_ms: row.since_unix_ms,
                cool_until: now,
                claim_by: None,
                // A call's own lock has no call any more: it goes when it has been idle.
                only_for: None,
                uses: 1,
                unclean: Vec::new(),
            }
        })
        .collect()
    }
}

/// The lease or the key is gone: nothing is held any more, and the agent is told before it writes.
pub(crate) fn lose(who: &AgentSession, cause: DeathCause) {
    tracing::warn!(sid = %who.sid(), ?cause, "a session was lost");
    let mut inner = who.lock();
    inner.heartbeat.died(cause);
    inner.apply(LockEvent::KeyGone);
}

fn idle_release(lock: &HeldLock, default: Span) -> Span {
    lock.repo.config().0.locks.idle_release.unwrap_or(default)
}

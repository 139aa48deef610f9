//! Asking the store for locks in a session's name, waiting in its queue in the background, giving back. One session asks for one
//! thing at a time; what is in the way is put into words for the agent.

use std::sync::Arc;

use rr_core::limits::{LOCKS_PER_SESSION_MAX, WAIT_HOLDING_MAX, WAIT_MAX};
use rr_core::lock::{Blocker, LockEvent, LockState, place_in_line};
use rr_core::scope::{Claim, Mode};
use rr_core::time::BootTime;
use rr_fleet::{Answer as Asked, Grant, GrantedLock, Released, Request, WaitEnd, Waiter};
use rr_journal::LockStep;
use rr_runtime::clock::unix_ms;

use crate::messages;
use crate::record::lock_step;
use crate::repos::{Repo, Shared};
use crate::service::Service;
use crate::table::{AgentSession, HeldLock, LostClaim, Waiting};

/// How often and how long a hand-over under way is waited for: together well below the hook's budget.
const HAND_OVER_LOOKS: u32 = 30;
const HAND_OVER_EVERY: std::time::Duration = std::time::Duration::from_millis(10);

/// One lock that a call needs.
#[derive(Clone)]
pub(crate) struct Need {
    pub repo: Arc<Repo>,
    pub claim: Claim,
    /// Released with the call: git's own things, and every lock in optimistic mode.
    pub only_for: Option<String>,
}

impl Need {
    fn shown(&self) -> String {
        messages::scope(&self.claim.scope)
    }
}

/// What locks are needed for.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    /// As others are told.
    pub words: &'a str,
    /// The call whose they are, in the journal too.
    pub call: Option<&'a str>,
}

/// What came of needing some locks.
pub(crate) enum Got {
    /// All are held and usable; facts to tell along.
    All(Vec<String>),
    Refused {
        what: String,
        reason: String,
    },
}

impl Service {
    /// Makes sure that a session holds all of these, usable. What it holds already costs no store call.
    pub(crate) async fn need(self: &Arc<Self>, who: &Arc<AgentSession>, needs: &[Need], doing: Doing<'_>) -> Got {
        let _one_at_a_time = who.acquiring.lock().await;
        let mut missing: Vec<Need> = Vec::new();
        for need in needs {
            self.let_hand_over(who, need).await;
            match self.held(who, need) {
                Held::Yes => {}
                Held::No => missing.push(need.clone()),
                Held::NotYet(reason) => return Got::Refused { what: need.shown(), reason },
            }
        }
        let mut facts = Vec::new();
        while let Some(first) = missing.first() {
            let repo = first.repo.clone();
            let (now, later): (Vec<_>, Vec<_>) = missing.into_iter().partition(|n| Arc::ptr_eq(&n.repo, &repo));
            match self.ask(who, &repo, &now, doing).await {
                Got::All(more) => facts.extend(more),
                refused @ Got::Refused { .. } => return refused,
            }
            missing = later;
        }
        Got::All(facts)
    }

    /// A lock this session waits for and nobody here holds any more is on its way: a denial now would be out of date when it is
    /// read.
    async fn let_hand_over(&self, who: &AgentSession, need: &Need) {
        let on_its_way = || {
            let waits = who.lock().waits_for(&need.claim).is_some();
            waits
                && !self
                    .all()
                    .iter()
                    .any(|o| o.sid() != who.sid() && o.lock().covering(&need.repo, &need.claim).is_some())
        };
        for _ in 0..HAND_OVER_LOOKS {
            if !on_its_way() {
                return;
            }
            tokio::time::sleep(HAND_OVER_EVERY).await;
        }
    }

    fn held(&self, who: &AgentSession, need: &Need) -> Held {
        let now = self.now();
        let mut inner = who.lock();
        if let Some(waiting) = inner.waits_for(&need.claim) {
            let (shown, waited) = (waiting.shown.clone(), now.since(waiting.since));
            drop(inner);
            return Held::NotYet(self.still_waiting(who, need, &shown, waited));
        }
        let Some(lock) = inner.covering(&need.repo, &need.claim) else { return Held::No };
        match lock.state {
            LockState::Usable(_) => {
                lock.touched = now;
                lock.uses += 1;
                lock.claim_by = None;
                if lock.only_for != need.only_for {
                    // Two calls use it: it must not go with the one that ends first.
                    lock.only_for = None;
                }
                Held::Yes
            }
            LockState::Cooling(_) => Held::NotYet(messages::cooling(&lock.shown(), lock.cool_until.since(now))),
            LockState::Queued | LockState::Suspended(_) | LockState::Lost(_) => {
                Held::NotYet(messages::not_connected("its session is being checked against the store"))
            }
        }
    }

    fn still_waiting(&self, who: &AgentSession, need: &Need, shown: &str, waited: rr_core::time::Span) -> String {
        let path = match &need.claim.scope {
            rr_core::scope::Scope::Path(p) => self.view.holder(&need.repo.id, p, who.sid()),
            _ => None,
        };
        let by = path.map(|holder| self.who(&holder.session, Some(holder.since_unix_ms)));
        messages::still_waiting(shown, by.as_ref(), waited)
    }

    async fn ask(self: &Arc<Self>, who: &Arc<AgentSession>, repo: &Arc<Repo>, needs: &[Need], doing: Doing<'_>) -> Got {
        let what = needs.first().map(Need::shown).unwrap_or_default();
        let held = who.lock().locks.len();
        if held + needs.len() > LOCKS_PER_SESSION_MAX {
            let reason = format!(
                "This session holds {held} locks, and {LOCKS_PER_SESSION_MAX} is the most one session may have. Commit what is finished, or end the turn: its locks are then given back."
            );
            return Got::Refused { what, reason };
        }
        let claims: Vec<Claim> = needs.iter().map(|n| n.claim.clone()).collect();
        let request = Request { repo: repo.id.clone(), claims, doing: doing.words.to_owned(), now_unix_ms: unix_ms() };
        match self.fleet.request(&who.session, request).await {
            Ok(Asked::Granted(grant)) => self.take_in(who, repo, needs, grant, None, doing.call),
            Ok(Asked::Queued(waiter, blockers)) => self.queued(who, repo, needs, waiter, blockers, doing.call).await,
            Ok(Asked::Lost) => {
                Got::Refused { what, reason: messages::not_connected("its session is no longer valid in the store") }
            }
            Err(error) => {
                tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "ask for a lock");
                Got::Refused { what, reason: messages::not_connected(why_unclear(&error)) }
            }
        }
    }

    /// Notes granted locks. Those whose last holder ended uncleanly rest first.
    fn take_in(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        repo: &Arc<Repo>,
        needs: &[Need],
        grant: Grant,
        claim_by: Option<BootTime>,
        call: Option<&str>,
    ) -> Got {
        let now = self.now();
        let cooling = grant.must_cool();
        let cool_until = now + self.cool(repo);
        let facts: Vec<String> = grant.unclean.iter().map(|u| messages::unclean(&u.shown, u.session.short())).collect();
        let mut granted = Vec::new();
        {
            let mut inner = who.lock();
            for (lock, need) in grant.locks.into_iter().zip(needs) {
                inner.regained(&lock);
                granted.push(lock_step(&lock, LockStep::Granted));
                let state = LockState::Queued.on(LockEvent::Granted { token: lock.token, cooling });
                inner.locks.push(HeldLock {
                    grant: lock,
                    state,
                    repo: repo.clone(),
                    touched: now,
                    since_unix_ms: unix_ms(),
                    cool_until,
                    claim_by,
                    only_for: need.only_for.clone(),
                    uses: 1,
                    unclean: if cooling { grant.unclean.clone() } else { Vec::new() },
                });
            }
        }
        granted.into_iter().for_each(|fact| self.journal.note(self.entry(who, None, call, fact)));
        if cooling {
            let what = needs.first().map(Need::shown).unwrap_or_default();
            return Got::Refused { reason: messages::cooling(&what, cool_until.since(now)), what };
        }
        if !grant.unclean.is_empty() {
            let fleet = self.fleet.clone();
            let told = grant.unclean;
            self.tasks.spawn(async move {
                if let Err(error) = fleet.clear_marks(&told).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "clear left-over marks");
                }
            });
        }
        Got::All(facts)
    }

    fn cool(&self, repo: &Repo) -> rr_core::time::Span {
        repo.config().0.locks.cool.unwrap_or(self.timing.cool)
    }

    async fn queued(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        repo: &Arc<Repo>,
        needs: &[Need],
        waiter: Waiter,
        blockers: Vec<Blocker>,
        call: Option<&str>,
    ) -> Got {
        let what = needs.iter().find(|n| blockers.iter().any(|b| conflicts(b, &n.claim))).unwrap_or(&needs[0]).shown();
        self.get_to_know(&blockers).await;
        let only_call = needs.iter().any(|n| n.only_for.is_some());
        if self.all_beside(repo, &blockers) {
            self.fleet.cancel(&who.session, &waiter).await;
            return self.go_on_beside(who, repo, needs, &what, &blockers, call).await;
        }
        if only_call {
            // Nobody comes back for a call's own lock by itself: the next try asks anew.
            self.fleet.cancel(&who.session, &waiter).await;
            return self.busy(&what, needs, &blockers);
        }
        let reason = self.held_by(&what, &blockers);
        let now = self.now();
        who.lock().waiting.push(Waiting { waiter: waiter.clone(), shown: what.clone(), since: now });
        let holding = who.lock().locks.iter().any(|l| l.grant.claim.mode == Mode::Exclusive);
        let until = now + if holding { WAIT_HOLDING_MAX } else { WAIT_MAX };
        let (service, who, repo, needs) = (self.clone(), who.clone(), repo.clone(), needs.to_vec());
        self.tasks.spawn(async move { service.wait_for(&who, &repo, &needs, waiter, until).await });
        Got::Refused { what, reason }
    }

    /// Where a repository only warns: what the others hold is left out, the rest is locked.
    async fn go_on_beside(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        repo: &Arc<Repo>,
        needs: &[Need],
        what: &str,
        blockers: &[Blocker],
        call: Option<&str>,
    ) -> Got {
        let mut facts: Vec<String> =
            blockers.iter().map(|b| messages::allowed_beside(what, &self.who(b.session(), None))).collect();
        let rest: Vec<Need> =
            needs.iter().filter(|n| !blockers.iter().any(|b| conflicts(b, &n.claim))).cloned().collect();
        if rest.is_empty() {
            return Got::All(facts);
        }
        match Box::pin(self.ask(who, repo, &rest, Doing { words: "beside another work tree", call })).await {
            Got::All(more) => {
                facts.extend(more);
                Got::All(facts)
            }
            refused @ Got::Refused { .. } => refused,
        }
    }

    fn busy(&self, what: &str, needs: &[Need], blockers: &[Blocker]) -> Got {
        let whole = needs.iter().any(|n| n.claim == Claim::exclusive(n.repo.shared(Shared::Tree)));
        let named = whole.then(|| blockers.first()).flatten();
        let reason = match named {
            Some(b) => {
                let files = self.view.held_by(b.session(), &needs[0].repo.id);
                messages::tree_in_use(&self.who(b.session(), None), &files.join(", "))
            }
            None => self.held_by(what, blockers),
        };
        Got::Refused { what: what.to_owned(), reason }
    }

    fn held_by(&self, what: &str, blockers: &[Blocker]) -> String {
        let holder = blockers.iter().find(|b| matches!(b, Blocker::Holder(_))).or(blockers.first());
        let sid = holder.map_or_else(no_session, |b| b.session().clone());
        let who = self.who(&sid, holder.and_then(|b| self.since(b)));
        messages::held(what, &who, place_in_line(blockers), self.timing.claim_window)
    }

    /// Who stands in the way may have come a moment ago, on another host: then the picture of the fleet is older than that.
    async fn get_to_know(&self, blockers: &[Blocker]) {
        if blockers.iter().any(|b| self.since(b).is_none()) {
            self.view.refresh(&self.fleet).await;
        }
    }

    /// Since when a blocker is one, by the wall clock.
    fn since(&self, blocker: &Blocker) -> Option<u64> {
        match blocker {
            Blocker::Holder(h) => {
                let local = self.all().into_iter().find(|s| *s.sid() == h.session);
                let known = local.and_then(|s| s.lock().granted_at(h.token));
                known.or_else(|| self.view.lock_since(&h.session, h.token))
            }
            Blocker::Ahead(w) => {
                self.view.waiters().iter().find(|row| row.since == w.since).map(|row| row.since_unix_ms)
            }
        }
    }

    /// Whether a repository only warns of edits in other work trees, and all that is in the way is there.
    fn all_beside(&self, repo: &Repo, blockers: &[Blocker]) -> bool {
        if repo.config().0.locks.across_worktrees != rr_runtime::config::AcrossWorktrees::Warn {
            return false;
        }
        let root = repo.tree.root.display().to_string();
        let beside = |b: &Blocker| {
            self.view.session(b.session()).is_some_and(|s| s.host != self.host || !s.workspace.starts_with(&root))
        };
        !blockers.is_empty() && blockers.iter().all(beside)
    }

    /// Waits in the background for a request whose call was denied, and tells the agent what came of it at its next call.
    async fn wait_for(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        repo: &Arc<Repo>,
        needs: &[Need],
        waiter: Waiter,
        until: BootTime,
    ) {
        let since = waiter.since();
        let what = needs.iter().map(Need::shown).next().unwrap_or_default();
        let end = self.fleet.wait(&who.session, waiter, until).await;
        let still_wanted = {
            let mut inner = who.lock();
            let before = inner.waiting.len();
            inner.waiting.retain(|w| w.waiter.since() != since);
            before != inner.waiting.len() && !inner.ended
        };
        match end {
            Ok(WaitEnd::Granted(grant)) if still_wanted => {
                let window = self.timing.claim_window;
                let locks = grant.locks.clone();
                self.take_in(who, repo, needs, grant, Some(self.now() + window), None);
                who.notify(messages::granted_later(&what, window));
                self.tell_landed_elsewhere(who, repo, needs);
                tracing::info!(sid = %who.sid(), what, locks = locks.len(), "granted from the queue");
            }
            Ok(WaitEnd::Granted(grant)) => self.give_back(who, grant.locks).await,
            Ok(WaitEnd::Busy(_)) if still_wanted => who.notify(messages::wait_over(&what)),
            Ok(WaitEnd::Ring) if still_wanted => who.notify(messages::ring(&what)),
            Ok(WaitEnd::Busy(_) | WaitEnd::Ring | WaitEnd::Lost) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "wait for a lock");
                who.notify(messages::wait_over(&what));
            }
        }
    }

    /// The next holder learns what was changed on another branch and has not come to it yet (D6).
    pub(crate) fn tell_landed_elsewhere(&self, who: &AgentSession, repo: &Repo, needs: &[Need]) {
        for need in needs {
            if let Some(text) = self.landed_elsewhere(who, repo, need) {
                who.notify(text);
            }
        }
    }

    pub(crate) fn landed_elsewhere(&self, who: &AgentSession, repo: &Repo, need: &Need) -> Option<String> {
        let rr_core::scope::Scope::Path(path) = &need.claim.scope else { return None };
        let change = self.changes().of(repo, path).cloned()?;
        if change.session == *who.sid() || change.repo.tree.root == repo.tree.root {
            return None;
        }
        let mine = repo.tree.root.join(path.as_path());
        if crate::versions::Version::of(&change.disk).is_current(&mine) {
            return None;
        }
        let apart = repo.tree.lines_apart(&mine, &change.disk);
        let apart = apart.map_or_else(String::new, |(more, less)| {
            format!(" (+{more} -{less} lines; compare with {})", change.disk.display())
        });
        Some(messages::elsewhere(&path.to_string(), &change.who, &change.repo.tree.branch(), &apart))
    }

    /// Gives up every place in line of a session whose turn is over.
    pub(crate) async fn withdraw_requests(&self, who: &AgentSession) {
        let waiting = std::mem::take(&mut who.lock().waiting);
        for w in waiting {
            self.fleet.cancel(&who.session, &w.waiter).await;
        }
    }

    /// Gives locks back. What the store cannot be told now is left to the lease of the session, and told to the log.
    pub(crate) async fn give_back(&self, who: &AgentSession, locks: Vec<GrantedLock>) {
        for lock in locks {
            match self.fleet.release(&lock).await {
                Ok(Released::Yes) => self.note(who, lock_step(&lock, LockStep::Released)),
                Ok(Released::WasLost) => {
                    self.note(who, lock_step(&lock, LockStep::Lost));
                    who.lock().note_lost(LostClaim::of(&lock));
                    who.notify(messages::lock_lost(&messages::scope(&lock.claim.scope)));
                }
                Err(error) => {
                    tracing::warn!(
                        key = lock.key,
                        error = &error as &dyn std::error::Error,
                        "give a lock back; tried again"
                    );
                    who.lock().unreleased.push(lock);
                }
            }
        }
    }
}

fn why_unclear(error: &rr_fleet::FleetError) -> &'static str {
    match error {
        rr_fleet::FleetError::Store { source: rr_store::StoreError::NoSpace(_), .. } => {
            "the disk of Railroad's store is full; `rrctl pause-all` still works"
        }
        _ => "the store gave no clear answer about the lock",
    }
}

enum Held {
    Yes,
    No,
    NotYet(String),
}

fn conflicts(blocker: &Blocker, claim: &Claim) -> bool {
    match blocker {
        Blocker::Holder(h) => h.claim.conflicts(claim),
        Blocker::Ahead(w) => w.claims.iter().any(|c| c.conflicts(claim)),
    }
}

/// A session id that is nobody's.
fn no_session() -> rr_core::id::SessionId {
    rr_core::id::SessionId::from_random([0; 16])
}

//! Counted slots for agents' commands (X7, G9): a call whose command is named in `railroad.yaml` has its slot before it runs, under
//! its session's lease, until nothing of that command runs any more. Who comes too late is told who has it, keeps its place, and
//! is told when it is its turn. While another one builds in a work tree, its manifests stay as they are (G2). Which command
//! needs what is the policy's to say; who is next, the fleet's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rr_core::live::GitPath;
use rr_core::time::{BootTime, Span};
use rr_fleet::{FleetError, Slot, SlotHeld, SlotHolder, SlotRow};
use rr_policy::NeededSlot;
use rr_runtime::clock::unix_ms;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::call::{Answer, Event, ToolCall, Verdict};
use crate::effects::Effects;
use crate::messages;
use crate::processes::{Process, survivors, words_of};
use crate::repos::{Place, Repo};
use crate::service::Service;
use crate::table::{AgentSession, EARLIER_CALL};

/// A slot that is given back at this moment is worth waiting for: a tenth of the hook's budget or so.
const MOMENT: Duration = Duration::from_millis(250);
/// The longest build or test that somebody waits for in line.
const WAIT_MAX: Span = Span::from_secs(3_600);
/// Of a command, as others read who has a slot.
const WHAT_CHARS_MAX: usize = 60;

/// What a session has of slots.
#[derive(Default)]
pub(crate) struct Slots {
    pub held: Vec<HeldSlot>,
    pub waits: Vec<Waits>,
}

/// A slot of a session.
#[derive(Clone)]
pub(crate) struct HeldSlot {
    pub name: String,
    ticket: SlotHeld,
    what_for: For,
    /// What of the session ran before: not this command's.
    before: BTreeSet<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum For {
    Call(String),
    /// The call is over. What it started may not be.
    Over,
    /// Granted while its session did other things: given on if not used by then.
    Nobody {
        until: BootTime,
    },
}

/// A place in line on behalf of a session.
pub(crate) struct Waits {
    name: String,
    since: BootTime,
    given_up: CancellationToken,
}

/// What came of standing in line.
enum Came {
    Held(SlotHeld),
    Nothing,
    Unclear,
}

impl Service {
    /// Takes the slots that a command needs, and keeps manifests still while others build.
    pub(crate) async fn take_slots(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: &Event,
        call: &ToolCall,
        found: &mut Effects,
    ) -> Answer {
        let needed = self.slots_needed(who, event, call, found);
        for slot in &needed {
            let refused = self.take_slot(who, event, call, slot).await;
            if refused.verdict != Verdict::Pass {
                return refused;
            }
        }
        if !needed.is_empty() {
            // What a build makes of a lock file is seen afterwards: two that may run at a time must not keep each other out.
            // What somebody has locked just now counts as well.
            self.view.refresh(&self.fleet).await;
            let is_free = |p: &&Place| is_lock_file(p) && self.view.holder(&p.repo.id, &p.path, who.sid()).is_none();
            found.made = found.writes.iter().filter(is_free).map(|p| p.disk.clone()).collect();
        }
        match self.built_on(who, found).await {
            Some(reason) => self.refuse(who, "a dependency change", reason),
            None => Answer::default(),
        }
    }

    async fn take_slot(
        self: &Arc<Self>,
        who: &Arc<AgentSession>,
        event: &Event,
        call: &ToolCall,
        slot: &NeededSlot,
    ) -> Answer {
        if self.use_kept(who, call, &slot.name) {
            return Answer::default();
        }
        let waiting = who.lock().slots.waits.iter().any(|w| w.name == slot.name);
        let came = if waiting { None } else { self.stand(who, event, slot).await };
        // It may have come in the very moment.
        if self.use_kept(who, call, &slot.name) {
            return Answer::default();
        }
        match came {
            Some(Came::Held(ticket)) => {
                let before = self.running_of(who);
                let held = HeldSlot { name: slot.name.clone(), ticket, what_for: For::Call(call.id.clone()), before };
                who.lock().slots.held.push(held);
                Answer::default()
            }
            Some(Came::Nothing | Came::Unclear) => {
                Answer::deny(messages::not_connected("the store gave no clear answer about its slot"))
            }
            None => {
                let reason = self.slot_is_busy(who, slot).await;
                self.refuse(who, &format!("slot {}", slot.name), reason)
            }
        }
    }

    /// A slot that was granted to this session meanwhile.
    fn use_kept(&self, who: &AgentSession, call: &ToolCall, name: &str) -> bool {
        let is_kept = |held: &HeldSlot| held.name == name && matches!(held.what_for, For::Nobody { .. });
        if !who.lock().slots.held.iter().any(is_kept) {
            return false;
        }
        let before = self.running_of(who);
        let mut inner = who.lock();
        let Some(held) = inner.slots.held.iter_mut().find(|held| is_kept(held)) else { return false };
        (held.what_for, held.before) = (For::Call(call.id.clone()), before);
        true
    }

    /// Stands in line, and waits for a moment. `None`: it goes on waiting behind our back.
    async fn stand(self: &Arc<Self>, who: &Arc<AgentSession>, event: &Event, slot: &NeededSlot) -> Option<Came> {
        let repo = self.repos.around(&event.cwd).ok().flatten();
        let what: String = rr_journal::redact(&slot.what).chars().take(WHAT_CHARS_MAX).collect();
        let holder = SlotHolder {
            who: format!("{}: {what}", self.who(who.sid(), None).in_short()),
            session: Some(who.sid().clone()),
            root: repo.map(|repo| repo.tree.root.display().to_string()),
            since_unix_ms: unix_ms(),
        };
        let given_up = CancellationToken::new();
        let waits = Waits { name: slot.name.clone(), since: self.now(), given_up: given_up.clone() };
        who.lock().slots.waits.push(waits);
        let (tell, mut told) = oneshot::channel();
        let (service, who, slot) = (self.clone(), who.clone(), slot.clone());
        self.tasks.spawn(async move { service.wait_for_slot(&who, &slot, &holder, given_up, tell).await });
        match tokio::time::timeout(MOMENT, &mut told).await {
            Ok(came) => Some(came.unwrap_or(Came::Unclear)),
            Err(_) => {
                told.close();
                told.try_recv().ok()
            }
        }
    }

    async fn wait_for_slot(
        &self,
        who: &AgentSession,
        slot: &NeededSlot,
        holder: &SlotHolder,
        given_up: CancellationToken,
        tell: oneshot::Sender<Came>,
    ) {
        let (since, lease) = (self.now(), who.session.lease);
        let waiting = self.fleet.wait_slot(&self.host, &slot.name, slot.of, holder, lease, since + WAIT_MAX);
        let came = tokio::select! {
            () = given_up.cancelled() => return,
            came = waiting => came,
        };
        let still_wanted = {
            let mut inner = who.lock();
            inner.slots.waits.retain(|w| w.name != slot.name);
            !given_up.is_cancelled() && !inner.ended
        };
        let came = match came {
            Ok(Slot::Taken(ticket)) if !still_wanted => return self.give_slot_back(&ticket).await,
            Ok(Slot::Taken(ticket)) => {
                self.metrics().slot_wait(Duration::from_millis(self.now().since(since).as_millis()));
                Came::Held(ticket)
            }
            Ok(Slot::Busy { .. } | Slot::Lost) => Came::Nothing,
            Err(error) => {
                tracing::warn!(sid = %who.sid(), error = &error as &dyn std::error::Error, "stand in line for a slot");
                Came::Unclear
            }
        };
        match tell.send(came) {
            Ok(()) => {}
            Err(Came::Held(ticket)) => self.keep_for(who, slot, ticket),
            Err(Came::Nothing | Came::Unclear) if still_wanted => who.notify(messages::slot_wait_over(&slot.name)),
            Err(_) => {}
        }
    }

    /// Its turn, while its agent does other things.
    fn keep_for(&self, who: &AgentSession, slot: &NeededSlot, ticket: SlotHeld) {
        let window = self.timing.claim_window;
        let what_for = For::Nobody { until: self.now() + window };
        let held = HeldSlot { name: slot.name.clone(), ticket, what_for, before: BTreeSet::new() };
        who.lock().slots.held.push(held);
        who.notify(messages::slot_granted_later(&slot.name, &slot.what, window));
        tracing::info!(sid = %who.sid(), slot = slot.name, "its turn for a slot");
    }

    async fn slot_is_busy(&self, who: &AgentSession, slot: &NeededSlot) -> String {
        let since = who.lock().slots.waits.iter().find(|w| w.name == slot.name).map(|w| w.since);
        let waited = since.map_or(Span::ZERO, |since| self.now().since(since));
        let line = match self.fleet.slots().await {
            Ok(rows) => rows.into_iter().filter(|r| r.host == self.host && r.name == slot.name).collect(),
            Err(_) => Vec::new(),
        };
        let ahead = line.iter().take_while(|row| row.holder.session.as_ref() != Some(who.sid()) || row.has_it);
        let ahead = ahead.filter(|row| !row.has_it).count();
        let holders: Vec<&SlotHolder> = line.iter().filter(|row| row.has_it).map(|row| &row.holder).collect();
        messages::slot_is_busy(slot, &holders, who.sid(), ahead, waited, self.timing.claim_window)
    }

    /// Why a manifest may not be changed now: another one builds what it stands in (G2).
    async fn built_on(&self, who: &AgentSession, found: &Effects) -> Option<String> {
        let counts = |repo: &Arc<Repo>| !repo.config().0.slots.is_empty();
        let is_meant = |p: &&Place| !found.made.contains(&p.disk) && counts(&p.repo) && is_about_packages(p);
        let changed: Vec<&Place> = found.writes.iter().filter(is_meant).collect();
        changed.first()?;
        let rows = match self.fleet.slots().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "look who builds");
                return Some(messages::not_connected("the store gave no clear answer about who builds here"));
            }
        };
        let reason = |place: &Place| {
            let root = place.repo.tree.root.display().to_string();
            let builds = |row: &&SlotRow| {
                let another = row.holder.session.as_ref() != Some(who.sid());
                row.has_it && row.host == self.host && another && row.holder.root.as_ref() == Some(&root)
            };
            let row = rows.iter().find(builds)?;
            Some(messages::build_runs(&place.path.to_string(), &row.name, &row.holder))
        };
        changed.into_iter().find_map(reason)
    }

    /// A call is over: its slots go as soon as nothing of it runs any more.
    pub(crate) async fn end_slots_of(&self, who: &AgentSession, call: &str) {
        {
            let mut inner = who.lock();
            let ended =
                |held: &&mut HeldSlot| matches!(&held.what_for, For::Call(id) if id == call || id == EARLIER_CALL);
            inner.slots.held.iter_mut().filter(ended).for_each(|held| held.what_for = For::Over);
        }
        self.settle_slots(who).await;
    }

    /// Gives back what is no longer used: of calls that are over with all they started, and what nobody came for.
    pub(crate) async fn settle_slots(&self, who: &AgentSession) {
        let now = self.now();
        let (over, lapsed) = {
            let mut inner = who.lock();
            let earlier = inner.in_flight.contains_key(EARLIER_CALL);
            for held in &mut inner.slots.held {
                if !earlier && held.what_for == For::Call(EARLIER_CALL.to_owned()) {
                    held.what_for = For::Over;
                }
            }
            let is_over = |held: &HeldSlot| held.what_for == For::Over;
            let is_lapsed = |held: &HeldSlot| matches!(held.what_for, For::Nobody { until } if now >= until);
            let over: Vec<HeldSlot> = inner.slots.held.iter().filter(|h| is_over(h)).cloned().collect();
            let lapsed: Vec<HeldSlot> = inner.slots.held.extract_if(.., |h| is_lapsed(h)).collect();
            (over, lapsed)
        };
        for held in lapsed {
            self.give_slot_back(&held.ticket).await;
            who.notify(messages::slot_lapsed(&held.name));
        }
        if over.is_empty() {
            return;
        }
        let running = self.running_of(who);
        for held in over {
            let left: Vec<&Process> = running.difference(&held.before).collect();
            if left.iter().any(|process| self.is_at(who, **process, &held.name)) {
                continue;
            }
            who.lock().slots.held.retain(|h| h.ticket != held.ticket);
            self.give_slot_back(&held.ticket).await;
        }
    }

    /// The turn is over: nobody comes for a slot any more.
    pub(crate) async fn leave_lines(&self, who: &AgentSession) {
        let kept: Vec<HeldSlot> = {
            let mut inner = who.lock();
            std::mem::take(&mut inner.slots.waits).iter().for_each(|waits| waits.given_up.cancel());
            inner.slots.held.extract_if(.., |held| matches!(held.what_for, For::Nobody { .. })).collect()
        };
        for held in kept {
            self.give_slot_back(&held.ticket).await;
        }
    }

    /// What this sidecar's earlier life has left in the lines for a session. Nobody waits any more; what was had is had.
    pub(crate) async fn adopted_slots(&self, session: &rr_fleet::Session) -> Result<Vec<HeldSlot>, FleetError> {
        let mut all = Vec::new();
        for (name, ticket, has_it) in self.fleet.slots_left_by(&self.host, session).await? {
            if has_it {
                let what_for = For::Call(EARLIER_CALL.to_owned());
                all.push(HeldSlot { name, ticket, what_for, before: BTreeSet::new() });
            } else {
                self.fleet.release_slot(&ticket).await?;
            }
        }
        Ok(all)
    }

    /// What the store cannot be told now goes with the session's lease.
    async fn give_slot_back(&self, ticket: &SlotHeld) {
        if let Err(error) = self.fleet.release_slot(ticket).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "give a slot back; it goes with its session");
        }
    }

    /// What the commands of a session have running now.
    fn running_of(&self, who: &AgentSession) -> BTreeSet<Process> {
        let marks =
            [format!("RAILROAD_SESSION={}", who.key.session), format!("CLAUDE_CODE_SESSION_ID={}", who.key.session)];
        let known = who.lock().children.clone();
        survivors(&known, who.process, &marks)
    }

    /// Whether a process does what needs the slot. Servers that a build leaves running do not.
    fn is_at(&self, who: &AgentSession, process: Process, slot: &str) -> bool {
        let workspace = who.lock().record.workspace.clone();
        let Ok(Some(repo)) = self.repos.around(Path::new(&workspace)) else { return false };
        let Some(words) = words_of(process) else { return false };
        let needs = |words: &[String]| repo.rules().needs_slot(&as_command(words), Path::new(&workspace), slot);
        // A script is its interpreter's first word.
        needs(&words) || words.len() > 1 && needs(&words[1..])
    }
}

/// The words of a process as a command that has these words.
fn as_command(words: &[String]) -> String {
    match words {
        // A program may write its own line over them.
        [one] => one.clone(),
        words => words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" "),
    }
}

fn git_path(place: &Place) -> GitPath {
    GitPath::new(place.path.to_string().into_bytes())
}

fn is_lock_file(place: &Place) -> bool {
    rr_symbols::is_lock_file(&git_path(place))
}

/// A manifest, a lock file, or what the repository itself says is one writer's at a time.
fn is_about_packages(place: &Place) -> bool {
    let path = git_path(place);
    let named = || place.repo.config().0.locks.exclusive.iter().any(|g| g.matches(place.path.key_parts()));
    rr_symbols::is_lock_file(&path) || rr_symbols::is_manifest(&path) || named()
}

//! A sidecar with one agent, as far as the store sees them: registered, kept alive, locking, giving back, dying, following the
//! run permit, and letting calls pass by the same [`Heartbeat`] and [`PermitView`] as the real one. What it does next its
//! dice decide. It knows no files and no hooks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use rr_core::id::{HostId, RepoId};
use rr_core::lock::{LockEvent, LockState};
use rr_core::permit::PermitView;
use rr_core::scope::Claim;
use rr_core::session::{Heartbeat, SessionState};
use rr_core::time::{BootTime, Span};
use rr_fleet::{Beat, Ending, FleetError, Grant, GrantedLock, Hold, HoldKind, Proof, Request, Session, SessionRecord};
use rr_store::Keys;

use crate::client::{Client, Registration};
use crate::dice::Dice;
use crate::record::{Pass, Watched};

/// As the real one looks at its sessions.
const TICK: Duration = Duration::from_secs(1);
/// A permit read that takes longer counts as failed.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// Told events that are kept of one watch, to be compared with the history.
const TOLD_MAX: usize = 10_000;

/// What a simulated agent is like.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The longest rest between two acts.
    pub rest: Span,
    /// The longest wait in the queue.
    pub patience: Span,
    /// What it may ask for.
    pub claims: Vec<Claim>,
    /// Of a thousand acts, so many are of this kind; the rest are requests and releases.
    pub deaths: u64,
    pub endings: u64,
    pub forces: u64,
    pub pauses: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            rest: Span::from_millis(60),
            patience: Span::from_millis(1_500),
            claims: vec![],
            deaths: 10,
            endings: 40,
            forces: 40,
            pauses: 10,
        }
    }
}

struct Held {
    lock: GrantedLock,
    state: LockState,
    cool_until: BootTime,
}

/// A session while it lives.
struct Life {
    session: Session,
    heartbeat: Heartbeat,
    held: Vec<Held>,
    sent: BootTime,
}

pub struct Sidecar {
    client: Client,
    behaviour: Behaviour,
    dice: Arc<Dice>,
    host: HostId,
    /// Which life this is: each registers in a slot of its own.
    lives: AtomicU64,
    life: Mutex<Option<Life>>,
    permit: Mutex<PermitView>,
    /// A request for locks is under way.
    asking: AtomicBool,
    over: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sidecar {
    #[must_use]
    pub fn new(client: Client, behaviour: Behaviour, dice: Arc<Dice>) -> Arc<Self> {
        let host = HostId::from_random(rr_core::id::Entropy::bits(&*dice));
        Arc::new(Self {
            client,
            behaviour,
            dice,
            host,
            lives: AtomicU64::new(0),
            life: Mutex::default(),
            permit: Mutex::default(),
            asking: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    /// Its agent does nothing new from now on; [`Sidecar::run`] comes to its end.
    pub fn stop(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether a request of its agent is under way, for a test that stops it in the middle of one.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn now(&self) -> BootTime {
        self.client.fleet.clock().now()
    }

    /// Until [`Sidecar::stop`], and until all that it asked for by then is answered: a call that nobody hears the answer of
    /// counts as unknown. To drop this before is to kill it.
    pub async fn run(self: Arc<Self>) {
        futures::future::join4(self.work(), self.keep(), self.follow_permit(), self.call_tools()).await;
    }

    /// Gives everything back and ends its session, for a clean end of a test.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn farewell(&self) -> Result<(), FleetError> {
        let Some(life) = locked(&self.life).take() else { return Ok(()) };
        self.client.end(&life.session, Ending::Clean).await
    }

    async fn rest(&self) {
        let ms = self.dice.below(self.behaviour.rest.as_millis().max(1));
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn session(&self) -> Option<Session> {
        locked(&self.life).as_ref().map(|life| life.session.clone())
    }

    async fn work(&self) {
        while !self.is_over() {
            match self.session() {
                None => self.register().await,
                Some(session) => self.act(&session).await,
            }
            self.rest().await;
        }
    }

    /// Also while it waits in the queue: an agent has other hands.
    async fn call_tools(&self) {
        while !self.is_over() {
            self.try_to_pass();
            self.rest().await;
        }
    }

    async fn register(&self) {
        let record = self.record(self.lives.fetch_add(1, Ordering::Relaxed));
        let sent = self.now();
        if let Ok(Registration::New(session)) = self.client.register(&record, "simulated").await {
            let heartbeat = Heartbeat::registered(sent, *self.client.fleet.timing());
            *locked(&self.life) = Some(Life { session, heartbeat, held: vec![], sent });
        }
    }

    fn record(&self, life: u64) -> SessionRecord {
        SessionRecord {
            host: self.host.clone(),
            host_name: "simulated".into(),
            boot: "boot".into(),
            pid: 1,
            start: 1,
            agent: "simulated".into(),
            agent_session: life.to_string(),
            workspace: "/w".into(),
            since_unix_ms: 0,
            task: String::new(),
            warning: String::new(),
        }
    }

    async fn act(&self, session: &Session) {
        let b = &self.behaviour;
        let drawn = self.dice.below(1_000);
        let kinds = [b.deaths, b.endings, b.forces, b.pauses];
        let mut bound = 0;
        let kind = kinds.iter().position(|share| {
            bound += share;
            drawn < bound
        });
        match kind {
            Some(0) => *locked(&self.life) = None,
            Some(1) => self.end(session).await,
            Some(2) => self.force().await,
            Some(3) => self.pause_and_resume().await,
            // The more it holds, the more it gives back: or in the end everybody waits.
            _ if self.held() <= self.dice.below(4) => self.ask(session).await,
            _ => self.give_back(session).await,
        }
    }

    fn held(&self) -> u64 {
        locked(&self.life).as_ref().map_or(0, |life| life.held.len() as u64)
    }

    async fn ask(&self, session: &Session) {
        if self.behaviour.claims.is_empty() {
            return;
        }
        let many = 1 + self.dice.below(3);
        let claims = (0..many).map(|_| self.dice.pick(&self.behaviour.claims).clone()).collect();
        let repo = RepoId::parse("0123456789abcdef").unwrap_or_else(|_| unreachable!("a legal name"));
        let request = Request { repo, claims, doing: "simulated".into(), now_unix_ms: 0 };
        let patience = Span::from_millis(self.dice.below(self.behaviour.patience.as_millis() + 1));
        self.asking.store(true, Ordering::Release);
        let granted = self.client.acquire(session, request, patience).await;
        self.asking.store(false, Ordering::Release);
        if let Ok(Some(grant)) = granted {
            self.take_in(session, grant);
        }
    }

    fn take_in(&self, session: &Session, grant: Grant) {
        let cooling = grant.must_cool();
        let cool_until = self.now() + self.client.fleet.timing().cool;
        let mut life = locked(&self.life);
        // It may have lost its session meanwhile.
        let Some(life) = life.as_mut().filter(|life| life.session.sid == session.sid) else { return };
        for lock in grant.locks {
            let state = LockState::Queued.on(LockEvent::Granted { token: lock.token, cooling });
            life.held.push(Held { lock, state, cool_until });
        }
    }

    async fn give_back(&self, session: &Session) {
        let held = locked(&self.life).as_mut().and_then(|life| life.held.pop());
        let Some(held) = held else { return };
        if self.client.release(session, &held.lock).await.is_err()
            && let Some(life) = locked(&self.life).as_mut().filter(|life| life.session.sid == session.sid)
        {
            // Tried again later, and not used till then.
            let state = held.state.on(LockEvent::SessionFenced);
            life.held.insert(0, Held { state, ..held });
        }
    }

    async fn end(&self, session: &Session) {
        *locked(&self.life) = None;
        let gone = self.dice.one_in(2);
        let how = if self.dice.one_in(2) { Ending::Clean } else { Ending::Died { gone } };
        drop(self.client.end(session, how).await);
    }

    async fn force(&self) {
        let Ok(all) = self.client.fleet.overview().await else { return };
        if !all.locks.is_empty() {
            let row = self.dice.pick(&all.locks);
            drop(self.client.force_release(&row.key, row.token).await);
        }
    }

    async fn pause_and_resume(&self) {
        let (id, who, reason) = (String::new(), "simulated".to_owned(), "a test".to_owned());
        let hold = Hold { id, kind: HoldKind::Person, who, reason, hard: false, affected: None, since_unix_ms: 0 };
        drop(self.client.pause(&hold).await);
        self.rest().await;
        while !self.is_over() {
            if let Ok(state) = self.client.read_permit().await {
                if !state.is_paused() {
                    return;
                }
                drop(self.client.resume(state.epoch).await);
            }
            self.rest().await;
        }
    }

    /// A tool call on everything it holds, if it may.
    fn try_to_pass(&self) {
        let recorder = &self.client.recorder;
        let mut life = locked(&self.life);
        let Some(life) = life.as_mut() else { return };
        // Dated before it is decided: what a busy machine takes for the decision does not make it a late one. And under the
        // lock, so that no keep-alive is heard of in between.
        let (at, now) = (recorder.now(), self.now());
        let Ok(epoch) = locked(&self.permit).check(now, self.client.fleet.timing()) else { return };
        if !life.heartbeat.look(now).is_entitled() {
            return;
        }
        let usable = life.held.iter().filter(|held| held.state.is_usable());
        let locks = usable.map(|held| (held.lock.key.clone(), held.lock.token)).collect();
        recorder.passed(Pass { session: life.session.sid.clone(), at, epoch, locks });
    }

    /// Leases renewed, fences lifted on proof, locks that have cooled made usable.
    async fn keep(&self) {
        while !self.is_over() {
            if let Some((session, state, due)) = self.look() {
                match state {
                    SessionState::Live | SessionState::Suspect if due => self.renew(&session).await,
                    SessionState::Fenced(_) => self.prove(&session).await,
                    SessionState::Live | SessionState::Suspect => {}
                    SessionState::Dead(_) | SessionState::Closed => self.with(&session, |life| *life = None),
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// The session, its state by now, and whether its lease is to be renewed.
    fn look(&self) -> Option<(Session, SessionState, bool)> {
        let (mut life, now) = (locked(&self.life), self.now());
        let life = life.as_mut()?;
        for held in life.held.iter_mut().filter(|held| now >= held.cool_until) {
            held.state = held.state.on(LockEvent::CoolingOver);
        }
        let due = now.since(life.sent) >= self.client.fleet.timing().keep_alive;
        Some((life.session.clone(), life.heartbeat.look(now).clone(), due))
    }

    /// Changes the life of this session, if it is still the one.
    fn with(&self, session: &Session, change: impl FnOnce(&mut Option<Life>)) {
        let mut life = locked(&self.life);
        if life.as_ref().is_some_and(|life| life.session.sid == session.sid) {
            change(&mut life);
        }
    }

    fn alive(&self, session: &Session, change: impl FnOnce(&mut Life)) {
        self.with(session, |life| {
            if let Some(life) = life {
                change(life);
            }
        });
    }

    async fn renew(&self, session: &Session) {
        let sent = self.now();
        self.alive(session, |life| life.sent = sent);
        match self.client.beat(session).await {
            Ok(Beat::Acknowledged { sent }) => self.alive(session, |life| life.heartbeat.acknowledge(sent)),
            Ok(Beat::Gone) => self.with(session, |life| *life = None),
            // Soon again.
            Err(_) => {
                let early = self.now() + Span::from_secs(2) - self.client.fleet.timing().keep_alive;
                self.alive(session, |life| life.sent = early);
            }
        }
    }

    async fn prove(&self, session: &Session) {
        let mut locks = Vec::new();
        self.alive(session, |life| {
            for held in &mut life.held {
                held.state = held.state.on(LockEvent::SessionFenced);
                locks.push(held.lock.clone());
            }
        });
        let sent = match self.client.prove(session).await {
            Ok(Proof::Alive { sent }) => sent,
            Ok(Proof::Dead(_)) => return self.with(session, |life| *life = None),
            Err(_) => return,
        };
        let Ok(tokens) = self.client.fleet.stored_tokens(&locks).await else { return };
        let now = self.now();
        self.alive(session, |life| {
            for (lock, stored) in locks.iter().zip(tokens) {
                for held in life.held.iter_mut().filter(|held| held.lock.key == lock.key) {
                    held.state = held.state.on(LockEvent::Proven { stored });
                }
            }
            life.sent = sent;
            life.heartbeat.proven(sent, now);
        });
    }

    /// Reads the permit at each change and every few seconds; reading is what counts.
    async fn follow_permit(&self) {
        while !self.is_over() {
            let Some(revision) = self.read_permit().await else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            let (keys, from) = (self.client.fleet.keyspace().fleet(), revision + 1);
            if let Ok(watch) = self.client.fleet.watch(keys.clone(), from).await {
                let told = self.follow(watch).await;
                self.client.recorder.watched(Watched { keys: Keys::prefix(keys), from, told });
            }
        }
    }

    async fn follow(&self, mut watch: rr_store::WatchStream) -> Vec<rr_store::WatchEvent> {
        let poll = self.client.fleet.timing().permit_poll.as_std();
        let mut told = Vec::new();
        while !self.is_over() && told.len() < TOLD_MAX {
            match tokio::time::timeout(poll, watch.next()).await {
                Ok(Some(Ok(event))) => told.push(event),
                Ok(Some(Err(_)) | None) => break,
                Err(_) => {}
            }
            self.read_permit().await;
        }
        told
    }

    async fn read_permit(&self) -> Option<u64> {
        let sent = self.now();
        let state = tokio::time::timeout(READ_DEADLINE, self.client.read_permit()).await.ok()?.ok()?;
        locked(&self.permit).observe(sent, state.permit.clone(), state.revision);
        Some(state.revision)
    }
}

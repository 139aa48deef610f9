//! One member's endpoint: the connection for requests and the one for watches, each made when first asked for, and how
//! well it did lately. Two failures in a row eject it; it comes back when a connection made aside, with nobody waiting
//! for it, has worked. Which endpoint is asked is [`super::route`]'s.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use etcd_client::proto::PbStatusResponse;
use rr_core::time::{BootTime, Clock, Span};
use tokio::time::timeout;
use tonic::transport::Uri;

use super::failure::{Blames, Failure};
use super::line::{Access, Line};
use super::options::shown;
use super::tls;

/// In a row: one may be a packet lost, two are a habit.
const FAILURES_MAX: u32 = 2;
/// How long it is left alone: about a restart of etcd, or a short cut.
const EJECTED_FOR: Span = Span::from_secs(30);
/// For a member to say that it is there.
const PROBE_MAX: Duration = Duration::from_secs(1);
/// How often the TLS files are looked at. Renewal happens at half of a life of hours.
const RELOAD_EVERY: Span = Span::from_secs(10);

pub(super) struct Endpoint {
    pub uri: Uri,
    pub name: String,
    access: Arc<Access>,
    clock: Arc<dyn Clock>,
    pub requests: Slot,
    pub watches: Slot,
    failures: AtomicU32,
    /// In milliseconds since boot; 0: it is not.
    ejected_until: AtomicU64,
    trying: AtomicBool,
    reload_due: AtomicU64,
}

/// Room for one connection.
#[derive(Default)]
pub(super) struct Slot {
    line: RwLock<Option<Arc<Line>>>,
    /// One dials, the others wait for what comes of it.
    dialling: tokio::sync::Mutex<Option<Failure>>,
    dialled: AtomicU64,
}

impl Endpoint {
    pub(super) fn new(uri: Uri, access: Arc<Access>, clock: Arc<dyn Clock>) -> Self {
        let reload_due = AtomicU64::new((clock.now() + RELOAD_EVERY).as_millis());
        Self {
            name: shown(&uri),
            uri,
            access,
            clock,
            requests: Slot::default(),
            watches: Slot::default(),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            trying: AtomicBool::new(false),
            reload_due,
        }
    }

    /// The connection of this slot, made if there is none.
    pub(super) async fn line(&self, slot: &Slot) -> Result<Arc<Line>, Failure> {
        if let Some(line) = slot.current() {
            return Ok(line);
        }
        let before = slot.dialled.load(Ordering::Acquire);
        let mut last = slot.dialling.lock().await;
        if let Some(line) = slot.current() {
            return Ok(line);
        }
        // Somebody has just tried while this one waited.
        if let (true, Some(failure)) = (slot.dialled.load(Ordering::Acquire) != before, last.as_ref()) {
            return Err(failure.clone());
        }
        let made = Line::connect(&self.uri, &self.access, self.clock.now()).await;
        slot.dialled.fetch_add(1, Ordering::AcqRel);
        match made {
            Ok(line) => {
                *last = None;
                Ok(slot.put(line))
            }
            Err(failure) => {
                *last = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// What the member says of itself; an error is in words for people.
    pub(super) async fn status(&self) -> Result<PbStatusResponse, Failure> {
        let line = self.line(&self.requests).await?;
        line.status().await.map_err(|error| Failure::of(&error))
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.load(Ordering::Acquire) != 0
    }

    /// An answer has come over this connection.
    pub(super) fn answered(&self, line: &Line) {
        line.heard(self.clock.now());
        self.succeeded();
    }

    /// Whether a request that must not be lost may be sent over this connection: one that was silent for long is asked.
    pub(super) async fn is_sound(&self, line: &Line) -> bool {
        if !line.is_silent(self.clock.now()) {
            return true;
        }
        let sound = timeout(PROBE_MAX, line.status()).await.is_ok_and(|status| status.is_ok());
        if sound {
            line.heard(self.clock.now());
        }
        sound
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Acquire) != 0 || self.is_ejected() {
            self.failures.store(0, Ordering::Release);
            if self.ejected_until.swap(0, Ordering::AcqRel) != 0 {
                tracing::info!(endpoint = self.name, "etcd endpoint is back");
            }
        }
    }

    /// Takes in that a request over `line` failed, or that there was no line.
    pub(super) fn failed(&self, slot: &Slot, line: Option<&Arc<Line>>, failure: &Failure) {
        match (failure.blames, line) {
            (Blames::Nobody | Blames::Member, _) => return,
            (Blames::Connection, Some(line)) => slot.discard(line),
            (Blames::Connection, None) | (Blames::Silence, _) => {}
        }
        if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= FAILURES_MAX {
            self.eject(&failure.why);
        }
    }

    fn eject(&self, why: &str) {
        let until = self.clock.now() + EJECTED_FOR;
        if self.ejected_until.swap(until.as_millis().max(1), Ordering::AcqRel) == 0 {
            // Whoever has no other choice than to ask it now is told at once whether it lives, before anything is sent.
            self.requests.clear();
            tracing::warn!(endpoint = self.name, why, "etcd endpoint is left alone for {} s", EJECTED_FOR.as_secs());
        }
    }

    /// What is due by now, aside from any request: another try of an ejected endpoint, a look at the TLS files.
    pub(super) fn tend(self: &Arc<Self>) {
        let until = self.ejected_until.load(Ordering::Acquire);
        let reloads = self.access.tls.is_some();
        if until == 0 && !reloads {
            return;
        }
        let now = self.clock.now();
        if until != 0 && now >= BootTime::from_millis(until) && !self.trying.swap(true, Ordering::AcqRel) {
            let endpoint = Arc::clone(self);
            tokio::spawn(async move { endpoint.try_again().await });
        }
        let due = self.reload_due.load(Ordering::Acquire);
        let next = (now + RELOAD_EVERY).as_millis();
        let take = |at| (now.as_millis() >= at).then_some(next);
        if reloads
            && now.as_millis() >= due
            && self.reload_due.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
        {
            let endpoint = Arc::clone(self);
            tokio::spawn(async move { endpoint.reload().await });
        }
    }

    async fn try_again(&self) {
        self.requests.clear();
        match self.line(&self.requests).await {
            Ok(_) => self.succeeded(),
            Err(failure) => {
                let until = self.clock.now() + EJECTED_FOR;
                self.ejected_until.store(until.as_millis().max(1), Ordering::Release);
                tracing::debug!(endpoint = self.name, why = failure.why, "etcd endpoint is still gone");
            }
        }
        self.trying.store(false, Ordering::Release);
    }

    /// New files: a new connection takes the place of the old one, which ends with its last request. Files that do not
    /// work (one of three written so far) change nothing.
    async fn reload(&self) {
        let Some(files) = &self.access.tls else { return };
        let Ok(found) = tls::read(files).await else { return };
        for slot in [&self.requests, &self.watches] {
            let stale = slot.current().is_some_and(|line| line.material.as_ref() != Some(&found));
            if !stale {
                continue;
            }
            match Line::connect(&self.uri, &self.access, self.clock.now()).await {
                Ok(line) => {
                    slot.put(line);
                    tracing::info!(endpoint = self.name, "connected to etcd with the new TLS files");
                }
                Err(failure) => {
                    tracing::warn!(endpoint = self.name, why = failure.why, "the new TLS files do not work with etcd");
                }
            }
        }
    }
}

impl Slot {
    pub(super) fn current(&self) -> Option<Arc<Line>> {
        self.line.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, line: Line) -> Arc<Line> {
        let line = Arc::new(line);
        *self.line.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&line));
        line
    }

    pub(super) fn clear(&self) {
        *self.line.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Unless another has taken its place.
    pub(super) fn discard(&self, line: &Arc<Line>) {
        let mut current = self.line.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, line)) {
            *current = None;
        }
    }
}

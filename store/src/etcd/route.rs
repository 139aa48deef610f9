//! Which endpoint a request goes to, how often and for how long. One is asked as long as it does well, so that a process has
//! one connection; the next one takes over at its first failure. A read goes on to the next endpoint whatever happened; a
//! write only if it was certainly not applied: what became of it otherwise is for its caller to find out (G9).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::Error as EtcdError;
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Endpoint;
use super::failure::{Blames, Failure, Fate};
use super::highest::{Highest, Standing};
use super::line::Line;
use crate::contract::{Position, StoreError};

/// A permit poll has 2 s (lock-protocol, section 2) ...
pub(super) const READ_MAX: Duration = Duration::from_secs(2);
/// ... and shall survive one frozen member within it.
pub(super) const READ_ATTEMPT_MAX: Duration = Duration::from_secs(1);
/// Far more than a slow disk needs, and less than the 7 s after which etcd itself gives up.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(5);

/// One kind of request.
pub(super) trait Call: Sync {
    type Answer: Send;

    /// Whether it changes nothing, so that it may be sent again.
    fn is_read(&self) -> bool;

    /// Sends it; the answer comes with where the store stood.
    fn send(&self, line: &Line) -> impl Future<Output = Result<(Position, Self::Answer), EtcdError>> + Send;
}

pub(super) struct Route {
    pub endpoints: Vec<Arc<Endpoint>>,
    preferred: AtomicUsize,
    pub highest: Highest,
}

impl Route {
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>, preferred: usize, highest: Highest) -> Self {
        Self { endpoints, preferred: AtomicUsize::new(preferred), highest }
    }

    pub(super) async fn run<C: Call>(&self, call: &C) -> Result<C::Answer, StoreError> {
        let mark = self.highest.mark()?;
        let (at, now, answer) = self.ask_in_turn(call).await?;
        match self.highest.answered(mark, now) {
            Standing::Ahead => {}
            Standing::InOlderTerm if self.somebody_knows(mark.seen.raft_term).await => self.avoid(at),
            Standing::InOlderTerm | Standing::Back => self.highest.fence(mark, now)?,
        }
        Ok(answer)
    }

    /// Whether this cluster has been in that term: one member that says so is enough, since a term is never made up.
    async fn somebody_knows(&self, raft_term: u64) -> bool {
        let ask = self.endpoints.iter().map(|endpoint| async move {
            let asked = timeout(READ_ATTEMPT_MAX, endpoint.status()).await;
            asked.is_ok_and(|status| status.is_ok_and(|status| status.raft_term >= raft_term))
        });
        futures::future::join_all(ask).await.contains(&true)
    }

    async fn ask_in_turn<C: Call>(&self, call: &C) -> Result<(usize, Position, C::Answer), StoreError> {
        let deadline = Instant::now() + if call.is_read() { READ_MAX } else { WRITE_MAX };
        let mut turn = Turn::default();
        let mut worst: Option<StoreError> = None;
        while let Some(at) = self.next(&mut turn) {
            let endpoint = &self.endpoints[at];
            let last = turn.asked == self.endpoints.len() || !call.is_read();
            let until = if last { deadline } else { deadline.min(Instant::now() + READ_ATTEMPT_MAX) };
            let failure = match attempt(endpoint, call, until).await {
                Ok((now, answer)) => {
                    self.prefer(at);
                    return Ok((at, now, answer));
                }
                Err(failure) => failure,
            };
            if failure.blames != Blames::Nobody {
                self.avoid(at);
            }
            let goes_on = match failure.fate {
                Fate::Final(_) => false,
                Fate::NotApplied | Fate::Foreign { .. } => true,
                Fate::Lost => call.is_read(),
            };
            let error = if call.is_read() {
                failure.into_read_error(&endpoint.name)
            } else {
                failure.into_write_error(&endpoint.name)
            };
            if !goes_on || Instant::now() >= deadline {
                return Err(error);
            }
            worst.get_or_insert(error);
        }
        Err(worst.unwrap_or_else(|| StoreError::Unavailable("no etcd endpoint".into())))
    }

    /// The preferred one, then the others that do well, then those that were ejected: each once.
    pub(super) fn next(&self, turn: &mut Turn) -> Option<usize> {
        let (count, first) = (self.endpoints.len(), self.preferred.load(Ordering::Acquire));
        let in_turn = || (0..count).map(|n| (first + n) % count).filter(|at| turn.seen & (1_u32 << at) == 0);
        if turn.asked == 0 {
            self.endpoints.iter().for_each(Endpoint::tend);
        }
        let at = in_turn().find(|at| !self.endpoints[*at].is_ejected()).or_else(|| in_turn().next())?;
        turn.seen |= 1_u32 << at;
        turn.asked += 1;
        Some(at)
    }

    pub(super) fn prefer(&self, at: usize) {
        if self.preferred.load(Ordering::Acquire) != at {
            self.preferred.store(at, Ordering::Release);
        }
    }

    /// The next one is preferred from now on.
    pub(super) fn avoid(&self, at: usize) {
        let next = (at + 1) % self.endpoints.len();
        let _ = self.preferred.compare_exchange(at, next, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Which endpoints one request has been to; a bit each ([`super::options`] limits their number).
#[derive(Debug, Default)]
pub(super) struct Turn {
    seen: u32,
    asked: usize,
}

/// One request to one endpoint. A connection that broke while it lay idle is replaced once: the request was not sent over
/// it.
async fn attempt<C: Call>(endpoint: &Endpoint, call: &C, until: Instant) -> Result<(Position, C::Answer), Failure> {
    let mut was_idle = endpoint.requests.current().is_some();
    loop {
        let line = line_by(endpoint, until).await?;
        if was_idle && !call.is_read() && !endpoint.is_sound(&line).await {
            endpoint.requests.discard(&line);
            was_idle = false;
            continue;
        }
        let started = Instant::now();
        let failure = match timeout_at(until, call.send(&line)).await {
            Ok(Ok(answer)) => {
                endpoint.answered(&line);
                return Ok(answer);
            }
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::late(started.elapsed()),
        };
        if was_idle && failure.is_unsent() {
            endpoint.requests.discard(&line);
            was_idle = false;
            continue;
        }
        endpoint.failed(&endpoint.requests, Some(&line), &failure);
        return Err(failure);
    }
}

async fn line_by(endpoint: &Endpoint, until: Instant) -> Result<Arc<Line>, Failure> {
    let made = timeout_at(until, endpoint.line(&endpoint.requests)).await;
    let made = made.unwrap_or_else(|_| Err(Failure::not_sent("it could not be connected to in time")));
    made.inspect_err(|failure| endpoint.failed(&endpoint.requests, None, failure))
}

//! Keeps leases alive: all of a process over one stream, one message each. A lease counts as renewed when its answer is
//! there, never when its message was sent. A stream that breaks or falls silent is made anew at the next endpoint, and
//! what still waits is sent again. When to renew a lease is its owner's to know.
//!
//! Each message sent has its place in line until its own answer takes it out, even if nobody waits for it any more:
//! otherwise the late answer to an old message would renew on behalf of a newer one, and from a later time than true.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Error as EtcdError, LeaseKeepAliveStream, LeaseKeeper};
use rr_core::time::Span;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::line::Line;
use super::route::{Route, Turn};
use super::wire::unsigned;
use crate::contract::{KeepAlive, LeaseId, StoreError};

/// For one renewal, other endpoints included (lock-protocol, section 2: no answer in 5 s).
const RENEW_MAX: Duration = Duration::from_secs(5);
/// A stream that owes an answer for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Between two rounds over all endpoints, when none works.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// Far above the sessions of a machine; whoever comes then waits.
const QUEUE_MAX: usize = 4_096;

type Reply = oneshot::Sender<KeepAlive>;

pub(super) struct Renewals {
    asks: mpsc::Sender<Ask>,
}

struct Ask {
    lease: LeaseId,
    until: Instant,
    reply: Reply,
}

impl Renewals {
    pub(super) fn start(route: Arc<Route>) -> Self {
        let (asks, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(serve(route, queue));
        Self { asks }
    }

    pub(super) async fn renew(&self, lease: LeaseId) -> Result<KeepAlive, StoreError> {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + RENEW_MAX;
        let asked = timeout_at(until, async {
            self.asks.send(Ask { lease, until, reply }).await.ok()?;
            answer.await.ok()
        });
        // Renewed or not: no answer says nothing.
        let unknown = || StoreError::Unknown(format!("no answer to the keep-alive of lease {lease} in {RENEW_MAX:?}"));
        asked.await.ok().flatten().ok_or_else(unknown)
    }
}

/// What was sent over one stream and has no answer yet, by lease, oldest first.
#[derive(Default)]
struct Waiting {
    by_lease: HashMap<i64, VecDeque<Ask>>,
    /// When the stream last gave an answer, or began to owe one.
    heard: Option<Instant>,
}

impl Waiting {
    fn push(&mut self, ask: Ask) {
        if self.by_lease.is_empty() {
            self.heard = Some(Instant::now());
        }
        self.by_lease.entry(ask.lease.0).or_default().push_back(ask);
    }

    fn answer(&mut self, lease: i64, ttl: i64) {
        self.heard = Some(Instant::now());
        let Some(line) = self.by_lease.get_mut(&lease) else { return };
        if let Some(ask) = line.pop_front() {
            // Whoever asked may have given up.
            let _ = ask.reply.send(meaning(ttl));
        }
        if line.is_empty() {
            self.by_lease.remove(&lease);
        }
    }

    /// Those that somebody still waits for.
    fn take(&mut self) -> VecDeque<Ask> {
        let all = std::mem::take(&mut self.by_lease).into_values().flatten();
        all.filter(|ask| !ask.reply.is_closed() && Instant::now() < ask.until).collect()
    }

    fn silent_at(&self) -> Option<Instant> {
        (!self.by_lease.is_empty()).then_some(self.heard.map(|at| at + SILENCE_MAX)).flatten()
    }
}

/// etcd answers for a lease that is gone with no time to live.
fn meaning(ttl: i64) -> KeepAlive {
    if ttl > 0 { KeepAlive::Alive(Span::from_secs(unsigned(ttl))) } else { KeepAlive::Gone }
}

/// Stream after stream, as long as there is a store.
async fn serve(route: Arc<Route>, mut queue: mpsc::Receiver<Ask>) {
    let mut again = VecDeque::new();
    loop {
        let first = match again.pop_front() {
            Some(ask) => ask,
            None => match queue.recv().await {
                Some(ask) => ask,
                None => return,
            },
        };
        if let Some(stream) = open(&route, first, &mut again).await {
            again = run(stream, &mut queue, std::mem::take(&mut again)).await;
        }
    }
}

/// A stream, and the endpoint it was opened at.
struct Stream<'a> {
    route: &'a Route,
    at: usize,
    line: Arc<Line>,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

/// Opens a stream with its first message. The library hands out a stream only if that lease is alive; for one that is gone,
/// the answer is known and the next one opens it.
async fn open<'a>(route: &'a Route, ask: Ask, again: &mut VecDeque<Ask>) -> Option<Stream<'a>> {
    let mut turn = Turn::default();
    while let Some(at) = route.next(&mut turn) {
        if ask.reply.is_closed() {
            return None;
        }
        let endpoint = &route.endpoints[at];
        let opened = timeout(SILENCE_MAX, async {
            let line = endpoint.line(&endpoint.requests).await.map_err(|failure| (None, failure))?;
            match line.lease.clone().keep_alive(ask.lease.0).await {
                Ok((keeper, answers)) => Ok(Some((line, keeper, answers))),
                Err(EtcdError::LeaseKeepAliveError(why)) if why == "lease not found" => Ok(None),
                Err(error) => Err((Some(line), Failure::of(&error))),
            }
        });
        let (line, failure) = match opened.await.unwrap_or_else(|_| Err((None, Failure::late(SILENCE_MAX)))) {
            Ok(Some((line, keeper, answers))) => {
                endpoint.succeeded();
                route.prefer(at);
                // The time to live of the first answer is not handed out, so it is asked once more.
                again.push_front(ask);
                return Some(Stream { route, at, line, keeper, answers });
            }
            Ok(None) => {
                let _ = ask.reply.send(KeepAlive::Gone);
                return None;
            }
            Err(failed) => failed,
        };
        tracing::debug!(endpoint = endpoint.name, why = failure.why, "open a keep-alive stream");
        endpoint.failed(&endpoint.requests, line.as_ref(), &failure);
        route.avoid(at);
    }
    if Instant::now() < ask.until {
        tokio::time::sleep(REOPEN_AFTER).await;
        again.push_back(ask);
    }
    None
}

/// Uses a stream until it ends, and gives back what is unanswered then.
async fn run(stream: Stream<'_>, queue: &mut mpsc::Receiver<Ask>, again: VecDeque<Ask>) -> VecDeque<Ask> {
    let Stream { route, at, line, mut keeper, mut answers } = stream;
    let waiting = Mutex::new(Waiting::default());
    let locked = || -> MutexGuard<'_, Waiting> { waiting.lock().unwrap_or_else(PoisonError::into_inner) };
    let send = async {
        let mut again = again;
        loop {
            let ask = match again.pop_front() {
                Some(ask) => ask,
                None => queue.recv().await?,
            };
            keeper.id = ask.lease.0;
            locked().push(ask);
            if keeper.keep_alive().await.is_err() {
                return Some(());
            }
        }
    };
    let hear = async {
        loop {
            let silent_at = locked().silent_at();
            let due = silent_at.unwrap_or_else(|| Instant::now() + SILENCE_MAX);
            match timeout_at(due, answers.message()).await {
                Ok(Ok(Some(answer))) => locked().answer(answer.id(), answer.ttl()),
                Ok(Ok(None)) => return Failure::lost("the stream ended"),
                Ok(Err(error)) => return Failure::of(&error),
                Err(_) if locked().silent_at().is_some_and(|at| at <= Instant::now()) => {
                    return Failure::late(SILENCE_MAX);
                }
                Err(_) => {}
            }
        }
    };
    tokio::select! {
        failure = hear => {
            let endpoint = &route.endpoints[at];
            tracing::debug!(endpoint = endpoint.name, why = failure.why, "a keep-alive stream broke");
            endpoint.failed(&endpoint.requests, Some(&line), &failure);
            route.avoid(at);
        }
        // Nobody asks any more, or the stream takes nothing.
        _ = send => {}
    }
    locked().take()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(waiting: &mut Waiting) -> oneshot::Receiver<KeepAlive> {
        let (reply, answer) = oneshot::channel();
        waiting.push(Ask { lease: LeaseId(7), until: Instant::now() + RENEW_MAX, reply });
        answer
    }

    /// Otherwise a session would count its time from a question that was never answered.
    #[test]
    fn the_late_answer_to_a_question_given_up_renews_nobody() {
        let mut waiting = Waiting::default();
        drop(ask(&mut waiting));
        let mut second = ask(&mut waiting);
        waiting.answer(7, 60);
        assert!(second.try_recv().is_err(), "that was the answer to the first");
        waiting.answer(7, 60);
        assert_eq!(second.try_recv(), Ok(KeepAlive::Alive(Span::from_secs(60))));
        assert!(waiting.silent_at().is_none(), "nothing is owed any more");
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent_again() {
        let mut waiting = Waiting::default();
        drop(ask(&mut waiting));
        let _second = ask(&mut waiting);
        assert_eq!(waiting.take().len(), 1);
        assert!(waiting.take().is_empty());
    }
}

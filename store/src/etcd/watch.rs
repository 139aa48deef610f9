//! Watches, on a connection of their own: each a stream from etcd that a task empties as it comes, so that a slow reader
//! never holds up the connection for the others. A stream that breaks is opened again, at the next endpoint, one revision
//! after the last that was handed on; a reader that does not keep up loses the stream and gets it again in the same way.
//! So nothing is skipped, and nothing told twice (G8). What cannot be caught up with ends the watch with an error.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{EventType, WatchStream as EtcdStream};
use futures::stream;
use rr_core::bugs::{self, Bug};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::calls::Range;
use super::failure::{Blames, Failure, Fate};
use super::line::Line;
use super::route::{Route, Turn};
use super::wire::{self, unsigned};
use crate::contract::{Change, Keys, Position, Revision, StoreError, WatchEvent, WatchStream};

/// For one endpoint to open a watch; etcd answers at once, or is not there.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// Longer than an election; a watch that cannot be opened for this long ends, so that its reader learns of it.
const REOPEN_MAX: Duration = Duration::from_secs(30);
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// Revisions between the task and its reader.
const BUFFER: usize = 1_024;

const PERMISSION_DENIED: &str = "etcdserver: permission denied";

type Item = Result<WatchEvent, StoreError>;

pub(super) async fn watch(route: Arc<Route>, keys: Keys, from: Revision) -> Result<WatchStream, StoreError> {
    // "From now on" must survive a break, and a member may lag: so it begins after what the cluster has now.
    let next = if from == 0 { route.run(&Range(&somewhere_in(&keys))).await?.revision + 1 } else { from };
    let history = route.highest.mark()?.history;
    let source = Source::open(&route, &keys, next).await?;
    let (events, reader) = mpsc::channel(BUFFER);
    tokio::spawn(Watch { route, keys, next, history, events }.serve(source));
    Ok(Box::pin(stream::unfold(reader, |mut reader| async move { Some((reader.recv().await?, reader)) })))
}

/// One key that whoever may read `keys` may read; it need not exist.
fn somewhere_in(keys: &Keys) -> Keys {
    let (first, _) = wire::range_of(keys);
    Keys::One(wire::text(first))
}

/// One watch's task.
struct Watch {
    route: Arc<Route>,
    keys: Keys,
    /// The first revision that has not been handed on.
    next: Revision,
    /// Which history that revision is of.
    history: u64,
    events: Sender<Item>,
}

/// Why a stream was left.
enum End {
    /// The reader is gone, or knows of the error.
    Over,
    /// To be opened again.
    Broke,
}

impl Watch {
    async fn serve(mut self, first: Source) {
        let mut source = Some(first);
        while let Some(open) = source.take() {
            let at = open.at;
            match self.follow(open).await {
                End::Over => return,
                End::Broke => self.route.avoid(at),
            }
            let events = self.events.clone();
            source = tokio::select! {
                again = self.reopen() => again,
                () = events.closed() => return,
            };
        }
    }

    /// Hands on what comes until the stream ends.
    async fn follow(&mut self, mut source: Source) -> End {
        loop {
            let batch = tokio::select! {
                batch = source.batch() => batch,
                () = self.events.closed() => return End::Over,
            };
            let events = match batch {
                Ok(Batch::Events(events)) => events,
                Ok(Batch::Progress(revision)) => {
                    self.next = self.next.max(revision + 1);
                    continue;
                }
                Err(failure) => return self.failed(failure, source.at).await,
            };
            for event in events {
                self.route.highest.raise(event.position);
                let revision = event.event.revision;
                if let Err(TrySendError::Full(event)) = self.events.try_send(Ok(event.event)) {
                    drop(source);
                    return self.wait_for_reader(event, revision).await;
                }
                self.next = revision + 1;
            }
        }
    }

    /// The reader lags: its stream is closed until it has made room for a good piece.
    async fn wait_for_reader(&mut self, event: Item, revision: Revision) -> End {
        if self.events.send(event).await.is_err() {
            return End::Over;
        }
        self.next = revision + 1;
        match self.events.reserve_many(BUFFER / 2).await {
            Ok(_) => End::Broke,
            Err(_) => End::Over,
        }
    }

    async fn failed(&mut self, failure: Failure, at: usize) -> End {
        let endpoint = &self.route.endpoints[at];
        tracing::debug!(endpoint = endpoint.name, why = failure.why, "a watch broke");
        let Fate::Final(error) = failure.fate else { return End::Broke };
        if let (StoreError::Compacted { oldest }, true) = (&error, bugs::is_on(Bug::B7)) {
            self.next = *oldest;
            return End::Broke;
        }
        // No receiver: nobody to tell.
        let _ = self.events.send(Err(error)).await;
        End::Over
    }

    async fn reopen(&mut self) -> Option<Source> {
        let give_up = Instant::now() + REOPEN_MAX;
        loop {
            let error = match self.open().await {
                Ok(source) => return Some(source),
                Err(error) => error,
            };
            if !error.is_retryable() || Instant::now() >= give_up || self.is_of_the_past() {
                let _ = self.events.send(Err(error)).await;
                return None;
            }
            sleep(REOPEN_AFTER).await;
        }
    }

    async fn open(&self) -> Result<Source, StoreError> {
        if self.is_of_the_past() {
            return Err(StoreError::Unavailable("the store was restored while this watch was away".into()));
        }
        Source::open(&self.route, &self.keys, self.next).await
    }

    /// Its revision means nothing in the history that was accepted since.
    fn is_of_the_past(&self) -> bool {
        self.route.highest.mark().is_ok_and(|mark| mark.history != self.history)
    }
}

/// An open stream of etcd.
struct Source {
    at: usize,
    stream: EtcdStream,
    /// Changes of a message that is not complete: etcd cuts large ones in pieces.
    partial: Vec<PbEvent>,
}

enum Batch {
    Events(Vec<Placed>),
    /// Nothing up to this revision that has not been told.
    Progress(Revision),
}

/// An event, and what its arrival proves of the store's history.
struct Placed {
    event: WatchEvent,
    position: Position,
}

impl Source {
    /// Asks each endpoint once. An error is retryable if none could be reached.
    async fn open(route: &Route, keys: &Keys, next: Revision) -> Result<Self, StoreError> {
        let mut turn = Turn::default();
        let mut last = None;
        while let Some(at) = route.next(&mut turn) {
            let mark = route.highest.mark()?;
            let opened = timeout(OPEN_MAX, Self::open_at(route, at, keys, next)).await;
            match opened.unwrap_or_else(|_| Err(Failure::late(OPEN_MAX))) {
                Ok((source, now)) => {
                    // The member lags, or the store went back: an answer of the whole cluster tells.
                    if now.revision < mark.seen.revision || now.raft_term < mark.seen.raft_term {
                        route.run(&Range(&somewhere_in(keys))).await?;
                    }
                    return Ok(source);
                }
                Err(failure) => {
                    let ends = matches!(failure.fate, Fate::Final(_));
                    let error = failure.into_read_error(&route.endpoints[at].name);
                    if ends {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Unavailable("no etcd endpoint".into())))
    }

    async fn open_at(route: &Route, at: usize, keys: &Keys, next: Revision) -> Result<(Self, Position), Failure> {
        let endpoint = &route.endpoints[at];
        let line = endpoint.line(&endpoint.watches).await?;
        let mut opened = Self::open_over(&line, keys, next).await;
        // Other requests get another token from the library; a watch is refused within its stream.
        if matches!(&opened, Err(failure) if failure.is_token_over()) {
            line.log_in().await?;
            opened = Self::open_over(&line, keys, next).await;
        }
        match opened {
            Ok((stream, now)) => Ok((Self { at, stream, partial: Vec::new() }, now)),
            Err(failure) => {
                if failure.blames == Blames::Connection {
                    endpoint.watches.discard(&line);
                }
                Err(failure)
            }
        }
    }

    async fn open_over(line: &Line, keys: &Keys, next: Revision) -> Result<(EtcdStream, Position), Failure> {
        let (key, end) = wire::range_of(keys);
        let mut watch = line.watch.clone();
        let opened = watch.watch(key, Some(wire::watch_options(end, next))).await;
        let mut stream = opened.map_err(|error| Failure::of(&error))?;
        let created = stream.message().await.map_err(|error| Failure::of(&error))?;
        let created = created.ok_or_else(|| Failure::lost("the stream ended"))?.0;
        if created.canceled {
            return Err(cancelled(&created));
        }
        Ok((stream, wire::position(created.header.as_ref())))
    }

    async fn batch(&mut self) -> Result<Batch, Failure> {
        loop {
            let message = self.stream.message().await.map_err(|error| Failure::of(&error))?;
            let mut message = message.ok_or_else(|| Failure::lost("the stream ended"))?.0;
            if message.canceled {
                return Err(cancelled(&message));
            }
            self.partial.append(&mut message.events);
            if message.fragment {
                continue;
            }
            let position = wire::position(message.header.as_ref());
            if self.partial.is_empty() {
                return Ok(Batch::Progress(position.revision));
            }
            let events = by_revision(std::mem::take(&mut self.partial));
            let placed = |event: WatchEvent| {
                let position = Position { revision: event.revision, ..position };
                Placed { event, position }
            };
            return Ok(Batch::Events(events.into_iter().map(placed).collect()));
        }
    }
}

/// A watch that etcd ended: it gives the oldest revision it knows and no reason, or a reason.
fn cancelled(message: &PbWatchResponse) -> Failure {
    if message.compact_revision > 0 {
        let oldest = unsigned(message.compact_revision);
        let why = format!("compacted up to {oldest}");
        return Failure { fate: Fate::Final(StoreError::Compacted { oldest }), ..Failure::lost(why) };
    }
    // Since 3.6 wrapped: `rpc error: code = PermissionDenied desc = etcdserver: permission denied`.
    let reason = message.cancel_reason.rsplit("desc = ").next().unwrap_or_default();
    let code = if reason == PERMISSION_DENIED { Code::PermissionDenied } else { Code::Unknown };
    Failure::of_status(&Status::new(code, reason))
}

/// etcd sends the changes of a revision one after another, and revisions in order.
fn by_revision(changes: Vec<PbEvent>) -> Vec<WatchEvent> {
    let mut events: Vec<WatchEvent> = Vec::new();
    for change in changes {
        let Some(kv) = change.kv else { continue };
        let revision = unsigned(kv.mod_revision);
        let change = if change.r#type == EventType::Delete as i32 {
            Change::Delete { key: wire::text(kv.key) }
        } else {
            Change::Put(wire::key_value(kv))
        };
        match events.last_mut() {
            Some(last) if last.revision == revision => last.changes.push(change),
            _ => events.push(WatchEvent { revision, changes: vec![change] }),
        }
    }
    events
}

//! A part of the store as a stream of pictures: one at once, one after each change, at most one in 200 ms. Level-triggered:
//! changes only wake it, the picture is read anew. It runs when its reader asks for the next picture, so a slow reader gets
//! fewer, and nothing is queued. What a picture shows is its caller's. Next: `services` hands it to a client.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::SelectAll;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_store::{Revision, StoreError, WatchStream};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use crate::ops;

/// The least time between two pictures: a busy fleet changes far more often than anybody can read.
const PICTURE_EVERY: Duration = Duration::from_millis(200);
/// A picture is drawn this often even if nothing was heard: a watch is a hint.
const PICTURE_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// Pause before a store that did not answer is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Failures in a row until the reader is told instead of left to wait: about five seconds.
const FAILURES_MAX: u32 = 10;

/// Draws one picture, with the revision that it shows.
type Draw<T> = Arc<dyn Fn(Fleet) -> BoxFuture<'static, Result<(T, Revision), Status>> + Send + Sync>;

/// The whole fleet, until the store cannot be read for good.
pub fn pictures(fleet: Fleet) -> impl Stream<Item = Result<v1::StatusReply, Status>> + Send {
    let all = vec![fleet.keyspace().all().to_owned()];
    follow(fleet, all, |fleet| {
        async move {
            let picture = ops::status(&fleet).await?;
            let revision = picture.revision;
            Ok((picture, revision))
        }
        .boxed()
    })
}

/// Pictures of what lies below some keys, until the store cannot be read for good.
pub(crate) fn follow<T: Send + 'static>(
    fleet: Fleet,
    prefixes: Vec<String>,
    draw: impl Fn(Fleet) -> BoxFuture<'static, Result<(T, Revision), Status>> + Send + Sync + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let draw: Draw<T> = Arc::new(draw);
    let start = Some(Follower { fleet, prefixes, draw, changes: None, seen: None, drawn: None });
    stream::unfold(start, |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(picture) => Some((Ok(picture), Some(follower))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

struct Follower<T> {
    fleet: Fleet,
    prefixes: Vec<String>,
    draw: Draw<T>,
    /// Open since before the last picture was drawn, so that no change can fall between. `None`: to be opened.
    changes: Option<SelectAll<WatchStream>>,
    /// The revision of the last picture.
    seen: Option<u64>,
    drawn: Option<Instant>,
}

impl<T> Follower<T> {
    async fn next(&mut self) -> Result<T, Status> {
        self.wait_for_a_change().await;
        let mut failures = 0;
        loop {
            match self.draw().await {
                Ok(picture) => return Ok(picture),
                Err(status) if status.code() == tonic::Code::Unavailable && failures < FAILURES_MAX => failures += 1,
                Err(status) => return Err(status),
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn wait_for_a_change(&mut self) {
        let (Some(seen), Some(drawn)) = (self.seen, self.drawn) else {
            return;
        };
        let latest = sleep_until(drawn + PICTURE_AT_LEAST_EVERY);
        tokio::select! {
            () = self.change_after(seen) => sleep_until(drawn + PICTURE_EVERY).await,
            () = latest => {}
        }
    }

    /// Ends with the first change that the last picture does not show, or with the watch.
    async fn change_after(&mut self, seen: u64) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        loop {
            match changes.next().await {
                Some(Ok(event)) if event.revision <= seen => {}
                Some(Ok(_)) => return,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a watch ended; it is opened again");
                    break;
                }
                None => break,
            }
        }
        self.changes = None;
    }

    async fn draw(&mut self) -> Result<T, Status> {
        if self.changes.is_none() {
            let mut opened = SelectAll::new();
            for prefix in &self.prefixes {
                let watch = self.fleet.watch(prefix.clone(), 0).await.map_err(|e| crate::refusal::from_fleet(&e))?;
                // One that ends alone must be noticed.
                opened.push(watch.chain(stream::once(async { Err(ended()) })).boxed());
            }
            self.changes = Some(opened);
        }
        let (picture, revision) = (self.draw)(self.fleet.clone()).await?;
        (self.seen, self.drawn) = (Some(revision), Some(Instant::now()));
        Ok(picture)
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("a watch ended".to_owned())
}

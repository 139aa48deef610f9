//! The fleet as a stream of pictures: one at once, one after each change, at most one in 200 ms. Level-triggered: changes
//! only wake it, the picture is read anew. It runs when its reader asks for the next picture, so a slow reader gets
//! fewer, and nothing is queued. Next: `services` hands it to a client.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use rr_fleet::Fleet;
use rr_proto::v1;
use rr_store::WatchStream;
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

/// Pictures until the store cannot be read for good.
pub fn pictures(fleet: Fleet) -> impl Stream<Item = Result<v1::StatusReply, Status>> + Send {
    let start = Some(Follower { fleet, changes: None, seen: None, drawn: None });
    stream::unfold(start, |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(picture) => Some((Ok(picture), Some(follower))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

struct Follower {
    fleet: Fleet,
    /// Open since before the last picture was drawn, so that no change can fall between. `None`: to be opened.
    changes: Option<WatchStream>,
    /// The revision of the last picture.
    seen: Option<u64>,
    drawn: Option<Instant>,
}

impl Follower {
    async fn next(&mut self) -> Result<v1::StatusReply, Status> {
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

    async fn draw(&mut self) -> Result<v1::StatusReply, Status> {
        if self.changes.is_none() {
            let all = self.fleet.keyspace().all().to_owned();
            let opened = self.fleet.watch(all, 0).await.map_err(|e| crate::refusal::from_fleet(&e))?;
            self.changes = Some(opened);
        }
        let picture = ops::status(&self.fleet).await?;
        (self.seen, self.drawn) = (Some(picture.revision), Some(Instant::now()));
        Ok(picture)
    }
}

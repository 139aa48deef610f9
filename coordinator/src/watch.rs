//! What the watcher knows, and people's word to it (`railroad/v1/watch.proto`): `overlap`, `health`, `incidents`. As in
//! [`crate::ops`] no socket is involved, so `rrctl` looks and orders by the same rules where no coordinator runs. What
//! is found, checked or reverted is the watcher's doing; here it is read, and asked for.

pub mod health;
pub mod incidents;
pub mod overlap;
mod people;
mod plan;

use futures::future::ready;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use rr_fleet::Fleet;
use tonic::Status;

pub(crate) use self::people::People;
use crate::gate::{Caller, check_not_denied};

/// Passes on what differs from the last one, apart from its time, which `timeless` takes out.
fn when_other<T: PartialEq + Send>(
    pictures: impl Stream<Item = Result<T, Status>> + Send,
    timeless: impl Fn(&T) -> T + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let mut last = None;
    pictures.filter_map(move |picture| {
        let is_other = picture.as_ref().map_or(true, |picture| {
            let now = Some(timeless(picture));
            let is_other = now != last;
            last = now;
            is_other
        });
        ready(is_other.then_some(picture))
    })
}

/// A watch outlives the look at the gate: each picture is one more.
fn while_let_in<T: Send + 'static>(
    fleet: Fleet,
    caller: Caller,
    pictures: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    pictures.and_then(move |picture| {
        let (fleet, caller) = (fleet.clone(), caller.clone());
        async move { check_not_denied(&fleet, &caller).await.map(|()| picture) }
    })
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn what_is_as_before_but_for_its_time_is_not_sent_again() {
        let pictures = [(1, "a"), (2, "a"), (3, "b"), (4, "a")].map(Ok);
        let sent = when_other(stream::iter(pictures), |(_, what)| (0, *what));
        let sent: Vec<_> = sent.map(|picture| picture.expect("no error").0).collect().await;
        assert_eq!(sent, [1, 3, 4]);
        let broken = stream::iter([Ok(1), Err(Status::unavailable("x")), Err(Status::unavailable("x"))]);
        assert_eq!(when_other(broken, |n| *n).count().await, 3, "an error is never passed over");
    }
}

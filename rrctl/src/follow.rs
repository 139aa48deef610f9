//! Showing something of the fleet again after each change. On a terminal in its place, and ages go on while nothing else changes;
//! elsewhere one picture after the other. What is shown is the commands'.

use std::time::Duration;

use rr_proto::v1;
use tokio::time::{Instant, timeout};

use crate::client::Pictures;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::out;

/// On a terminal.
const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// Cursor home, clear to the end of the screen.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    ToCome,
    Enough,
}

/// What says at which time it was true.
pub(crate) trait Picture: Clone {
    fn now_unix_ms(&mut self) -> &mut u64;
}

macro_rules! pictures {
    ($($reply:ty),+ $(,)?) => {
        $(impl Picture for $reply {
            fn now_unix_ms(&mut self) -> &mut u64 {
                &mut self.now_unix_ms
            }
        })+
    };
}

pictures!(v1::StatusReply, v1::ApprovalsReply, v1::SlotsReply, v1::OverlapReply, v1::IncidentReply);

/// Shows each picture as it comes, until `show` says that there is nothing more to wait for.
pub(crate) async fn follow<T: Picture>(
    mut pictures: Pictures<T>,
    hand: &Hand,
    mut show: impl FnMut(&T) -> Result<More, Failure>,
) -> Result<(), Failure> {
    let screen = out::columns().is_some() && !hand.wants_json();
    let (mut latest, mut came) = (pictures.next().await?, Instant::now());
    loop {
        let mut shown = latest.clone();
        *shown.now_unix_ms() += u64::try_from(came.elapsed().as_millis()).unwrap_or(0);
        if screen {
            out::text(CLEAR)?;
        }
        if show(&shown)? == More::Enough {
            return Ok(());
        }
        let next = if screen { timeout(REDRAW_EVERY, pictures.next()).await.ok() } else { Some(pictures.next().await) };
        if let Some(next) = next {
            (latest, came) = (next?, Instant::now());
        }
    }
}

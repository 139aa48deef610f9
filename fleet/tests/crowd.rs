//! Simulated sidecars that do anything in any order, are stopped, cut off, left without answers and overtaken by compaction:
//! their whole history, every answer they got and every call they let through, keeps the promises (lock-protocol §9).

mod common;

use std::sync::Arc;

use common::crowd::{Crowd, claims, trouble};
use common::{VirtualClock, replay_with, seeds};
use rr_core::limits::Timing;
use rr_core::time::{BootTime, Clock, Span};
use rr_history::{Behaviour, Report};

const SEEDS: u64 = 6;

fn behaviour() -> Behaviour {
    Behaviour { rest: Span::from_millis(300), claims: claims(), ..Behaviour::default() }
}

#[tokio::test(start_paused = true)]
async fn whatever_befalls_sidecars_their_history_keeps_every_promise() {
    let mut sum = Report::default();
    for seed in seeds(SEEDS) {
        let crowd = Crowd::new(seed, 5, &behaviour()).await;
        trouble(&crowd, 12).await;
        let again = replay_with(seed, "whatever_befalls_sidecars_their_history_keeps_every_promise");
        let (report, _) = crowd.judge().await.unwrap_or_else(|broken| {
            let all: Vec<String> = broken.iter().map(ToString::to_string).collect();
            panic!("{}\n{again}", all.join("\n"))
        });
        println!("seed {seed}: {report:?}");
        sum.grants += report.grants;
        sum.waits += report.waits;
        sum.unknown += report.unknown;
        sum.passes += report.passes;
    }
    let enough = sum.grants > 1_000 && sum.waits > 3_000 && sum.unknown > 3_000 && sum.passes > 20_000;
    // Otherwise they only get in each other's way, or never.
    assert!(std::env::var("RR_SEED").is_ok() || enough, "{sum:?}");
}

/// A clock that is this much too fast, in thousandths.
struct Drifting(Arc<VirtualClock>, i64);

impl Clock for Drifting {
    fn now(&self) -> BootTime {
        let true_ms = i64::try_from(self.0.now().as_millis()).unwrap();
        BootTime::from_millis(u64::try_from(true_ms + true_ms * self.1 / 1_000).unwrap())
    }
}

/// One in a hundred is what the promises allow for: by the true time, everything may come that much later.
#[tokio::test(start_paused = true)]
async fn clocks_that_drift_by_one_in_a_hundred_break_no_promise() {
    let more = |span: Span| Span::from_millis(span.as_millis() * 101 / 100 + 1);
    let timing = Timing::default();
    let allowed = Timing { cut_off: more(timing.cut_off), permit_fresh: more(timing.permit_fresh), ..timing };
    for seed in seeds(2) {
        let mut crowd = Crowd::new(seed, 0, &behaviour()).await;
        for drift in [-10, 10, -10, 10] {
            crowd.join(Arc::new(Drifting(crowd.clock.clone(), drift)), &behaviour()).await;
        }
        trouble(&crowd, 8).await;
        let again = replay_with(seed, "clocks_that_drift_by_one_in_a_hundred_break_no_promise");
        let (report, _) = crowd.judge_by(allowed).await.unwrap_or_else(|broken| panic!("{broken:?}\n{again}"));
        assert!(report.grants > 50 && report.passes > 1_000, "{report:?}");
    }
}

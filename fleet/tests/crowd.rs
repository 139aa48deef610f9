//! Simulated sidecars that do anything in any order, are stopped, cut off, left without answers and overtaken by compaction:
//! their whole history, every answer they got and every call they let through, keeps the promises (lock-protocol §9).

mod common;

use common::crowd::{Crowd, claims, trouble};
use common::{replay_with, seeds};
use rr_core::time::Span;
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

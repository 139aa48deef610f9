//! `rrctl demo`: shows on real processes what Railroad does. The show is in `crate::demo`; here is its end, whatever ends it.

use std::fmt::Write as _;

use tokio::signal::unix::{SignalKind, signal};

use crate::demo::play::{Outcome, Plan, play};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Above that many the locks on one file are the whole story.
const AGENTS_MAX: u64 = 24;

/// Watch several agents work on one repository at once, in a throw-away folder
///
/// Agents are real processes that call the real hook; the daemon is a real one with a store of its own. One agent is killed
/// while it holds a lock, and the fleet is paused in the middle. Then the same work is done by one after the other, for the
/// time. Exit 0 only if nothing was lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=AGENTS_MAX))]
    agents: u64,
    /// Play a certain show again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave the folders for a look
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let plan = Plan {
        agents: usize::try_from(args.agents).unwrap_or(usize::MAX),
        seed: args.seed.unwrap_or_else(|| rr_runtime::clock::unix_ms() % 1_000_000),
        keep: args.keep,
        silent: hand.wants_json(),
    };
    let mut ends = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        ends.push(signal(kind).map_err(|e| Failure::at("listen for signals", &e))?);
    }
    let asked_to_end = first_of(&mut ends);
    let outcome = tokio::select! {
        // What the show has started ends with it.
        outcome = play(&plan) => outcome?,
        () = asked_to_end => return Err(Failure::new(Kind::Failed, "the demo was ended")),
    };
    hand.answer(&outcome, || verdict(&outcome))?;
    judge(&outcome)
}

/// Returns with the first of them.
async fn first_of(ends: &mut [tokio::signal::unix::Signal]) {
    std::future::poll_fn(|context| {
        let came = ends.iter_mut().any(|end| end.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn judge(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.lost_updates > 0 {
        let what = format!("{} updates were lost (seed {})", outcome.lost_updates, outcome.seed);
        return Err(Failure::new(Kind::Failed, what).because(outcome.lost.join("\n")));
    }
    if outcome.writes_while_paused > 0 {
        let what = format!("{} writes landed while the fleet was paused", outcome.writes_while_paused);
        return Err(Failure::new(Kind::Failed, what).because(format!("seed {}", outcome.seed)));
    }
    Ok(())
}

fn verdict(outcome: &Outcome) -> String {
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let mut text = String::from("\n");
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:22}{value}");
    };
    row("Writes done", &outcome.writes.to_string());
    row("Collisions held back", &outcome.held_back.to_string());
    row("Lost updates", &format!("{} (counted in the files)", outcome.lost_updates));
    row("Killed with a lock", &format!("{} (it held {})", outcome.killed, outcome.killed_holding.join(", ")));
    let pause = format!("{} in {} of pause", outcome.writes_while_paused, seconds(outcome.paused_ms));
    row("Writes while paused", &pause);
    row("All at once", &format!("{}, the pause and the kill included", seconds(outcome.parallel_ms)));
    row("One after the other", &seconds(outcome.sequential_ms));
    for folder in &outcome.kept {
        row("Kept", folder);
    }
    text.push_str(
        "\nFor your own repository:\n    cargo xtask install     # the programs, into ~/.cargo/bin\n    \
         rrctl install           # in the repository; then start your agents as always\n    \
         rrctl status            # who works on what\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            agents: 5,
            seed: 7,
            writes: 30,
            held_back: 4,
            lost_updates: 0,
            lost: vec![],
            killed: 1,
            killed_holding: vec!["src/types/api.ts".into()],
            paused_ms: 640,
            writes_while_paused: 0,
            parallel_ms: 3_210,
            sequential_ms: 9_000,
            kept: vec![],
        }
    }

    #[test]
    fn only_a_show_without_losses_is_a_success() {
        assert!(judge(&outcome()).is_ok());
        let lost = Outcome { lost_updates: 1, lost: vec!["a: gone".into()], ..outcome() };
        assert!(judge(&lost).is_err_and(|f| f.text().contains("a: gone")));
        assert!(judge(&Outcome { writes_while_paused: 1, ..outcome() }).is_err());
    }

    #[test]
    fn the_verdict_ends_with_what_to_type_in_ones_own_repository() {
        let text = verdict(&outcome());
        for part in ["Lost updates          0", "3.2 s, the pause", "9.0 s", "rrctl install", "rrctl status"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

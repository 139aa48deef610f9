//! The end of `rrctl demo --break`: the verdict in words, and whether Railroad kept its word. Next: `crate::demo::broken`.

use std::fmt::Write as _;

use crate::demo::broken::{Outcome, seconds};
use crate::exit::{Failure, Kind};
use crate::watch::commit;

pub(super) fn judge(outcome: &Outcome) -> Result<(), Failure> {
    let wrong = wrong(outcome);
    if wrong.is_empty() {
        return Ok(());
    }
    let why = format!("seed {}\n{}", outcome.seed, wrong.join("\n"));
    Err(Failure::new(Kind::Failed, "the break was not dealt with as it should be").because(why))
}

/// A sentence for each thing that is not as it has to be.
fn wrong(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    if outcome.culprits_found != [outcome.culprit_expected.clone()] {
        let found = outcome.culprits_found.join(", ");
        wrong.push(format!("blamed: {}, not {}", or_none(&found), outcome.culprit_expected));
    }
    if !outcome.reverted {
        wrong.push("the broken commit was not taken out".to_owned());
    }
    if !outcome.resumed {
        wrong.push("the fleet did not go on".to_owned());
    }
    if outcome.time_to_pause_ms.is_none() {
        wrong.push("the fleet was not paused".to_owned());
    }
    if outcome.writes_while_paused > 0 {
        wrong.push(format!("{} writes landed while the fleet was paused", outcome.writes_while_paused));
    }
    wrong.extend(outcome.escalated.iter().map(|why| format!("a person had to decide: {why}")));
    wrong.extend(outcome.lost.iter().cloned());
    wrong
}

fn or_none(found: &str) -> &str {
    if found.is_empty() { "nobody" } else { found }
}

pub(super) fn verdict(outcome: &Outcome) -> String {
    let mut text = String::from("\n");
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:24}{value}");
    };
    let time = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), seconds);
    row("Commits", &format!("{}, of which one broke the build", outcome.commits));
    row("Broken by", &commit(&outcome.culprit_expected));
    let found: Vec<String> = outcome.culprits_found.iter().map(|found| commit(found)).collect();
    let builds = format!("{} builds among {} commits", outcome.builds, outcome.suspects);
    row("Blamed", &format!("{} ({builds})", or_none(&found.join(", "))));
    row("Paused", &format!("{} after the commit, for {}", time(outcome.time_to_pause_ms), time(outcome.paused_ms)));
    row("Proven", &format!("{} after the commit", time(outcome.time_to_proof_ms)));
    let kept = outcome.kept_branch.as_deref().map(|kept| format!(", and kept on {kept}")).unwrap_or_default();
    row("Reverted", &format!("{}{kept}", if outcome.reverted { "yes" } else { "no" }));
    row("Others' commits lost", &outcome.others_commits_lost.to_string());
    row("Uncommitted bytes lost", &outcome.uncommitted_bytes_lost.to_string());
    row("Writes while paused", &outcome.writes_while_paused.to_string());
    for folder in &outcome.kept {
        row("Kept", folder);
    }
    text.push_str(
        "\nIn your own repository:\n    rrctl health              # the checks that were found, and whether the branch is whole\n    \
         rrctl incident list       # breaks, and what was done about them\n    \
         rrctl bisect -- COMMAND   # the same search, by hand\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            agents: 4,
            seed: 7,
            commits: 8,
            culprit_expected: "a".repeat(40),
            culprits_found: vec!["a".repeat(40)],
            suspects: 7,
            builds: 5,
            time_to_pause_ms: Some(3_210),
            time_to_proof_ms: Some(9_000),
            paused_ms: Some(8_100),
            writes_while_paused: 0,
            reverted: true,
            revert_commit: Some("b".repeat(40)),
            kept_branch: Some("railroad/reverted/a".into()),
            others_commits_lost: 0,
            uncommitted_bytes_lost: 0,
            lost: vec![],
            resumed: true,
            escalated: None,
            kept: vec![],
        }
    }

    #[test]
    fn only_the_right_commit_blamed_nothing_lost_and_a_fleet_that_goes_on_is_a_success() {
        assert!(judge(&outcome()).is_ok());
        for bad in [
            Outcome { culprits_found: vec![], ..outcome() },
            Outcome { culprits_found: vec!["c".repeat(40)], ..outcome() },
            Outcome { culprits_found: vec!["a".repeat(40), "c".repeat(40)], ..outcome() },
            Outcome { reverted: false, ..outcome() },
            Outcome { resumed: false, ..outcome() },
            Outcome { time_to_pause_ms: None, ..outcome() },
            Outcome { writes_while_paused: 1, ..outcome() },
            Outcome { escalated: Some("why".into()), ..outcome() },
            Outcome { others_commits_lost: 1, lost: vec!["c is not in main".into()], ..outcome() },
            Outcome { uncommitted_bytes_lost: 9, lost: vec!["notes.md is not as it was".into()], ..outcome() },
        ] {
            assert!(judge(&bad).is_err_and(|f| f.text().contains("seed 7")), "{bad:?}");
        }
    }

    #[test]
    fn the_verdict_has_both_commits_and_the_times() {
        let text = verdict(&outcome());
        for part in ["aaaaaaaaaa (5 builds among 7 commits)", "3.2 s after the commit, for 8.1 s", "kept on railroad"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

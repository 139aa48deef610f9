//! When a proven culprit is reverted without asking (D12; watcher.md, "Revert or propose"). Plain data in, a reason out; whether it
//! comes out cleanly and the branch passes without it has been shown before. A wrong revert costs more than a pause.

use rr_core::incident::Incident;

/// An older commit has been built upon by people.
const AGE_MAX_S: u64 = 24 * 3_600;
/// As many commits later others have built upon it.
const LATER_MAX: usize = 20;

pub(crate) struct Circumstances {
    /// The repository wants to be asked.
    pub proposes_only: bool,
    pub reverts_so_far: usize,
    pub reverts_max: usize,
    pub now_unix_s: u64,
}

/// Why it is proposed rather than done. `None`: it is done.
pub(crate) fn why_not(incident: &Incident, around: &Circumstances) -> Option<String> {
    if around.proposes_only {
        return Some("railroad.yaml wants reverts proposed".to_owned());
    }
    if around.reverts_so_far >= around.reverts_max {
        return Some(format!(
            "{} reverts in 24 hours are as many as may be made without asking",
            around.reverts_so_far
        ));
    }
    let first = incident.culprits.iter().copied().min()?;
    let culprit = incident.suspects.get(first)?;
    let later = incident.suspects.len() - first - 1;
    if later > LATER_MAX {
        return Some(format!("{later} commits have landed since"));
    }
    let age = around.now_unix_s.saturating_sub(culprit.at_unix_s);
    (age > AGE_MAX_S).then(|| format!("it is {} hours old", age / 3_600))
}

#[cfg(test)]
pub(crate) mod tests {
    use rr_core::culprit::Nature;
    use rr_core::id::{CommitId, IncidentId, RepoId};
    use rr_core::incident::{Line, Place, State, Suspect};

    use super::*;

    pub(crate) fn incident(commits: usize, culprit: usize, at_unix_s: u64) -> Incident {
        let id = |n: usize| CommitId::parse(&format!("{n:040x}")).expect("an id");
        let suspect = |n| Suspect {
            commit: id(n),
            session: None,
            author: "a".into(),
            subject: "s".into(),
            at_unix_s,
            weight: 1.0,
        };
        Incident {
            id: IncidentId::from_random([1; 16]),
            line: Line {
                repo: RepoId::parse("0123456789abcdef").expect("an id"),
                place: Place::Remote { url: "u".into() },
                branch: "main".into(),
            },
            state: State::Reverting,
            check: "types".into(),
            command: "true".into(),
            nature: Nature::Compile,
            green: id(1_000),
            red: id(commits),
            suspects: (0..commits).map(suspect).collect(),
            runs: vec![],
            output: String::new(),
            files: vec![],
            pause: None,
            culprits: vec![culprit],
            proven: None,
            revert: None,
            kept: None,
            escalated: None,
            accepted: false,
            drained: false,
            hindered: 0,
            tries: 0,
            opened_unix_ms: 0,
            paused_at_unix_ms: None,
            notes: vec![],
        }
    }

    fn usual() -> Circumstances {
        Circumstances { proposes_only: false, reverts_so_far: 0, reverts_max: 5, now_unix_s: 1_000_000 }
    }

    #[test]
    fn a_fresh_proven_culprit_is_reverted_and_each_condition_alone_makes_it_a_proposal() {
        let fresh = 1_000_000 - 60;
        assert_eq!(why_not(&incident(4, 2, fresh), &usual()), None);
        assert_eq!(why_not(&incident(21, 0, fresh), &usual()), None);
        let said = |commits, at, around: Circumstances| why_not(&incident(commits, 0, at), &around).expect("a reason");
        assert!(said(22, fresh, usual()).contains("21 commits have landed since"));
        assert!(said(4, 1_000_000 - 25 * 3_600, usual()).contains("25 hours old"));
        assert!(said(4, fresh, Circumstances { reverts_so_far: 5, ..usual() }).contains("as many as may be made"));
        assert!(said(4, fresh, Circumstances { proposes_only: true, ..usual() }).contains("wants reverts proposed"));
    }
}

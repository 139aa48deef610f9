//! The last good state: the newest commit of a shared branch that all checks passed on, else the last checkpoint from before the
//! sessions met, else where they began.

use std::path::Path;

use rr_proto::v1;
use serde::Deserialize;

use super::work::{Work, met_at_unix_ms};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastGood {
    Green { commit: String, at_unix_ms: u64 },
    Checkpoint { commit: String, at_unix_ms: u64 },
    Begin,
}

/// As much of an entry of kind `checkpoint` as counts here.
#[derive(Deserialize)]
struct Kept {
    at_unix_ms: u64,
    root: String,
    commit: String,
}

impl LastGood {
    /// `greens`: commits that passed, each with when it was made.
    pub(crate) fn of(works: &[Work], greens: Vec<(String, u64)>, checkpoints: &[v1::LogReply]) -> Self {
        let green = greens.into_iter().max_by_key(|(_, made)| *made);
        if let Some((commit, made_unix_s)) = green {
            // Git counts seconds: what was done in that one stays.
            return Self::Green { commit, at_unix_ms: (made_unix_s + 1) * 1_000 };
        }
        let met = met_at_unix_ms(works);
        let kept = checkpoints.iter().filter_map(|line| serde_json::from_str::<Kept>(&line.entry).ok());
        let ours = |kept: &Kept| works.iter().any(|work| work.roots().contains(kept.root.as_str()));
        let before = kept.filter(ours).filter(|kept| met.is_some_and(|met| kept.at_unix_ms < met));
        before
            .max_by_key(|kept| kept.at_unix_ms)
            .map_or(Self::Begin, |kept| Self::Checkpoint { commit: kept.commit, at_unix_ms: kept.at_unix_ms })
    }

    /// What is done at this time or later goes.
    pub(crate) const fn at_unix_ms(&self) -> u64 {
        match self {
            Self::Green { at_unix_ms, .. } | Self::Checkpoint { at_unix_ms, .. } => *at_unix_ms,
            Self::Begin => 0,
        }
    }

    pub(crate) fn words(&self) -> String {
        let short = |commit: &str| commit.get(..10).unwrap_or(commit).to_owned();
        match self {
            Self::Green { commit, .. } => format!("commit {}, which all checks passed on", short(commit)),
            Self::Checkpoint { commit, .. } => format!("checkpoint {}, from before they met", short(commit)),
            Self::Begin => "where the sessions began".to_owned(),
        }
    }
}

/// The green commits of the work trees on this machine that the sessions worked in.
pub(crate) fn greens(health: &v1::HealthReply, works: &[Work]) -> Vec<(String, u64)> {
    let roots = works.iter().flat_map(Work::roots);
    let trees = roots.filter_map(|root| rr_git::Worktree::discover(Path::new(root)).ok().flatten());
    let mut found = Vec::new();
    for tree in trees {
        for line in health.lines.iter().filter(|line| !line.green.is_empty()) {
            // One that the work tree is not built on says nothing about it.
            found.extend(tree.built_on_since(&line.green).map(|made| (line.green.clone(), made)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::work::tests::work;

    #[test]
    fn green_goes_before_a_checkpoint_and_a_checkpoint_must_be_from_before_they_met() {
        let works = [work("a", &[("x", 100)]), work("b", &[("x", 200)])];
        let kept = |at: u64, root: &str| v1::LogReply {
            entry: format!(r#"{{"kind":"checkpoint","at_unix_ms":{at},"root":"{root}","commit":"c{at}","why":""}}"#),
            ..Default::default()
        };
        let checkpoints = [kept(150, "/r"), kept(120, "/r"), kept(190, "/elsewhere"), kept(250, "/r")];
        let expected = LastGood::Checkpoint { commit: "c150".into(), at_unix_ms: 150 };
        assert_eq!(LastGood::of(&works, vec![], &checkpoints), expected);
        assert_eq!(LastGood::of(&works, vec![], &checkpoints[3..]), LastGood::Begin);
        let green = LastGood::of(&works, vec![("old".into(), 1), ("new".into(), 7)], &checkpoints);
        assert_eq!(green, LastGood::Green { commit: "new".into(), at_unix_ms: 8_000 });
    }
}

//! Files that everybody edits: the changelog, the table of routes. Learned from a repository's last 90 days. That two meet on such a
//! file says little; that they meet on a file which few touch says much (ConE).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, Level};
use crate::live::GitPath;

/// Fewer commits than this in 90 days make no file hot, however few others there are.
const HOT_COMMITS_MIN: u32 = 10;
/// Fewer sessions than this are no crowd.
const HOT_SESSIONS_MIN: u32 = 4;
/// One commit, or one session, in this many: two out of twenty agents then meet there by chance every day.
const HOT_SHARE: u32 = 10;

/// How often one path was changed in the last 90 days, and by how many sessions or authors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    pub path: GitPath,
    pub commits: u32,
    pub sessions: u32,
}

/// How shared each path is in its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hot {
    /// Sessions first, then commits: many hands weigh more than one busy one. And whether that is hot.
    paths: BTreeMap<GitPath, (u32, u32, bool)>,
}

impl Hot {
    /// `commits` and `sessions` are those of the whole repository in the same 90 days.
    #[must_use]
    pub fn learn(edited: &[Edited], commits: u32, sessions: u32) -> Self {
        let often =
            |count: u32, all: u32, min: u32| count >= min && u64::from(count) * u64::from(HOT_SHARE) >= u64::from(all);
        let hot = |file: &Edited| {
            often(file.commits, commits, HOT_COMMITS_MIN) && often(file.sessions, sessions, HOT_SESSIONS_MIN)
        };
        let paths = edited.iter().map(|file| (file.path.clone(), (file.sessions, file.commits, hot(file))));
        Self { paths: paths.collect() }
    }

    #[must_use]
    pub fn is_hot(&self, path: &GitPath) -> bool {
        self.paths.get(path).is_some_and(|(_, _, hot)| *hot)
    }

    /// What is worth telling, the worst first, then what is about the most rarely shared file. Level 1 about hot files alone is
    /// not, and level 0 never is.
    #[must_use]
    pub fn worth_telling(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let hot_alone = |finding: &Finding| finding.paths.iter().all(|path| self.is_hot(path));
        let worth = |finding: &Finding| match finding.level {
            Level::Shared => false,
            Level::Symbol => finding.paths.is_empty() || !hot_alone(finding),
            Level::Conflict | Level::Broken => true,
        };
        let rank = |finding: &Finding| {
            let heat = |path| self.paths.get(path).map_or((0, 0), |(sessions, commits, _)| (*sessions, *commits));
            finding.paths.iter().map(heat).min().unwrap_or_default()
        };
        let mut left: Vec<Finding> = findings.into_iter().filter(worth).collect();
        left.sort_by_cached_key(|finding| (Reverse(finding.level), rank(finding), finding.id.clone()));
        left
    }
}

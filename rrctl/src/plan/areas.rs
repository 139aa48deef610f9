//! Which folders change together, and which files are everybody's, from what the last commits have changed. Pure: paths in, groups
//! out.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::live::GitPath;
use rr_core::overlap::{Edited, Hot, SWEEP_PATHS};
use serde::Serialize;

/// As far back as what is hot is learned from.
pub(crate) const DAYS: u32 = 90;
/// Folders of a path that make an area: `src/orders`, `apps/web`.
const DEPTH: usize = 2;
/// Of the commits of the smaller one: two areas that change together this often are one piece of work.
const TOGETHER_PERCENT: u32 = 30;
/// Once may be chance.
const TOGETHER_MIN: u32 = 2;
/// Fewer commits than this, and than one in fifty, make no area of work.
const AREA_COMMITS_MIN: u32 = 3;
const AREA_SHARE: u32 = 50;
/// A file that changes along with so many other areas is nobody's own.
const SPREAD_MIN: usize = 3;
/// Groups and files that are told.
const TOLD_MAX: usize = 20;

/// What the past says of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Areas {
    pub(crate) commits: u32,
    /// Of these, such as changed a file that everybody edits.
    pub(crate) contested: u32,
    /// Groups of folders that hardly ever change together, the busiest first.
    pub(crate) apart: Vec<Group>,
    /// Files that everybody edits, the hottest first: one owner each.
    pub(crate) shared: Vec<SharedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) folders: Vec<String>,
    pub(crate) commits: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SharedFile {
    pub(crate) path: String,
    pub(crate) commits: u32,
}

/// `is_made`: files that tools make from others (lock files), which say nothing.
pub(crate) fn read(past: &[Vec<GitPath>], is_made: &dyn Fn(&GitPath) -> bool) -> Areas {
    // What sweeps through everything says nothing about what belongs together.
    let told = past.iter().filter(|paths| !paths.is_empty() && paths.len() <= SWEEP_PATHS);
    let past: Vec<Vec<&GitPath>> = told
        .map(|paths| paths.iter().filter(|path| !is_made(path)).collect())
        .filter(|paths: &Vec<_>| !paths.is_empty())
        .collect();
    let commits = count(past.len());
    let shared = everybodys(&past, commits);
    let is_shared = |path: &GitPath| shared.contains_key(path);
    let contested = count(past.iter().filter(|paths| paths.iter().any(|path| is_shared(path))).count());
    let areas_of = |paths: &Vec<&GitPath>| -> BTreeSet<String> {
        paths.iter().filter(|path| !is_shared(path)).map(|path| area(path)).collect()
    };
    let apart = groups(&past.iter().map(areas_of).collect::<Vec<_>>(), commits);
    let mut shared: Vec<SharedFile> =
        shared.into_iter().map(|(path, commits)| SharedFile { path: path.to_string(), commits }).collect();
    shared.sort_by_key(|file| std::cmp::Reverse(file.commits));
    shared.truncate(TOLD_MAX);
    Areas { commits, contested, apart, shared }
}

/// Files that a good part of all commits change. Each commit counts as a pair of hands: who wrote it does not matter here.
fn everybodys(past: &[Vec<&GitPath>], commits: u32) -> BTreeMap<GitPath, u32> {
    let mut files: BTreeMap<GitPath, u32> = BTreeMap::new();
    for path in past.iter().flatten() {
        *files.entry((*path).clone()).or_default() += 1;
    }
    let edited =
        |(path, commits): (&GitPath, &u32)| Edited { path: path.clone(), commits: *commits, sessions: *commits };
    let hot = Hot::learn(&files.iter().map(edited).collect::<Vec<_>>(), commits, commits);
    files.retain(|path, _| hot.is_hot(path));
    // What changes within its area, or along with one other, is that area's, however often.
    let spread = |path: &GitPath| {
        let with = past.iter().filter(|paths| paths.contains(&path)).flatten();
        with.map(|other| area(other)).filter(|other| *other != area(path)).collect::<BTreeSet<_>>().len()
    };
    files.retain(|path, _| spread(path) >= SPREAD_MIN);
    files
}

/// Areas that change together are one group, however many links it takes.
fn groups(past: &[BTreeSet<String>], commits: u32) -> Vec<Group> {
    let mut alone: BTreeMap<&str, u32> = BTreeMap::new();
    let mut together: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for areas in past {
        for (at, one) in areas.iter().enumerate() {
            *alone.entry(one).or_default() += 1;
            for other in areas.iter().skip(at + 1) {
                *together.entry((one, other)).or_default() += 1;
            }
        }
    }
    alone.retain(|_, times| *times >= AREA_COMMITS_MIN && *times * AREA_SHARE >= commits);
    let mut group_of: BTreeMap<&str, &str> = alone.keys().map(|area| (*area, *area)).collect();
    for ((one, other), times) in together {
        let (Some(a), Some(b)) = (alone.get(one), alone.get(other)) else { continue };
        if times >= TOGETHER_MIN && times * 100 >= a.min(b) * TOGETHER_PERCENT {
            let (from, to) = (group_of[other], group_of[one]);
            group_of.values_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
    }
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (area, group) in group_of {
        groups.entry(group).or_default().insert(area);
    }
    let in_group = |folders: &BTreeSet<&str>| {
        count(past.iter().filter(|areas| areas.iter().any(|area| folders.contains(area.as_str()))).count())
    };
    let mut groups: Vec<Group> = groups
        .into_values()
        .map(|folders| Group { commits: in_group(&folders), folders: folders.into_iter().map(str::to_owned).collect() })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.commits));
    groups.truncate(TOLD_MAX);
    groups
}

/// The folder that a file is of, at most so deep.
fn area(path: &GitPath) -> String {
    let shown = path.to_string();
    let mut parts: Vec<&str> = shown.split('/').collect();
    parts.pop();
    parts.truncate(DEPTH);
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(past: &[&[&str]]) -> Areas {
        let paths = |files: &&[&str]| files.iter().map(|file| GitPath::new(file.as_bytes())).collect();
        read(&past.iter().map(paths).collect::<Vec<_>>(), &|path| path.to_string().ends_with(".lock"))
    }

    #[test]
    fn folders_that_change_together_are_one_group_and_others_stand_apart() {
        let mut past: Vec<&[&str]> = Vec::new();
        for _ in 0..10 {
            past.extend([
                &["src/api/a.rs", "src/types/b.rs"][..],
                &["web/pages/c.ts", "x.lock"],
                &["docs/d.md", "x.lock"],
            ]);
        }
        let areas = read_all(&past);
        let folders: Vec<_> = areas.apart.iter().map(|group| group.folders.join(" ")).collect();
        assert_eq!((folders.len(), areas.commits, areas.contested), (3, 30, 0), "{folders:?}");
        assert!(folders.contains(&"src/api src/types".to_owned()) && folders.contains(&"docs".to_owned()));
    }

    #[test]
    fn a_file_that_goes_along_with_everything_is_everybodys_and_couples_nothing() {
        let names: Vec<String> = (0..40).map(|n| format!("src/part{}/a.rs", n % 4)).collect();
        let past: Vec<Vec<&str>> = names.iter().map(|name| vec![name.as_str(), "CHANGELOG.md"]).collect();
        let areas = read_all(&past.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(areas.shared, [SharedFile { path: "CHANGELOG.md".into(), commits: 40 }]);
        assert_eq!((areas.apart.len(), areas.contested), (4, 40));
    }

    #[test]
    fn a_sweep_couples_nothing_and_nothing_makes_nothing() {
        assert_eq!(read_all(&[]), Areas::default());
        let all: Vec<String> = (0..=SWEEP_PATHS).map(|n| format!("d{n}/a")).collect();
        let sweep: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(read_all(&[&sweep, &sweep, &sweep]).commits, 0);
    }
}

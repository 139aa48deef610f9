//! What each of some sessions has changed, from the journals' entries, and the files that more than one of them has.

use std::collections::{BTreeMap, BTreeSet};

use rr_proto::v1;
use serde::Deserialize;

/// How a content that is a folder is written.
const FOLDER: &str = "folder";

/// One path of one work tree of one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) host: String,
    pub(crate) root: String,
    pub(crate) path: String,
}

/// The changes of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// In full.
    pub(crate) session: String,
    pub(crate) host: String,
    /// When each file was changed, in journal order.
    pub(crate) files: BTreeMap<Spot, Vec<u64>>,
}

/// As much of an entry of kind `done` as counts here.
#[derive(Deserialize)]
struct Done {
    at_unix_ms: u64,
    #[serde(default)]
    changes: Vec<Changed>,
}

#[derive(Deserialize)]
struct Changed {
    root: String,
    path: String,
    before: String,
    after: String,
}

impl Changed {
    /// Folders come and go with what is in them.
    fn is_of_a_file(&self) -> bool {
        self.before != self.after && self.before != FOLDER && self.after != FOLDER
    }
}

impl Work {
    pub(crate) fn of(session: &str, lines: &[v1::LogReply]) -> Self {
        let mut work = Self { session: session.to_owned(), host: String::new(), files: BTreeMap::new() };
        for line in lines {
            let Ok(done) = serde_json::from_str::<Done>(&line.entry) else { continue };
            work.host.clone_from(&line.host);
            for change in done.changes.into_iter().filter(Changed::is_of_a_file) {
                let spot = Spot { host: line.host.clone(), root: change.root, path: change.path };
                work.files.entry(spot).or_default().push(done.at_unix_ms);
            }
        }
        work
    }

    /// Only what it changed at this time or later.
    pub(crate) fn since(&self, at_unix_ms: u64) -> Self {
        let mut later = self.clone();
        for times in later.files.values_mut() {
            times.retain(|at| *at >= at_unix_ms);
        }
        later.files.retain(|_, times| !times.is_empty());
        later
    }

    pub(crate) fn roots(&self) -> BTreeSet<&str> {
        self.files.keys().map(|spot| spot.root.as_str()).collect()
    }
}

/// The files that more than one of them has changed.
pub(crate) fn meeting(works: &[Work]) -> BTreeSet<Spot> {
    let met = |spot: &&Spot| works.iter().filter(|work| work.files.contains_key(spot)).count() > 1;
    works.iter().flat_map(|work| work.files.keys()).filter(met).cloned().collect()
}

/// When the first file became one that two of them had changed.
pub(crate) fn met_at_unix_ms(works: &[Work]) -> Option<u64> {
    let second = |spot: &Spot| {
        let mut firsts: Vec<u64> =
            works.iter().filter_map(|work| work.files.get(spot)?.iter().min().copied()).collect();
        firsts.sort_unstable();
        firsts.get(1).copied()
    };
    meeting(works).iter().filter_map(second).min()
}

/// What this one has changed and no other has, by path alone: a path is brought back in every work tree that has it.
pub(crate) fn alone<'a>(work: &'a Work, works: &[Work]) -> Vec<&'a str> {
    let others: Vec<&Work> = works.iter().filter(|other| other.session != work.session).collect();
    let shared = |path: &str| others.iter().any(|other| other.files.keys().any(|spot| spot.path == path));
    let paths: BTreeSet<&str> = work.files.keys().map(|spot| spot.path.as_str()).collect();
    paths.into_iter().filter(|path| !shared(path)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `changes`: path and time.
    pub(crate) fn work(session: &str, changes: &[(&str, u64)]) -> Work {
        let line = |(path, at): &(&str, u64)| v1::LogReply {
            host: "h".into(),
            entry: format!(
                r#"{{"kind":"done","at_unix_ms":{at},"ok":true,"changes":[{{"root":"/r","path":"{path}","before":"absent","after":"x","foreseen":true}}]}}"#
            ),
            ..Default::default()
        };
        Work::of(session, &changes.iter().map(line).collect::<Vec<_>>())
    }

    #[test]
    fn sessions_meet_where_both_have_changed_a_file_and_from_the_second_on() {
        let works = [work("a", &[("x", 10), ("own", 11), ("y", 50)]), work("b", &[("y", 20), ("x", 40), ("x", 60)])];
        let paths: Vec<String> = meeting(&works).into_iter().map(|spot| spot.path).collect();
        assert_eq!(paths, ["x", "y"]);
        assert_eq!(met_at_unix_ms(&works), Some(40));
        assert_eq!((alone(&works[0], &works), alone(&works[1], &works)), (vec!["own"], vec![]));
        let later: Vec<Work> = works.iter().map(|work| work.since(45)).collect();
        assert!(meeting(&later).is_empty(), "y by one, x by the other");
        assert_eq!(met_at_unix_ms(&later), None);
    }

    #[test]
    fn an_entry_that_changed_nothing_or_is_of_another_version_counts_for_nothing() {
        let line = |entry: &str| v1::LogReply { entry: entry.into(), ..Default::default() };
        let same = r#"{"at_unix_ms":1,"changes":[{"root":"/r","path":"p","before":"x","after":"x"}]}"#;
        let folder = r#"{"at_unix_ms":1,"changes":[{"root":"/r","path":"p","before":"absent","after":"folder"}]}"#;
        assert_eq!(rr_core::content::Content::Folder.to_string(), FOLDER);
        assert!(Work::of("a", &[line(same), line(folder), line("?"), line("{}")]).files.is_empty());
    }
}

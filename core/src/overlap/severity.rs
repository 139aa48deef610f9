//! What a pair's meetings amount to: findings with their level, and who should give way. 0: a path in common. 1: a symbol, not
//! proven. 2: git cannot merge it, or one package in two versions. 3: a check fails on both together, or 2 with a side in the queue.

use std::fmt::Write as _;

use super::meeting::Meeting;
use super::pair::{Check, Text, View};
use super::question::{Answer, LABEL_OURS, LABEL_THEIRS, Question, Why, clip};
use super::side::{Side, Standing};
use super::symbols::Candidate;
use super::{Because, EXCERPT_BYTES_MAX, Finding, FindingId, Kind, Level, Place, SymbolClash, matter_of_check};
use crate::live::GitPath;

/// Findings of one pair about symbols, the worst first: more than an agent reads about one other.
const SYMBOLS_PER_PAIR_MAX: usize = 16;
/// Paths of one finding.
const PATHS_PER_FINDING_MAX: usize = 256;

/// How soon a question should be answered; lower is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency {
    class: u8,
    /// How many change the least shared of the paths: what few share is most likely to matter.
    sharing: usize,
}

/// All that is open between the two.
pub(super) fn questions(view: &View<'_>) -> Vec<(Urgency, Question)> {
    let text = view.text();
    let landing = view.queued() > 0;
    let sharing = view.paths().keys().map(|path| sharing(view, path)).min().unwrap_or(usize::MAX);
    let merges = Urgency { class: u8::from(!landing), sharing };
    let check =
        view.check(&text).and_then(|check| check.open).map(|question| (urgency_of_check(&question, sharing), question));
    text.open.into_iter().map(|question| (merges, question)).chain(check).collect()
}

fn urgency_of_check(question: &Question, sharing: usize) -> Urgency {
    let class = match question {
        Question::Check { why: Why::Symbol { how, .. }, .. } => match how {
            SymbolClash::GoneOrOther => 3,
            SymbolClash::BothAdded => 4,
            SymbolClash::BothChanged => 5,
            SymbolClash::CallerChanged => 6,
        },
        _ => 2,
    };
    Urgency { class, sharing }
}

fn sharing(view: &View<'_>, path: &GitPath) -> usize {
    view.repo.map_or(0, |repo| repo.sharing(path))
}

/// Everything that is known between the two.
pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let text = view.text();
    let check = view.check(&text);
    let mut found: Vec<Finding> = merge(view, &text).into_iter().chain(package(view)).collect();
    found.extend(failed(view, check.as_ref()));
    found.extend(symbols(view, &text, check.as_ref()));
    found.extend(shared(view, &text));
    found
}

fn merge(view: &View<'_>, text: &Text) -> Option<Finding> {
    if text.conflicts.is_empty() {
        return None;
    }
    let mut excerpt = String::new();
    for (path, words) in &text.conflicts {
        let line = if words.is_empty() { path.to_string() } else { words.trim_end().to_owned() };
        let _ = writeln!(excerpt, "{line}");
    }
    for (hunks, ours) in &text.excerpts {
        excerpt.push_str(&by_name(hunks, view.sides[*ours], view.sides[1 - *ours]));
        excerpt.push('\n');
    }
    let paths = text.conflicts.keys().cloned().collect();
    let places = text.conflicts.keys().take(PATHS_PER_FINDING_MAX).map(|path| place(view, path)).collect();
    let finding = finding(view, Level::Conflict, "merge", Kind::Merge, paths, excerpt);
    Some(Finding { places, ..finding })
}

/// The hunks as git marks them, with the names of the sides.
fn by_name(hunks: &str, ours: &Side, theirs: &Side) -> String {
    let name = |line: &str| match line.trim_end() {
        LABEL_OURS => format!("<<<<<<< {}\n", ours.name()),
        LABEL_THEIRS => format!(">>>>>>> {}\n", theirs.name()),
        _ => line.to_owned(),
    };
    hunks.split_inclusive('\n').map(name).collect()
}

fn place(view: &View<'_>, path: &GitPath) -> Place {
    let lines = match view.paths().get(path) {
        Some(Meeting::Lines(lines)) => lines.clone(),
        _ => vec![],
    };
    let from = view.sides.iter().find_map(|side| side.files.get(path)?.from.as_ref());
    Place { path: path.clone(), base: from.map(|entry| entry.id.clone()), lines }
}

fn package(view: &View<'_>) -> Option<Finding> {
    let clashes = view.paths().iter().filter_map(|(path, meeting)| match meeting {
        Meeting::Keys(keys) if !keys.is_empty() => Some((path, keys)),
        _ => None,
    });
    let (mut paths, mut keys, mut excerpt) = (vec![], vec![], String::new());
    for (path, clash) in clashes {
        paths.push(path.clone());
        for key in clash {
            keys.push(key.key.clone());
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let (from, [x, y]) = (value(&key.from), key.to.each_ref().map(value));
            let [a, b] = view.sides.map(Side::name);
            let _ = writeln!(excerpt, "{path}: {}: {from} -> {x} ({a}), {y} ({b})", key.key);
        }
    }
    keys.sort();
    keys.dedup();
    let kind = Kind::Package(keys.join(", "));
    (!paths.is_empty()).then(|| finding(view, Level::Conflict, "package", kind, paths, excerpt))
}

fn failed(view: &View<'_>, check: Option<&Check>) -> Option<Finding> {
    let Answer::Fails { check, findings, excerpt } = &*check?.known.as_ref()?.answer else { return None };
    let excerpt = if excerpt.is_empty() { findings.join("\n") } else { excerpt.clone() };
    let mut paths: Vec<GitPath> = view.names().values().flat_map(|candidate| candidate.paths.clone()).collect();
    paths.sort();
    paths.dedup();
    let kind = Kind::Check(check.clone());
    Some(finding(view, Level::Broken, &matter_of_check(check), kind, paths, excerpt))
}

fn symbols(view: &View<'_>, text: &Text, check: Option<&Check>) -> Vec<Finding> {
    let known = check.and_then(|check| check.known.as_ref());
    let is_now = check.is_some_and(|check| check.is_now);
    let told_otherwise = |name: &String, candidate: &Candidate| {
        let conflicts = candidate.paths.iter().any(|path| text.conflicts.contains_key(path));
        let checked = known.is_some_and(|known| is_now || known.names.get(name) == Some(&candidate.how));
        conflicts
            || match known.map(|known| &*known.answer) {
                // The same symbol stays worth a word to both; a use that compiles does not.
                Some(Answer::Clean) => checked && candidate.how != SymbolClash::BothChanged,
                Some(Answer::Fails { .. }) => checked,
                _ => false,
            }
    };
    let mut left: Vec<_> = view.names().iter().filter(|(name, candidate)| !told_otherwise(name, candidate)).collect();
    left.sort_by_key(|(name, candidate)| (candidate.how, *name));
    left.truncate(SYMBOLS_PER_PAIR_MAX);
    let tell = |(name, candidate): (&String, &Candidate)| {
        let kind = Kind::Symbol { name: name.clone(), how: candidate.how };
        finding(view, Level::Symbol, &format!("symbol {name}"), kind, candidate.paths.clone(), String::new())
    };
    left.into_iter().map(tell).collect()
}

fn shared(view: &View<'_>, text: &Text) -> Option<Finding> {
    let listed = |(path, meeting): &(&GitPath, &Meeting)| match meeting {
        Meeting::BothGone => false,
        Meeting::Keys(keys) => keys.is_empty(),
        _ => !text.conflicts.contains_key(path),
    };
    let paths: Vec<GitPath> = view.paths().iter().filter(listed).map(|(path, _)| path.clone()).collect();
    (!paths.is_empty()).then(|| finding(view, Level::Shared, "files", Kind::Files, paths, text.unknown.join("\n")))
}

fn finding(
    view: &View<'_>,
    level: Level,
    matter: &str,
    kind: Kind,
    mut paths: Vec<GitPath>,
    mut excerpt: String,
) -> Finding {
    let [a, b] = view.sides;
    paths.truncate(PATHS_PER_FINDING_MAX);
    clip(&mut excerpt, EXCERPT_BYTES_MAX);
    let level = if level == Level::Conflict && view.queued() > 0 { Level::Broken } else { level };
    Finding {
        id: FindingId::of(&a.set.repo, [&a.key, &b.key], matter),
        repo: a.set.repo.clone(),
        level,
        kind,
        sides: [a.key.clone(), b.key.clone()],
        paths,
        places: vec![],
        excerpt,
        yields: if level >= Level::Conflict { yields(view) } else { None },
    }
}

/// What is not committed to what is, and both to what waits to land; then the smaller to the larger; of two that change as many
/// files the one that uses what the other changes; then the one with fewer lines.
fn yields(view: &View<'_>) -> Option<(usize, Because)> {
    let [a, b] = view.sides;
    let first = |a_yields: bool, why| Some((usize::from(!a_yields), why));
    match [0, 1].map(|side| landed(view, side)) {
        [x, y] if x == y => {}
        [x, y] => {
            let a_yields = x < y;
            let committed = if a_yields { x } else { y } > NOT_COMMITTED;
            return first(a_yields, if committed { Because::Later } else { Because::Uncommitted });
        }
    }
    if a.paths() != b.paths() {
        return first(a.paths() < b.paths(), Because::Smaller);
    }
    let uses =
        |side: usize| view.names().values().filter(|candidate| candidate.user == Some(view.numbers[side])).count();
    if uses(0) != uses(1) {
        return first(uses(0) > uses(1), Because::Dependent);
    }
    (a.lines() != b.lines()).then(|| (usize::from(b.lines() < a.lines()), Because::Smaller))
}

const NOT_COMMITTED: u64 = 0;

/// How close it is to landing: not committed, committed, and in the queue the sooner the higher.
fn landed(view: &View<'_>, side: usize) -> u64 {
    match view.standing[side] {
        Standing::Queued(place) => u64::MAX - place.min(u64::MAX - 2),
        _ if view.sides[side].set.committed => 1,
        _ => NOT_COMMITTED,
    }
}

//! `health` in `railroad.yaml`: which checks show that a repository is whole, and what happens when one fails. What is not said is
//! found in the repository itself; nothing here runs anything.

use rr_core::time::Span;
use serde::{Deserialize, Deserializer, de};

use super::words::{Duration, Size};

/// Checks are written by hand, and each is run for each commit.
const CHECKS_MAX: usize = 16;
/// A command line; longer ones belong into a script of the repository.
const RUN_BYTES_MAX: usize = 1_024;
/// A name in tables and metrics.
const NAME_BYTES_MAX: usize = 40;
/// A pause that nobody looks after ends (the fleet's own default).
const DEADLINE: Span = Span::from_secs(15 * 60);
/// Between the longest checks that teams run before a merge, and a hang.
const TIME: Span = Span::from_secs(20 * 60);
const MEMORY: u64 = 8 << 30;
const PROCESSES: usize = 1_024;
const DAILY_REVERTS: usize = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// The branch that everybody builds on; none: the remote's own, or the main work tree's.
    #[serde(deserialize_with = "branch")]
    pub branch: Option<String>,
    /// None: they are found in the repository. Empty: nothing is checked.
    #[serde(deserialize_with = "checks")]
    pub checks: Option<Vec<CheckEntry>>,
    pub on_break: OnBreak,
    pub limits: CheckLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckEntry {
    #[serde(deserialize_with = "check_name")]
    pub name: String,
    #[serde(deserialize_with = "command")]
    pub run: String,
    #[serde(default)]
    pub when: When,
}

/// When a check is run. Each includes those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// On what stands in a work tree, whenever its agent has come to rest.
    Edit,
    /// On every commit.
    #[default]
    Commit,
    /// On the branch that everybody builds on.
    Merge,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnBreak {
    pub pause: PauseScope,
    pub revert: RevertMode,
    /// A pause of the watcher's own lasts at most this long.
    #[serde(deserialize_with = "positive")]
    pub deadline: Span,
    /// So many reverts of its own in 24 hours; more are proposed.
    pub reverts_a_day: usize,
}

impl Default for OnBreak {
    fn default() -> Self {
        let (pause, revert) = (PauseScope::default(), RevertMode::default());
        Self { pause, revert, deadline: DEADLINE, reverts_a_day: DAILY_REVERTS }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// Everybody stops.
    #[default]
    Fleet,
    /// Who changes what the break concerns stops, and whoever's changes are not known.
    Affected,
    /// Nobody stops: it is searched, and people are told.
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevertMode {
    /// What is proven is reverted.
    #[default]
    Proven,
    /// A person is asked.
    Propose,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckLimits {
    #[serde(deserialize_with = "positive")]
    pub time: Span,
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    pub processes: usize,
}

impl Default for CheckLimits {
    fn default() -> Self {
        Self { time: TIME, memory: MEMORY, processes: PROCESSES }
    }
}

fn text<'de, D: Deserializer<'de>>(from: D, what: &str, max: usize) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.trim().is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(de::Error::custom(format!("{what} is 1-{max} bytes of visible text on one line")));
    }
    Ok(text)
}

fn check_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, "a check's name", NAME_BYTES_MAX)
}

fn command<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, "a check's command", RUN_BYTES_MAX)
}

fn branch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = text(from, "a branch", 255)?;
    let legal = !name.starts_with(['-', '/'])
        && !name.contains("..")
        && !name.contains(['~', '^', ':', ' ', '\\', '?', '*', '[']);
    if legal { Ok(Some(name)) } else { Err(de::Error::custom(format!("{name:?} is no name of a branch"))) }
}

fn checks<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<CheckEntry>>, D::Error> {
    let Some(checks) = Option::<Vec<CheckEntry>>::deserialize(from)? else { return Ok(None) };
    if checks.len() > CHECKS_MAX {
        return Err(de::Error::custom(format!("at most {CHECKS_MAX} checks")));
    }
    for (at, check) in checks.iter().enumerate() {
        if checks[..at].iter().any(|other| other.name == check.name) {
            return Err(de::Error::custom(format!("two checks are called {:?}", check.name)));
        }
    }
    Ok(Some(checks))
}

pub(super) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
    match Duration::deserialize(from)?.0 {
        Span::ZERO => Err(de::Error::custom("must be longer than 0")),
        span => Ok(span),
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Size::deserialize(from).map(|size| size.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::RepoConfig;
    use super::*;

    fn parsed(text: &str) -> Result<Health, String> {
        RepoConfig::parse(text, Path::new("railroad.yaml")).map(|c| c.health).map_err(|e| e.to_string())
    }

    #[test]
    fn checks_are_found_unless_they_are_named_and_none_can_be_named() {
        assert_eq!(parsed("").unwrap().checks, None);
        assert_eq!(parsed("health: { checks: [] }").unwrap().checks, Some(vec![]));
        let health = parsed(
            "health:\n  branch: trunk\n  checks:\n    - { name: types, run: cargo check }\n    - { name: tests, run: cargo test, when: merge }\n  \
             on_break: { pause: off, revert: propose, deadline: 5m, reverts_a_day: 1 }\n  limits: { time: 90s, memory: 512MiB }\n",
        )
        .unwrap();
        assert_eq!(health.branch.as_deref(), Some("trunk"));
        let checks: Vec<_> = health.checks.unwrap().into_iter().map(|c| (c.name, c.run, c.when)).collect();
        assert_eq!(checks[0], ("types".into(), "cargo check".into(), When::Commit));
        assert_eq!(checks[1].2, When::Merge);
        assert_eq!((health.on_break.pause, health.on_break.revert), (PauseScope::Off, RevertMode::Propose));
        let affected = parsed("health: { on_break: { pause: affected } }").unwrap();
        assert_eq!(affected.on_break.pause, PauseScope::Affected);
        assert_eq!((health.on_break.deadline, health.on_break.reverts_a_day), (Span::from_secs(300), 1));
        assert_eq!((health.limits.time, health.limits.memory), (Span::from_secs(90), 512 << 20));
        assert_eq!(health.limits.processes, PROCESSES);
    }

    #[test]
    fn a_check_of_edits_is_one_of_commits_and_merges_too() {
        let health = parsed("health: { checks: [{ name: types, run: tsc, when: edit }] }").unwrap();
        assert_eq!(health.checks.unwrap()[0].when, When::Edit);
        assert!(When::Edit < When::Commit && When::Commit < When::Merge);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, rule) in [
            ("health: { checks: [{ name: a, run: \"\" }] }", "visible text"),
            ("health: { checks: [{ name: a, run: x }, { name: a, run: y }] }", "two checks"),
            ("health: { checks: [{ name: a }] }", "run"),
            ("health: { branch: \"../x\" }", "no name of a branch"),
            ("health: { on_break: { deadline: 0s } }", "longer than 0"),
            ("health: { on_break: { pause: fleeet } }", "did you mean `fleet`?"),
            ("health: { limits: { memory: 12 } }", "GiB"),
            ("health: { check: [] }", "did you mean `checks`?"),
        ] {
            let told = parsed(text).expect_err(text);
            assert!(told.starts_with("railroad.yaml:1:") && told.contains(rule), "{text}: {told}");
        }
    }
}

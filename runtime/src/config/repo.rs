//! `railroad.yaml`: what a team decides for one repository (D15). It owns the keys and their defaults; what they do is the
//! sidecar's. The defaults are the strict ones, so that a missing file opens nothing.

use std::path::Path;

use rr_core::glob::Glob;
use rr_core::id::FleetName;
use rr_core::limits::{APPROVAL_WAIT, APPROVAL_WAIT_MAX, APPROVAL_WAIT_MIN, Timing};
use rr_core::policy::{Defaults, Effect, Entry, PolicySource, ScopeSource, SlotSource};
use rr_core::time::Span;
use serde::{Deserialize, Deserializer, de};

use super::health::Health;
use super::people::People;
use super::words::{Duration, Pattern};
use super::{ConfigError, parse, policy, slots};

/// At the root of the repository.
pub const REPO_FILE: &str = "railroad.yaml";
/// Keys that this version does not enforce yet.
const NOT_ENFORCED: [&str; 1] = ["isolation"];
/// Enough for any address; it only goes into a hash.
const REPO_NAME_BYTES_MAX: usize = 512;
/// As the protocol's table of timings (lock-protocol §2).
const COOL_MAX: Span = Span::from_secs(60);
/// A pattern list is written by hand; each write is matched against all of it.
const EXCLUSIVE_MAX: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepoConfig {
    /// Which fleet its agents belong to; `None`: whichever the machine's sidecar serves.
    pub fleet: Option<FleetName>,
    /// The repository's identity in the fleet (D5), where the root commit is not the right one.
    #[serde(deserialize_with = "repo_name")]
    pub repo: Option<String>,
    pub on_unavailable: OnUnavailable,
    pub locks: Locks,
    pub people: People,
    /// What is only logged: the policy is tried out, not enforced.
    #[serde(deserialize_with = "policy::shadow")]
    pub shadow: Effect,
    /// The built-in rules.
    #[serde(deserialize_with = "policy::defaults")]
    pub defaults: Defaults,
    #[serde(deserialize_with = "policy::entries")]
    pub blocklist: Vec<Entry>,
    #[serde(deserialize_with = "policy::entries")]
    pub approve: Vec<Entry>,
    #[serde(deserialize_with = "policy::entries")]
    pub allow: Vec<Entry>,
    #[serde(deserialize_with = "policy::scopes")]
    pub scopes: Vec<ScopeSource>,
    pub approvals: Approvals,
    pub health: Health,
    /// Of which commands a host runs only so many at a time.
    #[serde(deserialize_with = "slots::slots")]
    pub slots: Vec<SlotSource>,
}

/// How a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approvals {
    /// How long a request waits for an answer before it means "no".
    #[serde(deserialize_with = "expire")]
    pub expire: Span,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { expire: APPROVAL_WAIT }
    }
}

/// What happens to a call that could change something while the sidecar or the store does not answer (D4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    #[default]
    Deny,
    Allow,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Locks {
    pub mode: LockMode,
    pub across_worktrees: AcrossWorktrees,
    /// A lock not touched for this long is given back; `None`: as the machine's timing says.
    #[serde(deserialize_with = "idle")]
    pub idle_release: Option<Span>,
    /// The rest before a lock whose last holder died may be used; `None`: as the machine's timing says.
    #[serde(deserialize_with = "cool")]
    pub cool: Option<Span>,
    /// Files that are always locked whole.
    #[serde(deserialize_with = "globs")]
    pub exclusive: Vec<Glob>,
    pub on_agent_death: OnAgentDeath,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// A file is locked before it is written.
    #[default]
    Pessimistic,
    /// Nothing is locked; a write on a stale base is refused.
    Optimistic,
    /// As pessimistic, and a read locks too, shared.
    PessimisticRead,
}

/// What a lock held in another worktree means (D5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcrossWorktrees {
    #[default]
    Deny,
    Warn,
}

/// What becomes of the processes that a dead agent left running (D4b).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAgentDeath {
    #[default]
    Wait,
    End,
}

impl RepoConfig {
    /// # Errors
    /// With file, line, column, the line itself and what was probably meant.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        parse(text, file, &NOT_ENFORCED)
    }

    /// What the file says about what may be run and changed.
    #[must_use]
    pub fn policy(&self) -> PolicySource {
        PolicySource {
            effect: self.shadow,
            defaults: self.defaults,
            blocklist: self.blocklist.clone(),
            approve: self.approve.clone(),
            allow: self.allow.clone(),
            scopes: self.scopes.clone(),
        }
    }

    /// The machine's timing with what this file changes.
    #[must_use]
    pub fn timing(&self, machine: Timing) -> Timing {
        Timing {
            cool: self.locks.cool.unwrap_or(machine.cool),
            idle_release: self.locks.idle_release.unwrap_or(machine.idle_release),
            ..machine
        }
    }
}

fn repo_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    if name.trim().is_empty() || name.len() > REPO_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let rule = format!("a repository's name is 1-{REPO_NAME_BYTES_MAX} bytes of visible text");
        return Err(de::Error::custom(rule));
    }
    Ok(Some(name))
}

fn idle<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    match Option::<Duration>::deserialize(from)? {
        Some(Duration(Span::ZERO)) => {
            Err(de::Error::custom("`idle_release` must be longer than 0: at 0 no lock would last until its write"))
        }
        other => Ok(other.map(|d| d.0)),
    }
}

fn expire<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
    match Option::<Duration>::deserialize(from)? {
        None => Ok(APPROVAL_WAIT),
        Some(Duration(span)) if span < APPROVAL_WAIT_MIN => {
            Err(de::Error::custom("`expire` must be at least 5s: nobody could answer"))
        }
        Some(Duration(span)) if span > APPROVAL_WAIT_MAX => Err(de::Error::custom("`expire` must be at most 24h")),
        Some(Duration(span)) => Ok(span),
    }
}

fn cool<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    match Option::<Duration>::deserialize(from)? {
        Some(Duration(span)) if span > COOL_MAX => Err(de::Error::custom("`cool` must be at most 60s")),
        other => Ok(other.map(|d| d.0)),
    }
}

fn globs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Glob>, D::Error> {
    let patterns = Option::<Vec<Pattern>>::deserialize(from)?.unwrap_or_default();
    if patterns.len() > EXCLUSIVE_MAX {
        return Err(de::Error::custom(format!("at most {EXCLUSIVE_MAX} patterns")));
    }
    Ok(patterns.into_iter().map(|p| p.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<RepoConfig, ConfigError> {
        RepoConfig::parse(text, Path::new("railroad.yaml"))
    }

    fn refusal(text: &str) -> String {
        parsed(text).expect_err(text).to_string()
    }

    #[test]
    fn every_key_is_optional_and_the_defaults_are_strict() {
        for empty in ["", "# nothing yet\n", "---\n", "locks:\n", "{}"] {
            assert_eq!(parsed(empty).unwrap(), RepoConfig::default(), "{empty:?}");
        }
        let config = RepoConfig::default();
        assert_eq!(config.on_unavailable, OnUnavailable::Deny);
        assert_eq!(config.locks.across_worktrees, AcrossWorktrees::Deny);
        assert_eq!(config.locks.mode, LockMode::Pessimistic);
        assert_eq!(config.timing(Timing::default()), Timing::default());
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = "fleet: blue\nrepo: shop\non_unavailable: allow\nlocks:\n  mode: pessimistic_read\n  \
                    across_worktrees: warn\n  idle_release: 2m\n  cool: 0s\n  on_agent_death: end\n  \
                    exclusive: [\"**/package.json\", Cargo.lock]\n";
        let config = parsed(text).unwrap();
        assert_eq!((config.fleet.as_ref().unwrap().as_str(), config.repo.as_deref()), ("blue", Some("shop")));
        assert_eq!(config.on_unavailable, OnUnavailable::Allow);
        assert_eq!(config.locks.mode, LockMode::PessimisticRead);
        assert_eq!(config.locks.on_agent_death, OnAgentDeath::End);
        let names: Vec<&str> = config.locks.exclusive.iter().map(Glob::as_str).collect();
        assert_eq!(names, ["**/package.json", "Cargo.lock"]);
        let timing = config.timing(Timing::default());
        assert_eq!((timing.idle_release, timing.cool), (Span::from_secs(120), Span::ZERO));
    }

    #[test]
    fn how_long_a_person_is_waited_for_is_the_repositorys_to_say_within_bounds() {
        assert_eq!(parsed("approvals: { expire: 2m }").unwrap().approvals.expire, Span::from_secs(120));
        assert_eq!(parsed("approvals:\n  expire:\n").unwrap().approvals.expire, APPROVAL_WAIT);
        assert!(refusal("approvals: { expire: 4s }").contains("at least 5s"));
        assert!(refusal("approvals: { expire: 25h }").contains("at most 24h"));
        assert!(refusal("approvals: { expires: 1m }").contains("did you mean `expire`?"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_its_line_and_a_suggestion() {
        let text = refusal("fleet: blue\nlocks:\n  idle_relase: 10m\n");
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("railroad.yaml:3:3: unknown key `idle_relase`"), "{first}");
        assert!(first.ends_with("did you mean `idle_release`?"), "{first}");
        assert!(text.contains("3 |   idle_relase: 10m"), "{text}");
        assert!(refusal("lock: {}").contains("did you mean `locks`?"));
        let strange = refusal("colour: red");
        assert!(!strange.contains("did you mean") && strange.contains("(known here: fleet,"), "{strange}");
    }

    #[test]
    fn a_key_that_nothing_enforces_yet_is_never_silently_accepted() {
        for key in NOT_ENFORCED {
            let text = refusal(&format!("fleet: blue\n{key}: []\n"));
            let expected = format!("railroad.yaml:2:1: `{key}` is not enforced by this version");
            assert!(text.starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn a_policy_is_read_with_the_line_of_each_entry() {
        let text = "shadow: true\ndefaults: off\nblocklist:\n  - terraform destroy\n  - { match: \"kubectl delete\", except: \"--dry-run\", \
                    because: prod }\napprove: [npm publish]\nallow:\n  - match: docker system prune\n    agents: [claude]\n\
                    scopes:\n  pay:\n    for: { branch: \"pay/*\" }\n    may: [src/pay/**]\n    owner: ann\n";
        let policy = parsed(text).unwrap().policy();
        assert_eq!((policy.effect, policy.defaults), (Effect::Shadow, Defaults::Off));
        let shown = |e: &Entry| (e.line, e.words.as_ref().map(ToString::to_string).unwrap_or_default());
        assert_eq!(
            policy.blocklist.iter().map(shown).collect::<Vec<_>>(),
            [(4, "terraform destroy".to_owned()), (5, "kubectl delete".to_owned())]
        );
        assert_eq!(policy.blocklist[1].because.as_deref(), Some("prod"));
        assert_eq!(policy.blocklist[1].except[0].as_str(), "--dry-run");
        assert_eq!((policy.approve[0].line, policy.allow[0].line), (6, 8));
        assert_eq!(policy.allow[0].agents, ["claude"]);
        let scope = &policy.scopes[0];
        assert_eq!((scope.line, scope.name.as_str(), scope.owner.as_deref()), (12, "pay", Some("ann")));
        assert_eq!((scope.who.branch.as_slice(), scope.may.len()), (&["pay/*".to_owned()][..], 1));
    }

    #[test]
    fn a_bad_entry_is_refused_with_its_place_and_what_was_meant() {
        for (text, at, rule) in [
            ("blocklist:\n  - rm -rf /; ls\n", "2:", "name one"),
            ("blocklist:\n  - ok\n  - \"\"\n", "3:", "empty"),
            ("blocklist:\n  - { match: rm, becuase: x }\n", "2:", "did you mean `because`?"),
            ("blocklist:\n  - { because: x }\n", "2:", "every call"),
            ("blocklist:\n  - { match: rm, paths: [../x] }\n", "2:", "../x"),
            ("blocklist: rm\n", "1:", ""),
            ("blocklist:\n  - 3\n", "2:", "plain words"),
            ("allow:\n  - -rf\n", "2:", "begin with the program"),
            ("approve:\n  - { match: rm, tools: [] }\n", "2:", "empty list"),
            ("scopes:\n  a: { mya: [x] }\n", "2:", "did you mean `may`?"),
            ("scopes:\n  a: { for: { brunch: x } }\n", "2:", "did you mean `branch`?"),
            ("scopes:\n  a: { may: [\"a[\"] }\n", "2:", "unclosed"),
            ("defaults: offf\n", "1:11", "did you mean `off`?"),
            ("shadow: maybe\n", "1:", ""),
            ("block_list: []\n", "1:1", "did you mean `blocklist`?"),
        ] {
            let told = refusal(text);
            assert!(told.starts_with(&format!("railroad.yaml:{at}")), "{text}: {told}");
            assert!(told.contains(rule), "{text}: {told}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place_and_the_rule() {
        for (text, at, rule) in [
            ("fleet: Blue Team", "1:8", "fleet name must be 1-63 of"),
            ("locks: { cool: 10 }", "1:16", "a duration is a whole number and one of ms, s, m, h"),
            ("locks: { cool: 61s }", "1:", "at most 60s"),
            ("locks: { idle_release: 0s }", "1:", "longer than 0"),
            ("locks: { exclusive: [ok, ../x] }", "1:26", "../x"),
            ("repo: \"\"", "1:", "visible text"),
            ("locks: 3", "1:8", "mapping"),
            ("fleet: a\nfleet: b", "2:1", "duplicate"),
            ("locks: { mode: pesimistic }", "1:16", "did you mean `pessimistic`?"),
            ("fleet: [", "1:", ""),
        ] {
            let told = refusal(text);
            assert!(told.starts_with(&format!("railroad.yaml:{at}")), "{text}: {told}");
            assert!(told.contains(rule), "{text}: {told}");
            assert!(!told.lines().next().unwrap().contains("at line"), "the place is told once: {told}");
        }
    }
}
